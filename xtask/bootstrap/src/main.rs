//! The program behind the alias `cargo xtask`: builds `agent-team-xtask` and replaces itself with it.
//!
//! This program has no dependencies, so that cargo builds it in a second. It can therefore announce the first build of
//! `agent-team-xtask` before that build begins. Cargo shows the progress of the first build; later builds are quiet.
#![expect(clippy::print_stderr, reason = "this program announces builds")]

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

const PROGRAM: &str = "agent-team-xtask";

const DEMO: &str = "\
── demo: builds agent-team, then runs a team of recorded agents on a sample project
   the first build takes about 5 minutes on two cores; later ones take seconds";

const FIRST: &str =
    "── the first run builds the commands of this project: about a minute on two cores";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let executable = match env::current_exe() {
        Ok(path) => path,
        Err(error) => return failure(&format!("cannot find this executable: {error}")),
    };
    let program = executable.with_file_name(PROGRAM);
    let is_first = !program.exists();
    if let Some(announcement) = announcement(&arguments, is_first) {
        eprintln!("{announcement}");
    }
    let mut build = build_command();
    if !is_first {
        build.arg("--quiet");
    }
    match build.status() {
        Ok(status) if status.success() => {}
        Ok(_) => return ExitCode::FAILURE,
        Err(error) => return failure(&format!("cannot start cargo: {error}")),
    }
    let error = Command::new(&program).args(arguments).exec();
    failure(&format!("cannot start {PROGRAM}: {error}"))
}

/// The line that is printed before the build.
fn announcement(arguments: &[OsString], is_first: bool) -> Option<&'static str> {
    match starts_demo(arguments) {
        true => Some(DEMO),
        false => is_first.then_some(FIRST),
    }
}

fn starts_demo(arguments: &[OsString]) -> bool {
    let prevents_start = |word: &OsString| word == "down" || word == "--help" || word == "-h";
    arguments.first().is_some_and(|verb| verb == "demo") && !arguments.iter().any(prevents_start)
}

/// The cargo command that builds the program. It has no `--package`: cargo then enables the features of the whole
/// workspace, and other builds do not compile the dependencies again.
fn build_command() -> Command {
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--bin", PROGRAM]);
    if let Some(package) = env::var_os("CARGO_MANIFEST_DIR") {
        build.current_dir(Path::new(&package).join("../.."));
    }
    // `cargo run` sets variables such as `CARGO_PKG_NAME` to the values of this package. Remove them: the build script
    // of ring reruns when one of these variables changes.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
    build
}

fn failure(error: &str) -> ExitCode {
    eprintln!("xtask: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_and_the_first_build_are_announced() {
        let announced = |line: &str, is_first| {
            let arguments: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            announcement(&arguments, is_first)
        };
        for first in [true, false] {
            assert_eq!(announced("demo", first), Some(DEMO));
            assert_eq!(announced("demo commands --fast", first), Some(DEMO));
            for other in ["", "test", "demo down", "demo --help", "test demo"] {
                assert_eq!(announced(other, first), first.then_some(FIRST), "{other}");
            }
        }
    }
}
