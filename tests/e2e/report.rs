//! `report`: the files of a real run, and the refusals of the verb.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use serde_json::{Value, json};

use crate::agents::rig_with_requests;
use crate::teams::{headless, task};

/// A text that becomes markup if it is not escaped.
pub(crate) const HOSTILE: &str = "</pre></title><script>document.title='taken'</script>\u{202e}";

/// A team that has worked on one goal: the lead waited for the permission to write a file.
pub(crate) async fn finished() -> (FakeModelServer, Rig) {
    let write = Reply::call("write", json!({"path": "out.txt", "content": HOSTILE}));
    let finish = Reply::call("finish", json!({"answer": HOSTILE}));
    let replies = [("lead", vec![write, finish]), ("ada", Vec::new())];
    let server = FakeModelServer::start(by_model(replies)).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", HOSTILE, "--detach"]).await;
    allow_until_answered(&rig).await;
    (server, rig)
}

/// Allows the request of the lead, and waits for the answer of the goal.
pub(crate) async fn allow_until_answered(rig: &Rig) {
    until("the request", async || {
        let requests = rig.json(["requests", "list"]).await;
        requests["requests"][0]["id"].as_str().map(drop)
    })
    .await;
    rig.ok(["requests", "allow", "P-1"]).await;
    until("the answer", async || {
        let goal = rig.json(["goal", "show"]).await;
        goal["answer"].as_str().map(drop)
    })
    .await;
}

fn assert_escaped(markup: &str) {
    let lower = markup.to_lowercase();
    for forbidden in [
        "<script",
        "javascript:",
        "src=",
        "<link",
        "@import",
        "url(",
        "\u{202e}",
    ] {
        assert!(!lower.contains(forbidden), "{forbidden}: {markup}");
    }
    assert!(markup.contains("&lt;script&gt;"), "{markup}");
}

#[tokio::test]
async fn a_run_is_reported_after_the_team_is_down() {
    let (_server, rig) = finished().await;
    rig.ok(["down"]).await;
    let report = rig
        .json([
            "report", "R-1", "--html", "r.html", "--svg", "r.svg", "--trace", "r.json",
        ])
        .await;
    assert_eq!(report["run"], "R-1");
    assert_eq!(report["files"], json!(["r.html", "r.svg", "r.json"]));
    let lead = &report["members"][0];
    assert_eq!(lead["name"], "lead");
    assert!(lead["waited_ms"].as_u64() > Some(0), "{report}");
    assert!(lead["worked_ms"].as_u64() > Some(0), "{report}");
    assert!(lead["usage"]["output"].as_u64() > Some(0), "{report}");
    for name in ["r.html", "r.svg", "r.json"] {
        let mode = std::fs::metadata(rig.project().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let html = rig.read("r.html").unwrap();
    assert_escaped(&html);
    assert!(
        html.contains("<b>P-1</b>") && html.contains("by user"),
        "{html}"
    );
    let svg = rig.read("r.svg").unwrap();
    assert_escaped(&svg);
    assert!(
        svg.contains("waits for the decision of P-1, allowed by user"),
        "{svg}"
    );
    check_trace(&rig.read("r.json").unwrap());
    // Use the same names again: the verb replaces its earlier reports.
    let again = rig.run(["report", "--html", "r.html"]).await.expect(0);
    assert_eq!(again.stdout, "wrote r.html\n");
    let table = rig.ok(["report"]).await.stdout;
    assert!(
        table.contains("WAITED") && table.contains("lead"),
        "{table}"
    );
}

/// The rules of the trace event format that Perfetto needs.
fn check_trace(text: &str) {
    let trace: Value = serde_json::from_str(text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    let mut names = BTreeMap::new();
    let mut ends: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for event in events {
        let phase = event["ph"].as_str().expect("a phase");
        let process = event["pid"].as_u64().expect("a process");
        match phase {
            "M" if event["name"] == "process_name" => {
                names.insert(process, event["args"]["name"].as_str().expect("a name"));
            }
            "X" => {
                let (from, length) = (
                    event["ts"].as_u64().unwrap(),
                    event["dur"].as_u64().unwrap(),
                );
                let end = ends
                    .entry((process, event["tid"].as_u64().unwrap()))
                    .or_default();
                assert!(from >= *end, "overlaps: {event}");
                *end = from + length;
            }
            "M" | "C" | "i" => {}
            other => panic!("phase {other}"),
        }
        assert!(event["name"].is_string(), "{event}");
    }
    let lead = names.iter().find(|(_, name)| **name == "lead (lead)");
    let (lead, _) = lead.expect("a process for the lead");
    let wait = events.iter().find(|event| {
        let call = event["args"]["call"].as_str();
        call.is_some_and(|call| call.contains("out.txt"))
    });
    let wait = wait.expect("the request");
    assert_eq!(wait["pid"].as_u64(), Some(*lead));
    assert!(wait["dur"].as_u64() > Some(0), "{wait}");
    assert!(!text.contains('\u{202e}'));
}

#[tokio::test]
async fn tasks_of_command_members_are_reported_with_their_owner() {
    let title = "Fail & stop";
    let rig = headless(
        &["ada"],
        &(task("Build", "true", "") + &task(title, "exit 3", "")),
    );
    rig.run(["up", "--wait"]).await.expect(1);
    let report = rig.json(["report", "--svg", "r.svg"]).await;
    assert_eq!(report["members"][0]["tasks_completed"], 1);
    let svg = rig.read("r.svg").unwrap();
    assert!(svg.contains("T-2 Fail &amp; stop: failed"), "{svg}");
    assert!(svg.contains("T-1 Build: completed"), "{svg}");
}

#[tokio::test]
async fn bad_input_changes_no_file() {
    let rig = headless(&["ada"], "");
    rig.write("notes.md", "mine");
    let error = rig.refused(2, ["report", "--html", "notes.md"]).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("not such a report"), "{error}");
    assert_eq!(rig.read("notes.md").as_deref(), Some("mine"));
    let error = rig.refused(1, ["report", "--svg", "none/r.svg"]).await;
    assert!(
        error["hint"].as_str().unwrap().contains("mkdir -p none"),
        "{error}"
    );
    let error = rig.refused(1, ["report", "--svg", "notes.md/r.svg"]).await;
    assert_eq!(error["code"], "io");
    std::os::unix::fs::symlink("notes.md", rig.project().join("link")).unwrap();
    rig.refused(2, ["report", "--trace", "link"]).await;
    // First there is no team, then the team has no such run.
    rig.refused(3, ["report"]).await;
    rig.ok(["up"]).await;
    let error = rig.refused(3, ["report", "R-7", "--html", "r.html"]).await;
    assert_eq!(error["code"], "unknown_run");
    assert_eq!(rig.read("r.html"), None);
    rig.refused(2, ["report", "T-7"]).await;
    // The verb does not replace a picture by a page.
    rig.ok(["report", "--svg", "r.svg"]).await;
    rig.refused(2, ["report", "--html", "r.svg"]).await;
}

#[tokio::test]
async fn secrets_of_a_running_team_are_redacted() {
    let mut rig = headless(&["ada"], "");
    rig.set("DEPLOY", "hunter2-of-the-deploy");
    rig.ok(["up", "--secret", "DEPLOY"]).await;
    rig.ok(["send", "ada", "use hunter2-of-the-deploy & go"])
        .await;
    rig.ok(["report", "--html", "r.html", "--trace", "r.json"])
        .await;
    for name in ["r.html", "r.json"] {
        let text = rig.read(name).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("[secret DEPLOY]"), "{text}");
    }
}
