//! Flags of `run` and `up` for a team that is already up: an inapplicable flag is refused, never ignored.

use std::process::Stdio;

use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::within;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::agents::{greeting, rig_with_requests};

#[tokio::test]
async fn run_refuses_flags_that_a_running_team_cannot_honour() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach", "--bypass"]).await;
    let before = rig.ok(["events", "--json"]).await.stdout;
    let flags: [&[&str]; 11] = [
        &["--mode", "plan"],
        &["--bypass"],
        &["--var", "project=pay"],
        &["--env", "FOO=1"],
        &["--secret", "OPENAI_API_KEY"],
        &["--fresh"],
        &["--record", "run.jsonl"],
        &["--file", ".agent-team/team.toml"],
        &["--trust", "0123"],
        &["-t", "demo", "-n", "2"],
        &["--mode", "plan", "--fresh"],
    ];
    for flags in flags {
        let mut command = rig.command(&["run", "--json", "Greet the world"]);
        let output = command
            .args(flags)
            .output()
            .await
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(4), "{flags:?}: {output:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
        let error = &error["error"];
        assert_eq!(error["code"], "team_running", "{flags:?}");
        let message = error["message"].as_str().expect("a text");
        for flag in flags.iter().filter(|flag| flag.starts_with('-')) {
            assert!(*flag == "-t" || message.contains(flag), "{flag}: {message}");
        }
        let hint = error["hint"].as_str().expect("a hint");
        assert!(hint.contains("agent-team"), "{hint}");
    }
    assert_eq!(server.requests().len(), 0, "no model was asked");
    let after = rig.ok(["events", "--json"]).await.stdout;
    assert_eq!(after, before, "the team is unchanged");
}

#[tokio::test]
async fn run_needs_no_file_for_a_team_that_is_up() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig_with_requests(&server);
    let file = rig.project().join(".agent-team/team.toml");
    let elsewhere = rig.project().join("other.toml");
    std::fs::rename(file, &elsewhere).expect("the file can be moved");
    rig.ok(["up", "--detach", "--bypass", "--file", "other.toml"])
        .await;
    let output = rig.ok(["run", "-t", "demo", "Greet the world"]).await;
    assert_eq!(output.stdout, "The greeting is written.\n");
    assert!(output.stderr.contains("already up"), "{}", output.stderr);
}

#[tokio::test]
async fn up_refuses_another_placement_for_a_team_that_is_up() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach", "--panes", "headless"]).await;
    let refused = rig
        .refused(4, ["up", "--panes", "hosted", "Greet the world"])
        .await;
    assert_eq!(refused["code"], "team_running");
    rig.run(["up", "--fresh", "--detach", "Greet the world"])
        .await
        .expect(4)
        .assert_prints("is up");
    assert_eq!(server.requests().len(), 0, "no model received the goal");
    rig.ok(["up", "--detach", "--panes", "headless"]).await;
}

#[tokio::test]
async fn up_with_another_goal_names_the_earlier_one() {
    let lead = vec![
        Reply::call("finish", json!({"answer": "It is greeted."})),
        Reply::hang(),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach", "--wait", "Greet the world"])
        .await;
    rig.ok(["up", "--detach", "Greet the moon"])
        .await
        .assert_prints("R-1 has ended (Done in")
        .assert_prints("Greet the world")
        .assert_prints("R-2: the lead has the goal")
        .assert_prints("agent-team goal show")
        .assert_prints("agent-team cancel");
    rig.run(["up", "--detach", "Greet the sun"])
        .await
        .expect(4)
        .assert_prints("no changes: the team matches its file")
        .assert_prints("cannot start another goal: R-2 is under way: Greet the moon")
        .assert_prints("agent-team cancel");
}

#[tokio::test]
async fn up_with_a_goal_applies_mode_to_a_running_team() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach", "--bypass"]).await;
    rig.ok(["up", "--detach", "--mode", "plan", "Greet the world"])
        .await;
    server.until_asked("ada", 2).await;
    let written = server.requests();
    let second = written
        .iter()
        .filter(|asked| asked.model() == "ada")
        .nth(1)
        .expect("ada was asked twice");
    let result = &second.results()[0].1;
    assert!(result.contains("plan"), "the write was refused: {result}");
    assert_eq!(rig.read("greeting.txt"), None);
}

#[tokio::test]
async fn run_prints_which_member_waits_for_a_decision() {
    let ada = vec![
        Reply::call(
            "write",
            json!({"path": "greeting.txt", "content": "hello\n"}),
        ),
        Reply::call("complete_task", json!({"task": "T-1", "result": "written"})),
        Reply::text("Done."),
    ];
    let [lead, _] = greeting();
    let server = FakeModelServer::start(by_model([lead, ("ada", ada)])).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach"]).await;
    let mut run = rig.command(&["run", "Greet the world"]);
    let mut run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program runs");
    let stderr = run.stderr.take().expect("stderr is piped");
    let mut lines = BufReader::new(stderr).lines();
    let is_printed = async {
        while let Some(line) = lines.next_line().await.expect("output in UTF-8") {
            if line.contains("ada") && line.contains("P-1") {
                return;
            }
        }
        panic!("the run ended before it printed the blocked member");
    };
    within("the run to print the blocked member", is_printed).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    let ended = within("the run to end", run.wait()).await;
    assert!(ended.expect("an exit status").success());
}
