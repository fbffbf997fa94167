//! The query for the background colour of a terminal (OSC 11), and its answer. Used by the command line; pure.
//!
//! Terminals without OSC 11 ignore the query. A query for the device attributes (DA1) therefore follows it: terminals
//! since the VT100 answer DA1, and they answer queries in order, so the answer to DA1 ends the wait.

use crate::style::Theme;

pub const QUESTION: &[u8] = b"\x1b]11;?\x1b\\\x1b[c";

const COLOUR: &[u8] = b"\x1b]11;rgb:";
const ATTRIBUTES: &[u8] = b"\x1b[?";

/// Returns whether the input contains the answer to the last query, DA1.
pub fn is_answered(input: &[u8]) -> bool {
    let mut starts = input.windows(ATTRIBUTES.len()).enumerate();
    let is_answer = |(at, start): (usize, &[u8])| {
        let mut rest = input[at + ATTRIBUTES.len()..].iter();
        let end = rest.find(|byte| !matches!(byte, b'0'..=b'9' | b';'));
        start == ATTRIBUTES && end == Some(&b'c')
    };
    starts.any(is_answer)
}

/// The theme for the background colour in the input; `None` if the input contains no colour.
pub fn theme(input: &[u8]) -> Option<Theme> {
    let at = input
        .windows(COLOUR.len())
        .position(|start| start == COLOUR)?;
    let answer = &input[at + COLOUR.len()..];
    let end = answer.iter().position(|byte| matches!(byte, 0x07 | 0x1b))?;
    let mut channels = str::from_utf8(&answer[..end])
        .ok()?
        .split('/')
        .map(|channel| {
            // One to four hexadecimal digits. The largest value depends on the number of digits.
            let most = 16_u32.checked_pow(u32::try_from(channel.len()).ok()?)? - 1;
            let value = u32::from_str_radix(channel, 16).ok()?;
            Some(f64::from(value) / f64::from(most.max(1)))
        });
    let mut channel = || channels.next().flatten();
    let (red, green, blue) = (channel()?, channel()?, channel()?);
    // The luma of ITU-R BT.601, without gamma correction: it only has to separate light from dark.
    match 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 {
        true => Some(Theme::Light),
        false => Some(Theme::Dark),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_selects_the_theme() {
        let theme_of = |colour: &str| theme(format!("q\x1b]11;rgb:{colour}\x1b\\").as_bytes());
        assert_eq!(theme_of("ffff/ffff/ffff"), Some(Theme::Light));
        assert_eq!(theme_of("fd/f6/e3"), Some(Theme::Light));
        assert_eq!(theme_of("0000/2b2b/3636"), Some(Theme::Dark));
        assert_eq!(theme_of("0/0/0"), Some(Theme::Dark));
        assert_eq!(theme_of(""), None);
        assert_eq!(theme_of("ffff/ffff"), None);
        assert_eq!(theme_of("123456789/0/0"), None);
        assert_eq!(theme(b"\x1b]11;rgb:ffff/ffff/ff"), None, "incomplete");
        assert_eq!(theme(b"\x1b[?62;c"), None);
    }

    #[test]
    fn the_device_attributes_end_the_answer() {
        assert!(is_answered(b"\x1b]11;rgb:0/0/0\x07\x1b[?62;22c"));
        assert!(is_answered(b"typed\x1b[?1;2c"));
        assert!(!is_answered(b"\x1b]11;rgb:0/0/0\x07\x1b[?62;"));
        assert!(!is_answered(b"\x1b[?1049h"));
        assert!(!is_answered(b""));
    }
}
