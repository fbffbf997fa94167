//! What a person sees, and what their keys come to.

use agent_team_protocol::request::Decision;

use super::*;

const LONG: Duration = Duration::from_secs(1);

fn face(columns: u16) -> Face {
    let mut face = Face::new("ada".parse().unwrap(), true);
    face.moved((columns, 24));
    face.set_colour(Some(Colour::Blue));
    face
}

/// What a terminal shows of all that was painted: enough of one for what a face paints.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (mut rows, mut row) = (vec![String::new()], 0);
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => {}
            '\n' => {
                row += 1;
                if row == rows.len() {
                    rows.push(String::new());
                }
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let sequence = &rest[1..end];
                match &rest[end..=end] {
                    "A" => row -= sequence.parse::<usize>().unwrap(),
                    "J" => {
                        rows.truncate(row + 1);
                        rows[row].clear();
                    }
                    _ => {}
                }
                rest = &rest[end + 1..];
            }
            c => rows[row].push(c),
        }
    }
    rows.join("\n") + "\n"
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

/// A turn with everything that there is.
fn turn(columns: u16) -> String {
    let mut face = face(columns);
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut paint = |face: &mut Face, after: u64| {
        bytes.extend(face.paint((columns, 24), start + Duration::from_millis(after)));
    };
    face.open("/help tells what can be typed here");
    face.lines(
        Tone::Accent,
        "✉ user: Count the lines of every source file, and say which is the longest one",
    );
    face.thinks(Some(start));
    face.say(Words::Thought, "I should look at the sources first.\n");
    face.pause();
    paint(&mut face, 0);
    face.say(
        Words::Spoken,
        "I look at **all** of them:\n\n- `src/main.rs`\n- `src/",
    );
    paint(&mut face, 100);
    face.say(Words::Spoken, "lib.rs`\n");
    face.thinks(None);
    face.begin_call("c1", "● bash(command: wc -l src/*.rs)", start);
    face.printed("c1", "  120 src/main.rs\n   80 src/lib.rs\n  200 total\n");
    paint(&mut face, 1_200);
    face.end_call(
        "c1",
        "  ⎿ 120 src/main.rs (+2 lines)",
        None,
        "  120 src/main.rs\n   80 src/lib.rs\n  200 total",
    );
    face.begin_call("c2", "● edit(path: src/lib.rs)", start);
    face.end_call(
        "c2",
        "  ⎿ changed",
        Some("@@ -1 +1 @@\n-old line\n+new line"),
        "changed",
    );
    face.ask(request(), Channel::Pane);
    paint(&mut face, 2_000);
    shown(&bytes)
}

#[test]
fn a_turn_reads_at_40_columns() {
    insta::assert_snapshot!(turn(40));
}

#[test]
fn a_turn_reads_at_80_columns() {
    insta::assert_snapshot!(turn(80));
}

#[test]
fn a_turn_reads_at_200_columns() {
    insta::assert_snapshot!(turn(200));
}

#[test]
fn a_text_is_sent_and_a_verb_is_run() {
    let mut face = face(80);
    face.open("/help tells what can be typed here");
    let now = Instant::now();
    assert!(face.press(&keys("look at T-3"), now).is_empty());
    assert!(
        matches!(&face.press(&[Key::Enter], now)[..], [Act::Typed(text)] if text == "look at T-3")
    );
    face.press(&keys("/stop"), now);
    let acts = face.press(&[Key::Enter], now);
    assert!(
        matches!(&acts[..], [Act::Run(_, words)] if *words == ["stop", "ada"]),
        "{acts:?}"
    );
    face.press(&keys("/stpo"), now);
    assert!(face.press(&[Key::Enter], now).is_empty());
    let seen = shown(&face.paint((80, 24), now));
    assert!(seen.contains("there is no /stpo; /stop there is"), "{seen}");
}

#[test]
fn a_request_takes_no_keys_from_a_text_that_is_being_typed() {
    let mut face = face(80);
    face.open("/help tells what can be typed here");
    let start = Instant::now();
    face.press(&keys("I was about to sa"), start);
    face.ask(request(), Channel::Pane);
    let seen = shown(&face.paint((80, 24), start));
    assert!(seen.contains("P-4 waits until what you type"), "{seen}");
    face.was_painted(start);
    assert!(face.press(&keys("y"), start + LONG).is_empty());
    // Sent: now it asks, and the moment begins.
    let sent = face.press(&[Key::Enter], start + LONG);
    assert!(
        matches!(&sent[..], [Act::Typed(text)] if text == "I was about to say"),
        "{sent:?}"
    );
    assert!(face.press(&keys("y"), start + LONG).is_empty());
    face.paint((80, 24), start + LONG);
    face.was_painted(start + LONG);
    assert!(
        face.press(&keys("y"), start + LONG + LONG / 10).is_empty(),
        "too soon"
    );
    let decided = face.press(&keys("y"), start + 2 * LONG);
    let [Act::Decide(decide)] = &decided[..] else {
        panic!("{decided:?}");
    };
    assert!(matches!(decide.decision, Decision::Allow { .. }));
}

