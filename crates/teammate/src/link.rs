//! The member's connection to the supervisor, on its own thread, so that pings are answered while the engine is busy.
//! Called by the worker through [`Link`].
//!
//! ```text
//!            ┌─ lost, goodbye{restarting}: pause ┐
//!            ▼                                   │
//! start ► connecting ── initialize answered ► serving ── goodbye{stopped}, retired ► over
//!            │  ▲ │                              └ answers pings
//!            └──┘ └─ retired ► over
//!        failed: pause
//! ```
//! The first pause is a short random delay; after repeated failures, the pauses become longer. After
//! `goodbye{restarting}`, the pause is 2 s. The pauses limit how often members start a supervisor that fails at start.
//! During a pause, the link checks at short intervals whether another supervisor is serving already, and then connects
//! to it without waiting longer.
//!
//! The link makes no decisions about tasks. It stores each request until the answer arrives, and repeats the stored
//! requests in order, with their idempotency keys, on every new connection. It does not repeat notifications. After a
//! reconnect, the worker resends the notifications that still apply.

mod arrival;
mod event;
mod pending;
mod request;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_team_client::{
    CallError, Client, ConnectError, ConnectOrStartError, Handshake, Incoming,
};
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::notification::{PaneGrown, PaneLost, PaneTooSmall};
use agent_team_protocol::rpc::Call;
use agent_team_protocol::{ErrorCode, with_causes};
use agent_team_system::announcement::{self, BoundSocket};
use agent_team_system::backoff::Backoff;
use agent_team_system::directories::Directories;
use agent_team_system::random;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use self::arrival::{FrameEffect, arrived, connection_end};
use self::event::ConnectionEnd;
use self::pending::{AnswerEffect, Pending};
use crate::timer::sleep_until;

pub(crate) use self::event::{LinkEnd, LinkEvent};
pub(crate) use self::request::{Notice, Request, Ticket};

/// The maximum of the random delay after a lost connection. The delay keeps members from starting a supervisor at the
/// same moment.
const JITTER: Duration = Duration::from_millis(20);

/// How long to wait after `goodbye{restarting}` for the supervisor to restart by itself.
const RESTART_LIMIT: Duration = Duration::from_secs(2);

/// The intervals at which the link checks, during a pause, whether another supervisor is serving already.
const POLLS: Backoff = Backoff {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(500),
};

/// The pauses before another supervisor may be started, after failed attempts.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(50),
    longest: Duration::from_secs(30),
};

/// A connection that lasted this long resets the failure count.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// The action if no supervisor is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenAbsent {
    /// Start a supervisor.
    Start,
    /// Wait until another program starts a supervisor.
    Wait,
}

#[derive(Debug)]
enum Outgoing {
    Request(Ticket, Request),
    Notice(Notice),
}

/// The worker's handle. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Link {
    // Unbounded: a worker has few unanswered requests at a time.
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// The permit for live output: only one notification with output at a time waits for the connection. Until this
    /// notification is sent, the worker collects further output.
    pub(crate) output_slot: Arc<Semaphore>,
    // Unbounded: the supervisor limits a member's inbox, and the link must not block, because it answers pings.
    events: mpsc::UnboundedReceiver<LinkEvent>,
    last_ticket: u64,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Sends `initialize` to the supervisor, if one is running, and starts the thread that waits for the answer.
    /// Meanwhile the caller builds the rest of the worker.
    pub(crate) fn start(
        directories: Directories,
        initialize: Initialize,
        when_absent: WhenAbsent,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handshake = runtime.block_on(initialize_running(&directories, &initialize));
        let (outgoing, worker) = mpsc::unbounded_channel();
        let (to_worker, events) = mpsc::unbounded_channel();
        let connector = Connector {
            directories,
            initialize,
            when_absent,
            handshake,
            pending: Pending::default(),
            worker,
            to_worker,
        };
        let thread = std::thread::Builder::new()
            .name("link".into())
            .spawn(move || runtime.block_on(connector.run()))?;
        Ok(Self {
            outgoing,
            output_slot: Arc::new(Semaphore::new(1)),
            events,
            last_ticket: 0,
            thread: Some(thread),
        })
    }

    /// Makes a request. Its answer arrives as [`LinkEvent::Answered`], even after reconnects.
    pub(crate) fn request(&mut self, request: Request) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.send(Outgoing::Request(ticket, request));
        ticket
    }

    /// Sends a notification, in order with the requests. The notification is lost if the connection ends before the
    /// supervisor receives it.
    pub(crate) fn notify(&self, notice: Notice) {
        self.send(Outgoing::Notice(notice));
    }

    fn send(&self, outgoing: Outgoing) {
        // The thread ends by itself only after `LinkEvent::Over`, when answers no longer matter.
        let _over = self.outgoing.send(outgoing);
    }

    /// The next event. Cancel-safe. Never returns after [`LinkEvent::Over`].
    pub(crate) async fn next(&mut self) -> LinkEvent {
        if let Some(event) = self.events.recv().await {
            return event;
        }
        // The channel closes after `LinkEvent::Over`, or on a panic of the thread, which is propagated.
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
    when_absent: WhenAbsent,
    /// The connection that [`Link::start`] opened, until `connect` takes it and waits for the answer.
    handshake: Option<(Handshake, Option<BoundSocket>)>,
    pending: Pending,
    worker: mpsc::UnboundedReceiver<Outgoing>,
    to_worker: mpsc::UnboundedSender<LinkEvent>,
}

