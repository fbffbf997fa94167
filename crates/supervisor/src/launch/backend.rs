//! Chooses the terminal backend of a team, with a reason for the user. Called by the server for `up`, and by
//! `agent-teamd --places`.
//!
//! Decides from the caller's terminal, never from the supervisor's own environment. An explicit choice that is not
//! available is refused; only `auto` falls back, and its reason says so.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_team_protocol::method::CallerTerminal;
use agent_team_protocol::placement::PlacementReport;
use agent_team_protocol::spec::PlacementChoice;
use agent_team_protocol::text::visible_label;
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::directories::Directories;

use super::iterm;
use super::tmux::{Tmux, TmuxError, TmuxVariable};
use crate::settings::{TeamPlacement, TerminalBackend, TmuxBackend, TmuxSession};

/// Directories searched in addition to the caller's PATH, because the PATH of a desktop or a daemon can be minimal.
const PROGRAM_DIRECTORIES: [&str; 6] = [
    "/opt/homebrew/bin",
    "/usr/local/bin",
    "/opt/local/bin",
    "/run/current-system/sw/bin",
    "/usr/bin",
    "/bin",
];

/// The oldest usable tmux: it has pane options, and environment variables for new panes.
const OLDEST: (u32, u32) = (3, 0);

/// Columns and rows of a window when the caller has no terminal, and the minimum.
const SIZE: (u16, u16) = (200, 50);
const SIZE_LEAST: (u16, u16) = (80, 24);

/// How long iTerm2 may take to answer. It can show a dialog to the user; the long limit applies only where iTerm2 was
/// requested explicitly.
const ITERM_LIMIT: Duration = Duration::from_secs(40);
const ITERM_PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Added to everything about iTerm2 until it was tested on macOS.
const UNTESTED: &str = "tested against a protocol server, not yet on a Mac";

/// Why tmux cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("tmux is not installed")]
    Missing,
    #[error("{0} is too old: tmux 3.0 or later is required")]
    TooOld(String),
    #[error("cannot get the version of {}: {error}", binary.display())]
    Silent { binary: PathBuf, error: TmuxError },
    /// For `iterm-tmux` only.
    #[error("you are not inside iTerm2")]
    Outside,
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

