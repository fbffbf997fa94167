//! Calling tmux: the only place that builds its command lines and reads its errors. Called by everything in
//! [`super`], and by [`crate::launch::place`] for its probes.
//!
//! A call is a list of commands joined by `;` that the server runs without anything in between, up to the first that
//! fails. The builder stands on `tmux_interface`'s raw [`TmuxCommand`]. Its typed commands are passed by: they take a
//! program as one string for a shell instead of as words, keep only the last of several `-e`, run synchronously, and
//! escape no word that ends in `;`.
//!
//! No word that tmux expands as a format (`-c`, `-n`, `-s`, `-F`) is made from anybody's text: names there are ids of
//! ours. People's text goes into option values only, which nothing expands.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use agent_team_protocol::text::visible_label;
use agent_team_system::daemon::is_neutral;
use agent_team_system::descriptors::lower_limit_of;
use tmux_interface::TmuxCommand;

use super::server::OwnFiles;

/// How long a call may take. A client of another version than its server can hang for ever.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Bytes of one call, at most: tmux takes 16 KiB.
pub(super) const CALL_MAX: usize = 12 << 10;

/// Characters of a border's label.
const LABEL_CHARACTERS: usize = 80;

/// What went wrong with a call, by tmux's own words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TmuxError {
    #[error("there is no tmux server ({0})")]
    NoServer(String),
    #[error("the pane, window or session is gone ({0})")]
    Gone(String),
    #[error("there is no room for another pane ({0})")]
    NoSpace(String),
    #[error("a command line is too long for tmux ({0})")]
    TooLong(String),
    #[error("there is such a session already ({0})")]
    Duplicate(String),
    #[error("tmux and its running server do not fit together ({0}): was tmux upgraded under it?")]
    Skew(String),
    #[error("tmux did not answer within {} s", LIMIT.as_secs())]
    TimedOut,
    #[error("tmux refused: {0}")]
    Refused(String),
    #[error("tmux answered strangely: {0}")]
    Strange(String),
    #[error("{} is not UTF-8, which tmux needs", .0.display())]
    NotText(PathBuf),
    #[error("tmux cannot be run: {0}")]
    Io(#[from] io::Error),
}

impl TmuxError {
    fn of(stderr: &str) -> Self {
        let text = stderr.trim().to_owned();
        let says = |any: &[&str]| any.iter().any(|words| text.contains(words));
        if says(&["Permission denied"]) {
            Self::Refused(text)
        } else if says(&["no server running", "error connecting", "no current target"]) {
            // The last: it has lost its last session, and waits for a client to go before it ends.
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
        } else if says(&["command too long", "failed to send command"]) {
            Self::TooLong(text)
        } else if says(&["duplicate session"]) {
            Self::Duplicate(text)
        } else if says(&["server exited", "lost server", "protocol version mismatch"]) {
            Self::Skew(text)
        } else {
            Self::Refused(text)
        }
    }

    /// Whether what was known of the server is out of date. A server that just ends looks like [`Self::Skew`].
    pub(super) fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::NoServer(_) | Self::Gone(_) | Self::Duplicate(_) | Self::Skew(_)
        )
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

    /// Sets an option; `flags` say of what kind. `target` is `None` for what the command before it in the call made.
    pub(super) fn set(flags: &'static str, target: Option<&str>, name: &str, value: &str) -> Self {
        let set = Self::new("set-option").flag(flags);
        let set = match target {
            Some(target) => set.option("-t", target),
            None => set,
        };
        // The dashes: a value may begin with one.
        set.flag("--").word(name).word(value)
    }

    pub(super) fn flag(mut self, flag: &'static str) -> Self {
        self.0.push_flag(flag);
        self
    }

    pub(super) fn option(mut self, flag: &'static str, value: &str) -> Self {
        self.0.push_option(flag, escaped(value));
        self
    }

    pub(super) fn word(mut self, value: &str) -> Self {
        self.0.push_param(escaped(value));
        self
    }

    /// A program and its arguments: at least two words, so that no shell reads them.
    pub(super) fn program(self, argv: &[String]) -> Self {
        debug_assert!(argv.len() >= 2, "a single word is a shell's");
        argv.iter()
            .fold(self.flag("--"), |command, argument| command.word(argument))
    }

    fn words(&self) -> impl Iterator<Item = String> {
        self.0.to_vec().into_iter().map(|word| word.into_owned())
    }
}

