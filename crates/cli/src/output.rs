//! The output of the verbs: text on stdout, or with `--json` exactly one JSON document (one JSON line per item for
//! streams). Every verb writes through this module. Only the two terminal views, and `main` for help and version,
//! write to stdout themselves.
//!
//! Text may be styled: `anstream` strips the styles when stdout is not a terminal, and with `NO_COLOR` or
//! `--color never`. Text of members, models and programs passes through `protocol::text`, which escapes characters that
//! could mislead the terminal or the user.

pub(crate) mod graph;
pub(crate) mod member;
pub(crate) mod receipt;
pub(crate) mod request;
pub(crate) mod status_line;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod usage;

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use agent_team_system::terminal;
use serde::Serialize;

use crate::error::Failure;

/// How long [`Output::waiting_for`] waits before it prints a note.
const SILENT_WAIT: Duration = Duration::from_secs(1);

/// The output format of a verb.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints the document of `--json`, or the text.
    pub(crate) fn show(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let mut text = serde_json::to_string_pretty(document).expect("views have a JSON form");
            text.push('\n');
            self.write(&text)
        } else {
            self.write(&text())
        }
    }

    /// Prints one item of a stream.
    pub(crate) fn item(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json {
            let mut line = serde_json::to_string(document).expect("views have a JSON form");
            line.push('\n');
            self.write(&line)
        } else {
            self.write(&text())
        }
    }

    /// Prints a text as it is, even with `--json`.
    pub(crate) fn write(self, text: &str) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        written.map_err(|error| Failure::output(&error))
    }

    /// Prints a note to stderr; not with `--json`.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            // A closed stderr must not fail the command.
            let _gone = writeln!(anstream::stderr(), "{text}");
        }
    }

    /// Prints a note about data that is missing on stdout to stderr, even with `--json`.
    pub(crate) fn warn(self, text: &str) {
        // A closed stderr must not fail the command.
        let _gone = writeln!(anstream::stderr(), "{text}");
    }

    /// Asks for a confirmation on stderr; returns whether the user typed `y` or `yes`.
    pub(crate) fn ask(self, question: &str) -> Result<bool, Failure> {
        let mut stderr = anstream::stderr();
        let shown = write!(stderr, "{question}").and_then(|()| stderr.flush());
        let mut typed = String::new();
        let read = shown.and_then(|()| std::io::stdin().read_line(&mut typed));
        read.map_err(|error| Failure::io("cannot ask for confirmation", &error))?;
        Ok(matches!(
            typed.trim().to_ascii_lowercase().as_str(),
            "y" | "yes"
        ))
    }

    /// Awaits the future. When it takes longer than [`SILENT_WAIT`], prints once that the command waits for `what`.
    pub(crate) async fn waiting_for<T>(self, what: &str, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        match tokio::time::timeout(SILENT_WAIT, &mut wait).await {
            Ok(value) => value,
            Err(_elapsed) => {
                self.note(&format!("waiting for {what}"));
                wait.await
            }
        }
    }
}

/// Columns of the terminal on stdout, or of the view that shows the output of this command. `None` if the output goes
/// to neither, so that nothing is cut.
pub(crate) fn columns() -> Option<usize> {
    let stdout = std::io::stdout();
    if !terminal::is_terminal(&stdout) {
        return std::env::var(agent_team_terminal_ui::COLUMNS)
            .ok()?
            .parse()
            .ok();
    }
    Some(terminal::size(&stdout).map_or(80, |(columns, _)| usize::from(columns)))
}
