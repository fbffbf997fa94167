//! Members from outside the core: their connections, what they are offered, and whether they answer.

use agent_team_core::Input;
use agent_team_core::mail::Courier;
use agent_team_core::member::{Life, ProcessStamp};
use agent_team_protocol::initialize::{BUILD, Initialized, Welcome};
use agent_team_protocol::notification::{
    Deliver, DeliveredMessage, Goodbye, GoodbyeReason, Notification, Ping, StopMember, TaskOutput,
    TaskSession,
};
use agent_team_protocol::view::{MemberView, MessageState, Placement};
use agent_team_protocol::{ErrorCode, LaunchId, MemberName, MessageId, Refusal, rpc};
use agent_team_system::process::{ExitWatch, ProcessId};
use subtle::ConstantTimeEq;

use super::{After, Driver, Message, now};
use crate::launch::{FoundPane, Label, Order, Started};
use crate::outbox::{Outbox, Reply};
use crate::settings::{self, MemberSettings, TeamSettings, Terminal};
use crate::view::{self, Outside};

/// How long a frame may go unanswered before the worker is pinged, and how long a ping may, in milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// Unanswered pings that make a member unresponsive.
const MISSES_MAX: u32 = 2;

/// Bytes of text in one delivery, at most; one message may exceed it.
const DELIVERY_MAX: usize = 256 << 10;

/// A worker that wants to be let in.
#[derive(Debug)]
pub(crate) struct Hello {
    pub(crate) launch: LaunchId,
    pub(crate) token: String,
    /// The peer's process, as the kernel says.
    pub(crate) process: ProcessId,
    /// The protocol version that was agreed on.
    pub(crate) protocol: u32,
    pub(crate) connection: u64,
    /// Told that it was let in, and as whom.
    pub(crate) admitted: tokio::sync::oneshot::Sender<MemberName>,
    pub(crate) reply: Reply,
}

/// What is known of a launch outside the core.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) member: MemberName,
    connection: Option<Connection>,
    placing: Placing,
    /// What was started, also before it said hello.
    pub(super) started: Option<ProcessId>,
    /// Leaders of the sessions of its tasks.
    pub(super) sessions: Vec<ProcessId>,
    placement: Option<Placement>,
    pane: Option<String>,
    watched: bool,
    attention: Attention,
}

/// What the launcher has said of its order. A worker can be faster than the call of tmux that started it: its hello is
/// taken up after that, so that who is ready is known to be where she is.
#[derive(Debug)]
enum Placing {
    /// What came of it, or the order was an earlier supervisor's.
    Over,
    /// Nothing yet.
    UnderWay { hello: Option<Hello> },
}

#[derive(Debug)]
struct Connection {
    id: u64,
    outbox: Outbox,
    courier: Courier,
    process: ProcessId,
    /// Messages up to here may have been offered before.
    offered_before: Option<MessageId>,
}

/// Whether a worker owes us a sign of life. Nothing wakes while it owes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attention {
    Quiet,
    /// It was sent something; it is pinged then.
    Awaiting {
        ping_at: agent_team_core::Tick,
    },
    Pinged {
        miss_at: agent_team_core::Tick,
        misses: u32,
    },
    Unresponsive,
}

impl Driver {
    pub(super) fn live_of(&mut self, member: &MemberName, launch: &LaunchId) -> &mut Live {
        self.live.entry(launch.clone()).or_insert_with(|| Live {
            member: member.clone(),
            connection: None,
            placing: Placing::Over,
            started: None,
            sessions: Vec::new(),
            placement: None,
            pane: None,
            watched: false,
            attention: Attention::Quiet,
        })
    }

    fn live_launch(&self, member: &MemberName) -> Option<(&LaunchId, &Live)> {
        let launch = &self.team.member(member)?.life.launch()?.id;
        self.live.get_key_value(launch)
    }

    /// The launcher was ordered to start this.
    pub(super) fn ordered(&mut self, member: &MemberName, launch: &LaunchId) {
        self.live_of(member, launch).placing = Placing::UnderWay { hello: None };
    }

