//! Calling tmux: the only place that builds its command lines, and the only one that reads its errors.
//!
//! The builder stands on `tmux_interface`'s raw command. Its typed commands are passed by: they take a program as one
//! string for a shell instead of as words, and keep only the last of several `-e`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agent_team_protocol::text::visible_label;
use agent_team_system::private_file;
use tmux_interface::TmuxCommand;

/// How long a call may take. A client of another version than its server can hang for ever.
const LIMIT: Duration = Duration::from_secs(5);

/// Columns of a border's label.
const LABEL_COLUMNS: usize = 80;

/// What our own server goes by. The user's configuration is not read there.
const CONFIGURATION: &str = r##"# Written by agent-team; changes are overwritten.
set -g default-terminal "tmux-256color"
set -g history-limit 5000
set -g remain-on-exit on
set -g mouse on
set -g focus-events on
set -g allow-rename off
set -g automatic-rename off
set -g set-clipboard off
set -g status-left "#[bold] agent-team #[default]"
set -g status-left-length 20
set -g status-right " detach: C-b d "
set -s escape-time 10
set -s exit-empty on
set -gq allow-passthrough off
set -sq extended-keys on
"##;

/// What went wrong with a call, by tmux's own words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TmuxError {
    #[error("there is no tmux server ({0})")]
    NoServer(String),
    #[error("the pane or window is gone ({0})")]
    Gone(String),
    #[error("there is no room for another pane ({0})")]
    NoSpace(String),
    #[error("tmux did not answer within {} s", LIMIT.as_secs())]
    TimedOut,
    #[error("tmux and its running server do not fit together ({0}): was tmux upgraded under it?")]
    Skew(String),
    #[error("tmux refused: {0}")]
    Refused(String),
    #[error("tmux cannot be run")]
    Io(#[source] io::Error),
    #[error("tmux answered strangely: {0}")]
    Strange(String),
}

impl TmuxError {
    fn of(stderr: &str) -> Self {
        let text = stderr.trim().to_owned();
        let says = |any: &[&str]| any.iter().any(|words| text.contains(words));
        if says(&["no server running", "error connecting"]) {
            Self::NoServer(text)
        } else if says(&[
            "can't find",
            "no such pane",
            "no such window",
            "no such session",
        ]) {
            Self::Gone(text)
        } else if says(&["no space"]) {
            Self::NoSpace(text)
        } else if says(&[
            "server exited unexpectedly",
            "lost server",
            "protocol version mismatch",
        ]) {
            Self::Skew(text)
        } else {
            Self::Refused(text)
        }
    }
}

/// One command of tmux, its words safe from being read as anything else.
#[derive(Debug, Clone)]
pub(super) struct Command(TmuxCommand<'static>);

impl Command {
    pub(super) fn new(name: &'static str) -> Self {
        let mut command = TmuxCommand::new();
        command.name(name);
        Self(command)
    }

    pub(super) fn flag(mut self, flag: &'static str) -> Self {
        self.0.push_flag(flag);
        self
    }

    pub(super) fn option(mut self, flag: &'static str, value: &str) -> Self {
        self.0.push_option(flag, word(value));
        self
    }

    /// Prints what it made, in this format.
    pub(super) fn print(self, format: &'static str) -> Self {
        self.flag("-P").option("-F", format)
    }

    pub(super) fn word(mut self, value: &str) -> Self {
        self.0.push_param(word(value));
        self
    }

    pub(super) fn words<'a>(self, values: impl IntoIterator<Item = &'a str>) -> Self {
        values.into_iter().fold(self, Self::word)
    }

    /// A program and its arguments: at least two words, so that no shell reads them.
    pub(super) fn argv(self, argv: &[String]) -> Self {
        debug_assert!(argv.len() >= 2, "a single word is a shell's");
        argv.iter()
            .fold(self.word("--"), |command, argument| command.word(argument))
    }

    fn to_words(&self) -> Vec<String> {
        self.0
            .to_vec()
            .into_iter()
            .map(|word| word.into_owned())
            .collect()
    }
}

/// A word that ends in `;` would end the command there.
fn word(text: &str) -> String {
    match text.strip_suffix(';') {
        Some(start) => format!("{start}\\;"),
        None => text.to_owned(),
    }
}

/// A name where tmux expands formats: `#(…)` in it would start a shell.
pub(super) fn formatted(text: &str) -> String {
    text.replace('#', "##")
}

/// A label's text as an option's value: shown with `#{@…}`, which draws styles but expands nothing.
pub(super) fn label_text(text: &str) -> String {
    visible_label(text, LABEL_COLUMNS).replace("#[", "#\u{2009}[")
}

