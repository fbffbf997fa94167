//! Tests of the single-terminal view: snapshots, and the effects of keys.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use agent_team_client::Notice;
use agent_team_protocol::method::CommandsAnswer;
use agent_team_protocol::notification::{OutputFragment, PromptView, TransientNotice};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::RequestView;
use agent_team_protocol::spec::{CommandFile, Notify};
use agent_team_protocol::view::{ContextView, MemberState, TeamState, TeamView};
use agent_team_protocol::{LaunchId, RequestId, Revision, TeamId};
use agent_team_terminal_ui::Candidate;
use agent_team_terminal_ui::keys::Key;
use agent_team_terminal_ui::notifications::{Protocol, UserNotifications};
use agent_team_terminal_ui::style::Theme;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::state::{Action, Effect, State};

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

fn receive(state: &mut State, member: &str, text: &str, fragments: Vec<OutputFragment>) {
    let notice = TransientNotice {
        team: TeamId::from_directory_name("demo-01234567").unwrap(),
        after: Revision(1),
        member: member.parse().unwrap(),
        task: None,
        text: text.into(),
        fragments,
        notify: None,
        at: 0,
    };
    state.on_notice(Notice::Transient(notice), Instant::now());
}

fn fragment(delta: &str) -> OutputFragment {
    OutputFragment::Text {
        message: "m".into(),
        delta: delta.into(),
    }
}

/// More rows than any test paints.
const ROWS: NonZeroU16 = NonZeroU16::new(60).unwrap();

/// The view and the screen that it paints.
struct Terminal {
    state: State,
    screen: vt100::Parser,
}

impl Terminal {
    fn of(team: &TeamView, columns: u16) -> Self {
        let mut state = State::new(
            team,
            None,
            false,
            Theme::Dark,
            UserNotifications::Desktop(Protocol::Osc9),
            Instant::now(),
        )
        .unwrap();
        state.on_resize((columns, 24));
        let screen = vt100::Parser::new(ROWS, columns.try_into().unwrap(), 0);
        Self { state, screen }
    }

    /// Paints if something changed; returns the screen.
    fn shown(&mut self) -> String {
        let now = Instant::now();
        if self.state.next_paint(now).is_some_and(|at| at <= now) {
            self.screen.process(&self.state.paint(now));
        }
        self.screen.screen().contents() + "\n"
    }

    fn press(&mut self, keys: &[Key]) -> Vec<Effect> {
        self.state.on_keys(keys, Instant::now())
    }
}

fn all_members_at(columns: u16) -> String {
    let mut terminal = Terminal::of(&team("working"), columns);
    let state = &mut terminal.state;
    state.on_refresh(team("waiting"), Instant::now());
    receive(
        state,
        "lea",
        "",
        vec![fragment(
            "I give **both** of them a task:\n\n- ada reads\n- ben builds\n\nThen I wait.\n",
        )],
    );
    receive(state, "ben", "compiling \u{1b}[2J\n", Vec::new());
    receive(
        state,
        "ada",
        "",
        vec![
            OutputFragment::Call {
                call: "c".into(),
                tool: "read".into(),
                message: None,
            },
            OutputFragment::Input {
                call: "c".into(),
                delta: "{\"path\": \"src/a.rs\"}".into(),
            },
            OutputFragment::CallEnded { call: "c".into() },
            OutputFragment::Returned {
                call: "c".into(),
                text: "one\ntwo\u{1b}]52;c;eA==\u{7}".into(),
                failed: true,
            },
            fragment("Read."),
        ],
    );
    let mut screens = terminal.shown();
    terminal.press(&[Key::Tab]);
    screens.push_str("\n── tab\n");
    screens.push_str(&terminal.shown());
    screens
}

/// The team with only these members.
fn only(team: &TeamView, members: &[&str]) -> TeamView {
    let mut team = team.clone();
    team.members
        .retain(|it| members.contains(&it.name.as_str()));
    team
}

fn many_members_at(columns: u16) -> String {
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
    receive(&mut terminal.state, "worker-3", "", vec![fragment("Hello")]);
    let mut screens = terminal.shown();
    for _ in 0..7 {
        terminal.press(&[Key::Tab]);
    }
    screens.push_str("\n── tab, seven times\n");
    screens.push_str(&terminal.shown());
    screens
}

