//! The iTerm2 backend: members in sessions of iTerm2, through the app's API. Called by the team's launcher, one order
//! at a time.
//!
//! As in tmux, a session is only a display, found by its tag and addressed by its id. The backend closes only the
//! team's own sessions, and only while no process of the user runs in them. For a member without a session, the backend
//! splits only tabs that contain no session except the team's. Starting a worker does not move the focus. The backend
//! types nothing into a session, and the app never evaluates text from users or models.
//!
//! ```text
//! start.rs    starts workers in sessions       survey.rs       lists sessions and their members
//! layout.rs   chooses the pane to split        profile.rs      command, name and colour of a new session
//! close.rs    closes sessions                  probe.rs        checks the caller's app
//! app.rs      typed requests                   connection.rs   socket, authentication, errors
//! wire.rs     messages                         site.rs         which app shows a team
//! ```

mod app;
mod close;
mod connection;
mod layout;
mod probe;
mod profile;
mod site;
mod start;
mod survey;
mod wire;

use std::collections::BTreeMap;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::AttachAnswer;
use agent_team_protocol::placement::{CallerTerminal, Placement};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::view::Receipt;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, TeamId};

use app::App;
use connection::ItermError;
pub(super) use probe::probe;
pub(super) use site::ItermSite;
use survey::{ItermSession, Survey};

use super::interface::{Panes, Pending, not_shown};
use crate::launch::order::{Label, LaunchOrder};
use crate::launch::report::{FoundPane, StartedWorker};

/// Added to the reports of `doctor` until this backend has been tested on macOS.
pub(super) const UNTESTED: &str = "tested against a protocol server, not yet on a Mac";

/// The sessions of one team.
#[derive(Debug)]
pub(super) struct ItermPanes {
    team: TeamId,
    layout: Layout,
    app: App,
    /// The session in which `up` was called.
    caller: Option<String>,
    /// The session of each member, and the name last set on it.
    named: BTreeMap<MemberName, (String, String)>,
    /// The last start found that the app cannot be reached or rejects the connection.
    gone: bool,
}

impl ItermPanes {
    /// Makes no request yet.
    pub(super) fn new(team: TeamId, site: ItermSite, layout: Layout) -> Self {
        Self {
            team,
            layout,
            caller: site.session.clone(),
            app: App::new(site),
            named: BTreeMap::new(),
            gone: false,
        }
    }

    /// All sessions, with their processes and tags.
    async fn survey(&self) -> Result<Survey, ItermError> {
        let mut sessions = self.app.sessions().await?;
        for session in &mut sessions {
            match self.app.inspect(&session.id).await {
                Ok((pid, tag)) => (session.pid, session.tag) = (pid, tag),
                // The session was closed after it was listed.
                Err(ItermError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Survey { sessions })
    }

    /// The team's existing sessions: member, process and id.
    async fn found(&mut self) -> Vec<FoundPane> {
        let survey = match self.survey().await {
            Ok(survey) => survey,
            Err(error) => {
                tracing::warn!(%error, "cannot list the sessions");
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for session in survey.of_team(&self.team) {
            let member = session.tag.as_ref().and_then(|tag| tag.member.parse().ok());
            if let (Some(member), Some(pid)) = (member, session.pid) {
                let named = (session.id.clone(), String::new());
                self.named.insert(MemberName::clone(&member), named);
                found.push(FoundPane {
                    member,
                    pid,
                    id: session.id.clone(),
                    placement: Placement::Iterm,
                });
            }
        }
        found
    }

    /// Shows labels of members as session names. Best effort: labels are cosmetic.
    async fn label(&mut self, labels: Vec<(MemberName, Label)>) {
        for (member, label) in labels {
            let Some((session, shown)) = self.named.get_mut(&member) else {
                continue;
            };
            let name = profile::name(member.as_str(), &label);
            if *shown == name {
                continue;
            }
            match self.app.name(session, &name).await {
                Ok(()) => *shown = name,
                Err(error) => {
                    tracing::debug!(%error, %member, "cannot set the name of a session");
                    self.named.remove(&member);
                    if error.is_unavailable() {
                        // The remaining requests would fail too.
                        return;
                    }
                }
            }
        }
    }

    /// Brings the team's tab, or one member's session, to the front. For a connected member, only a session with a
    /// process in `shown_by` counts. Refused for callers outside this iTerm2: they would not see the session.
    async fn attach(
        &mut self,
        member: Option<&MemberName>,
        shown_by: Option<&[u32]>,
        read_only: bool,
        terminal: &CallerTerminal,
    ) -> Result<AttachAnswer, Refusal> {
        let refused = |text: String| Refusal::new(ErrorCode::NoPane, text);
        if read_only {
            return Err(
                refused("iTerm2 cannot show a session read-only".to_owned()).hint(format!(
                    "show one member in this terminal with: {}",
                    CommandLine::WatchAny
                )),
            );
        }
        if terminal.iterm.as_ref().is_none_or(|iterm| iterm.remote) {
            let text = "the team is shown in iTerm2, and this terminal is not a session of it";
            return Err(refused(text.to_owned()).hint(format!(
                "show one member in this terminal with: {}",
                CommandLine::AttachAny
            )));
        }
        let failed = |error: ItermError| {
            let refusal = refused(error.to_string());
            match error.hint() {
                Some(hint) => refusal.hint(hint),
                None => refusal,
            }
        };
        let survey = self.survey().await.map_err(failed)?;
        let is_shown = |session: &&ItermSession| {
            shown_by.is_none_or(|pids| session.pid.is_some_and(|pid| pids.contains(&pid)))
        };
        let session = match member {
            Some(member) => survey.of_member(&self.team, member).filter(is_shown),
            None => survey.of_team(&self.team).next(),
        };
        let session = session.ok_or_else(|| not_shown(member))?;
        self.app.show(&session.id).await.map_err(failed)?;
        Ok(AttachAnswer {
            argv: Vec::new(),
            unset: Vec::new(),
        })
    }
}

impl Panes for ItermPanes {
    fn start<'a>(
        &'a mut self,
        orders: &'a [LaunchOrder],
    ) -> Pending<'a, Vec<Result<StartedWorker, String>>> {
        Box::pin(self.start(orders))
    }

    fn is_gone(&self) -> bool {
        self.gone
    }

    fn found(&mut self) -> Pending<'_, Vec<FoundPane>> {
        Box::pin(self.found())
    }

    fn label(&mut self, labels: Vec<(MemberName, Label)>) -> Pending<'_, ()> {
        Box::pin(self.label(labels))
    }

    fn attach<'a>(
        &'a mut self,
        member: Option<&'a MemberName>,
        shown_by: Option<&'a [u32]>,
        read_only: bool,
        terminal: &'a CallerTerminal,
    ) -> Pending<'a, Result<AttachAnswer, Refusal>> {
        Box::pin(self.attach(member, shown_by, read_only, terminal))
    }

    fn close<'a>(&'a mut self, member: &'a MemberName) -> Pending<'a, ()> {
        Box::pin(self.close(member))
    }

    fn close_all(&mut self) -> Pending<'_, Vec<Receipt>> {
        Box::pin(self.close_all())
    }
}
