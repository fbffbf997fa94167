//! The driver, the tokio task of one team: takes inputs, commits their events in batches, and carries out effects after
//! the commit.
//!
//! ```text
//!   inputs ──▶ decide and apply ──▶ store (group commit) ──▶ effects, replies, events
//!      ▲            while a commit is under way, inputs gather         │
//!      └───────────────────────────────────────────────────────────────┘
//! ```
//! Only [`Driver`] changes a `Team` (I3), and it sends no reply, effect or notification before the events that cause it
//! are stored (I4); `ARCHITECTURE.md` lists these invariants. The driver never waits for a member, for tmux or for a
//! hook: results arrive as [`Message`]s. While a commit waits for the disk, messages stay in the channel.
//!
//! Components own their fields and do not know the driver: `batch`, `launches`, `waiters`, `down`, `replies`,
//! `subscribers`, `labels`, `notifier`, `history_reader`. `views` and `permissions` are computed from the state. These
//! components send frames and answers, but give no order to the launcher and no input to the core. The files that
//! extend `Driver` give orders and inputs.

mod batch;
mod calls;
mod commit;
mod down;
mod effects;
mod hello;
mod history_reader;
mod labels;
mod launches;
mod liveness;
mod message;
mod notifier;
mod notify;
mod panes;
mod permissions;
mod preview;
mod processes;
mod queries;
mod replies;
mod request;
mod requests;
mod settle;
mod subscribe;
mod subscribers;
#[cfg(test)]
mod testing;
mod up;
mod views;
mod waiters;
mod workers;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_team_core::input::ProcessExit;
use agent_team_core::{Input, InputContext, Team, Tick, Timer};
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::notification::{Goodbye, GoodbyeReason};
use agent_team_protocol::style::Theme;
use agent_team_protocol::view::{CommitView, DriverView};
use agent_team_protocol::{ErrorCode, MemberName, Refusal};
use agent_team_store::{Durability, History, TeamIdentity};
use agent_team_system::directories::Directories;
use tokio::sync::{mpsc, oneshot};

pub(crate) use launches::Hello;
pub(crate) use message::Message;
pub(crate) use preview::preview;
pub(crate) use request::{Change, Query, Request, RequestKind, UpRequest};

use crate::committer::Committer;
use crate::host::Host;
use crate::launch::{LaunchReport, Launcher, Order, ReportSender};
use crate::machine::Machine;
use crate::outbox::Reply;
use crate::parsed_settings::ParsedSettings;
use batch::{FollowUp, NextBatch, PostCommit};
use down::Down;
use history_reader::HistoryReader;
use labels::Labels;
use launches::Launches;
use notifier::Notifier;
use replies::Replies;
use subscribers::Subscribers;
use views::Views;
use waiters::Waiters;

/// Maximum number of inputs per commit: enough to make one sync worthwhile, few enough to keep latency low.
const BATCH_INPUTS_MAX: usize = 512;

/// The server's handle of a driver.
#[derive(Debug, Clone)]
pub(crate) struct DriverHandle {
    pub(crate) identity: Rc<TeamIdentity>,
    pub(crate) messages: mpsc::UnboundedSender<Message>,
    pub(crate) flags: Rc<DriverFlags>,
    history: History,
}

impl DriverHandle {
    /// Why the team can no longer be stored, if its files were moved or removed.
    pub(crate) fn storage_error(&self) -> Option<String> {
        self.history.check().err().map(|error| error.to_string())
    }

    /// Returns a refusal unless the team is down.
    pub(crate) fn refuse_if_up(&self) -> Result<(), Refusal> {
        if self.flags.is_down.get() {
            return Ok(());
        }
        let text = format!("{} is up", self.identity.team);
        Err(Refusal::new(ErrorCode::TeamRunning, text)
            .hint(format!("stop it first with: {}", CommandLine::Down)))
    }
}

/// Flags that the server reads without sending a message.
#[derive(Debug, Default)]
pub(crate) struct DriverFlags {
    pub(crate) is_down: std::cell::Cell<bool>,
    /// The team was deleted; its driver answers no further calls.
    pub(crate) is_deleted: std::cell::Cell<bool>,
}

/// Notices from a driver that concern the whole supervisor.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A team went down: the supervisor may be able to exit.
    WentDown,
    /// A sync failed. After a failed fsync the kernel may have dropped the dirty pages, so the files can lack events
    /// that the supervisor considers stored.
    SyncFailed,
}

pub(crate) struct Driver {
    machine: Rc<dyn Machine>,
    identity: Rc<TeamIdentity>,
    directories: Rc<Directories>,
    team: Team,
    /// Settings parsed from the JSON in the team's state. Refreshed whenever the state changes them.
    settings: ParsedSettings,
    boot: Arc<str>,
    committer: Box<dyn Committer>,
    reader: HistoryReader,
    messages: mpsc::UnboundedReceiver<Message>,
    to_self: mpsc::UnboundedSender<Message>,
    notices: mpsc::UnboundedSender<Notice>,
    flags: Rc<DriverFlags>,
    launcher: Launcher,

