//! Tests of the rendered card, in the sizes of panes and in each theme, and with hostile texts.

use std::time::Instant;

use agent_team_protocol::request::{Channel, RequestView};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::dialog::{Dialog, Screen};
use crate::line::Line;
use crate::style::Theme;

fn view(tool: &str, input: Value, more: Value) -> RequestView {
    let mut view = json!({
        "id": "P-2", "member": "ada", "tool": tool, "input": input, "directory": "/project",
        "state": "pending", "digest": "d", "asked_at": 0, "why": ["x: no rule allows it"],
        "offers": [],
    });
    let fields = more.as_object().unwrap();
    view.as_object_mut().unwrap().extend(fields.clone());
    serde_json::from_value(view).unwrap()
}

fn edit() -> RequestView {
    let mut diff = "--- a/src/lib.rs\n+++ b/src/lib.rs\n@@ -8,7 +8,7 @@\n pub fn add(a: u32, b: u32) -> u32 {\n\
                    -    a - b\n+    a + b\n }\n"
        .to_owned();
    diff.push_str("@@ -30,2 +30,22 @@\n mod tests {\n");
    for line in 0..20 {
        diff.push_str(&format!("+    assert_eq!(add({line}, 1), {});\n", line + 1));
    }
    diff.push_str(" }\n");
    let offers = json!([
        { "rules": [], "covers": "exactly this request" },
        { "rules": ["Edit(./src/lib.rs)"], "covers": "changing src/lib.rs" },
        { "rules": ["Edit(src/**)"], "covers": "changing everything below src" },
    ]);
    let input = json!({ "path": "src/lib.rs", "diff": diff });
    view("edit", input, json!({ "offers": offers }))
}

fn outside() -> RequestView {
    let input = json!({ "command": "cargo publish -p tally", "outside_sandbox": true });
    let why = ["bash: no rule can allow it: it has no sandbox"];
    let warnings = ["runs outside the sandbox, with all your rights"];
    view("bash", input, json!({ "why": why, "warnings": warnings }))
}

/// The lines in a pane of this size; the last column stays empty.
fn screen(view: RequestView, columns: usize, rows: usize) -> Vec<Line> {
    let mut dialog = Dialog::of(view, Channel::Pane);
    let all = dialog.rows(columns - 1);
    dialog.was_shown(all.len(), columns - 1, rows, Instant::now());
    let Screen { lines, cursor } = dialog.screen(&all, columns - 1, rows);
    assert!(lines.len() <= rows && cursor.0 < lines.len());
    lines
}

fn text(lines: &[Line]) -> String {
    let lines: Vec<String> = lines.iter().map(Line::text).collect();
    lines.join("\n")
}

fn painted(view: RequestView, theme: Theme) -> String {
    let lines = screen(view, 60, 12);
    let lines: Vec<String> = lines.iter().map(|line| line.ansi(theme)).collect();
    lines.join("\n").replace('\u{1b}', "␛")
}

macro_rules! snapshots {
    ($($name:ident: $shown:expr,)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!($shown);
        })*
    };
}

snapshots! {
    an_edit_in_12_rows: text(&screen(edit(), 60, 12)),
    an_edit_at_80_by_24: text(&screen(edit(), 80, 24)),
    an_edit_at_120_by_40: text(&screen(edit(), 120, 40)),
    an_edit_in_a_narrow_pane: text(&screen(edit(), 30, 14)),
    a_command_that_leaves_the_sandbox: text(&screen(outside(), 60, 12)),
    an_edit_in_the_dark_theme: painted(edit(), Theme::Dark),
    an_edit_in_the_light_theme: painted(edit(), Theme::Light),
    an_edit_without_colours: painted(edit(), Theme::None),
    a_warning_in_the_dark_theme: painted(outside(), Theme::Dark),
}

