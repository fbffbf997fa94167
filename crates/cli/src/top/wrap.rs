//! Lines broken to the columns of the screen. Used by whatever shows more than a line; pure.

use unicode_width::UnicodeWidthChar;

/// What a tab is shown as.
const TAB: &str = "    ";

/// One line in rows of at most so many columns. All rows begin below the first character that is not a blank, so that a
/// row cannot look like the beginning of a line.
pub(super) fn wrap(line: &str, columns: usize) -> impl Iterator<Item = String> + use<> {
    let line = line.replace('\t', TAB);
    let indent = line.len() - line.trim_start_matches(' ').len();
    // The widest character always has room behind it.
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
    fn a_line_is_broken_where_it_must_be_and_nothing_of_it_is_lost() {
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
