//! `cargo xtask test`: runs all checks, the cheapest ones first. `.ci/run` runs them in the environments of users.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context as _, Result};

use crate::run::{Failed, cargo, check, dev_binaries, output, root, script, succeeds};
use crate::{demo, eval, fuzz, mcp_suites, npm, pictures, real_clis, tidy, torture};

struct Step {
    name: &'static str,
    description: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        description: "formatting",
        run: fmt,
    },
    Step {
        name: "tidy",
        description: "layering, names, sizes",
        run: || tidy::run(false),
    },
    Step {
        name: "deny",
        description: "licences, banned crates, sources and known vulnerabilities of dependencies",
        run: deny,
    },
    Step {
        name: "clippy",
        description: "lints, warnings denied",
        run: clippy,
    },
    Step {
        name: "build",
        description: "build the binaries and the tests",
        run: build,
    },
    Step {
        name: "install-tmux",
        description: "install tmux 3.0 or newer, if root or sudo is available",
        run: || install("tmux"),
    },
    Step {
        name: "install-bubblewrap",
        description: "install bubblewrap, so that the tests cover both sandboxes",
        run: || install("bubblewrap"),
    },
    Step {
        name: "install-shells",
        description: "install zsh and fish, so that the tests press Tab in them",
        run: || install("zsh").and_then(|()| install("fish")),
    },
    Step {
        name: "install-iterm2",
        description: "install the Python client of iTerm2, if possible",
        run: install_iterm2,
    },
    Step {
        name: "install-browser",
        description: "install chromedriver, and the npm packages that test the page and AG-UI, if possible",
        run: || install("chromedriver").and_then(|()| npm::install_for_tests()),
    },
    Step {
        name: "nextest",
        description: "unit, property and end-to-end tests",
        run: nextest,
    },
    Step {
        name: "hosted",
        description: "end-to-end tests with members in one process",
        run: || with_placement("hosted"),
    },
    Step {
        name: "tmux",
        description: "end-to-end tests with every member in a pane",
        run: panes,
    },
    Step {
        name: "fuzz",
        description: "fuzz targets for 20 s",
        run: fuzz::step,
    },
    Step {
        name: "demo",
        description: "the demo as a user runs it, in a pipe and on a terminal, until nothing of it is left",
        run: demo::step::run,
    },
    Step {
        name: "pictures",
        description: "pictures of the documentation against a run of the demo",
        run: || pictures::run(true),
    },
    Step {
        name: "eval",
        description: "small repository tasks with recorded answers; all must be solved",
        run: eval::step,
    },
    Step {
        name: "doc",
        description: "examples in the documentation",
        run: doc,
    },
    Step {
        name: "simulation",
        description: "one million steps of simulated teams; all guarantees must hold",
        run: || torture::simulate(&[]),
    },
    Step {
        name: "torture",
        description: "random faults for three minutes; all guarantees must hold",
        run: || torture::run(&[]),
    },
];

/// Steps that run only if they are named: they need a network.
const NAMED_STEPS: &[Step] = &[
    Step {
        name: "real-clis",
        description: "install the real agents of other vendors with npm, and run a team of them with scripted models",
        run: real_clis::step,
    },
    Step {
        name: "mcp",
        description: "install the inspector and the conformance suite of MCP with npm, and test both transports",
        run: mcp_suites::step,
    },
];

/// The variable that makes the tests skip cases that need tmux.
const NO_TMUX: &str = "AGENT_TEAM_TEST_NO_TMUX";

/// The variable with the placement that end-to-end tests use instead of `headless`.
const PLACEMENT: &str = "AGENT_TEAM_TEST_PLACEMENT";

/// Prints the steps of a run without names on stdout, where `.ci/run` reads them, and the other steps on stderr.
pub(crate) fn list() {
    print!("{}", listing(STEPS));
    eprint!("only if named:\n{}", listing(NAMED_STEPS));
}

/// A line for each step, which begins with its name.
fn listing(steps: &[Step]) -> String {
    let line = |step: &Step| format!("{:<18} {}\n", step.name, step.description);
    steps.iter().map(line).collect()
}

