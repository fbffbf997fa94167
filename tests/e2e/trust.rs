//! Permissions and commands of a project's file apply only once the user has trusted them.

use std::os::unix::fs::PermissionsExt;

use agent_team_protocol::view::TaskState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use serde_json::json;

use crate::requests::there_is_a_sandbox;

const TEAM: &str = "\
name = \"demo\"
[panes]
placement = \"headless\"
[[member]]
name = \"ada\"
[permissions]
deny = [\"Bash(rm:*)\"]
";

const HOOK: &str = "[hooks]\nteammate_idle = \"touch ran\"\n";

fn digest(hint: &serde_json::Value) -> String {
    let hint = hint["hint"].as_str().expect("a hint");
    hint.rsplit(' ').next().expect("a word").to_owned()
}

/// A rig with this team file, which is trusted only when the test trusts it.
fn untrusted(file: &str) -> Rig {
    let mut rig = Rig::with_team(file);
    rig.trust_nothing();
    rig
}

#[tokio::test]
async fn a_file_that_widens_nothing_needs_no_trust() {
    let rig = untrusted(&format!("{TEAM}[[task]]\ntitle = \"x\"\n"));
    let up = rig.ok(["up", "--detach"]).await;
    assert!(!up.stderr.contains("trust"), "{}", up.stderr);
}

/// An earlier version obeyed each of these lines before it asked the user.
#[tokio::test]
async fn nothing_of_a_project_runs_before_it_is_trusted() {
    for (lines, shown) in [
        (
            "[[task]]\ntitle = \"x\"\nrun = \"touch ran\"\n",
            "task \"x\" runs touch ran",
        ),
        (
            "[[task]]\ntitle = \"x\"\nverify = \"touch ran\"\n",
            "task \"x\" is verified by touch ran",
        ),
        (
            "[defaults]\nenv = { PATH = \"./tools:/bin\" }\n",
            "env PATH=\"./tools:/bin\" for all members",
        ),
        (
            "[search]\napi = \"brave\"\nkey = \"MYTOKEN\"\nurl = \"http://example.org\"\n",
            "searches are sent to http://example.org, with the secret MYTOKEN",
        ),
        (
            "[providers.openai]\nheaders = { X-Team = \"a\" }\n",
            "the model provider openai is sent X-Team=\"a\"",
        ),
    ] {
        let rig = untrusted(&format!("{TEAM}{lines}"));
        let refusal = rig.refused(4, ["up", "--detach"]).await;
        assert_eq!(refusal["code"], "untrusted");
        let message = refusal["message"].as_str().expect("a message");
        assert!(message.contains(shown), "{message}");
        assert_eq!(rig.processes(), [], "{lines}");
        assert_eq!(rig.read("ran"), None);
    }
}

#[tokio::test]
async fn a_variable_that_chooses_programs_is_refused_for_agents() {
    for name in [
        "PATH",
        "HOME",
        "LD_PRELOAD",
        "GIT_SSH",
        "BASH_ENV",
        "RUSTC_WRAPPER",
    ] {
        let rig = untrusted(&format!(
            "name = \"demo\"\n[defaults]\nengine = \"native\"\n[[member]]\nname = \"ada\"\nenv = {{ {name} = \"x\" }}\n"
        ));
        let refused = rig.run(["up", "--detach"]).await.expect(2);
        let place = "team.toml:6:9: ";
        assert!(refused.stderr.contains(place), "{}", refused.stderr);
        let hint = format!("agent-team up --env {name}=VALUE");
        assert!(refused.stderr.contains(&hint), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn a_projects_notify_command_needs_trust() {
    let rig = untrusted(&format!(
        "notify = {{ command = [\"sh\", \"notify.sh\"] }}\n{TEAM}"
    ));
    rig.write("notify.sh", "echo \"$1\" >> notified\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    assert_eq!(refusal["code"], "untrusted");
    let message = refusal["message"].to_string();
    assert!(message.contains("notify runs"), "{message}");
    assert!(message.contains("the script notify.sh"), "{message}");
    // The user's own setting replaces the project's, so nothing needs trust.
    rig.set_settings("notify = \"bell\"\n");
    rig.ok(["up", "--detach"]).await;
}

#[tokio::test]
async fn a_script_that_changed_since_it_was_trusted_does_not_run() {
    let rig = untrusted(&format!(
        "{TEAM}{}[[task]]\ntitle = \"x\"\nrun = \"sh ./run.sh\"\n[[task]]\ntitle = \"y\"\nrun = \"true\"\n",
        HOOK.replace(
            "teammate_idle = \"touch ran\"",
            "task_completed = \"sh check.sh\""
        )
    ));
    rig.write("run.sh", "touch ran\n");
    rig.write("check.sh", "exit 0\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let message = refusal["message"].as_str().expect("a message");
    assert!(message.contains("the script run.sh (SHA-256 "), "{message}");
    let digest = digest(&refusal);
    // Changed content needs another digest.
    rig.write("run.sh", "touch ran # other\n");
    rig.refused(4, ["up", "--detach", "--trust", &digest]).await;
    rig.write("run.sh", "touch ran\n");
    rig.ok(["up", "--detach", "--dry-run", "--trust", &digest])
        .await;
    // The trusted script runs.
    rig.ok(["up", "--wait"]).await;
    assert!(rig.read("ran").is_some());

    // A script that changes while the team is up does not run.
    std::fs::remove_file(rig.project().join("ran")).expect("the file exists");
    rig.write("run.sh", "touch evil\n");
    let add = ["task", "add", "z", "--run", "sh ./run.sh"];
    rig.ok(add).await;
    let failed = rig.until_task_is("T-3", TaskState::Failed).await;
    let why = failed.result.expect("a reason");
    assert!(why.contains("run.sh changed since you trusted it"), "{why}");
    rig.write("check.sh", "touch evil\n");
    rig.ok(["task", "add", "w", "--run", "true"]).await;
    let failed = rig.until_task_is("T-4", TaskState::Failed).await;
    let why = failed.result.expect("a reason");
    assert!(
        why.contains("check.sh changed since you trusted it"),
        "{why}"
    );
    assert_eq!(rig.read("evil"), None);

    // The user looks at the change, and trusts it.
    rig.write("check.sh", "exit 0\n");
    let mut screen = rig.on_terminal(["up", "--detach"]);
    screen.until("changed since you trusted them").await;
    screen.until("~ the script run.sh (SHA-256 ").await;
    screen.until("Trust this? [y/N]").await;
    screen.type_in("y\r").await;
    let (ended, seen) = screen.end().await;
    assert_eq!(ended, 0, "{seen}");
    rig.ok(["task", "add", "v", "--run", "sh ./run.sh"]).await;
    rig.until_task_is("T-5", TaskState::Completed).await;
    assert!(rig.read("evil").is_some());
}

#[tokio::test]
async fn files_written_by_init_are_trusted() {
    let mut rig = Rig::new();
    rig.trust_nothing();
    rig.write("Makefile", "all:\n\ttouch ran\ncheck:\n\ttrue\n");
    rig.ok(["init"]).await;
    rig.ok(["up", "--wait", "--panes", "headless"]).await;
    assert!(rig.read("ran").is_some());
    // `init` does not trust what another file of the project adds.
    let mut rig = Rig::new();
    rig.trust_nothing();
    rig.write("Makefile", "all:\n\ttouch ran\n");
    rig.write(
        ".agent-team/roles/worker.md",
        "---\nname: worker\nnetwork: true\n---\nWork.\n",
    );
    rig.ok(["init"]).await;
    rig.refused(4, ["up", "--detach"]).await;
}

#[tokio::test]
async fn without_a_terminal_up_prints_the_digest_to_trust() {
    let rig = untrusted(&format!("{TEAM}{HOOK}"));
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    assert_eq!(refusal["code"], "untrusted");
    let message = refusal["message"].as_str().expect("a message");
    assert!(
        message.contains("hook teammate_idle runs touch ran"),
        "{message}"
    );
    assert_eq!(rig.processes(), [], "nothing was started");
    rig.refused(4, ["up", "--detach", "--trust", &"0".repeat(64)])
        .await;

    let digest = digest(&refusal);
    assert_eq!(
        refusal["hint"],
        format!("if you trust these lines: agent-team up --detach --json --trust {digest}")
    );
    rig.ok(["up", "--detach", "--trust", &digest]).await;
    until("the hook to run", async || rig.read("ran")).await;
    rig.ok(["up", "--detach"]).await;
    let kept = rig.home().join("state/trusted");
    let kept = std::fs::read_dir(kept)
        .expect("the directory exists")
        .next();
    let kept = kept.expect("a file").expect("a readable entry");
    let mode = kept
        .metadata()
        .expect("the file exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // A changed hook line needs trust again; an ask rule, which only restricts, does not.
    rig.set_team(&format!("{TEAM}{}", HOOK.replace("ran", "run")));
    rig.refused(4, ["up", "--detach"]).await;
    rig.set_team(&format!("{TEAM}ask = [\"Bash(ls:*)\"]\n{HOOK}"));
    rig.ok(["up", "--detach"]).await;
    assert_eq!(rig.read("run"), None);
}

#[tokio::test]
async fn on_a_terminal_the_user_is_asked_and_enter_means_no() {
    let rig = untrusted(&format!("{TEAM}{HOOK}"));
    for (answer, code) in [("\r", 4), ("yes\r", 0)] {
        let mut screen = rig.on_terminal(["up", "--detach"]);
        screen.until("hook teammate_idle runs touch ran").await;
        screen.until("Trust this? [y/N]").await;
        screen.type_in(answer).await;
        let (ended, seen) = screen.end().await;
        assert_eq!(ended, code, "{seen}");
    }
    until("the hook to run", async || rig.read("ran")).await;
}

#[tokio::test]
async fn the_verify_line_of_an_agents_task_runs_in_the_sandbox() {
    if !there_is_a_sandbox().await {
        return;
    }
    let done = json!({ "task": "T-1", "result": "Done." });
    let ada = vec![Reply::call("complete_task", done), Reply::text("Done.")];
    let lead = vec![Reply::text("Well."), Reply::text("Well.")];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = crate::agents::rig(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    let verify = "echo x > inside; echo x > ../outside; test -s inside";
    rig.set_team(&format!(
        "{file}[[task]]\ntitle = \"x\"\nfor = \"ada\"\nverify = \"{verify}\"\n"
    ));
    rig.ok(["up", "--detach"]).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    assert!(rig.read("inside").is_some());
    assert!(!rig.root().join("outside").exists());
}
