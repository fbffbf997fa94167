//! Snapshots of whole screens, and tests of the effects of keys. `entries.rs` tests selection, search and opened pages.

mod entries;

use std::time::{Duration, Instant};

use agent_team_protocol::request::{Decision, RequestView};
use agent_team_protocol::view::{MemberView, MessageView, TaskView, TeamView};
use agent_team_protocol::{Recipient, RequestId, TaskId};
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::claims::ClaimEntry;
use super::diff::Changes;
use super::draw::{draw, text};
use super::stale::Stale;
use super::state::{Action, Effect, Mode, Page, Refresh, Top};
use super::view::{Clock, FrameLayout, TopView};
use crate::verb::audit::DecisionEntry;
use agent_team_terminal_ui::keys::{Key, Mouse, MouseAction};
use agent_team_terminal_ui::style::Theme;

/// The Unix time in all tests.
const WALL_MS: u64 = 1_795_232_539_000;

const PLAIN: Theme = Theme::None;

/// Control and format characters that could deceive a terminal or a reader.
const HOSTILE: &str =
    "#(touch x)\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\u{202e}gpj\u{200b}\u{feff}\n\t#[fg=red]";

fn member(name: &str, state: &str, more: Value) -> Value {
    let mut member = json!({
        "name": name, "role": "worker", "lead": name == "lea", "engine": "native",
        "model": "openai/gpt-5.1", "usage": {"input": 12_000, "output": 345, "micro_usd": 420_000},
        "colour": "blue", "placement": "tmux", "state": state, "why": "", "for_ms": 61_000,
        "pid": 4711, "launch": null, "task": null, "pane": "%3", "unread": 0, "requests": 0,
        "restarts": 0, "last_result": null,
    });
    for (field, value) in more.as_object().unwrap() {
        member[field] = value.clone();
    }
    member
}

fn team(hostile: &str) -> TeamView {
    let held = format!("held: the model refuses the key {hostile}");
    let members = [
        member(
            "lea",
            "idle",
            json!({"role": "lead", "last_result": format!("planned {hostile}")}),
        ),
        member(
            "ada",
            "waiting",
            json!({
                "requests": 1, "task": "T-2", "for_ms": 4_200, "colour": "green",
                "waiting": {"kind": "permission", "request": "P-1"},
            }),
        ),
        member(
            "ben",
            "working",
            json!({"task": "T-3", "unread": 2, "colour": "pink"}),
        ),
        member(
            "cleo",
            "held",
            json!({"why": held, "for_ms": 7_500_000, "usage": {"input": 0, "output": 0}}),
        ),
    ];
    serde_json::from_value(json!({
        "team": "payments-01234567", "name": "payments", "project": "/srv/payments", "state": "up",
        "revision": 90, "members": members,
        "tasks": {"pending": 2, "in_progress": 2, "completed": 1, "failed": 1, "cancelled": 0},
        "usage": {"input": 36_000, "output": 1_035, "micro_usd": 1_260_000},
        "placement": "tmux: it is installed",
        "roles": [{"name": "worker", "description": ""}, {"name": "reviewer", "description": ""}],
    }))
    .unwrap()
}

fn task(id: u64, title: &str, state: &str, more: Value) -> TaskView {
    let mut task = json!({
        "id": format!("T-{id}"), "key": title, "title": title, "description": "", "state": state,
        "owner": null, "generation": 1, "role": null, "for": null, "after": [], "blocks": [],
        "blocked": false, "priority": 0, "labels": [], "files": [], "run": null, "verify": null,
        "rerun": true, "attempts": 1, "created_by": "lea", "created_at": 0, "changed_at": id,
        "revision": id, "result": null,
    });
    for (field, value) in more.as_object().unwrap() {
        task[field] = value.clone();
    }
    serde_json::from_value(task).unwrap()
}

fn board(hostile: &str) -> Vec<TaskView> {
    vec![
        task(
            1,
            "Read the handlers",
            "completed",
            json!({"owner": "lea", "result": format!("14 of them {hostile}")}),
        ),
        task(
            2,
            &format!("Validate the input of all handlers{hostile}"),
            "in_progress",
            json!({"owner": "ada"}),
        ),
        task(3, "Write the tests", "in_progress", json!({"owner": "ben"})),
        task(
            4,
            "Run the tests",
            "pending",
            json!({"blocked": true, "after": ["T-3"]}),
        ),
        task(5, "Document it", "pending", json!({})),
        task(
            6,
            "Measure it",
            "failed",
            json!({"owner": "cleo", "result": "no key\nat all"}),
        ),
    ]
}

