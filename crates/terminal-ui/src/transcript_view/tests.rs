//! Tests of the rendered screen and of the key bindings.

mod replay;

use std::num::NonZeroU16;
use std::time::Duration;

use agent_team_protocol::Party;
use agent_team_protocol::request::Scope;
use proptest::prelude::*;

use super::activity::STEP;
use super::*;

const LONG: Duration = Duration::from_secs(1);

fn transcript(columns: u16) -> TranscriptView {
    let mut transcript = TranscriptView::new("ada".parse().unwrap(), Theme::Dark);
    transcript.attach((columns, 24));
    transcript.set_colour(Some(Colour::Blue));
    transcript
}

/// The text of a terminal with this width after these bytes, including its scrollback.
fn shown_at(columns: u16, bytes: &[u8]) -> String {
    let rows = NonZeroU16::new(6_000).unwrap();
    let mut terminal = vt100::Parser::new(rows, columns.try_into().unwrap(), 0);
    terminal.process(bytes);
    terminal.screen().contents() + "\n"
}

fn shown(bytes: &[u8]) -> String {
    shown_at(80, bytes)
}

/// Fails if the bytes contain anything but text and the escape sequences that the view uses.
fn check_sequences(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut pieces = text.split('\x1b');
    let mut texts = vec![pieces.next().unwrap_or_default()];
    for piece in pieces {
        // Save and restore the cursor.
        if let Some(text) = piece.strip_prefix(['7', '8']) {
            texts.push(text);
            continue;
        }
        let sequence = piece
            .strip_prefix('[')
            .ok_or_else(|| format!("{piece:?}"))?;
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        let end = end.ok_or_else(|| format!("{piece:?}"))?;
        let is_known = match (&sequence[..end], &sequence[end..=end]) {
            ("", "B" | "J") | ("2", "K") | ("?25" | "?7", "h" | "l") => true,
            (codes, "m" | "A" | "C") => codes.chars().all(|c| c.is_ascii_digit() || c == ';'),
            _ => false,
        };
        if !is_known {
            return Err(format!("{piece:?}"));
        }
        texts.push(&sequence[end + 1..]);
    }
    let harmful = |c: &char| (c.is_control() && !matches!(c, '\r' | '\n')) || *c == '\u{202e}';
    match texts.concat().chars().find(harmful) {
        Some(c) => Err(format!("{c:?}")),
        None => Ok(()),
    }
}

