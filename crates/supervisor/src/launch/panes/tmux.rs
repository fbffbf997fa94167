//! The tmux backend: members in panes. Called by the team's launcher, one order at a time.
//!
//! A pane is only a display: the driver detects a worker's exit through its connection or a pidfd. Panes are found by
//! their tags and addressed by their ids, so that a restarted supervisor continues with the existing panes. The backend
//! respawns, changes and closes only panes with this team's tag, and never splits the user's windows. Starting a worker
//! does not move the focus.
//!
//! ```text
//! start.rs   starts workers in panes       survey.rs  lists panes and their members
//! create.rs  builds calls that make panes  layout.rs  panes per window and their layout
//! close.rs   closes panes                  server.rs  identity of servers; agent-team's server
//! call.rs    runs tmux, classifies errors  probe.rs   whether the caller's tmux is usable
//! site.rs    which server shows a team     arrange.rs lays out windows of another size
//! look.rs    borders and status lines      keys.rs    the key `^B a` of agent-team's server
//! user_options.rs    the options that the borders and status lines read
//! ```

mod arrange;
mod call;
mod close;
mod create;
mod keys;
mod layout;
mod look;
mod probe;
mod server;
mod site;
mod start;
mod survey;
#[cfg(test)]
pub(in crate::launch) mod testing;
#[cfg(test)]
mod tests;
mod user_options;

use std::collections::BTreeMap;

use agent_team_core::input::ProcessExit;
use agent_team_protocol::method::AttachAnswer;
use agent_team_protocol::placement::{CallerTerminal, Placement};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::style::{SemanticColour, Theme};
use agent_team_protocol::view::Receipt;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, TeamId};
use agent_team_system::directories::Directories;
use agent_team_system::process::Signal;
use agent_team_system::sibling_binary::sibling_binary;

use call::{Command, Tmux, TmuxError, label_text};
pub(super) use probe::{probe, probe_drawn};
use server::{OwnFiles, Server, TmuxVariable};
pub(in crate::launch) use site::{TmuxSession, TmuxSite};
use survey::{Pane, Survey};
use user_options::{
    ASKS_OPTION, COLOUR_OPTION, COMPLETED_OPTION, COST_OPTION, FAILED_OPTION, IN_PROGRESS_OPTION,
    LABEL_OPTION, MODE_OPTION, NAME_OPTION, WAITING_OPTION,
};

use super::interface::{Panes, Pending, not_shown};
use crate::launch::order::{Label, LaunchOrder, TeamSummary};
use crate::launch::report::{FoundPane, StartedWorker};

/// The panes of one team.
#[derive(Debug)]
pub(super) struct TmuxPanes {
    team: TeamId,
    session: TmuxSession,
    /// Columns and rows of a window created before a client is attached.
    size: (u16, u16),
    layout: Layout,
    /// The colours of new windows, and of labels.
    theme: Theme,
    /// Clients that attach from iTerm2 use control mode, in which iTerm2 draws windows and panes.
    control_mode: bool,
    tmux: Tmux,
    /// The files of agent-team's server. `None`: the panes are on the user's server.
    own: Option<OwnFiles>,
    /// The shell line of the key that shows the next waiting member. `None`: the command line is not installed.
    next_line: Option<String>,
    /// The known panes; `None` before the first listing and when the listing may be outdated.
    survey: Option<Survey>,
    /// Columns and rows of each window when its panes were last laid out or found.
    laid_out: BTreeMap<String, (u16, u16)>,
    /// The labels shown in the borders.
    labels: BTreeMap<MemberName, Label>,
    /// The last start found that the user's server or session has ended. No pane can then be opened until `down` and
    /// `up` choose a backend again. Agent-team's server is never gone: the next start creates it again.
    gone: bool,
}

impl TmuxPanes {
    /// Makes no call to tmux yet.
    pub(super) fn new(
        team: TeamId,
        site: TmuxSite,
        layout: Layout,
        theme: Theme,
        directories: &Directories,
    ) -> Self {
        let own = match site.session {
            TmuxSession::Own => Some(OwnFiles::within(directories)),
            TmuxSession::OfUser(_) => None,
        };
        let configuration = own.as_ref().map(|own| own.configuration.clone());
        let (columns, rows) = site.size;
        Self {
            session: site.session,
            // The status line takes the terminal's last line.
            size: (columns, rows.saturating_sub(1).max(1)),
            layout,
            theme,
            control_mode: site.control_mode,
            tmux: Tmux::new(site.binary, site.socket, configuration),
            next_line: sibling_binary(keys::COMMAND_LINE)
                .ok()
                .and_then(|binary| keys::next_line(&binary, &team, directories)),
            own,
            survey: None,
            team,
            laid_out: BTreeMap::new(),
            labels: BTreeMap::new(),
            gone: false,
        }
    }

