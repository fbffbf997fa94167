//! `--secret`: tools receive the value; output, logs, the journal and recordings do not contain it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_team_protocol::view::TaskState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use agent_team_tests::{Rig, tmux};
use serde_json::json;

use crate::teams::{in_panes, task};

const VALUE: &str = "hunter2-of-the-deploy";

/// [`VALUE`], as `base64` prints it.
const ENCODED: &str = "aHVudGVyMi1vZi10aGUtZGVwbG95";

/// A team with only a lead; requests to its model carry this key.
fn lead_alone(server: &FakeModelServer, key: &str) -> Rig {
    let mut rig = Rig::with_team(
        "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n",
    );
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", key);
    rig
}

/// The files below a directory that contain the value, either plain or encoded.
fn holders(directory: &Path) -> Vec<String> {
    holders_of(&[VALUE, ENCODED], directory)
}

/// The files below a directory that contain one of these values.
fn holders_of(texts: &[&str], directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders_of(texts, &path));
        } else if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
            if texts.iter().any(|text| holds(text)) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test]
async fn a_secret_reaches_tools_and_is_shown_nowhere() {
    let whole =
        "printf '%s' \"$DEPLOY\" > from-tool; for i in $(seq 3000); do echo \"$i $DEPLOY\"; done";
    let server = FakeModelServer::start(in_turn([
        Reply::call(
            "bash",
            json!({"command": "printf 'it is hunter2-'; sleep 0.2; printf 'of-the-deploy, '; \
                printf %s \"$DEPLOY\" | base64; echo \"key: $OPENAI_API_KEY\"; \
                echo \"$UNNAMED,$NAMED,$GIVEN,$LC_ALL\""}),
        ),
        Reply::call("bash", json!({"command": whole})),
        Reply::call(
            "bash",
            json!({"command": "echo \"$DEPLOY\"; exit 1", "background": true}),
        ),
        Reply::call("bash_output", json!({"id": 1, "wait_seconds": 60})),
        Reply::call("read", json!({"path": "from-tool"})),
        Reply::call("grep", json!({"pattern": "hunter2"})),
        Reply::call("finish", json!({"answer": "Deployed."})),
    ]))
    .await;
    let mut rig = lead_alone(&server, "a-key-for-the-model");
    rig.set("DEPLOY", VALUE);
    for name in ["UNNAMED", "NAMED", "LC_ALL"] {
        rig.set(name, "C.UTF-8");
    }
    let output = rig
        .run([
            "run",
            "--bypass",
            "--secret",
            "DEPLOY",
            "--env",
            "NAMED",
            "--env",
            "GIVEN=typed",
            "--record",
            "run.jsonl",
            "Deploy it",
        ])
        .await
        .expect(0);
    assert_eq!(output.stdout, "Deployed.\n");
    assert!(!output.stderr.contains(VALUE), "{}", output.stderr);
    assert_eq!(rig.read("from-tool").as_deref(), Some(VALUE));

    let requests = server.requests();
    let results: Vec<String> = requests
        .iter()
        .flat_map(|request| request.results())
        .map(|(_, text)| text)
        .collect();
    assert!(
        results
            .iter()
            .all(|text| !text.contains(VALUE) && !text.contains(ENCODED))
    );
    let text = |at: usize| results[at].as_str();
    assert!(
        text(0).starts_with("it is [secret DEPLOY], [secret DEPLOY]"),
        "{}",
        text(0)
    );
    assert!(
        text(0).contains("key: \n"),
        "tools do not receive a model's key: {}",
        text(0)
    );
    assert!(
        text(0).contains("\n,C.UTF-8,typed,C.UTF-8"),
        "tools receive only the usual and the named variables: {}",
        text(0)
    );
    assert!(
        text(1).contains("1 [secret DEPLOY]\n") && text(1).contains("stored in"),
        "{}",
        text(1)
    );
    assert!(text(3).contains("[secret DEPLOY]\n"), "{}", text(3));
    assert!(text(4).contains("[secret DEPLOY]"), "{}", text(4));
    assert!(text(5).contains("[secret DEPLOY]"), "{}", text(5));

    assert_eq!(
        holders(&rig.home()),
        [""; 0],
        "state, logs and kept outputs"
    );
    assert!(!rig.read("run.jsonl").unwrap().contains(VALUE));
}

