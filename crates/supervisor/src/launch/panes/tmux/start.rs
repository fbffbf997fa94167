//! Starts workers in panes: in the member's existing pane if there is one, otherwise in a new pane. Called by the
//! team's launcher.
//!
//! Each step is one tmux call that creates and tags panes, so that no pane exists without its tags: a supervisor that
//! dies between two calls would never find it again. Each step uses what the previous step found, for example that the
//! user has closed a pane or that a window is full.

use std::collections::BTreeSet;

use agent_team_core::input::ProcessExit;
use agent_team_protocol::MemberName;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::spec::Layout;
use agent_team_system::process::{ProcessId, Signal};

use super::TmuxPanes;
use super::call::TmuxError;
use super::create::{PaneTarget, Progress, Step};
use super::layout::Frame;
use super::server::{OWN_SERVER, Server};
use super::site::TmuxSession;
use super::survey::{Pane, Survey};
use crate::launch::order::{LaunchOrder, ProgramTask};
use crate::launch::report::StartedWorker;

impl TmuxPanes {
    /// Starts a worker for each order, in the member's existing pane if there is one. Returns one result per order, in
    /// the same sequence.
    pub(super) async fn start(
        &mut self,
        orders: &[LaunchOrder],
    ) -> Vec<Result<StartedWorker, String>> {
        let mut progress = Progress {
            orders,
            panes: vec![None; orders.len()],
            full: BTreeSet::new(),
        };
        let team = &self.team;
        let is_known = |order: &LaunchOrder| {
            // An order to show a worker needs the current list: the worker may have a pane already.
            let starts = matches!(order.task, ProgramTask::Launch { .. });
            let survey = self.survey.as_ref().filter(|_| starts);
            survey.is_some_and(|survey| survey.of_member(team, order.member.as_str()).is_some())
        };
        if !orders.iter().all(is_known) {
            // The list may be outdated: windows can have been resized since.
            self.survey = None;
        }
        self.gone = false;
        let (mut listed_again, mut fault) = (false, None);
        while fault.is_none() && progress.waiting().next().is_some() {
            match self.step(&mut progress).await {
                Ok(()) => {}
                Err(error) => {
                    self.survey = None;
                    if error.is_stale() && !listed_again {
                        listed_again = true;
                    } else {
                        let users = matches!(self.session, TmuxSession::OfUser(_));
                        self.gone =
                            users && matches!(error, TmuxError::NoServer(_) | TmuxError::Gone(_));
                        fault = Some(error.to_string());
                    }
                }
            }
        }
        self.note_sizes();
        let fault = fault.unwrap_or_default();
        let mut outcomes = Vec::with_capacity(orders.len());
        for (order, pane) in orders.iter().zip(progress.panes) {
            outcomes.push(match pane {
                Some(pane) => {
                    self.labels
                        .insert(order.member.clone(), order.label.clone());
                    self.started_worker(pane).await
                }
                None => Err(fault.clone()),
            });
        }
        outcomes
    }

    /// Makes one tmux call for waiting orders.
    async fn step(&mut self, progress: &mut Progress<'_>) -> Result<(), TmuxError> {
        self.find_shown(progress).await?;
        if progress.waiting().next().is_none() {
            return Ok(());
        }
        let step = self.next_step(progress).await?;
        let (printed, outcome) = if let Some(PaneTarget::Session) = step.pane_target {
            let _own_server = OWN_SERVER.lock().await;
            if let Some(own) = &self.own {
                own.write_configuration()?;
            }
            self.tmux.run_partly(&step.commands).await
        } else {
            self.tmux.run_partly(&step.commands).await
        };

        let mut window = match &step.pane_target {
            Some(PaneTarget::Beside(window)) => Some(window.id.clone()),
            Some(PaneTarget::Session | PaneTarget::NewWindow { .. }) | None => None,
        };
        let mut made = 0;
        for (&index, pane) in step
            .orders
            .iter()
            .zip(printed.lines().filter_map(Pane::parse))
        {
            let pane = self.with_tags(
                pane,
                &progress.orders[index],
                step.pane_target.as_ref(),
                made,
            );
            window = Some(pane.window.clone());
            made += 1;
            if let Some(survey) = &mut self.survey {
                let known = survey.server;
                let server = known.or_else(|| Server::of(pane.server, &self.tmux.socket));
                survey.server = server;
                survey.add(pane.clone());
                if known.is_none() {
                    self.record(server);
                }
            }
            progress.panes[index] = Some(pane);
        }
        match (outcome, window) {
            (Err(TmuxError::NoSpace(_)), Some(window)) => {
                progress.full.insert(window);
                Ok(())
            }
            (Ok(()), _) if made < step.orders.len() => {
                Err(TmuxError::Unexpected(format!("{printed:?} for new panes")))
            }
            (outcome, _) => outcome,
        }
    }