    /// The known panes. Lists the panes if none are known, or if another server has taken the socket: ids are valid
    /// only for one server.
    async fn survey(&mut self) -> Result<&mut Survey, TmuxError> {
        let known = self.survey.take().filter(|survey| {
            survey
                .server
                .is_some_and(|server| server.serves(&self.tmux.socket))
        });
        let survey = match known {
            Some(survey) => survey,
            None => self.list_panes().await?,
        };
        Ok(self.survey.insert(survey))
    }

    /// Remembers the sizes of the team's windows.
    fn note_sizes(&mut self) {
        if let Some(survey) = &self.survey {
            let windows = survey.windows_of(&self.team).into_iter();
            self.laid_out = windows.map(|window| (window.id, window.size)).collect();
        }
    }

    /// The team's existing panes: member, process and id.
    async fn found(&mut self) -> Vec<FoundPane> {
        self.survey = None;
        let team = self.team.clone();
        let listed = self.survey().await.map(|_| ());
        self.note_sizes();
        match listed.and(self.survey().await) {
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
                tracing::warn!(%error, "cannot list the panes");
                Vec::new()
            }
        }
    }

    async fn list_panes(&self) -> Result<Survey, TmuxError> {
        // Agent-team's server is started on demand; the user's server must exist.
        let socket = &self.tmux.socket;
        if let Some(own) = &self.own
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
            Err(TmuxError::NoServer(_)) if self.own.is_some() => Ok(Survey::default()),
            Err(error) => Err(error),
        }
    }

    /// Records the process of agent-team's server, so that it can be found without its socket.
    fn record(&self, server: Option<Server>) {
        if let (Some(own), Some(server)) = (&self.own, server) {
            own.record(server.process, &self.tmux.socket);
        }
    }

    /// Shows labels in the borders. Best effort: labels are cosmetic.
    async fn label(&mut self, mut labels: Vec<(MemberName, Label)>) {
        // Labels also change when a member's process ends. SIGCHLD makes tmux notice the dead process, so that the pane
        // shows the exit: see `process_exit`.
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
            // If the user has closed a pane, the call fails for this pane and for all panes after it. List the panes
            // again and repeat the call once.
            if !error.is_stale() || self.try_label(&labels).await.is_err() {
                tracing::debug!(%error, "cannot set labels");
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
            .flat_map(|(pane, _, label)| self.label_commands(Some(pane), label))
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

    fn label_commands(&self, pane: Option<&str>, label: &Label) -> [Command; 3] {
        let colour = look::colour(self.theme, SemanticColour::Member(label.colour));
        [
            Command::set("-p", pane, LABEL_OPTION, &label_text(&label.text)),
            Command::set("-p", pane, COLOUR_OPTION, &colour),
            Command::set("-p", pane, ASKS_OPTION, if label.asks { "1" } else { "" }),
        ]
    }

    /// Shows the summary in status lines. Best effort: status lines are cosmetic.
    async fn show_summary(&mut self, summary: &TeamSummary) {
        let team = self.team.clone();
        let Ok(survey) = self.survey().await else {
            return;
        };
        let windows = survey.windows_of(&team);
        let Some(window) = windows.first() else {
            return;
        };
        let set =
            |tag: &str, value: &str| Command::set("-w", Some(&window.id), tag, &label_text(value));
        // Conditions in formats treat "0" as false.
        let commands = [
            set(WAITING_OPTION, &summary.waiting),
            set(NAME_OPTION, &summary.name),
            set(COMPLETED_OPTION, &summary.completed.to_string()),
            set(FAILED_OPTION, &summary.failed.to_string()),
            set(IN_PROGRESS_OPTION, &summary.in_progress.to_string()),
            set(COST_OPTION, &summary.cost),
            set(MODE_OPTION, summary.mode),
        ];
        if let Err(error) = self.tmux.run(&commands).await {
            tracing::debug!(%error, "cannot set the summary for status lines");
        }
    }

    /// Whether the pane is the active pane of a client that has the focus.
    ///
    /// tmux counts a client as focused until its terminal reports otherwise: a terminal is asked for reports only with
    /// the option `focus-events`, and a client in control mode never reports.
    async fn has_focus(&self, pane: &str) -> bool {
        let format = "#{focus-events} #{client_control_mode} #{pane_id} #{client_flags}";
        let clients = Command::of(&["list-clients", "-F", format]);
        let Ok(clients) = self.tmux.run(&[clients]).await else {
            return false;
        };
        let focused = format!("1 0 {pane} ");
        clients.lines().any(|client| {
            let flags = client.strip_prefix(&focused);
            flags.is_some_and(|flags| flags.split(',').any(|flag| flag == "focused"))
        })
    }

    /// The command that shows the caller the team or one member's pane; empty if the caller's own tmux client was
    /// switched to the pane. For a connected member, only a pane with a process in `shown_by` counts.
    async fn attach(
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
            .and_then(TmuxVariable::parse)
            .filter(|inside| Some(inside.pid) == server);
        if let Some(inside) = inside {
            if read_only {
                let refusal = "cannot attach read-only inside tmux: the whole tmux client would become read-only";
                return Err(Refusal::new(ErrorCode::Invalid, refusal)
                    .hint("attach without --read-only, or from a terminal outside this tmux"));
            }
            self.switch(&inside, &pane).await.map_err(refused)?;
            return Ok(AttachAnswer {
                argv: Vec::new(),
                unset: Vec::new(),
            });
        }

        let window = format!("{}:{}", pane.session, pane.window);
        let mut commands = vec![
            Command::of(&["select-window", "-t", &window]),
            Command::of(&["select-pane", "-t", &pane.id]),
        ];
        let draws = self.control_mode && tmux.is_none() && terminal.iterm.is_some();
        if member.is_some() && !draws {
            commands.push(zoom(&pane.id));
        }
        let attach = Command::of(&["attach-session", "-t", &pane.session]);
        commands.push(if read_only {
            attach.with(&["-r"])
        } else {
            attach
        });
        let mut argv = self.tmux.argv(&commands).map_err(refused)?;
        if draws {
            argv.insert(1, "-CC".to_owned());
        }
        Ok(AttachAnswer {
            argv,
            unset: vec!["TMUX".to_owned(), "TMUX_PANE".to_owned()],
        })
    }

    /// Shows a pane in the caller's own client: the most recently used client of the caller's session, or of any
    /// session if the caller's session has no client. If another pane of the window is zoomed, the pane is zoomed
    /// instead.
    async fn switch(&self, inside: &TmuxVariable, pane: &Pane) -> Result<(), TmuxError> {
        let format = "#{client_activity}\t#{session_id}\t#{client_name}";
        let listing = self
            .tmux
            .run(&[Command::of(&["list-clients", "-F", format])])
            .await?;
        let client = listing
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, '\t');
                let active: u64 = fields.next()?.parse().ok()?;
                // `TMUX` names the session in which the caller's pane was created, and the pane can have been moved to
                // another session. So clients of other sessions are a fallback.
                let is_in_session = fields.next()? == inside.session;
                Some(((is_in_session, active), fields.next()?))
            })
            .max();
        let (_, client) = client
            .ok_or_else(|| TmuxError::Gone("no client is attached to your session".to_owned()))?;
        let switch = ["switch-client", "-c", client, "-t", &pane.id];
        let mut commands = vec![Command::of(&switch)];
        if pane.zoomed {
            // Selecting another pane ends the zoom; `switch-client -Z` would keep it, from tmux 3.1 on.
            commands.push(zoom(&pane.id));
        }
        self.tmux.run(&commands).await?;
        Ok(())
    }
}

/// Zooms a pane unless it is zoomed already: `resize-pane -Z` toggles.
fn zoom(pane: &str) -> Command {
    let zoom = format!("resize-pane -Z -t {pane}");
    let is_unzoomed = "#{?window_zoomed_flag,0,1}";
    Command::of(&["if-shell", "-F", "-t", pane, is_unzoomed, &zoom])
}

impl Panes for TmuxPanes {
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

    fn show_summary<'a>(&'a mut self, summary: &'a TeamSummary) -> Pending<'a, ()> {
        Box::pin(self.show_summary(summary))
    }

    fn arrange(&mut self) -> Pending<'_, ()> {
        Box::pin(self.arrange())
    }

    fn exit_of<'a>(&'a self, pane: &'a str, pid: u32) -> Pending<'a, ProcessExit> {
        Box::pin(self.exit_of(pane, pid))
    }

    fn has_focus<'a>(&'a self, pane: &'a str) -> Pending<'a, bool> {
        Box::pin(self.has_focus(pane))
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
