//! `cargo xtask tidy`: checks rules that the compiler does not check.
//!
//! Each rule is a function from the files, or from the output of `cargo tree`, to findings, so that a test can call the
//! rule with input that violates it. Rules change no file.

mod circles;
mod code;
mod features;
mod ids;
mod layering;
mod manifest;
mod prompt_digest;
mod source;
mod text;
mod tree;
mod words;

use anyhow::Result;

use crate::run::{Failed, cargo, output, root};
use tree::{Finding, Severity, Tree};

/// Prints each violation as `path:line: text`, and fails if there is a violation. Prints the number of warnings, or,
/// with `sizes`, each warning.
pub(crate) fn run(sizes: bool) -> Result<()> {
    let tree = Tree::read(root())?;
    let mut findings = check(&tree)?;
    for link in layering::LINKS {
        let mut tree = cargo(&[
            "tree",
            "--quiet",
            "--package",
            link.package,
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        // The caller may have set this variable. With unified features, `cargo tree` would also list optional
        // dependencies that only other packages enable.
        tree.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
        let listed = output(&mut tree)?;
        findings.extend(layering::links(link, &listed));
    }
    findings.extend(features::shared(
        &features("normal,build")?,
        &features("normal,build,dev")?,
    ));
    findings.sort();
    let (violations, warnings): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| finding.severity == Severity::Error);
    for finding in &violations {
        println!("{finding}");
    }
    if sizes {
        for warning in &warnings {
            println!("{warning}");
        }
    } else if !warnings.is_empty() {
        let count = warnings.len();
        println!(
            "   files that are larger than they should be: {count}; list them with: cargo xtask tidy --sizes"
        );
    }
    match violations.len() {
        0 => Ok(()),
        count => Err(Failed {
            what: format!("tidy: violations: {count}"),
            code: 1,
        }
        .into()),
    }
}

/// The digest of the prompts, for the figures of an evaluation.
pub(crate) fn prompt_digest() -> Result<String> {
    Ok(prompt_digest::digest(&Tree::read(root())?))
}

/// Each dependency of the workspace through edges of these kinds, with its features.
fn features(edges: &str) -> Result<String> {
    output(&mut cargo(&[
        "tree",
        "--quiet",
        "--workspace",
        "--edges",
        edges,
        "--prefix",
        "none",
        "--format",
        "{p} [{f}]",
    ]))
}

/// The rules that need only the files.
fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let manifests = manifest::manifests(tree)?;
    let mut findings = layering::edges(&manifests);
    findings.extend(manifest::lints_are_inherited(&manifests));
    findings.extend(ids::core_uses_only_allowed_modules(tree));
    findings.extend(circles::no_import_circles(tree));
    findings.extend(text::no_forbidden_names(tree));
    findings.extend(text::no_machine_paths(tree));
    findings.extend(text::cited_invariants_exist(tree));
    findings.extend(text::filtered_tests_exist(tree));
    findings.extend(words::plain_words(tree));
    findings.extend(prompt_digest::figures_are_current(tree));
    for file in tree.rust() {
        findings.extend(source::has_module_header(file));
        findings.extend(source::no_unfinished_code(file));
        findings.extend(source::tests_never_sleep(file));
        findings.extend(source::unsafe_only_in_system(file));
        findings.extend(source::stays_small(file));
    }
    Ok(findings)
}
