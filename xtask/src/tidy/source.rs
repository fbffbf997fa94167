//! Rules about single Rust files.

use super::code::{line_at, words};
use super::tree::{File, Finding, Severity};

/// A file with more lines causes a warning.
const LARGE: usize = 400;

/// A file with more lines causes an error.
const TOO_LARGE: usize = 800;

pub(super) fn has_module_header(file: &File) -> Vec<Finding> {
    if file.text.starts_with("//!") {
        return Vec::new();
    }
    vec![file.finding(
        1,
        "needs a module header `//!`: what the file does, who calls it, what it must not do",
    )]
}

pub(super) fn no_unfinished_code(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        for at in words(&file.code, name) {
            if file.code[at + name.len()..].starts_with('!') {
                findings.push(file.finding(
                    line_at(&file.code, at),
                    format!("remove `{name}!` before committing"),
                ));
            }
        }
    }
    for (at, _) in file.code.match_indices("#[ignore") {
        findings.push(file.finding(line_at(&file.code, at), "fix or remove the ignored test"));
    }
    findings
}

/// Tests must not sleep: a fixed delay is longer than necessary on a fast machine and too short on a slow one.
pub(super) fn tests_never_sleep(file: &File) -> Vec<Finding> {
    let is_test = file.path.starts_with("tests/") || file.path.contains("/tests/");
    // Torture and simulation are exempt: their clients and faults are spread over time.
    let is_exempt = |path: &str| {
        let directories = ["tests/src/torture/", "tests/src/simulation/"];
        directories
            .iter()
            .any(|directory| path.starts_with(directory))
    };
    if !is_test || is_exempt(&file.path) {
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
                "wait for an event instead of sleeping",
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
                "`unsafe` is allowed only in crates/system",
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
        format!("has {lines} lines; aim for {LARGE}, at most {TOO_LARGE}"),
    );
    if lines <= TOO_LARGE {
        finding.severity = Severity::Warning;
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
    fn a_missing_module_header_is_found() {
        assert_eq!(
            has_module_header(&file("crates/a/src/lib.rs", "fn main() {}\n")).len(),
            1
        );
        assert_eq!(
            has_module_header(&file("crates/a/src/lib.rs", "//! Does a.\n")).len(),
            0
        );
    }

    #[test]
    fn unfinished_code_is_found_with_its_line() {
        for open in [
            "todo!()",
            "unimplemented!(\"x\")",
            "dbg!(x)",
            "#[ignore]",
            "#[ignore = \"slow\"]",
        ] {
            let findings =
                no_unfinished_code(&file("crates/a/src/lib.rs", &format!("//! A.\n\n{open}\n")));
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
            no_unfinished_code(&file("a.rs", "// todo!()\nlet a = \"dbg!\"; debug!(1);\n")),
            []
        );
    }

    #[test]
    fn sleep_is_found_only_in_tests() {
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
    fn unsafe_outside_crates_system_is_found() {
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
    fn large_files_warn_and_too_large_files_fail() {
        let severities = |lines: usize| {
            let findings = stays_small(&file("a.rs", &"x\n".repeat(lines)));
            findings
                .into_iter()
                .map(|finding| finding.severity)
                .collect::<Vec<_>>()
        };
        assert_eq!(severities(LARGE), []);
        assert_eq!(severities(LARGE + 1), [Severity::Warning]);
        assert_eq!(severities(TOO_LARGE), [Severity::Warning]);
        assert_eq!(severities(TOO_LARGE + 1), [Severity::Error]);
    }
}