#[test]
fn what_comes_with_other_keys_or_is_pasted_decides_nothing() {
    let mut face = face(80);
    face.open("/help tells what can be typed here");
    face.ask(request(), Channel::Pane);
    let start = Instant::now();
    face.paint((80, 24), start);
    face.was_painted(start);
    assert!(
        face.press(&[Key::Paste("y".into())], start + LONG)
            .is_empty()
    );
    assert!(face.press(&keys("yes"), start + 2 * LONG).is_empty());
    let waits = face.press(&[Key::Escape], start + 3 * LONG);
    assert!(waits.is_empty());
    let seen = shown(&face.paint((80, 24), start));
    assert!(
        seen.contains("P-4 goes on waiting") && seen.ends_with("ada ▸ \n"),
        "{seen}"
    );
}

#[test]
fn a_call_folds_to_a_line_and_a_key_opens_it() {
    let mut face = face(80);
    face.open("/help tells what can be typed here");
    let now = Instant::now();
    face.begin_call("c", "● bash(command: ls)", now);
    face.printed("c", "one\ntwo\n");
    face.end_call("c", "  ⎿ one (+1 line)", None, "one\ntwo");
    let folded = shown(&face.paint((80, 24), now));
    assert!(
        folded.contains("⎿ one (+1 line)") && !folded.contains("two"),
        "{folded}"
    );
    face.press(&[Key::Control('o')], now);
    let opened = shown(&face.paint((80, 24), now));
    assert!(opened.contains("two"), "{opened}");
}

#[test]
fn nothing_is_painted_at_rest_and_a_sign_moves_only_while_something_is_done() {
    let mut face = face(80);
    face.open("/help tells what can be typed here");
    let now = Instant::now();
    assert!(face.next_paint(now).is_some());
    face.paint((80, 24), now);
    assert_eq!(face.next_paint(now), None);
    face.thinks(Some(now));
    face.paint((80, 24), now);
    assert_eq!(face.next_paint(now), Some(now + STEP));
    face.waits(true, now);
    face.paint((80, 24), now);
    assert_eq!(face.next_paint(now), None, "it waits for somebody");
    face.waits(false, now);
    face.thinks(None);
    face.paint((80, 24), now);
    assert_eq!(face.next_paint(now), None);
}

#[test]
fn nothing_that_comes_from_elsewhere_reaches_the_terminal_as_more_than_text() {
    const HOSTILE: &str = "a\x1b]0;title\x07b\x1b[2J\x1b]52;c;eA==\x07\u{9b}31mc\x1bP+q\x1b\\d\u{202e}e\r\x08f\x1b]8;;http://x\x07g\t名\u{301}";
    let mut face = face(60);
    face.open("/help tells what can be typed here");
    let now = Instant::now();
    face.lines(Tone::Plain, HOSTILE);
    face.lines(Tone::Diff, HOSTILE);
    face.say(Words::Thought, HOSTILE);
    face.say(Words::Thought, "\n");
    face.say(Words::Spoken, &format!("# {HOSTILE}\n[{HOSTILE}]({HOSTILE}) `{HOSTILE}`\n\n```{HOSTILE}\n{HOSTILE}\n```\n| {HOSTILE} |\n|--|\n| {HOSTILE} |\n\n> {HOSTILE}"));
    face.begin_call(HOSTILE, HOSTILE, now);
    face.printed(HOSTILE, HOSTILE);
    face.press(&[Key::Paste(HOSTILE.into())], now);
    let mut bytes = face.paint((60, 24), now);
    face.end_call(HOSTILE, HOSTILE, Some(HOSTILE), HOSTILE);
    bytes.extend(face.paint((60, 24), now));
    let text = String::from_utf8(bytes).unwrap();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\x1b') {
        rest = &rest[at + 1..];
        let sequence = rest.strip_prefix('[').expect("nothing but ours");
        let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        let ours = matches!(&sequence[end..=end], "m" | "A" | "C" | "J" | "h" | "l");
        assert!(ours, "{sequence:?}");
        assert!(!sequence.starts_with("2J"));
        rest = &sequence[end + 1..];
    }
    let control = |c: &char| c.is_control() && !matches!(c, '\x1b' | '\r' | '\n');
    assert_eq!(text.chars().find(control), None);
    assert!(!text.contains('\u{202e}'));
}

#[test]
fn a_terminal_that_takes_nothing_misses_the_oldest_and_is_told() {
    let mut face = face(80);
    face.open("/help tells what can be typed here");
    for number in 0..3 * WAITING_MAX {
        face.lines(Tone::Plain, &number.to_string());
    }
    let seen = shown(&face.paint((80, 24), Instant::now()));
    assert!(seen.starts_with("… output left out above …\n"));
    assert!(seen.contains(&format!("\n{}\n", 3 * WAITING_MAX - 1)));
    assert!(seen.lines().count() <= WAITING_MAX + 2);
}