    /// A worker shows its token. It is let in once that it said hello is stored.
    pub(super) fn hello(&mut self, hello: Hello) {
        if let Some(live) = self.live.get_mut(&hello.launch)
            && let Placing::UnderWay { hello: early } = &mut live.placing
        {
            // Of two that come early the later one counts: a worker that connects again has given up the other.
            *early = Some(hello);
            return;
        }
        if let Err(refusal) = self.check_hello(&hello) {
            tracing::warn!(launch = %hello.launch, pid = hello.process.pid, %refusal, "a worker was refused");
            return hello.reply.refuse(refusal);
        }
        let process = ProcessStamp {
            pid: hello.process.pid,
            start_time: hello.process.start_time,
        };
        self.urgent(Input::SaidHello {
            launch: hello.launch.clone(),
            process,
        });
        self.turn.after.push(After::Welcome(hello));
    }

    fn check_hello(&self, hello: &Hello) -> Result<(), Refusal> {
        let refused = |why: &str| Refusal::new(ErrorCode::Unauthenticated, why);
        let member = self
            .team
            .member_of(&hello.launch)
            .ok_or_else(|| refused("this launch is over"))?;
        let launch = member
            .life
            .launch()
            .ok_or_else(|| refused("this launch is over"))?;
        let shown = agent_team_core::time::TokenHash::of(&hello.token);
        if !bool::from(shown.as_bytes().ct_eq(launch.token_hash.as_bytes())) {
            return Err(refused("the token is not this launch's"));
        }
        let is_the_one = |process: ProcessStamp| {
            process.pid == hello.process.pid && process.start_time == hello.process.start_time
        };
        match &member.life {
            Life::Launching { .. } => match self.live.get(&hello.launch).and_then(|l| l.started) {
                Some(started) if started != hello.process => {
                    Err(refused("another process was started for this launch"))
                }
                // Of a start that was not seen, the token alone tells.
                Some(_) | None => Ok(()),
            },
            Life::Ready { process, .. } | Life::Draining { process, .. }
                if is_the_one(*process) =>
            {
                Ok(())
            }
            Life::Ready { .. } | Life::Draining { .. } => {
                Err(refused("another process is this launch's worker"))
            }
            Life::Ending { .. }
            | Life::Planned
            | Life::Cooling { .. }
            | Life::Held { .. }
            | Life::Stopped => Err(refused("this launch is over")),
        }
    }

    pub(super) fn welcome(&mut self, hello: Hello) {
        let Some(member) = self.team.member_of(&hello.launch) else {
            return hello.reply.refuse(Refusal::new(
                ErrorCode::Unauthenticated,
                "this launch is over",
            ));
        };
        let name = member.plan.name.clone();
        let welcome = Welcome {
            name: name.clone(),
            team: self.identity.team.clone(),
            role: member.plan.role.clone(),
            colour: member.plan.colour.to_string(),
            assignment: self.team.task_of(&name).map(view::assignment),
        };
        let offered_before = self.offered.get(&name).copied();
        let connection = Connection {
            id: hello.connection,
            outbox: hello.reply.outbox().clone(),
            courier: Courier::default(),
            process: hello.process,
            offered_before,
        };
        let live = self.live_of(&name, &hello.launch);
        live.attention = Attention::Quiet;
        if let Some(old) = live.connection.replace(connection) {
            old.outbox.close();
        }
        tracing::info!(member = %name, launch = %hello.launch, pid = hello.process.pid, "connected");
        let pid = std::process::id();
        let member = Some(welcome);
        hello.reply.ok(&Initialized {
            protocol: hello.protocol,
            build: BUILD.to_owned(),
            pid,
            member,
        });
        // A connection that is gone by now has told us so, or will.
        let _connection_gone = hello.admitted.send(name.clone());
        let process = ProcessStamp {
            pid: hello.process.pid,
            start_time: hello.process.start_time,
        };
        self.watch(hello.launch, process);
        self.tell_to_stop_again(&name);
        self.pump(&name);
    }

    /// What it was told over an earlier connection, or was to be told while it had none, it may not know.
    fn tell_to_stop_again(&mut self, name: &MemberName) {
        let member = self.team.member(name);
        if let Some(Life::Draining { kill_at, .. }) = member.map(|member| &member.life) {
            let stop = StopMember {
                grace_ms: kill_at.since(now()),
                reason: "asked to stop".to_owned(),
            };
            self.notify(name, &stop);
        }
    }

