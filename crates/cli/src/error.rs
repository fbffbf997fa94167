//! The error type of the command line: message, causes, hint and exit code. Every verb returns it; only
//! [`crate::main`] prints it, as text or, with `--json`, as one document on stderr.
//!
//! Messages read `cannot X: Y`, hints are imperatives. Control characters are escaped at printing.

use std::borrow::Cow;
use std::error::Error;
use std::io::Write;

use agent_team_client::{CallError, ConnectError, ConnectOrStartError, SessionError};
use agent_team_file::{Fault, KeyError, LoadTeamError, OverridesError};
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::text::{visible, visible_line};
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::directories::DirectoriesError;
use agent_team_terminal_ui::style::{SemanticColour, Style};
use serde::Serialize;

use crate::output::style::{BAD, paint};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The program at the other end of stdout has closed the pipe, as `head` does. Prints nothing and exits with 0.
    BrokenPipe,
    Reported(Box<ErrorReport>),
}

/// The document of an error with `--json`, one line on stderr.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ErrorBody<'a> {
    /// The kind of the error, such as `not_found`.
    code: &'a str,
    message: String,
    /// The command or the change that resolves the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

/// An error as it is printed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ErrorReport {
    /// The machine-readable code of `--json`.
    pub(crate) code: Cow<'static, str>,
    pub(crate) exit: ExitCode,
    pub(crate) message: String,
    /// Further lines of the message.
    pub(crate) details: Vec<String>,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
    /// Further errors of the same kind, such as the other faults of a team file.
    pub(crate) others: Vec<ErrorReport>,
}

impl Failure {
    pub(crate) fn new(
        code: impl Into<Cow<'static, str>>,
        exit: ExitCode,
        message: impl Into<String>,
    ) -> Self {
        Self::Reported(Box::new(ErrorReport {
            code: code.into(),
            exit,
            message: message.into(),
            details: Vec::new(),
            causes: Vec::new(),
            hint: None,
            others: Vec::new(),
        }))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Invalid, message)
    }

    /// A failure with the code and the exit code of a supervisor refusal.
    pub(crate) fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(code_name(code), code.exit(), message)
    }

    pub(crate) fn unsupported(what: &str) -> Self {
        Self::of(
            ErrorCode::NotCarriedOut,
            format!("{what} is not supported in this version"),
        )
    }

    /// A defect of this program.
    pub(crate) fn bug(message: impl Into<String>) -> Self {
        Self::new("bug", ExitCode::Bug, message)
            .hint("report this bug in agent-team, with the lines above")
    }

    /// An error of the operating system.
    pub(crate) fn io(message: impl Into<String>, error: &std::io::Error) -> Self {
        Self::new("io", ExitCode::Failed, message).because(error)
    }

    /// A failed write to stdout; a closed pipe is not an error.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::io("cannot write the output", error)
        }
    }

    /// Appends an error and its sources to the causes.
    #[must_use]
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        if let Self::Reported(report) = &mut self {
            let mut next = Some(error);
            while let Some(error) = next {
                report.causes.push(error.to_string());
                next = error.source();
            }
        }
        self
    }

    #[must_use]
    /// Adds lines to the message.
    pub(crate) fn details<'a>(mut self, lines: impl Iterator<Item = &'a str>) -> Self {
        if let Self::Reported(report) = &mut self {
            report.details.extend(lines.map(str::to_owned));
        }
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Reported(report) = &mut self {
            report.hint = Some(hint.into());
        }
        self
    }

    pub(crate) fn exit(&self) -> ExitCode {
        match self {
            Self::BrokenPipe => ExitCode::Done,
            Self::Reported(report) => report.exit,
        }
    }

    /// Message and causes on one line without control characters; without the hint.
    pub(crate) fn one_line(&self) -> String {
        match self {
            Self::BrokenPipe => String::new(),
            Self::Reported(report) => {
                let causes = report.causes.iter().map(|cause| format!(": {cause}"));
                let text = report.message.clone() + &causes.collect::<String>();
                visible_line(&text).into_owned()
            }
        }
    }

    /// [`Failure::one_line`], with the hint on a second line.
    pub(crate) fn with_hint(&self) -> String {
        let hint = match self {
            Self::Reported(report) => report.hint.as_deref(),
            Self::BrokenPipe => None,
        };
        let hint = hint.map(|hint| format!("\nhint: {}", visible_line(hint)));
        self.one_line() + &hint.unwrap_or_default()
    }

    pub(crate) fn print(&self, json: bool) {
        let Self::Reported(report) = self else { return };
        let text = if json {
            report.to_json()
        } else {
            report.to_text()
        };
        // When stderr is closed, no channel is left to report that.
        let _gone = anstream::stderr().write_all(text.as_bytes());
    }
}

