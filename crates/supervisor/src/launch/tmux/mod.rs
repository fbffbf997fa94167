//! Members in panes of tmux. Called by the team's launcher, one order at a time.
//!
//! A pane is a view: whether its worker lives is known from its socket and its pidfd. Panes are found by their tags
//! and addressed by their ids, so that a supervisor that was started anew goes on with the panes that are there. Only
//! panes that carry this team's tag are ever respawned, changed or closed; the user's windows are never split, and
//! nobody's focus is moved.
//!
//! ```text
//! start.rs   workers into panes, step by step   survey.rs  which panes there are, and whose
//! fill.rs    the call of such a step            room.rs    how many fit into a window
//! close.rs   panes away, with receipts          server.rs  which server answers; our own one
//! call.rs    one call of tmux, and its errors
//! ```

mod call;
mod close;
mod fill;
mod room;
mod server;
mod start;
mod survey;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use agent_team_protocol::method::{AttachAnswer, CallerTerminal};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::view::Placement;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, TeamId};
use agent_team_system::directories::Directories;
use agent_team_system::process::Signal;

use call::{Command, label_text};
pub(crate) use call::{Tmux, TmuxError};
pub(crate) use server::Inside;
use server::{OwnFiles, Server};
use survey::Survey;

use super::{FoundPane, Label, not_shown};
use crate::settings::{TmuxPlace, TmuxSession};

const LABEL_TAG: &str = "@agent_team_label";
const COLOUR_TAG: &str = "@agent_team_colour";
/// On the team's first window: who waits for the person, for status lines. A status line finds it by looking through
/// the windows of its session, since on the user's server nothing but windows and panes is ours.
const WAITING_TAG: &str = "@agent_team_waiting";

/// The panes of one team.
#[derive(Debug)]
pub(crate) struct Panes {
    team: TeamId,
    session: TmuxSession,
    /// Columns and rows of a window that is made before anybody looks at it.
    size: (u16, u16),
    layout: Layout,
    /// Who attaches from iTerm2 has it draw windows and panes itself.
    control_mode: bool,
    tmux: Tmux,
    /// `None` until tmux was asked, and when what it said may be wrong.
    survey: Option<Survey>,
    /// What the borders say.
    labels: BTreeMap<MemberName, Label>,
    /// The last start found the user's server or session ended.
    gone: bool,
}

impl Panes {
    /// Makes no call of tmux yet.
    pub(crate) fn new(
        team: TeamId,
        place: TmuxPlace,
        layout: Layout,
        directories: &Directories,
    ) -> Self {
        let own = match place.session {
            TmuxSession::Own => Some(OwnFiles::within(directories)),
            TmuxSession::Users(_) => None,
        };
        let (columns, rows) = place.size;
        Self {
            team,
            session: place.session,
            // The terminal's last line is the status line.
            size: (columns, rows.saturating_sub(1).max(1)),
            layout,
            control_mode: place.control_mode,
            tmux: Tmux::new(place.binary, place.socket, own),
            survey: None,
            labels: BTreeMap::new(),
            gone: false,
        }
    }

    /// Whether the last start failed because the user's server or session has ended: there is nowhere to put a pane
    /// until the next `up` chooses anew. Our own server is never gone, it is started again.
    pub(crate) fn are_gone(&self) -> bool {
        self.gone
    }

    /// What there is, asked for only when what is known is of another server than the one that answers now: until a
    /// server ends, its ids name what they named.
    async fn survey(&mut self) -> Result<&mut Survey, TmuxError> {
        let known = self.survey.take().filter(|survey| {
            survey
                .server
                .is_some_and(|server| server.serves(&self.tmux.socket))
        });
        let survey = match known {
            Some(survey) => survey,
            None => self.look().await?,
        };
        Ok(self.survey.insert(survey))
    }

    /// What is known may be wrong.
    pub(crate) fn forget(&mut self) {
        self.survey = None;
    }

