//! State of launches that the core does not keep: processes, connections, panes, and the messages offered to each
//! member. All of it is derived again after a restart.

use agent_team_core::Input;
use agent_team_core::mail::InboxCursor;
use agent_team_core::member::ProcessStamp;
use agent_team_protocol::notification::{
    Deliver, DeliveredMessage, Goodbye, GoodbyeReason, MemberWaits, Notification, TaskOutput,
    TaskSession,
};
use agent_team_protocol::view::{MessageState, Placement, Waiting};
use agent_team_protocol::{LaunchId, MemberName, MessageId};
use agent_team_system::process::ProcessId;
use tokio::task::AbortHandle;

use super::Driver;
use super::liveness::Liveness;
use super::message::{Hello, Message};
use crate::launch::{Order, Started};
use crate::machine::Machine;
use crate::outbox::Outbox;

/// Maximum bytes of text in one delivery. A single larger message is delivered alone.
const DELIVERY_MAX: usize = 256 << 10;

/// Runtime state of one launch outside the core.
#[derive(Debug)]
pub(super) struct LaunchRuntime {
    pub(super) member: MemberName,
    pub(super) connection: Option<Connection>,
    pub(super) start_state: StartState,
    /// The process that the launcher started, known before the worker's hello.
    pub(super) started: Option<ProcessId>,
    /// Session leaders of its current task's commands.
    pub(super) sessions: Vec<ProcessId>,
    pub(super) placement: Option<Placement>,
    pub(super) pane: Option<String>,
    /// The attach helper that lends its terminal to this worker.
    pub(super) attach_helper: Option<ProcessId>,
    /// What the worker currently waits for. Never stored: the worker repeats it after each connect.
    pub(super) waiting: Option<Waiting>,
    pub(super) watch: Watch,
    pub(super) liveness: Liveness,
}

/// Whether the launcher has reported the result of the start order. A worker can connect before the tmux call that
/// started it returns. Its hello is kept until the launcher has answered, so that the pane and the process of a ready
/// member are known.
#[derive(Debug)]
pub(super) enum StartState {
    /// The result is known, or the order was an earlier supervisor's.
    Reported,
    /// No result yet.
    Pending { hello: Option<Hello> },
}

/// Which mechanism reports the end of the launch's process. A connected worker's death closes its connection, so a
/// pidfd is held only for workers without a connection.
#[derive(Debug)]
pub(super) enum Watch {
    Unwatched,
    /// The process that hosts the worker.
    Host,
    /// A task of this driver.
    Process(AbortHandle),
}

impl Watch {
    pub(super) fn end(&mut self) {
        if let Self::Process(task) = std::mem::replace(self, Self::Unwatched) {
            task.abort();
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) outbox: Outbox,
    pub(super) cursor: InboxCursor,
    pub(super) process: ProcessId,
    /// Messages up to this one may have been offered before: they are marked as redelivered.
    pub(super) offered_before: Option<MessageId>,
}

impl Driver {
    pub(super) fn runtime_of(
        &mut self,
        member: &MemberName,
        launch: &LaunchId,
    ) -> &mut LaunchRuntime {
        self.launches
            .entry(launch.clone())
            .or_insert_with(|| LaunchRuntime {
                member: member.clone(),
                connection: None,
                start_state: StartState::Reported,
                started: None,
                sessions: Vec::new(),
                placement: None,
                pane: None,
                attach_helper: None,
                waiting: None,
                watch: Watch::Unwatched,
                liveness: Liveness::Quiet,
            })
    }

    pub(super) fn current_launch(
        &self,
        member: &MemberName,
    ) -> Option<(&LaunchId, &LaunchRuntime)> {
        let launch = &self.team.member(member)?.life.launch()?.id;
        self.launches.get_key_value(launch)
    }

    /// Whether the worker shares its process with the supervisor or with other members, so that the pid says nothing
    /// about this one worker. For launches of an earlier supervisor the placement that the team wants is assumed.
    pub(super) fn is_hosted(&self, launch: &LaunchId, process: Option<ProcessId>) -> bool {
        let runtime = self.launches.get(launch);
        let placement = runtime.and_then(|runtime| runtime.placement).or_else(|| {
            let member = self.team.member_of(launch)?;
            Some(self.wanted_placement(member))
        });
        placement == Some(Placement::Hosted)
            || process.is_some_and(|process| self.is_this_process(process))
    }

