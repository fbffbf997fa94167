//! The socket: who connects as what, and which call goes to which team.
//!
//! A connection is a client, which is the user, or a member, which is what its launch says whatever its frames say.
//! Calls that concern one team go to its driver; this module answers only for the supervisor as a whole.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use agent_team_core::input::{ClaimRef, Verdict};
use agent_team_core::{Call, Caller, Origin};
use agent_team_protocol::codec::{FIRST_FRAME_MAX, FRAME_MAX, FrameError};
use agent_team_protocol::id::stable_hash;
use agent_team_protocol::initialize::{
    self, BUILD, ConnectionRole, Initialize, Initialized, PROTOCOL,
};
use agent_team_protocol::method::{self as m, Method, Nothing};
use agent_team_protocol::notification::{self, Goodbye, GoodbyeReason, Notification};
use agent_team_protocol::rpc::{Frame, KEY_MAX, Kind, TeamRef};
use agent_team_protocol::view::SupervisorView;
use agent_team_protocol::{ErrorCode, LaunchId, Refusal, TeamId};
use agent_team_system::connection::{FrameReader, FrameWriter, ReadFrameError};
use agent_team_system::directories::Directories;
use agent_team_system::process::{ProcessId, resident_bytes};
use agent_team_system::socket::{Listener, Peer, Stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::convert;
use crate::driver::{Asked, DriverHandle, Hello, Message, Request, WantedTeam};
use crate::launch::place;
use crate::outbox::{Outbox, Reply};
use crate::teams::Teams;

/// How long a connection may take to say who it is.
const FIRST_FRAME_LIMIT: Duration = Duration::from_secs(2);

pub(crate) struct Server {
    pub(crate) teams: Teams,
    pub(crate) directories: Rc<Directories>,
    pub(crate) started: Instant,
    connections: Cell<u32>,
    clients: Cell<u32>,
    next_connection: Cell<u64>,
    /// Told when something happened after which the supervisor may have to end.
    ending: mpsc::UnboundedSender<Ending>,
}

/// Why the supervisor may have to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A client went; perhaps there is nothing left to do.
    ClientGone,
    /// Its teams were ended.
    Stop,
    /// Another takes over.
    Restart,
}

/// Who calls over one connection.
#[derive(Clone)]
struct Correspondent {
    by: Origin,
    caller: Caller,
    outbox: Outbox,
    /// A member's own team.
    driver: Option<DriverHandle>,
}

impl Server {
    pub(crate) fn new(
        teams: Teams,
        directories: Rc<Directories>,
        ending: mpsc::UnboundedSender<Ending>,
    ) -> Self {
        Self {
            teams,
            directories,
            started: Instant::now(),
            connections: Cell::new(0),
            clients: Cell::new(0),
            next_connection: Cell::new(0),
            ending,
        }
    }

    pub(crate) fn has_clients(&self) -> bool {
        self.clients.get() > 0
    }