    /// The team's panes that are there: whose, with which process, and their ids.
    pub(crate) async fn found(&mut self) -> Vec<FoundPane> {
        let team = self.team.clone();
        match self.survey().await {
            Ok(survey) => survey
                .panes()
                .filter(|pane| pane.is_of(&team))
                .filter_map(|pane| {
                    Some(FoundPane {
                        member: pane.member.parse().ok()?,
                        pid: pane.pid,
                        id: pane.id.clone(),
                        placement: Placement::Tmux,
                    })
                })
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "the panes that are there cannot be listed");
                Vec::new()
            }
        }
    }

    async fn look(&self) -> Result<Survey, TmuxError> {
        // Our own server is started on need; the user's is there or the place is gone.
        let socket = &self.tmux.socket;
        if let Some(own) = &self.tmux.own
            && !socket.exists()
        {
            own.bind_again(socket).await;
            if !socket.exists() {
                return Ok(Survey::default());
            }
        }
        match self.tmux.run(&[survey::list()]).await {
            Ok(listing) => {
                let survey = Survey::of(&listing, socket);
                self.record(survey.server);
                Ok(survey)
            }
            Err(TmuxError::NoServer(_)) if self.tmux.own.is_some() => Ok(Survey::default()),
            Err(error) => Err(error),
        }
    }

    /// A server of ours is to be found also without its socket.
    fn record(&self, server: Option<Server>) {
        if let (Some(own), Some(server)) = (&self.tmux.own, server) {
            own.record(server.process, &self.tmux.socket);
        }
    }

    /// Shows in the borders what the members are and do. Best effort: it is looks.
    pub(crate) async fn label(&mut self, mut labels: Vec<(MemberName, Label)>) {
        // Also for those whose process has ended; their panes say so once tmux knows: see `how_ended`.
        if let Ok(Survey {
            server: Some(server),
            ..
        }) = self.survey().await
        {
            let _just_gone = server.process.signal(Signal::SIGCHLD);
        }
        labels.retain(|(member, label)| self.labels.get(member) != Some(label));
        if labels.is_empty() {
            return;
        }
        if let Err(error) = self.try_label(&labels).await {
            self.survey = None;
            // A pane that was closed by hand ends the call for those after it.
            if !error.is_stale() || self.try_label(&labels).await.is_err() {
                tracing::debug!(%error, "labels cannot be shown");
            }
        }
    }

    async fn try_label(&mut self, labels: &[(MemberName, Label)]) -> Result<(), TmuxError> {
        let team = self.team.clone();
        let survey = self.survey().await?;
        let shown: Vec<_> = labels
            .iter()
            .filter_map(|(member, label)| {
                Some((
                    survey.of_member(&team, member.as_str())?.id.clone(),
                    member,
                    label,
                ))
            })
            .collect();
        let commands = shown
            .iter()
            .flat_map(|(pane, _, label)| label_commands(Some(pane), label))
            .collect();
        for call in call::calls(commands) {
            self.tmux.run(&call).await?;
        }
        self.labels.extend(
            shown
                .into_iter()
                .map(|(_, member, label)| (member.clone(), label.clone())),
        );
        Ok(())
    }

    /// Has status lines say who waits for the person; nobody: an empty text. Best effort: it is looks.
    pub(crate) async fn tell_waiting(&mut self, summary: &str) {
        let team = self.team.clone();
        let Ok(survey) = self.survey().await else {
            return;
        };
        let windows = survey.windows_of(&team);
        let Some(window) = windows.first() else {
            return;
        };
        let set = Command::set("-w", Some(&window.id), WAITING_TAG, &label_text(summary));
        if let Err(error) = self.tmux.run(&[set]).await {
            tracing::debug!(%error, "status lines cannot be told who waits");
        }
    }

    /// What the caller runs to see the team, or one member's pane; nothing when its own client could be switched there.
    /// Of a member that is there, its pane is one in which a process of `shown_by` is.
    pub(crate) async fn attach(
        &mut self,
        member: Option<&MemberName>,
        shown_by: Option<&[u32]>,
        read_only: bool,
        terminal: &CallerTerminal,
    ) -> Result<AttachAnswer, Refusal> {
        let refused = |error: TmuxError| Refusal::new(ErrorCode::NoPane, error.to_string());
        self.survey = None;
        let team = self.team.clone();
        let survey = self.survey().await.map_err(refused)?;
        let server = survey.server.map(|server| server.process.pid);
        let shown = match member {
            Some(member) => survey
                .of_member(&team, member.as_str())
                .filter(|pane| shown_by.is_none_or(|pids| pids.contains(&pane.pid))),
            None => {
                let first = survey.windows_of(&team).into_iter().next();
                let active = first.map_or_else(String::new, |window| window.active);
                survey.panes().find(|pane| pane.id == active)
            }
        };
        let pane = shown.ok_or_else(|| not_shown(member))?.clone();

        let tmux = terminal.tmux.as_deref();
        let inside = tmux
            .and_then(Inside::parse)
            .filter(|inside| Some(inside.pid) == server);
        if let Some(inside) = inside {
            if read_only {
                let refusal =
                    "your whole tmux client would become read-only, not only the team's windows";
                return Err(Refusal::new(ErrorCode::Invalid, refusal)
                    .hint("attach without --read-only, or from a terminal outside of this tmux"));
            }
            self.switch(&inside, &pane.id).await.map_err(refused)?;
            return Ok(AttachAnswer {
                argv: Vec::new(),
                unset: Vec::new(),
            });
        }

        let window = format!("{}:{}", pane.session, pane.window);
        let mut commands = vec![
            Command::new("select-window").option("-t", &window),
            Command::new("select-pane").option("-t", &pane.id),
        ];
        let draws = self.control_mode && tmux.is_none() && terminal.iterm.is_some();
        if member.is_some() && !draws {
            // Zoomed, unless it is already.
            let zoom = format!("resize-pane -Z -t {}", pane.id);
            let look = Command::new("if-shell").flag("-F").option("-t", &pane.id);
            commands.push(look.word("#{?window_zoomed_flag,0,1}").word(&zoom));
        }
        let attach = Command::new("attach-session").option("-t", &pane.session);
        commands.push(if read_only { attach.flag("-r") } else { attach });
        let mut argv = self.tmux.argv(&commands).map_err(refused)?;
        if draws {
            argv.insert(1, "-CC".to_owned());
        }
        Ok(AttachAnswer {
            argv,
            unset: vec!["TMUX".to_owned(), "TMUX_PANE".to_owned()],
        })
    }

    /// Shows a pane in the caller's own client: of those that look at its session, the one that was used last.
    async fn switch(&self, inside: &Inside, pane: &str) -> Result<(), TmuxError> {
        let format = "#{client_activity}\t#{session_id}\t#{client_name}";
        let listing = self
            .tmux
            .run(&[Command::new("list-clients").option("-F", format)])
            .await?;
        let client = listing
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, '\t');
                let active: u64 = fields.next()?.parse().ok()?;
                // The caller's pane may have been moved out of the session that it was made in.
                let here = fields.next()? == inside.session;
                Some(((here, active), fields.next()?))
            })
            .max();
        let (_, client) = client
            .ok_or_else(|| TmuxError::Gone("nobody is attached to your session".to_owned()))?;
        self.tmux
            .run(&[Command::new("switch-client")
                .option("-c", client)
                .option("-t", pane)])
            .await?;
        Ok(())
    }
}

fn label_commands(pane: Option<&str>, label: &Label) -> [Command; 2] {
    let colour = format!("colour{}", label.colour.ansi256());
    [
        Command::set("-p", pane, LABEL_TAG, &label_text(&label.text)),
        Command::set("-p", pane, COLOUR_TAG, &colour),
    ]
}
