//! `cargo xtask test`: every check, in the order in which a failure is cheapest. `.ci/run` is this and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::run::{Failed, cargo, check, dev_binaries, root, script, succeeds};
use crate::{fuzz, tidy, torture};

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
        does: "licences, banned crates, sources and known vulnerabilities of dependencies",
        run: deny,
    },
    Step {
        name: "clippy",
        does: "lints, warnings denied",
        run: clippy,
    },
    Step {
        name: "build",
        does: "the binaries and the tests",
        run: build,
    },
    Step {
        name: "install-tmux",
        does: "tmux 3.0 or newer, installed where root or sudo allows it",
        run: || install("tmux"),
    },
    Step {
        name: "install-bubblewrap",
        does: "bubblewrap, so that the tests try both sandboxes",
        run: || install("bubblewrap"),
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
        name: "fuzz",
        does: "mutated inputs against the policy's and the codec's properties, for 20 s",
        run: fuzz::step,
    },
    Step {
        name: "doc",
        does: "examples in the documentation",
        run: doc,
    },
    Step {
        name: "simulation",
        does: "one million steps of simulated teams; every promise must hold",
        run: || torture::simulate(&[]),
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
        println!("{:<18} {}", step.name, step.does);
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
    for warning in WARNINGS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        println!("   warning: {warning}");
    }
    println!(
        "── {} steps passed in {:.1} s",
        steps.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What a step could not do. It is printed where it happens and once more at the end, where it is read.
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn warn(warning: &str) {
    println!("   warning: {warning}");
    let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    warnings.push(warning.to_owned());
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

/// The advisory database, as `.config/deny.toml` names it.
const ADVISORY_DB: &str = "https://github.com/rustsec/advisory-db";

/// A clone of it, for machines without a network.
const ADVISORY_CLONE: &str = "AGENT_TEAM_ADVISORY_DB";

/// Not installed by us: it takes minutes to build and finds little between two changes of a dependency.
fn deny() -> Result<()> {
    if !succeeds(&mut cargo(&["deny", "--version"])) {
        warn(
            "dependencies were not checked, neither licences nor advisories: cargo-deny is not installed; \
             to check them: cargo install --locked cargo-deny && cargo xtask test deny",
        );
        return Ok(());
    }
    let config = root().join(".config/deny.toml");
    check(deny_check(&config).args(["licenses", "bans", "sources"]))?;
    let config = match env::var_os(ADVISORY_CLONE) {
        Some(clone) => with_clone(&config, Path::new(&clone))?,
        None => config,
    };
    let fetched = succeeds(cargo(&["deny", "fetch", "--config"]).arg(&config).arg("db"));
    if !fetched {
        warn(&format!(
            "advisories were not checked: the database cannot be fetched from {ADVISORY_DB}; with a clone of it: \
             {ADVISORY_CLONE}=DIR cargo xtask test deny"
        ));
        return Ok(());
    }
    check(deny_check(&config).args(["--disable-fetch", "advisories"]))
}

fn deny_check(config: &Path) -> Command {
    let mut command = cargo(&["deny", "check", "--config"]);
    command.arg(config);
    command
}

/// The same settings with the database from a clone.
fn with_clone(config: &Path, clone: &Path) -> Result<PathBuf> {
    let clone = fs::canonicalize(clone)
        .with_context(|| format!("cannot read {ADVISORY_CLONE}={}", clone.display()))?;
    let text = fs::read_to_string(config)?;
    let file = dev_binaries()?.join("deny.toml");
    fs::write(&file, from_clone(&text, &clone))?;
    Ok(file)
}

fn from_clone(settings: &str, clone: &Path) -> String {
    settings.replace(ADVISORY_DB, &format!("file://{}", clone.display()))
}

/// Builds the tests with the binaries: cargo resolves features with dev-dependencies only when it builds tests, and
/// would compile most dependencies a second time for the binaries alone. The stamp tells the tests that the binaries
/// are current: see `binaries` there.
pub(crate) fn build() -> Result<()> {
    let directory = dev_binaries()?;
    let began = directory.join(".agent-team-binaries.new");
    fs::write(&began, "")?;
    check(&mut cargo(&["build", "--workspace", "--all-targets"]))?;
    fs::rename(began, directory.join(".agent-team-binaries"))?;
    Ok(())
}

pub(crate) fn install(package: &str) -> Result<()> {
    check(script("install-package.sh").arg(package))
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
    succeeds(script("install-package.sh").args(["tmux", "--check"]))
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
    fn a_clone_takes_the_place_of_the_advisory_database() {
        let settings = fs::read_to_string(root().join(".config/deny.toml")).unwrap();
        assert!(settings.contains(ADVISORY_DB), "{settings}");
        let cloned = from_clone(&settings, Path::new("/a/clone"));
        assert!(
            cloned.contains("db-urls = [\"file:///a/clone\"]"),
            "{cloned}"
        );
        assert!(!cloned.contains(ADVISORY_DB));
    }

    #[test]
    fn an_unknown_step_is_a_usage_error() {
        let error = chosen(&["frmt".to_owned()]).map(|_| ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a refusal").code, 2);
    }
}
