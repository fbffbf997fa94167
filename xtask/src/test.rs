//! `cargo xtask test`: every check, in the order in which a failure is cheapest. `.ci/run` is this and nothing else.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::run::{Failed, cargo, check, dev_binaries, script, succeeds};
use crate::{tidy, torture};

struct Step {
    name: &'static str,
    does: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        does: "formatting",
        run: fmt,
    },
    Step {
        name: "tidy",
        does: "layering, names, sizes",
        run: tidy::run,
    },
    Step {
        name: "deny",
        does: "licences, banned crates and sources of dependencies",
        run: deny,
    },
    Step {
        name: "clippy",
        does: "lints, warnings denied",
        run: clippy,
    },
    Step {
        name: "build",
        does: "the binaries",
        run: build,
    },
    Step {
        name: "install-tmux",
        does: "tmux 3.0 or newer, installed where we may",
        run: install_tmux,
    },
    Step {
        name: "install-iterm2",
        does: "iTerm2's own client, installed where we may",
        run: install_iterm2,
    },
    Step {
        name: "nextest",
        does: "unit, property and end-to-end tests",
        run: nextest,
    },
    Step {
        name: "hosted",
        does: "the end-to-end tests again, with members in one process",
        run: || elsewhere("hosted"),
    },
    Step {
        name: "tmux",
        does: "the end-to-end tests again, with every member in a pane",
        run: panes,
    },
    Step {
        name: "doc",
        does: "examples in the documentation",
        run: doc,
    },
    Step {
        name: "torture",
        does: "random faults for three minutes; every promise must hold",
        run: || torture::run(&[]),
    },
];

/// What the tests read to know that they must skip what needs tmux, and say so.
const NO_TMUX: &str = "AGENT_TEAM_TEST_NO_TMUX";

/// Where the tests have run what is headless otherwise.
const PLACEMENT: &str = "AGENT_TEAM_TEST_PLACEMENT";

pub(crate) fn list() {
    for step in STEPS {
        println!("{:<14} {}", step.name, step.does);
    }
}

/// Runs the named steps, or all. Ends at the first failure, with its exit code.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let steps = chosen(names)?;
    let start = Instant::now();
    for step in &steps {
        println!("── {}: {}", step.name, step.does);
        let start = Instant::now();
        let outcome = (step.run)();
        println!("   {}: {:.1} s", step.name, start.elapsed().as_secs_f64());
        outcome.with_context(|| {
            format!(
                "step {} failed; just this one: cargo xtask test {}",
                step.name, step.name
            )
        })?;
    }
    println!(
        "── {} steps passed in {:.1} s",
        steps.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Step>> {
    if names.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            STEPS.iter().find(|step| step.name == name).ok_or_else(|| {
                Failed {
                    what: format!("no step {name}; the steps: cargo xtask test --list"),
                    code: 2,
                }
                .into()
            })
        })
        .collect()
}

fn fmt() -> Result<()> {
    check(&mut cargo(&["fmt", "--all", "--", "--check"]))
}

fn clippy() -> Result<()> {
    check(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))
}

/// Not installed by us: it takes minutes to build and finds little between two changes of a dependency.
fn deny() -> Result<()> {
    if !succeeds(&mut cargo(&["deny", "--version"])) {
        println!("   skipped: cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Ok(());
    }
    check(&mut cargo(&[
        "deny",
        "check",
        "--config",
        ".config/deny.toml",
        "licenses",
        "bans",
        "sources",
    ]))
}

/// Says so to the tests, which would build the binaries again within the first one's time: see `binaries` there.
pub(crate) fn build() -> Result<()> {
    let directory = dev_binaries()?;
    let began = directory.join(".agent-team-binaries.new");
    fs::write(&began, "")?;
    check(&mut cargo(&["build", "--workspace", "--bins"]))?;
    fs::rename(began, directory.join(".agent-team-binaries"))?;
    Ok(())
}

fn install_tmux() -> Result<()> {
    check(&mut script("install-tmux.sh"))
}

fn install_iterm2() -> Result<()> {
    let binaries = dev_binaries()?;
    let target = binaries.parent().context("it has no target directory")?;
    check(script("install-iterm2-client.sh").arg(target.join("iterm2-client")))
}

fn nextest() -> Result<()> {
    let tests = if has_nextest() {
        cargo(&["nextest", "run", "--workspace"])
    } else {
        println!(
            "   cargo-nextest cannot be installed here; going on with cargo test, which has no time limits"
        );
        cargo(&["test", "--workspace", "--lib", "--bins", "--tests"])
    };
    with_tmux(tests)
}

/// The tests that the profile of this name chooses, with what is headless otherwise in this placement.
fn elsewhere(placement: &str) -> Result<()> {
    if !has_nextest() {
        println!("   skipped: cargo-nextest, which chooses the tests, cannot be installed here");
        return Ok(());
    }
    let mut tests = cargo(&["nextest", "run", "--workspace", "--profile", placement]);
    tests.env(PLACEMENT, placement);
    with_tmux(tests)
}

fn panes() -> Result<()> {
    if has_tmux() {
        return elsewhere("tmux");
    }
    println!("   skipped: no tmux 3.0 or newer");
    Ok(())
}

fn has_tmux() -> bool {
    succeeds(script("install-tmux.sh").arg("--check"))
}

fn with_tmux(mut tests: Command) -> Result<()> {
    if !has_tmux() {
        println!("   no tmux 3.0 or newer: tests that need one say that they are skipped");
        tests.env(NO_TMUX, "1");
    }
    check(&mut tests)
}

/// Whether it is there, or could be installed.
fn has_nextest() -> bool {
    let installed = || succeeds(&mut cargo(&["nextest", "--version"]));
    if installed() {
        return true;
    }
    println!("   installing cargo-nextest, once");
    check(&mut cargo(&["install", "--locked", "cargo-nextest"])).is_ok() && installed()
}

fn doc() -> Result<()> {
    check(&mut cargo(&["test", "--workspace", "--doc"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_the_order_they_were_named() {
        let names = ["doc", "fmt"].map(str::to_owned);
        let steps = chosen(&names).unwrap();
        assert_eq!(
            steps.iter().map(|step| step.name).collect::<Vec<_>>(),
            ["doc", "fmt"]
        );
        assert_eq!(chosen(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn an_unknown_step_is_a_usage_error() {
        let error = chosen(&["frmt".to_owned()]).map(|_| ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a refusal").code, 2);
    }
}
