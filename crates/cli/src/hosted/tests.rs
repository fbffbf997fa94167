//! What one terminal shows of several members, and whom keys reach.

use std::time::{Duration, Instant};

use agent_team_face::keys::Key;
use agent_team_protocol::notification::{Said, TransientNotice};
use agent_team_protocol::view::TeamView;
use agent_team_protocol::{Revision, TeamId};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::state::{Deed, State};
use crate::session::Notice;

fn member(name: &str, state: &str, engine: &str) -> Value {
    let waits = (state == "waiting").then(|| json!({"kind": "permission", "request": "P-1"}));
    json!({
        "name": name, "role": if name == "lea" { "lead" } else { "worker" }, "lead": name == "lea", "engine": engine,
        "model": null, "colour": "green", "placement": "hosted", "state": state, "waiting": waits, "why": "",
        "for_ms": 0, "pid": 7, "launch": null, "task": null, "pane": null, "unread": 0,
        "requests": u32::from(state == "waiting"), "restarts": 0, "last_result": null,
    })
}

fn team(ada: &str) -> TeamView {
    serde_json::from_value(json!({
        "team": "demo-01234567", "name": "demo", "project": "/project", "state": "up", "revision": 1,
        "members": [member("lea", "idle", "native"), member("ada", ada, "native"), member("ben", "idle", "command")],
        "tasks": {"pending": 0, "in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0},
        "placement": "hosted: as asked",
    }))
    .unwrap()
}

fn says(state: &mut State, member: &str, text: &str, said: Vec<Said>) {
    let notice = TransientNotice {
        team: TeamId::from_directory_name("demo-01234567").unwrap(),
        after: Revision(1),
        member: member.parse().unwrap(),
        task: None,
        text: text.into(),
        said,
        at: 0,
    };
    state.heard(Notice::Transient(notice), Instant::now());
}

fn word(delta: &str) -> Said {
    Said::Text {
        message: "m".into(),
        delta: delta.into(),
    }
}

/// What is painted at once, without what only a terminal reads.
fn painted(state: &mut State, columns: u16) -> String {
    let bytes = state.paint((columns, 24), Instant::now());
    let text = String::from_utf8(bytes).unwrap().replace('\r', "");
    let mut pieces = text.split('\x1b');
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        shown.push_str(&piece[end + 1..]);
    }
    shown
}

fn shown_at(columns: u16) -> String {
    let mut state = State::new(&team("working"), None, false, true);
    state.resized((columns, 24));
    state.seen(team("waiting"), Instant::now());
    says(
        &mut state,
        "lea",
        "",
        vec![word(
            "I give **both** of them a task:\n\n- ada reads\n- ben builds\n\nThen I wait.\n",
        )],
    );
    says(&mut state, "ben", "compiling \u{1b}[2J\n", Vec::new());
    says(
        &mut state,
        "ada",
        "",
        vec![
            Said::Call {
                call: "c".into(),
                tool: "read".into(),
                message: None,
            },
            Said::Input {
                call: "c".into(),
                delta: "{\"path\": \"src/a.rs\"}".into(),
            },
            Said::CallEnded { call: "c".into() },
            Said::Returned {
                call: "c".into(),
                text: "one\ntwo\u{1b}]52;c;eA==\u{7}".into(),
            },
            word("Read."),
        ],
    );
    let mut screens = painted(&mut state, columns);
    state.press(&[Key::Tab], Instant::now());
    screens.push_str(&painted(&mut state, columns));
    screens
}

#[test]
fn all_members_read_at_40_columns() {
    assert_snapshot!(shown_at(40));
}

#[test]
fn all_members_read_at_80_columns() {
    assert_snapshot!(shown_at(80));
}

#[test]
fn all_members_read_at_200_columns() {
    assert_snapshot!(shown_at(200));
}

#[test]
fn who_says_something_meanwhile_is_marked_until_she_is_shown() {
    let mut state = State::new(&team("idle"), None, false, true);
    says(&mut state, "ada", "", vec![word("Hello")]);
    assert!(painted(&mut state, 80).contains("[lea ○] ada ○•"));
    state.press(&[Key::Tab], Instant::now());
    assert!(painted(&mut state, 80).contains(" lea ○ [ada ○]"));
    state.press(&[Key::BackTab], Instant::now());
    assert!(painted(&mut state, 80).contains("[lea ○] ada ○ "));
}

#[test]
fn what_is_typed_reaches_the_one_who_is_shown() {
    let mut state = State::new(&team("idle"), None, false, true);
    let now = Instant::now();
    let typed = |state: &mut State| {
        state.press(&[Key::Char('x')], now);
        state.press(&[Key::Enter], now)
    };
    assert!(matches!(&typed(&mut state)[..], [Deed::Send { to, .. }] if to.as_str() == "lea"));
    state.press(&[Key::Tab], now);
    // A draft stays with her for whom it was begun.
    state.press(&[Key::Char('y')], now);
    state.press(&[Key::Tab], now);
    let task = typed(&mut state);
    assert!(
        matches!(&task[..], [Deed::Task { member, line }] if member.as_str() == "ben" && line == "x")
    );
    state.press(&[Key::BackTab], now);
    let draft = typed(&mut state);
    assert!(
        matches!(&draft[..], [Deed::Send { to, text }] if to.as_str() == "ada" && text == "yx")
    );
}

#[test]
fn a_request_is_answered_where_it_is_shown() {
    let mut state = State::new(&team("idle"), None, false, true);
    let now = Instant::now();
    state.seen(team("waiting"), now);
    let wanted = state.wanted_requests();
    assert_eq!(wanted.len(), 1);
    assert!(state.wanted_requests().is_empty(), "it is looked up once");
    let view = json!({
        "id": "P-1", "member": "ada", "tool": "bash", "input": {"command": "ls"}, "directory": "/project",
        "state": "pending", "digest": "d".repeat(64), "asked_at": 0, "why": [], "offers": [],
    });
    state.asks(&wanted[0].0, serde_json::from_value(view).unwrap());
    state.press(&[Key::Tab], now);
    assert!(painted(&mut state, 80).contains("P-1? y once"));
    state.was_painted(now);
    let decided = state.press(&[Key::Char('y')], now + Duration::from_secs(1));
    assert!(matches!(&decided[..], [Deed::Decide(_)]), "{decided:?}");
}

#[test]
fn who_only_looks_can_turn_and_leave() {
    let mut state = State::new(&team("idle"), None, true, true);
    let now = Instant::now();
    assert!(state.press(&[Key::Char('x')], now).is_empty());
    assert!(state.press(&[Key::Enter], now).is_empty());
    state.press(&[Key::Tab], now);
    assert_eq!(state.shown().as_str(), "ada");
    assert!(matches!(
        &state.press(&[Key::Control('c')], now)[..],
        [Deed::Leave]
    ));
}
