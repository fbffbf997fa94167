//! What the verbs say: text for people on stdout, or exactly one JSON document (a line of JSON per item for streams)
//! with `--json`. Called by every verb; nobody else writes to stdout.
//!
//! Text is styled freely here: `anstream` takes the styles away where stdout is no terminal, and with `NO_COLOR` or
//! `--color never`. Whatever somebody else wrote passes through `protocol::text` before it is shown.

pub(crate) mod graph;
pub(crate) mod member;
pub(crate) mod receipt;
pub(crate) mod request;
pub(crate) mod status_line;
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

/// A wait that takes longer is explained.
const SILENCE: Duration = Duration::from_secs(1);

/// Where and how a verb speaks.
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

    /// The one document of `--json`, or the text that stands for it.
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

    /// One item of a stream.
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

    /// Text that is the output itself, such as a completion script.
    pub(crate) fn write(self, text: &str) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        written.map_err(|error| Failure::output(&error))
    }

    /// Something beside the output: on stderr, and only for people.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            // A note that nobody can read is no reason to fail.
            let _gone = writeln!(anstream::stderr(), "{text}");
        }
    }

    /// What the future comes to; when that takes long, people are told once what is waited for.
    pub(crate) async fn waiting_for<T>(self, what: &str, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        match tokio::time::timeout(SILENCE, &mut wait).await {
            Ok(value) => value,
            Err(_elapsed) => {
                self.note(&format!("waiting for {what}"));
                wait.await
            }
        }
    }
}

/// Columns of the terminal that stdout is; `None` when it is none, and nothing needs to be cut.
pub(crate) fn columns() -> Option<usize> {
    let stdout = std::io::stdout();
    if !terminal::is_terminal(&stdout) {
        return None;
    }
    Some(terminal::size(&stdout).map_or(80, |(columns, _)| usize::from(columns)))
}
