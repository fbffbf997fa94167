//! Makes the installed file about 3 MB smaller: the linker packs the addresses that the loader relocates.
//!
//! glibc loads such a file since version 2.36 (see `DT_RELR` in its NEWS). With an older glibc, the file gets the usual
//! format. Linkers that do not know the option ignore it with a warning.

use std::env;
use std::process::Command;

/// The first version of glibc that loads packed relocations.
const SUPPORTED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let is_native = env::var("HOST") == env::var("TARGET");
    let is_optimised = is("PROFILE", "release");
    if is_native && is_optimised && is("CARGO_CFG_TARGET_ENV", "gnu") && is_supported() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the glibc of this machine loads packed relocations.
fn is_supported() -> bool {
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else {
        return false;
    };
    // The output is, for example, `glibc 2.36`.
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().strip_prefix("glibc ").and_then(|version| {
        let (major, minor) = version.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    version.is_some_and(|version: (u32, u32)| version >= SUPPORTED)
}
