//! A terminal's screen as rows of styled cells: read from the output of `tmux capture-pane -e`, and made independent of
//! the time and the directory of the run. Used by [`super::stage`] and [`super::svg`]; pure.
//!
//! ```text
//!   ⠴ 12 s wait(for: tasks)      becomes   ⠹ 2 s wait(for: tasks)
//!   Compiling tally (PROJECT)    becomes   Compiling tally (SHOWN_PROJECT)
//! ```
//! Both paths of the project have the same length, so the programs lay out the same rows as for the shown path. A
//! duration can have more digits in one run than in another: blanks or a border that follow it take up the difference.

/// The path of the project in the pictures.
pub(super) const SHOWN_PROJECT: &str = "/data/projects/tally";

/// The text before the hash in a team's id and in the name of a test program. Both hashes depend on the project's path.
const BEFORE_ID: &str = "tally-";

/// The minimum number of digits of such a hash.
const ID_DIGITS: usize = 8;

/// The characters of the animated sign, and the character that the pictures show instead.
const SPINNER: std::ops::RangeInclusive<char> = '\u{2800}'..='\u{28ff}';
const STILL_SPINNER: char = '⠹';

/// The units of durations, the longest first. `0.25s` of cargo has no blank before the unit.
const UNITS: [&str; 6] = [" min", " ms", " s", "ms", "m", "s"];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Colour {
    #[default]
    Default,
    /// A number of the 256-colour palette.
    Indexed(u8),
    Rgb(u8, u8, u8),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) foreground: Colour,
    pub(super) background: Colour,
    pub(super) bold: bool,
    pub(super) dim: bool,
    pub(super) italic: bool,
    pub(super) underlined: bool,
    pub(super) reversed: bool,
    pub(super) struck: bool,
}

