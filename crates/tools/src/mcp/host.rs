//! The process that hosts the shared MCP servers of a team: `agent-teammate-native --mcp-host`. The supervisor starts it
//! with the listening socket that members connect to.
//!
//! ```text
//! member ─ socket ─┐                       ┌─ stdin, stdout ─ server "db"
//! member ─ socket ─┼─ router of "db" ──────┘
//! member ─ socket ─┴─ router of "docs" ───── stdin, stdout ─ server "docs"
//! ```
//! A server starts with its first member, and is killed when its last member has disconnected. Only processes of the same
//! user can connect; the sandbox of an agent's commands refuses Unix sockets. The host decides nothing: the members check
//! permissions and treat the server's messages as untrusted. A slow member or server delays only its own connection:
//! queues are bounded, and a member that does not read is disconnected.

mod router;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_system::socket::{Listener, ReadHalf, Stream, WriteHalf};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use self::router::{ClientId, Inbox, Line, Router};
use super::server_program::{Messages, ServerProgram, explained};
use super::shared::{Hello, Welcome};

/// The largest message, in bytes. Longer messages are dropped, as the SDK does.
const LINE_MAX: u64 = 16 << 20;

/// The largest number of messages that wait for a server to read its stdin.
const WAITING_MAX: usize = 64;

/// The time limit for a new connection to send its [`Hello`].
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// The time limit for a member to read a message, and for a member's message to wait for the server. After this time,
/// the member's requests fail and the member is disconnected: a server that all members have left is killed.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// The pause after an error of the listening socket, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Pool {
    /// The running servers by name.
    servers: RefCell<BTreeMap<String, Rc<SharedServer>>>,
    /// The names of the servers that know `server/discover` instead of `initialize`.
    discovered: RefCell<BTreeSet<String>>,
}

struct SharedServer {
    hello: Hello,
    router: RefCell<Router>,
    /// The messages for the server's stdin.
    messages: mpsc::Sender<Line>,
    /// The task of the server. Aborting the task kills the server.
    task: RefCell<Option<AbortHandle>>,
}

