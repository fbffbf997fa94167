//! `cargo xtask bench`: measures performance, and compares most figures with a limit of the machine, measured in the
//! same run.
//!
//! Builds the release binaries, continues in a release build of itself, and drives private installations through their
//! sockets. The bench also measures the limits: bare sockets, syncs, SQLite, tmux and process starts without
//! agent-team. Apart from the build and the file of `--json`, it writes only to its own temporary directory. It stops
//! all processes that it started, even after an interrupt: see [`bench_dir`].

mod bench_dir;
mod claims;
mod events;
mod grants;
mod http;
mod idle;
mod messages;
mod page;
mod readers;
mod recovery;
mod rig;
mod serve;
mod sqlite;
mod start;
mod stats;
mod swarm;
mod table;
mod wire;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use self::rig::Programs;
use self::table::Row;
use crate::programs;
use crate::run::{Failed, built, check, root};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Groups to measure [default: all]; see --list
    #[arg(value_name = "GROUP")]
    groups: Vec<String>,
    /// List the groups and exit.
    #[arg(long)]
    list: bool,
    /// Use fewer and smaller rounds (about a minute).
    #[arg(long)]
    quick: bool,
    /// Write all rows and rounds to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory for the measured databases and files [default: target/]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Measure in this directory, which the parent process creates and removes.
    #[arg(long, value_name = "DIR", hide = true)]
    within: Option<PathBuf>,
}

struct Group {
    name: &'static str,
    description: &'static str,
    measure: fn(&Bench) -> Result<Vec<Row>>,
}

const GROUPS: &[Group] = &[
    Group {
        name: "messages",
        description: "latency of a message, one way and round trip",
        measure: messages::latency,
    },
    Group {
        name: "history",
        description: "latency of a message with 100,000 stored messages",
        measure: messages::history,
    },
    Group {
        name: "flood",
        description: "messages stored per second",
        measure: messages::flood,
    },
    Group {
        name: "claims",
        description: "claims per second, by claimants and board size",
        measure: claims::rates,
    },
    Group {
        name: "board",
        description: "a claim from a large board and from a small one",
        measure: claims::board_size,
    },
    Group {
        name: "grants",
        description: "one decision that resumes all waiting members",
        measure: grants::settled,
    },
    Group {
        name: "up",
        description: "the start of a team until all members are ready",
        measure: start::up,
    },
    Group {
        name: "restart",
        description: "the replacement of a killed worker",
        measure: start::restart,
    },
    Group {
        name: "recovery",
        description: "the replacement of a killed supervisor",
        measure: recovery::successor,
    },
    Group {
        name: "open",
        description: "the start of a supervisor with a long journal",
        measure: recovery::long_journal,
    },
    Group {
        name: "rest",
        description: "memory and wake-ups of an idle team",
        measure: idle::memory,
    },
    Group {
        name: "events",
        description: "events to many subscribers",
        measure: events::fan_out,
    },
    Group {
        name: "serve",
        description: "the HTTP service: events to many clients, latency, memory, the page in Chromium",
        measure: serve::rows,
    },
];

/// The environment of a group of measurements.
struct Bench {
    programs: Programs,
    /// A private directory on the measured file system.
    directory: PathBuf,
    quick: bool,
}

impl Bench {
    /// Returns `quick` in a quick run, and `full` otherwise.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Creates a subdirectory of the bench directory.
    fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.list {
        for group in GROUPS {
            println!("{:<9} {}", group.name, group.description);
        }
        return Ok(());
    }
    let groups = chosen(&arguments.groups)?;
    if cfg!(debug_assertions) {
        return in_release();
    }
    let program = std::env::current_exe()?;
    let Some(within) = &arguments.within else {
        let target = root().join("target");
        let top = arguments.directory.as_ref().unwrap_or(&target);
        fs::create_dir_all(top)?;
        return bench_dir::measured_within(top, |directory| {
            let mut measure = Command::new(&program);
            measure.args(std::env::args_os().skip(1));
            measure.arg("--within").arg(directory);
            measure
        });
    };
    measure(arguments, groups, &program, within)
}

fn measure(
    arguments: &Arguments,
    groups: Vec<&Group>,
    program: &Path,
    within: &Path,
) -> Result<()> {
    let release = program
        .parent()
        .context("this executable has no parent directory")?;
    let bench = Bench {
        programs: Programs {
            real: programs::name(release, within.join("programs"))?,
            stub: release.join("agent-team-bench-stub"),
        },
        directory: within.to_owned(),
        quick: arguments.quick,
    };
    println!(
        "on {}, {} processors",
        file_system(&bench.directory),
        std::thread::available_parallelism()?
    );
    let mut rows = Vec::new();
    for group in groups {
        let started = Instant::now();
        let measured = (group.measure)(&bench)
            .unwrap_or_else(|error| vec![Row::not_measured(group.name, format!("{error:#}"))]);
        rows.extend(measured);
        eprintln!(
            "   {}: {:.1} s",
            group.name,
            started.elapsed().as_secs_f64()
        );
    }
    print!("{}", table::shown(&rows));
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&rows)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Group>> {
    if names.is_empty() {
        return Ok(GROUPS.iter().collect());
    }
    let find = |name: &String| {
        GROUPS
            .iter()
            .find(|group| group.name == name)
            .ok_or_else(|| {
                let what =
                    format!("unknown group {name}; list the groups with: cargo xtask bench --list");
                Failed { what, code: 2 }.into()
            })
    };
    names.iter().map(find).collect()
}

/// Builds the release binaries and continues in the release build of this program with the same arguments.
fn in_release() -> Result<()> {
    // Build this program together with the programs: cargo then enables the same features for both, and
    // compiles no dependency twice.
    let mut build = programs::build("release");
    build.args(["--quiet", "--package", "agent-team-xtask"]);
    check(build.args([
        "--package",
        "agent-team-gateway",
        "--example",
        "empty_route",
    ]))?;
    let mut again = Command::new(built("release")?.join("agent-team-xtask"));
    // `exec` keeps the pid, so that a signal to the pid of `xtask` reaches the bench.
    let error = again.args(std::env::args_os().skip(1)).exec();
    Err(error).context("cannot start the release build of the bench")
}

/// The type and device of the file system of a directory, if the system reports them.
fn file_system(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let longest = mounts
        .lines()
        .filter_map(|mount| {
            let mut words = mount.split(' ');
            let (device, point, kind) = (words.next()?, words.next()?, words.next()?);
            directory
                .starts_with(point)
                .then(|| (point.len(), format!("{kind} ({device})")))
        })
        .max_by_key(|(length, _)| *length);
    longest.map_or_else(|| "an unknown file system".to_owned(), |(_, shown)| shown)
}

/// Fails on a file system without persistence, where a sync costs nothing.
fn check_disk(directory: &Path) -> Result<()> {
    let kind = file_system(directory);
    if kind.starts_with("tmpfs") || kind.starts_with("ramfs") {
        bail!("cannot measure syncs on {kind}: give a directory on a disk with --directory");
    }
    Ok(())
}