/// Takes a snapshot at each width.
macro_rules! snapshots {
    ($($name:ident: $screen:expr),* $(,)?) => {$(
        #[test]
        fn $name() {
            for columns in [40, 80, 200] {
                assert_snapshot!(format!("{}_{columns}", stringify!($name)), $screen(columns));
            }
        }
    )*};
}

snapshots! {
    switch_to_another_member: all_members_at,
    more_members_than_fit: many_members_at,
    single_member: |columns| {
        let mut terminal = Terminal::of(&only(&team("idle"), &["ada"]), columns);
        receive(&mut terminal.state, "ada", "", vec![fragment("The team has one member.\n\n")]);
        terminal.shown()
    },
    open_request: |columns| {
        let mut terminal = with_open_request(columns);
        terminal.shown()
    },
    removed_member: |columns| {
        let mut terminal = Terminal::of(&team("working"), columns);
        terminal.press(&[Key::Tab]);
        terminal.shown();
        terminal.state.on_refresh(only(&team("idle"), &["lea", "ben"]), Instant::now());
        terminal.shown()
    },
    working_member: |columns| {
        let mut working = team("idle");
        working.members[2].state = MemberState::Working;
        working.members[2].task = Some(agent_team_protocol::TaskId(3));
        let mut terminal = Terminal::of(&working, columns);
        terminal.press(&[Key::Control('t')]);
        terminal.shown()
    },
}

/// Shows ada, which is blocked on a request.
fn with_open_request(columns: u16) -> Terminal {
    let now = Instant::now();
    let mut terminal = Terminal::of(&team("idle"), columns);
    terminal.state.on_refresh(team("waiting"), now);
    let unfetched = terminal.state.take_unfetched_requests();
    assert_eq!(unfetched.len(), 1);
    assert!(
        terminal.state.take_unfetched_requests().is_empty(),
        "the request was fetched twice"
    );
    terminal
        .state
        .open_request(&unfetched[0].0, request("pending"));
    terminal.press(&[Key::Tab]);
    terminal
}

fn request(state: &str) -> RequestView {
    let view = json!({
        "id": "P-1", "member": "ada", "tool": "bash", "input": {"command": "ls"}, "directory": "/project",
        "state": state, "digest": "d".repeat(64), "asked_at": 0, "why": [], "offers": [],
    });
    serde_json::from_value(view).unwrap()
}

#[test]
fn members_with_unread_output_are_marked() {
    let mut terminal = Terminal::of(&team("idle"), 80);
    terminal.shown();
    receive(&mut terminal.state, "ada", "", vec![fragment("Hello")]);
    let shown = terminal.shown();
    assert!(shown.contains("[lea ○] ada ○•"), "{shown}");
    terminal.press(&[Key::Tab]);
    assert!(terminal.shown().contains(" lea ○ [ada ○]"));
    terminal.press(&[Key::Control('t')]);
    assert!(terminal.shown().contains("[lea ○] ada ○  ben"));
}

#[test]
fn the_strip_shows_the_use_of_the_context() {
    let mut team = team("idle");
    let context = |percent: u64| ContextView::new(percent * 10, 1000);
    team.members[0].context = context(62);
    team.members[1].context = context(49);
    let mut terminal = Terminal::of(&team, 80);
    let shown = terminal.shown();
    assert!(shown.contains("ben ○  context 62 %"), "{shown}");
    terminal.press(&[Key::Tab]);
    assert!(!terminal.shown().contains("49 %"));
    team.members[1].context = context(50);
    terminal.state.on_refresh(team.clone(), Instant::now());
    assert!(terminal.shown().contains("context 50 %"));

    let mut alone = Terminal::of(&only(&team, &["ada"]), 40);
    assert!(alone.shown().contains(" context 50 %"));
}

#[test]
fn an_unchanged_screen_is_not_painted_again() {
    let now = Instant::now();
    let mut state = State::new(
        &team("idle"),
        None,
        false,
        Theme::Dark,
        UserNotifications::Desktop(Protocol::Osc9),
        now,
    )
    .unwrap();
    state.paint(now);
    state.on_refresh(team("idle"), now);
    assert_eq!(
        state.next_paint(now),
        None,
        "a refresh without changes is painted"
    );
    // Switching there and back before a paint leaves one title.
    state.on_keys(&[Key::Tab], now);
    state.on_keys(&[Key::Control('t')], now);
    let bytes = String::from_utf8(state.paint(now)).unwrap();
    assert_eq!(bytes.matches("━━ lea").count(), 1, "{bytes:?}");
}