/// Chooses the backend for a team's members.
pub(crate) async fn choose(
    choice: PlacementChoice,
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<TeamPlacement, Refusal> {
    let unavailable = |what: &str, why: &dyn std::fmt::Display| {
        Refusal::new(
            ErrorCode::PlacementUnavailable,
            format!("cannot open panes in {what}: {why}"),
        )
    };
    match choice {
        PlacementChoice::Headless => Ok(headless("as requested")),
        PlacementChoice::Hosted => Ok(TeamPlacement {
            terminal: TerminalBackend::Hosted,
            reason: "in one process, as requested".to_owned(),
        }),
        PlacementChoice::Tmux => in_tmux(terminal, directories).await.map_err(|why| {
            unavailable("tmux", &why).hint("install tmux 3.0 or later, or use --panes headless")
        }),
        PlacementChoice::Iterm => {
            in_iterm(terminal, directories, ITERM_LIMIT)
                .await
                .map_err(|why| {
                    let refusal = unavailable("iTerm2", &why);
                    match why.hint() {
                        Some(hint) => refusal.hint(hint),
                        None => refusal,
                    }
                })
        }
        PlacementChoice::ItermTmux => drawn_by_iterm(terminal, directories).await.map_err(|why| {
            unavailable("tmux drawn by iTerm2", &why)
                .hint("run it in iTerm2 outside tmux, with tmux 3.0 or later installed")
        }),
        PlacementChoice::Auto => Ok(auto(terminal, directories).await),
    }
}

/// The first usable of: the caller's tmux, the caller's iTerm2, our own tmux server, no panes.
async fn auto(terminal: &CallerTerminal, directories: &Directories) -> TeamPlacement {
    let tmux = in_tmux(terminal, directories).await;
    let is_users = |team_placement: &TeamPlacement| match &team_placement.terminal {
        TerminalBackend::Tmux(tmux) => tmux.session != TmuxSession::Own,
        TerminalBackend::Iterm(_) | TerminalBackend::Headless | TerminalBackend::Hosted => false,
    };
    if let Ok(team_placement) = &tmux
        && is_users(team_placement)
    {
        return team_placement.clone();
    }
    let why = match in_iterm(terminal, directories, ITERM_PROBE_LIMIT).await {
        Ok(team_placement) => return team_placement,
        Err(iterm::availability::Unusable::Outside) => None,
        Err(why) => Some(why),
    };
    let mut team_placement = tmux.unwrap_or_else(|unusable| without_panes(terminal, &unusable));
    if let Some(why) = why {
        team_placement.reason = format!("{}; no panes in iTerm2: {why}", team_placement.reason);
        if let Some(hint) = why.hint() {
            team_placement.reason = format!("{} ({hint})", team_placement.reason);
        }
    }
    team_placement
}

async fn in_iterm(
    terminal: &CallerTerminal,
    directories: &Directories,
    limit: Duration,
) -> Result<TeamPlacement, iterm::availability::Unusable> {
    let backend = iterm::availability::choose(terminal, &directories.run, limit).await?;
    Ok(TeamPlacement {
        terminal: TerminalBackend::Iterm(backend),
        reason: "a new tab in your iTerm2".to_owned(),
    })
}

/// Our own tmux server, whose windows and panes the caller's iTerm2 draws. iTerm2 can be on another machine.
async fn drawn_by_iterm(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<TeamPlacement, Unusable> {
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
    Ok(installed.placement(socket, session, true, reason))
}

/// A report on each backend, for `agent-team doctor`.
pub(crate) async fn reports(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Vec<PlacementReport> {
    let report = |name: &str, ok, detail: String, hint: Option<&str>| PlacementReport {
        name: name.to_owned(),
        ok,
        detail,
        hint: hint.map(str::to_owned),
    };
    let tmux = match in_tmux(terminal, directories).await {
        Ok(team_placement) => report("tmux", Some(true), team_placement.reason, None),
        Err(why @ Unusable::Missing) => report(
            "tmux",
            None,
            why.to_string(),
            Some(
                "install tmux 3.0 or later to see members in panes; without it one terminal shows them in turn",
            ),
        ),
        Err(why) => report(
            "tmux",
            Some(false),
            why.to_string(),
            Some("install tmux 3.0 or later for panes"),
        ),
    };
    let iterm = match in_iterm(terminal, directories, ITERM_LIMIT).await {
        Ok(team_placement) => report(
            "iterm",
            Some(true),
            format!("{}; {UNTESTED}", team_placement.reason),
            None,
        ),
        Err(why @ iterm::availability::Unusable::Outside) => {
            report("iterm", None, why.to_string(), None)
        }
        Err(why) => report("iterm", None, format!("{why}; {UNTESTED}"), why.hint()),
    };
    let drawn = match drawn_by_iterm(terminal, directories).await {
        Ok(team_placement) => report(
            "iterm-tmux",
            Some(true),
            format!("{}; {UNTESTED}", team_placement.reason),
            None,
        ),
        Err(why) => report("iterm-tmux", None, why.to_string(), None),
    };
    let headless = "separate processes without a terminal".to_owned();
    let hosted = "members in one process, shown in turn in your terminal".to_owned();
    let chosen = auto(terminal, directories).await;
    let chosen = format!("{}: {}", chosen.terminal.placement().name(), chosen.reason);
    vec![
        tmux,
        iterm,
        drawn,
        report("headless", Some(true), headless, None),
        report("hosted", Some(true), hosted, None),
        report("auto", Some(true), chosen, None),
    ]
}

/// The placement of members inside an embedding program; there is no other.
pub(crate) fn hosted() -> TeamPlacement {
    TeamPlacement {
        terminal: TerminalBackend::Hosted,
        reason: "in the embedding program's process".to_owned(),
    }
}

/// Hosted if the caller has a terminal to show the members in, headless otherwise.
fn without_panes(terminal: &CallerTerminal, why: &Unusable) -> TeamPlacement {
    match terminal.size {
        Some(_) => TeamPlacement {
            terminal: TerminalBackend::Hosted,
            reason: format!("in one process, shown in this terminal: {why}"),
        },
        None => headless(&why.to_string()),
    }
}

fn headless(why: &str) -> TeamPlacement {
    TeamPlacement {
        terminal: TerminalBackend::Headless,
        reason: why.to_owned(),
    }
}

async fn in_tmux(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<TeamPlacement, Unusable> {
    let installed = InstalledTmux::find(terminal).await?;
    let version = &installed.version;
    let (socket, session, reason) = match user_server(terminal, &installed.binary).await {
        Ok((socket, session)) => (
            socket,
            TmuxSession::Users(session),
            format!("a new window in your tmux ({version})"),
        ),
        Err(why) => {
            let reason = format!("a separate tmux server ({version}): {why}");
            (directories.tmux_socket(), TmuxSession::Own, reason)
        }
    };
    Ok(installed.placement(socket, session, false, reason))
}

/// A usable tmux.
struct InstalledTmux {
    binary: PathBuf,
    version: String,
    /// Columns and rows of the caller's terminal.
    size: (u16, u16),
}

impl InstalledTmux {
    async fn find(terminal: &CallerTerminal) -> Result<Self, Unusable> {
        let binary = find_program("tmux", &terminal.path).ok_or(Unusable::Missing)?;
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
            size: (size.0.max(SIZE_LEAST.0), size.1.max(SIZE_LEAST.1)),
        })
    }

    fn placement(
        self,
        socket: PathBuf,
        session: TmuxSession,
        control_mode: bool,
        reason: String,
    ) -> TeamPlacement {
        TeamPlacement {
            terminal: TerminalBackend::Tmux(TmuxBackend {
                binary: self.binary,
                socket,
                session,
                size: self.size,
                control_mode,
            }),
            reason,
        }
    }
}

/// The version of an installed tmux, cached until its file changes.
async fn version_of(binary: &Path) -> Result<String, TmuxError> {
    /// Keyed by device, inode and change time.
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
    // Ask where the caller's pane is now: it can have been moved from the session in `TMUX`, and the session shown by
    // some client can be another one.
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
    // Pane ids are unique per server only. `TMUX` can be left over from an earlier server at the same socket, whose
    // ids now name other panes, so the server's pid is compared. tmux answers with empty fields for an unknown id.
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

/// Parses `tmux 3.3a`, `next-3.6`, `master`. A version without a release number counts as new; so does OpenBSD's
/// tmux, which is numbered by OpenBSD releases.
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

/// Finds a program in the caller's PATH or in the usual directories.
pub(super) fn find_program(program: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .chain(PROGRAM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|binary| is_executable(binary))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;
    use crate::launch::tmux::testing::{Server, tmux_or_skip};

    /// A directory with a fake `tmux`, and installation directories.
    struct Fixture {
        directory: tempfile::TempDir,
    }

    impl Fixture {
        fn new(script: Option<&str>) -> Self {
            let directory = tempfile::tempdir().unwrap();
            if let Some(script) = script {
                let fake = directory.path().join("tmux");
                std::fs::write(&fake, script).unwrap();
                std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o700)).unwrap();
            }
            Self { directory }
        }

        fn terminal(&self) -> CallerTerminal {
            CallerTerminal {
                path: self.directory.path().display().to_string(),
                ..CallerTerminal::default()
            }
        }

        fn directories(&self) -> Directories {
            let home = self.directory.path();
            Directories {
                state: home.join("state"),
                run: home.join("run"),
                config: home.join("config"),
            }
        }

        async fn choose(&self, choice: PlacementChoice) -> Result<TeamPlacement, Refusal> {
            choose(choice, &self.terminal(), &self.directories()).await
        }
    }

    #[tokio::test]
    async fn tmux_version_is_cached_until_the_file_changes() {
        let script =
            |version: &str| format!("#!/bin/sh\necho asked >> \"$0.asked\"\necho tmux {version}\n");
        let fixture = Fixture::new(Some(&script("3.3a")));
        let asked = || {
            let answer = fixture.directory.path().join("tmux.asked");
            std::fs::read_to_string(answer).unwrap().lines().count()
        };
        for _ in 0..2 {
            let team_placement = fixture.choose(PlacementChoice::Tmux).await.unwrap();
            assert!(
                team_placement.reason.contains("tmux 3.3a"),
                "{}",
                team_placement.reason
            );
        }
        assert_eq!(asked(), 1);
        std::fs::write(fixture.directory.path().join("tmux"), script("3.4")).unwrap();
        let team_placement = fixture.choose(PlacementChoice::Tmux).await.unwrap();
        assert!(
            team_placement.reason.contains("tmux 3.4"),
            "{}",
            team_placement.reason
        );
        assert_eq!(asked(), 2);
    }

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

    #[tokio::test]
    async fn headless_does_not_run_tmux() {
        let team_placement = Fixture::new(Some("#!/bin/sh\nexit 1\n"))
            .choose(PlacementChoice::Headless)
            .await
            .unwrap();
        assert_eq!(team_placement.terminal, TerminalBackend::Headless);
    }

    #[tokio::test]
    async fn a_tmux_that_is_too_old_is_refused() {
        let fixture = Fixture::new(Some("#!/bin/sh\necho tmux 2.9a\n"));
        let refusal = fixture.choose(PlacementChoice::Tmux).await.unwrap_err();
        assert_eq!(refusal.code, ErrorCode::PlacementUnavailable);
        assert!(refusal.message.contains("tmux 2.9a"), "{refusal}");

        let team_placement = fixture.choose(PlacementChoice::Auto).await.unwrap();
        assert_eq!(team_placement.terminal, TerminalBackend::Headless);
        assert!(
            team_placement.reason.contains("tmux 2.9a"),
            "{}",
            team_placement.reason
        );

        let terminal = CallerTerminal {
            size: Some((80, 24)),
            ..fixture.terminal()
        };
        let directories = fixture.directories();
        let team_placement = choose(PlacementChoice::Auto, &terminal, &directories).await;
        let team_placement = team_placement.unwrap();
        assert_eq!(team_placement.terminal, TerminalBackend::Hosted);
        assert!(
            team_placement.reason.contains("tmux 2.9a"),
            "{}",
            team_placement.reason
        );
    }

    #[tokio::test]
    async fn a_hanging_tmux_times_out() {
        let fixture = Fixture::new(Some("#!/bin/sh\nexec sleep 600\n"));
        let began = Instant::now();
        let refusal = fixture.choose(PlacementChoice::Tmux).await.unwrap_err();
        let took = began.elapsed();
        assert_eq!(refusal.code, ErrorCode::PlacementUnavailable);
        assert!(refusal.message.contains("within 5 s"), "{refusal}");
        assert!(
            took >= Duration::from_secs(5) && took < Duration::from_secs(15),
            "{took:?}"
        );
    }

    #[tokio::test]
    async fn inside_tmux_the_callers_session_is_used() {
        let Some(binary) = tmux_or_skip() else { return };
        let server = Server::start(binary);
        let fixture = Fixture::new(None);
        let mut terminal = CallerTerminal {
            path: server.path(),
            size: Some((20, 5)),
            ..CallerTerminal::default()
        };
        terminal.tmux = Some(format!("{},{},0", server.socket().display(), server.pid()));
        // The pane was moved to another session than the one in `TMUX`.
        terminal.tmux_pane = Some(server.tmux(&[
            "new-session",
            "-d",
            "-P",
            "-F",
            "#{pane_id}",
            "--",
            "sleep",
            "600",
        ]));
        let team_placement = choose(PlacementChoice::Auto, &terminal, &fixture.directories())
            .await
            .unwrap();
        let TerminalBackend::Tmux(tmux) = team_placement.terminal else {
            panic!("{team_placement:?}")
        };
        assert_eq!(tmux.session, TmuxSession::Users("$1".to_owned()));
        assert_eq!(
            (tmux.socket.as_path(), tmux.size),
            (server.socket(), SIZE_LEAST)
        );

        // The same socket, but `TMUX` names an earlier server.
        terminal.tmux = Some(format!(
            "{},{},0",
            server.socket().display(),
            server.pid() + 1
        ));
        let team_placement = choose(PlacementChoice::Auto, &terminal, &fixture.directories())
            .await
            .unwrap();
        let TerminalBackend::Tmux(tmux) = &team_placement.terminal else {
            panic!("{team_placement:?}")
        };
        assert_eq!(tmux.session, TmuxSession::Own);
        assert!(
            team_placement.reason.contains("gone"),
            "{}",
            team_placement.reason
        );
    }

    #[tokio::test]
    async fn a_stale_tmux_variable_selects_our_own_server() {
        let Some(binary) = tmux_or_skip() else { return };
        let fixture = Fixture::new(None);
        let terminal = CallerTerminal {
            tmux: Some(
                fixture
                    .directory
                    .path()
                    .join("gone,1,0")
                    .display()
                    .to_string(),
            ),
            tmux_pane: Some("%0".to_owned()),
            path: binary.parent().unwrap().display().to_string(),
            ..CallerTerminal::default()
        };
        let team_placement = choose(PlacementChoice::Auto, &terminal, &fixture.directories())
            .await
            .unwrap();
        let TerminalBackend::Tmux(tmux) = &team_placement.terminal else {
            panic!("{team_placement:?}")
        };
        assert_eq!(
            (&tmux.session, &tmux.socket),
            (&TmuxSession::Own, &fixture.directories().tmux_socket())
        );
        assert!(
            team_placement
                .reason
                .contains("your server does not respond"),
            "{}",
            team_placement.reason
        );
    }
}
