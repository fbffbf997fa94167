//! Permission modes of a running team: shown, changed by the user alone, and kept across a crash; mode sandboxed, and
//! the built-in rule for reading.

use agent_team_protocol::method::{Nothing, SetMode, TeamMode, TeamShow};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::view::MemberView;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, processes, tmux, until};
use serde_json::{Value, json};

use crate::agents::rig_with_requests as rig;
use crate::crash::successor_of;
use crate::impersonation::launched;
use crate::teams::assigned;

fn write(path: &str) -> Reply {
    Reply::call("write", json!({ "path": path, "content": "x\n" }))
}

fn bash(command: &str) -> Reply {
    Reply::call("bash", json!({ "command": command }))
}

/// A team of a lead that calls no tool, and of ada, whose model returns these replies.
async fn team(up: [&str; 3], replies: Vec<Reply>) -> (FakeModelServer, Rig) {
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    rig.ok(up).await;
    rig.ok(["send", "ada", "Go on"]).await;
    (server, rig)
}

const DEFAULT: [&str; 3] = ["up", "--detach", "--mode=default"];
const SANDBOXED: [&str; 3] = ["up", "--detach", "--mode=sandboxed"];

fn asks(member: &MemberView) -> bool {
    member.requests > 0
}

/// The last result that ada's model received.
fn result(server: &FakeModelServer) -> String {
    let requests = server.requests();
    let of_ada = requests.iter().rfind(|request| request.model() == "ada");
    let results = of_ada.expect("ada's model was asked").results();
    results.last().expect("a result").1.clone()
}

/// Whether the sandbox protects files of the project here; prints a note if not.
async fn a_sandbox_protects() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = agent_team_system::sandbox::find(&path).await;
    let protects = found.is_ok_and(|sandbox| sandbox.protects());
    if !protects {
        eprintln!("skipped: no sandbox protects files of the project here");
    }
    protects
}

#[tokio::test]
async fn the_mode_changes_while_a_member_works() {
    let replies = vec![
        write("one"),
        write("two"),
        write("three"),
        Reply::text("Done."),
    ];
    let (server, rig) = team(DEFAULT, replies).await;
    rig.until_member("ada", asks).await;
    rig.ok(["ps"]).await.assert_prints("mode default\n");
    rig.ok(["mode"]).await.assert_prints("mode default: ");
    rig.ok(["mode", "accept-edits"])
        .await
        .assert_prints("mode accept-edits: ");
    // A pending request keeps waiting; the next call is decided in the new mode.
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 4).await;
    assert!(rig.read("two").is_some() && rig.read("three").is_some());
    let requests = server.requests();
    let last_input = requests.last().expect("a request").last_input();
    assert!(
        last_input.contains("your permission mode is now accept-edits: you may change files"),
        "{last_input}"
    );
    rig.ok(["ps"]).await.assert_prints("mode accept-edits\n");
    rig.ok(["top", "--once"])
        .await
        .assert_prints("mode accept-edits");
    rig.ok(["rules", "list"])
        .await
        .assert_prints("mode accept-edits:");
    assert_eq!(rig.json(["ps"]).await["mode"], "accept-edits");

    rig.ok(["mode", "plan", "--for", "ada"])
        .await
        .assert_prints("ada is in mode plan: ");
    let shown = rig.json(["ps"]).await;
    assert_eq!(shown["mode"], "accept-edits");
    let members = shown["members"].as_array().expect("a list");
    let of = |name: &str| {
        members
            .iter()
            .find(|member| member["name"] == name)
            .unwrap()
    };
    assert_eq!(of("ada")["mode"], "plan");
    assert_eq!(of("lead")["mode"], Value::Null);
    rig.ok(["ps"])
        .await
        .assert_prints("mode accept-edits (ada: plan)\n");

    // A change of the team's mode clears the modes of its members. The mode of a teammate without a separate mode is
    // never wider than the mode of the lead.
    rig.ok(["mode", "default"]).await;
    assert_eq!(rig.member("ada").await.mode, None);
    rig.ok(["mode", "plan", "--for", "lead"]).await;
    assert_eq!(rig.member("ada").await.mode, Some(Mode::Plan));
    rig.ok(["mode", "accept-edits", "--for", "ada"]).await;
    assert_eq!(rig.member("ada").await.mode, Some(Mode::AcceptEdits));

    let audit = rig.ok(["audit"]).await.stdout;
    assert!(
        audit.contains("mode changed to accept-edits by user"),
        "{audit}"
    );
    assert!(
        audit.contains("ada  mode changed to plan by user"),
        "{audit}"
    );
    let events = rig.ok(["events"]).await.stdout;
    let changed = "  you changed the permission mode of ada to plan\n";
    assert!(events.contains(changed), "{events}");
    let refused = rig.refused(3, ["mode", "plan", "--for", "zoe"]).await;
    assert_eq!(refused["code"], "unknown_member");
    let refused = rig.refused(3, ["mode", "plan", "--for", "adaa"]).await;
    assert_eq!(refused["hint"], "did you mean `ada`?");
}

