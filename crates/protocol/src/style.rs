//! Styles of text: the meanings of text, and the themes that give each meaning a colour. Used by every screen, by the
//! tables that the CLI prints, and by the supervisor for the borders and the status line of tmux. No information is
//! shown by a colour alone. Pure.

use crate::spec::Colour;
use crate::status::Status;

/// A meaning of a text that a colour can show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SemanticColour {
    #[default]
    Plain,
    /// The name of a member, in its own colour.
    Member(Colour),
    Success,
    Failure,
    /// Waiting for the user.
    Attention,
    /// In progress.
    Working,
    /// A line added to a file.
    Added,
    /// A line removed from a file.
    Removed,
    /// A position in a file.
    Position,
    Heading,
    /// The border of the active pane.
    ActiveBorder,
    Code,
    Comment,
    Literal,
    Number,
    Keyword,
}

/// The style of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    pub colour: SemanticColour,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underlined: bool,
    pub struck: bool,
    pub reversed: bool,
}

impl From<Status> for SemanticColour {
    fn from(status: Status) -> Self {
        match status {
            Status::Success => Self::Success,
            Status::Failure => Self::Failure,
            Status::Waiting => Self::Attention,
            Status::Working => Self::Working,
        }
    }
}

impl Style {
    pub const PLAIN: Self = Self::of(SemanticColour::Plain);
    /// Text of lesser importance.
    pub const DIM: Self = Self {
        dim: true,
        ..Self::PLAIN
    };
    pub const BOLD: Self = Self::PLAIN.bold();
    pub const SELECTED: Self = Self {
        reversed: true,
        ..Self::PLAIN
    };

    pub const fn of(colour: SemanticColour) -> Self {
        Self {
            colour,
            bold: false,
            dim: false,
            italic: false,
            underlined: false,
            struck: false,
            reversed: false,
        }
    }

    pub const fn reversed(self) -> Self {
        Self {
            reversed: true,
            ..self
        }
    }

    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub const fn italic(self) -> Self {
        Self {
            italic: true,
            ..self
        }
    }
}

/// The colours of a screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Theme {
    /// No colours; other attributes are kept.
    None,
    /// For terminals with a dark background.
    #[default]
    Dark,
    /// For terminals with a light background.
    Light,
}

/// The variable that selects a theme: `auto`, `dark`, `light` or `none`.
pub const THEME: &str = "AGENT_TEAM_THEME";

