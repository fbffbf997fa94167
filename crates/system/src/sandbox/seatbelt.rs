//! Translates a profile to the language of macOS's `sandbox-exec`. Called by `os/macos.rs`.
//!
//! This translation follows published documentation. Its tests only compare text; it was never tried on a Mac. If two
//! rules match a path, the later rule applies, so rules are ordered by the depth of their paths.

use std::fmt::Write;
use std::path::Path;

use super::{Network, Profile};

/// Permissions that every program needs. None of them affects processes outside the sandbox.
const BASE: &str = r#"(version 1)
(deny default)
(allow process-exec)
(allow process-fork)
(allow process-info* (target same-sandbox))
(allow signal (target same-sandbox))
(allow sysctl-read)
(allow ipc-posix-sem)
(allow pseudo-tty)
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
(allow file-read*)
(allow file-write-data (literal "/dev/null") (literal "/dev/zero") (literal "/dev/tty"))
"#;

pub(crate) fn profile(profile: &Profile) -> String {
    // Scratch directories are only hidden: this sandbox cannot provide empty directories in their place.
    let hidden = profile
        .hidden
        .iter()
        .chain(&profile.scratch)
        .map(|path| (path, "(deny file-read* file-write* "));
    let readable = profile
        .readable
        .iter()
        .map(|path| (path, "(allow file-read* "));
    let writable = profile
        .writable
        .iter()
        .map(|path| (path, "(allow file-read* file-write* "));
    let absent = profile.absent.iter().flat_map(|absent| &absent.all);
    let protected = profile
        .protected
        .iter()
        .chain(absent.map(|absent| &absent.path))
        .map(|path| (path, "(deny file-write* "));
    let mut rules: Vec<_> = hidden
        .chain(readable)
        .chain(writable)
        .chain(protected)
        .collect();
    rules.sort_by_key(|(path, _)| path.components().count());
    let mut text = BASE.to_owned();
    for (path, rule) in rules {
        text.push_str(rule);
        below(&mut text, path);
    }
    if profile.network == Network::Host {
        text.push_str(
            "(allow network*)\n(deny network* (remote unix-socket))\n(allow system-socket)\n",
        );
    }
    text
}

/// Completes a rule with a path and everything below it.
fn below(text: &mut String, path: &Path) {
    let path = path.to_string_lossy();
    let quoted = path.replace('\\', "\\\\").replace('"', "\\\"");
    writeln!(text, "(subpath \"{quoted}\"))").expect("writing to a String cannot fail");
}