fn requests(hostile: &str) -> Vec<RequestView> {
    let command = format!("cargo test -p handlers -- --nocapture {hostile}\nrm -rf build");
    let request = json!({
        "id": "P-1", "member": "ada", "tool": "bash", "input": {"command": command, "timeout": 60},
        "directory": format!("/srv/payments{hostile}"), "state": "pending", "digest": "0123",
        "asked_at": WALL_MS - 4_200, "why": [format!("rm: no rule allows it{hostile}")],
        "offers": [{"rules": [], "covers": "exactly this"}],
    });
    vec![serde_json::from_value(request).unwrap()]
}

fn messages(hostile: &str) -> Vec<MessageView> {
    let message = |id: u64, from: &str, to: &str, text: String, state: &str| {
        let view = json!({
            "id": format!("M-{id}"), "from": from, "to": to, "text": text, "state": state,
            "urgent": id == 2, "at": WALL_MS - 90_000 / id,
        });
        serde_json::from_value(view).unwrap()
    };
    vec![
        message(
            1,
            "lea",
            "ada",
            format!("Begin with the handlers of refunds:\n- all of them{hostile}"),
            "read",
        ),
        message(
            2,
            "user",
            "ben",
            "stop, the schema changed".into(),
            "accepted",
        ),
    ]
}

fn top_with(hostile: &str) -> (Top, Instant) {
    let now = Instant::now();
    let mut top = Top::new(team(hostile), now);
    let refresh = Refresh {
        team: team(hostile),
        tasks: board(hostile),
        board: true,
        requests: Some(requests(hostile)),
        messages: Some(messages(hostile)),
    };
    top.on_refresh(refresh, now);
    top.append_output(&format!(
        "▸ read src/handlers.rs\r\n\u{1b}[32mok\u{1b}[0m 214 lines{hostile}\n"
    ));
    (top, now)
}

fn top() -> (Top, Instant) {
    top_with("")
}

fn clock(now: Instant) -> Clock {
    Clock {
        now,
        wall_ms: WALL_MS,
    }
}

fn screen(top: &Top, now: Instant, columns: u16, rows: u16) -> String {
    text(top, PLAIN, (columns, rows), clock(now))
}

/// Draws a frame and reports it as shown, as the event loop does.
fn show(top: &mut Top, now: Instant, theme: Theme, (columns, rows): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let mut drawn = FrameLayout::default();
    let frame = terminal
        .draw(|frame| drawn = draw(frame, top, theme, clock(now)))
        .unwrap();
    let buffer = frame.buffer.clone();
    top.on_frame_shown(drawn, now);
    buffer
}

/// The screen at 80 columns and 24 rows, after a frame was shown.
fn shown(top: &mut Top, now: Instant) -> String {
    show(top, now, PLAIN, (80, 24));
    screen(top, now, 80, 24)
}

/// The text of each row that has cells with the background of the selection, and the number of these cells.
fn selected_rows(buffer: &Buffer, theme: Theme) -> Vec<(String, usize)> {
    let background = Color::Indexed(theme.selection().unwrap());
    let rows = (0..buffer.area.height).filter_map(|row| {
        let cells: Vec<_> = (0..buffer.area.width)
            .map(|column| &buffer[(column, row)])
            .collect();
        let selected = cells.iter().filter(|cell| cell.bg == background).count();
        let text: String = cells.iter().map(|cell| cell.symbol()).collect();
        (selected > 0).then(|| (text.trim_end().to_owned(), selected))
    });
    rows.collect()
}

/// The column and row of a text on the screen.
fn position(screen: &str, text: &str) -> (u16, u16) {
    let (row, line) = screen
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains(text))
        .unwrap_or_else(|| panic!("no {text:?} in {screen}"));
    let column = line[..line.find(text).unwrap()].width();
    (column.try_into().unwrap(), row.try_into().unwrap())
}

fn mouse(top: &mut Top, action: MouseAction, (column, row): (u16, u16), now: Instant) {
    let mouse = Mouse {
        action,
        column,
        row,
    };
    assert_eq!(top.on_keys(&[Key::Mouse(mouse)], now), []);
}