    /// After a failed commit: who said hello in it is still there.
    pub(super) fn resay_hello(&mut self) {
        let connected: Vec<(LaunchId, ProcessStamp)> = self
            .live
            .iter()
            .filter_map(|(launch, live)| {
                let process = live.connection.as_ref()?.process;
                Some((
                    launch.clone(),
                    ProcessStamp {
                        pid: process.pid,
                        start_time: process.start_time,
                    },
                ))
            })
            .collect();
        for (launch, process) in connected {
            self.urgent(Input::SaidHello { launch, process });
        }
        for live in self.live.values_mut() {
            live.watched = false;
        }
    }

    pub(super) fn disconnected(&mut self, launch: &LaunchId, connection: u64) {
        if let Some(live) = self.live.get_mut(launch)
            && live
                .connection
                .as_ref()
                .is_some_and(|current| current.id == connection)
        {
            live.connection = None;
            live.attention = Attention::Quiet;
        }
    }

    /// Tells when the launch's process ends. Safe to repeat.
    pub(super) fn watch(&mut self, launch: LaunchId, process: ProcessStamp) {
        let Some(live) = self.live.get_mut(&launch) else {
            return;
        };
        if std::mem::replace(&mut live.watched, true) {
            return;
        }
        let driver = self.to_self.clone();
        let span = tracing::info_span!("launch", member = %live.member, %launch, pid = process.pid);
        tokio::task::spawn_local(tracing::Instrument::instrument(
            async move {
                let process = ProcessId {
                    pid: process.pid,
                    start_time: process.start_time,
                };
                let ended = match ExitWatch::open(process) {
                    Ok(Some(mut watch)) => watch.exited().await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                };
                match ended {
                    Ok(()) => {
                        tracing::info!("its process ended");
                        let _driver_gone = driver.send(Message::Exited(launch));
                    }
                    // Unknown is not dead: nothing is concluded from it.
                    Err(error) => tracing::error!(%error, "its process cannot be watched"),
                }
            },
            span,
        ));
    }

    pub(super) fn started(&mut self, started: Started) {
        let Started {
            member,
            launch,
            outcome,
        } = started;
        let placing = self
            .live
            .get_mut(&launch)
            .map(|live| std::mem::replace(&mut live.placing, Placing::Over));
        let early = match placing {
            Some(Placing::UnderWay { hello }) => hello,
            Some(Placing::Over) | None => None,
        };
        match outcome {
            Ok(running) => {
                let process = running.process;
                let live = self.live_of(&member, &launch);
                live.started = Some(ProcessId {
                    pid: process.pid,
                    start_time: process.start_time,
                });
                live.placement = Some(running.placement);
                live.pane = running.pane;
                self.watch(launch, process);
            }
            Err(why) if early.is_some() => {
                tracing::warn!(%member, %launch, why, "started all the same");
            }
            Err(why) => {
                tracing::warn!(%member, %launch, why, "not started");
                let fault = agent_team_core::input::StartFault::Failed(why);
                self.urgent(Input::NotStarted { launch, fault });
            }
        }
        if let Some(hello) = early {
            self.hello(hello);
        }
    }

    pub(super) fn session(&mut self, launch: &LaunchId, session: TaskSession) {
        self.heard(launch);
        if let Some(live) = self.live.get_mut(launch) {
            // One task at a time: the sessions of those before have been ended by the worker.
            live.sessions = vec![ProcessId {
                pid: session.pid,
                start_time: session.start_time,
            }];
        }
    }

    /// The panes that an earlier supervisor made, with the workers that still are in them.
    pub(super) fn panes_found(&mut self, panes: Vec<FoundPane>) {
        for FoundPane { member, pid, id } in panes {
            let launch = self.team.member(&member).and_then(|there| {
                let launch = there.life.launch()?;
                (there.life.process()?.pid == pid).then(|| launch.id.clone())
            });
            if let Some(launch) = launch {
                let live = self.live_of(&member, &launch);
                live.placement = Some(Placement::Tmux);
                live.pane = Some(id);
            }
        }
    }

    pub(super) fn pane_lost(&mut self, launch: &LaunchId) {
        self.heard(launch);
        if let Some(live) = self.live.get_mut(launch) {
            tracing::info!(member = %live.member, "lost its pane and goes on headless");
            live.placement = Some(Placement::Headless);
            live.pane = None;
        }
    }

