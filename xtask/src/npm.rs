//! Packages of npm that tests use.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::run::{check, root, succeeds};

/// The published packages that the end-to-end tests of the HTTP service use, by their directory below `target`.
const TEST_PACKAGES: [(&str, &[&str]); 2] = [
    ("axe", &["axe-core@4.14.1"]),
    (
        "ag-ui",
        &["@ag-ui/client@1.0.0", "@ag-ui/core@1.0.0", "zod@4.4.3"],
    ),
];

pub(crate) fn is_installed() -> bool {
    succeeds(Command::new("npm").arg("--version"))
}

/// Installs these packages in the directory, unless they are there.
pub(crate) fn install(directory: &Path, packages: &[&str]) -> Result<()> {
    let wanted = packages.join(" ");
    let stamp = directory.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("   installing {wanted}");
    std::fs::create_dir_all(directory)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm.arg("--prefix").arg(directory).args(packages);
    check(npm.current_dir(directory))?;
    Ok(std::fs::write(stamp, wanted)?)
}

/// Installs the packages of the end-to-end tests. Without npm or its registry, these tests are skipped with the reason.
pub(crate) fn install_for_tests() -> Result<()> {
    if !is_installed() {
        println!("   npm is not installed");
        return Ok(());
    }
    for (name, packages) in TEST_PACKAGES {
        if let Err(error) = install(&root().join("target").join(name), packages) {
            println!("   cannot install {name}: {error:#}");
        }
    }
    Ok(())
}