fn press(top: &mut Top, keys: &str, now: Instant) -> Vec<Effect> {
    let keys = keys.chars().map(|c| match c {
        '⏎' => Key::Enter,
        '⎋' => Key::Escape,
        c => Key::Char(c),
    });
    // One key per read, as a user types.
    keys.flat_map(|key| top.on_keys(&[key], now)).collect()
}

#[test]
fn screens_at_40_80_120_and_200_columns() {
    let (top, now) = top();
    assert_snapshot!("40", screen(&top, now, 40, 20));
    assert_snapshot!("80", screen(&top, now, 80, 24));
    assert_snapshot!("120", screen(&top, now, 120, 40));
    assert_snapshot!("200", screen(&top, now, 200, 50));
}

#[test]
fn views_and_help_screens() {
    let (mut top, now) = top();
    for (key, name) in [
        ("2", "board"),
        ("3", "requests"),
        ("4", "messages"),
        ("?", "help"),
    ] {
        press(&mut top, key, now);
        assert_snapshot!(name, screen(&top, now, 80, 24));
    }
    assert_snapshot!("help_60", screen(&top, now, 60, 40));
}

#[test]
fn wide_screens_show_each_view_once() {
    for columns in [150, 200] {
        let (mut top, now) = top();
        for key in ["1", "2", "3", "4"] {
            press(&mut top, key, now);
            let shown = screen(&top, now, columns, 30);
            let times = shown.matches("✗ T-6 Measure it").count();
            assert_eq!(times, 1, "view {key} at {columns}: {shown}");
            assert!(shown.matches("lea → ada").count() <= 1, "{shown}");
        }
    }
    let (mut top, now) = top();
    press(&mut top, "2", now);
    assert_snapshot!("board_150", screen(&top, now, 150, 24));
    press(&mut top, "3", now);
    assert_snapshot!("requests_200", screen(&top, now, 200, 24));
}

#[test]
fn d_toggles_decided_and_pending_requests() {
    let (mut top, now) = top();
    assert!(!top.decisions_stale);
    press(&mut top, "3d", now);
    assert_eq!(top.focus, TopView::Requests);
    assert!(
        std::mem::take(&mut top.decisions_stale),
        "the decisions do not count as outdated"
    );
    let decided = |request, decision: &str, call: &str| DecisionEntry {
        request: RequestId(request),
        member: Some("ada".parse().unwrap()),
        at: WALL_MS - 90_000,
        decision: decision.into(),
        call: call.into(),
    };
    top.set_decisions(vec![
        decided(7, "denied by lea (tests first)", "bash: git push"),
        decided(
            6,
            "allowed by user for team as Bash(cargo test:*)",
            "bash: cargo test -p handlers",
        ),
    ]);
    assert_snapshot!("decided_80", screen(&top, now, 80, 24));
    assert_snapshot!("decided_40", screen(&top, now, 40, 20));
    press(&mut top, "d", now);
    assert!(top.decided.is_none() && !top.decisions_stale);
    assert!(screen(&top, now, 80, 24).contains("bash (timeout: 60)"));
    // A result that arrives after the second `d` is ignored.
    top.set_decisions(vec![decided(8, "denied by lea", "bash: ls")]);
    assert!(top.decided.is_none());
}

#[test]
fn a_request_must_be_read_before_it_is_answered() {
    let (mut top, now) = top();
    press(&mut top, "r", now);
    assert_snapshot!("request_begun", screen(&top, now, 40, 10));
    let long = now + Duration::from_secs(1);
    show(&mut top, now, PLAIN, (40, 10));
    assert_eq!(press(&mut top, "y", long), []);
    for page in 1..=8 {
        let later = now + page * Duration::from_secs(1);
        top.on_keys(&[Key::PageDown], later);
        show(&mut top, later, PLAIN, (40, 10));
    }
    let end = now + Duration::from_secs(8);
    assert_snapshot!("request_read", screen(&top, end, 40, 10));
    let effects = press(&mut top, "y", end + Duration::from_millis(301));
    let [Effect::Perform(Action::Decide(decide))] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert!(matches!(decide.decision, Decision::Allow { .. }));
    assert_eq!(decide.digest.as_deref(), Some("0123"));
    assert!(top.page.is_none());
}