    /// Completes the orders to show a worker that still runs in its old pane. An attach helper started in that pane
    /// would kill the worker.
    async fn find_shown(&mut self, progress: &mut Progress<'_>) -> Result<(), TmuxError> {
        let team = self.team.clone();
        let survey = self.survey().await?;
        for (order, shown) in progress.orders.iter().zip(&mut progress.panes) {
            if let ProgramTask::AttachHelper { worker, .. } = &order.task
                && let Some(pane) = survey.of_member(&team, order.member.as_str())
                && pane.pid == *worker
            {
                *shown = Some(pane.clone());
            }
        }
        Ok(())
    }

    async fn next_step(&mut self, progress: &Progress<'_>) -> Result<Step, TmuxError> {
        let (team, layout, default_size) = (self.team.clone(), self.layout, self.size);
        let session = self.session.clone();
        let survey = self.survey().await?;
        let old: Vec<(usize, String)> = progress
            .waiting()
            .filter_map(|index| {
                Some((
                    index,
                    survey
                        .of_member(&team, progress.orders[index].member.as_str())?
                        .id
                        .clone(),
                ))
            })
            .collect();
        if !old.is_empty() {
            return self.respawns(progress, &old);
        }
        let windows = survey.windows_of(&team);
        let frame = |size, others: usize| Frame {
            layout,
            size,
            first: others == 0,
        };
        let open = windows.iter().enumerate().find_map(|(others, window)| {
            let frame = frame(window.size, others);
            let room = frame.capacity().saturating_sub(window.panes);
            (room > 0 && !progress.full.contains(&window.id)).then_some((window, frame, room))
        });
        if let Some((window, frame, room)) = open {
            return self.fill(progress, PaneTarget::Beside(window.clone()), frame, room);
        }
        let session = match session {
            TmuxSession::OfUser(id) => Some(id),
            TmuxSession::Own => survey.session_of(&team).map(str::to_owned),
        };
        let size = session
            .as_deref()
            .and_then(|session| survey.size_in(session))
            .unwrap_or(default_size);
        let frame = frame(size, windows.len());
        let pane_target = match (session, progress.waiting().next()) {
            (Some(session), Some(first)) => PaneTarget::NewWindow {
                name: self.window_name(windows.len(), &progress.orders[first].member),
                session,
            },
            (_, _) => PaneTarget::Session,
        };
        self.fill(progress, pane_target, frame, frame.capacity())
    }

    /// The name of a new window. On agent-team's server the session already has the team's name. `first` is the first
    /// member in the window.
    pub(super) fn window_name(&self, others: usize, first: &MemberName) -> String {
        let team = self.team.name();
        match (self.layout, &self.session, others) {
            (Layout::Windows, TmuxSession::Own, _) => first.to_string(),
            (Layout::Windows, TmuxSession::OfUser(_), _) => format!("{team} {first}"),
            (_, TmuxSession::Own, 0) => "team".to_owned(),
            (_, TmuxSession::Own, others) => format!("team-{}", others + 1),
            (_, TmuxSession::OfUser(_), 0) => team.to_owned(),
            (_, TmuxSession::OfUser(_), others) => format!("{team}-{}", others + 1),
        }
    }

