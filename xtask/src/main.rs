//! The project's own commands: `cargo xtask demo`, `cargo xtask test` and what they are made of.
//!
//! Called by people and by `.ci/run`. It starts cargo, the scripts and the built binaries, and holds no knowledge of its
//! own about what those do; nothing of the product depends on it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command's output is its purpose"
)]

mod bench;
mod demo;
mod fuzz;
mod install;
mod run;
mod test;
mod tidy;
mod torture;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::run::Failed;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about,
    disable_help_subcommand = true
)]
enum Command {
    /// Build, make a sample project and run a team on it.
    Demo {
        /// A recorded lead with three recorded teammates, or members that run the tasks' commands.
        #[arg(value_enum, default_value_t = demo::Team::Agents)]
        team: demo::Team,
    },
    /// Everything that must hold before a change goes in, or only the named steps.
    Test {
        /// List the steps and leave.
        #[arg(long)]
        list: bool,
        /// Steps to run, in the order given.
        #[arg(value_name = "STEP")]
        steps: Vec<String>,
    },
    /// Run the fuzz targets of the permission policy and the wire codec for a bounded time.
    ///
    /// An input that fails is written to a directory `regressions` below the tests of its crate, and every later test run
    /// repeats it.
    Fuzz(fuzz::Arguments),
    /// The rules that no compiler checks: layering, names, sizes.
    Tidy,
    /// Write the protocol's JSON Schema anew, from its types.
    Schema,
    /// How fast everything is, beside what the machine can do.
    Bench(bench::Arguments),
    /// Kill, stop, fill and break things at random while a team works, then check every promise.
    #[command(disable_help_flag = true)]
    Torture {
        /// As `cargo xtask torture --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Simulate a team and its faults in virtual time, from one seed, then check every promise.
    #[command(disable_help_flag = true)]
    Simulate {
        /// As `cargo xtask simulate --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Put the binaries, man pages and completions in place.
    Install {
        #[command(flatten)]
        place: Place,
    },
    /// Take away exactly what `install` put in place.
    Uninstall {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(clap::Args)]
struct Place {
    /// Where bin/ and share/ are; ~/.local unless given.
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
}

/// The test that compares writes instead when it is told so: the types are known nowhere else.
fn schema() -> anyhow::Result<()> {
    let mut write = run::cargo(&[
        "test",
        "--quiet",
        "--package",
        "agent-team-protocol",
        "--lib",
        "schema::",
    ]);
    run::check(write.env("AGENT_TEAM_WRITE_SCHEMA", "1"))
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Demo { team } => demo::run(team),
        Command::Test { list: true, .. } => {
            test::list();
            Ok(())
        }
        Command::Test { steps, .. } => test::run(&steps),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Schema => schema(),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Torture { arguments } => torture::run(&arguments),
        Command::Simulate { arguments } => torture::simulate(&arguments),
        Command::Install { place } => install::install(place.prefix),
        Command::Uninstall { place } => install::uninstall(place.prefix),
    };
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("xtask: {error:#}");
    ExitCode::from(
        error
            .downcast_ref::<Failed>()
            .map_or(1, |failed| failed.code),
    )
}