#[test]
fn a_decision_elsewhere_closes_the_dialog() {
    let (mut top, now) = top();
    press(&mut top, "r", now);
    let refresh = Refresh {
        team: team(""),
        tasks: Vec::new(),
        board: false,
        requests: Some(Vec::new()),
        messages: None,
    };
    top.on_refresh(refresh, now);
    assert!(top.page.is_none());
    assert!(screen(&top, now, 80, 24).contains("P-1 was decided elsewhere"));
    assert_eq!(press(&mut top, "ry", now), []);
    assert!(top.task(TaskId(5)).is_some(), "the refresh has removed T-5");
}

#[test]
fn destructive_keys_need_a_confirmation() {
    let (mut top, now) = top();
    let ada = || "ada".parse().unwrap();
    press(&mut top, "j", now);
    assert_eq!(press(&mut top, "K", now), []);
    let asked = screen(&top, now, 80, 24);
    assert!(
        asked.contains("kill ada and all its processes? y/N"),
        "{asked}"
    );
    assert_eq!(press(&mut top, "n", now), []);
    assert_eq!(
        press(&mut top, "y", now),
        [],
        "`y` acts without a confirmation"
    );
    assert_eq!(
        press(&mut top, "Ky", now),
        [Effect::Perform(Action::Kill(ada()))]
    );
    assert_eq!(
        press(&mut top, "xy", now),
        [Effect::Perform(Action::Stop(ada()))]
    );
    assert_eq!(
        press(&mut top, "Ry", now),
        [Effect::Perform(Action::Restart(ada()))]
    );
    assert_eq!(press(&mut top, "Qy", now), [Effect::Perform(Action::Down)]);
    // Keys that are pasted, or typed before the confirmation appeared, confirm nothing.
    assert_eq!(top.on_keys(&[Key::Char('K'), Key::Char('y')], now), []);
    press(&mut top, "K", now);
    assert_eq!(top.on_keys(&[Key::Paste("y".into())], now), []);
}

#[test]
fn a_typed_line_is_sent_to_the_selected_member() {
    let (mut top, now) = top();
    let to = || Recipient::Member("ada".parse().unwrap());
    let send = |to, text: &str, urgent| {
        Effect::Perform(Action::Send {
            to,
            text: text.into(),
            urgent,
        })
    };
    press(&mut top, "jsq and K are text", now);
    assert!(screen(&top, now, 80, 24).contains("to ada ▸ q and K are text"));
    top.on_keys(&[Key::Paste("\ntwo".into()), Key::Backspace], now);
    assert_eq!(
        press(&mut top, "⏎", now),
        [send(to(), "q and K are text\ntw", false)]
    );
    assert_eq!(press(&mut top, "!stop⏎", now), [send(to(), "stop", true)]);
    assert_eq!(
        press(&mut top, "Shi⏎", now),
        [send(Recipient::All, "hi", false)]
    );
    assert_eq!(press(&mut top, "s⏎shi⎋", now), []);
}

#[test]
fn spawn_takes_a_role_and_an_optional_name() {
    let (mut top, now) = top();
    press(&mut top, "+", now);
    assert!(screen(&top, now, 80, 24).contains("worker  reviewer\nrole [name] ▸"));
    press(&mut top, "re", now);
    assert!(screen(&top, now, 80, 24).contains("\nreviewer\nrole [name] ▸ re"));
    press(&mut top, "⎋+", now);
    let effects = press(&mut top, "reviewer rex⏎", now);
    let expected = Action::Spawn {
        role: "reviewer".parse().unwrap(),
        name: Some("rex".parse().unwrap()),
    };
    assert_eq!(effects, [Effect::Perform(expected)]);
    assert_eq!(press(&mut top, "+worker One⏎", now), []);
    assert!(top.status.as_ref().is_some_and(|status| status.is_error));
}

#[test]
fn g_selects_the_waiting_member_and_a_attaches() {
    let (mut top, now) = top();
    assert_eq!(
        press(&mut top, "ga", now),
        [Effect::Attach("ada".parse().unwrap())]
    );
}

#[test]
fn the_header_counts_failed_tasks_separately() {
    let (mut top, now) = top();
    top.team.usage =
        serde_json::from_value(json!({"input": 3_300, "output": 0, "unpriced": 3_300})).unwrap();
    let head = shown(&mut top, now);
    let head = head.lines().next().unwrap();
    assert!(
        head.starts_with("payments · 1 working · 2 waiting · 1 failed · 1 done "),
        "{head}"
    );
    assert!(head.ends_with("3.3k tokens · cost unknown"), "{head}");
}