fn keys(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

fn request() -> RequestView {
    serde_json::from_value(serde_json::json!({
        "id": "P-4", "member": "ada", "tool": "bash", "input": {"command": "rm -rf build\x1b[2J"},
        "directory": "/project", "state": "pending", "digest": "d".repeat(64), "asked_at": 0,
        "why": ["rm: no rule allows it"],
        "offers": [{"rules": ["Bash(rm:*)"], "covers": "every rm"}],
    }))
    .unwrap()
}

/// A turn with every kind of output.
fn turn(columns: u16) -> String {
    let mut transcript = transcript(columns);
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut paint = |transcript: &mut TranscriptView, after: u64| {
        bytes.extend(transcript.paint(start + Duration::from_millis(after)));
    };
    transcript.open("/help lists the commands");
    transcript.lines(
        Tone::Runtime,
        "✉ you: Count the lines of every source file, and say which is the longest one",
    );
    transcript.set_work(Some(("thinking".into(), start)));
    transcript.push_text(TextKind::Thought, "I should look at the sources first.\n");
    transcript.end_text();
    paint(&mut transcript, 0);
    transcript.push_text(
        TextKind::Answer,
        "I look at **all** of them:\n\n- `src/main.rs`\n- `src/",
    );
    paint(&mut transcript, 100);
    transcript.push_text(TextKind::Answer, "lib.rs`\n");
    transcript.set_work(None);
    transcript.begin_call("c1", "● bash(command: wc -l src/*.rs)", start);
    transcript.push_call_output("c1", "  120 src/main.rs\n   80 src/lib.rs\n  200 total\n");
    paint(&mut transcript, 1_200);
    transcript.end_call(
        "c1",
        "  ⎿ 120 src/main.rs (+2 lines)",
        None,
        "  120 src/main.rs\n   80 src/lib.rs\n  200 total",
    );
    transcript.begin_call("c2", "● edit(path: src/lib.rs)", start);
    transcript.end_call(
        "c2",
        "  ⎿ changed",
        Some("@@ -1 +1 @@\n-old line\n+new line"),
        "changed",
    );
    transcript.ask(request(), Channel::Pane);
    paint(&mut transcript, 2_000);
    shown_at(columns, &bytes)
}

#[test]
fn a_turn_renders_at_40_columns() {
    insta::assert_snapshot!(turn(40));
}

#[test]
fn a_turn_renders_at_80_columns() {
    insta::assert_snapshot!(turn(80));
}

#[test]
fn a_turn_renders_at_200_columns() {
    insta::assert_snapshot!(turn(200));
}

#[test]
fn a_custom_command_never_replaces_a_verb() {
    let mut transcript = transcript(80);
    transcript.open("");
    let command = |name: &str| CustomCommand {
        name: name.into(),
        arguments: "ISSUE".into(),
        description: "of a file".into(),
    };
    transcript.set_commands(["stop", "up", "help", "fix_2"].map(command).to_vec());
    let now = Instant::now();
    let mut enter = |text: &str| {
        transcript.press(&keys(text), now);
        transcript.press(&[Key::Enter], now)
    };
    let called = enter("/fix_2  issue 7 ");
    assert!(
        matches!(&called[..], [UserAction::Custom(_, name, words)] if name == "fix_2" && *words == ["issue", "7"]),
        "{called:?}"
    );
    let stopped = enter("/stop ben");
    assert!(
        matches!(&stopped[..], [UserAction::Run(_, words)] if *words == ["stop", "ben"]),
        "{stopped:?}"
    );
    assert!(enter("/up").is_empty());
    assert!(enter("/help").is_empty());
    transcript.press(&keys("/fi"), now);
    let seen = shown(&transcript.paint(now));
    assert!(seen.contains("ISSUE of a file"), "{seen}");
    assert_eq!(
        seen.matches("of a file").count(),
        2,
        "in the help and in the menu: {seen}"
    );
}

#[test]
fn text_is_sent_and_slash_commands_run() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    let now = Instant::now();
    assert!(transcript.press(&keys("look at T-3"), now).is_empty());
    assert!(
        matches!(&transcript.press(&[Key::Enter], now)[..], [UserAction::Typed(text)] if text == "look at T-3")
    );
    transcript.press(&keys("/stop"), now);
    let actions = transcript.press(&[Key::Enter], now);
    assert!(
        matches!(&actions[..], [UserAction::Run(_, words)] if *words == ["stop", "ada"]),
        "{actions:?}"
    );
    transcript.press(&keys("/stpo"), now);
    assert!(transcript.press(&[Key::Enter], now).is_empty());
    let seen = shown(&transcript.paint(now));
    assert!(
        seen.contains("unknown command /stpo; did you mean /stop?"),
        "{seen}"
    );
}

#[test]
fn shift_tab_alone_changes_the_mode() {
    let mut transcript = transcript(80);
    let now = Instant::now();
    assert!(
        transcript.press(&[Key::BackTab], now).is_empty(),
        "no prompt"
    );
    transcript.open("");
    let actions = transcript.press(&[Key::BackTab], now);
    assert!(matches!(actions[..], [UserAction::NextMode]), "{actions:?}");
    let pasted = [Key::Char('a'), Key::BackTab];
    assert!(transcript.press(&pasted, now).is_empty());
}

#[test]
fn help_wraps_between_words() {
    let mut transcript = transcript(40);
    transcript.open("");
    transcript.press(&keys("/help"), Instant::now());
    transcript.press(&[Key::Enter], Instant::now());
    let seen = shown_at(40, &transcript.paint(Instant::now()));
    for word in slash::help(PromptKind::Message)
        .split_whitespace()
        .filter(|word| word.len() < 30)
    {
        assert!(seen.contains(word), "{word} in {seen}");
    }
}