/// A word that ends in `;` would end its command.
fn escaped(text: &str) -> String {
    match text.strip_suffix(';') {
        Some(start) => format!("{start}\\;"),
        None => text.to_owned(),
    }
}

/// Bytes that the commands take in a call.
pub(super) fn bytes(commands: &[Command]) -> usize {
    commands
        .iter()
        .flat_map(Command::words)
        .map(|word| word.len() + 1)
        .sum::<usize>()
        + 2 * commands.len()
}

/// The same commands in as few calls as tmux takes them in.
pub(super) fn calls(commands: Vec<Command>) -> Vec<Vec<Command>> {
    let mut calls: Vec<Vec<Command>> = Vec::new();
    for command in commands {
        match calls.last_mut() {
            Some(call) if bytes(call) + bytes(std::slice::from_ref(&command)) <= CALL_MAX => {
                call.push(command)
            }
            _ => calls.push(vec![command]),
        }
    }
    calls
}

/// A label as an option's value: `#{@…}` expands nothing in it, but would draw its `#[…]` as styles.
pub(super) fn label_text(text: &str) -> String {
    let mut safe = String::new();
    for c in visible_label(text, LABEL_CHARACTERS).chars() {
        if c == '[' && safe.ends_with('#') {
            safe.push(' ');
        }
        safe.push(c);
    }
    safe
}

/// A path as a word of a call.
pub(super) fn path_text(path: &Path) -> Result<&str, TmuxError> {
    path.to_str()
        .ok_or_else(|| TmuxError::NotText(path.to_owned()))
}

/// One tmux server, through the client that is installed.
#[derive(Debug, Clone)]
pub(crate) struct Tmux {
    binary: PathBuf,
    pub(super) socket: PathBuf,
    /// `None`: calls for the user's server, which we never start.
    pub(super) own: Option<OwnFiles>,
}

impl Tmux {
    pub(super) fn new(binary: PathBuf, socket: PathBuf, own: Option<OwnFiles>) -> Self {
        Self {
            binary,
            socket,
            own,
        }
    }

    /// A server of the user's.
    pub(crate) fn of_user(binary: PathBuf, socket: PathBuf) -> Self {
        Self::new(binary, socket, None)
    }

    /// What `tmux -V` says.
    pub(crate) async fn version(binary: &Path) -> Result<String, TmuxError> {
        let (said, outcome) = output(tokio::process::Command::new(binary).arg("-V")).await;
        outcome.map(|()| said.trim().to_owned())
    }

    /// What a format gives for a pane or a session, by its id.
    pub(crate) async fn show(&self, target: &str, format: &str) -> Result<String, TmuxError> {
        let show = Command::new("display-message")
            .flag("-p")
            .option("-t", target)
            .word(format);
        Ok(self.run(&[show]).await?.trim_end_matches('\n').to_owned())
    }

    /// Makes the call; gives what it printed.
    pub(super) async fn run(&self, commands: &[Command]) -> Result<String, TmuxError> {
        let (printed, outcome) = self.run_partly(commands).await;
        outcome.map(|()| printed)
    }

    /// Makes the call; gives what it printed before it failed, if it did.
    pub(super) async fn run_partly(&self, commands: &[Command]) -> (String, Result<(), TmuxError>) {
        let mut client = tokio::process::Command::new(&self.binary);
        // Without UTF-8, which a bare environment does not promise, tmux prints our tabs as underscores.
        client.arg("-u").arg("-S").arg(&self.socket);
        if let Some(files) = &self.own {
            client.arg("-f").arg(&files.configuration);
        }
        output(client.args(joined(commands))).await
    }

    /// The same call as words to be run by somebody with a terminal.
    pub(super) fn argv(&self, commands: &[Command]) -> Result<Vec<String>, TmuxError> {
        let server = [path_text(&self.binary)?, "-S", path_text(&self.socket)?];
        Ok(server
            .into_iter()
            .map(str::to_owned)
            .chain(joined(commands))
            .collect())
    }
}

