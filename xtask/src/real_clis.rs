//! `cargo xtask test real-clis`: installs the real agents of other vendors below the target directory, and runs a team of
//! them with scripted models. The program of the `tests` package does the work, and writes the table in `docs/clis.md`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run::{check, dev_binaries, root};
use crate::{npm, test};

/// A list of agents, such as `claude,codex`. Without this variable, all agents are tested.
const ONLY: &str = "AGENT_TEAM_REAL_CLIS";

pub(crate) fn step() -> Result<()> {
    if !npm::is_installed() {
        println!("   skipped: npm is not installed");
        return Ok(());
    }
    test::build()?;
    let binaries = dev_binaries()?;
    let target = binaries
        .parent()
        .context("cannot find the target directory")?;
    let only = std::env::var(ONLY).unwrap_or_default();
    let mut program = Command::new(binaries.join("agent-team-real-clis"));
    program
        .arg("--packages")
        .arg(target.join("real-clis"))
        .arg("--page")
        .arg(root().join("docs/clis.md"))
        .arg("--schemas")
        .arg(root().join("tests/schemas"))
        .args(only.split(',').filter(|word| !word.is_empty()))
        .current_dir(root());
    check(&mut program)
}