/// The menu of commands above the prompt of a working member.
fn menu(columns: u16, rows: u16) -> String {
    let mut transcript = transcript(columns);
    transcript.resize((columns, rows));
    transcript.open("/help lists the commands");
    let now = Instant::now();
    transcript.set_strip(Line::of(Style::PLAIN, "[ada ◐] ben ○"));
    transcript.set_work(Some(("thinking".into(), now)));
    transcript.push_text(TextKind::Answer, "I look at all of them.\n\nThen");
    let mut terminal = screen(columns, rows);
    terminal.process(&transcript.paint(now));
    transcript.press(&keys("/"), now);
    transcript.press(&[Key::Down, Key::Down], now);
    terminal.process(&transcript.paint(now));
    terminal.screen().contents() + "\n"
}

#[test]
fn the_menu_fits_a_small_pane() {
    insta::assert_snapshot!(menu(60, 12));
}

#[test]
fn the_menu_renders_at_80_columns() {
    insta::assert_snapshot!(menu(80, 24));
}

#[test]
fn an_arrow_key_in_pieces_interrupts_nothing() {
    let mut transcript = transcript(80);
    transcript.open("");
    let now = Instant::now();
    transcript.set_work(Some(("thinking".into(), now)));
    let mut reader = crate::keys::KeyDecoder::default();
    for piece in [&b"\x1b"[..], b"[", b"A", b"\x1bO", b"B"] {
        let keys = reader.read(piece);
        assert!(transcript.press(&keys, now).is_empty(), "{piece:?}");
    }
    // An escape byte is the escape key only if no byte follows.
    assert_eq!(reader.read(b"\x1b"), []);
    let interrupts = transcript.press(&reader.settle(), now);
    assert!(
        matches!(&interrupts[..], [UserAction::Interrupt]),
        "{interrupts:?}"
    );
}

#[test]
fn a_request_takes_no_keys_from_typed_text() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    let start = Instant::now();
    transcript.press(&keys("I was about to sa"), start);
    transcript.ask(request(), Channel::Pane);
    let seen = shown(&transcript.paint(start));
    assert!(seen.contains("send or clear (^C) your text"), "{seen}");
    transcript.was_painted(start);
    assert!(transcript.press(&keys("y"), start + LONG).is_empty());
    // The text is sent: the request is shown now, and its minimum reading time starts.
    let sent = transcript.press(&[Key::Enter], start + LONG);
    assert!(
        matches!(&sent[..], [UserAction::Typed(text)] if text == "I was about to say"),
        "{sent:?}"
    );
    assert!(transcript.press(&keys("y"), start + LONG).is_empty());
    transcript.paint(start + LONG);
    transcript.was_painted(start + LONG);
    assert!(
        transcript
            .press(&keys("y"), start + LONG + LONG / 10)
            .is_empty(),
        "too soon"
    );
    let decided = transcript.press(&keys("y"), start + 2 * LONG);
    let [UserAction::Decide(decide)] = &decided[..] else {
        panic!("{decided:?}");
    };
    assert!(matches!(decide.decision, Decision::Allow { .. }));
}

#[test]
fn pasted_or_combined_keys_decide_nothing() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    transcript.ask(request(), Channel::Pane);
    let start = Instant::now();
    transcript.paint(start);
    transcript.was_painted(start);
    assert!(
        transcript
            .press(&[Key::Paste("y".into())], start + LONG)
            .is_empty()
    );
    assert!(transcript.press(&keys("yes"), start + 2 * LONG).is_empty());
    let waits = transcript.press(&[Key::Escape], start + 3 * LONG);
    assert!(waits.is_empty());
    let seen = shown(&transcript.paint(start));
    assert!(
        seen.contains("? waits, ^O shows it: P-4 bash") && seen.ends_with("ada ▸ \n"),
        "{seen}"
    );
    assert!(
        transcript
            .press(&[Key::Control('o')], start + 4 * LONG)
            .is_empty()
    );
    transcript.paint(start + 4 * LONG);
    transcript.was_painted(start + 4 * LONG);
    let decided = transcript.press(&keys("y"), start + 5 * LONG);
    assert!(
        matches!(&decided[..], [UserAction::Decide(_)]),
        "{decided:?}"
    );
}