#[tokio::test]
async fn a_changed_mode_outlives_the_supervisor() {
    let replies = vec![write("one"), write("two"), Reply::text("Done.")];
    let (server, rig) = team(DEFAULT, replies).await;
    rig.until_member("ada", asks).await;
    rig.ok(["mode", "accept-edits"]).await;
    let supervisor = rig.supervisor().await;
    processes::kill(supervisor).await;
    successor_of(&rig, supervisor.pid).await;
    assert_eq!(rig.json(["mode"]).await["mode"], "accept-edits");
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 3).await;
    assert!(rig.read("two").is_some());
    // `up --mode` sets the mode again.
    rig.ok(DEFAULT).await;
    assert_eq!(rig.json(["mode"]).await["mode"], "default");
}

#[tokio::test]
async fn a_member_cannot_change_a_mode() {
    let mut rig = assigned(&[], "[lead]\n");
    let stubs = rig.stub_workers("wire::stub_for_another_test");
    let lead = launched(&rig, &stubs, ["up", "--detach"]).await;
    let ada = launched(&rig, &stubs, ["spawn", "worker", "--name=ada"]).await;
    for member in [&lead, &ada] {
        for name in [None, Some("ada".parse().unwrap())] {
            let set = SetMode {
                member: name,
                mode: Mode::AcceptEdits,
            };
            let refused = member.call::<TeamMode>(set, "1").await;
            assert!(refused.is_err(), "{refused:?}");
        }
    }
    let team = rig.ask::<TeamShow>(Nothing {}).await;
    assert_eq!(team.mode, Some(Mode::Default));
    assert!(team.members.iter().all(|member| member.mode.is_none()));
}

#[tokio::test]
async fn bypass_is_chosen_only_by_up() {
    let (_server, rig) = team(DEFAULT, vec![Reply::text("Done.")]).await;
    let refused = rig.refused(4, ["mode", "bypass"]).await;
    let hint = refused["hint"].as_str().expect("a hint");
    assert!(hint.contains("agent-team up --mode bypass"), "{refused}");
    assert_eq!(rig.json(["mode"]).await["mode"], "default");
    rig.ok(["up", "--detach", "--mode=bypass"]).await;
    assert_eq!(rig.json(["ps"]).await["mode"], "bypass");
    rig.ok(["ps"]).await.assert_prints("bypass");
    rig.ok(["rules", "list"]).await.assert_prints("mode bypass");
    let refused = rig.refused(4, ["mode", "plan"]).await;
    let hint = refused["hint"].as_str().expect("a hint");
    assert!(hint.contains("agent-team up --mode plan"), "{refused}");
    rig.ok(["down"]).await;
    rig.refused(4, ["mode", "plan"]).await;
}

