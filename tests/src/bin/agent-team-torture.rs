//! `cargo xtask torture`: see [`agent_team_tests::torture`]. Exits with 1 when a guarantee is violated.
#![expect(clippy::print_stdout, reason = "a command's output is its purpose")]

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_team_tests::torture::{self, Options, Plant};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// How long the team may take to finish its work after the last fault.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

/// The variable that is set in a process with its own mount namespace.
const OWN_MOUNTS: &str = "AGENT_TEAM_TEST_OWN_MOUNTS";

/// Inject random faults (kills, stops, full disks and others) while a team works, then check every guarantee.
#[derive(Parser)]
#[command(name = "cargo xtask torture", bin_name = "cargo xtask torture")]
struct Arguments {
    /// Inject faults for this many minutes; fractions are allowed.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Repeat the random choices of an earlier run.
    #[arg(long)]
    seed: Option<u64>,
    /// Placement of the members: headless, hosted or tmux.
    #[arg(long, default_value = "headless", value_parser = ["headless", "hosted", "tmux"])]
    placement: String,
    /// Plant this fault in the supervisor; a checker must find it.
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
}

fn plant(name: &str) -> Result<Plant, String> {
    Plant::named(name)
        .ok_or_else(|| format!("use one of {}", Plant::ALL.map(Plant::name).join(", ")))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    own_mounts();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let options = Options {
        faults: Duration::from_secs_f64(arguments.minutes * 60.0),
        calm: SETTLE_LIMIT,
        seed: arguments.seed.unwrap_or_else(|| {
            now.map_or(1, |now| now.as_secs() << 16 ^ u64::from(std::process::id()))
        }),
        placement: arguments.placement,
        plant: arguments.plant,
    };
    let planted = arguments
        .plant
        .map(|plant| format!(" --plant {}", plant.name()));
    let again = format!(
        "cargo xtask torture --minutes {} --seed {} --placement {}{}",
        arguments.minutes,
        options.seed,
        options.placement,
        planted.unwrap_or_default()
    );
    println!("seed          {}", options.seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be started");
    let report = runtime.block_on(async {
        // An interrupt drops the torture, which ends all processes that it started.
        tokio::select! {
            report = torture::run(options) => Some(report),
            () = interrupted() => None,
        }
    });
    let Some(report) = report else {
        println!("interrupted");
        return ExitCode::FAILURE;
    };
    print!("{report}");
    if report.violations.is_empty() {
        println!("no violations");
        return ExitCode::SUCCESS;
    }
    println!(
        "{} violations; repeat with: {again}",
        report.violations.len()
    );
    ExitCode::FAILURE
}

async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be received");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be received");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Restarts the program in its own mount namespace, if permitted. The torture mounts a small disk, which it fills; in
/// this namespace, the kernel unmounts the disk even if the torture is killed.
fn own_mounts() {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return;
    }
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "--"]);
        unshare
    };
    let works = unshare().arg("true").output();
    let own = std::env::current_exe();
    if let (Ok(true), Ok(own)) = (works.map(|output| output.status.success()), own) {
        // exec returns only on failure; then continue without a namespace.
        let _failed = unshare()
            .arg(own)
            .args(std::env::args_os().skip(1))
            .env(OWN_MOUNTS, "1")
            .exec();
    }
}