#[test]
fn the_title_of_a_member_shows_a_mode_other_than_the_default() {
    let now = Instant::now();
    let title = |mode: Mode| {
        let mut team = team("idle");
        team.mode = Some(mode);
        let notifications = UserNotifications::Desktop(Protocol::Osc9);
        let mut state = State::new(&team, None, false, Theme::None, notifications, now).unwrap();
        let screen = String::from_utf8(state.paint(now)).unwrap();
        let title = screen.split("━━").nth(1).unwrap();
        title.to_owned()
    };
    assert_eq!(title(Mode::Default), " lea (lead) ");
    assert_eq!(title(Mode::Bypass), " lea (lead) · bypass ");
}

#[test]
fn a_blocked_member_notifies_once_unless_shown() {
    let mut terminal = Terminal::of(&team("idle"), 80);
    let mut waits = team("idle");
    for view in &mut waits.members {
        view.requests = 1;
    }
    let mut bells = |waits: &TeamView| {
        let now = Instant::now();
        terminal.state.on_refresh(waits.clone(), now);
        String::from_utf8(terminal.state.paint(now)).unwrap()
    };
    let seen = bells(&waits);
    assert_eq!(seen.matches('\x07').count(), 1, "{seen:?}");
    assert!(seen.contains("demo: ada asks, ben asks"), "{seen:?}");
    assert_eq!(
        bells(&waits).matches('\x07').count(),
        0,
        "the bell rang again"
    );
    bells(&team("idle"));
    waits.notify = Notify::Off;
    assert_eq!(bells(&waits).matches('\x07').count(), 0);
}

#[test]
fn a_removed_member_stays_until_the_user_switches() {
    let now = Instant::now();
    let mut terminal = Terminal::of(&team("idle"), 80);
    terminal.press(&[Key::Control('t')]);
    assert_eq!(terminal.state.shown().as_str(), "ben");
    terminal
        .state
        .on_refresh(only(&team("idle"), &["lea", "ben"]), now);
    assert_eq!(terminal.state.shown().as_str(), "ben");
    terminal
        .state
        .on_refresh(only(&team("idle"), &["ada"]), now);
    assert_eq!(
        terminal.state.shown().as_str(),
        "ben",
        "the shown member was removed"
    );
    assert!(terminal.shown().contains("ben was removed from the team"));
    terminal.press(&[Key::Tab]);
    assert_eq!(terminal.state.shown().as_str(), "ada");
    terminal.press(&[Key::Tab]);
    assert_eq!(
        terminal.state.shown().as_str(),
        "ada",
        "ben is still listed"
    );
    let none = only(&team("idle"), &[]);
    assert!(
        State::new(
            &none,
            None,
            false,
            Theme::Dark,
            UserNotifications::Desktop(Protocol::Osc9),
            now
        )
        .is_none()
    );
}

#[test]
fn a_typed_line_goes_to_the_shown_member() {
    let now = Instant::now();
    let mut state = State::new(
        &team("idle"),
        None,
        false,
        Theme::Dark,
        UserNotifications::Desktop(Protocol::Osc9),
        now,
    )
    .unwrap();
    let typed = |state: &mut State| {
        state.on_keys(&[Key::Char('x')], now);
        state.on_keys(&[Key::Enter], now)
    };
    assert!(
        matches!(&typed(&mut state)[..], [Effect::Perform { action: Action::Send { to, .. }, .. }] if to.as_str() == "lea")
    );
    state.on_keys(&[Key::Tab], now);
    // Each member keeps its draft. In a draft, Tab does not switch.
    state.on_keys(&[Key::Char('y')], now);
    state.on_keys(&[Key::Tab], now);
    assert_eq!(state.shown().as_str(), "ada");
    state.on_keys(&[Key::Control('t')], now);
    state.on_keys(&[Key::Control('t')], now);
    let task = typed(&mut state);
    assert!(
        matches!(&task[..], [Effect::Perform { action: Action::RunLine { member, line }, .. }] if member.as_str() == "ben" && line == "x")
    );
    state.on_keys(&[Key::Control('t')], now);
    let draft = typed(&mut state);
    assert!(
        matches!(&draft[..], [Effect::Perform { action: Action::Send { to, text }, .. }] if to.as_str() == "ada" && text == "yx")
    );
}

