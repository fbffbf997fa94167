//! One finding of `doctor`, and its text.

use std::borrow::Cow;

use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::Style;
use serde::Serialize;

use crate::error::{ErrorReport, Failure};
use crate::output::style::{BAD, GOOD, paint};
use crate::output::{columns, text};

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Check {
    pub(super) name: Cow<'static, str>,
    /// `None`: information only.
    pub(super) ok: Option<bool>,
    pub(super) detail: String,
    pub(super) hint: Option<String>,
}

impl Check {
    pub(super) fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: Some(true),
            detail: detail.into(),
            hint: None,
        }
    }

    pub(super) fn bad(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: Some(false),
            detail: detail.into(),
            hint: None,
        }
    }

    pub(super) fn neutral(name: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: None,
            detail: detail.into(),
            hint: None,
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    pub(super) fn failed(name: &'static str, failure: Failure) -> Self {
        match failure {
            Failure::BrokenPipe => Self::bad(name, "stdout is closed"),
            Failure::Reported(report) => {
                let ErrorReport {
                    message,
                    causes,
                    hint,
                    ..
                } = *report;
                let detail = std::iter::once(message)
                    .chain(causes)
                    .collect::<Vec<_>>()
                    .join(": ");
                Self {
                    hint,
                    ..Self::bad(name, detail)
                }
            }
        }
    }

    /// `width`: the width of the names.
    pub(super) fn text(&self, width: usize) -> String {
        let sign = match self.ok {
            Some(true) => paint(GOOD, "✓"),
            Some(false) => paint(BAD, "✗"),
            None => paint(Style::DIM, "–"),
        };
        let hint = self
            .hint
            .as_deref()
            .map(|hint| format!("    hint: {}\n", text::line(hint)));
        // The sign and two blanks.
        let indent = width + 3;
        let room = columns().map_or(usize::MAX, |columns| columns.saturating_sub(indent));
        let lines = self.detail.lines();
        let detail =
            lines.flat_map(|line| Line::of(Style::PLAIN, &text::line(line)).wrapped(room, 0));
        let detail: Vec<_> = detail.map(|line| line.text()).collect();
        format!(
            "{sign} {:<width$} {}\n{}",
            self.name,
            detail.join(&format!("\n{:indent$}", "")),
            hint.unwrap_or_default()
        )
    }
}