    pub(crate) async fn accept(self: Rc<Self>, listener: Listener) {
        loop {
            match listener.accept().await {
                Ok(stream) => {
                    tokio::task::spawn_local(self.clone().serve(stream));
                }
                Err(error) => {
                    // Too many open files, most likely: others must end before there can be more.
                    tracing::error!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve(self: Rc<Self>, stream: Stream) {
        let peer = stream.peer();
        let (read, write) = stream.into_halves();
        let mut reader = FrameReader::new(read, FIRST_FRAME_MAX);
        let outbox = Outbox::start(FrameWriter::new(write));
        self.connections.set(self.connections.get() + 1);
        self.serve_frames(&mut reader, &outbox, peer).await;
        outbox.close();
        self.connections.set(self.connections.get() - 1);
    }

    async fn serve_frames(self: &Rc<Self>, reader: &mut FrameReader, outbox: &Outbox, peer: Peer) {
        let first = match tokio::time::timeout(FIRST_FRAME_LIMIT, reader.next()).await {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => return refuse_frame(outbox, &error),
            Err(_elapsed) => {
                let refusal = Refusal::new(
                    ErrorCode::InvalidRequest,
                    "initialize did not come within 2 s",
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
            ConnectionRole::Client => {
                self.clients.set(self.clients.get() + 1);
                let id = initialize.client.unwrap_or_default();
                reply.ok(&Initialized {
                    protocol,
                    build: BUILD.to_owned(),
                    pid: std::process::id(),
                    member: None,
                });
                let caller = Caller::Client(id);
                let correspondent = Correspondent {
                    by: Origin::User,
                    caller,
                    outbox: outbox.clone(),
                    driver: None,
                };
                self.calls(reader, &correspondent).await;
                self.clients.set(self.clients.get() - 1);
                let _ending_already = self.ending.send(Ending::ClientGone);
            }
            ConnectionRole::Member => {
                self.serve_member(reader, reply, initialize, peer, protocol)
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
    ) {
        let outbox = reply.outbox().clone();
        let refused = |why: &str| Refusal::new(ErrorCode::Unauthenticated, why);
        let (Some(team), Some(launch), Some(token)) =
            (initialize.team, initialize.launch, initialize.token)
        else {
            return reply.refuse(refused("a member shows its team, its launch and its token"));
        };
        let process = peer.pid.and_then(|pid| ProcessId::of(pid).ok().flatten());
        let Some(process) = process else {
            return reply.refuse(refused("the peer's process is not known"));
        };
        let driver = match self.teams.find(Some(&TeamRef::Id(team))) {
            Ok(driver) => driver,
            Err(refusal) if refusal.code == ErrorCode::UnknownTeam => {
                return reply.refuse(refused("this launch's team is gone"));
            }
            Err(refusal) => return reply.refuse(refusal),
        };
        let connection = self.next_connection.get();
        self.next_connection.set(connection + 1);
        let (admitted, admission) = oneshot::channel();
        let hello = Hello {
            launch: launch.clone(),
            token,
            process,
            protocol,
            connection,
            admitted,
            reply,
        };
        let _driver_gone = driver.messages.send(Message::Hello(hello));
        // A refusal has been answered by the driver.
        let Ok(name) = admission.await else { return };
        let correspondent = Correspondent {
            by: Origin::Member {
                name,
                launch: launch.clone(),
            },
            caller: Caller::Launch(launch.clone()),
            outbox,
            driver: Some(driver.clone()),
        };
        self.calls(reader, &correspondent).await;
        let _driver_gone = driver
            .messages
            .send(Message::Disconnected { launch, connection });
    }

    /// Takes frames until the connection ends.
    async fn calls(self: &Rc<Self>, reader: &mut FrameReader, peer: &Correspondent) {
        loop {
            let frame = tokio::select! {
                frame = reader.next() => frame,
                () = peer.outbox.closed() => return,
            };
            match frame {
                Ok(Some(frame)) => {
                    if let Err(refusal) = self.frame(&frame, peer) {
                        return peer
                            .outbox
                            .answer(agent_team_protocol::rpc::error(RawValue::NULL, refusal));
                    }
                }
                Ok(None) => return,
                Err(error) => return refuse_frame(&peer.outbox, &error),
            }
            // A caller that does not read its answers is not read either.
            peer.outbox.room().await;
        }
    }

    /// An error closes the connection.
    fn frame(self: &Rc<Self>, frame: &str, peer: &Correspondent) -> Result<(), Refusal> {
        match Frame::parse(frame)?.kind()? {
            Kind::Request { id, method, params } => {
                let reply = Reply::new(&peer.outbox, id);
                match Envelope::read(&method, params) {
                    Ok(envelope) => self.request(&method, &envelope, peer, reply),
                    Err(refusal) => reply.refuse(refusal),
                }
            }
            Kind::Notification { method, params } => {
                if let (Origin::Member { launch, .. }, Some(driver)) = (&peer.by, &peer.driver) {
                    notified(&method, params, launch, driver)?;
                }
            }
            Kind::Response { .. } => {
                if let (Origin::Member { launch, .. }, Some(driver)) = (&peer.by, &peer.driver) {
                    tell(driver, Message::Heard(launch.clone()));
                }
            }
        }
        Ok(())
    }

    fn request(
        self: &Rc<Self>,
        method: &str,
        envelope: &Envelope<'_>,
        peer: &Correspondent,
        reply: Reply,
    ) {
        match destination(method, envelope) {
            Ok(Destination::Team(asked)) => {
                let driver = match &peer.driver {
                    Some(driver) => Ok(driver.clone()),
                    None => self.teams.find(envelope.team.as_ref()),
                };
                match driver {
                    Ok(driver) => {
                        peer.ask(&driver, envelope.key.clone(), envelope.digest, reply, asked)
                    }
                    Err(refusal) => reply.refuse(refusal),
                }
            }
            Ok(Destination::Supervisor(_)) if peer.by != Origin::User => {
                let text = format!("only the user may call {method}");
                reply.refuse(Refusal::new(ErrorCode::NotPermitted, text));
            }
            Ok(Destination::Supervisor(Question::Teams)) => {
                reply.ok(&m::TeamListAnswer {
                    teams: self.teams.list(),
                });
            }
            Ok(Destination::Supervisor(question)) => {
                // It may wait for others; the connection goes on meanwhile.
                let (team, key, digest) =
                    (envelope.team.clone(), envelope.key.clone(), envelope.digest);
                let (server, peer) = (self.clone(), peer.clone());
                tokio::task::spawn_local(async move {
                    server
                        .answer(question, team, key, digest, &peer, reply)
                        .await;
                });
            }
            Err(refusal) => reply.refuse(refusal),
        }
    }

    async fn answer(
        &self,
        question: Question,
        team: Option<TeamRef>,
        key: Option<String>,
        digest: u64,
        peer: &Correspondent,
        reply: Reply,
    ) {
        match question {
            // Answered at once, before it came to this.
            Question::Teams => {}
            Question::Status => reply.ok(&self.status().await),
            Question::Up(up) => self.up(*up, key, digest, peer, reply).await,
            Question::Delete => {
                let deleted = match self.teams.find(team.as_ref()) {
                    Ok(driver) => self.teams.delete(&driver).await,
                    Err(refusal) => Err(refusal),
                };
                match deleted {
                    Ok(answer) => reply.ok(&answer),
                    Err(refusal) => reply.refuse(refusal),
                }
            }
            Question::Stop => {
                let receipts = self.down_all(peer).await;
                reply.ok(&m::DownAnswer { receipts });
                let _ending_already = self.ending.send(Ending::Stop);
            }
            Question::Restart => {
                reply.ok(&Nothing {});
                let _ending_already = self.ending.send(Ending::Restart);
            }
        }
    }

    /// A new team that was only looked at, or was refused, is not left on disk.
    async fn up(
        &self,
        up: m::Up,
        key: Option<String>,
        digest: u64,
        peer: &Correspondent,
        reply: Reply,
    ) {
        let dry_run = up.dry_run;
        let team = TeamId::new(&up.spec.name, &up.spec.project);
        let was_there = self.directories.team(team.as_str()).exists();
        let (driver, wanted) = match self.wanted(up).await {
            Ok(wanted) => wanted,
            Err(refusal) => return reply.refuse(refusal),
        };
        let asked = Asked::Up(Box::new(wanted));
        if was_there {
            return peer.ask(&driver, key, digest, reply, asked);
        }
        let (inward, answer) = Reply::inward(&peer.outbox);
        peer.ask(&driver, key, digest, inward, asked);
        let answer = answer.await;
        if (dry_run || !matches!(answer, Ok(Ok(_))))
            && let Err(refusal) = self.teams.delete(&driver).await
        {
            tracing::error!(%team, %refusal, "a team that was not started is left on disk");
        }
        match answer.map(|answer| answer.map(RawValue::from_string)) {
            Ok(Ok(Ok(answer))) => reply.ok(&answer),
            Ok(Ok(Err(error))) => reply.refuse(Refusal::internal(error.to_string())),
            Ok(Err(refusal)) => reply.refuse(refusal),
            // The driver has closed its team: its callers see their connection end.
            Err(_driver_gone) => {}
        }
    }

    async fn wanted(&self, up: m::Up) -> Result<(DriverHandle, WantedTeam), Refusal> {
        let m::Up {
            spec,
            environment,
            terminal,
            dry_run,
            fresh,
        } = up;
        let place = place::choose(spec.placement, &terminal, &self.directories).await?;
        let driver = self.teams.for_up(&spec, fresh && !dry_run).await?;
        Ok((
            driver,
            WantedTeam {
                spec,
                environment,
                place,
                dry_run,
            },
        ))
    }

    async fn status(&self) -> SupervisorView {
        let mut teams = Vec::new();
        for driver in self.teams.drivers() {
            let (reply, status) = oneshot::channel();
            tell(&driver, Message::Status(reply));
            teams.extend(status.await);
        }
        let pid = std::process::id();
        SupervisorView {
            pid,
            build: BUILD.to_owned(),
            protocol: PROTOCOL.max,
            socket: self.directories.socket(),
            log: self.directories.supervisor_log(),
            up_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            resident_bytes: resident_bytes(pid).ok().flatten().unwrap_or(0),
            connections: self.connections.get(),
            teams,
        }
    }

    /// Takes every team down; what survived is in the receipts.
    async fn down_all(&self, peer: &Correspondent) -> Vec<agent_team_protocol::view::Receipt> {
        let mut receipts = Vec::new();
        for driver in self.teams.drivers() {
            let (reply, answer) = Reply::inward(&peer.outbox);
            peer.ask(
                &driver,
                None,
                0,
                reply,
                Asked::Change(Box::new(Call::Down { force: false })),
            );
            match answer.await {
                Ok(Ok(answer)) => {
                    let answer: Result<m::DownAnswer, _> = serde_json::from_str(&answer);
                    receipts.extend(answer.map(|answer| answer.receipts).unwrap_or_default());
                }
                Ok(Err(refusal)) => {
                    tracing::error!(team = %driver.identity.team, %refusal, "cannot take it down")
                }
                Err(_driver_gone) => {}
            }
        }
        receipts
    }
}

impl Correspondent {
    fn ask(
        &self,
        driver: &DriverHandle,
        key: Option<String>,
        digest: u64,
        reply: Reply,
        asked: Asked,
    ) {
        let (by, caller) = (self.by.clone(), self.caller.clone());
        tell(
            driver,
            Message::Called(Request {
                by,
                caller,
                key,
                digest,
                reply,
                asked,
            }),
        );
    }
}

fn tell(driver: &DriverHandle, message: Message) {
    // A driver that is gone has closed its team: its callers see their connection end with the supervisor's.
    let _driver_gone = driver.messages.send(message);
}

/// A call before it is known what it asks for.
struct Envelope<'a> {
    team: Option<TeamRef>,
    key: Option<String>,
    args: &'a RawValue,
    digest: u64,
    method: &'a str,
}

impl<'a> Envelope<'a> {
    fn read(method: &'a str, params: &'a RawValue) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Read<'a> {
            #[serde(default)]
            team: Option<TeamRef>,
            #[serde(default)]
            key: Option<String>,
            #[serde(borrow)]
            args: &'a RawValue,
        }
        let Read { team, key, args } = serde_json::from_str(params.get())
            .map_err(|error| Refusal::invalid_params(method, &error))?;
        if key.as_ref().is_some_and(|key| key.len() > KEY_MAX) {
            return Err(Refusal::new(
                ErrorCode::InvalidParams,
                format!("a key is at most {KEY_MAX} bytes long"),
            ));
        }
        Ok(Self {
            team,
            key,
            args,
            digest: digest(method, args.get()),
            method,
        })
    }

    fn args<M: Method>(&self) -> Result<M::Args, Refusal> {
        self.parse()
    }

    fn parse<A: DeserializeOwned>(&self) -> Result<A, Refusal> {
        serde_json::from_str(self.args.get())
            .map_err(|error| Refusal::invalid_params(self.method, &error))
    }
}

/// Tells two calls with one key apart, by the method and its arguments as they were sent.
fn digest(method: &str, args: &str) -> u64 {
    stable_hash(method.bytes().chain([0]).chain(args.bytes()))
}

enum Destination {
    Team(Asked),
    Supervisor(Question),
}

/// What concerns the supervisor as a whole.
enum Question {
    Teams,
    Status,
    Up(Box<m::Up>),
    Delete,
    Stop,
    Restart,
}

fn destination(method: &str, call: &Envelope<'_>) -> Result<Destination, Refusal> {
    let change = |call: Call| Ok(Destination::Team(Asked::Change(Box::new(call))));
    let read = |asked: Asked| Ok(Destination::Team(asked));
    let question = |question: Question| Ok(Destination::Supervisor(question));
    let claim = |end: &m::EndTask| ClaimRef {
        task: end.task,
        generation: end.generation,
    };
    match method {
        m::TeamUp::NAME => question(Question::Up(Box::new(call.args::<m::TeamUp>()?))),
        m::TeamDown::NAME => change(Call::Down {
            force: call.args::<m::TeamDown>()?.force,
        }),
        m::TeamList::NAME => question(Question::Teams),
        m::TeamShow::NAME => read(Asked::ShowTeam),
        m::TeamDelete::NAME => question(Question::Delete),
        m::TeamWait::NAME => read(Asked::Wait),
        m::TeamAttach::NAME => read(Asked::Attach(call.args::<m::TeamAttach>()?)),

        m::MemberSpawn::NAME => Ok(Destination::Team(Asked::Spawn(
            call.args::<m::MemberSpawn>()?,
        ))),
        m::MemberStop::NAME => change(Call::Stop {
            member: call.args::<m::MemberStop>()?.member,
        }),
        m::MemberKill::NAME => change(Call::Kill {
            member: call.args::<m::MemberKill>()?.member,
        }),
        m::MemberRestart::NAME => change(Call::Restart {
            member: call.args::<m::MemberRestart>()?.member,
        }),
        m::MemberShow::NAME => read(Asked::ShowMember(call.args::<m::MemberShow>()?.member)),
        m::MemberLog::NAME => read(Asked::FindLog(call.args::<m::MemberLog>()?.member)),
        m::MemberExit::NAME => {
            let m::Exit { code, reason, hold } = call.args::<m::MemberExit>()?;
            change(Call::LastWords { code, reason, hold })
        }

        m::MessageSend::NAME => {
            let m::SendMessage { to, text, urgent } = call.args::<m::MessageSend>()?;
            change(Call::Send {
                to,
                text: text.into(),
                urgent,
            })
        }
        m::MessageRead::NAME => change(Call::Read {
            messages: call.args::<m::MessageRead>()?.messages,
        }),
        m::MessageList::NAME => read(Asked::ListMessages(call.args::<m::MessageList>()?)),

        m::TaskAdd::NAME => {
            let spec = call.args::<m::TaskAdd>()?.spec;
            let after = convert::after(&spec.after);
            change(Call::AddTask {
                plan: convert::task_plan(spec),
                after,
            })
        }
        m::TaskList::NAME => read(Asked::ListTasks(call.args::<m::TaskList>()?)),
        m::TaskShow::NAME => read(Asked::ShowTask(call.args::<m::TaskShow>()?.task)),
        m::TaskUpdate::NAME => {
            let m::UpdateTask { task, changes } = call.args::<m::TaskUpdate>()?;
            change(Call::UpdateTask {
                task,
                changes: Box::new(convert::task_changes(changes)),
            })
        }
        m::TaskClaim::NAME => change(Call::ClaimTask {
            task: call.args::<m::TaskClaim>()?.task,
        }),
        m::TaskAssign::NAME => {
            let m::AssignTask { task, member } = call.args::<m::TaskAssign>()?;
            change(Call::AssignTask { task, member })
        }
        m::TaskComplete::NAME => {
            let end = call.args::<m::TaskComplete>()?;
            change(Call::CompleteTask {
                claim: claim(&end),
                result: end.text.into(),
                verdict: Verdict::Unasked,
            })
        }
        m::TaskFail::NAME => {
            let end = call.args::<m::TaskFail>()?;
            change(Call::FailTask {
                claim: claim(&end),
                reason: end.text.into(),
            })
        }
        m::TaskRelease::NAME => {
            let end = call.args::<m::TaskRelease>()?;
            change(Call::ReleaseTask {
                claim: claim(&end),
                note: end.text.into(),
            })
        }
        m::TaskRetry::NAME => change(Call::RetryTask {
            task: call.args::<m::TaskRetry>()?.task,
        }),
        m::TaskCancel::NAME => change(Call::CancelTask {
            task: call.args::<m::TaskCancel>()?.task,
        }),

        m::EventSubscribe::NAME => read(Asked::Subscribe(call.args::<m::EventSubscribe>()?)),

        m::SupervisorStatus::NAME => question(Question::Status),
        m::SupervisorStop::NAME => question(Question::Stop),
        m::SupervisorRestart::NAME => question(Question::Restart),

        _ => Err(Refusal::new(
            ErrorCode::MethodNotFound,
            format!("there is no method {method}"),
        )),
    }
}

/// What a member tells without asking. Unknown notifications are passed over: a newer worker may send them.
fn notified(
    method: &str,
    params: &RawValue,
    launch: &LaunchId,
    driver: &DriverHandle,
) -> Result<(), Refusal> {
    fn read<N: Notification>(params: &RawValue) -> Result<N, Refusal> {
        serde_json::from_str(params.get()).map_err(|error| Refusal::invalid_params(N::NAME, &error))
    }
    let launch = launch.clone();
    tell(
        driver,
        match method {
            notification::TaskOutput::NAME => Message::Output(launch, read(params)?),
            notification::TaskSession::NAME => Message::Session(launch, read(params)?),
            notification::PaneLost::NAME => Message::PaneLost(launch),
            _ => return Ok(()),
        },
    );
    Ok(())
}

fn read_initialize(frame: &str) -> Result<(Box<RawValue>, Initialize), Refusal> {
    match Frame::parse(frame)?.kind()? {
        Kind::Request { id, method, params } if method == initialize::METHOD => {
            let initialize = serde_json::from_str(params.get())
                .map_err(|error| Refusal::invalid_params(initialize::METHOD, &error))?;
            Ok((id.to_owned(), initialize))
        }
        Kind::Request { .. } | Kind::Notification { .. } | Kind::Response { .. } => {
            Err(Refusal::invalid_request("the first frame is initialize"))
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
        outbox.farewell(&Goodbye {
            reason: GoodbyeReason::Closed,
            error: Some(refusal),
        });
    }
}
