//! State of launches that the core does not keep: connections, processes, panes, and the messages offered to each
//! member. After a restart of the supervisor, this state is derived again. Called by the driver. Starts and ends no
//! process.

use std::collections::BTreeMap;

use agent_team_core::mail::InboxCursor;
use agent_team_core::member::Member;
use agent_team_core::{Team, Tick, Timer};
use agent_team_protocol::notification::{
    Deliver, DeliveredMessage, MemberModel, MemberScreen, Notification, Ping, PromptView,
};
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::Waiting;
use agent_team_protocol::{LaunchId, MemberName, MessageId, rpc};
use agent_team_system::process::ProcessId;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::liveness::{Liveness, Overdue};
use crate::launch::{FoundPane, StartedWorker};
use crate::outbox::{Outbox, Reply};

/// Bytes of text after which a delivery ends: its last message may exceed the limit.
const DELIVERY_MAX: usize = 256 << 10;

/// The launches of one team.
#[derive(Debug)]
pub(super) struct Launches {
    /// Ordered, so that effects over all launches run in a deterministic order (the simulation relies on it).
    runtimes: BTreeMap<LaunchId, LaunchRuntime>,
    /// The newest message that each member was offered, over any connection.
    newest_offered: BTreeMap<MemberName, MessageId>,
}

/// Runtime state of one launch outside the core.
#[derive(Debug)]
pub(super) struct LaunchRuntime {
    member: MemberName,
    connection: Option<Connection>,
    start_state: StartState,
    /// The process that the launcher started, known before the worker's hello.
    started_process: Option<ProcessId>,
    /// Leaders of the sessions in which the commands of the worker's current task run.
    sessions: Vec<ProcessId>,
    placement: Option<Placement>,
    pane: Option<String>,
    /// The attach helper that lends its terminal to this worker.
    attach_helper: Option<ProcessId>,
    /// The reason why the worker waits now. Never stored: the worker repeats it after each connect.
    waiting: Option<Waiting>,
    waiting_since: Option<Tick>,
    /// The model that answers for the agent. Never stored: the worker repeats it after each connect.
    model: Option<MemberModel>,
    /// The newest screen of a terminal program. Never stored: the worker repeats it after each connect.
    screen: Option<MemberScreen>,
    /// The prompts of the agent's MCP servers. Never stored: the worker repeats them after each connect.
    prompts: Vec<PromptView>,
    watch: Watch,
    liveness: Liveness,
}

/// Whether the launcher has reported the result of the start order. A worker can connect before the tmux call that
/// started it returns. Its hello is kept until the launcher has answered, so that the pane and the process of a ready
/// member are known.
#[derive(Debug)]
enum StartState {
    /// The result is known, or an earlier supervisor gave the order.
    Reported,
    /// No result yet.
    Pending { hello: Option<Hello> },
}

/// The mechanism that reports the end of the launch's process. The exit of a connected worker closes its connection, so
/// a pidfd is held only for workers without a connection.
#[derive(Debug)]
pub(super) enum Watch {
    Unwatched,
    /// The host of a hosted worker reports the worker's end.
    Host,
    /// A tokio task of this driver waits for the exit of the process.
    Process(AbortHandle),
}

impl Watch {
    fn end(&mut self) {
        if let Self::Process(task) = std::mem::replace(self, Self::Unwatched) {
            task.abort();
        }
    }
}

#[derive(Debug)]
struct Connection {
    id: u64,
    outbox: Outbox,
    cursor: InboxCursor,
    process: ProcessId,
    /// Messages up to this message may have been offered before: they are marked as redelivered.
    offered_before: Option<MessageId>,
}

/// A worker's handshake.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) launch: LaunchId,
    pub(crate) token: String,
    /// The peer's process, from the socket's peer credentials.
    pub(crate) process: ProcessId,
    /// The negotiated protocol version.
    pub(crate) protocol: u32,
    pub(crate) connection: u64,
    /// Receives the member's name once the worker is admitted.
    pub(crate) admission_tx: oneshot::Sender<MemberName>,
    pub(crate) reply: Reply,
}

impl Launches {
    /// Counts all unread messages as offered, because an earlier supervisor may have sent them.
    pub(super) fn new(team: &Team) -> Self {
        let last = |member: &Member| member.inbox.iter().last().map(|(id, _)| id);
        let offered = team
            .members()
            .filter_map(|member| Some((member.spec.name.clone(), last(member)?)));
        Self {
            runtimes: BTreeMap::new(),
            newest_offered: offered.collect(),
        }
    }

    pub(super) fn get(&self, launch: &LaunchId) -> Option<&LaunchRuntime> {
        self.runtimes.get(launch)
    }