    pub(super) fn output(&mut self, launch: &LaunchId, output: &TaskOutput) {
        self.heard(launch);
        if let Some(live) = self.live.get(launch) {
            let member = live.member.clone();
            self.publish_output(&member, output);
        }
    }

    /// Sends a frame to a member's worker, if it is connected; what it is about is derived again when it connects.
    pub(super) fn notify<N: Notification>(&mut self, member: &MemberName, notification: &N) {
        let Some(live) = self.connected(member) else {
            return;
        };
        if let Some(connection) = &live.connection
            && connection.outbox.notify(notification).is_err()
        {
            tracing::warn!(%member, "does not read: its connection is closed");
            connection.outbox.close();
        }
        live.expect_answer();
    }

    /// The member's current launch, if it is connected.
    fn connected(&mut self, member: &MemberName) -> Option<&mut Live> {
        let launch = self.team.member(member)?.life.launch()?.id.clone();
        self.live
            .get_mut(&launch)
            .filter(|live| live.connection.is_some())
    }

    /// Offers a member what she has not been offered over this connection, as long as it takes more.
    pub(super) fn pump(&mut self, name: &MemberName) {
        let Some(member) = self.team.member(name) else {
            return;
        };
        if member.inbox.is_empty() {
            return;
        }
        let Some(live) = member
            .life
            .launch()
            .and_then(|launch| self.live.get_mut(&launch.id))
        else {
            return;
        };
        let Some(connection) = &mut live.connection else {
            return;
        };
        let mut newest = None;
        loop {
            let (mut messages, mut bytes) = (Vec::new(), 0);
            while bytes < DELIVERY_MAX
                && connection.outbox.has_room()
                && let Some((id, unread)) = connection.courier.next(&member.inbox)
            {
                bytes += unread.text.len();
                newest = newest.max(Some(id));
                messages.push(DeliveredMessage {
                    id,
                    from: unread.from.clone(),
                    text: unread.text.to_string(),
                    urgent: unread.urgent,
                    redelivered: connection.offered_before.is_some_and(|last| id <= last),
                });
            }
            if messages.is_empty() {
                break;
            }
            // There was room for it a moment ago, and nobody else runs in between.
            let _sent = connection.outbox.notify(&Deliver { messages });
        }
        if let Some(newest) = newest {
            live.expect_answer();
            let offered = self.offered.entry(name.clone()).or_insert(newest);
            *offered = newest.max(*offered);
        }
    }

    pub(super) fn message_state(&self, member: &MemberName, message: MessageId) -> MessageState {
        let Some(there) = self.team.member(member) else {
            return MessageState::Accepted;
        };
        let offered = self
            .live_launch(member)
            .and_then(|(_, live)| live.connection.as_ref())
            .is_some_and(|connection| connection.courier.has_offered(message, &there.inbox));
        if offered {
            MessageState::Delivered
        } else {
            MessageState::Accepted
        }
    }

    pub(super) fn heard(&mut self, launch: &LaunchId) {
        if let Some(live) = self.live.get_mut(launch) {
            live.attention = Attention::Quiet;
        }
    }

    pub(super) fn attention_deadline(&self) -> Option<agent_team_core::Tick> {
        self.live
            .values()
            .filter_map(|live| match live.attention {
                Attention::Awaiting { ping_at: at } | Attention::Pinged { miss_at: at, .. } => {
                    Some(at)
                }
                Attention::Quiet | Attention::Unresponsive => None,
            })
            .min()
    }

    /// Pings who owes an answer, and counts who does not give one.
    pub(super) fn attend(&mut self) {
        let now = now();
        let mut unresponsive = Vec::new();
        for (launch, live) in &mut self.live {
            let misses = match live.attention {
                Attention::Awaiting { ping_at } if ping_at <= now => 0,
                Attention::Pinged { miss_at, misses } if miss_at <= now => misses + 1,
                Attention::Quiet
                | Attention::Unresponsive
                | Attention::Awaiting { .. }
                | Attention::Pinged { .. } => continue,
            };
            live.attention = if misses >= MISSES_MAX {
                unresponsive.push(launch.clone());
                Attention::Unresponsive
            } else {
                if let Some(connection) = &live.connection {
                    let call = rpc::Call {
                        team: None,
                        key: None,
                        args: Ping {
                            launch: launch.clone(),
                        },
                    };
                    let ping = rpc::request::<agent_team_protocol::method::MemberPing>(0, &call);
                    // A full queue is as good a miss as any.
                    let _full = connection.outbox.send(ping);
                }
                Attention::Pinged {
                    miss_at: now.after_ms(PATIENCE_MS),
                    misses,
                }
            };
        }
        for launch in unresponsive {
            tracing::warn!(%launch, "does not answer");
            self.step(Input::Unresponsive { launch });
        }
    }

