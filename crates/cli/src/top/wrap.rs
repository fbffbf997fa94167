//! Wraps lines to the columns of the screen. Used by all views with long lines; pure.

use unicode_width::UnicodeWidthChar;

/// The replacement of a tab.
const TAB: &str = "    ";

/// Wraps one line to rows of at most `columns` columns. All rows get the indentation of the first one, so that no row
/// can look like the start of a line.
pub(super) fn wrap(line: &str, columns: usize) -> impl Iterator<Item = String> + use<> {
    let line = line.replace('\t', TAB);
    let indent = line.len() - line.trim_start_matches(' ').len();
    // Leaves at least two columns for the widest character.
    let indent = indent.min(columns.saturating_sub(2) / 2);
    let mut rows = vec![String::new()];
    let mut width = 0;
    for c in line.chars() {
        let takes = c.width().unwrap_or(0);
        if width + takes > columns && width > indent {
            rows.push(" ".repeat(indent));
            width = indent;
        }
        if let Some(row) = rows.last_mut() {
            row.push(c);
        }
        width += takes;
    }
    rows.into_iter()
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    #[test]
    fn wrapping_keeps_all_text_and_the_indentation() {
        let wrapped: Vec<_> = wrap("abcdef", 3).collect();
        assert_eq!(wrapped, ["abc", "def"]);
        let wrapped: Vec<_> = wrap("  ab名前cd", 6).collect();
        assert_eq!(wrapped, ["  ab名", "  前cd"]);
        assert_eq!(wrap("", 3).collect::<Vec<_>>(), [""]);
        assert_eq!(wrap("\tx", 8).collect::<Vec<_>>(), ["    x"]);
    }

    #[test]
    fn no_row_is_wider_than_the_screen() {
        for columns in 2..30 {
            for row in wrap("      日本語 and some words in a line", columns) {
                assert!(row.width() <= columns, "{row:?} in {columns}");
            }
        }
    }
}
