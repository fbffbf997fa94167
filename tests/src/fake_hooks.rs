//! The hooks of fakes of Claude Code and Qwen Code: shell lines of their settings.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The exit code and the output of a hook.
#[derive(Debug, Default)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The output of the hook. Null if the output is not JSON.
    pub fn decision(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }
}

/// The hooks of an event in the settings.
pub fn of<'a>(settings: &'a Value, event: &str) -> impl Iterator<Item = &'a Value> {
    let groups = settings["hooks"][event].as_array().into_iter().flatten();
    let groups = groups.map(|group| group["hooks"].as_array());
    groups.flatten().flatten()
}

/// Starts a hook.
///
/// # Panics
/// When there is no shell.
pub fn start(hook: &Value, input: &Value) -> Child {
    // With `exec`, the hook program replaces the shell, so that a kill of the child kills the hook.
    let command = format!("exec {}", hook["command"].as_str().expect("a command"));
    let mut child = Command::new("/bin/sh")
        .args(["-c", &command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A hook that cannot reach its worker may end before it has read everything.
    let _ended = stdin.write_all(input.to_string().as_bytes());
    child
}

/// Waits for the end of a hook.
///
/// # Panics
/// When its output is not UTF-8.
pub fn wait(hook: Child) -> Ended {
    let output = hook.wait_with_output().expect("an output");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