/// A connection with the identity of its socket, or the reason why connecting failed.
type Connected = Result<(Client, Incoming, Option<BoundSocket>), ConnectOrStartError>;

/// The reason for which the supervisor permanently refuses this launch. `None` for every other error.
fn retired(error: &ConnectOrStartError) -> Option<String> {
    let ConnectOrStartError::Connect(ConnectError::Refused(refusal)) = error else {
        return None;
    };
    (refusal.code == ErrorCode::Unauthenticated).then(|| refusal.message.clone())
}

impl Connector {
    async fn run(mut self) {
        let mut failures = 0;
        let mut reported = false;
        let mut pause = Duration::ZERO;
        let mut last = None;
        loop {
            let early = tokio::select! {
                early = self.back_off(pause, last) => early,
                // Stop connecting if the worker is exiting.
                () = self.to_worker.closed() => return,
            };
            let connected = match early {
                Some(connected) => connected,
                None => self.connect().await,
            };
            let ended = match connected {
                Ok((client, incoming, bound)) => {
                    let since = Instant::now();
                    reported = false;
                    last = bound;
                    let ended = self.serve(client, incoming).await;
                    if since.elapsed() >= SETTLED_AFTER {
                        failures = 0;
                    }
                    ended
                }
                Err(error) => match retired(&error) {
                    Some(why) => ConnectionEnd::Over(LinkEnd::Retired(why)),
                    None => {
                        if !std::mem::replace(&mut reported, true) {
                            self.send_event(LinkEvent::Unreachable(with_causes(&error)));
                        }
                        ConnectionEnd::Lost
                    }
                },
            };
            pause = match ended {
                ConnectionEnd::Lost => pause_after(failures),
                ConnectionEnd::Restarting => RESTART_LIMIT,
                ConnectionEnd::Over(over) => {
                    self.send_event(LinkEvent::Over(over));
                    return;
                }
                ConnectionEnd::Abandoned => return,
            };
            failures += 1;
        }
    }

