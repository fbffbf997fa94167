//! Checks whether tmux can show the team: which tmux the caller has installed, and whether the caller is inside a tmux
//! server that still runs. Called for `up`, and for the reports of `doctor`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use agent_team_protocol::placement::CallerTerminal;
use agent_team_protocol::text::visible_label;
use agent_team_system::directories::Directories;

use super::call::{Tmux, TmuxError};
use super::server::TmuxVariable;
use super::site::{TmuxSession, TmuxSite};
use crate::launch::panes::interface::{Offer, Unavailable};
use crate::launch::program;

/// The oldest usable tmux: it has pane options, and environment variables for new panes.
const OLDEST: (u32, u32) = (3, 0);

/// Columns and rows of a window when the caller has no terminal.
const SIZE: (u16, u16) = (200, 50);

/// Minimum columns and rows of a window.
const SIZE_MIN: (u16, u16) = (80, 24);

/// Why tmux cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("tmux is not installed")]
    Missing,
    #[error("{0} is too old: tmux 3.0 or later is required")]
    TooOld(String),
    #[error("cannot get the version of {}: {error}", binary.display())]
    Silent { binary: PathBuf, error: TmuxError },
    /// Returned only by [`probe_drawn`].
    #[error("you are not inside iTerm2")]
    Outside,
    /// Returned only by [`probe_drawn`].
    #[error("you are already inside tmux")]
    Inside,
}

