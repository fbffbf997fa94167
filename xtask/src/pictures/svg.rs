//! Draws a screen as an SVG picture. Used by [`super`]; pure: the same screen always gives the same text.
//!
//! Each run of characters of one style is an element with a column and a width, so that frames and tables are straight
//! in every font. An image in a page cannot load a style sheet or a font, so each picture contains its styles.
//!
//! The crate `anstyle-svg` (1.1.1) cannot draw these pictures. It sets the start of a row, but no columns and no widths
//! of texts: a sign from another font, such as `✓`, `◐` or `⎿`, moves the rest of its row, and the borders of panes and
//! cards are no longer straight. It draws a background as `█` characters with an outline, so the background moves too
//! and leaves gaps between rows. Its input is text with escape sequences, so [`super::screen`] would still parse and
//! normalise cells, and then write escape sequences again.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::screen::{Cell, Colour, Screen, Style};

/// Width and height of a cell, in the units of the picture. The font size is 10 units: the characters of most
/// monospaced fonts are 0.6 of the font size wide.
const CELL: (usize, usize) = (6, 12);

/// The distance of the base line of a row from the top of the row.
const BASE_LINE: usize = 9;

const PADDING: usize = 6;

/// Pixels of a cell's width when the picture is not scaled.
const PIXELS: usize = 8;

const FONT: &str =
    "10px ui-monospace,SFMono-Regular,Menlo,DejaVu Sans Mono,Liberation Mono,Consolas,monospace";

/// The background of the user's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    Dark,
    Light,
}

impl Theme {
    pub(super) const ALL: [Self; 2] = [Self::Dark, Self::Light];

    /// The value of `AGENT_TEAM_THEME`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
        }
    }

    fn foreground(self) -> Rgb {
        match self {
            Self::Dark => Rgb(0xd0_d0_d0),
            Self::Light => Rgb(0x1c_1c_1c),
        }
    }

    fn background(self) -> Rgb {
        match self {
            Self::Dark => Rgb(0x12_12_12),
            Self::Light => Rgb(0xff_ff_ff),
        }
    }

    fn border(self) -> Rgb {
        match self {
            Self::Dark => Rgb(0x3a_3a_3a),
            Self::Light => Rgb(0xc6_c6_c6),
        }
    }

    /// The colours that the user's terminal defines: black, red, green, yellow, blue, magenta, cyan, white, and their
    /// bright forms.
    fn terminal_colours(self) -> [u32; 16] {
        match self {
            Self::Dark => [
                0x00_00_00, 0xcd_31_31, 0x0d_bc_79, 0xe5_e5_10, 0x3b_8e_ea, 0xbc_3f_bc, 0x11_a8_cd,
                0xe5_e5_e5, 0x66_66_66, 0xf1_4c_4c, 0x23_d1_8b, 0xf5_f5_43, 0x5a_a9_f5, 0xd6_70_d6,
                0x29_b8_db, 0xff_ff_ff,
            ],
            Self::Light => [
                0x00_00_00, 0xb3_1d_28, 0x11_63_29, 0x7a_5b_00, 0x04_51_a5, 0x9a_05_98, 0x05_65_75,
                0x55_55_55, 0x66_66_66, 0xcd_31_31, 0x0e_7a_33, 0x80_62_00, 0x04_69_c8, 0xbc_05_bc,
                0x06_77_8c, 0x3a_3a_3a,
            ],
        }
    }

    fn rgb(self, colour: Colour, default: Rgb) -> Rgb {
        match colour {
            Colour::Default => default,
            Colour::Rgb(red, green, blue) => Rgb::of([red, green, blue]),
            Colour::Indexed(number @ 0..=15) => Rgb(self.terminal_colours()[usize::from(number)]),
            Colour::Indexed(number @ 16..=231) => {
                let step = number - 16;
                let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
                Rgb::of([step / 36, step / 6 % 6, step % 6].map(level))
            }
            Colour::Indexed(number @ 232..) => Rgb::of([8 + 10 * (number - 232); 3]),
        }
    }
}

/// A colour as CSS writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rgb(u32);

impl Rgb {
    fn of([red, green, blue]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, red, green, blue]))
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:06x}", self.0)
    }
}

