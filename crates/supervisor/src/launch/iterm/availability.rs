//! Checks whether the caller's iTerm2 can show the team: the caller is inside it, it runs on this machine, and its
//! API answers. Called by [`crate::launch::backend`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::method::CallerTerminal;
use agent_team_protocol::placement::CallerIterm;

use super::app::App;
use super::connection::{Cookie, ItermError};
use super::profile;
use crate::launch::backend::find_program;
use crate::settings::ItermBackend;

/// Why iTerm2 cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::launch) enum Unusable {
    #[error("you are not inside iTerm2")]
    Outside,
    #[error("your iTerm2 is on another machine")]
    Remote,
    #[error(transparent)]
    App(#[from] ItermError),
    #[error("iTerm2 did not answer within {} s", .0.as_secs())]
    TooSlow(Duration),
}

impl Unusable {
    /// What the user can do about it.
    pub(in crate::launch) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Outside => Some("run it in an iTerm2 session"),
            Self::Remote => Some("use --panes iterm-tmux to show panes of this machine in it"),
            Self::App(error) => error.hint(),
            Self::TooSlow(limit) => ItermError::TimedOut(*limit).hint(),
        }
    }
}

/// The caller's app, if it answers within the limit. `run` is the runtime directory; it must be representable,
/// because commands in sessions contain its path.
pub(in crate::launch) async fn choose(
    terminal: &CallerTerminal,
    run: &Path,
    limit: Duration,
) -> Result<ItermBackend, Unusable> {
    let caller = terminal.iterm.as_ref().ok_or(Unusable::Outside)?;
    if caller.remote {
        return Err(Unusable::Remote);
    }
    profile::quoted(run.as_os_str())?;
    let backend = ItermBackend {
        socket: socket(caller),
        session: caller
            .session
            .as_deref()
            .and_then(session)
            .map(str::to_owned),
        osascript: find_program("osascript", &terminal.path),
    };
    let cookie = caller.cookie.clone().map(|cookie| Cookie {
        cookie,
        key: caller.key.clone(),
    });
    let app = App::new(backend.clone());
    let answers = async {
        app.open(cookie.as_ref()).await?;
        app.sessions().await
    };
    tokio::time::timeout(limit, answers)
        .await
        .map_err(|_elapsed| Unusable::TooSlow(limit))??;
    Ok(backend)
}

/// The socket of the app for the user with this home directory.
fn socket(caller: &CallerIterm) -> PathBuf {
    let suite = caller.suite.as_deref().unwrap_or("iTerm2");
    Path::new(&caller.home)
        .join("Library/Application Support")
        .join(suite)
        .join("private/socket")
}

/// The session id in `w0t1p2:UUID`.
fn session(variable: &str) -> Option<&str> {
    let (_, id) = variable.split_once(':')?;
    let is_id = |c: char| c.is_ascii_hexdigit() || c == '-';
    (!id.is_empty() && id.chars().all(is_id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_is_the_part_after_the_colon() {
        assert_eq!(session("w0t1p2:0A-F"), Some("0A-F"));
        for bad in ["", "0A-F", "w0t1p2:", "w0t1p2:x y", "w0:active"] {
            assert_eq!(session(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_app_suite_has_its_own_socket() {
        let caller = |suite: Option<&str>| CallerIterm {
            home: "/h/ada".to_owned(),
            suite: suite.map(str::to_owned),
            ..CallerIterm::default()
        };
        let below = "/h/ada/Library/Application Support";
        assert_eq!(
            socket(&caller(None)),
            Path::new(below).join("iTerm2/private/socket")
        );
        assert_eq!(
            socket(&caller(Some("iTerm2-dev"))),
            Path::new(below).join("iTerm2-dev/private/socket")
        );
    }

    #[tokio::test]
    async fn only_the_callers_own_app_is_contacted() {
        let mut terminal = CallerTerminal::default();
        let run = Path::new("/run");
        let unusable = choose(&terminal, run, Duration::from_secs(1)).await;
        assert!(matches!(unusable, Err(Unusable::Outside)));
        terminal.iterm = Some(Box::new(CallerIterm {
            remote: true,
            ..CallerIterm::default()
        }));
        let unusable = choose(&terminal, run, Duration::from_secs(1)).await;
        assert!(matches!(unusable, Err(Unusable::Remote)));
    }
}