    /// The member's current launch.
    pub(super) fn of(
        &self,
        team: &Team,
        member: &MemberName,
    ) -> Option<(&LaunchId, &LaunchRuntime)> {
        let launch = &team.member(member)?.life.launch()?.id;
        self.runtimes.get_key_value(launch)
    }

    /// Adds a launch if it is unknown.
    pub(super) fn add(&mut self, member: &MemberName, launch: &LaunchId) -> &mut LaunchRuntime {
        self.runtimes
            .entry(launch.clone())
            .or_insert_with(|| LaunchRuntime {
                member: member.clone(),
                connection: None,
                start_state: StartState::Reported,
                started_process: None,
                sessions: Vec::new(),
                placement: None,
                pane: None,
                attach_helper: None,
                waiting: None,
                waiting_since: None,
                model: None,
                screen: None,
                prompts: Vec::new(),
                watch: Watch::Unwatched,
                liveness: Liveness::Quiet,
            })
    }

    /// Drops all runtime state of a launch that has ended.
    pub(super) fn remove(&mut self, launch: &LaunchId) {
        if let Some(runtime) = self.runtimes.remove(launch)
            && let Some(connection) = runtime.connection
        {
            connection.outbox.close();
        }
    }

    /// Records that the launcher was ordered to start this launch.
    pub(super) fn ordered(&mut self, member: &MemberName, launch: &LaunchId) {
        self.add(member, launch).start_state = StartState::Pending { hello: None };
    }

    /// Keeps a hello that arrives before the launcher's report. Returns any other hello.
    pub(super) fn keep_early(&mut self, hello: Hello) -> Option<Hello> {
        if let Some(runtime) = self.runtimes.get_mut(&hello.launch)
            && let StartState::Pending { hello: early } = &mut runtime.start_state
        {
            // A worker that reconnects has given up its earlier connection, so only the latest hello counts.
            *early = Some(hello);
            return None;
        }
        Some(hello)
    }

    /// Records that the launcher has reported the result of the start order. Returns the hello that was kept.
    pub(super) fn start_reported(&mut self, launch: &LaunchId) -> Option<Hello> {
        let runtime = self.runtimes.get_mut(launch)?;
        match std::mem::replace(&mut runtime.start_state, StartState::Reported) {
            StartState::Pending { hello } => hello,
            StartState::Reported => None,
        }
    }

    pub(super) fn started(
        &mut self,
        member: &MemberName,
        launch: &LaunchId,
        worker: StartedWorker,
    ) {
        let runtime = self.add(member, launch);
        runtime.started_process = Some(worker.process);
        runtime.placement = Some(worker.placement);
        runtime.pane = worker.pane;
    }

    /// Attaches a worker's connection in place of an earlier connection.
    pub(super) fn attach(
        &mut self,
        member: &MemberName,
        launch: &LaunchId,
        id: u64,
        process: ProcessId,
        outbox: Outbox,
    ) {
        let connection = Connection {
            id,
            outbox,
            cursor: InboxCursor::default(),
            process,
            offered_before: self.newest_offered.get(member).copied(),
        };
        let runtime = self.add(member, launch);
        runtime.liveness = Liveness::Quiet;
        if let Some(old) = runtime.connection.replace(connection) {
            old.outbox.close();
        }
    }

