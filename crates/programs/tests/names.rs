//! The name of the file selects the program.
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NAMES: [&str; 4] = [
    "agent-team",
    "agent-teamd",
    "agent-teammate",
    "agent-teammate-native",
];

/// Links this name, in this directory, to the file of all programs.
fn named(directory: &Path, name: &str) -> PathBuf {
    let file = env!("CARGO_BIN_EXE_agent-team-programs");
    let to = directory.join(name);
    // The temporary directory can be on another file system.
    fs::hard_link(file, &to)
        .or_else(|_| fs::copy(file, &to).map(drop))
        .unwrap();
    to
}

fn version(mut program: Command) -> String {
    let output = program.arg("--version").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn expected(name: &str) -> String {
    format!("{name} {}\n", env!("CARGO_PKG_VERSION"))
}

fn assert_unknown(name: &str, output: &Output) {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    let names = "agent-team, agent-teamd, agent-teammate and agent-teammate-native";
    let expected = format!("error: cannot run {name}: the names of this program are {names}\n");
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn each_name_runs_its_program() {
    let directory = tempfile::tempdir().unwrap();
    for name in NAMES {
        let program = named(directory.path(), name);
        assert_eq!(version(Command::new(program)), expected(name));
    }
}

#[test]
fn a_symbolic_link_runs_the_program_of_its_own_name() {
    let directory = tempfile::tempdir().unwrap();
    let program = named(directory.path(), "agent-teammate");
    let link = directory.path().join("agent-teamd");
    symlink(program, &link).unwrap();
    assert_eq!(version(Command::new(link)), expected("agent-teamd"));
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_names() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Command::new(named(directory.path(), "at"));
    assert_unknown("at", &program.arg("--version").output().unwrap());
    // The name is untrusted text on a terminal.
    program.arg0("\u{1b}[31mat");
    let error = program.output().unwrap().stderr;
    assert!(!error.contains(&0x1b), "{error:?}");
}

#[test]
fn a_process_without_a_name_is_agent_team() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Command::new(named(directory.path(), "agent-teamd"));
    program.arg0("");
    assert_eq!(version(program), expected("agent-team"));
}
