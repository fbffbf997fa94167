//! The server: accepts connections, authenticates each as a client or a member, and routes calls.
//!
//! A client connection acts as the user. A member connection acts as the member of its launch token; the content of its
//! frames does not change that. Most calls for a team go to its driver (`dispatch`); the server itself answers calls
//! about the supervisor and calls that list, create or delete teams (`supervisor_calls`).

mod dispatch;
mod supervisor_calls;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent_team_core::{Caller, Origin, Tick};
use agent_team_protocol::codec::{FIRST_FRAME_MAX, FRAME_MAX, FrameError};
use agent_team_protocol::initialize::{
    self, BUILD, ConnectionRole, Initialize, Initialized, PROTOCOL,
};
use agent_team_protocol::method::{CallerRole, MethodCall, MethodEntry};
use agent_team_protocol::notification::{self, Goodbye, GoodbyeReason, Notification};
use agent_team_protocol::rpc::{Frame, FrameKind, TeamRef};
use agent_team_protocol::{ErrorCode, LaunchId, Refusal};
use agent_team_system::connection::{FrameReader, FrameWriter, ReadFrameError};
use agent_team_system::descriptors;
use agent_team_system::directories::Directories;
use agent_team_system::socket::{Listener, Peer};
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::Instrument;

use dispatch::{Destination, RawCall, destination};

use crate::driver::{self, DriverHandle, Hello, Message, Query, Request, RequestKind};
use crate::machine::Machine;
use crate::outbox::{Outbox, Reply};
use crate::teams::Teams;

/// How long a client that has closed its sending side may wait for the answers to its earlier calls.
const HALF_CLOSED_LIMIT: Duration = Duration::from_secs(30);

/// How long a connection may take to send `initialize`.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(2);

pub(crate) struct Server {
    machine: Rc<dyn Machine>,
    pub(crate) teams: Teams,
    pub(crate) directories: Rc<Directories>,
    pub(crate) started: Instant,
    connections: Cell<u32>,
    clients: Cell<u32>,
    /// Maximum number of file descriptors of the supervisor.
    descriptors_max: u64,
    next_connection: Cell<u64>,
    /// Notified for every client that connects.
    client_connected: Notify,
    /// Notifies the main loop that the supervisor may have to exit.
    trigger: mpsc::UnboundedSender<ShutdownTrigger>,
    phase: Cell<Phase>,
    phase_changed: Notify,
}

/// ```text
/// Serving ── close ──► Closing ── every team is closed ──► Closed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// No connection is accepted and no frame is read. Calls that a driver has already accepted are still answered.
    /// Every other call stays unanswered: its caller sees the connection end, and repeats the call with the same key at
    /// the next supervisor. A refusal here would be final for the caller although the call may already be stored.
    Closing,
    /// Every connection receives this reason and is closed. This includes clients without a subscription: a client
    /// with an unanswered call must know whether to start the next supervisor.
    Closed(GoodbyeReason),
}

/// Why the supervisor may have to exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutdownTrigger {
    /// A client disconnected. The supervisor exits if no other client is connected and no team is up.
    ClientGone,
    /// `supervisor/stop`: all teams were taken down.
    Stop,
    /// `supervisor/restart`: another supervisor takes over.
    Restart,
}

/// The authenticated peer of one connection.
#[derive(Clone)]
struct ConnectionContext {
    by: Origin,
    caller: Caller,
    outbox: Outbox,
    /// The driver of the member's team; `None` for a client.
    driver: Option<DriverHandle>,
}

impl Server {
    pub(crate) fn new(
        machine: Rc<dyn Machine>,
        teams: Teams,
        directories: Rc<Directories>,
        trigger: mpsc::UnboundedSender<ShutdownTrigger>,
    ) -> Self {
        Self {
            machine,
            teams,
            directories,
            started: Instant::now(),
            connections: Cell::new(0),
            clients: Cell::new(0),
            descriptors_max: descriptors::limit(),
            next_connection: Cell::new(0),
            client_connected: Notify::new(),
            trigger,
            phase: Cell::new(Phase::Serving),
            phase_changed: Notify::new(),
        }
    }

    /// Returns once a client has connected.
    pub(crate) async fn first_client(&self) {
        self.client_connected.notified().await;
    }