#[test]
fn output_starts_at_its_end_and_scrolls_back() {
    let (mut top, now) = top();
    for line in 1..=100 {
        top.append_output(&format!("line {line}\n"));
    }
    press(&mut top, "1", now);
    assert!(shown(&mut top, now).contains("line 100"));
    top.on_keys(&[Key::PageUp], now);
    let back = shown(&mut top, now);
    assert!(
        !back.contains("line 100") && back.contains("line 90"),
        "{back}"
    );
    top.on_keys(&[Key::Home], now);
    assert!(shown(&mut top, now).contains("read src/handlers.rs"));
    assert_eq!(top.scroll[TopView::Output as usize], 102 - 16);
    top.on_keys(&[Key::PageDown], now);
    assert_eq!(top.scroll[TopView::Output as usize], 102 - 16 - 10);
}

#[test]
fn the_age_timer_fires_when_its_text_changes() {
    let (top, now) = top();
    // ada has been waiting for 4.2 s.
    assert_eq!(top.next_age(now), Some(Duration::from_millis(800)));
    let later = now + Duration::from_secs(120);
    let shown = screen(&top, later, 80, 24);
    assert!(shown.contains("2 min"), "{shown}");
}

#[test]
fn after_a_resize_the_request_must_be_read_again() {
    let (mut top, now) = top();
    press(&mut top, "r", now);
    show(&mut top, now, PLAIN, (80, 24));
    top.on_resize();
    assert_eq!(press(&mut top, "y", now + Duration::from_secs(9)), []);
    assert!(matches!(top.page, Some(Page::Request(_))));
}

#[test]
fn hostile_texts_cannot_change_the_layout() {
    let (mut top, now) = top_with(HOSTILE);
    for (columns, rows) in [(40, 12), (80, 24), (200, 50)] {
        for key in ["1", "2", "3", "4", "r", "2⏎", "2w", "1⏎", "⎋/#(", "⎋⎋2/T⏎"] {
            press(&mut top, key, now);
            show(&mut top, now, Theme::Dark, (columns, rows));
            let shown = screen(&top, now, columns, rows);
            let raw = [
                '\u{1b}', '\u{7}', '\u{9b}', '\r', '\u{202e}', '\u{200b}', '\u{feff}',
            ];
            assert!(!shown.contains(raw), "{shown:?}");
            assert_eq!(shown.lines().count(), usize::from(rows));
            for line in shown.lines() {
                assert!(line.width() <= usize::from(columns), "{line:?}");
            }
            press(&mut top, "⎋", now);
        }
    }
}

#[test]
fn no_size_is_too_small() {
    let (mut top, now) = top();
    for key in [
        "1", "2", "3", "4", "r", "⎋?", "⎋K", "⎋s", "⎋2⏎", "⎋/a", "⎋d", "⎋1⏎", "⎋w",
    ] {
        press(&mut top, key, now);
        for (columns, rows) in [(1, 1), (2, 2), (5, 3), (10, 50), (300, 2)] {
            show(&mut top, now, PLAIN, (columns, rows));
            mouse(&mut top, MouseAction::ScrollDown, (0, 1), now);
        }
    }
}

#[test]
fn a_reconnect_is_shown_and_outdates_all_data() {
    let (mut top, now) = top();
    top.stale = Stale::default();
    top.set_disconnected(true);
    assert!(screen(&top, now, 80, 24).contains("disconnected from the supervisor"));
    top.set_disconnected(false);
    assert!(screen(&top, now, 80, 24).contains("reconnected"));
    assert_eq!(top.stale, Stale::all());
    assert_eq!(top.focus, TopView::Members);
}

#[test]
fn current_work_repeats_no_name_and_no_duration() {
    let work = |state: &str, more: Value| {
        let view: MemberView = serde_json::from_value(member("ada", state, more)).unwrap();
        super::rows::current_work(&top().0, &view)
    };
    let idle = "ada has been idle for 5 min: no task on the board is ready for it";
    let wrote = json!({"why": idle, "wrote_user": "M-3"});
    assert_eq!(work("idle", wrote), "wrote to you in M-3");
    let held = json!({"why": "ada is held: no key; try again with agent-team restart ada"});
    let shown = "is held: no key; try again with agent-team restart ada";
    assert_eq!(work("held", held), shown);
}
