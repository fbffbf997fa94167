//! A run of a verb: its result, or its output while it runs in the background. Created by the rig.

use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::within;

/// The result of a verb.
#[derive(Debug, Clone)]
pub struct Output {
    pub verb: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// # Panics
    /// When the exit code differs.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.verb, self.stdout, self.stderr
        );
        self
    }

    /// The document of `--json`.
    ///
    /// # Panics
    /// When stdout is not one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        parsed(&self.stdout, &self.verb)
    }

    /// The error object that a failed verb prints with `--json`.
    ///
    /// # Panics
    /// When stderr is not one JSON document.
    #[track_caller]
    pub fn error(&self) -> Value {
        parsed(&self.stderr, &self.verb)["error"].clone()
    }

    /// # Panics
    /// When the verb did not print this text on stdout or stderr.
    #[track_caller]
    pub fn assert_prints(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{} does not print {text:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.verb,
            self.stdout,
            self.stderr
        );
        self
    }
}

#[track_caller]
fn parsed(text: &str, verb: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("{verb} printed no JSON document ({error}): {text}"),
    }
}

/// A running verb. Killed on drop.
#[derive(Debug)]
pub struct Running {
    verb: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command, verb: String) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("stdout is piped");
        Self {
            verb,
            child,
            stdout: BufReader::new(stdout).lines(),
        }
    }

    /// The next line that the verb prints on stdout.
    pub async fn line(&mut self) -> String {
        let line = within(&self.verb, self.stdout.next_line()).await;
        line.expect("the output of a verb is text")
            .unwrap_or_else(|| panic!("{} ended", self.verb))
    }

    /// The next line that contains `text`.
    pub async fn line_with(&mut self, text: &str) -> String {
        loop {
            let line = self.line().await;
            if line.contains(text) {
                return line;
            }
        }
    }

    pub async fn wait(&mut self) -> ExitStatus {
        within(&self.verb, self.child.wait())
            .await
            .expect("an exit status")
    }

    /// The pid of the verb's process.
    pub fn pid(&self) -> u64 {
        self.child.id().expect("the verb runs").into()
    }
}

/// Runs a command and waits for its exit.
pub(crate) async fn run(mut command: Command, verb: String, input: &[u8]) -> Output {
    use tokio::io::AsyncWriteExt;

    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let feed = async {
        // The write fails if the verb exits without reading its input.
        let _unread = stdin.write_all(input).await;
        drop(stdin);
    };
    let (output, ()) = within(&verb, async {
        tokio::join!(child.wait_with_output(), feed)
    })
    .await;
    let output = output.expect("the verb's output");
    Output {
        verb,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("the output of a verb is text"),
        stderr: String::from_utf8(output.stderr).expect("the errors of a verb are text"),
    }
}
