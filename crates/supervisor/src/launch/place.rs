//! Which terminal a team's members are shown in, and why: decided from what the caller's terminal is, never from the
//! supervisor's own environment. An explicit choice that is not there is refused; only `auto` falls back, aloud.

use std::path::{Path, PathBuf};

use agent_team_protocol::method::CallerTerminal;
use agent_team_protocol::spec::PlacementChoice;
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::directories::Directories;

use super::tmux::{Tmux, TmuxError};
use crate::settings::{Place, Terminal, TmuxPlace, TmuxSession};

/// Where tmux is looked for besides the caller's PATH: a daemon's callers may have a bare one.
const USUAL_PLACES: [&str; 4] = ["/usr/local/bin", "/opt/homebrew/bin", "/usr/bin", "/bin"];

/// The oldest tmux that has pane options and environments for new panes.
const OLDEST: Version = Version { major: 3, minor: 0 };

/// A window's size when the caller has no terminal to take it from.
const SIZE: (u16, u16) = (200, 50);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// From `tmux -V`: `tmux 3.3a`, `tmux next-3.6`. What names no number (`master`) is taken as new.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| c.is_ascii_digit())?;
        let mut parts = text[digits..].split(|c: char| !c.is_ascii_digit());
        let major = parts.next()?.parse().ok()?;
        let minor = parts
            .next()
            .and_then(|minor| minor.parse().ok())
            .unwrap_or(0);
        Some(Self { major, minor })
    }

    fn is_too_old(text: &str) -> bool {
        // OpenBSD numbers its tmux by the system's releases.
        !text.contains("openbsd") && Self::parse(text).is_some_and(|version| version < OLDEST)
    }
}

/// Why tmux cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("tmux is not installed")]
    Missing,
    #[error("{version} is too old: 3.0 is the oldest that serves")]
    TooOld { version: String },
    #[error("tmux does not answer: {0}")]
    Silent(#[from] TmuxError),
}

/// Chooses the place for a team.
pub(crate) async fn choose(
    choice: PlacementChoice,
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<Place, Refusal> {
    match choice {
        PlacementChoice::Headless => Ok(headless("it was asked for".to_owned())),
        PlacementChoice::Tmux => in_tmux(terminal, directories).await.map_err(|unusable| {
            Refusal::new(
                ErrorCode::PlacementUnavailable,
                format!("no panes in tmux: {unusable}"),
            )
            .hint("install tmux 3.0 or later, or use --panes headless")
        }),
        PlacementChoice::Auto => Ok(match in_tmux(terminal, directories).await {
            Ok(place) => place,
            Err(unusable) => headless(unusable.to_string()),
        }),
    }
}

fn headless(reason: String) -> Place {
    Place {
        terminal: Terminal::Headless,
        reason: format!("headless: {reason}"),
    }
}

async fn in_tmux(terminal: &CallerTerminal, directories: &Directories) -> Result<Place, Unusable> {
    let binary = find(&terminal.path).ok_or(Unusable::Missing)?;
    let version = Tmux::version(&binary).await?;
    if Version::is_too_old(&version) {
        return Err(Unusable::TooOld { version });
    }
    let size = terminal.size.unwrap_or(SIZE);
    let mut reason = format!("tmux on a server of our own ({version})");
    if let Some((socket, pane)) = inside(terminal) {
        let users = Tmux::new(binary.clone(), socket.clone(), None);
        match users.session_of(&pane).await {
            Ok(session) => {
                let session = TmuxSession::Users(session);
                let place = TmuxPlace {
                    binary,
                    socket,
                    session,
                    size,
                };
                let reason = format!("tmux, in a window of its own on your server ({version})");
                return Ok(Place {
                    terminal: Terminal::Tmux(place),
                    reason,
                });
            }
            Err(error) => reason = format!("{reason}, because yours does not answer: {error}"),
        }
    }
    let socket = directories.tmux_socket();
    let place = TmuxPlace {
        binary,
        socket,
        session: TmuxSession::Own,
        size,
    };
    Ok(Place {
        terminal: Terminal::Tmux(place),
        reason,
    })
}

/// The caller's tmux server and pane: `$TMUX` is `socket,pid,session`.
fn inside(terminal: &CallerTerminal) -> Option<(PathBuf, String)> {
    let socket = terminal
        .tmux
        .as_deref()?
        .split(',')
        .next()
        .filter(|socket| !socket.is_empty())?;
    Some((socket.into(), terminal.tmux_pane.clone()?))
}

fn find(path: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .chain(USUAL_PLACES.iter().map(PathBuf::from))
        .map(|directory| directory.join("tmux"))
        .find(|binary| is_executable(binary))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently() {
        assert_eq!(
            Version::parse("tmux 3.3a"),
            Some(Version { major: 3, minor: 3 })
        );
        assert_eq!(
            Version::parse("tmux next-3.6"),
            Some(Version { major: 3, minor: 6 })
        );
        assert_eq!(Version::parse("tmux master"), None);
        for new in [
            "tmux 3.0",
            "tmux 3.0a",
            "tmux 10.1",
            "tmux master",
            "tmux openbsd-2.9",
        ] {
            assert!(!Version::is_too_old(new), "{new}");
        }
        for old in ["tmux 2.9a", "tmux 1.8"] {
            assert!(Version::is_too_old(old), "{old}");
        }
    }

    #[test]
    fn a_caller_is_inside_tmux_only_with_both_variables() {
        let terminal = |tmux: Option<&str>, pane: Option<&str>| CallerTerminal {
            tmux: tmux.map(str::to_owned),
            tmux_pane: pane.map(str::to_owned),
            ..CallerTerminal::default()
        };
        assert_eq!(
            inside(&terminal(Some("/t/s,12,0"), Some("%3"))),
            Some(("/t/s".into(), "%3".to_owned()))
        );
        assert_eq!(inside(&terminal(Some("/t/s,12,0"), None)), None);
        assert_eq!(inside(&terminal(Some(""), Some("%3"))), None);
        assert_eq!(inside(&terminal(None, Some("%3"))), None);
    }
}
