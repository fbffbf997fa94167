//! The member's connection to the supervisor, on a thread of its own, so that pings are answered however busy the
//! engine is. Called by the worker, which speaks to it through [`Link`].
//!
//! ```text
//!            ┌────────────── lost ───────────────┐
//!            ▼                                   │
//! start ► connecting ── initialize answered ► serving ── goodbye{stopped}, retired ► over
//!            │  ▲ jitter, or 2 s after               │
//!            └──┘ goodbye{restarting}; backoff       └ pings answered here
//! ```
//! The pauses spare supervisors that fail to start: they delay starting another one. A supervisor that serves meanwhile
//! is connected to at once.
//! It decides nothing about tasks. A request is kept until it is answered, and made again, in order and with its key,
//! on every new connection; notifications are not, and the worker repeats those that matter when it is connected.

mod arrival;
mod pending;

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_team_protocol::initialize::{Initialize, Welcome};
use agent_team_protocol::method::Method;
use agent_team_protocol::notification::{
    Abandon, Allowance, Assignment, Deliver, Inform, MemberWaits, PaneLost, PaneShown, ShowPane,
    StopMember, TaskOutput, TaskSession,
};
use agent_team_protocol::rpc::Call;
use agent_team_protocol::{ErrorCode, Refusal, with_causes};
use agent_team_system::client::{CallError, Client, ConnectError, Incoming, Introduced};
use agent_team_system::daemon::{self, BoundSocket, ConnectOrStartError};
use agent_team_system::directories::Directories;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::arrival::{Arrived, arrived, farewell};
use self::pending::{Pending, Settled};
use crate::sleep_until;

/// Spreads the members that lost their supervisor at the same moment.
const JITTER: Duration = Duration::from_millis(20);

/// After `goodbye{restarting}`: the time in which the new supervisor starts by itself.
const RESTART_LIMIT: Duration = Duration::from_secs(2);

/// Between two looks for it, doubling.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// Between failed attempts, doubling.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);

/// A connection that lived this long was no failure.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What the supervisor says to this worker, and what became of its requests.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Connected(Welcome),
    Start(Assignment),
    Abandon(Abandon),
    Deliver(Deliver),
    Stop(StopMember),
    Allowance(Allowance),
    Show(ShowPane),
    Inform(Inform),
    Answered(Ticket, Result<Box<RawValue>, Refusal>),
    /// The first failed attempt since the connection was there; the others follow silently.
    Unreachable(String),
    /// There will be no connection any more.
    Over(Over),
}

#[derive(Debug)]
pub(crate) enum Over {
    /// The supervisor was stopped on purpose.
    Stopped,
    /// This launch is no longer the member's.
    Retired(String),
}

/// What is done where no supervisor is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// One is started.
    Start,
    /// It is waited for.
    There,
}

/// Names a request: tickets are given in the order of the requests, and are their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

/// What a worker asks of the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// JSON of the method's arguments.
    pub(crate) args: Box<RawValue>,
}

impl Request {
    pub(crate) fn of<M: Method>(args: &M::Args) -> Self {
        Self {
            method: M::NAME,
            args: serde_json::value::to_raw_value(args)
                .expect("wire types have string keys and no failing serializers"),
        }
    }
}

/// What a worker tells the supervisor while it is connected.
#[derive(Debug)]
pub(crate) enum Notice {
    Session(TaskSession),
    /// In its place among the requests.
    Output(TaskOutput),
    PaneLost,
    PaneShown(PaneShown),
    Waits(MemberWaits),
}

#[derive(Debug)]
enum Outgoing {
    Request(Ticket, Request),
    Notice(Notice),
}

/// The worker's side. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Link {
    // Unbounded: a worker makes few requests, at most one per message and three per task.
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// One text at a time: what comes meanwhile is coalesced by the worker.
    pub(crate) output: mpsc::Sender<TaskOutput>,
    // Unbounded: the supervisor's inbox is bounded, and the link must go on answering pings.
    events: mpsc::UnboundedReceiver<LinkEvent>,
    last_ticket: u64,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Introduces this worker to the supervisor that started it, and starts the thread, which waits for the answer:
    /// the supervisor stores the introduction while the rest of the worker is built.
    pub(crate) fn start(
        directories: Directories,
        initialize: Initialize,
        reach: Reach,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let introduced = runtime.block_on(introduce(&directories, &initialize));
        let (outgoing, worker) = mpsc::unbounded_channel();
        let (output, worker_output) = mpsc::channel(1);
        let (to_worker, events) = mpsc::unbounded_channel();
        let connector = Connector {
            directories,
            initialize,
            reach,
            introduced,
            pending: Pending::default(),
            worker,
            output: worker_output,
            to_worker,
        };
        let thread = std::thread::Builder::new()
            .name("link".into())
            .spawn(move || runtime.block_on(connector.run()))?;
        Ok(Self {
            outgoing,
            output,
            events,
            last_ticket: 0,
            thread: Some(thread),
        })
    }

    /// Makes a request; its answer comes as [`LinkEvent::Answered`], whatever connections it takes.
    pub(crate) fn request(&mut self, request: Request) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.send(Outgoing::Request(ticket, request));
        ticket
    }

    /// Lost when there is no connection.
    pub(crate) fn notify(&self, notice: Notice) {
        self.send(Outgoing::Notice(notice));
    }

    fn send(&self, outgoing: Outgoing) {
        // The thread ends by itself only after `Over`, when nobody needs an answer.
        let _over = self.outgoing.send(outgoing);
    }

    /// The next event. Safe to cancel. Never returns after [`LinkEvent::Over`].
    pub(crate) async fn next(&mut self) -> LinkEvent {
        if let Some(event) = self.events.recv().await {
            return event;
        }
        // It ends by itself after `Over`, or with a panic, which is then this process's end.
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
        std::future::pending().await
    }
}