    /// The pane with its state after the call. The call printed the pane before it set the pane's tags.
    fn with_tags(
        &self,
        pane: Pane,
        order: &LaunchOrder,
        pane_target: Option<&PaneTarget>,
        nth: usize,
    ) -> Pane {
        let team = self.team.to_string();
        let Some(pane_target) = pane_target else {
            return pane;
        };
        let session_team = match (pane_target, &self.session) {
            (PaneTarget::Beside(_), _) => pane.session_team,
            (PaneTarget::Session | PaneTarget::NewWindow { .. }, TmuxSession::Own) => team.clone(),
            (PaneTarget::Session | PaneTarget::NewWindow { .. }, TmuxSession::OfUser(_)) => {
                String::new()
            }
        };
        let (active, zoomed, size) = match pane_target {
            PaneTarget::Beside(window) => (false, window.zoomed, pane.size),
            PaneTarget::Session => (nth == 0, false, self.size),
            PaneTarget::NewWindow { .. } => (nth == 0, false, pane.size),
        };
        Pane {
            session_team,
            window_team: team.clone(),
            team,
            member: order.member.to_string(),
            active,
            zoomed,
            size,
            ..pane
        }
    }

    async fn started_worker(&self, pane: Pane) -> Result<StartedWorker, String> {
        match ProcessId::of(pane.pid) {
            Ok(Some(process)) => Ok(StartedWorker {
                process,
                placement: Placement::Tmux,
                pane: Some(pane.id),
            }),
            Ok(None) => Err(self.exit_error(&pane).await),
            Err(error) => Err(format!("cannot inspect process {}: {error}", pane.pid)),
        }
    }

    /// The error for a worker that exited before it could be observed.
    async fn exit_error(&self, pane: &Pane) -> String {
        let how = match self.process_exit(pane).await {
            ProcessExit::Unknown => "cause unknown to tmux".to_owned(),
            ProcessExit::Status(status) => format!("with status {status}"),
            ProcessExit::Signal(signal) => format!("by signal {signal}"),
        };
        format!(
            "the worker exited at once, {how}; pane {} shows its last output",
            pane.id
        )
    }

    /// How this process of a pane exited.
    pub(super) async fn exit_of(&self, id: &str, pid: u32) -> ProcessExit {
        let mut panes = self.survey.iter().flat_map(Survey::panes);
        match panes.find(|pane| pane.id == id && pane.pid == pid) {
            Some(pane) => self.process_exit(pane).await,
            None => ProcessExit::Unknown,
        }
    }

    /// How a pane's process ended. Up to 3.5a, tmux built with libutempter loses some SIGCHLD signals (tmux#4559): the
    /// process stays a zombie and the pane looks alive until the server receives another SIGCHLD. This function sends
    /// it.
    pub(super) async fn process_exit(&self, pane: &Pane) -> ProcessExit {
        let known = self.reported_exit(pane).await;
        if known != ProcessExit::Unknown {
            return known;
        }
        match ProcessId::of(pane.server) {
            Ok(Some(server)) if server.signal(Signal::SIGCHLD).is_ok() => {
                self.reported_exit(pane).await
            }
            Ok(_) | Err(_) => known,
        }
    }

    async fn reported_exit(&self, pane: &Pane) -> ProcessExit {
        let format = "#{pane_dead_status}\t#{pane_dead_signal}";
        let answer = self.tmux.show(&pane.id, format).await;
        let answer = answer.unwrap_or_default();
        // tmux reports a signal by its number where the system has no `sys_signame`, as on Linux.
        let (status, signal) = answer.split_once('\t').unwrap_or_default();
        match (status.parse(), signal.parse()) {
            (_, Ok(signal)) => ProcessExit::Signal(signal),
            (Ok(status), Err(_)) if signal.is_empty() => ProcessExit::Status(status),
            (_, Err(_)) => ProcessExit::Unknown,
        }
    }
}