/// Runs the named steps, or all. Stops at the first failure.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let steps = chosen(names)?;
    let start = Instant::now();
    for step in &steps {
        println!("── {}: {}", step.name, step.description);
        let start = Instant::now();
        let outcome = (step.run)();
        println!("   {}: {:.1} s", step.name, start.elapsed().as_secs_f64());
        outcome.with_context(|| {
            format!(
                "step {} failed; run only this step with: cargo xtask test {}",
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
        "── steps passed: {}, in {:.1} s",
        steps.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Warnings of the steps. They are printed immediately, and again at the end, where they are visible.
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
            let mut known = STEPS.iter().chain(NAMED_STEPS);
            known.find(|step| step.name == name).ok_or_else(|| {
                Failed {
                    what: format!(
                        "unknown step {name}; list the steps with: cargo xtask test --list"
                    ),
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

/// URL of the advisory database in `.config/deny.toml`.
const ADVISORY_DB: &str = "https://github.com/rustsec/advisory-db";

/// Environment variable with the path of a clone of the advisory database, for machines without a network.
const ADVISORY_CLONE: &str = "AGENT_TEAM_ADVISORY_DB";

/// Runs cargo-deny if it is installed. It is not installed automatically, because it takes minutes to build.
fn deny() -> Result<()> {
    if !succeeds(&mut cargo(&["deny", "--version"])) {
        warn(
            "licences and advisories of dependencies were not checked: cargo-deny is not installed; \
             to check them, run: cargo install --locked cargo-deny && cargo xtask test deny",
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
            "advisories were not checked: cannot fetch the database from {ADVISORY_DB}; to use a clone, run: \
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

/// Writes a copy of the cargo-deny settings that uses the clone, and returns its path.
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

/// The targets that are built and tested. The examples are not among them: each would link the whole library again. A
/// test contains the examples as modules.
const TESTED: [&str; 4] = ["--workspace", "--lib", "--bins", "--tests"];

/// Set once this run has built the binaries.
static IS_BUILT: AtomicBool = AtomicBool::new(false);

/// Builds the tests with the binaries: cargo includes dev-dependencies in the resolution of features only when it
/// builds tests, so a build of the binaries alone would compile most dependencies a second time. Writes a stamp with
/// the time at which the build began, and the path of the repository. The tests compare the stamp with the sources to
/// find outdated binaries: see `tests/src/binaries.rs`.
pub(crate) fn build() -> Result<()> {
    let directory = dev_binaries()?;
    let new_stamp = directory.join(".agent-team-binaries.new");
    let stamp = directory.join(".agent-team-binaries");
    discard_after_move(&stamp)?;
    fs::write(&new_stamp, root().as_os_str().as_encoded_bytes())?;
    let mut build = cargo(&["build"]);
    check(build.args(TESTED))?;
    fs::rename(new_stamp, stamp)?;
    IS_BUILT.store(true, Ordering::Relaxed);
    Ok(())
}

/// Discards the built packages if the repository was moved after the build: tests contain the path of the repository,
/// and cargo does not notice the move.
fn discard_after_move(stamp: &Path) -> Result<()> {
    if !is_moved(&fs::read(stamp).unwrap_or_default(), root()) {
        return Ok(());
    }
    println!("   the repository was moved: building its packages again");
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut clean = cargo(&["clean", "--quiet"]);
    for package in packages.filter_map(|package| package["name"].as_str()) {
        // Skip the packages of the programs that are running.
        if !package.starts_with("agent-team-xtask") {
            clean.args(["--package", package]);
        }
    }
    check(&mut clean)
}

/// Whether the path in the stamp differs from the path of the repository. An empty stamp belongs to no build.
fn is_moved(stamp: &[u8], root: &Path) -> bool {
    !stamp.is_empty() && stamp != root.as_os_str().as_encoded_bytes()
}

pub(crate) fn install(package: &str) -> Result<()> {
    check(script("install-package.sh").arg(package))
}

fn install_iterm2() -> Result<()> {
    let binaries = dev_binaries()?;
    let target = binaries
        .parent()
        .context("cannot find the target directory")?;
    check(script("install-iterm2-client.sh").arg(target.join("iterm2-client")))
}

fn nextest() -> Result<()> {
    let mut tests = if has_nextest() {
        cargo(&["nextest", "run"])
    } else {
        println!("   cannot install cargo-nextest; using cargo test, which has no timeouts");
        cargo(&["test"])
    };
    tests.args(TESTED);
    run_tests(tests)
}

/// Runs the tests of the nextest profile with this name, with all members in this placement.
fn with_placement(placement: &str) -> Result<()> {
    if !has_nextest() {
        println!("   skipped: cannot install cargo-nextest, which selects the tests");
        return Ok(());
    }
    let mut tests = cargo(&["nextest", "run", "--profile", placement]);
    tests.args(TESTED).env(PLACEMENT, placement);
    run_tests(tests)
}

fn panes() -> Result<()> {
    if is_installed("tmux") {
        return with_placement("tmux");
    }
    println!("   skipped: tmux 3.0 or newer is not installed");
    Ok(())
}

pub(crate) fn is_installed(package: &str) -> bool {
    succeeds(script("install-package.sh").args([package, "--check"]))
}

/// Runs these tests with current binaries; without tmux, skips the tests that need it.
fn run_tests(mut tests: Command) -> Result<()> {
    if !IS_BUILT.load(Ordering::Relaxed) {
        println!("   building the binaries first");
        build()?;
    }
    if !is_installed("tmux") {
        println!("   tmux 3.0 or newer is not installed: tests that need it are skipped");
        tests.env(NO_TMUX, "1");
    }
    check(&mut tests)
}

/// Runs the test that sees the page, and stores the pictures that it takes.
pub(crate) fn page_pictures() -> Result<()> {
    let directory = root().join("docs/page");
    fs::create_dir_all(&directory)?;
    let mut tests = cargo(&["test", "-p", "agent-team-tests", "--test", "e2e"]);
    tests.arg("serve::page_pictures");
    tests.env("AGENT_TEAM_PAGE_PICTURES", directory);
    run_tests(tests)
}

/// Whether cargo-nextest is installed. If it is not, tries to install it first.
fn has_nextest() -> bool {
    let installed = || succeeds(&mut cargo(&["nextest", "--version"]));
    if installed() {
        return true;
    }
    println!("   installing cargo-nextest");
    check(&mut cargo(&["install", "--locked", "cargo-nextest"])).is_ok() && installed()
}

fn doc() -> Result<()> {
    check(&mut cargo(&["test", "--workspace", "--doc"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_the_given_order() {
        let names = ["doc", "fmt"].map(str::to_owned);
        let steps = chosen(&names).unwrap();
        assert_eq!(
            steps.iter().map(|step| step.name).collect::<Vec<_>>(),
            ["doc", "fmt"]
        );
        assert_eq!(chosen(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn each_listed_step_can_be_named() {
        let listed = listing(STEPS);
        let names = listed.lines().filter_map(|line| line.split(' ').next());
        let names: Vec<String> = names.map(str::to_owned).collect();
        assert_eq!(chosen(&names).unwrap().len(), STEPS.len());
    }

    #[test]
    fn the_step_of_real_agents_runs_only_if_named() {
        let is_named = |names: &[String]| {
            let steps = chosen(names).unwrap();
            steps.iter().any(|step| step.name == "real-clis")
        };
        assert!(is_named(&["real-clis".to_owned()]));
        assert!(!is_named(&[]));
    }

    #[test]
    fn a_clone_replaces_the_advisory_database_url() {
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
    fn a_stamp_of_another_path_means_a_move() {
        let root = Path::new("/src/agent-team");
        assert!(!is_moved(b"", root));
        assert!(!is_moved(b"/src/agent-team", root));
        assert!(is_moved(b"/src/old", root));
        assert!(is_moved(b"/src/agent-team-2", root));
    }

    #[test]
    fn an_unknown_step_is_a_usage_error() {
        let error = chosen(&["frmt".to_owned()]).map(|_| ()).unwrap_err();
        assert_eq!(error.downcast_ref::<Failed>().expect("a `Failed`").code, 2);
    }
}
