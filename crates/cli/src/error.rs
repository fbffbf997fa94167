//! How a command fails: a sentence, what caused it, what to do about it, and an exit code from its kind. Every verb
//! ends in one of these or in success; only [`crate::main`] prints it.

use std::borrow::Cow;
use std::error::Error;
use std::io::Write;

use agent_team_file::{Fault, KeyError, LoadTeamError, OwnError};
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::text::{visible, visible_line};
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::client::{CallError, ConnectError};
use agent_team_system::daemon::ConnectOrStartError;
use agent_team_system::directories::DirectoriesError;
use owo_colors::OwoColorize;
use serde::Serialize;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has had enough. Nothing is said, and it is no failure.
    BrokenPipe,
    Told(Box<Told>),
}

/// A failure that a person is told about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The word of `--json`.
    pub(crate) code: Cow<'static, str>,
    pub(crate) exit: ExitCode,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
    /// More of the same: a file with several faults.
    pub(crate) others: Vec<Told>,
}

impl Failure {
    pub(crate) fn new(
        code: impl Into<Cow<'static, str>>,
        exit: ExitCode,
        message: impl Into<String>,
    ) -> Self {
        Self::Told(Box::new(Told {
            code: code.into(),
            exit,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            others: Vec::new(),
        }))
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Invalid, message)
    }

    /// A failure of the kind that the supervisor's refusals of this code are.
    pub(crate) fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(word(code), code.exit(), message)
    }

    pub(crate) fn not_carried_out(what: &str) -> Self {
        Self::of(
            ErrorCode::NotCarriedOut,
            format!("{what} is not carried out by this build yet"),
        )
    }

    /// A fault of this program's own.
    pub(crate) fn bug(message: impl Into<String>) -> Self {
        Self::new("bug", ExitCode::Bug, message)
            .hint("this is a bug of agent-team: please report it with the lines above")
    }

    /// Something of the operating system's went wrong.
    pub(crate) fn io(message: impl Into<String>, error: &std::io::Error) -> Self {
        Self::new("io", ExitCode::Failed, message).because(error)
    }

    /// What became of writing our output.
    pub(crate) fn output(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::io("the output cannot be written", error)
        }
    }

    /// Adds an error and what caused it.
    #[must_use]
    pub(crate) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        if let Self::Told(told) = &mut self {
            let mut next = Some(error);
            while let Some(error) = next {
                told.causes.push(error.to_string());
                next = error.source();
            }
        }
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.hint = Some(hint.into());
        }
        self
    }

    pub(crate) fn exit(&self) -> ExitCode {
        match self {
            Self::BrokenPipe => ExitCode::Done,
            Self::Told(told) => told.exit,
        }
    }

    /// All of it in one line, harmless, without what to do about it.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::BrokenPipe => String::new(),
            Self::Told(told) => {
                let causes = told.causes.iter().map(|cause| format!(": {cause}"));
                let text = told.message.clone() + &causes.collect::<String>();
                visible_line(&text).into_owned()
            }
        }
    }

    /// Tells it on stderr.
    pub(crate) fn print(&self, json: bool) {
        let Self::Told(told) = self else { return };
        let text = if json { told.json() } else { told.human() };
        // There is nobody left to tell that stderr is gone.
        let _gone = anstream::stderr().write_all(text.as_bytes());
    }
}

impl Told {
    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        self.code == word(code)
    }

    fn human(&self) -> String {
        let mut text = format!(
            "{} {}\n",
            "error:".red().bold(),
            visible_line(&self.message)
        );
        for cause in &self.causes {
            text.push_str(&format!("  {} {}\n", "cause:".bold(), visible_line(cause)));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!(
                "  {} {}\n",
                "hint:".cyan().bold(),
                visible_line(hint)
            ));
        }
        for other in &self.others {
            text.push_str(&other.human());
        }
        text
    }

    fn json(&self) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            error: Body<'a>,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
        }
        let one = |told: &Told| {
            let parts = std::iter::once(&told.message).chain(&told.causes);
            parts.map(String::as_str).collect::<Vec<_>>().join(": ")
        };
        let all: Vec<_> = std::iter::once(self).chain(&self.others).map(one).collect();
        let body = Body {
            code: &self.code,
            message: visible(&all.join("\n")).into_owned(),
            hint: self.hint.as_deref(),
        };
        let document = serde_json::to_string(&Document { error: body });
        document.expect("strings have a JSON form") + "\n"
    }
}