fn joined(commands: &[Command]) -> Vec<String> {
    let mut words = Vec::new();
    for command in commands {
        if !words.is_empty() {
            words.push(";".to_owned());
        }
        words.extend(command.words());
    }
    words
}

/// Runs a client of tmux. Its working directory becomes that of the server it may start, which must never vanish.
async fn output(client: &mut tokio::process::Command) -> (String, Result<(), TmuxError>) {
    // A server that this starts hands its environment to all its panes for as long as it runs, so it is neither a
    // team's nor that of whoever happened to start the supervisor.
    let kept = std::env::vars_os().filter(|(name, _)| is_neutral(name));
    client
        .env_clear()
        .envs(kept)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let run = async {
        let child = client.spawn()?;
        // A server that this starts hands the limit to its panes.
        if let Some(pid) = child.id() {
            lower_limit_of(pid);
        }
        child.wait_with_output().await
    };
    let began = Instant::now();
    let ran = tokio::time::timeout(LIMIT, run).await;
    let took = began.elapsed();
    tracing::debug!(
        ?took,
        ok = matches!(&ran, Ok(Ok(output)) if output.status.success()),
        "called tmux"
    );
    match ran {
        Ok(Ok(output)) => {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            let failed = || TmuxError::of(&String::from_utf8_lossy(&output.stderr));
            (
                printed,
                output.status.success().then_some(()).ok_or_else(failed),
            )
        }
        Ok(Err(error)) => (String::new(), Err(error.into())),
        Err(_elapsed) => (String::new(), Err(TmuxError::TimedOut)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_can_end_its_command() {
        let words = |value: &str| joined(&[Command::set("-p", None, "@x", value)]);
        let tail = |value: &str| words(value).pop();
        assert_eq!(words("a"), ["set-option", "-p", "--", "@x", "a"]);
        assert_eq!(tail("a;").as_deref(), Some("a\\;"));
        assert_eq!(tail("b\\;").as_deref(), Some("b\\\\;"));
        assert_eq!(tail(";").as_deref(), Some("\\;"));
        assert_eq!(tail("c;d").as_deref(), Some("c;d"));
    }

    #[test]
    fn a_label_draws_no_styles_and_no_escapes() {
        for hostile in ["#[fg=red]x\u{1b}[2J\n", "##[[bold]", "#[#[", "#\u{202e}["] {
            let label = label_text(hostile);
            assert!(!label.contains("#["), "{label}");
            assert!(!label.contains(['\u{1b}', '\n', '\u{202e}']), "{label}");
        }
        assert_eq!(
            label_text(&"x".repeat(200)).chars().count(),
            LABEL_CHARACTERS
        );
    }

    #[test]
    fn errors_are_told_apart_by_what_tmux_says() {
        assert!(matches!(
            TmuxError::of("no server running on /x\n"),
            TmuxError::NoServer(_)
        ));
        assert!(matches!(
            TmuxError::of("error connecting to /x (No such file)"),
            TmuxError::NoServer(_)
        ));
        assert!(matches!(
            TmuxError::of("error connecting to /x (Permission denied)"),
            TmuxError::Refused(_)
        ));
        assert!(matches!(
            TmuxError::of("can't find pane: %3"),
            TmuxError::Gone(_)
        ));
        assert!(matches!(
            TmuxError::of("no current target"),
            TmuxError::NoServer(_)
        ));
        assert!(matches!(
            TmuxError::of("create pane failed: no space for new pane"),
            TmuxError::NoSpace(_)
        ));
        assert!(matches!(
            TmuxError::of("size or position no space for a new pane"),
            TmuxError::NoSpace(_)
        ));
        assert!(matches!(
            TmuxError::of("command too long"),
            TmuxError::TooLong(_)
        ));
        assert!(matches!(
            TmuxError::of("duplicate session: a"),
            TmuxError::Duplicate(_)
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
    fn a_call_is_never_longer_than_tmux_takes() {
        let commands = vec![Command::set("-p", Some("%1"), "@x", &"x".repeat(1000)); 30];
        let calls = calls(commands);
        assert!(calls.len() > 1);
        assert!(calls.iter().all(|call| bytes(call) <= CALL_MAX));
        assert_eq!(calls.iter().map(Vec::len).sum::<usize>(), 30);
    }
}