impl Theme {
    /// The theme that the environment of a terminal's programs selects: [`Self::None`] with `NO_COLOR`, else the theme
    /// that [`THEME`] names, else the theme for the background that `COLORFGBG` reports. Returns
    /// `Ok(None)` if the environment selects no theme.
    ///
    /// # Errors
    /// The value of [`THEME`] if it names no theme.
    pub fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        // The format that rxvt writes and Vim reads: `15;0`, or `0;default;15` with a picture behind the text.
        let background = || {
            let pair = variable("COLORFGBG")?;
            Some(
                match pair.rsplit(';').next().unwrap_or_default().parse::<u8>() {
                    Ok(7 | 9..=15) => Self::Light,
                    Ok(_) | Err(_) => Self::Dark,
                },
            )
        };
        let theme = match variable(THEME).as_deref() {
            None | Some("" | "auto") => background(),
            Some("dark") => Some(Self::Dark),
            Some("light") => Some(Self::Light),
            Some("none") => Some(Self::None),
            Some(other) => return Err(other.to_owned()),
        };
        match variable("NO_COLOR") {
            Some(value) if !value.is_empty() => Ok(Some(Self::None)),
            Some(_) | None => Ok(theme),
        }
    }

    /// A number of the 256-colour palette of terminals. `None` is the terminal's default text colour.
    ///
    /// The first sixteen numbers are not used: the terminal's colour scheme defines these colours, and many schemes
    /// make one of them unreadable.
    pub fn colour(self, colour: SemanticColour) -> Option<u8> {
        let (dark, light) = match colour {
            SemanticColour::Plain => return None,
            SemanticColour::Member(colour) => (colour.ansi256(), on_light_background(colour)),
            SemanticColour::Success | SemanticColour::Added => (Status::Success.ansi256(), 28),
            SemanticColour::Failure | SemanticColour::Removed => (Status::Failure.ansi256(), 124),
            SemanticColour::Attention => (Status::Waiting.ansi256(), 130),
            SemanticColour::Working => (Status::Working.ansi256(), 25),
            SemanticColour::Position => (73, 24),
            SemanticColour::Heading => (75, 25),
            SemanticColour::ActiveBorder => (69, 61),
            SemanticColour::Code | SemanticColour::Number => (180, 94),
            SemanticColour::Comment => (245, 243),
            SemanticColour::Literal => (114, 28),
            SemanticColour::Keyword => (176, 90),
        };
        match self {
            Self::None => None,
            Self::Dark => Some(dark),
            Self::Light => Some(light),
        }
    }

    /// The background of the selected row and of tmux's status line, a number of the 256-colour palette. `None`: a sign
    /// alone marks the row.
    pub fn selection(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Dark => Some(236),
            Self::Light => Some(254),
        }
    }

    /// The escape sequence that starts a style; empty for plain text. [`RESET`] ends it.
    pub fn sequence(self, style: Style) -> String {
        let flags = [
            (style.bold, "1"),
            (style.dim, "2"),
            (style.italic, "3"),
            (style.underlined, "4"),
            (style.reversed, "7"),
            (style.struck, "9"),
        ];
        let flags = flags.iter().filter(|(is_set, _)| *is_set);
        let mut codes: Vec<_> = flags.map(|(_, code)| (*code).to_owned()).collect();
        codes.extend(
            self.colour(style.colour)
                .map(|colour| format!("38;5;{colour}")),
        );
        match codes.as_slice() {
            [] => String::new(),
            codes => format!("\x1b[{}m", codes.join(";")),
        }
    }

    /// Returns the text with the escape sequences of its style. The text must be free of control characters.
    pub fn paint(self, style: Style, text: &str) -> String {
        match self.sequence(style) {
            begin if begin.is_empty() || text.is_empty() => text.to_owned(),
            begin => format!("{begin}{text}{RESET}"),
        }
    }
}

/// The escape sequence that ends all styles.
pub const RESET: &str = "\x1b[m";

