//! Several protocol versions: the supervisor accepts the frames of each protocol version and replies in that version.
//! `tests/fixtures/wire/vN.jsonl` contains one conversation per version, one frame per line.
//!
//! A recorded answer is a lower bound: the real answer may have more fields. `<text>`, `<number>` and `<any>` replace
//! values that differ between runs, `<project>` replaces the team's directory.

use std::fs;
use std::path::Path;

use agent_team_protocol::initialize::PROTOCOL;
use agent_team_protocol::view::MemberState;
use agent_team_tests::{Rig, processes, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::teams::{assigned, headless};

/// A connection that exchanges frames verbatim.
struct Raw(BufReader<UnixStream>);

impl Raw {
    async fn connect(rig: &Rig) -> Self {
        let stream = UnixStream::connect(rig.directories().socket()).await;
        Self(BufReader::new(stream.unwrap()))
    }

    async fn send(&mut self, frame: &Value) {
        self.0
            .get_mut()
            .write_all(format!("{frame}\n").as_bytes())
            .await
            .unwrap();
    }

    async fn receive(&mut self) -> Value {
        let mut line = String::new();
        within("a frame", self.0.read_line(&mut line))
            .await
            .unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

/// The position at which a frame lacks a recorded value or differs from it; `None` if the frame matches.
fn differs(recorded: &Value, real: &Value, place: &str) -> Option<String> {
    let fits = match (recorded, real) {
        (Value::String(kind), _) if kind == "<any>" => !real.is_null(),
        (Value::String(kind), _) if kind == "<text>" => real.is_string(),
        (Value::String(kind), _) if kind == "<number>" => real.is_number(),
        (Value::Object(fields), Value::Object(_)) => {
            let mut fields = fields.iter();
            return fields.find_map(|(name, value)| match real.get(name) {
                Some(real) => differs(value, real, &format!("{place}.{name}")),
                None => Some(format!("{place}.{name} is missing in {real}")),
            });
        }
        (Value::Array(items), Value::Array(real)) if items.len() == real.len() => {
            let mut pairs = items.iter().zip(real);
            return pairs.find_map(|(item, real)| differs(item, real, place));
        }
        _ => recorded == real,
    };
    (!fits).then(|| format!("{place} is {real}, recorded as {recorded}"))
}

fn conversation(version: u32, project: &Path) -> Vec<Value> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let text = fs::read_to_string(fixtures.join(format!("v{version}.jsonl"))).unwrap();
    let text = text.replace("<project>", &project.display().to_string());
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn recorded_clients_of_every_version_are_served() {
    for version in PROTOCOL.min..=PROTOCOL.max {
        let rig = assigned(&["ada"], "");
        rig.ok(["up"]).await;
        let mut raw = Raw::connect(&rig).await;
        for line in conversation(version, &rig.project()) {
            if let Some(frame) = line.get("send") {
                raw.send(frame).await;
            } else {
                let real = raw.receive().await;
                assert_eq!(differs(&line["receive"], &real, "frame"), None);
            }
        }
    }
}

#[tokio::test]
async fn a_newer_client_is_served_in_the_common_version() {
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    let mut raw = Raw::connect(&rig).await;
    // A handshake, a notification and a call with parts that this build does not know.
    let newer = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocol": { "min": PROTOCOL.max, "max": PROTOCOL.max + 1 }, "build": "agent-team 99.0.0",
            "as": "client", "client": "newer", "colours": true
        },
    });
    raw.send(&newer).await;
    let answer = raw.receive().await;
    assert_eq!(answer["result"]["protocol"], PROTOCOL.max, "{answer}");
    raw.send(&json!({ "jsonrpc": "2.0", "method": "client/resized", "params": {} }))
        .await;
    let add = json!({
        "jsonrpc": "2.0", "id": 1, "method": "task/add",
        "params": {
            "team": { "by": "directory", "value": rig.project() }, "key": "k", "trace": "t",
            "args": { "spec": { "key": "a", "title": "A", "deadline": 7 } }
        },
    });
    raw.send(&add).await;
    assert_eq!(raw.receive().await["result"]["task"], "T-1");
    // A decision that only the newer version knows is read as a denial. Here, the request does not exist.
    let decide = json!({
        "jsonrpc": "2.0", "id": 2, "method": "request/decide",
        "params": {
            "team": { "by": "directory", "value": rig.project() }, "key": "d",
            "args": { "request": "P-1", "decision": { "kind": "allow_for_a_week" } }
        },
    });
    raw.send(&decide).await;
    let refusal = raw.receive().await;
    assert_eq!(
        refusal["error"]["data"]["code"], "unknown_request",
        "{refusal}"
    );
}

