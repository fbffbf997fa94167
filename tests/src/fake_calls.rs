//! The calls and the faults that the fakes of agents in their own terminal interfaces share.

use std::process::{Command, Stdio};

use serde_json::Value;

/// The shell line of the fakes. A second execution adds a second line to the file.
pub const LINE: &str = "echo made >> made.txt";

/// The shell line for a prompt: with a comment of 100 KiB for `large`, and of 1 MiB for `huge`.
pub fn line(prompt: &str) -> String {
    let has = |word: &str| prompt.contains(word);
    let length = match (has("huge"), has("large")) {
        (true, _) => 1 << 20,
        (false, true) => 100 << 10,
        (false, false) => return LINE.to_owned(),
    };
    format!("{LINE} #{}", "x".repeat(length))
}

/// Executes a shell line.
///
/// # Panics
/// When it fails.
pub fn run(line: &str) {
    let ran = Command::new("/bin/sh").args(["-c", line]).status();
    assert!(ran.is_ok_and(|status| status.success()));
}

/// Leaves a process behind, in a session of its own, which ignores SIGHUP and SIGTERM.
///
/// # Panics
/// When it cannot be started.
#[expect(clippy::zombie_processes, reason = "the fake exits before its child")]
pub fn leave_process() {
    let sleeper = "trap '' HUP TERM; sleep 600 & wait";
    let left = Command::new("setsid")
        .args(["sh", "-c", sleeper])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    left.expect("the process starts");
}

/// Removes the field that this variable names from a message: another version can have another field.
pub fn without_field(variable: &str, message: &mut Value) {
    if let Ok(field) = std::env::var(variable) {
        remove(&field, message);
    }
}

fn remove(field: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove(field);
            fields.values_mut().for_each(|value| remove(field, value));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| remove(field, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