struct Connector {
    directories: Directories,
    initialize: Initialize,
    reach: Reach,
    /// The first connection, until its answer is waited for.
    introduced: Option<(Introduced, Option<BoundSocket>)>,
    pending: Pending,
    worker: mpsc::UnboundedReceiver<Outgoing>,
    output: mpsc::Receiver<TaskOutput>,
    to_worker: mpsc::UnboundedSender<LinkEvent>,
}

/// A connection, with the socket that it was made at.
type Connected = Result<(Client, Incoming, Option<BoundSocket>), ConnectOrStartError>;

/// Why the supervisor refuses this launch for good, if it does.
fn retired(error: &ConnectOrStartError) -> Option<String> {
    let ConnectOrStartError::Connect(ConnectError::Refused(refusal)) = error else {
        return None;
    };
    (refusal.code == ErrorCode::Unauthenticated).then(|| refusal.message.clone())
}

/// How a connection ended.
enum Ended {
    Lost,
    Restarting,
    Over(Over),
    /// The worker has gone.
    Abandoned,
}

impl Connector {
    async fn run(mut self) {
        let mut failures = 0;
        let mut told = false;
        let mut pause = Duration::ZERO;
        let mut last = None;
        loop {
            let early = tokio::select! {
                early = self.back_off(pause, last) => early,
                // Nobody is left to connect for.
                () = self.to_worker.closed() => return,
            };
            let connected = match early {
                Some(connected) => connected,
                None => self.connect().await,
            };
            let ended = match connected {
                Ok((client, incoming, bound)) => {
                    let since = Instant::now();
                    told = false;
                    last = bound;
                    let ended = self.serve(client, incoming).await;
                    if since.elapsed() >= SETTLED_AFTER {
                        failures = 0;
                    }
                    ended
                }
                Err(error) => match retired(&error) {
                    Some(why) => Ended::Over(Over::Retired(why)),
                    None => {
                        if !std::mem::replace(&mut told, true) {
                            self.tell(LinkEvent::Unreachable(with_causes(&error)));
                        }
                        Ended::Lost
                    }
                },
            };
            pause = match ended {
                Ended::Lost => pause_after(failures),
                Ended::Restarting => RESTART_LIMIT,
                Ended::Over(over) => {
                    self.tell(LinkEvent::Over(over));
                    return;
                }
                Ended::Abandoned => return,
            };
            failures += 1;
        }
    }

