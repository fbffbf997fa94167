//! The rule that `cargo build` and a build of the tests enable the same features of each dependency, so that none is
//! compiled twice. Called with the output of `cargo tree`, which lists the features that cargo would enable.

use std::collections::BTreeSet;

use super::tree::{Finding, Severity};

/// Finds dependencies for which dev-dependencies enable further features. Each line is a package, its version and its
/// features; ` (*)` marks a repetition.
pub(super) fn shared(build: &str, with_tests: &str) -> Vec<Finding> {
    let dependencies = |listed| -> BTreeSet<_> {
        str::lines(listed)
            .map(|line| line.trim_end_matches(" (*)"))
            .collect()
    };
    dependencies(build)
        .difference(&dependencies(with_tests))
        .map(|line| Finding {
            path: "tests/Cargo.toml".to_owned(),
            line: 1,
            sentence: format!(
                "`cargo build` enables only these features: {line}; dev-dependencies enable more of them. Enable \
                 those in [dependencies] here, too, so that the package is compiled once"
            ),
            severity: Severity::Error,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_tests_alone_are_found() {
        let build = "serde v1.0.0 [std]\ntokio v1.0.0 [net]\n";
        let tests = "serde v1.0.0 [std]\ntokio v1.0.0 [io-std,net]\ninsta v1.0.0 []\n";
        let found = shared(build, tests);
        assert_eq!(found.len(), 1);
        assert!(found[0].sentence.contains("tokio v1.0.0 [net]"));
        assert_eq!(shared(build, build), []);
    }
}
