//! Where members run: one task per team that starts workers, and shows and closes their panes.
//!
//! Called by the driver through [`Launcher`]; it never waits for it. What comes of an order returns as a message. The
//! launcher decides nothing, and knows no more of life and death than that it started a process: those are the
//! worker's socket and its pidfd.

mod headless;
mod host;
mod hosted;
mod iterm;
mod panes;
pub(crate) mod place;
pub(crate) mod tmux;

use std::ffi::OsString;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agent_team_core::member::ProcessStamp;
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::method::{AttachAnswer, CallerTerminal, Reopened};
use agent_team_protocol::spec::{Colour, Engine};
use agent_team_protocol::view::{Fate, Placement, Receipt, ReceiptKind};
use agent_team_protocol::{ErrorCode, LaunchId, MemberName, Refusal, TeamId};
use agent_team_system::daemon::FindBinaryError;
use agent_team_system::directories::Directories;
use agent_team_system::process::ProcessId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::driver::Message;
use crate::embed::Host;
use crate::launch::host::HostProcess;
use crate::launch::hosted::HostedWorkers;
use crate::launch::panes::Panes;
use crate::machine::Machine;
use crate::settings::Place;

/// How long what a border says may be behind: a team that starts, or a task that follows another, is one call of tmux.
const LABEL_PAUSE: Duration = Duration::from_millis(30);

/// A worker to be started, or one that is there to be shown.
#[derive(Debug, Clone)]
pub(crate) struct LaunchOrder {
    pub(crate) member: MemberName,
    pub(crate) launch: LaunchId,
    /// Empty where the worker is hosted.
    pub(crate) program: PathBuf,
    pub(crate) task: ProgramTask,
    /// Where it is to run; in a pane only where the team has any.
    pub(crate) placement: Placement,
    pub(crate) label: Label,
}

/// What the program of an order is there for.
#[derive(Debug, Clone)]
pub(crate) enum ProgramTask {
    /// To be the worker; its launch file is written.
    Launch { file: PathBuf },
    /// To hold a pane open for the worker that is there.
    Hold {
        /// Its pid: a pane that it is still in needs no other.
        worker: u32,
        arguments: Vec<OsString>,
    },
}

/// What a pane's border says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) colour: Colour,
    /// Role, state and task.
    pub(crate) text: String,
}

/// What came of a launch order.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) member: MemberName,
    pub(crate) launch: LaunchId,
    pub(crate) outcome: Result<Running, String>,
}

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: ProcessStamp,
    pub(crate) placement: Placement,
    /// The pane's id.
    pub(crate) pane: Option<String>,
}

/// A pane of the team's that was there before.
#[derive(Debug)]
pub(crate) struct FoundPane {
    pub(crate) member: MemberName,
    /// Of what runs in it.
    pub(crate) pid: u32,
    pub(crate) id: String,
    pub(crate) placement: Placement,
}

#[derive(Debug)]
pub(crate) enum Order {
    /// Where things are from now on.
    Place(Place, agent_team_protocol::spec::Layout),
    Start(LaunchOrder),
    /// Panes for workers that are there without; tells of each what is shown where, or why it is not.
    Show(Vec<LaunchOrder>, oneshot::Sender<Vec<Reopened>>),
    /// Tells which panes there are.
    Look,
    Label(MemberName, Label),
    /// Who waits for the person, in words; empty: nobody.
    Waiting(String),
    Close(MemberName),
    /// Reports when a hosted worker ends, or at once if there is none of this launch. With the process that hosts it.
    Watch(LaunchId, ProcessId),
    /// Ends a hosted worker where it stands, and if need be the process that hosts it. Answered when nothing of it is
    /// left, or by silence.
    End {
        launch: LaunchId,
        process: Option<ProcessId>,
        gone: oneshot::Sender<()>,
    },
    /// Every pane of the team, and our server when nobody else is on it.
    CloseAll(oneshot::Sender<Vec<Receipt>>),
    Attach {
        member: Option<MemberName>,
        read_only: bool,
        terminal: CallerTerminal,
        /// Of a member that is there.
        lend: Option<Lend>,
        reply: oneshot::Sender<Result<AttachAnswer, Refusal>>,
    },
}

/// How a member is shown in the caller's terminal where it has no pane.
#[derive(Debug)]
pub(crate) struct Lend {
    /// Whose pane is the member's, by their pids.
    pub(crate) shown_by: Vec<u32>,
    pub(crate) answer: AttachAnswer,
}

/// The driver's end.
#[derive(Clone)]
pub(crate) struct Launcher {
    machine: Rc<dyn Machine>,
    /// Workers have no processes of their own.
    hosts: bool,
    orders: mpsc::UnboundedSender<Order>,
}

