//! `cargo xtask tidy`: the rules that no compiler checks.
//!
//! Each rule is a function from what was read to findings, so that a made-up tree can prove that it is able to fail.
//! Rules read; none of them changes a file.

mod code;
mod ids;
mod layering;
mod manifest;
mod source;
mod text;
mod tree;

use anyhow::Result;

use crate::run::{Failed, cargo, output, root};
use tree::{Finding, Tree, Weight};

/// Prints every finding as `path:line: sentence`; fails if one of them weighs enough.
pub(crate) fn run() -> Result<()> {
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
        // Features of the whole workspace would count as the package's own.
        tree.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
        let listed = output(&mut tree)?;
        findings.extend(layering::links(link, &listed));
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings
        .iter()
        .filter(|finding| finding.weight == Weight::Fails)
        .count()
    {
        0 => Ok(()),
        count => Err(Failed {
            what: format!("tidy: broken rules: {count}"),
            code: 1,
        }
        .into()),
    }
}

/// Every rule that needs nothing but the files.
fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let manifests = manifest::manifests(tree)?;
    let mut findings = layering::edges(&manifests);
    findings.extend(manifest::lints_are_inherited(&manifests));
    findings.extend(ids::core_knows_ids_only(tree));
    findings.extend(text::no_forbidden_names(tree));
    findings.extend(text::no_places_of_one_machine(tree));
    findings.extend(text::cited_invariants_exist(tree));
    for file in tree.rust() {
        findings.extend(source::opens_with_its_job(file));
        findings.extend(source::nothing_is_left_open(file));
        findings.extend(source::tests_never_sleep(file));
        findings.extend(source::unsafe_only_in_system(file));
        findings.extend(source::stays_small(file));
    }
    Ok(findings)
}
