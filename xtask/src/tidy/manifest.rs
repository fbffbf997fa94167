//! The manifests of the workspace, and the rule that packages inherit the workspace lints.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::tree::{File, Finding, Tree};

/// One package of the workspace.
#[derive(Debug)]
pub(super) struct Manifest<'a> {
    pub(super) file: &'a File,
    pub(super) name: String,
    /// Packages that a build of this package needs.
    pub(super) needs: BTreeSet<String>,
    /// Packages that only its tests need.
    pub(super) tests_need: BTreeSet<String>,
    inherits_lints: bool,
}

pub(super) fn manifests(tree: &Tree) -> Result<Vec<Manifest<'_>>> {
    let root = match tree.find("Cargo.toml") {
        Some(file) => parse(file)?,
        None => Table::new(),
    };
    let shared = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let mut manifests = Vec::new();
    for file in tree
        .files()
        .filter(|file| file.path.ends_with("Cargo.toml"))
    {
        let table = parse(file)?;
        let Some(name) = table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(Value::as_str)
        else {
            continue;
        };
        let mut manifest = Manifest {
            file,
            name: name.to_owned(),
            needs: BTreeSet::new(),
            tests_need: BTreeSet::new(),
            inherits_lints: table.get("lints").and_then(|lints| lints.get("workspace"))
                == Some(&Value::Boolean(true)),
        };
        let targets = table.get("target").and_then(Value::as_table);
        for table in std::iter::once(&table).chain(
            targets
                .into_iter()
                .flat_map(Table::values)
                .filter_map(Value::as_table),
        ) {
            manifest
                .needs
                .extend(packages(table, "dependencies", shared));
            manifest
                .needs
                .extend(packages(table, "build-dependencies", shared));
            manifest
                .tests_need
                .extend(packages(table, "dev-dependencies", shared));
        }
        manifests.push(manifest);
    }
    Ok(manifests)
}

fn parse(file: &File) -> Result<Table> {
    file.text.parse().with_context(|| file.path.clone())
}

/// The real package names in a dependency table. A key of the table may be another name for the package.
fn packages(table: &Table, kind: &str, shared: Option<&Table>) -> Vec<String> {
    let Some(dependencies) = table.get(kind).and_then(Value::as_table) else {
        return Vec::new();
    };
    let package = |value: &Value| {
        value
            .get("package")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    dependencies
        .iter()
        .map(|(key, value)| {
            package(value)
                .or_else(|| package(shared?.get(key)?))
                .unwrap_or_else(|| key.clone())
        })
        .collect()
}

pub(super) fn lints_are_inherited(manifests: &[Manifest<'_>]) -> Vec<Finding> {
    manifests
        .iter()
        .filter(|manifest| !manifest.inherits_lints)
        .map(|manifest| manifest.file.finding(1, "must inherit the workspace lints"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_workspace_lints_is_found() {
        let tree = Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            (
                "crates/b/Cargo.toml",
                "[package]\nname = \"b\"\n[lints]\nworkspace = true\n",
            ),
        ]);
        let findings = lints_are_inherited(&manifests(&tree).unwrap());
        let paths: Vec<_> = findings
            .iter()
            .map(|finding| finding.path.as_str())
            .collect();
        assert_eq!(paths, ["crates/a/Cargo.toml"]);
    }

    #[test]
    fn renamed_packages_are_found() {
        let renamed = "rt = { package = \"tokio\", version = \"1\" }\n";
        let directly = format!("[package]\nname = \"a\"\n[dependencies]\n{renamed}");
        let shared = format!("[workspace.dependencies]\n{renamed}");
        let tree = Tree::of(&[
            ("Cargo.toml", &shared),
            ("crates/a/Cargo.toml", &directly),
            (
                "crates/b/Cargo.toml",
                "[package]\nname = \"b\"\n[dependencies]\nrt.workspace = true\n",
            ),
        ]);
        for manifest in manifests(&tree).unwrap() {
            assert_eq!(
                manifest.needs,
                BTreeSet::from(["tokio".to_owned()]),
                "{}",
                manifest.name
            );
        }
    }
}
