//! The launcher: one tokio task per team that starts workers, and opens, labels and closes their panes.
//!
//! The driver sends it orders through [`Launcher`] and never waits for it; results return as messages. The launcher
//! makes only one decision: a worker runs headless if the terminal backend can no longer open panes. The launcher
//! reports the end of hosted workers only: the driver detects the exit of any other worker through the worker's
//! connection or a pidfd.

pub(crate) mod backend;
mod headless;
mod host_process;
mod in_process;
mod mcp_host;
mod order;
pub(crate) mod panes;
mod program;
mod report;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agent_team_core::input::ProcessExit;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::method::{AttachAnswer, Reopened};
use agent_team_protocol::placement::{CallerTerminal, Placement};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::style::Theme;
use agent_team_protocol::view::Receipt;
use agent_team_protocol::{ErrorCode, LaunchId, MemberName, Refusal, TeamId};
use agent_team_system::directories::Directories;
use agent_team_system::process::ProcessId;
use agent_team_system::sibling_binary::FindBinaryError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::host::Host;
use crate::launch::host_process::HostProcess;
use crate::launch::in_process::HostedWorkers;
use crate::launch::mcp_host::McpHost;
pub(crate) use crate::launch::order::{Label, LaunchOrder, ProgramTask, TeamSummary};
use crate::launch::panes::Panes;
pub(crate) use crate::launch::report::{
    FoundPane, LaunchReport, ReportSender, StartResult, StartedWorker,
};
use crate::machine::Machine;
use crate::settings::TeamPlacement;

/// How long label changes are collected, so that the labels of a starting team, or of two consecutive tasks, cost one
/// tmux call.
const LABEL_PAUSE: Duration = Duration::from_millis(30);

#[derive(Debug)]
pub(crate) enum Order {
    /// Sets the terminal backend, the layout and the colours of panes.
    SetBackend(TeamPlacement, Layout, Theme),
    Start(LaunchOrder),
    /// Opens panes for running workers without a pane. Answers for each worker with its pane, or with the reason why it
    /// has none.
    OpenPanes(Vec<LaunchOrder>, oneshot::Sender<Vec<Reopened>>),
    /// Reports the existing panes.
    FindPanes,
    Label(MemberName, Label),
    /// Sets the summary for status lines.
    SetSummary(TeamSummary),
    /// Lays out the panes again, because a pane has become too small or has grown.
    Arrange,
    /// Answers whether the pane with this id has the focus; false if the backend cannot determine it.
    AskFocus(String, oneshot::Sender<bool>),
    /// Answers how the process in this pane exited.
    AskExit {
        pane: String,
        pid: u32,
        reply: oneshot::Sender<ProcessExit>,
    },
    Close(MemberName),
    /// Reports when the hosted worker of this launch has ended; at once if the launch is unknown. The process is the
    /// worker's host process.
    Watch(LaunchId, ProcessId),
    /// Ends a hosted worker and, if it does not end in time, its host process. `gone` is answered when the worker has
    /// ended.
    End {
        launch: LaunchId,
        process: Option<ProcessId>,
        gone: oneshot::Sender<()>,
    },
    /// Closes all panes of the team, and the tmux server of agent-team if it has no other sessions. Waits for the exit
    /// of the host process, and ends the shared MCP servers.
    CloseAll(oneshot::Sender<Vec<Receipt>>),
    Attach {
        member: Option<MemberName>,
        read_only: bool,
        terminal: CallerTerminal,
        /// Set for a connected member that runs in its own process.
        lend: Option<TerminalLoan>,
        reply: oneshot::Sender<Result<AttachAnswer, Refusal>>,
    },
}

/// How a member without a pane is shown in the caller's terminal.
#[derive(Debug)]
pub(crate) struct TerminalLoan {
    /// Pids of the processes that can show the member. If one of them runs in a pane, that pane is the member's pane
    /// and is shown instead.
    pub(crate) shown_by: Vec<u32>,
    pub(crate) answer: AttachAnswer,
}

/// The driver's handle of the launcher.
#[derive(Clone)]
pub(crate) struct Launcher {
    machine: Rc<dyn Machine>,
    /// Whether all workers run inside the supervisor's process.
    is_embedded: bool,
    orders: mpsc::UnboundedSender<Order>,
    mcp_host: Rc<RefCell<McpHost>>,
}