/// One column of a row. The screens contain only characters that are one column wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) character: char,
    pub(super) style: Style,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Screen {
    pub(super) columns: usize,
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Screen {
    /// Reads captured rows. The style at the end of a row continues in the next row.
    pub(super) fn parse(captured: &str, columns: usize) -> Self {
        let mut style = Style::default();
        let rows = captured.lines().map(|line| {
            let mut cells = Vec::new();
            let mut rest = line.chars();
            while let Some(character) = rest.next() {
                match character {
                    '\u{1b}' => {
                        if let Some(parameters) = skip_sequence(&mut rest) {
                            style = style.after(&parameters);
                        }
                    }
                    _ if character.is_control() => {}
                    _ => cells.push(Cell { character, style }),
                }
            }
            cells.truncate(columns);
            cells
        });
        Self {
            columns,
            rows: rows.collect(),
        }
    }

    /// Replaces the parts that differ between two runs: the path of the project, ids, durations and the animated sign.
    pub(super) fn normalise(&mut self, project: &str) {
        for row in &mut self.rows {
            let project: Vec<char> = project.chars().collect();
            while let Some(at) = position(row, &project) {
                overwrite(&mut row[at..], SHOWN_PROJECT);
            }
            fix_ids(row);
            for cell in row.iter_mut() {
                if SPINNER.contains(&cell.character) {
                    cell.character = STILL_SPINNER;
                }
            }
            fix_durations(row);
        }
    }

    pub(super) fn text(&self) -> String {
        let rows = self.rows.iter().map(|row| text(row) + "\n");
        rows.collect()
    }
}

fn text(row: &[Cell]) -> String {
    row.iter().map(|cell| cell.character).collect()
}

/// Skips an escape sequence. Returns the parameters of a sequence that sets the style.
fn skip_sequence(rest: &mut std::str::Chars<'_>) -> Option<String> {
    match rest.next()? {
        '[' => {
            let mut parameters = String::new();
            for character in rest.by_ref() {
                match character {
                    'm' => return Some(parameters),
                    '@'..='~' => return None,
                    _ => parameters.push(character),
                }
            }
            None
        }
        // An OSC sequence, such as a hyperlink, ends with BEL or ST.
        ']' => {
            while let Some(character) = rest.next() {
                match character {
                    '\u{7}' => break,
                    '\u{1b}' => {
                        rest.next();
                        break;
                    }
                    _ => {}
                }
            }
            None
        }
        // The selection of a character set has one more character.
        '(' | ')' => {
            rest.next();
            None
        }
        _ => None,
    }
}

impl Style {
    /// This style after a sequence with these parameters.
    fn after(self, parameters: &str) -> Self {
        let mut style = self;
        // Ignores sub-parameters, which follow a colon, such as the kind of an underline.
        let mut codes = parameters.split(';').map(|code| {
            let code = code.split(':').next().unwrap_or_default();
            code.parse().unwrap_or(0_u8)
        });
        while let Some(code) = codes.next() {
            match code {
                0 => style = Self::default(),
                1 => style.bold = true,
                2 => style.dim = true,
                3 => style.italic = true,
                4 => style.underlined = true,
                7 => style.reversed = true,
                9 => style.struck = true,
                22 => (style.bold, style.dim) = (false, false),
                23 => style.italic = false,
                24 => style.underlined = false,
                27 => style.reversed = false,
                29 => style.struck = false,
                30..=37 => style.foreground = Colour::Indexed(code - 30),
                38 => style.foreground = colour(&mut codes),
                39 => style.foreground = Colour::Default,
                40..=47 => style.background = Colour::Indexed(code - 40),
                48 => style.background = colour(&mut codes),
                49 => style.background = Colour::Default,
                // The colour of underlines is not drawn.
                58 => {
                    colour(&mut codes);
                }
                90..=97 => style.foreground = Colour::Indexed(code - 90 + 8),
                100..=107 => style.background = Colour::Indexed(code - 100 + 8),
                _ => {}
            }
        }
        style
    }
}

/// The colour after code 38, 48 or 58.
fn colour(codes: &mut impl Iterator<Item = u8>) -> Colour {
    match codes.next() {
        Some(5) => codes.next().map_or(Colour::Default, Colour::Indexed),
        Some(2) => match (codes.next(), codes.next(), codes.next()) {
            (Some(red), Some(green), Some(blue)) => Colour::Rgb(red, green, blue),
            _ => Colour::Default,
        },
        Some(_) | None => Colour::Default,
    }
}

fn position(row: &[Cell], text: &[char]) -> Option<usize> {
    row.windows(text.len()).position(|cells| {
        let characters = cells.iter().map(|cell| &cell.character);
        characters.eq(text)
    })
}

/// Replaces characters and keeps their styles.
fn overwrite(cells: &mut [Cell], text: &str) {
    for (cell, character) in cells.iter_mut().zip(text.chars()) {
        cell.character = character;
    }
}

fn fix_ids(row: &mut [Cell]) {
    let before: Vec<char> = BEFORE_ID.chars().collect();
    let mut from = 0;
    while let Some(at) = position(&row[from..], &before) {
        from += at + before.len();
        let digits = row[from..].iter();
        let digits = digits.take_while(|cell| cell.character.is_ascii_hexdigit());
        let digits = digits.count();
        if digits >= ID_DIGITS {
            overwrite(&mut row[from..from + digits], "5f3a9c1e7b2d4860");
        }
    }
}

/// Replaces each duration by `2 s`, or by `0.20s` if it contains no blank.
fn fix_durations(row: &mut Vec<Cell>) {
    let mut from = 0;
    while from < row.len() {
        let characters: Vec<char> = row.iter().map(|cell| cell.character).collect();
        let is_start = from == 0 || !is_part_of_word(characters[from - 1]);
        let Some(length) = is_start.then(|| duration(&characters[from..])).flatten() else {
            from += 1;
            continue;
        };
        let has_blank = characters[from..from + length].contains(&' ');
        let fixed = if has_blank { "2 s" } else { "0.20s" };
        let style = row[from].style;
        let cells = fixed.chars().map(|character| Cell { character, style });
        row.splice(from..from + length, cells);
        from += fixed.len();
        realign(row, from, fixed.len(), length);
    }
}

/// Whether a digit after this character belongs to a word, a version or an id such as `T-3`.
fn is_part_of_word(character: char) -> bool {
    character.is_alphanumeric() || "._-/".contains(character)
}

/// The length of the duration at the start of the text: one or two numbers, each with a unit.
fn duration(text: &[char]) -> Option<usize> {
    let first = quantity(text)?;
    let second = match text[first..] {
        [' ', ref rest @ ..] => quantity(rest).map(|length| length + 1),
        _ => None,
    };
    Some(first + second.unwrap_or(0))
}

/// The length of the number with its unit at the start of the text.
fn quantity(text: &[char]) -> Option<usize> {
    let digits = |text: &[char]| text.iter().take_while(|c| c.is_ascii_digit()).count();
    let mut number = digits(text);
    if number > 0 && text.get(number) == Some(&'.') {
        number += 1 + digits(&text[number + 1..]);
    }
    let unit = UNITS.iter().find(|unit| {
        let end = number + unit.len();
        let is_unit = text
            .get(number..end)
            .is_some_and(|it| it.iter().copied().eq(unit.chars()));
        is_unit && !text.get(end).is_some_and(|next| next.is_alphanumeric())
    })?;
    (number > 0).then_some(number + unit.len())
}

/// The minimum number of blanks or border cells that end a text. Two blanks may separate words of one text.
const GAP: usize = 3;

/// Moves the cells after a replaced text back to their columns: lengthens or shortens the next blanks or border.
fn realign(row: &mut Vec<Cell>, from: usize, new: usize, old: usize) {
    let is_gap = |cells: &[Cell]| {
        let fill = cells[0].character;
        matches!(fill, ' ' | '─') && cells.iter().all(|cell| cell.character == fill)
    };
    let Some(at) = row[from..].windows(GAP).position(is_gap) else {
        return;
    };
    let at = from + at;
    if old > new {
        let fill = row[at];
        row.splice(at..at, std::iter::repeat_n(fill, old - new));
    } else {
        let fill = row[at].character;
        let length = row[at..].iter().take_while(|cell| cell.character == fill);
        let spare = length.count() - 1;
        row.drain(at..at + spare.min(new - old));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(captured: &str) -> String {
        let mut screen = Screen::parse(captured, 80);
        screen.normalise("/tmp/demo-a1B2/tally");
        screen.text().trim_end().to_owned()
    }

    #[test]
    fn a_style_continues_in_the_next_row() {
        let screen = Screen::parse("a\x1b[1;38;5;75mb\nc\x1b[0;7md\x1b[m", 80);
        let bold = Style {
            foreground: Colour::Indexed(75),
            bold: true,
            ..Style::default()
        };
        let reversed = Style {
            reversed: true,
            ..Style::default()
        };
        let styles = |row: usize| {
            screen.rows[row]
                .iter()
                .map(|it| it.style)
                .collect::<Vec<_>>()
        };
        let expected = [vec![Style::default(), bold], vec![bold, reversed]];
        assert_eq!([styles(0), styles(1)], expected);
    }

    #[test]
    fn colours_have_one_number_or_three() {
        let screen = Screen::parse("\x1b[38;2;1;2;3;48;5;9ma\x1b[39;100mb", 80);
        let colours = screen.rows[0].iter();
        let colours: Vec<_> = colours
            .map(|cell| (cell.style.foreground, cell.style.background))
            .collect();
        let expected = [
            (Colour::Rgb(1, 2, 3), Colour::Indexed(9)),
            (Colour::Default, Colour::Indexed(8)),
        ];
        assert_eq!(colours, expected);
    }

    #[test]
    fn links_and_character_sets_are_not_text() {
        let captured = "\x1b]8;;https://example.invalid\x1b\\a\x1b]8;;\x07b\x0e\x0f\x1b(Bc";
        assert_eq!(normalised(captured), "abc");
    }

    #[test]
    fn durations_are_fixed_and_keep_the_columns() {
        for (captured, expected) in [
            ("○ idle 12 s      990", "○ idle 2 s       990"),
            ("○ idle 850 ms    990", "○ idle 2 s       990"),
            ("Done in 3.0 s · 3 tasks │", "Done in 2 s · 3 tasks │"),
            ("Done in 1 min 4 s · 3 tasks", "Done in 2 s · 3 tasks"),
            ("⠴ 12 s wait   │ ben", "⠹ 2 s wait    │ ben"),
            ("in 0.3s │", "in 0.20s │"),
            (
                "P-1 dora, 12 s ago  edit   │",
                "P-1 dora, 2 s ago  edit    │",
            ),
            ("── 12 s ────╮", "── 2 s ─────╮"),
            ("T-3 s, v0.1.0, 3 so, a4 s", "T-3 s, v0.1.0, 3 so, a4 s"),
        ] {
            assert_eq!(normalised(captured), expected, "{captured}");
        }
    }

    #[test]
    fn paths_and_ids_are_fixed() {
        assert_eq!(
            normalised("in /tmp/demo-a1B2/tally ─╯ tally-0badcafe, tally-ho"),
            "in /data/projects/tally ─╯ tally-5f3a9c1e, tally-ho"
        );
        assert_eq!(
            normalised("tally-0123456789abcdef)"),
            "tally-5f3a9c1e7b2d4860)"
        );
    }
}
