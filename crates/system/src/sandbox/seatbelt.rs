//! A profile in the language of macOS's `sandbox-exec`. Called by the twin of `os/linux/sandbox.rs`.
//!
//! Written from what is published about it, and compared with what it should be; never run on a Mac by us.
//! Of two rules that fit, the later one holds: hence the order, by depth.

use std::fmt::Write;
use std::path::Path;

use super::{Network, Profile};

/// What every program needs, none of which reaches another.
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
    let mut places: Vec<_> = hidden
        .chain(readable)
        .chain(writable)
        .chain(protected)
        .collect();
    places.sort_by_key(|(path, _)| path.components().count());
    let mut text = BASE.to_owned();
    for (path, rule) in places {
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

/// Closes a rule with a place and all below.
fn below(text: &mut String, path: &Path) {
    let path = path.to_string_lossy();
    let quoted = path.replace('\\', "\\\\").replace('"', "\\\"");
    writeln!(text, "(subpath \"{quoted}\"))").expect("a string takes everything");
}