impl Launcher {
    pub(crate) fn start(
        team: TeamId,
        directories: &Directories,
        host: Option<Arc<dyn Host>>,
        machine: Rc<dyn Machine>,
        driver: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let hosts = host.is_some();
        let (orders, taken) = mpsc::unbounded_channel();
        let task = Task {
            machine: machine.clone(),
            directories: directories.clone(),
            panes: None,
            process: HostProcess::new(directories.host_socket(team.as_str()), driver.clone()),
            team,
            hosted: host.map(|host| HostedWorkers::new(host, driver.clone())),
            waiting: String::new(),
            driver,
        };
        tokio::task::spawn_local(task.run(taken));
        Self {
            machine,
            hosts,
            orders,
        }
    }

    /// Whether workers run within this process, and nowhere else.
    pub(crate) fn hosts(&self) -> bool {
        self.hosts
    }

    /// The program that does an engine's work, empty where this one does.
    pub(crate) fn program(&self, engine: Engine) -> Result<PathBuf, FindBinaryError> {
        if self.hosts {
            return Ok(PathBuf::new());
        }
        self.machine.worker_program(engine)
    }

    pub(crate) fn order(&self, order: Order) {
        // The task lives as long as this sender.
        let _sent = self.orders.send(order);
    }
}

/// Labels that are still to be shown. They are looks: they wait for each other, and while workers start.
#[derive(Default)]
struct Labels {
    waiting: Vec<(MemberName, Label)>,
    /// Who waits for the person, where that is to be shown too.
    summary: Option<String>,
    due: Option<Instant>,
}

impl Labels {
    fn put(&mut self, member: MemberName, label: Label) {
        self.forget(&member);
        self.waiting.push((member, label));
        self.is_due();
    }

    fn put_summary(&mut self, summary: String) {
        self.summary = Some(summary);
        self.is_due();
    }

    fn is_due(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + LABEL_PAUSE);
    }

    fn forget(&mut self, member: &MemberName) {
        self.waiting.retain(|(labelled, _)| labelled != member);
    }
}