impl ErrorReport {
    pub(crate) fn has_code(&self, code: ErrorCode) -> bool {
        self.code == code_name(code)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{} {}\n", paint(BAD, "error:"), visible_line(&self.message));
        for line in &self.details {
            text.push_str(&format!("  {}\n", visible_line(line)));
        }
        for cause in &self.causes {
            text.push_str(&format!(
                "  {} {}\n",
                paint(Style::BOLD, "cause:"),
                visible_line(cause)
            ));
        }
        if let Some(hint) = &self.hint {
            let mut label = paint(Style::of(SemanticColour::Position).bold(), "hint:");
            for line in hint.lines() {
                text.push_str(&format!("  {label} {}\n", visible_line(line)));
                label = "     ".to_owned();
            }
        }
        for other in &self.others {
            text.push_str(&other.to_text());
        }
        text
    }

    fn to_json(&self) -> String {
        let message_of = |report: &ErrorReport| {
            let parts = std::iter::once(&report.message).chain(&report.causes);
            let message = parts.map(String::as_str).collect::<Vec<_>>().join(": ");
            let lines = std::iter::once(&message).chain(&report.details);
            lines.map(String::as_str).collect::<Vec<_>>().join("\n")
        };
        let all: Vec<_> = std::iter::once(self)
            .chain(&self.others)
            .map(message_of)
            .collect();
        let body = ErrorBody {
            code: &self.code,
            message: visible(&all.join("\n")).into_owned(),
            hint: self.hint.as_deref(),
        };
        let document = serde_json::to_string(&ErrorDocument { error: body });
        document.expect("strings have a JSON form") + "\n"
    }
}

fn code_name(code: ErrorCode) -> String {
    let name = serde_json::to_value(code).expect("a code has a JSON form");
    name.as_str().expect("a code is a JSON string").to_owned()
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::of(refusal.code, refusal.message);
        match refusal.hint {
            Some(hint) => failure.hint(hint),
            None if refusal.code.exit() == ExitCode::Bug => {
                failure.hint("report this bug in agent-team")
            }
            None => failure,
        }
    }
}

/// The failure of a command that needs the supervisor and cannot reach it.
pub(crate) fn unreachable(message: &str) -> Failure {
    Failure::new("unreachable", ExitCode::Unreachable, message)
        .hint("find the cause with: agent-team doctor")
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let message = error.to_string();
        match error {
            SessionError::Directories(error) => error.into(),
            SessionError::Read { source, .. } => Self::io(message, &source),
            SessionError::Connect(error) => cannot_connect(error),
            SessionError::Call(CallError::Refused(refusal)) => refusal.into(),
            SessionError::Call(CallError::Disconnected) => {
                unreachable("the supervisor exited before it answered")
            }
            SessionError::Call(error @ CallError::Answer { .. }) => {
                let failure = Self::new(
                    "invalid_answer",
                    ExitCode::Unreachable,
                    "cannot read the supervisor's answer",
                );
                failure
                    .because(&error)
                    .hint("after an upgrade, run: agent-team supervisor restart")
            }
            SessionError::TooLarge => Self::of(ErrorCode::FrameTooLarge, message),
            SessionError::NoTeams => {
                Self::of(ErrorCode::UnknownTeam, message).hint("start one with: agent-team up")
            }
            SessionError::NotRunning => {
                unreachable(&message).hint("the next command that needs the supervisor starts it")
            }
            SessionError::Stopped => {
                unreachable(&message).hint("the next command starts the supervisor")
            }
        }
    }
}

fn cannot_connect(error: ConnectOrStartError) -> Failure {
    match error {
        ConnectOrStartError::Settings(refusal)
        | ConnectOrStartError::Connect(ConnectError::Refused(refusal)) => refusal.into(),
        ConnectOrStartError::Connect(error) => {
            let failure = unreachable("cannot reach the supervisor").because(&error);
            if let ConnectError::Stopped { pid } = error {
                return failure.hint(format!("continue it with: kill -CONT {pid}"));
            }
            failure
        }
        error @ (ConnectOrStartError::Binary(_)
        | ConnectOrStartError::Start(_)
        | ConnectOrStartError::Lock(_)) => {
            unreachable("cannot start the supervisor").because(&error)
        }
    }
}