    /// Pauses before the next start of a supervisor, then returns `None`. Connects earlier if a supervisor is serving
    /// at a socket other than `last`.
    async fn back_off(&self, pause: Duration, mut last: Option<BoundSocket>) -> Option<Connected> {
        let until = Instant::now() + pause;
        let mut polls = 0;
        loop {
            let remaining = until.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return None;
            }
            let bound = announcement::bound_socket(&self.directories);
            if bound.is_some() && bound != last {
                match agent_team_client::connect(&self.directories, &self.initialize).await {
                    Ok((client, incoming)) => return Some(Ok((client, incoming, bound))),
                    Err(error) if retired(&error).is_some() => return Some(Err(error)),
                    Err(error) => {
                        tracing::debug!(error = with_causes(&error), "not connected");
                        // Do not retry a supervisor that has exited: its successor binds another socket. Retry after
                        // any other error: a suspended or busy supervisor answers later at the same socket.
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
            polls += 1;
            tokio::time::sleep(POLLS.after(polls).min(remaining)).await;
        }
    }

    async fn connect(&mut self) -> Connected {
        if let Some((handshake, bound)) = self.handshake.take() {
            match handshake.finish().await {
                // The supervisor has exited after `Link::start` connected. Connect again, perhaps to its successor.
                Err(ConnectError::Ended) => {}
                answered => {
                    let (client, incoming) = answered?;
                    return Ok((client, incoming, bound));
                }
            }
        }
        // Read the socket's identity before connecting: a socket with another identity then belongs to a later
        // supervisor.
        let bound = announcement::bound_socket(&self.directories);
        let (client, incoming) = match self.when_absent {
            WhenAbsent::Start => {
                agent_team_client::connect_or_start(&self.directories, &self.initialize).await?
            }
            WhenAbsent::Wait => {
                agent_team_client::connect(&self.directories, &self.initialize).await?
            }
        };
        let bound = bound.or_else(|| announcement::bound_socket(&self.directories));
        Ok((client, incoming, bound))
    }

    fn send_event(&self, event: LinkEvent) {
        // The receiver is gone only when the worker is exiting.
        let _gone = self.to_worker.send(event);
    }

    async fn serve(&mut self, client: Client, mut incoming: Incoming) -> ConnectionEnd {
        let Some(welcome) = client.initialized().member.clone() else {
            tracing::error!("the supervisor's welcome contains no member");
            return ConnectionEnd::Lost;
        };
        // The welcome precedes the answers of this connection: the worker must first compare its claim with the claim
        // that the supervisor reports. An earlier answer would be applied to work that the welcome is about to end.
        self.send_event(LinkEvent::Connected(welcome));
        let mut calls = JoinSet::new();
        for (ticket, request) in self.pending.replay() {
            send_request(&mut calls, &client, ticket, request).await;
        }
        loop {
            let repetition = self.pending.next_repetition();
            tokio::select! {
                arrival = incoming.next() => {
                    let Some(arrival) = arrival else { return ConnectionEnd::Lost };
                    match arrived(&client, arrival).await {
                        FrameEffect::Event(event) => {
                            let _gone = self.to_worker.send(event);
                        }
                        FrameEffect::Nothing => {}
                        FrameEffect::Goodbye(goodbye) => return connection_end(goodbye),
                    }
                }
                Some(call) = calls.join_next(), if !calls.is_empty() => {
                    let (ticket, outcome) = call.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    let outcome = match outcome {
                        Ok(answer) => Ok(answer),
                        Err(CallError::Refused(refusal)) => Err(refusal),
                        // This answer is not usable: repeat the request on the next connection.
                        Err(CallError::Disconnected | CallError::Answer { .. }) => continue,
                    };
                    if self.pending.answered(ticket, outcome.as_ref().err(), Instant::now()) == AnswerEffect::Done {
                        let _gone = self.to_worker.send(LinkEvent::Answered(ticket, outcome));
                    }
                }
                outgoing = self.worker.recv() => match outgoing {
                    None => return ConnectionEnd::Abandoned,
                    // The answer cannot be handled before `add`: `calls` is polled only in the next iteration.
                    Some(Outgoing::Request(ticket, request)) => {
                        send_request(&mut calls, &client, ticket, &request).await;
                        self.pending.add(ticket, request);
                    }
                    Some(Outgoing::Notice(notice)) => send_notice(&client, notice).await,
                },
                () = sleep_until(repetition.map(Into::into)) => {
                    for (ticket, request) in self.pending.due(Instant::now()) {
                        send_request(&mut calls, &client, ticket, request).await;
                    }
                }
            }
        }
    }
}

/// Sends `initialize` to a running supervisor. Returns `None` on any failure; the regular connect then reports the
/// reason.
async fn initialize_running(
    directories: &Directories,
    initialize: &Initialize,
) -> Option<(Handshake, Option<BoundSocket>)> {
    let socket = announcement::find(directories).ok().flatten()?;
    let bound = announcement::bound_socket(directories);
    let handshake = Handshake::start(&socket, initialize).await.ok()?;
    Some((handshake, bound))
}

/// Sends a request over this connection, and adds the wait for its answer to `calls`. Called only by `serve`: requests
/// that the worker makes without a connection wait in the channel.
async fn send_request(
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
    // The first poll queues the frame. Polling here, before spawning, keeps the frames in request order.
    let first = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    calls.spawn(async move {
        match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => call.await,
        }
    });
}

async fn send_notice(client: &Client, notice: Notice) {
    let sent = match notice {
        Notice::Session(session) => client.notify(&session).await,
        Notice::Output(output, _slot) => client.notify(&output).await,
        Notice::PaneLost => client.notify(&PaneLost {}).await,
        Notice::PaneShown(shown) => client.notify(&shown).await,
        Notice::PaneTooSmall => client.notify(&PaneTooSmall {}).await,
        Notice::PaneGrown => client.notify(&PaneGrown {}).await,
        Notice::Waits(waits) => client.notify(&waits).await,
        Notice::Model(model) => client.notify(&model).await,
        Notice::Prompts(prompts) => client.notify(&prompts).await,
        Notice::Screen(screen, _slot) => client.notify(&screen).await,
    };
    if sent.is_err() {
        tracing::debug!("a notification was lost with its connection");
    }
}

/// The pause after this many consecutive failed attempts and short connections.
fn pause_after(failures: u32) -> Duration {
    match failures {
        0 => JITTER.mul_f64(random::fraction()),
        _ => BACKOFF.after(failures),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pause_is_jitter_and_later_ones_back_off() {
        assert!(pause_after(0) <= JITTER);
        assert_eq!(pause_after(1), BACKOFF.first);
        assert_eq!(pause_after(2), BACKOFF.first * 2);
        assert_eq!(pause_after(60), BACKOFF.longest);
    }
}