#[test]
fn a_key_unfolds_calls_with_long_results() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    let now = Instant::now();
    for (call, all) in [("a", "one\ntwo"), ("b", "three\nfour"), ("c", "done")] {
        transcript.begin_call(call, &format!("● bash(command: {call})"), now);
        transcript.end_call(call, &call::first_line(all, false), None, all);
    }
    let folded = shown(&transcript.paint(now));
    assert!(
        folded.contains("⎿ three (+1 line)") && !folded.contains("four"),
        "{folded}"
    );
    let mut opened = || {
        transcript.press(&[Key::Control('o')], now);
        shown(&transcript.paint(now)).trim_end().to_owned()
    };
    // The last call's complete result is already visible.
    assert_eq!(opened(), "● bash(command: b)\nthree\nfour\nada ▸");
    assert_eq!(opened(), "● bash(command: a) · 1 back\none\ntwo\nada ▸");
    assert_eq!(opened(), "no older call is stored\nada ▸");
    transcript.press(&keys("x"), now);
    transcript.press(&[Key::Control('o')], now);
    let again = shown(&transcript.paint(now));
    assert!(again.contains("four"), "{again}");
}

#[test]
fn only_activity_is_animated() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    let now = Instant::now();
    assert!(transcript.next_paint(now).is_some());
    transcript.paint(now);
    assert_eq!(transcript.next_paint(now), None);
    transcript.set_work(Some(("thinking".into(), now)));
    transcript.paint(now);
    assert_eq!(transcript.next_paint(now), Some(now + STEP));
    transcript.set_waiting(true, now);
    transcript.paint(now);
    assert_eq!(transcript.next_paint(now), None, "the member waits");
    // Set the same values again.
    transcript.set_waiting(true, now);
    transcript.set_colour(Some(Colour::Blue));
    transcript.set_strip(Line::default());
    transcript.resize((80, 24));
    assert_eq!(transcript.next_paint(now), None, "nothing has changed");
    transcript.set_waiting(false, now);
    transcript.set_work(None);
    transcript.paint(now);
    assert_eq!(transcript.next_paint(now), None);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    const HOSTILE: &str = "a\x1b]0;title\x07b\x1b[2J\x1b]52;c;eA==\x07\u{9b}31mc\x1bP+q\x1b\\d\u{202e}e\r\x08f\x1b]8;;http://x\x07g\t名\u{301}";
    let mut transcript = transcript(60);
    transcript.open("/help lists the commands");
    let now = Instant::now();
    transcript.lines(Tone::Plain, HOSTILE);
    transcript.lines(Tone::Diff, HOSTILE);
    transcript.push_text(TextKind::Thought, HOSTILE);
    transcript.push_text(TextKind::Thought, "\n");
    transcript.push_text(TextKind::Answer, &format!("# {HOSTILE}\n[{HOSTILE}]({HOSTILE}) `{HOSTILE}`\n\n```{HOSTILE}\n{HOSTILE}\n```\n| {HOSTILE} |\n|--|\n| {HOSTILE} |\n\n> {HOSTILE}"));
    transcript.begin_call(HOSTILE, HOSTILE, now);
    transcript.push_call_output(HOSTILE, HOSTILE);
    transcript.press(&[Key::Paste(HOSTILE.into())], now);
    let mut bytes = transcript.paint(now);
    transcript.end_call(HOSTILE, HOSTILE, Some(HOSTILE), HOSTILE);
    bytes.extend(transcript.paint(now));
    check_sequences(&bytes).unwrap();
}

#[test]
fn a_stalled_terminal_misses_the_oldest_lines() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    for number in 0..3 * WAITING_MAX {
        transcript.lines(Tone::Plain, &number.to_string());
    }
    let seen = shown(&transcript.paint(Instant::now()));
    assert!(seen.starts_with("… output omitted above …\n"));
    assert!(seen.contains(&format!("\n{}\n", 3 * WAITING_MAX - 1)));
    assert!(seen.lines().count() <= WAITING_MAX + 2);
}