impl Launcher {
    pub(crate) fn start(
        team: TeamId,
        directories: &Directories,
        host: Option<Arc<dyn Host>>,
        machine: Rc<dyn Machine>,
        reports: ReportSender,
    ) -> Self {
        let is_embedded = host.is_some();
        let (orders, taken) = mpsc::unbounded_channel();
        let mcp_host = McpHost::new(directories.mcp_socket(team.as_str()));
        let mcp_host = Rc::new(RefCell::new(mcp_host));
        let task = LauncherTask {
            machine: machine.clone(),
            directories: directories.clone(),
            panes: None,
            host_process: HostProcess::new(directories.host_socket(team.as_str()), reports.clone()),
            mcp_host: Rc::clone(&mcp_host),
            team,
            hosted: host.map(|host| HostedWorkers::new(host, reports.clone())),
            summary: TeamSummary::default(),
            reports,
        };
        tokio::task::spawn_local(task.run(taken));
        Self {
            machine,
            is_embedded,
            orders,
            mcp_host,
        }
    }

    /// Prepares the MCP host.
    ///
    /// # Errors
    /// When the host's socket cannot be bound.
    pub(crate) fn share_mcp(&self) -> io::Result<()> {
        self.mcp_host.borrow_mut().listen()
    }

    /// Whether all workers run inside the supervisor's process.
    pub(crate) fn is_embedded(&self) -> bool {
        self.is_embedded
    }

    /// The worker program of an engine; empty if workers run inside the supervisor's process.
    pub(crate) fn program(&self, engine: Engine) -> Result<PathBuf, FindBinaryError> {
        if self.is_embedded {
            return Ok(PathBuf::new());
        }
        self.machine.worker_program(engine)
    }

    pub(crate) fn order(&self, order: Order) {
        // Cannot fail: the launcher's task runs as long as this sender exists.
        let _sent = self.orders.send(order);
    }
}

/// Labels not yet shown. They are cosmetic, so they are collected, and wait while workers start.
#[derive(Default)]
struct PendingLabels {
    labels: Vec<(MemberName, Label)>,
    /// The summary for status lines, if it changed.
    summary: Option<TeamSummary>,
    /// A pane has become too small or has grown. Many such reports arrive while the user resizes a terminal.
    arrange: bool,
    due: Option<Instant>,
}

impl PendingLabels {
    fn put(&mut self, member: MemberName, label: Label) {
        self.forget(&member);
        self.labels.push((member, label));
        self.set_due();
    }

    fn put_summary(&mut self, summary: TeamSummary) {
        self.summary = Some(summary);
        self.set_due();
    }

    fn put_arrange(&mut self) {
        self.arrange = true;
        self.set_due();
    }

    fn set_due(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + LABEL_PAUSE);
    }

    fn forget(&mut self, member: &MemberName) {
        self.labels.retain(|(labelled, _)| labelled != member);
    }
}

struct LauncherTask {
    machine: Rc<dyn Machine>,
    team: TeamId,
    directories: Directories,
    /// `None`: no member has a pane.
    panes: Option<Box<dyn Panes>>,
    /// `None`: no worker runs inside the supervisor's process.
    hosted: Option<HostedWorkers>,
    /// The current summary for status lines.
    summary: TeamSummary,
    /// The host process for hosted workers outside the supervisor's process.
    host_process: HostProcess,
    mcp_host: Rc<RefCell<McpHost>>,
    reports: ReportSender,
}