#[tokio::test]
async fn mode_sandboxed_needs_a_sandbox_that_protects() {
    let server =
        FakeModelServer::start(by_model([("lead", Vec::new()), ("ada", Vec::new())])).await;
    let rig = rig(&server);
    if a_sandbox_protects().await {
        return;
    }
    let refused = rig.refused(4, SANDBOXED).await;
    let message = refused["message"].as_str().expect("a message");
    assert!(
        message.starts_with("cannot use mode sandboxed: "),
        "{refused}"
    );
    rig.ok(DEFAULT).await;
    rig.refused(4, ["mode", "sandboxed"]).await;
    assert_eq!(rig.json(["mode"]).await["mode"], "default");
}

#[tokio::test]
async fn mode_sandboxed_runs_contained_commands_and_asks_to_leave() {
    if !a_sandbox_protects().await {
        return;
    }
    let outside = json!({ "command": "touch outside", "outside_sandbox": true });
    let replies = vec![
        bash("touch inside"),
        bash("for name in a b; do touch $name; done"),
        write("edited"),
        bash("sh -c 'echo evil > .git/hooks/pre-commit; echo evil > .envrc'; cat .envrc"),
        // No command in the sandbox reaches the supervisor.
        bash("sh change-mode.sh; echo status $?"),
        Reply::call("bash", outside),
        Reply::text("Done."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    let program = rig.binary("agent-team");
    rig.write(
        "change-mode.sh",
        &format!("exec {} mode default\n", program.display()),
    );
    rig.ok(SANDBOXED).await;
    rig.ok(["send", "ada", "Go on"]).await;
    rig.until_member("ada", asks).await;
    let listed = rig.ok(["requests"]).await.stdout;
    assert!(
        listed.contains("P-1") && !listed.contains("P-2"),
        "{listed}"
    );
    assert!(
        listed.contains("bash (outside the sandbox): touch outside"),
        "{listed}"
    );
    for name in ["inside", "a", "b", "edited"] {
        assert!(rig.read(name).is_some(), "{name}");
    }
    for name in ["outside", ".git/hooks/pre-commit", ".envrc"] {
        assert_eq!(rig.read(name), None, "{name}");
    }
    let printed = result(&server);
    assert!(
        printed.contains("status ") && !printed.contains("status 0"),
        "{printed}"
    );
    assert_eq!(rig.json(["mode"]).await["mode"], "sandboxed");
    let audit = rig.ok(["audit"]).await.stdout;
    assert!(
        audit.contains("allowed by mode  bash: touch inside"),
        "{audit}"
    );
}

#[tokio::test]
async fn reading_commands_run_unasked_and_read_only() {
    if !a_sandbox_protects().await {
        return;
    }
    let lead = ("lead", vec![Reply::text("I see.")]);
    let replies = vec![
        bash("cat src/kept.rs | head -1"),
        bash("git status --short"),
        bash("git diff"),
        bash("git diff --ext-diff"),
        Reply::text("Done."),
    ];
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    // The settings of the project's repository make git run this script for `git status` and `git diff`.
    rig.write(
        "hook.sh",
        "#!/bin/sh\ntouch escaped; touch ran-hook\nexec cat\n",
    );
    rig.write("src/kept.rs", "first line\n");
    rig.shell(
        "git init -q . && chmod +x hook.sh && git add src && \
         git -c user.name=a -c user.email=a@b commit -qm x && \
         git config core.fsmonitor ./hook.sh && git config diff.external ./hook.sh && echo two >> src/kept.rs",
    )
    .await
    .expect(0);
    rig.ok(DEFAULT).await;
    rig.ok(["send", "ada", "Go on"]).await;
    let ada = rig.until_member("ada", asks).await;
    assert_eq!(ada.requests, 1);
    let listed = rig.ok(["requests"]).await.stdout;
    assert!(listed.contains("git diff --ext-diff"), "{listed}");
    assert_eq!((rig.read("escaped"), rig.read("ran-hook")), (None, None));
    let results: Vec<String> = server
        .requests()
        .iter()
        .filter(|request| request.model() == "ada")
        .flat_map(|request| request.results())
        .map(|(_, text)| text)
        .collect();
    assert!(results[0].contains("first line"), "{results:?}");
    for part in [" M src/kept.rs", "\n+two\n"] {
        assert!(
            results.iter().any(|text| text.contains(part)),
            "{part} is not in {results:?}"
        );
    }
    let listed = rig.ok(["rules", "list"]).await.stdout;
    assert!(
        listed.contains("git status") && listed.contains("built in"),
        "{listed}"
    );
    let checked = rig
        .ok(["rules", "check", "--", "cat src/kept.rs"])
        .await
        .stdout;
    assert!(checked.starts_with("allow\n"), "{checked}");
    rig.ok(["rules", "check", "--", "sort -o out src/kept.rs"])
        .await
        .assert_prints("no rule allows it");
    rig.ok(["rules", "check", "cat", "src/kept.rs", "--json"])
        .await
        .assert_prints("--json is part of the command here");
}

#[tokio::test]
async fn filters_and_echo_run_no_program_of_the_project() {
    if !a_sandbox_protects().await {
        return;
    }
    let lead = ("lead", vec![Reply::text("I see.")]);
    let line = "printf 'one\\ntwo\\n' | head -1 && echo done";
    let replies = vec![bash(line), bash("cat kept | head -1"), Reply::text("Done.")];
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let mut rig = rig(&server);
    rig.set_settings("[permissions]\nallow = [\"Bash(printf:*)\"]\n");
    rig.write("kept", "first line\n");
    // The project contains programs with the names of system programs, in the first directory of the user's PATH.
    for name in ["bash", "cat", "echo", "head", "printf"] {
        let script = format!("#!/bin/sh\ntouch ran-{name}\nexec /usr/bin/{name} \"$@\"\n");
        rig.write(&format!("bin/{name}"), &script);
    }
    rig.shell("chmod +x bin/*").await.expect(0);
    let path = std::env::var("PATH").expect("it is set");
    let bin = rig.project().join("bin");
    rig.set("PATH", format!("{}:{path}", bin.display()));
    rig.ok(DEFAULT).await;
    rig.ok(["send", "ada", "Go on"]).await;
    server.until_asked("ada", 3).await;
    assert!(
        result(&server).contains("first line"),
        "{}",
        result(&server)
    );
    let ran = |name: &str| rig.read(&format!("ran-{name}")).is_some();
    // The user's rule names this program.
    assert!(ran("printf"));
    for name in ["bash", "cat", "echo", "head"] {
        assert!(!ran(name), "{name}");
    }
}

#[tokio::test]
async fn shift_tab_in_a_pane_changes_the_mode() {
    if !tmux::is_here() {
        return;
    }
    let models = [("lead", vec![Reply::text("I see.")]), ("ada", Vec::new())];
    let server = FakeModelServer::start(by_model(models)).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach", "--panes=tmux", "--mode=default"])
        .await;
    let pane = rig.member("ada").await.pane.expect("a pane");
    let team = rig.tmux();
    team.until_shown(&pane, "▸").await;
    team.ask(["send-keys", "-t", &pane, "BTab"]).await;
    team.until_shown(&pane, "mode accept-edits: ").await;
    assert_eq!(rig.json(["mode"]).await["mode"], "accept-edits");
    let label = async || team.panes("#{@agent_team_label}").await.join(" ");
    until("the border to show the mode", async || {
        label().await.contains("accept-edits").then_some(())
    })
    .await;
    let status = ["display-message", "-p", "#{T:status-right}"];
    until("the status line to show the mode", async || {
        team.ask(status)
            .await
            .contains("accept-edits")
            .then_some(())
    })
    .await;
}
