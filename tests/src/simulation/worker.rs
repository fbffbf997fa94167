//! The simulated workers: futures that use the protocol of the real workers over the simulated network. A worker takes
//! its launch file, connects, runs its assigned tasks, reads its messages, and asks for permission before it runs a
//! command. When a worker loses the connection, it connects again, or starts a supervisor if none runs, and repeats its
//! unanswered calls with their keys.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use agent_team_client::{Arrival, CallError, Client, ConnectError, Incoming};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::initialize::{Initialize, Welcome};
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::{
    EndTask, Exit, MemberExit, MemberPing, MessageRead, Method, Nothing, ReadMessages, RequestAsk,
    RequestBegin, RequestEnd, RequestWait, TaskComplete, TaskFail,
};
use agent_team_protocol::notification::{
    Abandon, Assignment, Deliver, DeliveredMessage, Goodbye, GoodbyeReason, Notification,
    StopMember,
};
use agent_team_protocol::request::{AskRequest, Decided, OneRequest, Permission};
use agent_team_protocol::rpc;
use agent_team_protocol::{ErrorCode, MessageId, Refusal};
use serde_json::value::to_raw_value;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::machine::Start;
use super::network::introduce;
use super::{PROJECT, World};
use crate::torture::history::Mark;
use crate::torture::workload::{asked_command, shell_line};

/// The minimum duration of a connection that does not count as a failure.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// How a connection ended.
enum Ended {
    Lost,
    Restarting,
    /// The worker must exit, and makes no further connection.
    Over,
}

/// Runs a worker until it is killed or exits.
pub(super) async fn run(world: Rc<World>, start: Start) {
    world.machine.pause(1, 12).await;
    let file = take(&start.launch_file);
    if let Some(file) = file {
        world.note_worker(start.pid, &file.member);
        Worker::new(world.clone(), start.pid, file)
            .run_to_end()
            .await;
    }
    world.machine.exit(start.pid);
}

/// Takes the launch: the process that removes the launch file owns the launch.
fn take(path: &PathBuf) -> Option<LaunchFile> {
    let bytes = fs::read(path).ok()?;
    fs::remove_file(path).ok()?;
    Some(serde_json::from_slice(&bytes).expect("the supervisor writes whole launch files"))
}

/// State that the worker's activities share.
struct Shared {
    world: Rc<World>,
    pid: u32,
    name: String,
    /// `None` while there is no connection.
    client: RefCell<Option<Client>>,
    connected: Notify,
    keys: Cell<u64>,
    /// Messages that the supervisor has acknowledged as read.
    read: RefCell<BTreeSet<MessageId>>,
}

impl Shared {
    /// Makes a call. Repeats the call with its key on each new connection until the supervisor answers.
    async fn call<M: Method<Args: Clone>>(&self, args: M::Args) -> Result<M::Answer, Refusal> {
        let key = self.keys.replace(self.keys.get() + 1);
        let call = rpc::Call {
            team: None,
            key: Some(key.to_string()),
            args,
        };
        loop {
            let notified = self.connected.notified();
            let client = self.client.borrow().clone();
            let Some(client) = client else {
                notified.await;
                continue;
            };
            let answer = match self.world.machine.roll(24) {
                0 => self.call_twice::<M>(&client, &call).await,
                _ => client.call::<M>(&call).await,
            };
            match answer {
                Ok(answer) => return Ok(answer),
                // The refusal may be temporary. Repeating the call with its key is safe, even if the call was stored.
                Err(CallError::Refused(refusal))
                    if [ErrorCode::StorageFull, ErrorCode::StorageFailed]
                        .contains(&refusal.code) =>
                {
                    self.world.machine.pause(50, 500).await;
                }
                Err(CallError::Refused(refusal)) => return Err(refusal),
                Err(CallError::Answer { method, source }) => {
                    panic!("cannot decode the answer to {method}: {source}")
                }
                Err(CallError::Disconnected) => {
                    drop(client);
                    notified.await;
                }
            }
        }
    }

    /// Sends the same call twice, concurrently over one connection. Checks that both get the same answer.
    async fn call_twice<M: Method>(
        &self,
        client: &Client,
        call: &rpc::Call<M::Args>,
    ) -> Result<M::Answer, CallError> {
        let (one, other) = tokio::join!(biased; client.call::<M>(call), client.call::<M>(call));
        if let (Ok(one), Ok(other)) = (&one, &other)
            && serde_json::to_string(one).ok() != serde_json::to_string(other).ok()
        {
            let text = format!(
                "two calls of {} with the same key received different answers",
                M::NAME
            );
            self.world.contradiction(text);
        }
        one
    }
}

struct Worker {
    shared: Rc<Shared>,
    initialize: Initialize,
    /// Futures that end with the worker.
    activities: JoinSet<()>,
    /// The assigned task of the board, and the activity that runs it.
    run: Option<(Assignment, AbortHandle)>,
    runs: u32,
    inbox: mpsc::UnboundedSender<DeliveredMessage>,
    /// The newest message that was delivered over this connection.
    newest: Option<MessageId>,
    queued: BTreeSet<MessageId>,
    leaving: bool,
}