/// Serves members until the process ends. Must be called within a `LocalSet`.
pub async fn serve(listener: Listener) {
    let pool = Rc::new(Pool::default());
    loop {
        match listener.accept().await {
            Ok(stream) => drop(tokio::task::spawn_local(serve_member(
                Rc::clone(&pool),
                stream,
            ))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_member(pool: Rc<Pool>, stream: Stream) {
    let (read, mut write) = stream.into_halves();
    let mut lines = Lines::new(read);
    let Ok(Some(hello)) = timeout(HELLO_LIMIT, lines.next()).await else {
        return;
    };
    let attached = match serde_json::from_str(hello) {
        Ok(hello) => pool.attach(hello),
        Err(error) => Err(format!("the host has another version: {error}")),
    };
    let welcome = Welcome {
        failed: attached.as_ref().err().cloned(),
    };
    let welcome = serde_json::to_string(&welcome).expect("a welcome has string keys");
    let welcomed = write.write_all(format!("{welcome}\n").as_bytes()).await;
    let Ok((server, client, inbox)) = attached else {
        return;
    };
    if welcomed.is_ok() {
        tokio::select! {
            () = send(write, inbox) => {}
            () = receive(&server, client, lines) => {}
        }
    }
    pool.detach(&server, client);
}

async fn send(mut write: WriteHalf, mut inbox: Inbox) {
    while let Some(line) = inbox.next().await {
        let written = timeout(WRITE_LIMIT, write.write_all(line.as_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
        inbox.sent(&line);
    }
}

/// Passes the messages of a member to the server until the member disconnects or the server does not read.
async fn receive(server: &SharedServer, client: ClientId, mut lines: Lines<ReadHalf>) {
    while let Some(line) = lines.next().await {
        // If the server does not read its stdin, only this member waits. Reserve room in the queue before the router
        // handles the message: afterwards the router waits for the server's response, so the message must be sent.
        let room = match timeout(WRITE_LIMIT, server.messages.reserve()).await {
            Ok(Ok(room)) => room,
            // The server has exited. The reasons are in the member's inbox, and `send` ends after them.
            Ok(Err(_)) => {
                server.router.borrow_mut().refuse(client, line);
                return std::future::pending().await;
            }
            Err(_) => {
                let seconds = WRITE_LIMIT.as_secs();
                let why = format!("it has not read its input for {seconds} s");
                server.router.borrow_mut().fail(client, line, &why);
                return std::future::pending().await;
            }
        };
        if let Some(line) = server.router.borrow_mut().handle_client(client, line) {
            room.send(line);
        }
    }
}

impl Pool {
    /// Connects a member to a server. Starts the server if it does not run.
    fn attach(
        self: &Rc<Self>,
        hello: Hello,
    ) -> Result<(Rc<SharedServer>, ClientId, Inbox), String> {
        let mut servers = self.servers.borrow_mut();
        let server = match servers.get(&hello.server.name) {
            Some(server) => match server.hello.difference(&hello) {
                None => Rc::clone(server),
                Some(what) => {
                    return Err(format!(
                        "it is shared, and runs for other members with another {what}; run `agent-team down` and \
                         `agent-team up`, or remove `shared`"
                    ));
                }
            },
            None => {
                let server = self.start(hello)?;
                servers.insert(server.hello.server.name.clone(), Rc::clone(&server));
                server
            }
        };
        let (client, inbox) = server.router.borrow_mut().attach();
        Ok((server, client, inbox))
    }

    fn start(self: &Rc<Self>, hello: Hello) -> Result<Rc<SharedServer>, String> {
        let env = hello.env.iter();
        let mut env: Vec<_> = env
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        // With the host's marker, the supervisor finds all processes of the server.
        let marker = std::env::var_os(LAUNCH_MARKER);
        env.extend(marker.map(|marker| (LAUNCH_MARKER.into(), marker)));
        let (program, stdout, stdin) = ServerProgram::launch(&hello.server, &env, &hello.project)?;
        let (messages, waiting) = mpsc::channel(WAITING_MAX);
        let is_discovered = self.discovered.borrow().contains(&hello.server.name);
        let server = Rc::new(SharedServer {
            hello,
            router: RefCell::new(Router::new(is_discovered)),
            messages,
            task: RefCell::default(),
        });
        let run = run(
            Rc::clone(self),
            Rc::clone(&server),
            program,
            stdout,
            stdin,
            waiting,
        );
        let task = tokio::task::spawn_local(run).abort_handle();
        server.task.replace(Some(task));
        Ok(server)
    }

    /// Disconnects a member. Kills the server after its last member.
    fn detach(&self, server: &Rc<SharedServer>, client: ClientId) {
        let mut router = server.router.borrow_mut();
        for line in router.detach(client) {
            // If the queue is full, the server does not read its stdin, and does not receive the cancellation.
            let _full = server.messages.try_send(line);
        }
        if router.is_unused() {
            self.remove(server);
            if let Some(task) = server.task.take() {
                task.abort();
            }
        }
    }

    /// Records, after an answer of the server, whether the server knows `initialize`. A server that has refused
    /// `initialize` may exit, so the next connection gets a new process.
    fn learn(&self, server: &Rc<SharedServer>) {
        let router = server.router.borrow();
        let name = &server.hello.server.name;
        let mut discovered = self.discovered.borrow_mut();
        match (router.is_discovered(), discovered.contains(name)) {
            (true, false) => drop(discovered.insert(name.clone())),
            (false, true) => drop(discovered.remove(name)),
            (true, true) | (false, false) => {}
        }
        if router.has_refused() {
            self.remove(server);
        }
    }

    /// Removes a server, so that its next member starts a new process.
    fn remove(&self, server: &Rc<SharedServer>) {
        let mut servers = self.servers.borrow_mut();
        servers.retain(|_, running| !Rc::ptr_eq(running, server));
    }
}

/// Exchanges messages with a server until it exits or closes a pipe.
async fn run(
    pool: Rc<Pool>,
    server: Rc<SharedServer>,
    program: ServerProgram,
    stdout: Messages,
    mut stdin: pipe::Sender,
    mut waiting: mpsc::Receiver<Line>,
) {
    let mut lines = Lines::new(stdout);
    let mut has_reported = false;
    let reading = async {
        while let Some(line) = lines.next().await {
            // `program.stray()` can be the beginning of a line that is still being printed. Report the line after a
            // line that is not a message was read: then the line is complete.
            if !has_reported
                && !line.trim_start().starts_with('{')
                && let Some(stray) = program.stray()
            {
                has_reported = true;
                server.router.borrow_mut().report_stray(&stray);
            }
            let reply = server.router.borrow_mut().handle_server(line);
            pool.learn(&server);
            if let Some(reply) = reply {
                // A server that floods its client with requests without reading the replies loses replies.
                let _full = server.messages.try_send(reply);
            }
            // Without this call, a server that writes without a pause would block all other tasks of this thread.
            tokio::task::yield_now().await;
        }
    };
    let writing = async {
        while let Some(line) = waiting.recv().await {
            if stdin.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
    // Remove the server before waiting for its exit status: a member that connects meanwhile then starts a new process
    // instead of receiving this failure.
    pool.remove(&server);
    let why = explained("it closed its output".to_owned(), Some(&program)).await;
    server.router.borrow_mut().server_gone(&why);
}

/// Reads lines of limited length.
struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
        }
    }

    /// The next line with its newline. Skips lines that are too long or not UTF-8. `None` at the end of the stream.
    async fn next(&mut self) -> Option<&str> {
        let mut is_rest = false;
        loop {
            self.line.clear();
            let mut limited = (&mut self.reader).take(LINE_MAX);
            let read = limited.read_until(b'\n', &mut self.line).await;
            if !read.is_ok_and(|read| read > 0) {
                return None;
            }
            let is_whole = self.line.ends_with(b"\n");
            if is_whole && !is_rest && std::str::from_utf8(&self.line).is_ok() {
                break;
            }
            is_rest = !is_whole;
        }
        std::str::from_utf8(&self.line).ok()
    }
}
