//! What one terminal shows of several members, and whom keys reach.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use agent_team_protocol::notification::{Said, TransientNotice};
use agent_team_protocol::view::{MemberState, TeamView};
use agent_team_protocol::{Revision, TeamId};
use agent_team_terminal_ui::keys::Key;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::state::{Act, Deed, State};
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

/// Enough for all that is painted in a test.
const ROWS: NonZeroU16 = NonZeroU16::new(60).unwrap();

/// What one terminal shows.
struct Terminal {
    state: State,
    screen: vt100::Parser,
}

impl Terminal {
    fn of(team: &TeamView, columns: u16) -> Self {
        let mut state = State::new(team, None, false, true, Instant::now()).unwrap();
        state.resized((columns, 24));
        let screen = vt100::Parser::new(ROWS, columns.try_into().unwrap(), 0);
        Self { state, screen }
    }

    /// Paints if there is something to paint.
    fn shown(&mut self) -> String {
        let now = Instant::now();
        if self.state.next_paint(now).is_some_and(|at| at <= now) {
            self.screen.process(&self.state.paint(now));
        }
        self.screen.screen().contents() + "\n"
    }

    fn press(&mut self, keys: &[Key]) -> Vec<Act> {
        self.state.press(keys, Instant::now())
    }
}

fn all_members_at(columns: u16) -> String {
    let mut terminal = Terminal::of(&team("working"), columns);
    let state = &mut terminal.state;
    state.seen(team("waiting"), Instant::now());
    says(
        state,
        "lea",
        "",
        vec![word(
            "I give **both** of them a task:\n\n- ada reads\n- ben builds\n\nThen I wait.\n",
        )],
    );
    says(state, "ben", "compiling \u{1b}[2J\n", Vec::new());
    says(
        state,
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
    let mut screens = terminal.shown();
    terminal.press(&[Key::Tab]);
    screens.push_str("\n── tab\n");
    screens.push_str(&terminal.shown());
    screens
}

/// Only these of the team.
fn only(team: &TeamView, members: &[&str]) -> TeamView {
    let mut team = team.clone();
    team.members
        .retain(|it| members.contains(&it.name.as_str()));
    team
}

fn large(columns: u16) -> String {
    let mut many = team("idle");
    let ada = many.members[1].clone();
    for number in 1..=10 {
        let mut view = ada.clone();
        view.name = format!("worker-{number}").parse().unwrap();
        view.state = if number % 2 == 0 {
            MemberState::Working
        } else {
            MemberState::Idle
        };
        view.requests = u32::from(number == 10);
        many.members.push(view);
    }
    let mut terminal = Terminal::of(&many, columns);
    says(&mut terminal.state, "worker-3", "", vec![word("Hello")]);
    let mut screens = terminal.shown();
    for _ in 0..7 {
        terminal.press(&[Key::Tab]);
    }
    screens.push_str("\n── tab, seven times\n");
    screens.push_str(&terminal.shown());
    screens
}

/// At each width.
macro_rules! reads {
    ($($name:ident: $screen:expr),* $(,)?) => {$(
        #[test]
        fn $name() {
            for columns in [40, 80, 200] {
                assert_snapshot!(format!("{}_{columns}", stringify!($name)), $screen(columns));
            }
        }
    )*};
}

reads! {
    one_and_then_another: all_members_at,
    more_than_have_room: large,
    one_alone: |columns| {
        let mut terminal = Terminal::of(&only(&team("idle"), &["ada"]), columns);
        says(&mut terminal.state, "ada", "", vec![word("Nobody else is here.\n\n")]);
        terminal.shown()
    },
    a_request: |columns| {
        let mut terminal = asking(columns);
        terminal.shown()
    },
    one_who_is_gone: |columns| {
        let mut terminal = Terminal::of(&team("working"), columns);
        terminal.press(&[Key::Tab]);
        terminal.shown();
        terminal.state.seen(only(&team("idle"), &["lea", "ben"]), Instant::now());
        terminal.shown()
    },
    one_who_works: |columns| {
        let mut working = team("idle");
        working.members[2].state = MemberState::Working;
        working.members[2].task = Some(agent_team_protocol::TaskId(3));
        let mut terminal = Terminal::of(&working, columns);
        terminal.press(&[Key::BackTab]);
        terminal.shown()
    },
}

/// Ada, who is shown, waits for an answer.
fn asking(columns: u16) -> Terminal {
    let now = Instant::now();
    let mut terminal = Terminal::of(&team("idle"), columns);
    terminal.state.seen(team("waiting"), now);
    let wanted = terminal.state.wanted_requests();
    assert_eq!(wanted.len(), 1);
    assert!(
        terminal.state.wanted_requests().is_empty(),
        "it is looked up once"
    );
    let view = json!({
        "id": "P-1", "member": "ada", "tool": "bash", "input": {"command": "ls"}, "directory": "/project",
        "state": "pending", "digest": "d".repeat(64), "asked_at": 0, "why": [], "offers": [],
    });
    let view = serde_json::from_value(view).unwrap();
    terminal.state.asks(&wanted[0].0, view);
    terminal.press(&[Key::Tab]);
    terminal
}

#[test]
fn who_says_something_meanwhile_is_marked_until_she_is_shown() {
    let mut terminal = Terminal::of(&team("idle"), 80);
    terminal.shown();
    says(&mut terminal.state, "ada", "", vec![word("Hello")]);
    let shown = terminal.shown();
    assert!(shown.contains("[lea ○] ada ○•"), "{shown}");
    terminal.press(&[Key::Tab]);
    assert!(terminal.shown().contains(" lea ○ [ada ○]"));
    terminal.press(&[Key::BackTab]);
    assert!(terminal.shown().contains("[lea ○] ada ○  ben"));
}

#[test]
fn nothing_is_painted_that_is_there_already() {
    let now = Instant::now();
    let mut state = State::new(&team("idle"), None, false, true, now).unwrap();
    state.paint(now);
    state.seen(team("idle"), now);
    assert_eq!(state.next_paint(now), None, "a look that saw nothing new");
    // There and back before anything was painted: as if it had not been.
    state.press(&[Key::Tab], now);
    state.press(&[Key::BackTab], now);
    let bytes = String::from_utf8(state.paint(now)).unwrap();
    assert_eq!(bytes.matches("━━ lea").count(), 1, "{bytes:?}");
}

#[test]
fn who_leaves_the_team_takes_nobody_elses_place() {
    let now = Instant::now();
    let mut terminal = Terminal::of(&team("idle"), 80);
    terminal.press(&[Key::BackTab]);
    assert_eq!(terminal.state.shown().as_str(), "ben");
    terminal
        .state
        .seen(only(&team("idle"), &["lea", "ben"]), now);
    assert_eq!(terminal.state.shown().as_str(), "ben");
    terminal.state.seen(only(&team("idle"), &["ada"]), now);
    assert_eq!(
        terminal.state.shown().as_str(),
        "ben",
        "what he said last stays"
    );
    assert!(terminal.shown().contains("ben is in the team no more"));
    terminal.press(&[Key::Tab]);
    assert_eq!(terminal.state.shown().as_str(), "ada");
    terminal.press(&[Key::Tab]);
    assert_eq!(terminal.state.shown().as_str(), "ada", "he is gone");
    let none = only(&team("idle"), &[]);
    assert!(State::new(&none, None, false, true, now).is_none());
}

#[test]
fn what_is_typed_reaches_the_one_who_is_shown() {
    let now = Instant::now();
    let mut state = State::new(&team("idle"), None, false, true, now).unwrap();
    let typed = |state: &mut State| {
        state.press(&[Key::Char('x')], now);
        state.press(&[Key::Enter], now)
    };
    assert!(
        matches!(&typed(&mut state)[..], [Act::Do { deed: Deed::Send { to, .. }, .. }] if to.as_str() == "lea")
    );
    state.press(&[Key::Tab], now);
    // A draft stays with her for whom it was begun.
    state.press(&[Key::Char('y')], now);
    state.press(&[Key::Tab], now);
    let task = typed(&mut state);
    assert!(
        matches!(&task[..], [Act::Do { deed: Deed::Task { member, line }, .. }] if member.as_str() == "ben" && line == "x")
    );
    state.press(&[Key::BackTab], now);
    let draft = typed(&mut state);
    assert!(
        matches!(&draft[..], [Act::Do { deed: Deed::Send { to, text }, .. }] if to.as_str() == "ada" && text == "yx")
    );
}

#[test]
fn what_was_typed_to_one_comes_back_at_all() {
    let now = Instant::now();
    let mut terminal = Terminal::of(&team("idle"), 80);
    terminal.state.remember(["before".into()]);
    terminal.press(&[Key::Char('x')]);
    let acts = terminal.press(&[Key::Enter]);
    assert!(matches!(&acts[..], [Act::Do { typed: Some(typed), .. }] if typed == "x"));
    terminal.press(&[Key::Tab]);
    terminal.press(&[Key::Up]);
    assert!(terminal.shown().contains("ada ▸ x"));
    terminal.press(&[Key::Up]);
    assert!(terminal.shown().contains("ada ▸ before"));
    // Who comes later, too.
    let mut more = team("idle");
    let mut cleo = more.members[1].clone();
    cleo.name = "cleo".parse().unwrap();
    more.members.push(cleo);
    terminal.state.seen(more, now);
    terminal.press(&[Key::Tab]);
    terminal.press(&[Key::Tab]);
    terminal.press(&[Key::Up]);
    assert!(terminal.shown().contains("cleo ▸ x"));
}

#[test]
fn a_request_is_answered_where_it_is_shown() {
    let now = Instant::now();
    let mut terminal = asking(80);
    assert!(terminal.shown().contains("P-1? y once"));
    terminal.state.was_painted(now);
    let later = now + Duration::from_secs(1);
    let decided = terminal.state.press(&[Key::Char('y')], later);
    assert!(
        matches!(
            &decided[..],
            [Act::Do {
                deed: Deed::Decide(_),
                typed: None
            }]
        ),
        "{decided:?}"
    );
}

#[test]
fn who_only_looks_can_turn_and_leave() {
    let now = Instant::now();
    let mut state = State::new(&team("idle"), None, true, true, now).unwrap();
    assert!(state.press(&[Key::Char('x')], now).is_empty());
    assert!(state.press(&[Key::Enter], now).is_empty());
    state.press(&[Key::Tab], now);
    assert_eq!(state.shown().as_str(), "ada");
    assert!(matches!(
        &state.press(&[Key::Control('c')], now)[..],
        [Act::Leave]
    ));
}
