//! Runs tmux commands. The only file that builds tmux command lines and parses tmux errors. Called by the other files
//! of this backend.
//!
//! A call is a list of commands joined by `;`. The server runs them without interruption until a command fails.
//! [`Command`] is the only builder of a command, so that each word is escaped once.
//!
//! Words that tmux expands as formats (`-c`, `-n`, `-s`, `-F`) contain only formats of this backend, ids, and names of
//! teams and members. Such names contain no characters that are special in a format. Other text from users or models is
//! passed only in option values, which tmux does not expand.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use agent_team_protocol::text::visible_label;
use agent_team_system::descriptors::lower_limit_of;
use agent_team_system::inherited_env::is_inherited;

/// Time limit of a call. A client can hang for ever if its server has a different version.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// Maximum bytes of one call. tmux accepts 16 KiB per message.
pub(super) const CALL_MAX: usize = 12 << 10;

/// Maximum characters of a border's label.
const LABEL_CHARACTERS: usize = 80;

/// Errors of a call, classified by tmux's message.
#[derive(Debug, thiserror::Error)]
pub(super) enum TmuxError {
    #[error("no tmux server is running ({0})")]
    NoServer(String),
    #[error("the pane, window or session is gone ({0})")]
    Gone(String),
    #[error("no room for another pane ({0})")]
    NoSpace(String),
    #[error("the command line is too long for tmux ({0})")]
    TooLong(String),
    #[error("the session exists already ({0})")]
    Duplicate(String),
    #[error(
        "tmux and its running server have different versions ({0}): was tmux upgraded while it was running?"
    )]
    Skew(String),
    #[error("tmux did not answer within {} s", LIMIT.as_secs())]
    TimedOut,
    #[error("tmux refused: {0}")]
    Refused(String),
    #[error("unexpected output of tmux: {0}")]
    Unexpected(String),
    #[error("cannot pass {} to tmux: not UTF-8", .0.display())]
    NotText(PathBuf),
    #[error("cannot run tmux: {0}")]
    Io(#[from] io::Error),
}

impl TmuxError {
    fn of(stderr: &str) -> Self {
        let text = stderr.trim().to_owned();
        let contains = |any: &[&str]| any.iter().any(|words| text.contains(words));
        if contains(&["Permission denied"]) {
            Self::Refused(text)
        } else if contains(&["no server running", "error connecting", "no current target"]) {
            // tmux reports "no current target" when the server has lost its last session and waits for a client to
            // disconnect before it exits.
            Self::NoServer(text)
        } else if contains(&[
            "can't find",
            "no such pane",
            "no such window",
            "no such session",
        ]) {
            Self::Gone(text)
        } else if contains(&["no space"]) {
            Self::NoSpace(text)
        } else if contains(&["command too long", "failed to send command"]) {
            Self::TooLong(text)
        } else if contains(&["duplicate session"]) {
            Self::Duplicate(text)
        } else if contains(&["server exited", "lost server", "protocol version mismatch"]) {
            Self::Skew(text)
        } else {
            Self::Refused(text)
        }
    }

    /// Whether the cached list of panes is outdated. [`Self::Skew`] is included, because a server that is just exiting
    /// causes the same messages.
    pub(super) fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::NoServer(_) | Self::Gone(_) | Self::Duplicate(_) | Self::Skew(_)
        )
    }
}

/// One tmux command: its words, escaped.
#[derive(Debug, Clone)]
pub(super) struct Command(Vec<String>);

impl Command {
    pub(super) fn of(words: &[&str]) -> Self {
        Self(Vec::new()).with(words)
    }

    pub(super) fn with(mut self, words: &[&str]) -> Self {
        self.0.extend(words.iter().map(|word| escaped(word)));
        self
    }

    /// Sets an option of the kind given by `flags`. `target` is `None` for the object created by the preceding
    /// command of the call.
    pub(super) fn set(flags: &str, target: Option<&str>, name: &str, value: &str) -> Self {
        let set = Self::of(&["set-option", flags]);
        let set = match target {
            Some(target) => set.with(&["-t", target]),
            None => set,
        };
        // `--`: a value may begin with a dash.
        set.with(&["--", name, value])
    }