    /// Whether another connection is allowed: `connections` must be less than `quarters` / 4 of the limit of file
    /// descriptors.
    fn has_room_for(&self, connections: u32, quarters: u64) -> bool {
        u64::from(connections) < self.descriptors_max / 4 * quarters
    }

    pub(crate) fn has_clients(&self) -> bool {
        self.clients.get() > 0
    }

    pub(crate) fn now(&self) -> Tick {
        Tick(self.machine.monotonic_ms())
    }

    /// Closes every team, then every connection. The order matters: members must receive the answers to their accepted
    /// calls before the goodbye. Returns when every connection is closed. A connection is closed when the goodbye is
    /// written, or after 200 ms if the peer does not read.
    pub(crate) async fn close(&self, goodbye: GoodbyeReason) {
        self.enter(Phase::Closing);
        self.teams.close(goodbye).await;
        self.enter(Phase::Closed(goodbye));
        loop {
            let changed = self.phase_changed.notified();
            if self.connections.get() == 0 {
                return;
            }
            changed.await;
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.phase_changed.notify_waiters();
    }

    fn is_closing(&self) -> bool {
        self.phase.get() != Phase::Serving
    }

    /// Returns when the supervisor stops serving.
    ///
    /// No wake-up is lost between the check and the wait: the phase changes only on this thread, on which the server
    /// and all connections run, and there is no await between the two.
    async fn wait_closing(&self) {
        while !self.is_closing() {
            self.phase_changed.notified().await;
        }
    }

    /// Returns the goodbye reason when connections must be closed.
    async fn wait_closed(&self) -> GoodbyeReason {
        loop {
            if let Phase::Closed(reason) = self.phase.get() {
                return reason;
            }
            self.phase_changed.notified().await;
        }
    }

    /// Sends a refusal, except while the supervisor is closing. The closing may have caused the refusal: see
    /// [`Phase::Closing`].
    fn refuse(&self, reply: Reply, refusal: Refusal) {
        if !self.is_closing() {
            reply.refuse(refusal);
        }
    }

    pub(crate) async fn accept(self: Rc<Self>, listener: Listener) {
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = self.wait_closing() => return,
            };
            match accepted {
                // A quarter of the descriptors is left for stores and process watches. Connections that send nothing
                // cannot occupy the other descriptors: they are closed after 2 s.
                Ok(stream) if !self.has_room_for(self.connections.get(), 3) => drop(stream),
                Ok(stream) => {
                    let peer = stream.peer();
                    let (reader, writer) = stream.into_halves();
                    let reader = FrameReader::new(reader, FIRST_FRAME_MAX);
                    let served = self.clone().serve(reader, FrameWriter::new(writer), peer);
                    tokio::task::spawn_local(served);
                }
                Err(error) => {
                    // Most likely EMFILE: accepting cannot succeed before other descriptors are closed, and an
                    // immediate retry would spin.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Serves one connection until it ends. Counts the connection synchronously, not in the returned future: in a
    /// burst, several connections are accepted before the tokio task of the first one runs, and none of them would
    /// count against the limit.
    pub(crate) fn serve(
        self: Rc<Self>,
        reader: FrameReader,
        writer: FrameWriter,
        peer: Peer,
    ) -> impl Future<Output = ()> {
        self.connections.set(self.connections.get() + 1);
        self.serve_counted(reader, writer, peer)
    }

    async fn serve_counted(
        self: Rc<Self>,
        mut reader: FrameReader,
        writer: FrameWriter,
        peer: Peer,
    ) {
        reader.set_limit(FIRST_FRAME_MAX);
        let outbox = Outbox::start(writer);
        let number = self.next_connection.get();
        self.next_connection.set(number + 1);
        let span = tracing::debug_span!("connection", number, pid = peer.pid);
        let served = self.serve_frames(&mut reader, &outbox, peer, number);
        served.instrument(span).await;
        outbox.close();
        outbox.flushed().await;
        self.connections.set(self.connections.get() - 1);
        if self.is_closing() {
            self.phase_changed.notify_waiters();
        }
    }

    async fn serve_frames(
        self: &Rc<Self>,
        reader: &mut FrameReader,
        outbox: &Outbox,
        peer: Peer,
        connection: u64,
    ) {
        let first = tokio::select! {
            biased;
            () = self.wait_closing() => return,
            first = tokio::time::timeout(FIRST_FRAME_LIMIT, reader.next()) => first,
        };
        let first = match first {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => return refuse_frame(outbox, &error),
            Err(_elapsed) => {
                let refusal = Refusal::new(
                    ErrorCode::InvalidRequest,
                    "no `initialize` request within 2 s",
                );
                return outbox.answer(agent_team_protocol::rpc::error(RawValue::NULL, refusal));
            }
        };
        let (id, initialize) = match read_initialize(&first) {
            Ok(read) => read,
            Err(refusal) => {
                return outbox.answer(agent_team_protocol::rpc::error(RawValue::NULL, refusal));
            }
        };
        let reply = Reply::new(outbox, &id);
        let protocol = match initialize::agree(PROTOCOL, initialize.protocol) {
            Ok(protocol) => protocol,
            Err(refusal) => return reply.refuse(refusal),
        };
        reader.set_limit(FRAME_MAX);
        match initialize.role {
            ConnectionRole::Client if !self.has_room_for(self.clients.get(), 2) => {
                let text = format!("too many clients: {}", self.clients.get());
                let refusal = Refusal::new(ErrorCode::TooManyCalls, text);
                reply.refuse(refusal.hint(
                    "close some clients, or restart the supervisor with a higher limit of open files: ulimit -n NUMBER",
                ));
            }
            ConnectionRole::Client => {
                self.clients.set(self.clients.get() + 1);
                self.client_connected.notify_one();
                let id = initialize.client.unwrap_or_default();
                reply.ok(&Initialized {
                    protocol,
                    build: BUILD.to_owned(),
                    pid: self.machine.own_pid(),
                    member: None,
                });
                let caller = Caller::Client(id);
                let context = ConnectionContext {
                    by: Origin::User,
                    caller,
                    outbox: outbox.clone(),
                    driver: None,
                };
                self.serve_calls(reader, &context).await;
                self.clients.set(self.clients.get() - 1);
                let _already_stopping = self.trigger.send(ShutdownTrigger::ClientGone);
            }
            ConnectionRole::Member => {
                self.serve_member(reader, reply, initialize, peer, protocol, connection)
                    .await
            }
        }
    }

    async fn serve_member(
        self: &Rc<Self>,
        reader: &mut FrameReader,
        reply: Reply,
        initialize: Initialize,
        peer: Peer,
        protocol: u32,
        connection: u64,
    ) {
        let outbox = reply.outbox().clone();
        let refused = |why: &str| Refusal::new(ErrorCode::Unauthenticated, why);
        let (Some(team), Some(launch), Some(token)) =
            (initialize.team, initialize.launch, initialize.token)
        else {
            return reply.refuse(refused(
                "a member must send its team, its launch and its token",
            ));
        };
        let process = peer
            .pid
            .and_then(|pid| self.machine.process(pid).ok().flatten());
        let Some(process) = process else {
            return reply.refuse(refused("cannot determine the process of the peer"));
        };
        let driver = match self.teams.find(Some(&TeamRef::Id(team))) {
            Ok(driver) => driver,
            // A worker exits on `unauthenticated` and retries after any other refusal. It must exit only if its team
            // certainly does not exist, not if the team's store cannot be read now.
            Err(refusal) if refusal.code == ErrorCode::UnknownTeam => {
                return reply.refuse(refused("the team of this launch does not exist"));
            }
            Err(refusal) => return self.refuse(reply, refusal),
        };
        let (admission_tx, admission_rx) = oneshot::channel();
        let hello = Hello {
            launch: launch.clone(),
            token,
            process,
            protocol,
            connection,
            admission_tx,
            reply,
        };
        let _driver_gone = driver.messages.send(Message::Hello(hello));
        // No name: the driver has refused the hello, or has stopped.
        let Ok(name) = admission_rx.await else { return };
        let context = ConnectionContext {
            by: Origin::Member {
                name,
                launch: launch.clone(),
            },
            caller: Caller::Launch(launch.clone()),
            outbox,
            driver: Some(driver.clone()),
        };
        self.serve_calls(reader, &context).await;
        let _driver_gone = driver
            .messages
            .send(Message::Disconnected { launch, connection });
    }

    /// Reads and handles frames until the connection ends.
    async fn serve_calls(self: &Rc<Self>, reader: &mut FrameReader, context: &ConnectionContext) {
        loop {
            let frame = tokio::select! {
                biased;
                frame = reader.next() => frame,
                () = context.outbox.closed() => return,
                () = self.wait_closing() => Ok(None),
            };
            if self.is_closing() {
                let reason = tokio::select! {
                    biased;
                    () = context.outbox.closed() => return,
                    reason = self.wait_closed() => reason,
                };
                return context.outbox.send_goodbye(&Goodbye {
                    reason,
                    error: None,
                });
            }
            if context.outbox.is_closed() {
                return;
            }
            match frame {
                Ok(Some(frame)) => {
                    if let Err(refusal) = self.handle_frame(&frame, context) {
                        return context
                            .outbox
                            .answer(agent_team_protocol::rpc::error(RawValue::NULL, refusal));
                    }
                }
                // A closed connection is the first sign that a worker has exited, so the driver is notified at once,
                // even while a call of the member is open. No worker closes only its sending side.
                Ok(None) if context.driver.is_some() => return,
                // A client may have closed only its sending side, for example a script that pipes calls into the
                // socket. Earlier calls get their answers. A call that waits for a condition does not keep the
                // connection open: the client may have exited.
                Ok(None) => tokio::select! {
                    biased;
                    () = context.outbox.calls_answered() => return,
                    () = self.wait_closing() => {}
                    () = tokio::time::sleep(HALF_CLOSED_LIMIT) => return,
                },
                Err(error) => return refuse_frame(&context.outbox, &error),
            }
            tokio::select! {
                biased;
                () = context.outbox.room_for_call() => {}
                () = self.wait_closing() => {}
            }
        }
    }

    /// Handles one frame of a client or a member. An error closes the connection.
    fn handle_frame(
        self: &Rc<Self>,
        frame: &str,
        context: &ConnectionContext,
    ) -> Result<(), Refusal> {
        match Frame::parse(frame)?.kind()? {
            FrameKind::Request { id, method, params } => {
                let reply = Reply::new(&context.outbox, id);
                match RawCall::read(&method, params) {
                    Ok(raw_call) => self.handle_request(&method, &raw_call, context, reply),
                    Err(refusal) => reply.refuse(refusal),
                }
            }
            FrameKind::Notification { method, params } => {
                if let (Origin::Member { launch, .. }, Some(driver)) =
                    (&context.by, &context.driver)
                {
                    handle_notification(&method, params, launch, driver)?;
                }
            }
            FrameKind::Response { .. } => {
                if let (Origin::Member { launch, .. }, Some(driver)) =
                    (&context.by, &context.driver)
                {
                    send_to_driver(driver, Message::Activity(launch.clone()));
                }
            }
        }
        Ok(())
    }

    fn handle_request(
        self: &Rc<Self>,
        method: &str,
        raw_call: &RawCall<'_>,
        context: &ConnectionContext,
        reply: Reply,
    ) {
        let key = raw_call.key.as_deref();
        let _entered = tracing::debug_span!("request", method, by = ?context.by, key).entered();
        tracing::debug!("received");
        let method = match MethodEntry::find(method) {
            Ok(method) => method,
            Err(refusal) => return reply.refuse(refusal),
        };
        let destination = MethodCall::decode(method.name, raw_call.args).and_then(destination);
        let (key, digest) = (raw_call.key.clone(), raw_call.digest);
        if let Some(driver) = &context.driver {
            // Only the driver knows whether the member is the lead, so the driver checks the caller. After that check,
            // the driver also refuses unreadable arguments and calls about the supervisor.
            let kind = match destination {
                Ok(Destination::Team(kind)) => kind,
                Ok(Destination::Supervisor(_)) => {
                    refusal_query(Refusal::unknown_method(method.name))
                }
                Err(refusal) => refusal_query(refusal),
            };
            return context.call_driver(driver, method, key, digest, reply, kind);
        }
        match method.check(CallerRole::User).and(destination) {
            Ok(Destination::Team(kind)) => match self.teams.find(raw_call.team.as_ref()) {
                Ok(driver) => context.call_driver(&driver, method, key, digest, reply, kind),
                Err(refusal) => self.refuse(reply, refusal),
            },
            Ok(Destination::Supervisor(call)) => {
                // The call can wait for several teams, so it runs in its own tokio task: the server continues to read
                // the connection.
                let (server, context) = (self.clone(), context.clone());
                let team = raw_call.team.clone();
                tokio::task::spawn_local(async move {
                    server
                        .answer(call, team, key, digest, &context, reply)
                        .await;
                });
            }
            Err(refusal) => reply.refuse(refusal),
        }
    }
}

fn refusal_query(refusal: Refusal) -> RequestKind {
    RequestKind::Query(Query::new(move |_, _, reply| reply.refuse(refusal)))
}

impl ConnectionContext {
    fn call_driver(
        &self,
        driver: &DriverHandle,
        method: MethodEntry,
        key: Option<String>,
        digest: u64,
        reply: Reply,
        kind: RequestKind,
    ) {
        let (by, caller) = (self.by.clone(), self.caller.clone());
        send_to_driver(
            driver,
            Message::Called(Request {
                by,
                caller,
                key,
                digest,
                reply,
                method,
                kind,
            }),
        );
    }
}

fn send_to_driver(driver: &DriverHandle, message: Message) {
    // A driver that has stopped has closed its store. Callers of a deleted team receive a refusal; when the
    // supervisor stops, the callers see the connection end.
    if let Err(mpsc::error::SendError(Message::Called(request))) = driver.messages.send(message)
        && driver.flags.is_deleted.get()
    {
        request.reply.refuse(driver::deleted());
    }
}

/// Handles a notification of a member. Unknown notifications are ignored, because a newer worker may send them.
fn handle_notification(
    method: &str,
    params: &RawValue,
    launch: &LaunchId,
    driver: &DriverHandle,
) -> Result<(), Refusal> {
    fn read<N: Notification>(params: &RawValue) -> Result<N, Refusal> {
        serde_json::from_str(params.get()).map_err(|error| Refusal::invalid_params(N::NAME, &error))
    }
    let launch = launch.clone();
    send_to_driver(
        driver,
        match method {
            notification::TaskOutput::NAME => Message::Output(launch, read(params)?),
            notification::TaskSession::NAME => Message::Session(launch, read(params)?),
            notification::PaneLost::NAME => Message::PaneLost(launch),
            notification::PaneTooSmall::NAME | notification::PaneGrown::NAME => {
                Message::PaneResized
            }
            notification::PaneShown::NAME => Message::PaneShown(launch, read(params)?),
            notification::MemberWaits::NAME => Message::Waiting(launch, read(params)?),
            notification::MemberModel::NAME => Message::Model(launch, read(params)?),
            notification::MemberScreen::NAME => Message::Screen(launch, read(params)?),
            notification::MemberPrompts::NAME => Message::Prompts(launch, read(params)?),
            _ => return Ok(()),
        },
    );
    Ok(())
}

fn read_initialize(frame: &str) -> Result<(Box<RawValue>, Initialize), Refusal> {
    match Frame::parse(frame)?.kind()? {
        FrameKind::Request { id, method, params } if method == initialize::METHOD => {
            let initialize = serde_json::from_str(params.get())
                .map_err(|error| Refusal::invalid_params(initialize::METHOD, &error))?;
            Ok((id.to_owned(), initialize))
        }
        FrameKind::Request { .. } | FrameKind::Notification { .. } | FrameKind::Response { .. } => {
            Err(Refusal::invalid_request(
                "the first frame must be an `initialize` request",
            ))
        }
    }
}

fn refuse_frame(outbox: &Outbox, error: &ReadFrameError) {
    if let ReadFrameError::Frame(error) = error {
        let code = match error {
            FrameError::TooLong(_) => ErrorCode::FrameTooLarge,
            FrameError::TooDeep | FrameError::NotText => ErrorCode::ParseError,
        };
        let refusal = Refusal::new(code, error.to_string());
        outbox.send_goodbye(&Goodbye {
            reason: GoodbyeReason::Closed,
            error: Some(refusal),
        });
    }
}
