//! One finding of `doctor`, and its text.

use std::borrow::Cow;

use agent_team_terminal_ui::style::Style;
use serde::Serialize;

use crate::error::{ErrorReport, Failure};
use crate::output::style::{BAD, GOOD, paint};
use crate::output::text;

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

    pub(super) fn neutral(name: &'static str, detail: impl Into<String>) -> Self {
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

    pub(super) fn text(&self) -> String {
        let sign = match self.ok {
            Some(true) => paint(GOOD, "✓"),
            Some(false) => paint(BAD, "✗"),
            None => paint(Style::DIM, "–"),
        };
        let hint = self
            .hint
            .as_deref()
            .map(|hint| format!("    hint: {}\n", text::line(hint)));
        format!(
            "{sign} {:<14} {}\n{}",
            self.name,
            text::line(&self.detail),
            hint.unwrap_or_default()
        )
    }
}