/// Why the caller's own tmux server cannot be used.
#[derive(Debug, thiserror::Error)]
enum UserServerError {
    #[error("you are not inside tmux")]
    Outside,
    #[error("your TMUX variable is malformed")]
    Malformed,
    #[error("the server in your TMUX variable is gone")]
    Replaced,
    #[error("your server is {0}, which is too old")]
    TooOld(String),
    #[error("your server does not respond: {0}")]
    Silent(#[from] TmuxError),
}

/// Offers the server that the caller runs in, if it can be used, otherwise agent-team's server.
pub(in crate::launch::panes) async fn probe(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<Offer<TmuxSite>, Unavailable> {
    find(terminal, directories).await.map_err(|why| {
        let is_missing = matches!(why, Unusable::Missing);
        Unavailable {
            why: why.to_string(),
            hint: Some("install tmux 3.0 or later, or use --panes headless"),
            doctor_hint: Some(match is_missing {
                true => {
                    "install tmux 3.0 or later to see members in panes; without it one terminal shows them in turn"
                }
                false => "install tmux 3.0 or later for panes",
            }),
            is_fault: !is_missing,
            is_here: false,
        }
    })
}

/// Offers agent-team's server. The caller's iTerm2 draws the windows and panes.
pub(in crate::launch::panes) async fn probe_drawn(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<Offer<TmuxSite>, Unavailable> {
    let found = find_drawn(terminal, directories).await;
    found.map_err(|why| Unavailable {
        why: why.to_string(),
        hint: Some("run the command in iTerm2 outside tmux, with tmux 3.0 or later installed"),
        doctor_hint: None,
        is_fault: false,
        is_here: false,
    })
}

/// Finds tmux for [`probe_drawn`]. iTerm2 may be on another machine: control mode works over any connection.
async fn find_drawn(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<Offer<TmuxSite>, Unusable> {
    if terminal.iterm.is_none() {
        return Err(Unusable::Outside);
    }
    if terminal.tmux.is_some() {
        return Err(Unusable::Inside);
    }
    let installed = InstalledTmux::find(terminal).await?;
    let reason = format!(
        "a separate tmux server ({}), drawn by your iTerm2",
        installed.version
    );
    let (socket, session) = (directories.tmux_socket(), TmuxSession::Own);
    Ok(installed.offer(socket, session, true, reason))
}

async fn find(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<Offer<TmuxSite>, Unusable> {
    let installed = InstalledTmux::find(terminal).await?;
    let version = &installed.version;
    let (socket, session, reason) = match user_server(terminal, &installed.binary).await {
        Ok((socket, session)) => (
            socket,
            TmuxSession::OfUser(session),
            format!("a new window in your tmux ({version})"),
        ),
        Err(why) => {
            let reason = format!("a separate tmux server ({version}), because {why}");
            (directories.tmux_socket(), TmuxSession::Own, reason)
        }
    };
    Ok(installed.offer(socket, session, false, reason))
}

/// A usable tmux.
struct InstalledTmux {
    binary: PathBuf,
    version: String,
    /// Columns and rows for new windows: those of the caller's terminal, or [`SIZE`] without a terminal; at least
    /// [`SIZE_MIN`].
    size: (u16, u16),
}

impl InstalledTmux {
    async fn find(terminal: &CallerTerminal) -> Result<Self, Unusable> {
        let binary = program::find("tmux", &terminal.path).ok_or(Unusable::Missing)?;
        let version = match version_of(&binary).await {
            Ok(version) => version,
            Err(error) => return Err(Unusable::Silent { binary, error }),
        };
        if is_too_old(&version) {
            return Err(Unusable::TooOld(version));
        }
        let size = terminal.size.unwrap_or(SIZE);
        Ok(Self {
            binary,
            version,
            size: (size.0.max(SIZE_MIN.0), size.1.max(SIZE_MIN.1)),
        })
    }

    fn offer(
        self,
        socket: PathBuf,
        session: TmuxSession,
        control_mode: bool,
        reason: String,
    ) -> Offer<TmuxSite> {
        Offer {
            is_callers: session != TmuxSession::Own,
            site: TmuxSite {
                binary: self.binary,
                socket,
                session,
                size: self.size,
                control_mode,
            },
            reason,
        }
    }
}

/// The version of an installed tmux, cached until its file changes.
async fn version_of(binary: &Path) -> Result<String, TmuxError> {
    /// The version of each binary, with the binary's device, inode and change time.
    type Versions = BTreeMap<PathBuf, ((u64, u64, i64, i64), String)>;
    static VERSIONS: Mutex<Versions> = Mutex::new(BTreeMap::new());
    // A panic cannot leave the map half-written: no code that can panic runs while the lock is held.
    let versions = || VERSIONS.lock().unwrap_or_else(PoisonError::into_inner);

    let file = binary.metadata()?;
    let file = (file.dev(), file.ino(), file.ctime(), file.ctime_nsec());
    if let Some((before, version)) = versions().get(binary)
        && *before == file
    {
        return Ok(version.clone());
    }
    let version = visible_label(&Tmux::version(binary).await?, 40);
    versions().insert(binary.to_owned(), (file, version.clone()));
    Ok(version)
}

/// The socket of the caller's tmux server, and the id of the caller's session on it.
async fn user_server(
    terminal: &CallerTerminal,
    binary: &Path,
) -> Result<(PathBuf, String), UserServerError> {
    let tmux = terminal
        .tmux
        .as_deref()
        .filter(|tmux| !tmux.is_empty())
        .ok_or(UserServerError::Outside)?;
    let inside = TmuxVariable::parse(tmux).ok_or(UserServerError::Malformed)?;
    let server = Tmux::new(binary.to_owned(), inside.socket.clone(), None);
    // Ask for the current session of the caller's pane: the pane may have been moved out of the session in `TMUX`, and
    // the caller's client may show another session.
    let target = terminal
        .tmux_pane
        .as_deref()
        .filter(|pane| is_pane(pane))
        .unwrap_or(&inside.session);
    let answer = server
        .show(target, "#{pid}\t#{session_id}\t#{version}")
        .await?;
    let mut fields = answer.split('\t');
    let (pid, session) = (
        fields.next().unwrap_or_default(),
        fields.next().unwrap_or_default(),
    );
    let version = fields.next().unwrap_or_default();
    // Pane ids are unique per server only. `TMUX` can be left over from an earlier server at the same socket. Its ids
    // then name other panes, so compare the server's pid. tmux answers with empty fields for an unknown id.
    if pid != inside.pid.to_string() || !session.starts_with('$') {
        return Err(UserServerError::Replaced);
    }
    if is_too_old(version) {
        return Err(UserServerError::TooOld(format!(
            "tmux {}",
            visible_label(version, 40)
        )));
    }
    Ok((inside.socket, session.to_owned()))
}

fn is_pane(text: &str) -> bool {
    text.strip_prefix('%')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the output of `tmux -V`, such as `tmux 3.3a`, `next-3.6` or `master`, names a version below [`OLDEST`]. A
/// version without a release number counts as new; so does OpenBSD's tmux, which is numbered by OpenBSD releases.
fn is_too_old(version: &str) -> bool {
    if version.contains("openbsd") {
        return false;
    }
    let mut numbers = version
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty());
    let mut number = || numbers.next().and_then(|digits| digits.parse().ok());
    let Some(major) = number() else { return false };
    (major, number().unwrap_or(0)) < OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently() {
        for new in [
            "tmux 3.0",
            "tmux 3.0a",
            "tmux 3.3a",
            "tmux 10.1",
            "tmux next-3.6",
            "tmux master",
            "tmux openbsd-2.9",
            "",
        ] {
            assert!(!is_too_old(new), "{new}");
        }
        for old in ["tmux 2.9a", "tmux 1.8", "2.6", "tmux next-2.9"] {
            assert!(is_too_old(old), "{old}");
        }
    }
}
