//! The table of results in `docs/clis.md`.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::cli::Cli;

/// The table is between these lines of the page.
const BEGIN: &str = "<!-- `cargo xtask test real-clis` writes this table. -->";
const END: &str = "<!-- end of the table -->";

const HEAD: &str = "\
| `engine` | program | task with team tools | allowed line | denied line | message during a turn | wake from idle | kill -9 and resume |
|---|---|---|---|---|---|---|---|
";

/// The number of checks.
const CHECKS: usize = 6;

/// The results of one agent.
#[derive(Debug)]
pub struct Row {
    cli: &'static Cli,
    checks: Vec<Result<String, String>>,
}

impl Row {
    pub(super) fn new(cli: &'static Cli, checks: Vec<Result<String, String>>) -> Self {
        Self { cli, checks }
    }

    /// Whether all checks have passed.
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(Result::is_ok)
    }

    /// The line of the table.
    pub fn line(&self) -> String {
        let mut cells = self.checks.iter().map(|check| match check {
            Ok(works) => works.clone(),
            Err(why) => format!("**no**: {}", why.replace('|', "/").replace('\n', " ")),
        });
        let cli = self.cli;
        let mut line = format!("| `{}` | {} {} |", cli.word, cli.program, cli.version());
        for _ in 0..CHECKS {
            line.push_str(&format!(" {} |", cells.next().as_deref().unwrap_or("–")));
        }
        line
    }
}

/// Writes the rows into the page, in place of the earlier rows.
///
/// # Errors
/// If the page cannot be changed.
pub fn write(page: &Path, rows: &[Row], date: &str) -> Result<()> {
    let text = std::fs::read_to_string(page)?;
    let (before, rest) = text.split_once(BEGIN).context("the page has no table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    let lines: String = rows.iter().map(|row| row.line() + "\n").collect();
    let text = format!(
        "{before}{BEGIN}\n\nRun on {date}, on {}.\n\n{HEAD}{lines}\n{END}{after}",
        std::env::consts::OS
    );
    std::fs::write(page, text)?;
    Ok(())
}