    /// Waits before a supervisor may be started. Connects meanwhile, as soon as another supervisor serves than the one at
    /// the socket `last`.
    async fn back_off(&self, pause: Duration, mut last: Option<BoundSocket>) -> Option<Connected> {
        let until = Instant::now() + pause;
        let mut look = FIRST_LOOK;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let bound = daemon::bound_socket(&self.directories);
            if bound.is_some() && bound != last {
                match daemon::connect(&self.directories, &self.initialize).await {
                    Ok((client, incoming)) => return Some(Ok((client, incoming, bound))),
                    Err(error) if retired(&error).is_some() => return Some(Err(error)),
                    Err(error) => {
                        tracing::debug!(error = with_causes(&error), "not connected");
                        // It has ended, and another one binds another socket. One that is stopped or busy answers later.
                        let is_over = matches!(
                            error,
                            ConnectOrStartError::Connect(
                                ConnectError::Ended | ConnectError::Unreachable { .. }
                            )
                        );
                        if is_over {
                            last = bound;
                        }
                    }
                }
            }
            tokio::time::sleep(look.min(left)).await;
            look = LONGEST_LOOK.min(look * 2);
        }
    }

    async fn connect(&mut self) -> Connected {
        if let Some((introduced, bound)) = self.introduced.take() {
            match introduced.answered().await {
                // It died meanwhile.
                Err(ConnectError::Ended) => {}
                answered => {
                    let (client, incoming) = answered?;
                    return Ok((client, incoming, bound));
                }
            }
        }
        // Before it is connected to: whoever binds after this is another one.
        let bound = daemon::bound_socket(&self.directories);
        let (client, incoming) = match self.reach {
            Reach::Start => daemon::connect_or_start(&self.directories, &self.initialize).await?,
            Reach::There => daemon::connect(&self.directories, &self.initialize).await?,
        };
        let bound = bound.or_else(|| daemon::bound_socket(&self.directories));
        Ok((client, incoming, bound))
    }

    fn tell(&self, event: LinkEvent) {
        // A worker that has gone takes this thread with it.
        let _gone = self.to_worker.send(event);
    }

    async fn serve(&mut self, client: Client, mut incoming: Incoming) -> Ended {
        let Some(welcome) = client.initialized().member.clone() else {
            tracing::error!("the supervisor does not say who this member is");
            return Ended::Lost;
        };
        self.tell(LinkEvent::Connected(welcome));
        let mut calls = JoinSet::new();
        for (ticket, request) in self.pending.replay() {
            make(&mut calls, &client, ticket, request).await;
        }
        let output = forward(&client, &mut self.output);
        let mut output = pin!(output);
        loop {
            let repetition = self.pending.next_repetition();
            tokio::select! {
                arrival = incoming.next() => {
                    let Some(arrival) = arrival else { return Ended::Lost };
                    match arrived(&client, arrival).await {
                        Arrived::Event(event) => {
                            let _gone = self.to_worker.send(event);
                        }
                        Arrived::Nothing => {}
                        Arrived::Goodbye(goodbye) => return farewell(goodbye),
                    }
                }
                Some(call) = calls.join_next(), if !calls.is_empty() => {
                    let (ticket, outcome) = call.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    let outcome = match outcome {
                        Ok(answer) => Ok(answer),
                        Err(CallError::Refused(refusal)) => Err(refusal),
                        // Unanswered: it is made again on the next connection.
                        Err(CallError::Disconnected | CallError::Answer { .. }) => continue,
                    };
                    if self.pending.answered(ticket, outcome.as_ref().err(), Instant::now()) == Settled::Done {
                        let _gone = self.to_worker.send(LinkEvent::Answered(ticket, outcome));
                    }
                }
                outgoing = self.worker.recv() => match outgoing {
                    None => return Ended::Abandoned,
                    Some(Outgoing::Request(ticket, request)) => {
                        make(&mut calls, &client, ticket, &request).await;
                        self.pending.add(ticket, request);
                    }
                    Some(Outgoing::Notice(notice)) => announce(&client, notice).await,
                },
                () = sleep_until(repetition.map(Into::into)) => {
                    for (ticket, request) in self.pending.due(Instant::now()) {
                        make(&mut calls, &client, ticket, request).await;
                    }
                }
                () = &mut output => return Ended::Lost,
            }
        }
    }
}

/// Says to the supervisor that is there who this is; with its socket. `None` when none can be reached: the ordinary way
/// tells why.
async fn introduce(
    directories: &Directories,
    initialize: &Initialize,
) -> Option<(Introduced, Option<BoundSocket>)> {
    let socket = daemon::find(directories).ok().flatten()?;
    let bound = daemon::bound_socket(directories);
    let introduced = Introduced::at(&socket, initialize).await.ok()?;
    Some((introduced, bound))
}

/// Requests made while there is no connection wait in the channel, and are taken up by the next `serve`.
async fn make(
    calls: &mut JoinSet<(Ticket, Result<Box<RawValue>, CallError>)>,
    client: &Client,
    ticket: Ticket,
    request: &Request,
) {
    let (client, request) = (client.clone(), request.clone());
    let mut call = Box::pin(async move {
        let call = Call {
            team: None,
            key: Some(ticket.0.to_string()),
            args: request.args,
        };
        (ticket, client.call_named(request.method, &call).await)
    });
    // Polled here for the first time, which queues its frame: so requests leave in the order in which they were made.
    let first = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    calls.spawn(async move {
        match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => call.await,
        }
    });
}

async fn announce(client: &Client, notice: Notice) {
    let sent = match notice {
        Notice::Session(session) => client.notify(&session).await,
        Notice::Output(output) => client.notify(&output).await,
        Notice::PaneLost => client.notify(&PaneLost {}).await,
        Notice::PaneShown(shown) => client.notify(&shown).await,
        Notice::Waits(waits) => client.notify(&waits).await,
    };
    if sent.is_err() {
        tracing::debug!("a notification was lost with its connection");
    }
}

/// Returns when the connection has ended.
async fn forward(client: &Client, output: &mut mpsc::Receiver<TaskOutput>) {
    while let Some(text) = output.recv().await {
        if client.notify(&text).await.is_err() {
            return;
        }
    }
    // The worker has gone, which is seen elsewhere.
    std::future::pending().await
}

/// How long to wait when so many attempts in a row have failed.
fn pause_after(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => JITTER.mul_f64(random_fraction()),
        Some(doublings) => LONGEST_BACKOFF.min(FIRST_BACKOFF * 2_u32.pow(doublings.min(16))),
    }
}

/// Between 0 and 1. The standard library's hasher has the only randomness that needs no dependency.
fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    #[expect(clippy::cast_precision_loss, reason = "32 bits fit a double")]
    let fraction = bits as f64 / f64::from(u32::MAX);
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_comes_at_once_and_failures_back_off() {
        assert!(pause_after(0) <= JITTER);
        assert_eq!(pause_after(1), FIRST_BACKOFF);
        assert_eq!(pause_after(2), FIRST_BACKOFF * 2);
        assert_eq!(pause_after(60), LONGEST_BACKOFF);
    }
}