pub(super) fn draw(screen: &Screen, theme: Theme) -> String {
    let mut body = String::new();
    // The classes are in the order of their first use.
    let mut classes: Vec<String> = Vec::new();
    for (number, row) in screen.rows.iter().enumerate() {
        let top = PADDING + number * CELL.1;
        for (column, cells, colour) in backgrounds(row, theme) {
            let _ = write!(
                body,
                "<rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"{colour}\"/>",
                PADDING + column * CELL.0,
                cells * CELL.0,
                CELL.1
            );
        }
        for (column, run) in runs(row, theme) {
            let css = css(run[0].style, theme);
            let class = match css.as_str() {
                "" => String::new(),
                _ => {
                    let known = classes.iter().position(|it| *it == css);
                    let number = known.unwrap_or_else(|| {
                        classes.push(css);
                        classes.len() - 1
                    });
                    format!(" class=\"{}\"", class_name(number))
                }
            };
            let text: String = run.iter().map(|cell| cell.character).collect();
            let _ = write!(
                body,
                "<text x=\"{}\" y=\"{}\"{}{class}>{}</text>",
                PADDING + column * CELL.0,
                top + BASE_LINE,
                width(&run),
                escaped(&text)
            );
        }
        body.push('\n');
    }
    let size = (
        screen.columns * CELL.0 + 2 * PADDING,
        screen.rows.len() * CELL.1 + 2 * PADDING,
    );
    let pixels = |units: usize| units * PIXELS / CELL.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\"><style>\n\
         text{{font:{FONT};fill:{};white-space:pre}}\n",
        pixels(size.0),
        pixels(size.1),
        size.0,
        size.1,
        theme.foreground()
    );
    for (number, css) in classes.iter().enumerate() {
        let _ = writeln!(svg, ".{}{{{css}}}", class_name(number));
    }
    let _ = writeln!(
        svg,
        "</style><rect x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"4\" fill=\"{}\" stroke=\"{}\"/>",
        size.0 - 1,
        size.1 - 1,
        theme.background(),
        theme.border()
    );
    svg + &body + "</svg>\n"
}

/// The text rows of a drawn picture, for a message about a difference.
pub(super) fn drawn_rows(svg: &str) -> Vec<String> {
    let body = svg.split_once("</style>").map_or(svg, |(_, body)| body);
    let rows = body.lines().skip(1).map(|row| {
        let texts = row
            .split("</text>")
            .filter_map(|text| text.rsplit_once('>'));
        let texts: Vec<_> = texts.map(|(_, text)| text).collect();
        texts.join(" ")
    });
    rows.collect()
}

/// Column, number of cells and colour of each part of a row that has a background.
fn backgrounds(row: &[Cell], theme: Theme) -> Vec<(usize, usize, Rgb)> {
    let mut parts: Vec<(usize, usize, Rgb)> = Vec::new();
    for (column, cell) in row.iter().enumerate() {
        let (_, background) = colours(cell.style, theme);
        if background == theme.background() {
            continue;
        }
        match parts.last_mut() {
            Some((from, cells, colour)) if *colour == background && *from + *cells == column => {
                *cells += 1;
            }
            _ => parts.push((column, 1, background)),
        }
    }
    parts
}

/// The column and the cells of each text with one style. Blanks within a text are single, unless they are
/// underlined or struck.
fn runs(row: &[Cell], theme: Theme) -> Vec<(usize, Vec<Cell>)> {
    let mut runs: Vec<(usize, Vec<Cell>)> = Vec::new();
    for (column, cell) in row.iter().enumerate() {
        let is_blank = cell.character == ' ' && !cell.style.underlined && !cell.style.struck;
        if is_blank {
            continue;
        }
        let same = |run: &[Cell]| css(run[0].style, theme) == css(cell.style, theme);
        match runs.last_mut() {
            Some((from, run)) if *from + run.len() == column && same(run) => run.push(*cell),
            Some((from, run)) if *from + run.len() + 1 == column && same(run) => {
                run.extend([row[column - 1], *cell]);
            }
            _ => runs.push((column, vec![*cell])),
        }
    }
    runs
}