    /// Adds a program and its arguments. tmux passes a single word to a shell, and runs two or more words directly.
    pub(super) fn program(self, argv: &[String]) -> Self {
        debug_assert!(argv.len() >= 2, "tmux passes a single word to a shell");
        let argv = argv.iter().map(String::as_str);
        self.with(&["--"]).with(&argv.collect::<Vec<_>>())
    }
}

/// Escapes a trailing `;`: tmux treats a word that ends in `;` as the end of the command.
fn escaped(text: &str) -> String {
    match text.strip_suffix(';') {
        Some(start) => format!("{start}\\;"),
        None => text.to_owned(),
    }
}

/// Bytes of the commands in a call.
pub(super) fn bytes(commands: &[Command]) -> usize {
    commands
        .iter()
        .flat_map(|command| &command.0)
        .map(|word| word.len() + 1)
        .sum::<usize>()
        + 2 * commands.len()
}

/// Distributes commands over as few calls as tmux accepts.
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

/// A label as the value of an option. `#{@…}` inserts the value without expanding it, but tmux then interprets `#[…]`
/// in it as styles.
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

/// One tmux server, reached through the installed client.
#[derive(Debug, Clone)]
pub(super) struct Tmux {
    binary: PathBuf,
    pub(super) socket: PathBuf,
    /// The configuration file of agent-team's server, which a call may start. `None` for the user's server, which no
    /// call starts.
    configuration: Option<PathBuf>,
}

impl Tmux {
    pub(super) fn new(binary: PathBuf, socket: PathBuf, configuration: Option<PathBuf>) -> Self {
        Self {
            binary,
            socket,
            configuration,
        }
    }

    /// The output of `tmux -V`.
    pub(super) async fn version(binary: &Path) -> Result<String, TmuxError> {
        let (printed, outcome) = output(tokio::process::Command::new(binary).arg("-V")).await;
        outcome.map(|()| printed.trim().to_owned())
    }

    /// Expands a format for a pane or a session, by its id.
    pub(super) async fn show(&self, target: &str, format: &str) -> Result<String, TmuxError> {
        let show = Command::of(&["display-message", "-p", "-t", target, format]);
        Ok(self.run(&[show]).await?.trim_end_matches('\n').to_owned())
    }

    /// Runs the call and returns its output.
    pub(super) async fn run(&self, commands: &[Command]) -> Result<String, TmuxError> {
        let (printed, outcome) = self.run_partly(commands).await;
        outcome.map(|()| printed)
    }

    /// Runs the call and returns its output, including what was printed before a failure.
    pub(super) async fn run_partly(&self, commands: &[Command]) -> (String, Result<(), TmuxError>) {
        let mut client = tokio::process::Command::new(&self.binary);
        // `-u` announces UTF-8, because a minimal environment does not. Without UTF-8, tmux prints tabs as underscores.
        client.arg("-u").arg("-S").arg(&self.socket);
        if let Some(configuration) = &self.configuration {
            client.arg("-f").arg(configuration);
        }
        output(client.args(joined(commands))).await
    }

    /// The argv with which a caller makes the call in its own terminal.
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
        words.extend_from_slice(&command.0);
    }
    words
}

/// Runs a tmux client. If it starts a server, the server inherits the working directory, which therefore must never
/// be removed.
async fn output(client: &mut tokio::process::Command) -> (String, Result<(), TmuxError>) {
    // A server that this client starts keeps the client's environment, and passes it to all panes. So this environment
    // contains neither variables of one team nor those of the process that happened to start the supervisor.
    let kept = std::env::vars_os().filter(|(name, _)| is_inherited(name));
    client
        .env_clear()
        .envs(kept)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A server started by this client passes the limit of open files on to its panes.
    lower_limit_of(client.as_std_mut());
    let run = async { client.spawn()?.wait_with_output().await };
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
    fn words_cannot_end_their_command() {
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
    fn errors_are_classified_by_tmux_messages() {
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
    fn calls_stay_within_the_limit_of_tmux() {
        let commands = vec![Command::set("-p", Some("%1"), "@x", &"x".repeat(1000)); 30];
        let calls = calls(commands);
        assert!(calls.len() > 1);
        assert!(calls.iter().all(|call| bytes(call) <= CALL_MAX));
        assert_eq!(calls.iter().map(Vec::len).sum::<usize>(), 30);
    }
}
