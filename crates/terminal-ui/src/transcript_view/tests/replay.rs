//! Tests of output that the user has seen before: decided changes, and the end of a log.

use agent_team_protocol::request::waiting_line;

use super::*;

fn change() -> RequestView {
    serde_json::from_value(serde_json::json!({
        "id": "P-4", "member": "ada", "tool": "edit",
        "input": {"path": "a.rs", "old": "one", "new": "two", "diff": DIFF},
        "directory": "/project", "state": "pending", "digest": "d".repeat(64), "asked_at": 0, "why": [], "offers": [],
    }))
    .unwrap()
}

const DIFF: &str = "--- a/a.rs\n+++ b/a.rs\n@@ -1 +1 @@\n-one\n+two\n";

#[test]
fn a_change_whose_card_was_allowed_is_one_line() {
    let allowed = Decided::Allowed {
        by: Some(Party::User),
        scope: Some(Scope::Once),
    };
    let mut transcript = transcript(80);
    transcript.open("");
    let now = Instant::now();
    transcript.begin_call("c", "● edit a.rs", now);
    transcript.push_call_output("c", &waiting_line(RequestId(4)));
    transcript.ask(change(), Channel::Pane);
    let mut bytes = transcript.paint(now);
    transcript.end_request(RequestId(4), &allowed);
    bytes.extend(transcript.paint(now));
    assert!(!shown(&bytes).contains("waits for permission"));
    transcript.end_call("c", "  ⎿ a.rs is edited.", Some(DIFF), "a.rs is edited.");
    bytes.extend(transcript.paint(now));
    let after = shown(&bytes);
    assert!(after.contains("● edit a.rs (+1 −1)\nada ▸"), "{after}");
    assert!(!after.contains("two"), "{after}");
    transcript.press(&[Key::Control('o')], now);
    bytes.extend(transcript.paint(now));
    let unfolded = "● edit a.rs (+1 −1)\n1 - one\n1 + two\na.rs is edited.\n";
    assert!(shown(&bytes).contains(unfolded), "{}", shown(&bytes));

    // The user did not decide a request about the next change.
    transcript.begin_call("d", "● edit b.rs", now);
    transcript.end_call(
        "d",
        "  ⎿ b.rs is edited.",
        Some("--- /dev/null\n+++ b/b.rs\n@@ -0,0 +1,2 @@\n+a\n+b\n"),
        "",
    );
    bytes.extend(transcript.paint(now));
    let after = shown(&bytes);
    assert!(after.contains("● edit b.rs\n1 + a\n2 + b\n"), "{after}");
}

#[test]
fn a_change_in_the_end_of_a_log_looks_as_before() {
    let log = format!("● edit a.rs\n{DIFF}  ⎿ a.rs is edited.\n- next\n");
    let shown_as = |is_markdown| {
        let mut transcript = transcript(80);
        transcript.log(&log, is_markdown);
        shown(&transcript.paint(Instant::now()))
    };
    let agent = "● edit a.rs\n1 - one\n1 + two\n  ⎿ a.rs is edited.\n- next\n";
    assert_eq!(shown_as(true), agent);
    assert!(shown_as(false).starts_with(&log), "output of a command");
}

#[test]
fn the_end_of_a_log_is_wrapped_and_styled() {
    let mut transcript = transcript(30);
    transcript.open("");
    let waiting = waiting_line(RequestId(4));
    let log = format!("✗ it failed because of that word\n# Title\n{waiting}\nP-4 waits\n");
    transcript.log(&log, true);
    let bytes = transcript.paint(Instant::now());
    let shown = shown(&bytes);
    assert!(
        shown.starts_with("✗ it failed because of that\n  word\n# Title\nP-4 waits\nada"),
        "{shown}"
    );
    let title = Line::of(Style::of(SemanticColour::Heading).bold(), "# Title");
    let bytes = String::from_utf8_lossy(&bytes).into_owned();
    assert!(bytes.contains(&title.ansi(Theme::Dark)), "{bytes:?}");
}