    /// Whether the worker runs inside this process.
    fn is_this_process(&self, process: ProcessId) -> bool {
        let is_own = |now: Option<ProcessId>| now == Some(process);
        process.pid == self.machine.own_pid() && self.machine.process(process.pid).is_ok_and(is_own)
    }

    /// Records that the launcher was ordered to start this launch.
    pub(super) fn ordered(&mut self, member: &MemberName, launch: &LaunchId) {
        self.runtime_of(member, launch).start_state = StartState::Pending { hello: None };
    }

    pub(super) fn disconnected(&mut self, launch: &LaunchId, connection: u64) {
        if let Some(runtime) = self.launches.get_mut(launch)
            && runtime
                .connection
                .as_ref()
                // Compare the ids: when a worker reconnects, the end of its old connection arrives after the new one
                // was attached, and must not detach it.
                .is_some_and(|current| current.id == connection)
        {
            runtime.connection = None;
            runtime.waiting = None;
            runtime.liveness = Liveness::Quiet;
            let process = self.team.member_of(launch);
            if let Some(process) = process.and_then(|member| member.life.process()) {
                self.watch(launch.clone(), process);
            }
        }
    }

    /// Starts watching the process of a launch without a connection. Idempotent.
    pub(super) fn watch(&mut self, launch: LaunchId, process: ProcessStamp) {
        let Some(runtime) = self.launches.get(&launch) else {
            return;
        };
        if !matches!(runtime.watch, Watch::Unwatched) {
            return;
        }
        let is_connected = runtime.connection.is_some();
        let member = runtime.member.clone();
        let process = ProcessId {
            pid: process.pid,
            start_time: process.start_time,
        };
        let watch = if self.is_hosted(&launch, Some(process)) {
            self.launcher.order(Order::Watch(launch.clone(), process));
            Watch::Host
        } else if is_connected {
            return;
        } else {
            Watch::Process(self.report_end(&member, &launch, process))
        };
        if let Some(runtime) = self.launches.get_mut(&launch) {
            runtime.watch = watch;
        }
    }

    fn report_end(
        &self,
        member: &MemberName,
        launch: &LaunchId,
        process: ProcessId,
    ) -> AbortHandle {
        let (driver, machine) = (self.to_self.clone(), self.machine.clone());
        let span = tracing::info_span!("launch", %member, %launch, pid = process.pid);
        let launch = launch.clone();
        let watch = async move {
            wait_for_end(&*machine, process).await;
            tracing::info!("the worker's process ended");
            let _driver_gone = driver.send(Message::Exited(launch));
        };
        tokio::task::spawn_local(tracing::Instrument::instrument(watch, span)).abort_handle()
    }

    /// Stops the process watch of a connected worker: the end of its connection replaces it.
    pub(super) fn unwatch(&mut self, launch: &LaunchId) {
        if let Some(runtime) = self.launches.get_mut(launch)
            && matches!(runtime.watch, Watch::Process(_))
        {
            runtime.watch.end();
        }
    }

    pub(super) fn started(&mut self, started: Started) {
        let Started {
            member,
            launch,
            outcome,
        } = started;
        let start_state = self
            .launches
            .get_mut(&launch)
            .map(|runtime| std::mem::replace(&mut runtime.start_state, StartState::Reported));
        let early = match start_state {
            Some(StartState::Pending { hello }) => hello,
            Some(StartState::Reported) | None => None,
        };
        match outcome {
            Ok(running) => {
                let process = running.process;
                let runtime = self.runtime_of(&member, &launch);
                runtime.started = Some(ProcessId {
                    pid: process.pid,
                    start_time: process.start_time,
                });
                runtime.placement = Some(running.placement);
                runtime.pane = running.pane;
                self.watch(launch, process);
            }
            Err(why) if early.is_some() => {
                tracing::warn!(%member, %launch, why, "the launcher reported a failure, but the worker is running");
            }
            Err(why) => {
                tracing::warn!(%member, %launch, why, "cannot start");
                let fault = agent_team_core::input::StartFault::Failed(why);
                self.urgent(Input::NotStarted { launch, fault });
            }
        }
        if let Some(hello) = early {
            self.hello(hello);
        }
    }

    pub(super) fn session(&mut self, launch: &LaunchId, session: TaskSession) {
        self.note_activity(launch);
        if let Some(runtime) = self.launches.get_mut(launch) {
            // A worker runs one task at a time, and has ended the sessions of the tasks before.
            runtime.sessions = vec![ProcessId {
                pid: session.pid,
                start_time: session.start_time,
            }];
        }
    }