struct Task {
    machine: Rc<dyn Machine>,
    team: TeamId,
    directories: Directories,
    /// `None`: everybody is headless.
    panes: Option<Panes>,
    /// `None`: no worker is within this process.
    hosted: Option<HostedWorkers>,
    /// Who waits for the person.
    waiting: String,
    /// Where hosted workers are otherwise.
    process: HostProcess,
    driver: mpsc::UnboundedSender<Message>,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut labels = Labels::default();
        loop {
            let order = match labels.due {
                None => orders.recv().await,
                Some(due) => match tokio::time::timeout_at(due, orders.recv()).await {
                    Ok(order) => order,
                    Err(_elapsed) => {
                        self.show(&mut labels).await;
                        continue;
                    }
                },
            };
            let Some(mut order) = order else { return };
            // Starts that wait together are one order to the place.
            let mut starts = Vec::new();
            let other = loop {
                match order {
                    Order::Start(start) => {
                        // It brings its own.
                        labels.forget(&start.member);
                        starts.push(start);
                    }
                    Order::Label(member, label) => labels.put(member, label),
                    Order::Waiting(summary) => {
                        self.waiting.clone_from(&summary);
                        labels.put_summary(summary);
                    }
                    Order::Place(..)
                    | Order::Show(..)
                    | Order::Look
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
            if !starts.is_empty() && !self.waiting.is_empty() {
                // What shows it may be made only now.
                labels.put_summary(self.waiting.clone());
            }
            self.start_all(starts).await;
            if let Some(order) = other {
                self.show(&mut labels).await;
                self.one(order).await;
            }
        }
    }

    async fn show(&mut self, labels: &mut Labels) {
        let Labels {
            waiting, summary, ..
        } = std::mem::take(labels);
        if let Some(panes) = &mut self.panes {
            panes.label(waiting).await;
            if let Some(summary) = summary {
                panes.tell_waiting(&summary).await;
            }
        }
    }

    async fn start_all(&mut self, starts: Vec<LaunchOrder>) {
        if let Some(hosted) = &mut self.hosted {
            for start in starts {
                let running = hosted.start(&start);
                // Without a driver there is nobody to tell.
                let _sent = self.driver.send(Message::Started(started(start, running)));
            }
            return;
        }
        let has_panes = self.panes.is_some();
        let (in_panes, others): (Vec<_>, Vec<_>) = starts
            .into_iter()
            .partition(|start| has_panes && start.placement.has_panes());
        for start in others {
            let running = match start.placement {
                Placement::Hosted => self.process.start(&start).await,
                Placement::Tmux | Placement::Iterm | Placement::Headless | Placement::Unknown => {
                    headless::start(&*self.machine, &start)
                }
            };
            self.tell(start, running);
        }
        if let Some(panes) = &mut self.panes
            && !in_panes.is_empty()
        {
            let outcomes = panes.start(&in_panes).await;
            let gone = panes.are_gone();
            for (start, outcome) in in_panes.into_iter().zip(outcomes) {
                let outcome = match outcome {
                    // The user has closed what the team was shown in; the team goes on.
                    Err(why) if gone => {
                        tracing::warn!(member = %start.member, why, "started headless instead of in a pane");
                        headless::start(&*self.machine, &start)
                    }
                    outcome => outcome,
                };
                self.tell(start, outcome);
            }
        }
    }

    /// Tells the driver which panes there are.
    async fn look(&mut self) {
        if let Some(panes) = &mut self.panes {
            // Without a driver there is nobody to tell.
            let _sent = self.driver.send(Message::PanesFound(panes.found().await));
        }
    }

    async fn show_workers(&mut self, orders: &[LaunchOrder]) -> Vec<Reopened> {
        let outcomes = match &mut self.panes {
            Some(panes) => {
                let outcomes = panes.start(orders).await;
                panes.tell_waiting(&self.waiting).await;
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

    fn tell(&self, start: LaunchOrder, outcome: Result<Running, String>) {
        // Without a driver there is nobody to tell.
        let _sent = self.driver.send(Message::Started(started(start, outcome)));
    }

    async fn one(&mut self, order: Order) {
        match order {
            Order::Place(place, layout) => {
                self.panes =
                    Panes::at(place.terminal, self.team.clone(), layout, &self.directories);
                self.look().await;
            }
            Order::Look => {
                if let Some(panes) = &mut self.panes {
                    panes.forget();
                }
                self.look().await;
            }
            Order::Show(orders, reply) => {
                let shown = self.show_workers(&orders).await;
                let _asker_gone = reply.send(shown);
            }
            Order::Close(member) => {
                if let Some(panes) = &mut self.panes {
                    panes.close(&member).await;
                }
            }
            Order::Watch(launch, process) => match &mut self.hosted {
                Some(hosted) => hosted.watch(launch),
                None => self.process.watch(launch, process),
            },
            Order::End {
                launch,
                process,
                gone,
            } => match &mut self.hosted {
                Some(hosted) => hosted.end(&launch, gone),
                None => self.process.end(launch, process, gone),
            },
            Order::CloseAll(reply) => {
                let mut receipts = match &mut self.panes {
                    Some(panes) => panes.close_all().await,
                    None => Vec::new(),
                };
                receipts.extend(self.process.gone().await);
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
            Order::Start(_) | Order::Label(..) | Order::Waiting(_) => {}
        }
    }
}

fn started(order: LaunchOrder, outcome: Result<Running, String>) -> Started {
    Started {
        member: order.member,
        launch: order.launch,
        outcome,
    }
}

/// Nothing to attach to.
pub(crate) fn no_pane(member: Option<&MemberName>) -> Refusal {
    let code = ErrorCode::NoPane;
    match member {
        Some(member) => Refusal::new(code, format!("{member} has no pane: it runs headless"))
            .hint(format!("agent-team logs -f {member} shows what it prints")),
        None => Refusal::new(code, "the team has no panes: its members run headless")
            .hint("agent-team attach MEMBER shows one of them here; agent-team up --panes tmux after a down gives panes"),
    }
}

/// Nothing to attach to in a team that has panes.
fn not_shown(member: Option<&MemberName>) -> Refusal {
    let refusal = |what: String| Refusal::new(ErrorCode::NoPane, what);
    match member {
        Some(member) => refusal(format!(
            "{member} has no pane: it was closed, or {member} has not been started"
        ))
        .hint(format!(
            "agent-team panes reopen {member} opens a new one for who is running"
        )),
        None => refusal("the team has no window: nobody in it has been started in one".to_owned())
            .hint("agent-team ps shows what the members do"),
    }
}

fn pane_receipt(what: String, fate: Fate) -> Receipt {
    Receipt {
        kind: ReceiptKind::Pane,
        what,
        fate,
    }
}

/// Marks a worker as the launch's, in its environment. Who only holds a pane for it is no part of its tree, which ends
/// with each task.
fn marker(order: &LaunchOrder) -> Option<String> {
    match order.task {
        ProgramTask::Launch { .. } => Some(format!("{LAUNCH_MARKER}={}", order.launch)),
        ProgramTask::Hold { .. } => None,
    }
}

/// The arguments of an order's program.
fn arguments(order: &LaunchOrder) -> Vec<OsString> {
    match &order.task {
        ProgramTask::Launch { file } => vec!["--launch".into(), file.into()],
        ProgramTask::Hold { arguments, .. } => arguments.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_labels_that_wait_the_newest_is_shown_and_a_start_brings_its_own() {
        let label = |text: &str| Label {
            colour: Colour::Grey,
            text: text.to_owned(),
        };
        let [ada, bob]: [MemberName; 2] = ["ada", "bob"].map(|name| name.parse().unwrap());
        let mut labels = Labels::default();
        labels.put(ada.clone(), label("idle"));
        labels.put(bob.clone(), label("draining"));
        let due = labels.due;
        labels.put(ada.clone(), label("working"));
        assert_eq!(labels.due, due, "they wait no longer for a newer one");
        labels.forget(&bob);
        assert_eq!(labels.waiting, [(ada, label("working"))]);
        labels.put_summary("ada asks".into());
        labels.put_summary(String::new());
        assert_eq!(labels.summary.as_deref(), Some(""));
        assert_eq!(labels.due, due);
    }
}
