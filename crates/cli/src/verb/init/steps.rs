//! The build steps of a project, as its own files define them. Reads the files without running anything; a file that
//! cannot be read has no steps. Called by `init`.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A task of the team file. No text contains a quotation mark or a backslash.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) run: String,
    /// The title of an earlier step.
    pub(super) after: Option<&'static str>,
}

fn step(title: &'static str, run: &str, after: Option<&'static str>) -> Step {
    let run = run.to_owned();
    Step { title, run, after }
}

pub(super) fn cargo(_: &Path) -> Vec<Step> {
    vec![
        step("Format", "cargo fmt --check", None),
        step("Build", "cargo build", None),
        step("Lint", "cargo clippy --all-targets", Some("Build")),
        step("Test", "cargo test", Some("Build")),
    ]
}

/// The text of the script `test` that `npm init` writes, which always fails.
const NO_TEST: &str = "Error: no test specified";

/// The scripts of `package.json`, with the package manager of the lock file.
pub(super) fn npm(project: &Path) -> Vec<Step> {
    let package = fs::read_to_string(project.join("package.json")).unwrap_or_default();
    let package: Value = serde_json::from_str(&package).unwrap_or_default();
    let has = |script: &str| {
        let line = package["scripts"][script].as_str();
        line.is_some_and(|line| !line.contains(NO_TEST))
    };
    let lock_files = [
        ("package-lock.json", "npm", "npm ci"),
        ("pnpm-lock.yaml", "pnpm", "pnpm install --frozen-lockfile"),
        ("yarn.lock", "yarn", "yarn install"),
    ];
    let locked = lock_files
        .into_iter()
        .find(|(file, ..)| project.join(file).is_file());
    let (_, program, install) = locked.unwrap_or(("", "npm", "npm install"));
    let run = |script: &str| format!("{program} run {script}");
    let mut steps = vec![step("Install", install, None)];
    if has("lint") {
        steps.push(step("Lint", &run("lint"), Some("Install")));
    }
    if has("build") {
        steps.push(step("Build", &run("build"), Some("Install")));
    }
    if has("test") {
        let after = if has("build") { "Build" } else { "Install" };
        steps.push(step("Test", &run("test"), Some(after)));
    }
    steps
}

/// The steps of a Python project. `-B`: the tests write no bytecode beside the sources, which members share.
pub(super) fn python(project: &Path) -> Vec<Step> {
    let mut steps = vec![step("Compile", "python3 -m compileall -q .", None)];
    let mentions_pytest = |file: &str| {
        let text = fs::read_to_string(project.join(file));
        text.is_ok_and(|text| text.contains("pytest"))
    };
    let configurations = ["pyproject.toml", "setup.cfg", "tox.ini", "requirements.txt"];
    let has_tests = ["tests", "test"]
        .iter()
        .any(|name| project.join(name).is_dir());
    if project.join("pytest.ini").is_file() || configurations.into_iter().any(mentions_pytest) {
        steps.push(step("Test", "python3 -B -m pytest", Some("Compile")));
    } else if has_tests {
        steps.push(step(
            "Test",
            "python3 -B -m unittest discover",
            Some("Compile"),
        ));
    }
    steps
}

/// The target `build` or else the first target of the Makefile, its target `lint`, and `check` or else `test`. Without
/// `build`, a first target that checks does not count as a build.
pub(super) fn make(project: &Path) -> Vec<Step> {
    // `make` tries these names in this order.
    let names = ["GNUmakefile", "makefile", "Makefile"];
    let mut files = names
        .iter()
        .map(|name| fs::read_to_string(project.join(name)));
    let makefile = files.find_map(Result::ok).unwrap_or_default();
    let has = |target: &str| targets(&makefile).any(|known| known == target);
    let first = targets(&makefile).next();
    let build = match first {
        _ if has("build") => Some("make build"),
        Some("lint" | "check" | "test") => None,
        Some(_) | None => Some("make"),
    };
    let mut steps: Vec<_> = build
        .map(|line| step("Build", line, None))
        .into_iter()
        .collect();
    let after = build.map(|_| "Build");
    if has("lint") {
        steps.push(step("Lint", "make lint", after));
    }
    if has("check") {
        steps.push(step("Check", "make check", after));
    } else if has("test") {
        steps.push(step("Test", "make test", after));
    }
    steps
}

/// The targets of the rules in a Makefile, without the rules of included files.
fn targets(makefile: &str) -> impl Iterator<Item = &str> {
    let rules = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', ' ', '.']));
    let rules = rules.filter_map(|line| line.split_once(':'));
    // `NAME := VALUE` and `NAME ::= VALUE` assign.
    let rules = rules.filter(|(_, rest)| !rest.trim_start_matches(':').starts_with('='));
    rules.flat_map(|(names, _)| names.split_whitespace())
}
