//! The iTerm2 backend: members in sessions of iTerm2, through the app's API. Called by the team's launcher, one order
//! at a time.
//!
//! As in tmux a session is only a display, found by its tag and addressed by its id. Only sessions with this team's tag
//! that still run the tagged process are ever closed; only tabs that contain nothing but the team's sessions are split;
//! the focus is not moved. Nothing is typed into a session, and the app never evaluates text from users or models.
//!
//! ```text
//! start.rs    starts workers in sessions       survey.rs       lists sessions and their members
//! layout.rs   chooses the pane to split        profile.rs      command, name and colour of a new session
//! close.rs    closes sessions                  availability.rs whether the caller's app is available
//! app.rs      typed requests                   connection.rs   socket, authentication, errors
//! wire.rs     messages
//! ```

mod app;
pub(super) mod availability;
mod close;
mod connection;
mod layout;
mod profile;
mod start;
mod survey;
mod wire;

use std::collections::BTreeMap;

use agent_team_protocol::method::{AttachAnswer, CallerTerminal};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::view::Placement;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, TeamId};

use app::App;
use connection::ItermError;
use survey::{Session, Survey};

use super::{FoundPane, Label, not_shown};
use crate::settings::ItermBackend;

/// The sessions of one team.
#[derive(Debug)]
pub(crate) struct Panes {
    team: TeamId,
    layout: Layout,
    app: App,
    /// The session in which `up` was called.
    caller: Option<String>,
    /// The session of each member, and the name last set on it.
    named: BTreeMap<MemberName, (String, String)>,
    /// The last start found that the app is not running or rejects us.
    gone: bool,
}

impl Panes {
    /// Makes no request yet.
    pub(super) fn new(team: TeamId, backend: ItermBackend, layout: Layout) -> Self {
        Self {
            team,
            layout,
            caller: backend.session.clone(),
            app: App::new(backend),
            named: BTreeMap::new(),
            gone: false,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// All sessions, with their processes and tags.
    async fn survey(&self) -> Result<Survey, ItermError> {
        let mut sessions = self.app.sessions().await?;
        for session in &mut sessions {
            match self.app.inspect(&session.id).await {
                Ok((pid, tag)) => (session.pid, session.tag) = (pid, tag),
                // Closed since it was listed.
                Err(ItermError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Survey { sessions })
    }

    /// The team's existing sessions: member, process and id.
    pub(super) async fn found(&mut self) -> Vec<FoundPane> {
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
    pub(super) async fn label(&mut self, labels: Vec<(MemberName, Label)>) {
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

    /// Brings the team's tab, or one member's session, to the front. For a connected member only a session whose
    /// process is in `shown_by` counts. Refused for callers outside this iTerm2: they would not see it.
    pub(super) async fn attach(
        &mut self,
        member: Option<&MemberName>,
        shown_by: Option<&[u32]>,
        read_only: bool,
        terminal: &CallerTerminal,
    ) -> Result<AttachAnswer, Refusal> {
        let refused = |text: String| Refusal::new(ErrorCode::NoPane, text);
        if read_only {
            return Err(
                refused("sessions of iTerm2 are not read-only".to_owned()).hint(
                    "show one member in this terminal with: agent-team attach MEMBER --read-only",
                ),
            );
        }
        if terminal.iterm.as_ref().is_none_or(|iterm| iterm.remote) {
            let text = "the team is shown in iTerm2, and this terminal is not a session of it";
            return Err(refused(text.to_owned())
                .hint("show one member in this terminal with: agent-team attach MEMBER"));
        }
        let failed = |error: ItermError| {
            let refusal = refused(error.to_string());
            match error.hint() {
                Some(hint) => refusal.hint(hint),
                None => refusal,
            }
        };
        let survey = self.survey().await.map_err(failed)?;
        let is_shown = |session: &&Session| {
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