/// The attributes that fit a text to its cells. The glyphs of lines are stretched, so that the lines have no gaps.
fn width(run: &[Cell]) -> String {
    if run.len() < 2 {
        return String::new();
    }
    let has_line = run.iter().any(|cell| ('─'..='▟').contains(&cell.character));
    let stretch = if has_line {
        " lengthAdjust=\"spacingAndGlyphs\""
    } else {
        ""
    };
    format!(" textLength=\"{}\"{stretch}", run.len() * CELL.0)
}

/// The colours of text and background.
fn colours(style: Style, theme: Theme) -> (Rgb, Rgb) {
    let foreground = theme.rgb(style.foreground, theme.foreground());
    let background = theme.rgb(style.background, theme.background());
    match style.reversed {
        true => (background, foreground),
        false => (foreground, background),
    }
}

/// The declarations for a text of this style; empty for plain text.
fn css(style: Style, theme: Theme) -> String {
    let mut css: BTreeMap<&str, String> = BTreeMap::new();
    let (foreground, _) = colours(style, theme);
    if foreground != theme.foreground() {
        css.insert("fill", foreground.to_string());
    }
    if style.bold {
        css.insert("font-weight", "700".to_owned());
    }
    if style.dim {
        css.insert("opacity", ".6".to_owned());
    }
    if style.italic {
        css.insert("font-style", "italic".to_owned());
    }
    let lines = [
        (style.underlined, "underline"),
        (style.struck, "line-through"),
    ];
    let lines: Vec<_> = lines
        .iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, line)| *line)
        .collect();
    if !lines.is_empty() {
        css.insert("text-decoration", lines.join(" "));
    }
    let css: Vec<_> = css
        .iter()
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    css.join(";")
}

/// The name of a class: `a` to `z`, then `a1` to `z1` and so on.
fn class_name(number: usize) -> String {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
    match number / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(captured: &str, theme: Theme) -> String {
        draw(&Screen::parse(captured, 20), theme)
    }

    #[test]
    fn each_text_has_its_column_and_width() {
        let svg = drawn("  ab c   d<", Theme::Dark);
        assert!(
            svg.contains("<text x=\"18\" y=\"15\" textLength=\"24\">ab c</text>"),
            "{svg}"
        );
        assert!(
            svg.contains("<text x=\"60\" y=\"15\" textLength=\"12\">d&lt;</text>"),
            "{svg}"
        );
        assert!(svg.contains("viewBox=\"0 0 132 24\""), "{svg}");
    }

    #[test]
    fn a_style_is_defined_once() {
        let svg = drawn("\x1b[1;38;5;75mab\x1b[m cd\n\x1b[1;38;5;75mef", Theme::Dark);
        assert_eq!(
            svg.matches("{fill:#5fafff;font-weight:700}").count(),
            1,
            "{svg}"
        );
        assert_eq!(svg.matches(" class=\"a\"").count(), 2, "{svg}");
    }

    #[test]
    fn reversed_text_has_the_colours_of_the_theme() {
        for theme in Theme::ALL {
            let svg = drawn("\x1b[7mab\x1b[m", theme);
            let rect = format!("width=\"12\" height=\"12\" fill=\"{}\"", theme.foreground());
            assert!(svg.contains(&rect), "{svg}");
            assert!(
                svg.contains(&format!("fill:{}}}", theme.background())),
                "{svg}"
            );
        }
    }

    #[test]
    fn the_palette_is_that_of_terminals() {
        let rgb = |number| {
            Theme::Light
                .rgb(Colour::Indexed(number), Rgb(0))
                .to_string()
        };
        assert_eq!(
            [rgb(16), rgb(75), rgb(231)],
            ["#000000", "#5fafff", "#ffffff"]
        );
        assert_eq!([rgb(232), rgb(255)], ["#080808", "#eeeeee"]);
    }

    #[test]
    fn the_rows_of_a_picture_can_be_read() {
        let svg = drawn("\x1b[1mab\x1b[m  c\n\nd", Theme::Dark);
        assert_eq!(drawn_rows(&svg)[..3], ["ab c", "", "d"]);
    }
}
