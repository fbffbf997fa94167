//! The commands for working on this project: `cargo xtask demo`, `cargo xtask test` and their parts.
//!
//! Called by developers and by `.ci/run`. This program runs cargo, the scripts and the built binaries; no part of the
//! product depends on it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command prints its result"
)]

mod bench;
mod demo;
mod dist;
mod eval;
mod fuzz;
mod install;
mod mcp_suites;
mod npm;
mod pictures;
mod programs;
mod real_clis;
mod run;
mod test;
mod tidy;
mod torture;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::install::Source;
use crate::run::Failed;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about,
    disable_help_subcommand = true
)]
enum Command {
    /// Build the programs, create a sample project and run a team on it.
    Demo {
        /// `agents`: a lead and three teammates with recorded models; `commands`: members that run the commands of
        /// tasks; `clis`: the agents of other vendors that are installed and logged in, or fakes; `down`: stop and remove
        /// the demos that still run.
        #[arg(value_enum, default_value_t = demo::Action::Agents)]
        action: demo::Action,
        /// Play the recording fast, as without a terminal.
        #[arg(long)]
        fast: bool,
    },
    /// Run all checks for a change, or only the named steps.
    Test {
        /// List the steps and exit.
        #[arg(long)]
        list: bool,
        /// Steps to run, in the order given.
        #[arg(value_name = "STEP")]
        steps: Vec<String>,
    },
    /// Run the fuzz targets of the permission policy, the sandbox profiles and the wire formats for a bounded time.
    ///
    /// A failing input is written to the directory `regressions` in the tests of its crate; later test runs repeat it.
    Fuzz(fuzz::Arguments),
    /// Check rules that the compiler does not check: layering, names, words, file sizes.
    Tidy {
        /// List the files that are larger than they should be, instead of their number.
        #[arg(long)]
        sizes: bool,
    },
    /// Generate the JSON Schema of the protocol from its types.
    Schema,
    /// Generate the pages of docs/reference from the code.
    Reference,
    /// Measure performance and compare it with the limits of the machine.
    Bench(bench::Arguments),
    /// Run small repository tasks with agents, and measure how many are solved and at what cost.
    ///
    /// Without `--model`, recorded answers are used, and the command fails if a task is not solved. Run it before and
    /// after each change of a prompt or of the description of a tool.
    Eval(eval::Arguments),
    /// Inject random faults while a team works, then check all guarantees.
    #[command(disable_help_flag = true)]
    Torture {
        /// Arguments of the torture program; see `cargo xtask torture --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Simulate a team and faults in virtual time from one seed, then check all guarantees.
    #[command(disable_help_flag = true)]
    Simulate {
        /// Arguments of the simulation program; see `cargo xtask simulate --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make the pictures of the documentation from a run of the demo.
    Pictures {
        /// Compare the pictures with the stored ones instead of writing them.
        #[arg(long)]
        check: bool,
    },
    /// Make the pictures of the page of `agent-team serve` in `docs/page`, with Chromium.
    PagePictures,
    /// Install the programs, man pages and completions.
    Install {
        #[command(flatten)]
        location: InstallLocation,
        /// Build with the profile `dist`, for packages: smaller programs, but a much longer build.
        #[arg(long)]
        dist: bool,
        /// Build nothing: install the programs of this directory, such as an unpacked archive of `dist`.
        #[arg(long, value_name = "DIR", conflicts_with = "dist")]
        prebuilt_from: Option<PathBuf>,
    },
    /// Make an archive and a Debian package for machines without Rust.
    Dist,
    /// Remove the files that `install` has installed.
    Uninstall {
        #[command(flatten)]
        location: InstallLocation,
    },
}

#[derive(clap::Args)]
struct InstallLocation {
    /// Directory for bin/ and share/ [default: ~/.local]
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
}

/// Runs the test that compares the schema with the types, and sets the variable that makes the test write the schema.
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

/// Runs the test that compares the pages with the code, and sets the variable that makes the test write the pages. The
/// pages contain the shapes of the protocol's types, which the test reads from the schema, so the schema is written
/// first.
fn reference() -> anyhow::Result<()> {
    schema()?;
    let of_cli = ["agent-team-cli", "--lib"];
    let of_gateway = ["agent-team-gateway", "--lib"];
    for tests in [&of_cli[..], &of_gateway[..]] {
        let mut arguments = vec!["test", "--quiet", "--package"];
        arguments.extend(tests);
        arguments.push("reference::");
        let mut write = run::cargo(&arguments);
        run::check(write.env("AGENT_TEAM_WRITE_REFERENCE", "1"))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Demo { action, fast } => demo::run(action, fast),
        Command::Test { list: true, .. } => {
            test::list();
            Ok(())
        }
        Command::Test { steps, .. } => test::run(&steps),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Tidy { sizes } => tidy::run(sizes),
        Command::Schema => schema(),
        Command::Reference => reference(),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Pictures { check } => pictures::run(check),
        Command::PagePictures => test::page_pictures(),
        Command::Torture { arguments } => torture::run(&arguments),
        Command::Simulate { arguments } => torture::simulate(&arguments),
        Command::Install {
            location,
            dist,
            prebuilt_from,
        } => {
            let source = match (prebuilt_from, dist) {
                (Some(directory), _) => Source::Prebuilt(directory),
                (None, true) => Source::Profile("dist"),
                (None, false) => Source::Profile("release"),
            };
            install::install(location.prefix, source)
        }
        Command::Dist => dist::run(),
        Command::Uninstall { location } => install::uninstall(location.prefix),
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