    pub(super) fn member_views(&self) -> Vec<MemberView> {
        let names: Vec<MemberName> = self
            .team
            .members()
            .map(|member| member.plan.name.clone())
            .collect();
        let mut views: Vec<MemberView> = names
            .iter()
            .filter_map(|name| self.member_view(name))
            .collect();
        views.sort_by_key(|view| !view.lead);
        views
    }

    pub(super) fn member_view(&self, name: &MemberName) -> Option<MemberView> {
        let member = self.team.member(name)?;
        let live = self.live_launch(name).map(|(_, live)| live);
        let outside = Outside {
            placement: live
                .and_then(|live| live.placement)
                .unwrap_or_else(|| self.wanted_placement(member)),
            pane: live.and_then(|live| live.pane.clone()),
            unresponsive: self.is_unresponsive(name),
        };
        Some(view::member(&self.team, member, outside, now()))
    }

    fn wanted_placement(&self, member: &agent_team_core::member::Member) -> Placement {
        let headless = MemberSettings::of(&member.plan).is_some_and(|settings| settings.headless);
        match TeamSettings::of(self.team.plan()).map(|settings| settings.place.terminal) {
            Some(Terminal::Tmux(_)) if !headless => Placement::Tmux,
            Some(_) | None => Placement::Headless,
        }
    }

    pub(super) fn label_of(&self, name: &MemberName) -> Option<Label> {
        let member = self.team.member(name)?;
        let task = self.team.task_of(name);
        let state = view::state(member, task.is_some(), self.is_unresponsive(name));
        let state = serde_json::to_value(state).ok()?;
        let mut text = format!(
            "{} · {}",
            member.plan.role,
            state.as_str().unwrap_or_default()
        );
        if let Some(task) = task {
            text = format!("{text} {} {}", task.id, task.plan.title);
        }
        Some(Label {
            colour: settings::colour(&member.plan),
            text,
        })
    }

    fn is_unresponsive(&self, name: &MemberName) -> bool {
        self.live_launch(name)
            .is_some_and(|(_, live)| live.attention == Attention::Unresponsive)
    }

    /// Tells the launcher whose border says something else now.
    pub(super) fn relabel(&mut self) {
        let names: Vec<MemberName> = self
            .team
            .members()
            .map(|member| member.plan.name.clone())
            .collect();
        for name in names {
            let Some(label) = self.label_of(&name) else {
                continue;
            };
            if self.labels.get(&name) != Some(&label) {
                self.labels.insert(name.clone(), label.clone());
                self.launcher.order(Order::Label(name, label));
            }
        }
    }

    /// The last frame of everybody who is connected to this team, written.
    pub(super) async fn say_goodbye(&self, reason: GoodbyeReason) {
        let members = self
            .live
            .values()
            .filter_map(|live| Some(&live.connection.as_ref()?.outbox));
        let outboxes: Vec<Outbox> = members
            .chain(self.subscribers.iter().map(|one| &one.outbox))
            .cloned()
            .collect();
        for outbox in &outboxes {
            outbox.farewell(&Goodbye {
                reason,
                error: None,
            });
        }
        for outbox in &outboxes {
            outbox.flushed().await;
        }
    }

    /// A launch is over: nothing of it is remembered.
    pub(super) fn forget(&mut self, launch: &LaunchId) {
        if let Some(live) = self.live.remove(launch)
            && let Some(connection) = live.connection
        {
            connection.outbox.close();
        }
    }
}

impl Live {
    fn expect_answer(&mut self) {
        if self.attention == Attention::Quiet {
            self.attention = Attention::Awaiting {
                ping_at: now().after_ms(PATIENCE_MS),
            };
        }
    }
}