impl From<DirectoriesError> for Failure {
    fn from(error: DirectoriesError) -> Self {
        let exit = match &error {
            DirectoriesError::Relative(_) | DirectoriesError::NoHome => ExitCode::Usage,
            DirectoriesError::Unsafe { .. } => ExitCode::Refused,
            DirectoriesError::Io { .. } => ExitCode::Failed,
        };
        Self::new(
            "directories",
            exit,
            "cannot use the directories of agent-team",
        )
        .because(&error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let failure = Self::usage(error.to_string());
        match error {
            KeyError::Unknown { hint, .. } => failure.hint(hint),
            KeyError::Value { .. } => failure,
        }
    }
}

impl From<OverridesError> for Failure {
    fn from(error: OverridesError) -> Self {
        match error {
            OverridesError::Fault(fault) => LoadTeamError::Faults(vec![fault]).into(),
            error @ (OverridesError::Read(..) | OverridesError::Write(..)) => {
                let failure = Self::new("io", ExitCode::Failed, error.to_string());
                match error.source() {
                    Some(source) => failure.because(source),
                    None => failure,
                }
            }
        }
    }
}

impl From<LoadTeamError> for Failure {
    fn from(error: LoadTeamError) -> Self {
        let of_fault = |fault: Fault| ErrorReport {
            code: code_name(ErrorCode::Invalid).into(),
            exit: ExitCode::Usage,
            message: fault.to_string(),
            details: Vec::new(),
            causes: Vec::new(),
            hint: fault.hint,
            others: Vec::new(),
        };
        match error {
            LoadTeamError::Faults(faults) => {
                let mut faults = faults.into_iter().map(of_fault);
                let first = faults.next().expect("an error has at least one fault");
                Self::Reported(Box::new(ErrorReport {
                    others: faults.collect(),
                    ..first
                }))
            }
            error @ LoadTeamError::Missing(_) => no_team_file(error.to_string()),
            error @ (LoadTeamError::Unreadable(..) | LoadTeamError::Project { .. }) => {
                let failure = Self::usage(error.to_string());
                match error.source() {
                    Some(source) => failure.because(source),
                    None => failure,
                }
            }
        }
    }
}

/// The error of a verb that needs a team file and finds none.
pub(crate) fn no_team_file(message: impl Into<String>) -> Failure {
    Failure::new("no_team_file", ExitCode::NotFound, message)
        .hint("create one with: agent-team init")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_code_and_exit_code() {
        let failure =
            Failure::from(Refusal::new(ErrorCode::AlreadyClaimed, "ada has it").hint("wait"));
        let Failure::Reported(report) = failure else {
            panic!("expected a reported refusal")
        };
        assert_eq!(
            (&*report.code, report.exit),
            ("already_claimed", ExitCode::Refused)
        );
        assert_eq!(
            report.to_json(),
            "{\"error\":{\"code\":\"already_claimed\",\"message\":\"ada has it\",\"hint\":\"wait\"}}\n"
        );
    }

    #[test]
    fn printed_errors_contain_no_terminal_escapes() {
        let Failure::Reported(report) = Failure::usage("a\u{1b}[2J\nb").hint("\u{202e}x") else {
            panic!("expected a reported usage error")
        };
        let text = anstream::adapter::strip_str(&report.to_text()).to_string();
        assert_eq!(text, "error: a\\e[2J\\nb\n  hint: \\u{202e}x\n");
    }

    #[test]
    fn further_lines_of_a_message_are_indented() {
        let failure = Failure::usage("no model").details("- set a key\n\u{1b}[2J".lines());
        let Failure::Reported(report) = failure.hint("choose one") else {
            panic!("expected a reported usage error")
        };
        let text = anstream::adapter::strip_str(&report.to_text()).to_string();
        let expected = "error: no model\n  - set a key\n  \\e[2J\n  hint: choose one\n";
        assert_eq!(text, expected);
        assert!(report.to_json().contains(r"no model\n- set a key\n"));
    }

    #[test]
    fn an_error_lists_its_causes() {
        let inner = std::io::Error::other("no room");
        let Failure::Reported(report) = Failure::io("cannot write it", &inner) else {
            panic!("expected a reported I/O error")
        };
        assert_eq!(report.causes, ["no room"]);
        assert!(matches!(
            Failure::output(&std::io::ErrorKind::BrokenPipe.into()),
            Failure::BrokenPipe
        ));
    }
}
