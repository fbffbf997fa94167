//! Escapes untrusted text for display, and writes durations and costs as text.
//!
//! Names, titles, messages, directories and results may contain anything. Shown raw, they could repaint a terminal,
//! hide text behind bidirectional controls or start tmux's `#(…)`. Characters that could mislead a terminal or the user
//! become visible escapes. The policy's shell parser uses the same list of characters.

use std::borrow::Cow;

use crate::value::Usage;

/// Replaces every [deceptive](is_deceptive) character by a visible escape, except newlines and tabs.
pub fn visible(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_deceptive(c) && c != '\n' && c != '\t')
}

/// [`visible`] on one line: newlines and tabs are escaped too.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    replace(text, is_deceptive)
}

/// [`visible_line`], cut to `max` characters with an ellipsis at the end. Counts characters, not columns.
pub fn visible_label(text: &str, max: usize) -> String {
    let line = visible_line(text);
    if line.chars().count() <= max {
        return line.into_owned();
    }
    let mut cut: String = line.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// An age in one unit, rounded down: `850 ms`, `1.2 s`, `59 s`, `3 min`, `47 h`, `3 d`. Days start at 48 h.
pub fn age(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..60_000 => format!("{} s", ms / 1_000),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", ms / 3_600_000),
        172_800_000.. => format!("{} d", ms / 86_400_000),
    }
}

/// Like [`age`], with the next smaller unit if that is not 0: `1.2 s`, `2 min 5 s`, `1 h 30 min`, `2 d 4 h`.
pub fn duration(ms: u64) -> String {
    let rest = match ms {
        60_000..3_600_000 => (ms % 60_000 / 1_000, "s"),
        3_600_000..172_800_000 => (ms % 3_600_000 / 60_000, "min"),
        172_800_000.. => (ms % 86_400_000 / 3_600_000, "h"),
        0..60_000 => (0, ""),
    };
    match rest {
        (0, _) => age(ms),
        (rest, unit) => format!("{} {rest} {unit}", age(ms)),
    }
}

/// The cost of a usage: `$0.42`; `–` without tokens, `unknown` when no price is known, and `$0.42 + ?` when only some
/// prices are known.
pub fn cost(usage: &Usage) -> String {
    let dollars = dollars(usage.micro_usd);
    match usage.unpriced {
        0 if usage.tokens() == 0 => "–".to_owned(),
        0 => dollars,
        _ if usage.micro_usd == 0 => "unknown".to_owned(),
        _ => format!("{dollars} + ?"),
    }
}

/// The amount in dollars, such as `$0.42`, from millionths of a US dollar. An amount of less than a cent is shown with
/// four decimals and never rounds to zero.
pub fn dollars(micro_usd: u64) -> String {
    match micro_usd {
        0 => "$0.00".to_owned(),
        micro @ 1..10_000 => format!("${:.4}", (micro.max(100)) as f64 / 1e6),
        micro @ 10_000.. => format!("${:.2}", micro as f64 / 1e6),
    }
}

/// Lower-case hexadecimal digits, two for each byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number of leading bytes of a file that [`is_text`] inspects.
pub const INSPECTED: usize = 8 << 10;

/// Whether a file that begins with these bytes is a text file, such as a script: the bytes contain no NUL byte.
pub fn is_text(bytes: &[u8]) -> bool {
    !bytes[..bytes.len().min(INSPECTED)].contains(&0)
}

/// Line and column of the character that contains the byte `at`. Both count from 1, the column in characters.
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Whether a character can mislead the user: controls, blanks other than U+0020, invisible or zero-width characters,
/// and characters that change the order of text.
///
/// This is the only list of such characters: the policy's shell parser refuses the characters that the display escapes,
/// so that a command never looks different from the command that was evaluated. The list contains Unicode's
/// White_Space, except U+0020, and Default_Ignorable_Code_Point.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c,
            '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}' | '\u{1160}'
            | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            // Braille pattern blank: not white space in Unicode, but displayed as a blank.
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{16fe4}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d159}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn replace(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !bad(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            c => out.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(out)
}

/// The word, quoted for a POSIX shell.
pub fn shell_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_round_trip(text in "[aé\n🙂]{0,40}", at in 0_usize..80) {
            let at = text.floor_char_boundary(at.min(text.len()));
            let (line, column) = position(&text, at);
            let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
            let within: usize = text[start..].chars().take(column - 1).map(char::len_utf8).sum();
            prop_assert_eq!(start + within, at);
            prop_assert!(!text[start..at].contains('\n'));
        }
    }

    #[test]
    fn unknown_and_tiny_costs_are_not_shown_as_zero() {
        let usage = |input, micro_usd, unpriced| Usage {
            input,
            micro_usd,
            unpriced,
            ..Usage::default()
        };
        for (usage, shown) in [
            (usage(0, 0, 0), "–"),
            (usage(10, 0, 0), "$0.00"),
            (usage(10, 0, 10), "unknown"),
            (usage(10, 7, 0), "$0.0001"),
            (usage(10, 4_200, 0), "$0.0042"),
            (usage(10, 420_000, 0), "$0.42"),
            (usage(10, 420_000, 5), "$0.42 + ?"),
        ] {
            assert_eq!(cost(&usage), shown, "{usage:?}");
        }
    }

    #[test]
    fn plain_text_is_unchanged() {
        assert!(matches!(visible("naïve 名前\n\t🙂"), Cow::Borrowed(_)));
    }

    #[test]
    fn deceptive_characters_are_escaped() {
        assert_eq!(
            visible("\u{1b}[2Jhi\r\u{202e}gpj"),
            "\\e[2Jhi\\r\\u{202e}gpj"
        );
        assert_eq!(visible("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(visible_line("a\nb\tc"), "a\\nb\\tc");
    }

    #[test]
    fn blank_and_invisible_characters_are_escaped() {
        // One of each class: fixed blanks, no-break blank, fillers, selectors, joiners, tags.
        for c in [
            '\u{a0}',
            '\u{1680}',
            '\u{2003}',
            '\u{202f}',
            '\u{3000}',
            '\u{2800}',
            '\u{34f}',
            '\u{17b4}',
            '\u{180b}',
            '\u{2060}',
            '\u{2066}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{e0001}',
            '\u{e0100}',
            '\u{e01ef}',
            '\u{2028}',
            '\u{85}',
        ] {
            let expected = format!("a\\u{{{:x}}}b", u32::from(c));
            assert_eq!(visible(&format!("a{c}b")), expected);
        }
    }

    #[test]
    fn a_label_is_cut_by_characters() {
        assert_eq!(visible_label("名前名前", 3), "名前…");
        assert_eq!(visible_label("ada", 3), "ada");
    }

    #[test]
    fn an_age_has_one_unit_and_a_duration_at_most_two() {
        let cases = [
            (0, "0 ms", "0 ms"),
            (999, "999 ms", "999 ms"),
            (1_249, "1.2 s", "1.2 s"),
            (59_999, "59 s", "59 s"),
            (60_000, "1 min", "1 min"),
            (125_000, "2 min", "2 min 5 s"),
            (5_400_000, "1 h", "1 h 30 min"),
            (187_200_000, "2 d", "2 d 4 h"),
        ];
        for (ms, in_one, in_two) in cases {
            assert_eq!((age(ms).as_str(), duration(ms).as_str()), (in_one, in_two));
        }
    }
}