#[test]
fn a_frame_without_a_recorded_field_is_found() {
    let recorded = json!({ "a": "<text>", "b": [1, { "c": "<number>" }] });
    let fits = json!({ "a": "x", "b": [1, { "c": 2, "new": true }], "new": 1 });
    assert_eq!(differs(&recorded, &fits, "frame"), None);
    for other in [
        json!({ "b": [1, { "c": 2 }] }),
        json!({ "a": 1, "b": [1, { "c": 2 }] }),
        json!({ "a": "x", "b": [1] }),
        json!({ "a": "x", "b": [1, { "c": "2" }] }),
        json!({ "a": "x", "b": [2, { "c": 2 }] }),
    ] {
        assert!(differs(&recorded, &other, "frame").is_some(), "{other}");
    }
}

/// Replaces a text in every journal of the rig, as a build of a newer version would have written it, and starts a
/// supervisor.
async fn rewrite_settings(rig: &Rig, old: &str, new: &str) {
    let teams = std::fs::read_dir(rig.directories().teams()).unwrap();
    for team in teams {
        let journal = rusqlite::Connection::open(team.unwrap().path().join("team.db")).unwrap();
        let tables = ["journal", "snapshot"];
        let rewritten: usize = tables
            .map(|table| {
                let update = format!(
                    "UPDATE {table} SET event = replace(event, ?1, ?2) WHERE instr(event, ?1)"
                );
                journal.execute(&update, [old, new]).unwrap()
            })
            .iter()
            .sum();
        assert!(rewritten > 0, "{old} is not in the journal");
    }
    rig.ok(["ps"]).await;
}

#[tokio::test]
async fn unreadable_team_settings_hold_the_team() {
    let newer = [
        (r#"\"mode\":\"default\""#, r#"\"mode\":\"newer\""#, "newer"),
        (r#"Read(secret.txt)"#, r#"Peek(secret.txt)"#, "Peek"),
        (r#"\"deny\":"#, r#"\"never\":"#, "never"),
    ];
    for (old, new, named) in newer {
        let rig = headless(
            &["ada", "bob"],
            "[permissions]\ndeny = [\"Read(secret.txt)\"]\n",
        );
        rig.ok(["up"]).await;
        let check = ["rules", "check", "--", "cat secret.txt"];
        let denied = rig.run(check).await;
        assert!(denied.stdout.contains("Read(secret.txt)"), "{denied:?}");
        processes::end(rig.root()).await;
        rewrite_settings(&rig, old, new).await;

        for name in ["ada", "bob"] {
            let held = rig.until_member_is(name, MemberState::Held).await;
            assert!(
                held.why.contains("cannot read the settings of the team: ")
                    && held.why.contains(named)
                    && held.why.contains("agent-team up"),
                "{held:?}"
            );
        }
        let unread = rig.run(check).await;
        assert!(
            unread.stdout.contains("deny") && unread.stdout.contains("cannot be read"),
            "{unread:?}"
        );
        rig.refused(4, ["rules", "list"]).await;

        rig.ok(["up"]).await;
        rig.until_member_is("ada", MemberState::Idle).await;
        let denied = rig.run(check).await;
        assert!(denied.stdout.contains("Read(secret.txt)"), "{denied:?}");
    }
}

#[tokio::test]
async fn unreadable_member_settings_hold_that_member() {
    let rig = headless(&["ada"], "[[member]]\nname = \"bob\"\ncwd = \"sub\"\n");
    rig.write("sub/file", "");
    rig.ok(["up"]).await;
    processes::end(rig.root()).await;
    let project = rig.project();
    let bobs = format!(
        r#"{{\"engine\":\"command\",\"cwd\":\"{}/sub"#,
        project.display()
    );
    let newer = bobs.replace("command", "newer");
    rewrite_settings(&rig, &bobs, &newer).await;

    let held = rig.until_member_is("bob", MemberState::Held).await;
    assert!(held.why.contains("does not have its engine"), "{held:?}");
    rig.until_member_is("ada", MemberState::Idle).await;
    let shown = rig.ok(["ps"]).await.stdout;
    assert!(shown.contains("bob"), "{shown}");
    rig.ok(["up"]).await;
    rig.until_member_is("bob", MemberState::Idle).await;
}