    pub(super) fn set_waiting(&mut self, launch: &LaunchId, waits: MemberWaits) {
        self.note_activity(launch);
        if let Some(runtime) = self.launches.get_mut(launch) {
            runtime.waiting = waits.on;
            let member = runtime.member.clone();
            self.refresh_labels();
            self.publish_change(&member);
        }
    }

    pub(super) fn output(&mut self, launch: &LaunchId, output: TaskOutput) {
        self.note_activity(launch);
        if let Some(runtime) = self.launches.get(launch) {
            let member = runtime.member.clone();
            self.publish_output(&member, output);
        }
    }

    /// Sends a frame to the member's worker if it is connected. Nothing is lost otherwise: the state that the frame
    /// reports is sent again when the worker connects.
    pub(super) fn notify<N: Notification>(&mut self, member: &MemberName, notification: &N) {
        let now = self.now();
        let Some(runtime) = self.connected(member) else {
            return;
        };
        if let Some(connection) = &runtime.connection
            && connection.outbox.notify(notification).is_err()
        {
            tracing::warn!(%member, "the member does not read its connection: closing it");
            connection.outbox.close();
        }
        runtime.expect_answer(now);
    }

    /// The runtime state of the member's current launch, if it is connected.
    fn connected(&mut self, member: &MemberName) -> Option<&mut LaunchRuntime> {
        let launch = self.team.member(member)?.life.launch()?.id.clone();
        self.launches
            .get_mut(&launch)
            .filter(|runtime| runtime.connection.is_some())
    }

    /// Offers the member all messages that were not yet offered over this connection, as long as its queue has room.
    pub(super) fn deliver_messages(&mut self, name: &MemberName) {
        let now = self.now();
        let Some(member) = self.team.member(name) else {
            return;
        };
        if member.inbox.is_empty() {
            return;
        }
        let Some(runtime) = member
            .life
            .launch()
            .and_then(|launch| self.launches.get_mut(&launch.id))
        else {
            return;
        };
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
                    redelivered: connection.offered_before.is_some_and(|last| id <= last),
                });
            }
            if messages.is_empty() {
                break;
            }
            // Cannot be full: room was checked above, and there is no await in between.
            let _sent = connection.outbox.notify(&Deliver { messages });
        }
        if let Some(newest) = newest {
            runtime.expect_answer(now);
            let offered = self.offered.entry(name.clone()).or_insert(newest);
            *offered = newest.max(*offered);
        }
    }

    pub(super) fn message_state(&self, member: &MemberName, message: MessageId) -> MessageState {
        let Some(there) = self.team.member(member) else {
            return MessageState::Accepted;
        };
        let offered = self
            .current_launch(member)
            .and_then(|(_, runtime)| runtime.connection.as_ref())
            .is_some_and(|connection| connection.cursor.has_offered(message, &there.inbox));
        if offered {
            MessageState::Delivered
        } else {
            MessageState::Accepted
        }
    }

    /// Sends a goodbye to the members and subscribers of a deleted team, and waits until it is written.
    pub(super) async fn disconnect_all(&self) {
        let members = self
            .launches
            .values()
            .filter_map(|runtime| Some(&runtime.connection.as_ref()?.outbox));
        let outboxes: Vec<Outbox> = members
            .chain(self.subscribers.iter().map(|one| &one.outbox))
            .cloned()
            .collect();
        for outbox in &outboxes {
            outbox.send_goodbye(&Goodbye {
                reason: GoodbyeReason::Closed,
                error: None,
            });
        }
        for outbox in &outboxes {
            outbox.flushed().await;
        }
    }

    /// Drops all runtime state of a launch that has ended.
    pub(super) fn forget(&mut self, launch: &LaunchId) {
        if let Some(runtime) = self.launches.remove(launch)
            && let Some(connection) = runtime.connection
        {
            connection.outbox.close();
        }
    }
}

/// Waits until a process has ended. An error means unknown, not dead (for example no free file descriptor for a
/// pidfd); it is retried every second.
async fn wait_for_end(machine: &dyn Machine, process: ProcessId) {
    const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
    loop {
        match machine.ended(process).await {
            Ok(()) => return machine.reap(),
            Err(error) => tracing::error!(%error, "cannot watch the worker's process"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