impl Worker {
    fn new(world: Rc<World>, pid: u32, file: LaunchFile) -> Self {
        let shared = Rc::new(Shared {
            world,
            pid,
            name: file.member.to_string(),
            client: RefCell::default(),
            connected: Notify::new(),
            keys: Cell::new(1),
            read: RefCell::default(),
        });
        let (inbox, messages) = mpsc::unbounded_channel();
        let mut activities = JoinSet::new();
        activities.spawn_local(read(shared.clone(), file.engine, messages));
        Self {
            shared,
            initialize: Initialize::member(file.team, file.launch, file.token),
            activities,
            run: None,
            runs: 0,
            inbox,
            newest: None,
            queued: BTreeSet::new(),
            leaving: false,
        }
    }

    async fn run_to_end(mut self) {
        let world = self.shared.world.clone();
        let mut failures = 0;
        loop {
            let since = Instant::now();
            let introduced = introduce(&world.network, Some(self.shared.pid), &self.initialize);
            let ended = match introduced.await {
                None => {
                    world.supervisors.start();
                    Ended::Lost
                }
                Some(Err(ConnectError::Refused(refusal)))
                    if refusal.code == ErrorCode::Unauthenticated =>
                {
                    return;
                }
                Some(Err(_)) => Ended::Lost,
                Some(Ok((client, incoming))) => self.serve(client, incoming).await,
            };
            self.shared.client.replace(None);
            if since.elapsed() >= SETTLED_AFTER {
                failures = 0;
            }
            match ended {
                Ended::Over => return,
                Ended::Restarting => sleep(Duration::from_secs(2)).await,
                Ended::Lost if failures == 0 => world.machine.pause(0, 20).await,
                Ended::Lost => sleep(Duration::from_millis(50 << failures.min(6))).await,
            }
            failures += 1;
        }
    }

    async fn serve(&mut self, client: Client, mut incoming: Incoming) -> Ended {
        let Some(welcome) = client.initialized().member.clone() else {
            return Ended::Lost;
        };
        self.newest = None;
        self.on_welcome(welcome);
        self.shared.client.replace(Some(client.clone()));
        self.shared.connected.notify_waiters();
        loop {
            let arrival = tokio::select! {
                biased;
                arrival = incoming.next() => arrival,
                Some(_ended) = self.activities.join_next() => {
                    if self.leaving && self.is_gone() {
                        return Ended::Over;
                    }
                    continue;
                }
            };
            let (method, params) = match arrival {
                None => return Ended::Lost,
                Some(Arrival::Request { id, method, .. }) => {
                    if method == MemberPing::NAME && client.answer(&id, &Nothing {}).await.is_err()
                    {
                        return Ended::Lost;
                    }
                    continue;
                }
                Some(Arrival::Notification { method, params }) => (method, params),
            };
            match method.as_str() {
                Assignment::NAME => self.on_assignment(read_as(params.get())),
                Abandon::NAME => self.abandon(&read_as(params.get())),
                Deliver::NAME => self.on_delivery(read_as(params.get())),
                StopMember::NAME => self.stop(),
                Goodbye::NAME => return connection_end(&read_as(params.get())),
                _ => {}
            }
        }
    }

    fn on_welcome(&mut self, welcome: Welcome) {
        match welcome.assignment {
            Some(assignment) => self.on_assignment(assignment),
            None => self.abort_run(),
        }
    }

    fn abort_run(&mut self) {
        if let Some((_, run)) = self.run.take() {
            run.abort();
        }
    }

    fn on_assignment(&mut self, assignment: Assignment) {
        if self.leaving {
            return;
        }
        let is_same = |(held, _): &(Assignment, AbortHandle)| {
            (held.task, held.generation) == (assignment.task, assignment.generation)
        };
        if self.run.as_ref().is_some_and(is_same) {
            return;
        }
        self.abort_run();
        self.runs += 1;
        let process = format!("{}.{}", self.shared.pid, self.runs);
        let work = work(self.shared.clone(), assignment.clone(), process);
        self.run = Some((assignment, self.activities.spawn_local(work)));
    }

    fn abandon(&mut self, abandon: &Abandon) {
        let is_it = |(held, _): &(Assignment, AbortHandle)| {
            (held.task, held.generation) == (abandon.task, abandon.generation)
        };
        if self.run.as_ref().is_some_and(is_it) {
            self.abort_run();
        }
    }