    seed: Seed,
    next_batch: NextBatch,
    in_flight: Option<InFlight>,
    storage: Storage,
    since_snapshot: u64,
    commits: u64,
    last_commit: Option<(CommitView, Instant)>,

    replies: Replies,
    waiters: Waiters,
    down: Down,

    launches: Launches,
    notifier: Notifier,
    labels: Labels,
    subscribers: Subscribers,
}

/// Source of randomness for the core: random bytes drawn once, and a counter that makes the seed unique for each input.
/// The core hashes the seed, so that a derived value does not reveal the seed.
struct Seed {
    random: [u8; 24],
    inputs: u64,
}

impl Seed {
    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..24].copy_from_slice(&self.random);
        bytes[24..].copy_from_slice(&self.inputs.to_be_bytes());
        bytes
    }
}

/// The commit in progress.
enum InFlight {
    Batch(FollowUp),
    /// An empty commit that tests whether the disk has room again.
    Probe,
}

/// Whether commits succeed.
enum Storage {
    Stored,
    /// Disk full: queries, repeated calls and urgent changes (`stop`, `down`, a denial, …) proceed. All other changes
    /// wait here for a probe: they proceed if it succeeds and are refused if it fails.
    Full(Vec<Request>),
    /// Nothing can be stored until the supervisor is restarted; contains the reason. Queries are answered, changes are
    /// refused.
    Failed(String),
    /// The process is about to exit; contains the reason. Calls are dropped: their callers repeat them at the next
    /// supervisor, which opens the store again.
    Ending(String),
}

/// Parameters for starting a driver.
pub(crate) struct DriverConfig {
    pub(crate) machine: Rc<dyn Machine>,
    pub(crate) identity: TeamIdentity,
    pub(crate) directories: Rc<Directories>,
    pub(crate) boot: Arc<str>,
    pub(crate) opened: agent_team_store::Opened<Team>,
    pub(crate) durability: Durability,
    /// Runs the workers of all members inside the supervisor's process (embedded supervisor).
    pub(crate) host: Option<Arc<dyn Host>>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
}

impl Driver {
    /// Starts a team's driver with the state restored from its store.
    pub(crate) fn start(config: DriverConfig) -> std::io::Result<DriverHandle> {
        let (to_self, messages) = mpsc::unbounded_channel();
        let machine = config.machine;
        let committer = machine.committer(config.opened.writer, config.durability)?;
        let identity = Rc::new(config.identity);
        let flags = Rc::new(DriverFlags::default());
        let team = config.opened.restored.state;
        let history = config.opened.history;
        let launcher = Launcher::start(
            identity.team.clone(),
            &config.directories,
            config.host,
            machine.clone(),
            ReportSender::new({
                let driver = to_self.clone();
                move |report| {
                    let _driver_gone = driver.send(Message::Launch(report));
                }
            }),
        );
        let mut driver = Self {
            launches: Launches::new(&team),
            since_snapshot: config.opened.restored.since_snapshot,
            identity: identity.clone(),
            directories: config.directories,
            settings: ParsedSettings::of(&team),
            team,
            boot: config.boot,
            committer,
            reader: HistoryReader::new(history.clone(), machine.clone()),
            messages,
            to_self: to_self.clone(),
            notices: config.notices,
            flags: flags.clone(),
            launcher,
            seed: Seed {
                random: machine.random(),
                inputs: 0,
            },
            next_batch: NextBatch::default(),
            in_flight: None,
            storage: Storage::Stored,
            commits: 0,
            last_commit: None,
            replies: Replies::default(),
            waiters: Waiters::default(),
            down: Down::default(),
            notifier: Notifier::default(),
            labels: Labels::default(),
            subscribers: Subscribers::new(identity.team.clone()),
            machine,
        };
        driver.send_placement();
        driver.adopt();
        driver.flags.is_down.set(driver.team.is_down());
        tokio::task::spawn_local(driver.run());
        Ok(DriverHandle {
            identity,
            messages: to_self,
            flags,
            history,
        })
    }

