//! Rules about one Rust file at a time.

use super::code::{line_at, words};
use super::tree::{File, Finding, Weight};

/// From here on a file is looked at with suspicion, and from there on it is split.
const LARGE: usize = 400;
const TOO_LARGE: usize = 800;

pub(super) fn opens_with_its_job(file: &File) -> Vec<Finding> {
    if file.text.starts_with("//!") {
        return Vec::new();
    }
    vec![file.finding(
        1,
        "does not open with `//!`: its job, who calls it, what it must never do",
    )]
}

pub(super) fn nothing_is_left_open(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        for at in words(&file.code, name) {
            if file.code[at + name.len()..].starts_with('!') {
                findings.push(file.finding(
                    line_at(&file.code, at),
                    format!("`{name}!` is not for committed code"),
                ));
            }
        }
    }
    for (at, _) in file.code.match_indices("#[ignore") {
        findings.push(file.finding(
            line_at(&file.code, at),
            "a test that is not run proves nothing: fix it or remove it",
        ));
    }
    findings
}

/// A sleeping test is slow where it need not be, and wrong where it must not be.
pub(super) fn tests_never_sleep(file: &File) -> Vec<Finding> {
    let is_test = file.path.starts_with("tests/") || file.path.contains("/tests/");
    // Torture and simulation are no tests of one event: their clients and faults are spread over time.
    let is_spread = |path: &str| {
        let places = ["tests/src/torture/", "tests/src/simulation/"];
        places.iter().any(|place| path.starts_with(place))
    };
    if !is_test || is_spread(&file.path) {
        return Vec::new();
    }
    words(&file.code, "sleep")
        .filter(|at| {
            file.code[at + "sleep".len()..]
                .trim_start()
                .starts_with('(')
        })
        .map(|at| {
            file.finding(
                line_at(&file.code, at),
                "a test waits for an event, never for a time",
            )
        })
        .collect()
}

pub(super) fn unsafe_only_in_system(file: &File) -> Vec<Finding> {
    if file.path.starts_with("crates/system/") {
        return Vec::new();
    }
    words(&file.code, "unsafe")
        .map(|at| {
            file.finding(
                line_at(&file.code, at),
                "`unsafe` belongs in crates/system alone",
            )
        })
        .collect()
}

pub(super) fn stays_small(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().count();
    if lines <= LARGE {
        return Vec::new();
    }
    let mut finding = file.finding(
        lines,
        format!("has {lines} lines; {LARGE} are enough, {TOO_LARGE} the end"),
    );
    if lines <= TOO_LARGE {
        finding.weight = Weight::Warns;
    }
    vec![finding]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File::new(path, text.to_owned())
    }

    #[test]
    fn a_file_without_its_job_is_found() {
        assert_eq!(
            opens_with_its_job(&file("crates/a/src/lib.rs", "fn main() {}\n")).len(),
            1
        );
        assert_eq!(
            opens_with_its_job(&file("crates/a/src/lib.rs", "//! Does a.\n")).len(),
            0
        );
    }

    #[test]
    fn what_is_left_open_is_found_on_its_line() {
        for open in [
            "todo!()",
            "unimplemented!(\"x\")",
            "dbg!(x)",
            "#[ignore]",
            "#[ignore = \"slow\"]",
        ] {
            let findings =
                nothing_is_left_open(&file("crates/a/src/lib.rs", &format!("//! A.\n\n{open}\n")));
            assert_eq!(
                findings
                    .iter()
                    .map(|finding| finding.line)
                    .collect::<Vec<_>>(),
                [3],
                "{open}"
            );
        }
        assert_eq!(
            nothing_is_left_open(&file("a.rs", "// todo!()\nlet a = \"dbg!\"; debug!(1);\n")),
            []
        );
    }

    #[test]
    fn a_sleeping_test_is_found_and_a_sleeping_program_is_not() {
        for sleep in [
            "std::thread::sleep(d)",
            "tokio::time::sleep (d).await",
            "sleep(d)",
        ] {
            assert_eq!(
                tests_never_sleep(&file("tests/e2e/up.rs", sleep)).len(),
                1,
                "{sleep}"
            );
            assert_eq!(
                tests_never_sleep(&file("crates/a/tests/up.rs", sleep)).len(),
                1,
                "{sleep}"
            );
            assert_eq!(
                tests_never_sleep(&file("crates/a/src/lib.rs", sleep)).len(),
                0,
                "{sleep}"
            );
        }
        assert_eq!(
            tests_never_sleep(&file(
                "tests/e2e/up.rs",
                "run = \"sleep 60\"; sh(\"sleep(1)\")"
            ))
            .len(),
            0
        );
    }

    #[test]
    fn unsafe_outside_of_system_is_found() {
        assert_eq!(
            unsafe_only_in_system(&file("crates/core/src/lib.rs", "fn f() { unsafe { g() } }"))
                .len(),
            1
        );
        assert_eq!(
            unsafe_only_in_system(&file(
                "crates/core/src/lib.rs",
                "#![deny(unsafe_code)] // unsafe"
            ))
            .len(),
            0
        );
        assert_eq!(
            unsafe_only_in_system(&file("crates/system/src/os/linux.rs", "unsafe { g() }")).len(),
            0
        );
    }

    #[test]
    fn a_large_file_warns_and_a_too_large_one_fails() {
        let weights = |lines: usize| {
            let findings = stays_small(&file("a.rs", &"x\n".repeat(lines)));
            findings
                .into_iter()
                .map(|finding| finding.weight)
                .collect::<Vec<_>>()
        };
        assert_eq!(weights(LARGE), []);
        assert_eq!(weights(LARGE + 1), [Weight::Warns]);
        assert_eq!(weights(TOO_LARGE), [Weight::Warns]);
        assert_eq!(weights(TOO_LARGE + 1), [Weight::Fails]);
    }
}