fn word(code: ErrorCode) -> String {
    let word = serde_json::to_value(code).expect("a code is a word");
    word.as_str().expect("a code is a word").to_owned()
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::of(refusal.code, refusal.message);
        match refusal.hint {
            Some(hint) => failure.hint(hint),
            None if refusal.code.exit() == ExitCode::Bug => {
                failure.hint("this is a bug of agent-team")
            }
            None => failure,
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::Disconnected => unreachable("the supervisor went away before it answered"),
            error @ CallError::Answer { .. } => {
                let failure = Self::new(
                    "invalid_answer",
                    ExitCode::Unreachable,
                    "the supervisor's answer cannot be read",
                );
                failure
                    .because(&error)
                    .hint("after an upgrade run: agent-team supervisor restart")
            }
        }
    }
}

/// No supervisor answers.
pub(crate) fn unreachable(message: &str) -> Failure {
    Failure::new("unreachable", ExitCode::Unreachable, message)
        .hint("look for the reason with: agent-team doctor")
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused(refusal) => refusal.into(),
            error @ ConnectError::Stopped { pid } => unreachable("cannot reach the supervisor")
                .because(&error)
                .hint(format!("continue it with: kill -CONT {pid}")),
            error @ (ConnectError::Unreachable { .. }
            | ConnectError::Ended
            | ConnectError::TimedOut
            | ConnectError::Protocol(_)) => {
                unreachable("cannot reach the supervisor").because(&error)
            }
        }
    }
}

impl From<ConnectOrStartError> for Failure {
    fn from(error: ConnectOrStartError) -> Self {
        match error {
            ConnectOrStartError::Connect(error) => error.into(),
            ConnectOrStartError::Settings(refusal) => refusal.into(),
            error @ (ConnectOrStartError::Binary(_)
            | ConnectOrStartError::Start(_)
            | ConnectOrStartError::Lock(_)) => {
                unreachable("cannot start the supervisor").because(&error)
            }
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
            "the directories of agent-team cannot be used",
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

impl From<OwnError> for Failure {
    fn from(error: OwnError) -> Self {
        match error {
            OwnError::Fault(fault) => LoadTeamError::Faults(vec![fault]).into(),
            error @ (OwnError::Read(..) | OwnError::Write(..)) => {
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
        let of_fault = |fault: Fault| Told {
            code: word(ErrorCode::Invalid).into(),
            exit: ExitCode::Usage,
            message: fault.to_string(),
            causes: Vec::new(),
            hint: fault.hint,
            others: Vec::new(),
        };
        match error {
            LoadTeamError::Faults(faults) => {
                let mut faults = faults.into_iter().map(of_fault);
                let first = faults.next().expect("an error has at least one fault");
                Self::Told(Box::new(Told {
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

/// There is no team file where one is needed.
pub(crate) fn no_team_file(message: impl Into<String>) -> Failure {
    Failure::new("no_team_file", ExitCode::NotFound, message)
        .hint("write one with: agent-team init")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_word_and_its_exit_code() {
        let failure =
            Failure::from(Refusal::new(ErrorCode::AlreadyClaimed, "ada has it").hint("wait"));
        let Failure::Told(told) = failure else {
            panic!("a refusal is told")
        };
        assert_eq!(
            (&*told.code, told.exit),
            ("already_claimed", ExitCode::Refused)
        );
        assert_eq!(
            told.json(),
            "{\"error\":{\"code\":\"already_claimed\",\"message\":\"ada has it\",\"hint\":\"wait\"}}\n"
        );
    }

    #[test]
    fn what_is_told_cannot_repaint_a_terminal() {
        let Failure::Told(told) = Failure::usage("a\u{1b}[2J\nb").hint("\u{202e}x") else {
            panic!("a usage error is told")
        };
        let text = anstream::adapter::strip_str(&told.human()).to_string();
        assert_eq!(text, "error: a\\e[2J\\nb\n  hint: \\u{202e}x\n");
    }

    #[test]
    fn an_error_brings_its_causes() {
        let inner = std::io::Error::other("no room");
        let Failure::Told(told) = Failure::io("it cannot be written", &inner) else {
            panic!("an I/O error is told")
        };
        assert_eq!(told.causes, ["no room"]);
        assert!(matches!(
            Failure::output(&std::io::ErrorKind::BrokenPipe.into()),
            Failure::BrokenPipe
        ));
    }
}
