//! The files of the pictures: writes a picture, or compares it with the stored one. Used by [`super::scenes`].

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::stage::{Size, Terminal};
use super::svg::{Theme, draw, drawn_rows};
use crate::run::{Failed, INTERVAL, root};

/// How long a screen must be unchanged before its picture is written.
const SETTLED: Duration = Duration::from_millis(1500);

/// How long a screen may differ from its stored picture. A terminal reports no event when a program has finished
/// painting, so a comparison repeats until the screen is as stored.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PictureFiles {
    Write,
    Compare,
}

impl PictureFiles {
    /// Takes a picture of a terminal, and writes it under this name or compares it with the stored one.
    pub(super) fn take(self, name: &str, terminal: &Terminal<'_>) -> Result<()> {
        let file = directory().join(file_name(name, terminal.size, terminal.theme));
        let picture = || Ok(draw(&terminal.screen()?, terminal.theme));
        match self {
            Self::Write => write(&file, picture),
            Self::Compare => compare(&file, LIMIT, picture),
        }
    }
}

pub(super) fn directory() -> PathBuf {
    root().join("docs/pictures")
}

fn file_name(name: &str, (columns, rows): Size, theme: Theme) -> String {
    format!("{name}-{columns}x{rows}-{}.svg", theme.name())
}

fn write(file: &Path, picture: impl Fn() -> Result<String>) -> Result<()> {
    let (mut last, mut since) = (picture()?, Instant::now());
    while since.elapsed() < SETTLED {
        sleep(INTERVAL);
        let next = picture()?;
        if next != last {
            (last, since) = (next, Instant::now());
        }
    }
    fs::write(file, last).with_context(|| format!("cannot write {}", file.display()))?;
    println!("wrote {}", file.display());
    Ok(())
}

fn compare(file: &Path, limit: Duration, picture: impl Fn() -> Result<String>) -> Result<()> {
    let stored =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let start = Instant::now();
    loop {
        let made = picture()?;
        if made == stored {
            return Ok(());
        }
        if start.elapsed() > limit {
            return Err(Failed {
                what: format!(
                    "{} is out of date: {}; make the pictures again with: cargo xtask pictures",
                    file.display(),
                    difference(&stored, &made)
                ),
                code: 1,
            }
            .into());
        }
        sleep(INTERVAL);
    }
}

/// Describes the first row that differs.
fn difference(stored: &str, made: &str) -> String {
    let (stored, made) = (drawn_rows(stored), drawn_rows(made));
    let row = |rows: &[String], number: usize| rows.get(number).cloned().unwrap_or_default();
    let rows = 0..stored.len().max(made.len());
    let differs = rows
        .into_iter()
        .find(|number| row(&stored, *number) != row(&made, *number));
    match differs {
        Some(number) => format!(
            "row {} is {:?} in the picture and {:?} on the screen",
            number + 1,
            row(&stored, number),
            row(&made, number)
        ),
        None => "a style or a column differs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::pictures::screen::Screen;

    fn picture(text: &str) -> String {
        draw(&Screen::parse(text, 20), Theme::Dark)
    }

    #[test]
    fn a_comparison_waits_for_the_stored_screen() {
        let stored = tempfile::NamedTempFile::new().unwrap();
        fs::write(stored.path(), picture("ada\nben idle")).unwrap();
        let reads = Cell::new(0);
        let made = || {
            reads.set(reads.get() + 1);
            Ok(picture(if reads.get() < 3 {
                "ada"
            } else {
                "ada\nben idle"
            }))
        };
        compare(stored.path(), LIMIT, made).unwrap();
        assert_eq!(reads.get(), 3);
    }

    #[test]
    fn a_difference_names_the_row() {
        let stored = tempfile::NamedTempFile::new().unwrap();
        fs::write(stored.path(), picture("ada\nben idle")).unwrap();
        let differs = |text: &'static str| {
            let error = compare(stored.path(), Duration::ZERO, || Ok(picture(text))).unwrap_err();
            error.to_string()
        };
        let error = differs("ada\nben rests");
        assert!(error.contains("row 2 is \"ben idle\""), "{error}");
        let error = differs("\x1b[1mada\x1b[m\nben idle");
        assert!(error.contains("a style or a column differs"), "{error}");
    }
}