    async fn run(mut self) {
        let mut closing = None;
        loop {
            self.submit();
            if self.in_flight.is_some() {
                // Run one commit at a time. Messages stay in the channel until the commit has ended; then they form the
                // next batch (group commit). A decision during the commit would rely on events that may not be stored:
                // after a failed commit, its answer would be wrong.
                let Some(result) = self.committer.answer().await else {
                    return;
                };
                self.commit_ended(result);
                continue;
            }
            if let Some((goodbye, done)) = closing.take() {
                return self.close(goodbye, done).await;
            }
            // Timers are checked before each batch, so that a flood of messages cannot postpone a kill or a
            // restart.
            let deadline = self.timers().map(|(at, _)| at).min();
            if deadline.is_some_and(|at| at <= self.now()) {
                self.fire_timers();
                continue;
            }
            let sleep = sleep_for(deadline.map(|at| at.since(self.now())));
            let mut next = tokio::select! {
                biased;
                message = self.messages.recv() => message,
                () = sleep => continue,
            };
            let mut room = BATCH_INPUTS_MAX;
            while let Some(message) = next {
                if let Message::Close { goodbye, done } = message {
                    // Messages queued before `Close` are stored and answered first: the loop submits this batch, waits
                    // for its commit and only then closes. Messages queued after `Close` are not handled; if the team
                    // was deleted, `close` refuses the calls among them.
                    closing = Some((goodbye, done));
                    break;
                }
                self.handle(message);
                room -= 1;
                next = if room > 0 {
                    self.messages.try_recv().ok()
                } else {
                    None
                };
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Called(request) => self.handle_call(request),
            Message::Hello(hello) => self.hello(hello),
            Message::Disconnected { launch, connection } => self.disconnected(&launch, connection),
            Message::Activity(launch) => self.launches.note_activity(&launch),
            Message::Output(launch, output) => self.output(&launch, output),
            Message::Session(launch, session) => self.session(&launch, session),
            Message::PaneLost(launch) => self.pane_lost(&launch),
            Message::PaneResized => self.launcher.order(Order::Arrange),
            Message::PaneShown(launch, shown) => self.pane_shown(&launch, &shown),
            Message::Waiting(launch, waits) => self.set_waiting(&launch, waits),
            Message::Model(launch, model) => self.set_model(&launch, model),
            Message::Launch(LaunchReport::StartEnded(started)) => self.started(started),
            Message::Screen(launch, screen) => self.launches.set_screen(&launch, screen),
            Message::Prompts(launch, prompts) => self.set_prompts(&launch, prompts),
            Message::Launch(LaunchReport::Exited(launch)) => self.urgent(Input::Exited {
                launch,
                exit: ProcessExit::Unknown,
            }),
            Message::Exited(launch, exit) => self.urgent(Input::Exited { launch, exit }),
            Message::Launch(LaunchReport::PanesFound(panes)) => self.panes_found(panes),
            Message::Unfocused {
                kind,
                member,
                notify,
            } => self.show_notification(kind, &member, &notify),
            Message::NotStarted { launch, fault } => {
                self.urgent(Input::NotStarted { launch, fault })
            }
            Message::RunStuck { run, reason } => self.urgent(Input::RunStuck { run, reason }),
            Message::TreeEnded { launch, ended } => self.tree_ended(launch, ended),
            Message::TreeSurvived { launch, pids } => self.tree_survived(&launch, &pids),
            Message::CompletionHook {
                by,
                key,
                reply,
                claim,
                result,
                hook,
            } => {
                let call = agent_team_core::Call::CompleteTask {
                    claim,
                    result,
                    hook,
                };
                self.advance(Input::Called {
                    by,
                    key,
                    reply,
                    call: Box::new(call),
                });
            }
            Message::IdleRefused { launch, reason } => {
                self.advance(Input::IdleRefused { launch, reason })
            }
            Message::Read { by, reply, query } => {
                self.next_batch.then(PostCommit::Read { by, reply, query });
            }
            Message::CaughtUp(reader) => self.caught_up(reader),
            Message::PanesClosed(receipts) => self.panes_closed(receipts),
            Message::Status(reply) => {
                let _asker_gone = reply.send(self.status());
            }
            Message::Close { .. } => unreachable!("`run` handles it"),
        }
    }

    /// Runs the core on one input. The resulting effects are carried out after the commit.
    fn advance(&mut self, input: Input) {
        self.seed.inputs += 1;
        let context = InputContext {
            now: self.now(),
            wall: self.machine.wall_ms(),
            seed: self.seed.bytes(),
        };
        let transition = self.team.advance(&context, input);
        if transition
            .records
            .iter()
            .any(|record| record.event.changes_settings())
        {
            self.settings.refresh(&self.team);
        }
        self.next_batch.add(transition);
    }

    /// Takes an input that must be stored even on a full disk, because the input reports a fact and cannot be refused.
    /// The store may use its reserve file for the batch.
    fn urgent(&mut self, input: Input) {
        self.next_batch.set_urgent();
        self.advance(input);
    }

    fn timers(&self) -> impl Iterator<Item = (Tick, Timer<'_>)> {
        self.team.timers().chain(self.launches.timers())
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        let fired = |(_, timer): &(Tick, Timer<'_>)| {
            tracing::debug!(team = %self.identity.team, ?timer, "timer fired");
        };
        let of_team = self.team.timers().filter(|(at, _)| *at <= now);
        let is_team_due = of_team.inspect(fired).count() > 0;
        let of_launches = self.launches.timers().filter(|(at, _)| *at <= now);
        of_launches.for_each(|timer| fired(&timer));
        if is_team_due {
            self.urgent(Input::DeadlineReached);
        }
        for launch in self.launches.check_liveness(now) {
            tracing::warn!(%launch, "worker is unresponsive");
            self.advance(Input::Unresponsive { launch });
        }
    }

    fn send_placement(&mut self) {
        if let Some(settings) = self.settings.team() {
            let (team_placement, layout) = (settings.team_placement.clone(), settings.layout);
            let theme = self.theme();
            self.launcher
                .order(Order::SetBackend(team_placement, layout, theme));
        }
    }

    /// The theme of the terminal in which the last `up` ran. Workers derive the theme of their panes from the same
    /// variables.
    fn theme(&self) -> Theme {
        let environment = self.environment().unwrap_or_default();
        let variable = |name: &str| environment.variables.get(name).cloned();
        // The CLI refuses an unknown theme before it starts a team.
        let theme = Theme::of_environment(variable).ok().flatten();
        theme.unwrap_or_default()
    }

    /// Holds each member if this build cannot read its settings or the team's settings, for example because a newer
    /// version wrote them. Without readable rules the member's calls cannot be judged. `up` replaces the settings.
    fn hold_unreadable(&mut self) {
        for (member, unreadable) in self.settings.unreadable() {
            tracing::error!(%member, %unreadable, "holding a member: its settings cannot be used");
            let reason = format!("{unreadable}; replace them with: {}", CommandLine::Up);
            self.urgent(Input::UnreadableSettings {
                member,
                reason: reason.into(),
            });
        }
    }

    fn views(&self) -> Views<'_> {
        Views {
            identity: &self.identity,
            team: &self.team,
            settings: &self.settings,
            launches: &self.launches,
            is_embedded: self.launcher.is_embedded(),
            now: self.now(),
            wall_ms: self.machine.wall_ms(),
        }
    }

