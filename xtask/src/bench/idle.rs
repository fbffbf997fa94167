//! Measurements of an idle team: memory and wake-ups.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use agent_team_protocol::placement::PlacementChoice;
use anyhow::{Context as _, Result};

use super::Bench;
use super::rig::{Durability, Installation, Worker, environment, task, team};
use super::stats::Figure;
use super::table::{Row, Target, Unit};

/// The idle time before a measurement.
const SETTLE: Duration = Duration::from_secs(2);

/// The time in which wake-ups are counted.
const WATCH: Duration = Duration::from_secs(5);

const TASKS: usize = 10_000;

const MEMBERS: [&str; 10] = [
    "ada", "bob", "cyd", "dee", "eve", "fay", "gus", "hal", "ida", "joe",
];

/// Measures a team without tasks, the same team with many tasks, and that team after a restart of the supervisor.
pub(super) fn memory(bench: &Bench) -> Result<Vec<Row>> {
    let mut installation = Installation::start(
        &bench.directory,
        "rest",
        &bench.programs,
        Worker::Real,
        Durability::Power,
    )?;
    let project = installation.project("rest")?;
    let spec = team(&project, "rest", PlacementChoice::Headless, &MEMBERS)?;
    let team = installation.up(spec, environment())?;
    settled_workers(&mut installation, &team)?;
    let empty = memory_of(installation.status()?.pid)?;
    installation.add_tasks(&team, TASKS, |number| task(format!("task {number}")))?;
    let loaded = observe(&mut installation, &team)?;
    installation.replace_supervisor(&team)?;
    let restarted = observe(&mut installation, &team)?;
    installation.down(&team)?;
    let one = |value: f64| Figure::of(vec![value]);
    let mebibytes = |what: &str, value: &Memory, most: Option<f64>| {
        Row::new(what, Unit::Mebibytes, one(value.resident))
            .target(most.map_or(Target::None, Target::AtMost))
            .note(format!(
                "{:.1} MiB are data of the process, the rest are program pages",
                value.anonymous
            ))
    };
    // The supervisor keeps tasks with their texts in memory. Linux maps 16 pages around each touched page of a program
    // (fault-around), so almost all pages of the program are resident.
    let why = format!(
        "{:.1} MiB are pages of programs, mapped 64 KiB at a time; {:.1} MiB are the data of an empty team; each task \
         takes {:.0} bytes",
        loaded.supervisor.resident - loaded.supervisor.anonymous,
        empty.anonymous,
        (loaded.supervisor.anonymous - empty.anonymous) * f64::from(1 << 20) / TASKS as f64,
    );
    Ok(vec![
        mebibytes("supervisor, 10 members, empty board", &empty, None),
        mebibytes(
            "supervisor, 10 members, 10,000 tasks just added",
            &loaded.supervisor,
            Some(8.0),
        )
        .note(why),
        mebibytes(
            "supervisor, 10 members, 10,000 tasks, restarted",
            &restarted.supervisor,
            None,
        ),
        mebibytes("largest of 10 workers", &loaded.worker, Some(4.0)),
        Row::new(
            "supervisor's wake-ups in 5 s at rest",
            Unit::Times,
            one(loaded.supervisor_woke),
        )
        .target(Target::AtMost(0.0)),
        Row::new(
            "10 workers' wake-ups in 5 s at rest",
            Unit::Times,
            one(loaded.workers_woke),
        )
        .target(Target::AtMost(0.0)),
    ])
}

struct Observed {
    supervisor: Memory,
    worker: Memory,
    supervisor_woke: f64,
    workers_woke: f64,
}

/// Memory of a process, in MiB.
pub(super) struct Memory {
    pub(super) resident: f64,
    /// The memory that belongs only to the process: `resident` without the pages of files.
    pub(super) anonymous: f64,
}

/// The pids of the workers, once all are ready and have been idle for [`SETTLE`].
fn settled_workers(
    installation: &mut Installation,
    team: &agent_team_protocol::TeamId,
) -> Result<Vec<u32>> {
    let workers = installation.ready_workers(team, MEMBERS.len())?;
    std::thread::sleep(SETTLE);
    Ok(workers)
}

fn observe(
    installation: &mut Installation,
    team: &agent_team_protocol::TeamId,
) -> Result<Observed> {
    let supervisor = installation.status()?.pid;
    let workers = settled_workers(installation, team)?;
    let switches = |pids: &[u32]| {
        pids.iter()
            .map(|pid| voluntary_switches(*pid))
            .sum::<Result<f64>>()
    };
    let before = (switches(&[supervisor])?, switches(&workers)?);
    std::thread::sleep(WATCH);
    let after = (switches(&[supervisor])?, switches(&workers)?);
    let worker = workers
        .iter()
        .map(|pid| memory_of(*pid))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .max_by(|one, other| one.resident.total_cmp(&other.resident))
        .context("there are workers")?;
    Ok(Observed {
        supervisor: memory_of(supervisor)?,
        worker,
        supervisor_woke: after.0 - before.0,
        workers_woke: after.1 - before.1,
    })
}

pub(super) fn memory_of(pid: u32) -> Result<Memory> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("this system has no /proc")?;
    let mebibytes = |field: &str| Ok::<_, anyhow::Error>(number(&status, field)? / 1024.0);
    Ok(Memory {
        resident: mebibytes("VmRSS:")?,
        anonymous: mebibytes("RssAnon:")?,
    })
}

/// The wake-ups of a process so far: voluntary context switches of all threads.
fn voluntary_switches(pid: u32) -> Result<f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).context("this system has no /proc")?;
    let paths: Vec<PathBuf> = threads
        .map(|thread| Ok(thread?.path()))
        .collect::<Result<_>>()?;
    paths
        .iter()
        .map(|thread| {
            number(
                &fs::read_to_string(thread.join("status"))?,
                "voluntary_ctxt_switches:",
            )
        })
        .sum()
}

/// The number after `field` in the text of `/proc/<pid>/status`.
fn number(status: &str, field: &str) -> Result<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .with_context(|| format!("no {field}"))?;
    Ok(line
        .split_whitespace()
        .next()
        .context("an empty field")?
        .parse()?)
}
