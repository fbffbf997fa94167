//! Permission to change files: requests with their diff, and decisions by rules and modes.

use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, by_model};
use agent_team_tests::{Rig, until};
use serde_json::{Value, json};

use crate::agents::rig_with_requests as rig;

fn write(path: &str, content: &str) -> Reply {
    Reply::call("write", json!({ "path": path, "content": content }))
}

/// Starts a team: a lead that calls no tool, and ada, whose model returns these replies. `settings` is the user's
/// settings file.
async fn team(settings: &str, replies: Vec<Reply>) -> (FakeModelServer, Rig) {
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    rig.set_settings(settings);
    rig.write("src/kept.rs", "one\ntwo\n");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    (server, rig)
}

/// The results that this member's model received for its calls.
fn results(server: &FakeModelServer, member: &str) -> Vec<String> {
    let requests = server.requests();
    let of_member = requests.iter().filter(|request| request.model() == member);
    of_member
        .flat_map(|request| request.results())
        .map(|(_, text)| text)
        .collect()
}

fn result(server: &FakeModelServer) -> String {
    results(server, "ada").pop().expect("a result")
}

#[tokio::test]
async fn an_edit_is_shown_with_its_diff_and_written_when_allowed() {
    let read = Reply::call("read", json!({ "path": "src/kept.rs" }));
    let edit = json!({ "path": "src/kept.rs", "old": "two", "new": "three" });
    let edit = Reply::call("edit", edit);
    let (server, rig) = team("", vec![read, edit, Reply::text("Done.")]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    let shown = rig.ok(["requests", "show", "P-1"]).await.stdout;
    for line in [
        "      -two\n",
        "      +three\n",
        "src/kept.rs",
        "--as 'Edit(./src/kept.rs)'",
        "--as 'Edit(src/**)'",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let listed = rig.ok(["requests"]).await.stdout;
    assert!(listed.contains("edit: src/kept.rs\n"), "{listed}");
    assert_eq!(rig.read("src/kept.rs").as_deref(), Some("one\ntwo\n"));
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 3).await;
    assert_eq!(rig.read("src/kept.rs").as_deref(), Some("one\nthree\n"));
}

#[tokio::test]
async fn a_file_changed_during_a_request_is_not_overwritten() {
    let read = Reply::call("read", json!({ "path": "src/kept.rs" }));
    let replies = vec![read, write("src/kept.rs", "mine\n"), Reply::text("Done.")];
    let (server, rig) = team("", replies).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    rig.write("src/kept.rs", "the user was here\n");
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 3).await;
    assert!(result(&server).contains("has changed since you read it"));
    assert_eq!(
        rig.read("src/kept.rs").as_deref(),
        Some("the user was here\n")
    );
}

#[tokio::test]
async fn edits_in_git_and_agent_team_are_refused_without_a_request() {
    let replies = vec![
        write(".git/hooks/pre-commit", "evil"),
        write(".agent-team/team.toml", "evil"),
        Reply::text("Done."),
    ];
    let (server, rig) = team("[permissions]\nallow = [\"Edit\"]\n", replies).await;
    server.until_asked("ada", 3).await;
    assert!(result(&server).contains("configures the team's permissions"));
    assert_eq!(
        rig.json(["requests", "list", "--all"]).await["requests"],
        json!([])
    );
}

#[tokio::test]
async fn modes_and_rules_decide_edits() {
    for (settings, expected, asked, written) in [
        ("mode = \"accept-edits\"", "created src/new.rs", false, true),
        ("mode = \"plan\"", "in mode plan", false, false),
        ("mode = \"dont-ask\"", "in mode dont-ask", false, false),
        (
            "allow = [\"Edit(src/**)\"]",
            "created src/new.rs",
            false,
            true,
        ),
        (
            "mode = \"accept-edits\"\ndeny = [\"Edit(*.rs)\"]",
            "denied by Edit(*.rs)",
            false,
            false,
        ),
        (
            "mode = \"accept-edits\"\nask = [\"Edit(src/**)\"]",
            "",
            true,
            false,
        ),
    ] {
        let replies = vec![write("src/new.rs", "new\n"), Reply::text("Done.")];
        let settings = format!("[permissions]\n{settings}\n");
        let (server, rig) = team(&settings, replies).await;
        if asked {
            rig.until_member("ada", |ada| ada.requests > 0).await;
        } else {
            server.until_asked("ada", 2).await;
            assert!(
                result(&server).contains(expected),
                "{settings}{}",
                result(&server)
            );
        }
        assert_eq!(rig.read("src/new.rs").is_some(), written, "{settings}");
    }
}