#[test]
fn queued_output_is_bounded_in_bytes() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    for _ in 0..100 {
        transcript.lines(Tone::Plain, &"x".repeat(100_000));
        transcript.push_text(TextKind::Thought, &"y".repeat(100_000));
    }
    let bytes = transcript.paint(Instant::now());
    assert!(bytes.len() <= 2 * WAITING_BYTES_MAX, "{}", bytes.len());
}

#[test]
fn end_work_ends_running_calls() {
    let mut transcript = transcript(80);
    transcript.open("/help lists the commands");
    let now = Instant::now();
    transcript.begin_call("c", "● bash(command: ls)", now);
    transcript.end_work();
    transcript.paint(now);
    assert_eq!(transcript.next_paint(now + LONG), None);
}

#[test]
fn a_decided_request_folds_to_one_line() {
    let folded = |own: Option<char>, decided: Decided| {
        let mut transcript = transcript(80);
        transcript.open("");
        transcript.ask(request(), Channel::Pane);
        let start = Instant::now();
        let mut bytes = transcript.paint(start);
        transcript.was_painted(start);
        if let Some(key) = own {
            let pressed = transcript.press(&[Key::Char(key)], start + LONG);
            assert!(matches!(&pressed[..], [UserAction::Decide(_)]));
        }
        transcript.end_request(RequestId(4), &decided);
        bytes.extend(transcript.paint(start + LONG));
        shown(&bytes)
    };
    let name = "P-4 bash: rm -rf build\\e[2J";
    let allowed = Decided::Allowed {
        by: None,
        scope: None,
    };
    for (own, decided, expected) in [
        (
            Some('y'),
            allowed.clone(),
            format!("✓ {name}: allowed once by you"),
        ),
        (
            Some('1'),
            allowed,
            format!("✓ {name}: allowed for the team by you, Bash(rm:*)"),
        ),
        (
            None,
            Decided::Allowed {
                by: Some(Party::Member("lead".parse().unwrap())),
                scope: Some(Scope::Once),
            },
            format!("✓ {name}: allowed once by lead"),
        ),
        (
            None,
            Decided::Denied {
                by: Party::User,
                reason: "use\nmake".into(),
            },
            format!("✗ {name}: denied by you, \"use\\nmake\""),
        ),
        (
            None,
            Decided::Denied {
                by: Party::System,
                reason: "not answered in time".into(),
            },
            format!("– {name}: expired, not answered in time"),
        ),
        (None, Decided::Over, format!("– {name}: withdrawn")),
    ] {
        assert_eq!(folded(own, decided), format!("{expected}\nada ▸ \n"));
    }
}

#[test]
fn an_answer_that_was_not_sent_shows_the_card_again() {
    let mut transcript = transcript(80);
    transcript.open("");
    transcript.ask(request(), Channel::Pane);
    let start = Instant::now();
    transcript.paint(start);
    transcript.was_painted(start);
    transcript.press(&keys("y"), start + LONG);
    transcript.paint(start + LONG);
    transcript.reopen_request();
    // The user typed this key before the card was on the screen again.
    assert!(transcript.press(&keys("y"), start + 2 * LONG).is_empty());
    let seen = shown(&transcript.paint(start + 2 * LONG));
    assert!(seen.contains("[y] once"), "{seen}");
}

/// A terminal of this size, without scrollback.
fn screen(columns: u16, rows: u16) -> vt100::Parser {
    let size = |cells: u16| NonZeroU16::new(cells).unwrap();
    vt100::Parser::new(size(rows), size(columns), 0)
}

/// A request for a command with this number of lines, and the text of each line.
fn long_request(lines: usize) -> (RequestView, Vec<String>) {
    let marks: Vec<String> = (0..lines).map(|line| format!("<{line}>")).collect();
    let mut view = request();
    let input = serde_json::json!({ "command": marks.join("\n") });
    view.input = serde_json::value::to_raw_value(&input).unwrap();
    (view, marks)
}