#[test]
fn keys_of_the_prompt_act_on_the_shown_member() {
    let now = Instant::now();
    let mut state = State::new(
        &team("working"),
        None,
        false,
        Theme::Dark,
        UserNotifications::Bell,
        now,
    )
    .unwrap();
    assert!(state.on_keys(&[Key::Escape], now).is_empty(), "lea is idle");
    state.on_keys(&[Key::Tab], now);
    let interrupts = state.on_keys(&[Key::Escape], now);
    assert!(
        matches!(&interrupts[..], [Effect::Perform { action: Action::Interrupt(member), typed: None }] if member.as_str() == "ada"),
        "{interrupts:?}"
    );
    for key in "look at @s".chars() {
        state.on_keys(&[Key::Char(key)], now);
    }
    let completes = state.on_keys(&[Key::Tab], now);
    let [
        Effect::Perform {
            action: Action::Complete(names),
            ..
        },
    ] = &completes[..]
    else {
        panic!("{completes:?}");
    };
    let ada = "ada".parse().unwrap();
    state.offer(&ada, names, vec![Candidate::new("src/", "")]);
    state.on_keys(&[Key::Char('x')], now);
    let sent = state.on_keys(&[Key::Enter], now);
    assert!(
        matches!(&sent[..], [Effect::Perform { action: Action::Send { text, .. }, .. }] if text == "look at @src/x"),
        "{sent:?}"
    );
}

#[test]
fn only_a_second_interrupt_key_leaves_the_view() {
    let mut terminal = Terminal::of(&team("working"), 80);
    assert!(terminal.press(&[Key::Control('c')]).is_empty());
    assert!(terminal.shown().contains("press ^C again to leave"));
    let left = terminal.press(&[Key::Control('c')]);
    assert!(matches!(&left[..], [Effect::Leave]), "{left:?}");
}

#[test]
fn the_input_history_is_shared_by_all_members() {
    let now = Instant::now();
    let mut terminal = Terminal::of(&team("idle"), 80);
    terminal.state.add_to_history(["before".into()]);
    terminal.press(&[Key::Char('x')]);
    let effects = terminal.press(&[Key::Enter]);
    assert!(matches!(&effects[..], [Effect::Perform { typed: Some(typed), .. }] if typed == "x"));
    terminal.press(&[Key::Tab]);
    terminal.press(&[Key::Up]);
    assert!(terminal.shown().contains("ada ▸ x"));
    terminal.press(&[Key::Up]);
    assert!(terminal.shown().contains("ada ▸ before"));
    // A member that is added later gets the history, too.
    let mut more = team("idle");
    let mut cleo = more.members[1].clone();
    cleo.name = "cleo".parse().unwrap();
    more.members.push(cleo);
    terminal.state.on_refresh(more, now);
    terminal.press(&[Key::Control('t')]);
    terminal.press(&[Key::Control('t')]);
    terminal.press(&[Key::Up]);
    assert!(terminal.shown().contains("cleo ▸ x"));
}

#[test]
fn a_key_answers_the_shown_request() {
    let now = Instant::now();
    let mut terminal = with_open_request(80);
    assert!(terminal.shown().contains("[y] once"));
    terminal.state.on_painted(now);
    let later = now + Duration::from_secs(1);
    let decided = terminal.state.on_keys(&[Key::Char('y')], later);
    assert!(
        matches!(
            &decided[..],
            [Effect::Perform {
                action: Action::Decide(_),
                typed: None
            }]
        ),
        "{decided:?}"
    );
}

