//! Members in sessions of iTerm2, through the app's own API. Called by the team's launcher, one order at a time.
//!
//! As in tmux a pane is a view, found by its tag and addressed by its id. Only sessions with this team's tag, in which
//! still runs what was started there, are ever closed; only tabs in which there is nothing but the team's are split;
//! nobody's focus is moved. Nothing is typed into a session, and nothing that anybody wrote is evaluated by the app.
//!
//! ```text
//! start.rs    workers into sessions            survey.rs     which sessions there are, and whose
//! room.rs     which pane is split, and how     profile.rs    what a new session is told: command, name, colour
//! close.rs    sessions away, with receipts     place.rs      whether the app is there for a caller
//! app.rs      the requests                     connection.rs the socket, what lets us in, the errors
//! wire.rs     their messages
//! ```

mod app;
mod close;
mod connection;
pub(super) mod place;
mod profile;
mod room;
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
use crate::settings::ItermPlace;

/// The sessions of one team.
#[derive(Debug)]
pub(crate) struct Panes {
    team: TeamId,
    layout: Layout,
    app: App,
    /// The session that the team was brought up in.
    caller: Option<String>,
    /// Where a member was seen last, and what her session is called.
    named: BTreeMap<MemberName, (String, String)>,
    /// The last start found the app ended, or closed to us.
    gone: bool,
}

impl Panes {
    /// Asks nobody yet.
    pub(super) fn new(team: TeamId, place: ItermPlace, layout: Layout) -> Self {
        Self {
            team,
            layout,
            caller: place.session.clone(),
            app: App::at(place),
            named: BTreeMap::new(),
            gone: false,
        }
    }

    pub(super) fn are_gone(&self) -> bool {
        self.gone
    }

    /// Every session, with what is asked of each.
    async fn survey(&self) -> Result<Survey, ItermError> {
        let mut sessions = self.app.sessions().await?;
        for session in &mut sessions {
            match self.app.look_at(&session.id).await {
                Ok((pid, tag)) => (session.pid, session.tag) = (pid, tag),
                // Closed meanwhile.
                Err(ItermError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Survey { sessions })
    }

    /// The team's sessions that are there: whose, with which process, and their ids.
    pub(super) async fn found(&mut self) -> Vec<FoundPane> {
        let survey = match self.survey().await {
            Ok(survey) => survey,
            Err(error) => {
                tracing::warn!(%error, "the sessions that are there cannot be listed");
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

    /// Shows in their names what the members are and do. Best effort: it is looks.
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
                    tracing::debug!(%error, %member, "what it does cannot be shown");
                    self.named.remove(&member);
                    if error.is_away() {
                        // Nor could the others'.
                        return;
                    }
                }
            }
        }
    }

    /// Has the app show the team's tab, or one member's session; of a member that is there, one in which a process of
    /// `shown_by` is. A caller somewhere else would not see it.
    pub(super) async fn attach(
        &mut self,
        member: Option<&MemberName>,
        shown_by: Option<&[u32]>,
        read_only: bool,
        terminal: &CallerTerminal,
    ) -> Result<AttachAnswer, Refusal> {
        let refused = |text: String| Refusal::new(ErrorCode::NoPane, text);
        if read_only {
            return Err(refused("what iTerm2 shows can be typed into".to_owned())
                .hint("name a member: agent-team attach MEMBER --read-only shows it here"));
        }
        if terminal.iterm.as_ref().is_none_or(|iterm| iterm.remote) {
            let text = "the team is shown in iTerm2, and this is not a terminal of it";
            return Err(refused(text.to_owned())
                .hint("name a member: agent-team attach MEMBER shows it here"));
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