/// A shade of a member's colour that is readable on a white background.
fn on_light_background(colour: Colour) -> u8 {
    match colour {
        Colour::Blue => 26,
        Colour::Green => 22,
        Colour::Yellow => 94,
        Colour::Magenta => 127,
        Colour::Cyan => 24,
        Colour::Orange => 131,
        Colour::Pink => 162,
        Colour::Lime => 58,
        Colour::Violet => 92,
        Colour::Teal => 29,
        Colour::Red => 160,
        Colour::Grey => 240,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn without_colours_attributes_are_kept() {
        let style = Style::of(SemanticColour::Failure).bold();
        assert_eq!(Theme::Dark.paint(style, "x"), "\x1b[1;38;5;203mx\x1b[m");
        assert_eq!(Theme::None.paint(style, "x"), "\x1b[1mx\x1b[m");
        assert_eq!(
            Theme::None.paint(Style::of(SemanticColour::Failure), "x"),
            "x"
        );
    }

    #[test]
    fn a_theme_follows_the_environment() {
        let theme = |variables: &[(&str, &str)]| {
            let value = |name: &str| variables.iter().find(|(it, _)| *it == name);
            Theme::of_environment(|name| value(name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(theme(&[]), Ok(None));
        assert_eq!(theme(&[("COLORFGBG", "0;15")]), Ok(Some(Theme::Light)));
        assert_eq!(
            theme(&[("COLORFGBG", "0;default;7")]),
            Ok(Some(Theme::Light))
        );
        assert_eq!(theme(&[("COLORFGBG", "15;0")]), Ok(Some(Theme::Dark)));
        assert_eq!(theme(&[("COLORFGBG", "0;default")]), Ok(Some(Theme::Dark)));
        let light = (THEME, "light");
        assert_eq!(
            theme(&[light, ("COLORFGBG", "15;0")]),
            Ok(Some(Theme::Light))
        );
        assert_eq!(theme(&[light, ("NO_COLOR", "1")]), Ok(Some(Theme::None)));
        assert_eq!(theme(&[light, ("NO_COLOR", "")]), Ok(Some(Theme::Light)));
        assert_eq!(theme(&[(THEME, "pink")]), Err("pink".to_owned()));
    }

    /// All semantic colours except `Plain`.
    fn semantic_colours() -> impl Iterator<Item = SemanticColour> {
        let members = Colour::PALETTE.map(SemanticColour::Member).into_iter();
        let states = Status::ALL.map(SemanticColour::from).into_iter();
        members.chain(states).chain([
            SemanticColour::Added,
            SemanticColour::Removed,
            SemanticColour::Position,
            SemanticColour::Heading,
            SemanticColour::ActiveBorder,
            SemanticColour::Code,
            SemanticColour::Comment,
            SemanticColour::Literal,
            SemanticColour::Number,
            SemanticColour::Keyword,
        ])
    }

    #[test]
    fn members_states_and_borders_have_distinct_colours() {
        for theme in [Theme::Dark, Theme::Light] {
            let members = Colour::PALETTE.map(SemanticColour::Member).into_iter();
            let meanings: Vec<_> = members
                .chain(Status::ALL.map(SemanticColour::from))
                .chain([SemanticColour::ActiveBorder])
                .collect();
            let colours: BTreeSet<_> = meanings
                .iter()
                .map(|it| theme.colour(*it).unwrap())
                .collect();
            assert_eq!(colours.len(), meanings.len(), "{theme:?}");
        }
    }

    /// WCAG 2 requires this contrast for text of any size.
    #[test]
    fn colours_are_readable_on_their_background() {
        const CONTRAST_MIN: f64 = 4.5;
        for (theme, background) in [(Theme::Dark, 0.0), (Theme::Light, 1.0)] {
            for meaning in semantic_colours() {
                let colour = theme.colour(meaning).unwrap();
                let (a, b) = (luminance(colour) + 0.05, background + 0.05);
                let contrast = a.max(b) / a.min(b);
                assert!(
                    contrast >= CONTRAST_MIN,
                    "{theme:?} {meaning:?}: {contrast}"
                );
            }
        }
    }

    /// WCAG 2 requires this contrast for large text and for graphics.
    #[test]
    fn colours_are_readable_in_the_selected_row() {
        const CONTRAST_MIN: f64 = 3.0;
        for theme in [Theme::Dark, Theme::Light] {
            let background = luminance(theme.selection().unwrap());
            for meaning in semantic_colours() {
                let (a, b) = (
                    luminance(theme.colour(meaning).unwrap()) + 0.05,
                    background + 0.05,
                );
                let contrast = a.max(b) / a.min(b);
                assert!(
                    contrast >= CONTRAST_MIN,
                    "{theme:?} {meaning:?}: {contrast}"
                );
            }
        }
    }

    /// The relative luminance, as WCAG 2 defines it, of a colour of the 6 × 6 × 6 cube or of the greys.
    fn luminance(colour: u8) -> f64 {
        let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
        let rgb = match colour {
            16..=231 => [(colour - 16) / 36, (colour - 16) / 6 % 6, (colour - 16) % 6].map(level),
            232.. => [8 + 10 * (colour - 232); 3],
            0..=15 => panic!("the terminal's theme defines colour {colour}"),
        };
        let [red, green, blue] = rgb.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            match channel <= 0.04045 {
                true => channel / 12.92,
                false => ((channel + 0.055) / 1.055).powf(2.4),
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}