#[test]
fn a_patch_shows_all_its_files() {
    let diff = "--- a/a.rs\n+++ b/a.rs\n@@ -1 +1 @@\n-a\n+b\n--- /dev/null\n+++ b/n.rs\n@@ -0,0 +1 @@\n+n\n";
    let input = json!({ "paths": ["a.rs", "n.rs"], "diff": diff });
    let shown = text(&screen(view("apply_patch", input, json!({})), 60, 20));
    for part in [
        "apply_patch a.rs, n.rs (+2 −1)",
        "• a.rs",
        "• n.rs (new file)",
        "+ n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_frame_is_red_if_the_request_has_a_warning() {
    let red = |view| painted(view, Theme::Dark).contains("38;5;203m╭");
    assert!(red(outside()) && !red(edit()));
    // Without colours, the sign and the text show the warning.
    let plain = painted(outside(), Theme::None);
    assert!(
        plain.contains("! P-2") && plain.contains("! runs outside the sandbox"),
        "{plain}"
    );
}

#[test]
fn a_command_is_shown_in_full() {
    let command = format!(
        "printf '{}'\n  # not the end of the line before\nrm -rf x",
        "abc ".repeat(60)
    );
    let lines = screen(
        view("bash", json!({ "command": command }), json!({})),
        60,
        40,
    );
    let shown = text(&lines);
    let bare: String = shown.replace(['│', ' ', '\n', '$', '>'], "");
    assert!(bare.contains(&command.replace(['\n', ' '], "")), "{shown}");
    // Only the first row of a line has its sign.
    let signs = |sign: &str| shown.lines().filter(|line| line.starts_with(sign)).count();
    assert_eq!(
        (signs("│ $ printf"), signs("│ >   # not"), signs("│ > rm")),
        (1, 1, 1),
        "{shown}"
    );
}

/// Every renderer shows the rows of the dialog: panes, the single-terminal view and `top` as pages, `run` as lines.
#[test]
fn a_blank_at_the_end_of_a_row_changes_the_card() {
    let renderings = |view: RequestView, columns: usize| {
        let page = screen(view.clone(), columns, 40);
        let lines = Dialog::of(view, Channel::Cli).lines(columns);
        [page, lines].map(|lines| {
            let lines = lines.iter().map(|line| line.ansi(Theme::None));
            lines.collect::<Vec<_>>().join("\n")
        })
    };
    let command = |text: &str| view("bash", json!({ "command": text }), json!({}));
    let path = |text: &str| {
        let input = json!({ "path": text, "diff": "@@ -1 +1 @@\n-a\n+b\n" });
        view("edit", input, json!({}))
    };
    let rule = |text: &str| {
        let offers = json!([{ "rules": [format!("Bash({text}:*)")], "covers": "it" }]);
        view(
            "bash",
            json!({ "command": "ls" }),
            json!({ "offers": offers }),
        )
    };
    let requests: [&dyn Fn(&str) -> RequestView; 3] = [&command, &path, &rule];
    for request in requests {
        for columns in [30, 31, 60, 61] {
            // For some `at`, the row ends with the blank: each column of the card has the blank once.
            for at in 1..60 {
                let (begin, end) = ("a".repeat(at), "b".repeat(70 - at));
                let texts = [
                    format!("{begin}{end}"),
                    format!("{begin} {end}"),
                    format!("{begin}  {end}"),
                ];
                let cards = texts.map(|text| renderings(request(&text), columns));
                for (one, other) in [(0, 1), (1, 2), (0, 2)] {
                    assert_ne!(cards[one][0], cards[other][0]);
                    assert_ne!(cards[one][1], cards[other][1]);
                }
            }
        }
    }
    let ends = ["ls", "ls ", "ls  "].map(|text| renderings(command(text), 60));
    assert!(ends[0] != ends[1] && ends[1] != ends[2], "{ends:?}");
    assert!(renderings(command(&"x".repeat(60)), 60)[0].contains("│ \u{1b}[2m↪ "));
}

#[test]
fn a_link_shows_the_file_that_changes() {
    let diff = "--- a/config/x\n+++ b/config/x\n@@ -1 +1 @@\n-a\n+b\n";
    let input = json!({ "path": "link", "diff": diff });
    let shown = text(&screen(view("edit", input, json!({})), 80, 24));
    assert!(
        shown.starts_with("╭─ ? P-2 edit link → config/x (+1 −1) "),
        "{shown}"
    );
}

#[test]
fn a_cut_diff_shows_the_size_of_the_whole_change() {
    let diff =
        "--- a/x\n+++ b/x\n@@ -1 +1,900 @@\n-a\n+b\n… 898 more lines of the diff are not shown\n";
    let title = |input: Value| text(&screen(view("edit", input, json!({})), 80, 24));
    let counted = json!({ "path": "x", "diff": diff, "added": 900, "removed": 1 });
    let shown = title(counted);
    assert!(shown.starts_with("╭─ ? P-2 edit x (+900 −1) "), "{shown}");
    // Workers of an earlier version do not send these numbers.
    let shown = title(json!({ "path": "x", "diff": diff }));
    assert!(shown.starts_with("╭─ ? P-2 edit x (+≥1 −≥1) "), "{shown}");
    // In a call of another tool, `added` is an ordinary argument.
    let foreign = json!({ "path": "x", "diff": diff, "added": 900 });
    let shown = text(&screen(view("mcp__a__edit", foreign, json!({})), 80, 24));
    assert!(shown.contains("• added: 900"), "{shown}");
}

#[test]
fn text_of_the_agent_cannot_imitate_the_border() {
    let hostile = "x ─╮\u{1b}[31m\u{202e}│";
    let input = json!({ "path": hostile, "diff": "@@ -1 +1 @@\n-a\n+b\n" });
    for view in [
        view("edit", input, json!({ "directory": "/p ─╯" })),
        view(
            "bash",
            json!({ "command": hostile }),
            json!({ "directory": "/p ─╯" }),
        ),
    ] {
        let shown = text(&screen(view, 80, 24));
        let lines: Vec<&str> = shown.lines().collect();
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        assert_eq!(lines[0].matches('╮').count(), 1, "{shown}");
        assert!(lines[0].ends_with(" ada ─╮"), "{shown}");
        let bottom = lines.iter().filter(|line| line.starts_with('╰'));
        let bottom: Vec<_> = bottom.collect();
        assert_eq!(bottom.len(), 1, "{shown}");
        assert_eq!(bottom[0].matches('╯').count(), 1, "{shown}");
    }
}

proptest! {
    /// For any text in any place of a request: each row above the bottom border is inside the frame, each line is
    /// narrower than the terminal and free of control characters, and only keys are below the frame.
    #[test]
    fn hostile_text_stays_inside_the_frame(
        command in "(\\[y\\] once|[╭╮╰╯─│ ?P\\-2a名é\u{301}\n\t\r\u{1b}\\[;\u{7}\u{9b}\u{202e}\u{2028}+\\-@]){0,60}",
        size in (30_usize..100, 8_usize..30),
        is_edit in any::<bool>(),
    ) {
        let input = match is_edit {
            true => json!({ "path": command, "diff": format!("@@ -1 +1 @@\n-a\n+{command}\n") }),
            false => json!({ "command": command, "x": command }),
        };
        let more = json!({ "why": [command], "directory": command, "warnings": [command] });
        let lines = screen(view("bash", input, more), size.0, size.1);
        let texts: Vec<String> = lines.iter().map(Line::text).collect();
        let end = texts.iter().position(|line| line.starts_with('╰')).unwrap_or(texts.len());
        prop_assert!(texts[0].starts_with("╭─ ! P-2 ") && texts[0].ends_with("─╮"), "{texts:#?}");
        for line in &texts[1..end] {
            prop_assert!(line.starts_with("│ ") && line.ends_with('│'), "{texts:#?}");
        }
        for (line, text) in lines.iter().zip(&texts) {
            prop_assert!(line.width() < size.0, "{text:?}");
            prop_assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
        for line in texts.iter().skip(end + 1) {
            prop_assert!(line.starts_with('[') || line.starts_with("for the team"), "{texts:#?}");
        }
    }
}