impl LauncherTask {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut labels = PendingLabels::default();
        loop {
            let order = match labels.due {
                None => orders.recv().await,
                Some(due) => match tokio::time::timeout_at(due, orders.recv()).await {
                    Ok(order) => order,
                    Err(_elapsed) => {
                        self.show_pending(&mut labels).await;
                        continue;
                    }
                },
            };
            let Some(mut order) = order else { return };
            // Consecutive start orders are combined: with tmux they cost one call. Label, summary and layout changes
            // between them are collected. Any other order ends the batch and runs after its starts.
            let mut starts = Vec::new();
            let other = loop {
                match order {
                    Order::Start(start) => {
                        // The start order contains a newer label.
                        labels.forget(&start.member);
                        starts.push(start);
                    }
                    Order::Label(member, label) => labels.put(member, label),
                    Order::SetSummary(summary) => {
                        self.summary.clone_from(&summary);
                        labels.put_summary(summary);
                    }
                    Order::Arrange => labels.put_arrange(),
                    Order::SetBackend(..)
                    | Order::OpenPanes(..)
                    | Order::FindPanes
                    | Order::AskFocus(..)
                    | Order::AskExit { .. }
                    | Order::Close(_)
                    | Order::Watch(..)
                    | Order::End { .. }
                    | Order::CloseAll(_)
                    | Order::Attach { .. } => break Some(order),
                }
                match orders.try_recv() {
                    Ok(next) => order = next,
                    Err(_none_waits) => break None,
                }
            };
            if !starts.is_empty() && !self.summary.name.is_empty() {
                // The window that shows the summary may not exist before this start.
                labels.put_summary(self.summary.clone());
            }
            self.start_all(starts).await;
            if let Some(order) = other {
                self.show_pending(&mut labels).await;
                self.carry_out(order).await;
            }
        }
    }

    async fn show_pending(&mut self, pending: &mut PendingLabels) {
        let PendingLabels {
            labels,
            summary,
            arrange,
            due: _,
        } = std::mem::take(pending);
        if let Some(panes) = &mut self.panes {
            if arrange {
                panes.arrange().await;
            }
            panes.label(labels).await;
            if let Some(summary) = summary {
                panes.show_summary(&summary).await;
            }
        }
    }

    async fn start_all(&mut self, starts: Vec<LaunchOrder>) {
        if let Some(hosted) = &mut self.hosted {
            let outcomes: Vec<_> = starts.iter().map(|start| hosted.start(start)).collect();
            for (start, outcome) in starts.into_iter().zip(outcomes) {
                self.report(start, outcome);
            }
            return;
        }
        let has_panes = self.panes.is_some();
        let (in_panes, others): (Vec<_>, Vec<_>) = starts
            .into_iter()
            .partition(|start| has_panes && start.placement.has_panes());
        for start in others {
            let running = match start.placement == Placement::Hosted {
                true => self.host_process.start(&start).await,
                false => headless::start(&*self.machine, &start),
            };
            self.report(start, running);
        }
        if let Some(panes) = &mut self.panes
            && !in_panes.is_empty()
        {
            let outcomes = panes.start(&in_panes).await;
            let is_gone = panes.is_gone();
            for (start, outcome) in in_panes.into_iter().zip(outcomes) {
                let outcome = match outcome {
                    // No pane can be opened, for example because the user closed the team's window or tmux server. The
                    // worker runs headless instead.
                    Err(why) if is_gone => {
                        tracing::warn!(member = %start.member, why, "started headless instead of in a pane");
                        headless::start(&*self.machine, &start)
                    }
                    outcome => outcome,
                };
                self.report(start, outcome);
            }
        }
    }

    async fn report_panes(&mut self) {
        if let Some(panes) = &mut self.panes {
            self.reports
                .send(LaunchReport::PanesFound(panes.found().await));
        }
    }

    async fn show_workers(&mut self, orders: &[LaunchOrder]) -> Vec<Reopened> {
        let outcomes = match &mut self.panes {
            Some(panes) => {
                let outcomes = panes.start(orders).await;
                panes.show_summary(&self.summary).await;
                outcomes
            }
            None => {
                let none = |order: &LaunchOrder| Err(no_pane(Some(&order.member)).message);
                orders.iter().map(none).collect()
            }
        };
        let shown = orders.iter().zip(outcomes).map(|(order, outcome)| {
            let (pane, why) = match outcome {
                Ok(running) => (running.pane, None),
                Err(why) => (None, Some(why)),
            };
            Reopened {
                member: order.member.clone(),
                pane,
                why,
            }
        });
        shown.collect()
    }

    fn report(&self, start: LaunchOrder, outcome: Result<StartedWorker, String>) {
        self.reports.send(LaunchReport::StartEnded(StartResult {
            member: start.member,
            launch: start.launch,
            outcome,
        }));
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::SetBackend(team_placement, layout, theme) => {
                let team = self.team.clone();
                self.panes = team_placement
                    .terminal
                    .open(team, layout, theme, &self.directories);
                self.report_panes().await;
            }
            Order::FindPanes => self.report_panes().await,
            Order::OpenPanes(orders, reply) => {
                let shown = self.show_workers(&orders).await;
                let _asker_gone = reply.send(shown);
            }
            Order::AskFocus(pane, reply) => {
                let has_focus = match &self.panes {
                    Some(panes) => panes.has_focus(&pane).await,
                    None => false,
                };
                let _asker_gone = reply.send(has_focus);
            }
            Order::AskExit { pane, pid, reply } => {
                let exit = match &self.panes {
                    Some(panes) => panes.exit_of(&pane, pid).await,
                    None => ProcessExit::Unknown,
                };
                let _asker_gone = reply.send(exit);
            }
            Order::Close(member) => {
                if let Some(panes) = &mut self.panes {
                    panes.close(&member).await;
                }
            }
            Order::Watch(launch, process) => match &mut self.hosted {
                Some(hosted) => hosted.watch(launch),
                None => self.host_process.watch(launch, process),
            },
            Order::End {
                launch,
                process,
                gone,
            } => match &mut self.hosted {
                Some(hosted) => hosted.end(&launch, gone),
                None => self.host_process.end(launch, process, gone),
            },
            Order::CloseAll(reply) => {
                let mut receipts = match &mut self.panes {
                    Some(panes) => panes.close_all().await,
                    None => Vec::new(),
                };
                receipts.extend(self.host_process.wait_gone().await);
                let ended = self.mcp_host.borrow_mut().end();
                receipts.extend(ended.await);
                let _asker_gone = reply.send(receipts);
            }
            Order::Attach {
                member,
                read_only,
                terminal,
                lend,
                reply,
            } => {
                let shown_by = lend.as_ref().map(|lend| &*lend.shown_by);
                let answer = match &mut self.panes {
                    Some(panes) => {
                        panes
                            .attach(member.as_ref(), shown_by, read_only, &terminal)
                            .await
                    }
                    None => Err(no_pane(member.as_ref())),
                };
                let answer = match (answer, lend) {
                    (Err(refusal), Some(lend)) if refusal.code == ErrorCode::NoPane => {
                        Ok(lend.answer)
                    }
                    (answer, _) => answer,
                };
                let _asker_gone = reply.send(answer);
            }
            // `run` handles these orders itself.
            Order::Start(_) | Order::Label(..) | Order::SetSummary(_) | Order::Arrange => {}
        }
    }
}

