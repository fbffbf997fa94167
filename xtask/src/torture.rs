//! `cargo xtask torture` and `cargo xtask simulate`: build the binaries and run a program of the `tests` package.

use std::process::Command;

use anyhow::Result;

use crate::run::{check, dev_binaries, root};
use crate::test;

/// Runs the torture program with these arguments. This program exits with the same code.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    program("agent-team-torture", arguments)
}

/// Runs the simulation program with these arguments. This program exits with the same code.
pub(crate) fn simulate(arguments: &[String]) -> Result<()> {
    program("agent-team-simulation", arguments)
}

fn program(name: &str, arguments: &[String]) -> Result<()> {
    test::build()?;
    let mut program = Command::new(dev_binaries()?.join(name));
    check(program.args(arguments).current_dir(root()))
}