#[test]
fn a_long_request_is_allowed_only_after_its_last_page() {
    let mut transcript = transcript(80);
    transcript.resize((80, 10));
    transcript.open("");
    let (view, _) = long_request(30);
    transcript.ask(view, Channel::Pane);
    let mut now = Instant::now();
    let mut bytes = Vec::new();
    let mut decided = Vec::new();
    for page in 0..10 {
        bytes.extend(transcript.paint(now));
        transcript.was_painted(now);
        bytes.extend(transcript.paint(now));
        now += LONG;
        decided = transcript.press(&keys("y"), now);
        if !decided.is_empty() {
            assert!(page >= 3, "decided on page {page}");
            break;
        }
        now += LONG;
        transcript.press(&keys(" "), now);
    }
    assert!(
        matches!(&decided[..], [UserAction::Decide(_)]),
        "{decided:?}"
    );
    bytes.extend(transcript.paint(now));
    let mut terminal = screen(80, 10);
    terminal.process(&bytes);
    let seen = terminal.screen().contents();
    assert!(
        seen.contains("your answer is being sent: P-4 bash"),
        "{seen}"
    );
}

#[test]
fn a_key_on_the_first_page_decides_nothing() {
    let mut transcript = transcript(80);
    transcript.resize((80, 10));
    transcript.open("");
    // The first line is dangerous, and the blank lines after it scroll it away.
    let mut view = request();
    let input = serde_json::json!({ "command": format!("touch PWN{}", "\n".repeat(10_000)) });
    view.input = serde_json::value::to_raw_value(&input).unwrap();
    transcript.ask(view, Channel::Pane);
    let now = Instant::now();
    let bytes = transcript.paint(now);
    transcript.was_painted(now);
    assert!(transcript.press(&keys("y"), now + LONG).is_empty());
    let mut terminal = screen(80, 10);
    terminal.process(&bytes);
    let seen = terminal.screen().contents();
    assert!(seen.contains("touch PWN"), "{seen}");
    assert!(seen.contains("more lines, ^O"), "{seen}");
}

/// An event of a transcript view.
#[derive(Debug, Clone)]
enum ViewEvent {
    Answer(String),
    Thought(String),
    Lines(String),
    Diff(String),
    Begins(String),
    Prints(String),
    Ends(String),
    Asks,
    Paints,
    Resizes(u16, u16),
    Attaches(u16, u16),
    HidesAndShows,
    Read(Vec<u8>),
}

fn view_events() -> impl Strategy<Value = ViewEvent> {
    let text = "[-#>|`* a1名é\u{301}👩\u{200d}\u{fe0f}\n\t\r\u{1b}\\[;\u{7}\u{9b}\u{202e}]{0,40}";
    let size = || (0_u16..100, 0_u16..30);
    let typed = proptest::collection::vec(
        prop_oneof![
            3 => proptest::sample::select(&b"\x1b[\x1bOABCDH200~1y\r\n\x0f\x7f\t\xe5\x90\x8d/"[..]),
            1 => any::<u8>(),
        ],
        0..20,
    );
    prop_oneof![
        text.prop_map(ViewEvent::Answer),
        text.prop_map(ViewEvent::Thought),
        text.prop_map(ViewEvent::Lines),
        text.prop_map(ViewEvent::Diff),
        text.prop_map(ViewEvent::Begins),
        text.prop_map(ViewEvent::Prints),
        text.prop_map(ViewEvent::Ends),
        Just(ViewEvent::Asks),
        Just(ViewEvent::Paints),
        size().prop_map(|(columns, rows)| ViewEvent::Resizes(columns, rows)),
        size().prop_map(|(columns, rows)| ViewEvent::Attaches(columns, rows)),
        Just(ViewEvent::HidesAndShows),
        typed.prop_map(ViewEvent::Read),
    ]
}

