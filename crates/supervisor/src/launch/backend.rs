//! Chooses the terminal backend of a team, with a reason for the user. Called by the server for `up`, and by
//! `agent-teamd --placements`.
//!
//! The choice depends on the caller's terminal, never on the supervisor's own environment. An explicit choice that is
//! not available is refused; only `auto` falls back, and its reason names the cause.

use agent_team_protocol::placement::{CallerTerminal, Placement, PlacementChoice, PlacementReport};
use agent_team_protocol::{ErrorCode, Refusal};
use agent_team_system::directories::Directories;

use super::panes::interface::{Offer, Purpose, Unavailable};
use super::panes::{BACKENDS, PaneBackend, TerminalBackend};
use crate::settings::TeamPlacement;

pub(crate) async fn choose(
    choice: PlacementChoice,
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Result<TeamPlacement, Refusal> {
    let Some(backend) = BACKENDS.iter().find(|backend| backend.choice == choice) else {
        return Ok(match choice.info().placement {
            None => auto(terminal, directories).await,
            Some(Placement::Hosted) => in_one_process("in one process, as requested"),
            Some(_) => headless("as requested"),
        });
    };
    match (backend.probe)(terminal, directories, Purpose::Requested).await {
        Ok(offer) => Ok(offer.into()),
        Err(Unavailable { why, hint, .. }) => {
            let text = format!("cannot open panes in {}: {why}", backend.name);
            let refusal = Refusal::new(ErrorCode::PlacementUnavailable, text);
            Err(match hint {
                Some(hint) => refusal.hint(hint),
                None => refusal,
            })
        }
    }
}

/// Prefers a backend in the caller's own terminal, then a backend in a separate terminal, then no panes.
async fn auto(terminal: &CallerTerminal, directories: &Directories) -> TeamPlacement {
    let (mut separate, mut fault, mut notes) = (None, None, String::new());
    for backend in BACKENDS.iter().filter(|backend| backend.is_in_auto) {
        match (backend.probe)(terminal, directories, Purpose::Auto).await {
            Ok(offer) if offer.is_callers => return offer.into(),
            Ok(offer) => {
                separate.get_or_insert(offer);
            }
            Err(Unavailable {
                why, hint, is_here, ..
            }) => {
                if is_here {
                    notes.push_str(&format!("; no panes in {}: {why}", backend.name));
                    if let Some(hint) = hint {
                        notes.push_str(&format!(" ({hint})"));
                    }
                }
                fault.get_or_insert(why);
            }
        }
    }
    let mut team_placement = match separate {
        Some(offer) => offer.into(),
        None => without_panes(terminal, &fault.unwrap_or_default()),
    };
    team_placement.reason.push_str(&notes);
    team_placement
}

impl From<Offer<TerminalBackend>> for TeamPlacement {
    fn from(offer: Offer<TerminalBackend>) -> Self {
        Self {
            terminal: offer.site,
            reason: offer.reason,
        }
    }
}

/// A report on each placement, for `agent-team doctor`.
pub(crate) async fn reports(
    terminal: &CallerTerminal,
    directories: &Directories,
) -> Vec<PlacementReport> {
    let mut reports = Vec::new();
    for backend in &BACKENDS {
        let outcome = (backend.probe)(terminal, directories, Purpose::Requested).await;
        reports.push(report_on(backend, outcome));
    }
    let headless = "separate processes without a terminal".to_owned();
    let hosted = "members in one process, shown in turn in your terminal".to_owned();
    let chosen = auto(terminal, directories).await;
    let chosen = format!("{}: {}", chosen.terminal.placement().name(), chosen.reason);
    reports.extend([
        report(PlacementChoice::Headless, Some(true), headless, None),
        report(PlacementChoice::Hosted, Some(true), hosted, None),
        report(PlacementChoice::Auto, Some(true), chosen, None),
    ]);
    reports
}

fn report_on(
    backend: &PaneBackend,
    outcome: Result<Offer<TerminalBackend>, Unavailable>,
) -> PlacementReport {
    let with_caveat = |detail: String| match backend.caveat {
        Some(caveat) => format!("{detail}; {caveat}"),
        None => detail,
    };
    match outcome {
        Ok(offer) => report(backend.choice, Some(true), with_caveat(offer.reason), None),
        Err(Unavailable {
            why,
            doctor_hint,
            is_fault,
            is_here,
            ..
        }) => {
            let detail = if is_here { with_caveat(why) } else { why };
            report(
                backend.choice,
                is_fault.then_some(false),
                detail,
                doctor_hint,
            )
        }
    }
}

fn report(
    choice: PlacementChoice,
    ok: Option<bool>,
    detail: String,
    hint: Option<&str>,
) -> PlacementReport {
    PlacementReport {
        name: choice.info().word.to_owned(),
        ok,
        detail,
        hint: hint.map(str::to_owned),
    }
}

/// The only placement of members inside an embedding program.
pub(crate) fn hosted() -> TeamPlacement {
    in_one_process("in the embedding program's process")
}

/// Hosted if the caller has a terminal to show the members in, headless otherwise.
fn without_panes(terminal: &CallerTerminal, why: &str) -> TeamPlacement {
    match terminal.size {
        Some(_) => in_one_process(&format!("in one process, shown in this terminal: {why}")),
        None => headless(why),
    }
}

fn in_one_process(why: &str) -> TeamPlacement {
    TeamPlacement {
        terminal: TerminalBackend::Hosted,
        reason: why.to_owned(),
    }
}

fn headless(why: &str) -> TeamPlacement {
    TeamPlacement {
        terminal: TerminalBackend::Headless,
        reason: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, Instant};

    use agent_team_protocol::placement::CallerIterm;

    use super::*;
    use crate::launch::panes::tmux::TmuxSession;
    use crate::launch::panes::tmux::testing::{Server, tmux_or_skip};

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

    #[tokio::test]
    async fn headless_needs_no_working_tmux() {
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
    async fn auto_and_doctor_explain_why_iterm_is_unusable() {
        let fixture = Fixture::new(Some("#!/bin/sh\necho tmux 2.9a\n"));
        let remote = CallerIterm {
            remote: true,
            ..CallerIterm::default()
        };
        let terminal = CallerTerminal {
            iterm: Some(Box::new(remote)),
            ..fixture.terminal()
        };
        let directories = fixture.directories();
        let why = "your iTerm2 is on another machine";
        let hint = "use --panes iterm-tmux to show panes of this machine in it";
        let team_placement = choose(PlacementChoice::Auto, &terminal, &directories).await;
        let reason = team_placement.unwrap().reason;
        let note = format!("; no panes in iTerm2: {why} ({hint})");
        assert!(reason.ends_with(&note), "{reason}");

        let reports = reports(&terminal, &directories).await;
        let names_and_oks: Vec<_> = reports.iter().map(|it| (it.name.as_str(), it.ok)).collect();
        assert_eq!(
            names_and_oks,
            [
                ("tmux", Some(false)),
                ("iterm", None),
                ("iterm-tmux", None),
                ("headless", Some(true)),
                ("hosted", Some(true)),
                ("auto", Some(true)),
            ]
        );
        let iterm = &reports[1];
        assert_eq!(iterm.hint.as_deref(), Some(hint));
        let caveat = format!("{why}; tested against a protocol server, not yet on a Mac");
        assert_eq!(iterm.detail, caveat);
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
        // `TMUX` names the session from which the pane was moved, not its current session.
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
        assert_eq!(tmux.session, TmuxSession::OfUser("$1".to_owned()));
        assert_eq!(
            (tmux.socket.as_path(), tmux.size),
            (server.socket(), (80, 24))
        );

        // The same socket, but `TMUX` names another server process.
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
    async fn a_stale_tmux_variable_selects_the_agent_team_server() {
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
