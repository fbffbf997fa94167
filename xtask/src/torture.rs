//! `cargo xtask torture`: builds the binaries and runs the torture of the `tests` package, which has all knowledge.

use std::process::Command;

use anyhow::Result;

use crate::run::{check, dev_binaries, root};
use crate::test;

/// Runs the torture with its own arguments; its exit code becomes ours.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    test::build()?;
    let mut torture = Command::new(dev_binaries()?.join("agent-team-torture"));
    check(torture.args(arguments).current_dir(root()))
}