#[tokio::test]
async fn a_request_with_a_diff_shows_no_secret_and_none_is_stored() {
    let edit = json!({"path": "deploy.env", "old": "HOST=a", "new": "HOST=b"});
    let server = FakeModelServer::start(in_turn([
        Reply::call("read", json!({"path": "deploy.env"})),
        Reply::call("edit", edit),
        Reply::call("finish", json!({"answer": "Changed."})),
    ]))
    .await;
    let mut rig = lead_alone(&server, "a-key-for-the-model");
    rig.set("DEPLOY", VALUE);
    rig.write("deploy.env", &format!("HOST=a\nKEY={VALUE}\n"));
    rig.ok(["up", "--detach", "--secret", "DEPLOY", "Change it"])
        .await;
    rig.until_member("lead", |lead| lead.requests > 0).await;
    for arguments in [["requests", "show", "P-1"], ["requests", "list", "--json"]] {
        let shown = rig.ok(arguments).await.stdout;
        assert!(shown.contains("HOST=b"), "{shown}");
        assert!(!shown.contains(VALUE), "{shown}");
    }
    rig.ok(["requests", "allow", "P-1"]).await;
    server.until_asked("lead", 3).await;
    assert_eq!(
        rig.read("deploy.env").as_deref(),
        Some(&*format!("HOST=b\nKEY={VALUE}\n"))
    );
    let audit = rig.ok(["audit", "export"]).await.stdout;
    assert!(
        audit.contains("HOST=b") && !audit.contains(VALUE),
        "{audit}"
    );
    rig.ok(["down", "--force"]).await;
    assert_eq!(
        holders(&rig.home()),
        [""; 0],
        "journal, transcript and logs"
    );
}

#[tokio::test]
async fn a_models_key_is_only_in_requests_and_the_environment_file() {
    const KEY: &str = "sk-of-no-user-at-all";
    let server = FakeModelServer::start(in_turn([
        Reply::call("todo", json!({"items": []})),
        Reply::call("finish", json!({"answer": "Done."})),
        Reply::hang(),
    ]))
    .await;
    let rig = lead_alone(&server, KEY);
    let output = rig
        .run(["run", "--record", "run.jsonl", "--events", "Do it"])
        .await
        .expect(0);
    assert!(!output.stdout.contains(KEY) && !output.stderr.contains(KEY));
    assert_eq!(
        server.requests()[0].headers["authorization"],
        format!("Bearer {KEY}")
    );
    assert_eq!(
        holders_of(&[KEY], rig.root()),
        [""; 0],
        "state, logs, recording"
    );

    rig.ok(["up", "--detach", "Do it again"]).await;
    server.until_asked("lead", 3).await;
    for found in rig.processes() {
        assert!(!found.command.contains(KEY), "{found:?}");
    }
    let kept = rig.directories().environment_file("any");
    let kept = kept.parent().expect("a directory");
    for holder in holders_of(&[KEY], rig.root()) {
        assert!(Path::new(&holder).starts_with(kept), "{holder}");
    }
    rig.ok(["down", "--force"]).await;
    assert_eq!(
        holders_of(&[KEY], rig.root()),
        [""; 0],
        "the key is not kept after `down`"
    );
}

#[tokio::test]
async fn a_secret_reaches_the_task_but_no_pane_no_result_and_no_log() {
    if !tmux::is_here() {
        return;
    }
    let line = r#"echo "it is $DEPLOY"; printf %s "$DEPLOY" > from-task"#;
    let rig = in_panes(&["ada"], &task("Show", line, ""));
    let file = rig.root().join("deploy.txt");
    fs::write(&file, format!("{VALUE}\n")).unwrap();
    let named = format!("DEPLOY={}", file.display());

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    rig.run(["up", "--secret", &named])
        .await
        .expect(2)
        .assert_prints("it is accessible to other users")
        .assert_prints("chmod 600");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    rig.ok(["up", "--secret", &named]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("it is [secret DEPLOY]"));
    assert_eq!(rig.read("from-task").as_deref(), Some(VALUE));
    let pane = rig.member("ada").await.pane.unwrap();
    let shown = rig.tmux().until_shown(&pane, "T-1 completed").await;
    assert!(
        shown.contains("it is [secret DEPLOY]") && !shown.contains(VALUE),
        "{shown}"
    );
    let held = holders(&rig.home().join("state"));
    assert_eq!(held, [""; 0]);
    rig.ok(["down"]).await;
    assert_eq!(holders(&rig.home()), [""; 0], "not kept after `down`");
}

#[tokio::test]
async fn an_unreadable_or_short_secret_is_refused() {
    let rig = Rig::with_team("[[member]]\nname = \"ada\"\nengine = \"command\"\n");
    let refused = rig.run(["up", "--secret", "NOT_SET"]).await.expect(2);
    refused
        .assert_prints("NOT_SET")
        .assert_prints("--secret NAME=FILE");
    rig.run(["up", "--secret", "T=/not/there"])
        .await
        .expect(2)
        .assert_prints("/not/there");
    let file = rig.root().join("short");
    fs::write(&file, "12345\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let named = format!("PIN={}", file.display());
    rig.run(["up", "--secret", &named])
        .await
        .expect(2)
        .assert_prints("shorter than 6 bytes");
}
