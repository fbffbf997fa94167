//! Tests of the model of the screen with the output of harmless and hostile programs. `pane/frame` tests the painting.

use super::*;

const SIZE: Size = (20, 4);

fn fed(bytes: &[u8]) -> (Screen, String) {
    let mut screen = Screen::new(SIZE);
    let answers = screen.feed(bytes);
    (screen, String::from_utf8(answers).expect("ASCII"))
}

fn answers(bytes: &[u8]) -> String {
    fed(bytes).1
}

#[test]
fn queries_get_the_answers_of_the_model() {
    assert_eq!(answers(b"\x1b[2;5H\x1b[6n"), "\x1b[2;5R");
    assert_eq!(answers(b"\x1b[5n"), "\x1b[0n");
    assert_eq!(answers(b"\x1b[c\x1b[>c"), "\x1b[?1;2c\x1b[>1;0;0c");
    // An echoed answer is not answered again.
    assert_eq!(answers(b"\x1b[?1;2c\x1b[>1;0;0c"), "");
    assert_eq!(answers(b"\x1b[18t"), "\x1b[8;4;20t");
    assert_eq!(answers(b"\x1b[?2026$p"), "\x1b[?2026;0$y");
}

#[test]
fn nothing_that_a_program_has_set_is_answered() {
    // Queries of the title, the clipboard, colours, settings, the name of the terminal, and pixels.
    for query in [
        &b"\x1b]0;rm -rf\r\x07\x1b[21t\x1b[20t"[..],
        b"\x1b]52;c;?\x07",
        b"\x1b]10;?\x07\x1b]4;1;?\x07",
        b"\x1bP$qm\x1b\\\x1bP+q544e\x1b\\",
        b"\x1b[>q\x1b[?u\x1b[14t\x05",
    ] {
        assert_eq!(answers(query), "", "{query:?}");
    }
}

#[test]
fn a_flood_of_queries_gets_a_bounded_answer() {
    let flood = b"\x1b[c".repeat(100_000);
    assert!(answers(&flood).len() <= ANSWERS_MAX);
}

#[test]
fn unfinished_sequences_are_bounded_and_can_be_aborted() {
    let mut screen = Screen::new(SIZE);
    screen.feed(b"\x1b]0;");
    for _ in 0..1_000 {
        screen.feed(&[b'x'; 4096]);
    }
    screen.feed(b"\x18done");
    assert_eq!(screen.text(), "done");
}

#[test]
fn rows_contain_only_characters_and_their_styles() {
    let (screen, _) =
        fed("\x1b[1;31ma\u{202e}b\x1b[m \x1b]8;;http://x\x07link\x1b]8;;\x07".as_bytes());
    assert_eq!(screen.rows()[0], "\x1b[0;1;38;5;1ma\x1b[2Gb\x1b[0m link");
    let (screen, _) = fed("漢x\u{a0}y".as_bytes());
    assert_eq!(screen.rows()[0], "漢\x1b[3Gx \x1b[5Gy");
}

#[test]
fn modes_are_the_difference_to_a_fresh_terminal() {
    let (screen, _) = fed(b"\x1b[?1049h\x1b[?1;25;1004l\x1b[?1002;1006;1004;2004h\x1b=\x1b[5 q");
    let modes = screen.modes();
    let on = modes.changes(&Modes::default());
    let expected = "\x1b[?1049h\x1b[?2004h\x1b[?1004h\x1b[?1002h\x1b[?1006h\x1b=\x1b[5 q";
    assert_eq!(on, expected);
    assert_eq!(modes.cursor(), "\x1b[?25l");
    let off = Modes::default().changes(&modes);
    let expected = "\x1b[?1049l\x1b[?2004l\x1b[?1004l\x1b[?1002l\x1b[?1006l\x1b>\x1b[0 q";
    assert_eq!(off, expected);
}

#[test]
fn a_narrower_mouse_mode_is_set_after_the_wider_one_is_reset() {
    let (before, _) = fed(b"\x1b[?1003;1006h");
    let (now, _) = fed(b"\x1b[?1000;1005h");
    let changes = now.modes().changes(&before.modes());
    assert_eq!(changes, "\x1b[?1003l\x1b[?1006l\x1b[?1000h\x1b[?1005h");
}

#[test]
fn a_full_reset_ends_the_reports_of_the_focus() {
    for reset in [&[&b"\x1bc"[..]][..], &[b"\x1b", b"c"]] {
        let (mut screen, _) = fed(b"\x1b[?1004h");
        assert_eq!(screen.modes().changes(&Modes::default()), "\x1b[?1004h");
        for bytes in reset {
            screen.feed(bytes);
        }
        assert_eq!(screen.modes(), Modes::default());
    }
}

#[test]
fn a_selector_does_not_widen_a_character_beyond_the_screen() {
    let selector = "\u{fe0f}".as_bytes();
    for cut in 0..=selector.len() {
        let mut screen = Screen::new(SIZE);
        screen.feed("\x1b[4;20H✔".as_bytes());
        screen.feed(&selector[..cut]);
        screen.feed(&selector[cut..]);
        screen.feed(b"\x1b[3;20Hx\x1b[4;20Hy");
        assert_eq!(screen.text().lines().last().map(str::trim), Some("y"));
    }
    // In other columns, the selector is kept.
    let (screen, _) = fed("✔\u{fe0f}".as_bytes());
    assert_eq!(screen.text(), "✔\u{fe0f}");
}

#[test]
fn rows_that_leave_the_main_screen_are_kept_in_order() {
    let mut screen = Screen::new(SIZE);
    for row in 0..2_000 {
        screen.feed(format!("row {row}\r\n").as_bytes());
    }
    assert_eq!(screen.past_rows(), 1_997);
    let last: Vec<_> = screen.past_text_since(1_995).collect();
    assert_eq!(last, ["row 1995", "row 1996"]);
    assert_eq!(screen.past_since(0).count(), HISTORY_ROWS);
    screen.feed(b"\x1b[?1049h\r\n\r\n\r\n\r\n\r\n");
    assert_eq!(screen.past_rows(), 1_997);
}
