//! Checks whether the caller's iTerm2 can show the team: the caller is inside iTerm2, the app runs on this machine, and
//! its API answers. Called for `up`, and for the reports of `doctor`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::placement::{CallerIterm, CallerTerminal};
use agent_team_system::directories::Directories;

use super::app::App;
use super::connection::{Cookie, ItermError};
use super::profile;
use super::site::ItermSite;
use crate::launch::panes::interface::{Offer, Purpose, Unavailable};
use crate::launch::program;

/// How long iTerm2 may take to answer if the user requested it: the app can show a dialog to the user.
const LIMIT: Duration = Duration::from_secs(40);

/// How long iTerm2 may take to answer if `auto` tries it.
const AUTO_LIMIT: Duration = Duration::from_secs(1);

/// Why iTerm2 cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
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
    /// The remedy that the user can apply.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Outside => Some("run the command in an iTerm2 session"),
            Self::Remote => Some("use --panes iterm-tmux to show panes of this machine in it"),
            Self::App(error) => error.hint(),
            Self::TooSlow(limit) => ItermError::TimedOut(*limit).hint(),
        }
    }
}

impl From<Unusable> for Unavailable {
    fn from(why: Unusable) -> Self {
        let is_here = !matches!(why, Unusable::Outside);
        let hint = why.hint();
        Self {
            why: why.to_string(),
            hint,
            doctor_hint: hint.filter(|_| is_here),
            is_fault: false,
            is_here,
        }
    }
}

/// Offers a new tab in the caller's app.
pub(in crate::launch::panes) async fn probe(
    terminal: &CallerTerminal,
    directories: &Directories,
    purpose: Purpose,
) -> Result<Offer<ItermSite>, Unavailable> {
    let limit = match purpose {
        Purpose::Requested => LIMIT,
        Purpose::Auto => AUTO_LIMIT,
    };
    Ok(Offer {
        site: find(terminal, &directories.run, limit).await?,
        reason: "a new tab in your iTerm2".to_owned(),
        is_callers: true,
    })
}

/// The caller's app, if it answers within the limit. `run` is the runtime directory. Its path must be quotable, because
/// the commands of sessions contain the path.
async fn find(
    terminal: &CallerTerminal,
    run: &Path,
    limit: Duration,
) -> Result<ItermSite, Unusable> {
    let caller = terminal.iterm.as_ref().ok_or(Unusable::Outside)?;
    if caller.remote {
        return Err(Unusable::Remote);
    }
    profile::quoted(run.as_os_str())?;
    let site = ItermSite {
        socket: socket(caller),
        session: caller
            .session
            .as_deref()
            .and_then(session)
            .map(str::to_owned),
        osascript: program::find("osascript", &terminal.path),
    };
    let cookie = caller.cookie.clone().map(|cookie| Cookie {
        cookie,
        key: caller.key.clone(),
    });
    let app = App::new(site.clone());
    let answers = async {
        app.open(cookie.as_ref()).await?;
        app.sessions().await
    };
    tokio::time::timeout(limit, answers)
        .await
        .map_err(|_elapsed| Unusable::TooSlow(limit))??;
    Ok(site)
}

/// The socket of the caller's app.
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
    async fn callers_outside_or_on_another_machine_are_refused() {
        let mut terminal = CallerTerminal::default();
        let run = Path::new("/run");
        let unusable = find(&terminal, run, Duration::from_secs(1)).await;
        assert!(matches!(unusable, Err(Unusable::Outside)));
        terminal.iterm = Some(Box::new(CallerIterm {
            remote: true,
            ..CallerIterm::default()
        }));
        let unusable = find(&terminal, run, Duration::from_secs(1)).await;
        assert!(matches!(unusable, Err(Unusable::Remote)));
    }
}