/// The refusal for a team without panes.
pub(crate) fn no_pane(member: Option<&MemberName>) -> Refusal {
    let code = ErrorCode::NoPane;
    match member {
        Some(member) => Refusal::new(
            code,
            format!("{member} has no pane: the team runs without panes"),
        )
        .hint(format!(
            "follow its output with: {}",
            CommandLine::FollowLog(member)
        )),
        None => Refusal::new(code, "the team runs without panes").hint(format!(
            "show a member in this terminal with {}; get panes with {} and {}",
            CommandLine::AttachAny,
            CommandLine::Down,
            CommandLine::UpInTmux
        )),
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::spec::Colour;

    use super::*;

    #[test]
    fn pending_labels_keep_the_newest_per_member() {
        let label = |text: &str| Label {
            colour: Colour::Grey,
            text: text.to_owned(),
            asks: false,
        };
        let [ada, bob]: [MemberName; 2] = ["ada", "bob"].map(|name| name.parse().unwrap());
        let mut labels = PendingLabels::default();
        labels.put(ada.clone(), label("idle"));
        labels.put(bob.clone(), label("draining"));
        let due = labels.due;
        labels.put(ada.clone(), label("working"));
        assert_eq!(labels.due, due, "a newer label postpones the update");
        labels.forget(&bob);
        assert_eq!(labels.labels, [(ada, label("working"))]);
        let waiting = TeamSummary {
            waiting: "ada asks".into(),
            ..TeamSummary::default()
        };
        labels.put_summary(waiting);
        labels.put_summary(TeamSummary::default());
        assert_eq!(labels.summary, Some(TeamSummary::default()));
        assert_eq!(labels.due, due);
    }
}