#[test]
fn a_failed_decision_reopens_only_a_pending_request() {
    for (state, is_open) in [("pending", true), ("allowed", false), ("withdrawn", false)] {
        let now = Instant::now();
        let mut terminal = with_open_request(80);
        terminal.shown();
        terminal.state.on_painted(now);
        let later = now + Duration::from_secs(1);
        terminal.state.on_keys(&[Key::Char('y')], later);
        assert!(!terminal.shown().contains("[y] once"));
        let ada = "ada".parse().unwrap();
        terminal.state.fetch_request_again(&ada, RequestId(1));
        let unfetched = terminal.state.take_unfetched_requests();
        assert_eq!(unfetched, [(ada.clone(), RequestId(1))]);
        terminal.state.open_request(&ada, request(state));
        assert_eq!(terminal.shown().contains("[y] once"), is_open, "{state}");
        // Another request of the member is not fetched.
        terminal.state.fetch_request_again(&ada, RequestId(2));
        assert!(terminal.state.take_unfetched_requests().is_empty());
    }
}

#[test]
fn a_read_only_view_can_only_switch_and_leave() {
    let now = Instant::now();
    let mut state = State::new(
        &team("idle"),
        None,
        true,
        Theme::Dark,
        UserNotifications::Desktop(Protocol::Osc9),
        now,
    )
    .unwrap();
    assert!(state.on_keys(&[Key::Char('x')], now).is_empty());
    assert!(state.on_keys(&[Key::Enter], now).is_empty());
    state.on_keys(&[Key::Tab], now);
    assert_eq!(state.shown().as_str(), "ada");
    assert!(matches!(
        &state.on_keys(&[Key::Control('c')], now)[..],
        [Effect::Leave]
    ));
}

#[test]
fn command_files_and_prompts_are_offered_and_called() {
    let mut view = team("idle");
    for member in &mut view.members {
        member.launch = Some(LaunchId::from_bits(1));
    }
    let mut terminal = Terminal::of(&view, 80);
    let lea = view.members[0].name.clone();
    let taken = |terminal: &mut Terminal| {
        let taken = terminal.state.take_unread_commands().into_iter();
        taken.map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(taken(&mut terminal), ["lea", "ada"]);
    assert_eq!(taken(&mut terminal), [""; 0]);
    view.members[0].launch = Some(LaunchId::from_bits(2));
    terminal.state.on_refresh(view.clone(), Instant::now());
    assert_eq!(taken(&mut terminal), ["lea"]);
    // A member without text has changed: it may have other prompts.
    receive(&mut terminal.state, "lea", "", Vec::new());
    assert_eq!(taken(&mut terminal), [""; 0]);
    terminal.state.on_refresh(view, Instant::now());
    assert_eq!(taken(&mut terminal), ["lea"]);

    let file: CommandFile = serde_json::from_value(json!({
        "name": "fix", "arguments": "ISSUE", "description": "Fixes an issue",
        "file": {"path": "/p/fix.md", "sha256": "00"}, "text_at": 0,
    }))
    .unwrap();
    terminal.press(&"/fi".chars().map(Key::Char).collect::<Vec<_>>());
    let prompt = PromptView {
        name: "db:fit".to_owned(),
        arguments: "NUMBER".to_owned(),
        description: "Fits a model".to_owned(),
    };
    let commands = CommandsAnswer {
        commands: vec![file],
        prompts: vec![prompt],
    };
    terminal.state.set_commands(&lea, commands);
    assert!(terminal.shown().contains("Fixes an issue"));
    let effects = terminal.press(&[Key::Char('x'), Key::Char(' '), Key::Char('7'), Key::Enter]);
    let [
        Effect::Perform {
            action: Action::Command { to, file, called },
            typed,
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (to, file.name.as_str(), typed.as_deref()),
        (&lea, "fix", Some("/fix 7"))
    );
    assert_eq!(called.words, ["7"]);

    terminal.press(&"/db".chars().map(Key::Char).collect::<Vec<_>>());
    assert!(terminal.shown().contains("Fits a model"));
    let rest: Vec<_> = ":fit 7 8".chars().map(Key::Char).collect();
    let effects = terminal.press(&[&rest[..], &[Key::Enter]].concat());
    let [
        Effect::Perform {
            action: Action::Prompt(called),
            ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((&called.member, called.name.as_str()), (&lea, "db:fit"));
    assert_eq!(called.words, ["7", "8"]);
}

#[test]
fn a_team_that_goes_down_is_reported_once() {
    let mut terminal = Terminal::of(&team("idle"), 120);
    let mut down = team("stopped");
    down.state = TeamState::Down;
    for _ in 0..2 {
        terminal.state.on_refresh(down.clone(), Instant::now());
    }
    assert_eq!(terminal.shown().matches("the team is down").count(), 1);
}
