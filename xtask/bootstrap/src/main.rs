//! The program behind the alias `cargo xtask`: builds `agent-team-xtask` and replaces itself with it.
//!
//! This program has no dependencies, so that cargo builds it in a second. It can therefore announce the first build of
//! `agent-team-xtask` before that build begins. Cargo shows the progress of the first build; later builds are quiet.
#![expect(clippy::print_stderr, reason = "it announces builds")]

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
    let own = match env::current_exe() {
        Ok(own) => own,
        Err(error) => return failure(&format!("cannot find this executable: {error}")),
    };
    let program = own.with_file_name(PROGRAM);
    let is_first = !program.exists();
    if starts_demo(&arguments) {
        eprintln!("{DEMO}");
    } else if is_first {
        eprintln!("{FIRST}");
    }
    let mut build = build();
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

fn starts_demo(arguments: &[OsString]) -> bool {
    let starts_none = |word: &OsString| word == "down" || word == "--help" || word == "-h";
    arguments.first().is_some_and(|verb| verb == "demo") && !arguments.iter().any(starts_none)
}

/// Builds without `--package`: cargo then enables the features of the whole workspace, and other builds do not compile
/// the dependencies again.
fn build() -> Command {
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