proptest! {
    /// Holds for any request, in a pane of any size, with any keystrokes.
    #[test]
    fn a_request_is_allowed_only_after_it_was_read(
        lines in 1_usize..60,
        size in (30_u16..100, 1_u16..25),
        pressed in proptest::collection::vec(proptest::sample::select(&[' ', ' ', ' ', 'y', 'y', 'b', 'd', 'u', 'n', '+']), 0..60),
    ) {
        let mut transcript = transcript(80);
        transcript.open("");
        transcript.attach(size);
        let mut terminal = screen(size.0, size.1);
        let (view, marks) = long_request(lines);
        transcript.ask(view, Channel::Pane);
        let mut unseen = marks;
        let mut now = Instant::now();
        for key in pressed {
            terminal.process(&transcript.paint(now));
            transcript.was_painted(now);
            let screen = terminal.screen().contents();
            unseen.retain(|mark| !screen.contains(mark.as_str()));
            now += LONG;
            let key = match key {
                'd' => Key::Down,
                'u' => Key::Up,
                'b' => Key::PageUp,
                '+' => {
                    transcript.lines(Tone::Plain, "another tool prints this");
                    continue;
                }
                c => Key::Char(c),
            };
            if let [UserAction::Decide(decide)] = &transcript.press(std::slice::from_ref(&key), now)[..] {
                let is_denied = matches!(decide.decision, Decision::Deny { .. });
                let expected = if is_denied { 'n' } else { 'y' };
                prop_assert_eq!(key, Key::Char(expected));
                prop_assert!(is_denied || unseen.is_empty(), "{:?} was never shown", unseen);
                break;
            }
        }
    }

    /// Holds for any output, any keystrokes and any size.
    #[test]
    fn any_events_paint_within_the_screen(all in proptest::collection::vec(view_events(), 0..40)) {
        let mut transcript = transcript(80);
        transcript.open("/help lists the commands");
        let mut reader = crate::keys::KeyDecoder::default();
        let now = Instant::now();
        for it in all {
            let mut bytes = Vec::new();
            match it {
                ViewEvent::Answer(text) => transcript.push_text(TextKind::Answer, &text),
                ViewEvent::Thought(text) => transcript.push_text(TextKind::Thought, &text),
                ViewEvent::Lines(text) => transcript.lines(Tone::Plain, &text),
                ViewEvent::Diff(text) => transcript.lines(Tone::Diff, &text),
                ViewEvent::Begins(text) => transcript.begin_call("c", &text, now),
                ViewEvent::Prints(text) => transcript.push_call_output("c", &text),
                ViewEvent::Ends(text) => transcript.end_call("c", &call::first_line(&text, true), Some(&text), &text),
                ViewEvent::Asks => transcript.ask(request(), Channel::Pane),
                ViewEvent::Paints => {
                    bytes = transcript.paint(now);
                    transcript.was_painted(now);
                }
                ViewEvent::Resizes(columns, rows) => transcript.resize((columns, rows)),
                ViewEvent::Attaches(columns, rows) => transcript.attach((columns, rows)),
                ViewEvent::HidesAndShows => {
                    bytes = transcript.hide();
                    transcript.show(Some("title"));
                }
                ViewEvent::Read(bytes) => {
                    let keys = reader.read(&bytes);
                    transcript.press(&keys, now);
                }
            }
            check_sequences(&bytes).map_err(TestCaseError::fail)?;
            let (live, (row, column)) = transcript.live(now);
            prop_assert!(live.len() <= usize::from(transcript.size.1).max(1), "{live:?}");
            prop_assert!(row < live.len() && column <= transcript.columns());
            for line in live {
                prop_assert!(line.width() <= transcript.columns(), "{line:?}");
            }
        }
    }

    /// Holds for any split of the bytes into reads.
    #[test]
    fn typed_text_is_sent_unchanged(text in "[ -~名é👩\u{301}]{1,60}", cut in 0_usize..60) {
        prop_assume!(!text.trim().is_empty() && !text.starts_with('/') && !text.ends_with('\\'));
        let (before, after) = text.as_bytes().split_at(cut.min(text.len()));
        let mut transcript = transcript(40);
        transcript.open("/help lists the commands");
        let mut reader = crate::keys::KeyDecoder::default();
        let now = Instant::now();
        for bytes in [before, after] {
            prop_assert!(transcript.press(&reader.read(bytes), now).is_empty());
            transcript.paint(now);
        }
        let sent = transcript.press(&reader.read(b"\r"), now);
        prop_assert!(matches!(&sent[..], [UserAction::Typed(sent)] if *sent == text), "{sent:?}");
    }
}