    /// Checks the guarantees of a delivery: messages arrive in order, and no message arrives after it was stored as
    /// read.
    fn on_delivery(&mut self, deliver: Deliver) {
        for message in deliver.messages {
            let (id, name) = (message.id, &self.shared.name);
            if self.newest.is_some_and(|newest| newest >= id) {
                let text = format!("{name} received {id} after {:?}", self.newest);
                self.shared.world.contradiction(text);
            }
            self.newest = Some(id);
            if self.shared.read.borrow().contains(&id) {
                let text = format!("{name} received {id} again after it was stored as read");
                self.shared.world.contradiction(text);
            }
            if self.queued.insert(id) {
                let _ended = self.inbox.send(message);
            }
        }
    }

    /// Five of six workers exit when they are asked to stop. The others ignore the request and are killed after the
    /// grace period.
    fn stop(&mut self) {
        if self.leaving || self.shared.world.machine.roll(6) == 0 {
            return;
        }
        self.leaving = true;
        self.abort_run();
        let shared = self.shared.clone();
        self.activities.spawn_local(async move {
            shared.world.machine.pause(1, 400).await;
            let exit = Exit {
                code: 0,
                reason: "asked to stop".to_owned(),
                hold: false,
            };
            let _it_leaves_anyway = shared.call::<MemberExit>(exit).await;
            shared.world.machine.exit(shared.pid);
        });
    }

    fn is_gone(&self) -> bool {
        !self
            .shared
            .world
            .machine
            .workers()
            .contains(&self.shared.pid)
    }
}

fn read_as<N: Notification>(params: &str) -> N {
    serde_json::from_str(params).expect("the supervisor sends valid notifications")
}

/// Interprets a goodbye as the real workers do.
fn connection_end(goodbye: &Goodbye) -> Ended {
    match goodbye.reason {
        GoodbyeReason::Restarting => Ended::Restarting,
        GoodbyeReason::Stopped => Ended::Over,
        GoodbyeReason::Closed | GoodbyeReason::Unknown => {
            let launch_is_valid = |error: &Refusal| error.code != ErrorCode::Unauthenticated;
            match goodbye.error.as_ref().is_some_and(launch_is_valid) {
                true => Ended::Lost,
                false => Ended::Over,
            }
        }
    }
}

/// Runs a task. Records the marks that its command would write to a file.
async fn work(shared: Rc<Shared>, assignment: Assignment, process: String) {
    let machine = &shared.world.machine;
    let mark = |mark: Mark| {
        shared.world.recorder.add(|evidence| {
            let runs = evidence.runs.entry(assignment.title.clone());
            runs.or_default().push(mark);
        });
    };
    let (member, began) = (shared.name.clone(), process.clone());
    mark(Mark::Began {
        member,
        process: began,
    });
    machine.pause(1, 300).await;
    mark(Mark::Ended { process });
    let end = EndTask {
        task: assignment.task,
        generation: Some(assignment.generation),
        text: "done".to_owned(),
    };
    // Ignore a refusal: the task may have another claim by now.
    match machine.roll(20) {
        0 => drop(shared.call::<TaskFail>(end).await),
        _ => drop(shared.call::<TaskComplete>(end).await),
    }
}

/// Reads messages in their order. A native member runs the command that a message requests before it acknowledges the
/// message.
async fn read(
    shared: Rc<Shared>,
    engine: Engine,
    mut messages: mpsc::UnboundedReceiver<DeliveredMessage>,
) {
    while let Some(message) = messages.recv().await {
        let mut read = vec![message.id];
        if engine.uses_model() {
            if let Some(command) = asked_command(&message.text) {
                run_command(&shared, command).await;
            }
        } else {
            while let Ok(next) = messages.try_recv() {
                read.push(next.id);
            }
        }
        let call = ReadMessages {
            messages: read.clone(),
        };
        if shared.call::<MessageRead>(call).await.is_ok() {
            shared.read.borrow_mut().extend(read);
        }
    }
}

/// Asks for permission, and runs the command if it is allowed.
async fn run_command(shared: &Shared, command: u64) {
    let arguments = serde_json::json!({ "command": shell_line(command) });
    let ask = AskRequest {
        tool: "bash".to_owned(),
        arguments: to_raw_value(&arguments).expect("strings are JSON"),
        directory: PROJECT.into(),
        confined: false,
        containment: Default::default(),
        paths: Vec::new(),
        hook: None,
    };
    let request = match shared.call::<RequestAsk>(ask).await {
        Ok(Permission::Allowed { .. }) => None,
        Ok(Permission::Asked { request }) => Some(OneRequest { request }),
        Ok(Permission::Denied { .. } | Permission::Unknown) | Err(_) => return,
    };
    if let Some(request) = request {
        let Ok(Decided::Allowed { .. }) = shared.call::<RequestWait>(request).await else {
            return;
        };
        if shared.call::<RequestBegin>(request).await.is_err() {
            return;
        }
    }
    shared.world.recorder.add(|evidence| {
        *evidence.commands.entry(command).or_default() += 1;
    });
    shared.world.machine.pause(1, 50).await;
    if let Some(request) = request {
        let _over_meanwhile = shared.call::<RequestEnd>(request).await;
    }
}