#[tokio::test]
async fn a_directory_grant_settles_edits_of_eight_different_files() {
    let replies = |request: &Request| {
        let done = !request.results().is_empty();
        match request.model() {
            "lead" => Reply::text("I see."),
            _ if done => Reply::text("Done."),
            "w9" => write("other/w9.txt", "mine\n"),
            name => write(&format!("src/{name}.txt"), "mine\n"),
        }
    };
    let server = FakeModelServer::start(replies).await;
    let rig = rig(&server);
    let mut file = String::from("name = \"demo\"\nmode = \"lead\"\n");
    file.push_str("[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n");
    for number in 1..=9 {
        file.push_str(&format!(
            "[[member]]\nname = \"w{number}\"\nengine = \"native\"\nmodel = \"openai/w{number}\"\n"
        ));
    }
    rig.set_team(&file);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "all", "Go on"]).await;
    let listed = until("nine requests", async || {
        let listed = rig.json(["requests"]).await;
        let all = listed["requests"].as_array()?.len() == 9;
        all.then_some(listed)
    })
    .await;
    let requests = listed["requests"].as_array().expect("a list");
    let in_src = |request: &&Value| {
        let path = request["input"]["path"].as_str();
        path.is_some_and(|path| path.starts_with("src/"))
    };
    let first = requests.iter().find(in_src).expect("one of the eight");
    let first = first["id"].as_str().expect("an id");
    let allow = [
        "requests",
        "allow",
        first,
        "--for",
        "team",
        "--as",
        "Edit(src/**)",
    ];
    rig.ok(allow).await;
    let left = rig.json(["requests"]).await;
    let left = left["requests"].as_array().expect("a list").clone();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["member"], "w9");
    for number in 1..=8 {
        server.until_asked(&format!("w{number}"), 2).await;
        let written = rig.read(&format!("src/w{number}.txt"));
        assert_eq!(written.as_deref(), Some("mine\n"));
    }
    assert_eq!(rig.read("other/w9.txt"), None);
}

#[tokio::test]
async fn a_guarded_file_needs_permission_and_no_search_finds_it() {
    let replies = vec![
        Reply::call("grep", json!({ "pattern": "hunter" })),
        Reply::call("glob", json!({ "pattern": "**/*.txt" })),
        Reply::call("read", json!({ "path": "src/../keys/one.txt" })),
        Reply::call("read", json!({ "path": "keys/two.txt" })),
        Reply::text("Done."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig(&server);
    rig.set_settings("[permissions]\nask = [\"Read(keys/two.txt)\"]\n");
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&format!(
        "{file}[permissions]\ndeny = [\"Read(keys/one.txt)\"]\n"
    ));
    for (name, text) in [
        ("keys/one.txt", "hunter1\n"),
        ("keys/two.txt", "hunter2\n"),
        ("src/open.txt", "hunter3\n"),
    ] {
        rig.write(name, text);
    }
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("ada", 5).await;
    let results = results(&server, "ada");
    let [grepped, globbed, one, two] = results.as_slice() else {
        panic!("{results:?}");
    };
    for listed in [grepped, globbed] {
        assert!(listed.contains("src/open.txt"), "{listed}");
        assert!(!listed.contains("keys/"), "{listed}");
    }
    assert!(one.contains("denied by Read(keys/one.txt)"), "{one}");
    assert!(two.contains("hunter2"), "{two}");
}

#[tokio::test]
async fn an_unattended_run_denies_requests_and_prints_one_note() {
    let edit = || write("new.txt", "new\n");
    let finish = || Reply::call("finish", json!({ "answer": "Done." }));
    for (arguments, written) in [
        (["run", "--mode", "default", "Do it"], false),
        (["run", "--mode", "accept-edits", "Do it"], true),
    ] {
        let bash = Reply::call("bash", json!({ "command": "touch ran" }));
        let lead = ("lead", vec![edit(), bash, finish()]);
        let server = FakeModelServer::start(by_model([lead, ("ada", Vec::new())])).await;
        let rig = rig(&server);
        let run = rig.run(arguments).await.expect(0);
        assert_eq!(
            run.stderr.matches("permission requests are denied").count(),
            1,
            "{}",
            run.stderr
        );
        let denied = match written {
            false => "2 requests were denied:\n  write: new.txt\n  bash: touch ran",
            true => "1 request was denied: bash: touch ran",
        };
        assert!(run.stderr.contains(denied), "{}", run.stderr);
        assert_eq!(rig.read("new.txt").is_some(), written);
        assert_eq!(rig.read("ran"), None);
        let texts = results(&server, "lead");
        assert!(texts[1].contains("unattended: no user to ask"), "{texts:?}");
    }
}