    /// Detaches a connection that has ended. Returns false if a newer connection has replaced it.
    pub(super) fn detach(&mut self, launch: &LaunchId, connection: u64) -> bool {
        // Compare the ids: when a worker reconnects, the end of its old connection can arrive after the new connection
        // was attached, and must not detach the new connection.
        let is_current = |current: &Connection| current.id == connection;
        match self.runtimes.get_mut(launch) {
            Some(runtime) if runtime.connection.as_ref().is_some_and(is_current) => {
                runtime.connection = None;
                runtime.waiting = None;
                runtime.waiting_since = None;
                runtime.liveness = Liveness::Quiet;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The launches with a connection, and their workers' processes.
    pub(super) fn connected(&self) -> impl Iterator<Item = (&LaunchId, ProcessId)> {
        let runtimes = self.runtimes.iter();
        runtimes.filter_map(|(launch, runtime)| Some((launch, runtime.process()?)))
    }

    pub(super) fn outboxes(&self) -> impl Iterator<Item = &Outbox> {
        let runtimes = self.runtimes.values();
        runtimes.filter_map(|runtime| Some(&runtime.connection.as_ref()?.outbox))
    }

    pub(super) fn set_watch(&mut self, launch: &LaunchId, watch: Watch) {
        if let Some(runtime) = self.runtimes.get_mut(launch) {
            runtime.watch = watch;
        }
    }

    /// Stops the process watch of a connected worker: the end of its connection replaces it.
    pub(super) fn unwatch(&mut self, launch: &LaunchId) {
        if let Some(runtime) = self.runtimes.get_mut(launch)
            && matches!(runtime.watch, Watch::Process(_))
        {
            runtime.watch.end();
        }
    }

    pub(super) fn end_watches(&mut self) {
        self.runtimes
            .values_mut()
            .for_each(|runtime| runtime.watch.end());
    }

    /// Records the session of the worker's current task. The worker runs one task at a time, and has ended the sessions
    /// of earlier tasks.
    pub(super) fn set_session(&mut self, launch: &LaunchId, leader: ProcessId) {
        if let Some(runtime) = self.runtimes.get_mut(launch) {
            runtime.sessions = vec![leader];
        }
    }

    /// Records the wait that the worker reports. Returns the worker's member.
    pub(super) fn set_waiting(
        &mut self,
        launch: &LaunchId,
        waiting: Option<Waiting>,
        now: Tick,
    ) -> Option<MemberName> {
        let runtime = self.runtimes.get_mut(launch)?;
        let since = runtime.waiting_since.unwrap_or(now);
        runtime.waiting_since = waiting.is_some().then_some(since);
        runtime.waiting = waiting;
        Some(runtime.member.clone())
    }

    /// Records the model that the worker reports. Returns the worker's member.
    pub(super) fn set_model(
        &mut self,
        launch: &LaunchId,
        model: MemberModel,
    ) -> Option<MemberName> {
        let runtime = self.runtimes.get_mut(launch)?;
        runtime.model = Some(model);
        Some(runtime.member.clone())
    }

    /// Keeps the newest screen of the worker's program.
    pub(super) fn set_screen(&mut self, launch: &LaunchId, screen: MemberScreen) {
        if let Some(runtime) = self.runtimes.get_mut(launch) {
            runtime.screen = Some(screen);
        }
    }

    /// Keeps the prompts that the worker reports. Returns the worker's member.
    pub(super) fn set_prompts(
        &mut self,
        launch: &LaunchId,
        prompts: Vec<PromptView>,
    ) -> Option<MemberName> {
        let runtime = self.runtimes.get_mut(launch)?;
        runtime.prompts = prompts;
        Some(runtime.member.clone())
    }

    /// Records that the worker lost its pane. Returns the worker's member.
    pub(super) fn lose_pane(&mut self, launch: &LaunchId) -> Option<MemberName> {
        let runtime = self.runtimes.get_mut(launch)?;
        runtime.placement = Some(Placement::Headless);
        runtime.pane = None;
        runtime.attach_helper = None;
        Some(runtime.member.clone())
    }

    /// Records the attach helper that lends its terminal to the worker. Returns false for an unknown launch.
    pub(super) fn set_attach_helper(
        &mut self,
        launch: &LaunchId,
        attach_helper: ProcessId,
    ) -> bool {
        let Some(runtime) = self.runtimes.get_mut(launch) else {
            return false;
        };
        runtime.placement = Some(Placement::Headless);
        runtime.pane = None;
        runtime.attach_helper = Some(attach_helper);
        true
    }

    /// Assigns a found pane to its member if the member's worker or attach helper runs in it.
    pub(super) fn assign_pane(&mut self, team: &Team, found: FoundPane) -> Option<MemberName> {
        let life = &team.member(&found.member)?.life;
        let worker = life.process().map(|process| process.pid);
        let runtime = self.add(&found.member, &life.launch()?.id);
        let attach_helper = runtime.attach_helper.map(|attach_helper| attach_helper.pid);
        if ![worker, attach_helper].contains(&Some(found.pid)) {
            return None;
        }
        runtime.placement = Some(found.placement);
        runtime.pane = Some(found.id);
        Some(found.member)
    }

    /// Sends a frame to the member's worker. If the worker is not connected, the frame is dropped. A dropped report of
    /// state is repeated when the worker connects; a dropped notification to the user is lost.
    pub(super) fn notify<N: Notification>(
        &mut self,
        team: &Team,
        member: &MemberName,
        notification: &N,
        now: Tick,
    ) {
        let launch = team.member(member).and_then(|member| member.life.launch());
        let runtime = launch.and_then(|launch| self.runtimes.get_mut(&launch.id));
        let Some(runtime) = runtime else { return };
        let Some(connection) = &runtime.connection else {
            return;
        };
        if connection.outbox.notify(notification).is_err() {
            tracing::warn!(%member, "the member does not read its connection: closing it");
            connection.outbox.close();
        }
        runtime.liveness.expect_answer(now);
    }

    /// Offers the member the messages that were not yet offered over its connection, until the connection's queue is
    /// full.
    pub(super) fn deliver(&mut self, member: &Member, now: Tick) {
        if member.inbox.is_empty() {
            return;
        }
        let launch = member.life.launch();
        let runtime = launch.and_then(|launch| self.runtimes.get_mut(&launch.id));
        let Some(runtime) = runtime else { return };
        let Some(connection) = &mut runtime.connection else {
            return;
        };
        let mut newest = None;
        loop {
            let (mut messages, mut bytes) = (Vec::new(), 0);
            while bytes < DELIVERY_MAX
                && connection.outbox.has_room()
                && let Some((id, unread)) = connection.cursor.next(&member.inbox)
            {
                bytes += unread.text.len();
                newest = newest.max(Some(id));
                messages.push(DeliveredMessage {
                    id,
                    from: unread.from.clone(),
                    text: unread.text.to_string(),
                    urgent: unread.urgent,
                    reply_to: unread.reply_to,
                    summary: unread.note.summary.as_deref().map(str::to_owned),
                    wants_reply: unread.note.wants_reply,
                    can_wait: unread.note.can_wait && member.spec.lead,
                    redelivered: connection.offered_before.is_some_and(|last| id <= last),
                    attach_outside: unread.note.attach_outside,
                });
            }
            if messages.is_empty() {
                break;
            }
            // The queue cannot be full: its room was checked above, and there is no await in between.
            let _sent = connection.outbox.notify(&Deliver { messages });
        }
        if let Some(newest) = newest {
            runtime.liveness.expect_answer(now);
            let offered = self.newest_offered.entry(member.spec.name.clone());
            let offered = offered.or_insert(newest);
            *offered = newest.max(*offered);
        }
    }

    /// Whether the message was sent over the member's current connection.
    pub(super) fn was_sent(&self, member: &Member, message: MessageId) -> bool {
        let launch = member.life.launch();
        let runtime = launch.and_then(|launch| self.runtimes.get(&launch.id));
        let connection = runtime.and_then(|runtime| runtime.connection.as_ref());
        connection.is_some_and(|connection| connection.cursor.has_offered(message, &member.inbox))
    }

    /// Records that the worker sent a frame, which proves that it is alive.
    pub(super) fn note_activity(&mut self, launch: &LaunchId) {
        if let Some(runtime) = self.runtimes.get_mut(launch) {
            runtime.liveness = Liveness::Quiet;
        }
    }

    pub(super) fn timers(&self) -> impl Iterator<Item = (Tick, Timer<'_>)> {
        let runtimes = self.runtimes.iter();
        runtimes.filter_map(|(launch, runtime)| runtime.liveness.timer(launch))
    }

    /// Checks each worker with an expired timer: pings the worker, or returns its launch if the worker has become
    /// unresponsive.
    pub(super) fn check_liveness(&mut self, now: Tick) -> Vec<LaunchId> {
        let mut unresponsive = Vec::new();
        for (launch, runtime) in &mut self.runtimes {
            match runtime.liveness.check(now) {
                Some(Overdue::Ping) => runtime.ping(launch),
                Some(Overdue::Unresponsive) => unresponsive.push(launch.clone()),
                None => {}
            }
        }
        unresponsive
    }
}

impl LaunchRuntime {
    pub(super) fn member(&self) -> &MemberName {
        &self.member
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The process of the connected worker.
    pub(super) fn process(&self) -> Option<ProcessId> {
        Some(self.connection.as_ref()?.process)
    }

    pub(super) fn started_process(&self) -> Option<ProcessId> {
        self.started_process
    }

    pub(super) fn sessions(&self) -> &[ProcessId] {
        &self.sessions
    }

    pub(super) fn placement(&self) -> Option<Placement> {
        self.placement
    }

    pub(super) fn pane(&self) -> Option<&String> {
        self.pane.as_ref()
    }

    pub(super) fn attach_helper(&self) -> Option<ProcessId> {
        self.attach_helper
    }

    pub(super) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    pub(super) fn waiting_since(&self) -> Option<Tick> {
        self.waiting_since
    }

    pub(super) fn model(&self) -> Option<&MemberModel> {
        self.model.as_ref()
    }

    pub(super) fn screen(&self) -> Option<&MemberScreen> {
        self.screen.as_ref()
    }

    pub(super) fn prompts(&self) -> &[PromptView] {
        &self.prompts
    }

    pub(super) fn is_watched(&self) -> bool {
        !matches!(self.watch, Watch::Unwatched)
    }

    pub(super) fn is_unresponsive(&self) -> bool {
        self.liveness == Liveness::Unresponsive
    }

    fn ping(&self, launch: &LaunchId) {
        if let Some(connection) = &self.connection {
            let call = rpc::Call {
                team: None,
                key: None,
                args: Ping {
                    launch: launch.clone(),
                },
            };
            let ping = rpc::request::<agent_team_protocol::method::MemberPing>(0, &call);
            // A full queue means that the worker does not read: the ping counts as missed.
            let _full = connection.outbox.send(ping);
        }
    }
}

#[cfg(test)]
mod tests;