/// Commands in calls that tmux takes.
pub(super) fn batches(commands: Vec<Command>, bytes_max: usize) -> Vec<Vec<Command>> {
    let (mut batches, mut bytes) = (Vec::new(), usize::MAX);
    for command in commands {
        let size: usize = command.to_words().iter().map(|word| word.len() + 1).sum();
        if bytes.saturating_add(size) > bytes_max {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = batches.last_mut() {
            batch.push(command);
        }
    }
    batches
}

/// One tmux server, through the client that is installed.
#[derive(Debug, Clone)]
pub(crate) struct Tmux {
    binary: PathBuf,
    socket: PathBuf,
    /// Of our own server; the user's has its own.
    configuration: Option<PathBuf>,
}

impl Tmux {
    pub(crate) fn new(binary: PathBuf, socket: PathBuf, configuration: Option<PathBuf>) -> Self {
        Self {
            binary,
            socket,
            configuration,
        }
    }

    /// What `tmux -V` says.
    pub(crate) async fn version(binary: &Path) -> Result<String, TmuxError> {
        match output(binary, &["-V".to_owned()]).await {
            (said, None) => Ok(said.trim().to_owned()),
            (_, Some(error)) => Err(error),
        }
    }

    /// The session that a pane is in, by id.
    pub(crate) async fn session_of(&self, pane: &str) -> Result<String, TmuxError> {
        let show = Command::new("display-message")
            .flag("-p")
            .option("-t", pane)
            .word("#{session_id}");
        let id = self.run(&[show]).await?.trim().to_owned();
        if id.starts_with('$') {
            Ok(id)
        } else {
            Err(TmuxError::Strange(format!("{id:?} is no session")))
        }
    }

    pub(super) fn write_configuration(&self) -> io::Result<()> {
        match &self.configuration {
            Some(file) => private_file::replace(file, CONFIGURATION.as_bytes()),
            None => Ok(()),
        }
    }

    /// The next server gets a new one.
    pub(super) fn remove_configuration(&self) {
        if let Some(file) = &self.configuration
            && let Err(error) = private_file::discard(file)
        {
            tracing::warn!(%error, "the configuration of tmux stays behind");
        }
    }

    /// Runs the commands in one call; gives what they print. The first that fails ends it.
    pub(super) async fn run(&self, commands: &[Command]) -> Result<String, TmuxError> {
        match self.run_on(commands).await {
            (printed, None) => Ok(printed),
            (_, Some(error)) => Err(error),
        }
    }

    /// [`run`](Self::run) that also gives what was printed before a command failed.
    pub(super) async fn run_on(&self, commands: &[Command]) -> (String, Option<TmuxError>) {
        output(&self.binary, &self.arguments(commands)).await
    }

    /// The same call as words to be run by somebody with a terminal.
    pub(super) fn argv(&self, commands: &[Command]) -> Vec<String> {
        std::iter::once(self.binary.to_string_lossy().into_owned())
            .chain(self.arguments(commands))
            .collect()
    }

    fn arguments(&self, commands: &[Command]) -> Vec<String> {
        let mut arguments = vec!["-S".to_owned(), self.socket.to_string_lossy().into_owned()];
        if let Some(file) = &self.configuration {
            arguments.extend(["-f".to_owned(), file.to_string_lossy().into_owned()]);
        }
        for (n, command) in commands.iter().enumerate() {
            if n > 0 {
                arguments.push(";".to_owned());
            }
            arguments.extend(command.to_words());
        }
        arguments
    }
}

async fn output(binary: &Path, arguments: &[String]) -> (String, Option<TmuxError>) {
    let child = tokio::process::Command::new(binary)
        .args(arguments)
        .current_dir("/")
        .env_remove("TMUX")
        .env_remove("TMUX_PANE")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(LIMIT, child).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return (String::new(), Some(TmuxError::Io(error))),
        Err(_elapsed) => return (String::new(), Some(TmuxError::TimedOut)),
    };
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed =
        (!output.status.success()).then(|| TmuxError::of(&String::from_utf8_lossy(&output.stderr)));
    (printed, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_can_end_its_command() {
        let words = Command::new("set-option")
            .words(["@x", "a;", "b\\;", ";", "c;d"])
            .to_words();
        assert_eq!(words, ["set-option", "@x", "a\\;", "b\\\\;", "\\;", "c;d"]);
    }

    #[test]
    fn a_label_draws_no_styles_and_no_escapes() {
        let label = label_text("#[fg=red]x\u{1b}[2J\n");
        assert!(
            !label.contains("#[") && !label.contains('\u{1b}') && !label.contains('\n'),
            "{label}"
        );
        assert_eq!(formatted("#(touch x)"), "##(touch x)");
    }

    #[test]
    fn errors_are_told_apart_by_what_tmux_says() {
        assert!(matches!(
            TmuxError::of("no server running on /x"),
            TmuxError::NoServer(_)
        ));
        assert!(matches!(
            TmuxError::of("can't find pane: %3"),
            TmuxError::Gone(_)
        ));
        assert!(matches!(
            TmuxError::of("no space for new pane"),
            TmuxError::NoSpace(_)
        ));
        assert!(matches!(
            TmuxError::of("server exited unexpectedly"),
            TmuxError::Skew(_)
        ));
        assert!(matches!(
            TmuxError::of("unknown flag -Q"),
            TmuxError::Refused(_)
        ));
    }

    #[test]
    fn batches_stay_below_their_limit() {
        let commands: Vec<Command> = (0..10)
            .map(|_| Command::new("set-option").word(&"x".repeat(100)))
            .collect();
        let batches = batches(commands, 300);
        assert!(
            batches.iter().all(|batch| (1..=2).contains(&batch.len())),
            "{}",
            batches.len()
        );
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 10);
    }
}