    fn now(&self) -> Tick {
        Tick(self.machine.monotonic_ms())
    }

    fn status(&self) -> DriverView {
        DriverView {
            team: self.identity.team.clone(),
            project: self.identity.project.clone(),
            revision: self.team.revision(),
            inputs: u32::try_from(self.messages.len()).unwrap_or(u32::MAX),
            committing: match &self.in_flight {
                Some(InFlight::Batch(batch)) => u32::try_from(batch.records).unwrap_or(u32::MAX),
                Some(InFlight::Probe) | None => 0,
            },
            subscribers: u32::try_from(self.subscribers.len()).unwrap_or(u32::MAX),
            commits: self.commits,
            last_commit: self.last_commit.map(|(commit, at)| CommitView {
                ago_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
                ..commit
            }),
            storage: match (&self.storage, self.storage_error()) {
                (_, Some(why)) => why,
                (Storage::Full(_), None) => "no room is left on the disk".to_owned(),
                (Storage::Stored | Storage::Failed(_) | Storage::Ending(_), None) => {
                    "stored".to_owned()
                }
            },
            members: self.views().members(),
        }
    }

    async fn close(mut self, goodbye: GoodbyeReason, done: oneshot::Sender<()>) {
        if goodbye == GoodbyeReason::Closed {
            // Close the channel before draining it. Sending a later call fails, and the sender refuses the call (see
            // `server::send_to_driver`); a call already queued is refused here. So no call for a deleted team stays
            // unanswered, and no subscriber that returns from history stays connected.
            self.flags.is_deleted.set(true);
            self.messages.close();
            while let Ok(message) = self.messages.try_recv() {
                if let Message::Called(request) = message {
                    request.reply.refuse(deleted());
                } else if let Message::CaughtUp(reader) = message {
                    reader.outbox.send_goodbye(&Goodbye::CLOSED);
                }
            }
            self.waiters.refuse_all(&deleted());
            self.disconnect_all().await;
        }
        self.committer.close();
        let _asker_gone = done.send(());
    }

    fn log_of(&self, member: &MemberName) -> PathBuf {
        self.directories
            .team(self.identity.team.as_str())
            .join("log")
            .join(format!("{member}.log"))
    }
}

async fn sleep_for(ms: Option<u64>) {
    match ms {
        Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

/// The answer to all open calls of a deleted team.
pub(crate) fn deleted() -> Refusal {
    Refusal::new(ErrorCode::ShuttingDown, "the team was deleted")
}

fn refuse_all(replies: impl IntoIterator<Item = Reply>, refusal: &Refusal) {
    for reply in replies {
        reply.refuse(refusal.clone());
    }
}
