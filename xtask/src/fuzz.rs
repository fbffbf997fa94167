//! `cargo xtask fuzz`: runs the fuzz targets for a bounded time. Called by developers and by `cargo xtask test`.
//!
//! The targets are tests of their crates, so that they need no special toolchain; this command sets time and seed.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use crate::run::{cargo, output};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Total seconds for all targets.
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,
    /// Seed of the inputs [default: a new one for each run]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Run only this target.
    #[arg(value_enum)]
    target: Option<Target>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Target {
    Shell,
    Rule,
    Path,
    Url,
    Frame,
    Profile,
    Iterm,
    Sse,
}

impl Target {
    const ALL: [Target; 8] = [
        Target::Shell,
        Target::Rule,
        Target::Path,
        Target::Url,
        Target::Frame,
        Target::Profile,
        Target::Iterm,
        Target::Sse,
    ];

    /// Test selection and test name of the target.
    fn test(self) -> (&'static [&'static str], &'static str) {
        const CORPUS: &[&str] = &["--test", "policy"];
        const LIBRARY: &[&str] = &["--lib"];
        match self {
            Target::Shell => (CORPUS, "corpus::fuzz::fuzz_shell"),
            Target::Rule => (CORPUS, "corpus::fuzz::fuzz_rule"),
            Target::Path => (CORPUS, "corpus::fuzz::fuzz_path"),
            Target::Url => (CORPUS, "corpus::fuzz::fuzz_url"),
            Target::Frame => (CORPUS, "corpus::fuzz::fuzz_frame"),
            Target::Profile => (LIBRARY, "os::sandbox::bubblewrap::tests::fuzz_profile"),
            Target::Iterm => (LIBRARY, "launch::panes::iterm::wire::tests::fuzz_iterm"),
            Target::Sse => (LIBRARY, "http::sse::tests::fuzz_sse"),
        }
    }
}

/// The step of `cargo xtask test`. A fixed seed gives every change the same inputs.
pub(crate) fn step() -> Result<()> {
    run(&Arguments {
        seconds: 20,
        seed: Some(1),
        target: None,
    })
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = match arguments.target {
        Some(target) => vec![target],
        None => Target::ALL.to_vec(),
    };
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .context("the system clock is before 1970")?
            .as_secs(),
    };
    println!("   seed {seed}; repeat with: cargo xtask fuzz --seed {seed}");
    let each = arguments.seconds.saturating_mul(1_000) / targets.len() as u64;
    for target in targets {
        let (selection, test) = target.test();
        // Select from the whole workspace, although only one package has the test: for one package cargo would enable
        // fewer features and compile most dependencies again.
        let mut tests = cargo(&["test", "--quiet", "--workspace"]);
        tests.args(selection).args(["--", "--exact", test]);
        tests.env("AGENT_TEAM_FUZZ_MS", each.to_string());
        tests.env("AGENT_TEAM_FUZZ_SEED", seed.to_string());
        let printed = output(&mut tests).with_context(|| format!("fuzz target {test}"))?;
        ensure!(
            printed.contains("test result: ok. 1 passed"),
            "no test is called {test}"
        );
    }
    Ok(())
}
