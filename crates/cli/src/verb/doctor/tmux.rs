//! Whether tmux is there and new enough. Without it members run headless, which is no fault.

use std::process::{Command, Stdio};

use super::Check;

const NAME: &str = "tmux";

/// The oldest that we work with.
const OLDEST: (u32, u32) = (3, 0);

pub(super) fn check() -> Check {
    let said = match Command::new("tmux").arg("-V").stdin(Stdio::null()).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => {
            return Check::neutral(NAME, format!("it cannot be run: {error}")).hint(
                "install tmux 3.0 or newer to see members in panes; without it they run headless",
            );
        }
    };
    let inside = std::env::var_os("TMUX").is_some_and(|tmux| !tmux.is_empty());
    let place = if inside {
        "this terminal is inside it"
    } else {
        "this terminal is not inside it"
    };
    let detail = format!("{said}; {place}");
    match version(&said) {
        Some(version) if version < OLDEST => {
            Check::bad(NAME, detail).hint("tmux 3.0 or newer is needed for panes")
        }
        Some(_) => Check::good(NAME, detail),
        None => Check::neutral(NAME, detail)
            .hint("its version cannot be told; it is taken for a new one"),
    }
}

/// `tmux 3.3a`, `tmux next-3.6`, `tmux openbsd-7.4`; `tmux master` has none.
fn version(said: &str) -> Option<(u32, u32)> {
    let numbers = said.trim_start_matches(|c: char| !c.is_ascii_digit());
    let (major, rest) = numbers.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_is_read_however_it_is_decorated() {
        let said = [
            ("tmux 3.3a", Some((3, 3))),
            ("tmux next-3.6", Some((3, 6))),
            ("tmux openbsd-7.4", Some((7, 4))),
            ("tmux 2.6", Some((2, 6))),
            ("tmux 3.0-rc5", Some((3, 0))),
            ("tmux master", None),
            ("", None),
        ];
        for (said, expected) in said {
            assert_eq!(version(said), expected, "{said}");
        }
    }
}
