//! The requests of the editor. Each session has its own tokio task, which receives the requests that name the session,
//! in order. Sessions that are being opened do not delay others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_client::json_rpc::{Incoming, Responder, Rpc, RpcFault};
use agent_team_protocol::TeamId;
use agent_team_protocol::view::TeamEntry;
use agent_team_system::random;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use super::super::mcp::teams;
use super::conversation::{Beginning, Conversation};
use super::opening;
use super::wire::{
    self, ExistingSession, INVALID_REQUEST, ListSessions, METHOD_NOT_FOUND, NewSession, OfSession,
};

/// The maximum number of open sessions: each has three connections to the supervisor.
const SESSIONS_MAX: usize = 64;

/// Separates the id of the team in the id of a session from the part that is unique to the session. No id of a team
/// contains this character.
const SEPARATOR: char = '.';

/// The length of the unique part.
const UNIQUE: usize = 8;

pub(super) struct Server {
    shared: Arc<Shared>,
    is_initialized: bool,
    /// One task for each open session.
    tasks: JoinSet<()>,
}

struct Shared {
    rpc: Rpc,
    /// The team of `--team`.
    named: Option<String>,
    sessions: Mutex<BTreeMap<String, AcpSession>>,
}

/// A session. It remains after its task has ended.
struct AcpSession {
    directory: PathBuf,
    /// Dropping the sender ends the task.
    requests: UnboundedSender<Incoming>,
}

/// A session to open.
struct SessionToOpen {
    /// `None`: a new session.
    id: Option<String>,
    directory: PathBuf,
}

impl Server {
    pub(super) fn new(rpc: Rpc, named: Option<String>) -> Self {
        Self {
            shared: Arc::new(Shared {
                rpc,
                named,
                sessions: Mutex::default(),
            }),
            is_initialized: false,
            tasks: JoinSet::new(),
        }
    }

    /// Serves until the editor closes the connection.
    pub(super) async fn run(mut self, mut incoming: mpsc::Receiver<Incoming>) {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => if let Err(panicked) = ended {
                    std::panic::resume_unwind(panicked.into_panic());
                },
                received = incoming.recv() => match received {
                    Some(received) => self.handle(received).await,
                    None => return,
                },
            }
        }
    }

    async fn handle(&mut self, mut incoming: Incoming) {
        let method = incoming.method.as_str();
        if !self.is_initialized && method != "initialize" {
            let refused = wire::fault(INVALID_REQUEST, "send initialize first");
            return answer(incoming, Err(refused)).await;
        }
        let outcome = match method {
            "initialize" => {
                self.is_initialized = true;
                Ok(wire::initialized())
            }
            "session/new" | "session/load" | "session/resume" => {
                if let Some(responder) = incoming.responder.take() {
                    self.open(&incoming, responder).await;
                }
                return;
            }
            "session/list" => list(&incoming.params).await,
            "session/prompt" | "session/cancel" | "session/set_mode" => {
                return self.forward(incoming).await;
            }
            "session/close" => wire::parse::<OfSession>(&incoming.params).map(|of| {
                self.shared.lock().remove(&of.session_id);
                json!({})
            }),
            _ => {
                let text = format!("unknown method {method:?}");
                Err(wire::fault(METHOD_NOT_FOUND, &text))
            }
        };
        answer(incoming, outcome).await;
    }

    async fn open(&mut self, incoming: &Incoming, responder: Responder) {
        if self.tasks.len() >= SESSIONS_MAX {
            let text = format!("cannot open more than {SESSIONS_MAX} sessions: close another");
            let refused = wire::fault(INVALID_REQUEST, &text);
            return responder.reply(Err(refused)).await;
        }
        let (method, is_load) = (incoming.method.clone(), incoming.method == "session/load");
        let to_open = to_open(&incoming.method, &incoming.params);
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let opened = match to_open {
                Ok(to_open) => shared.open(to_open, is_load).await,
                Err(fault) => Err(fault),
            };
            let (conversation, directory) = match opened {
                Ok(opened) => opened,
                Err(fault) => return responder.reply(Err(fault)).await,
            };
            let (sender, requests) = mpsc::unbounded_channel();
            let session = AcpSession {
                directory,
                requests: sender,
            };
            let id = conversation.id().to_owned();
            shared.lock().insert(id, session);
            let beginning = match method.as_str() {
                "session/load" => Beginning::Loaded(responder),
                "session/resume" => Beginning::Resumed(responder),
                _ => Beginning::Opened(responder),
            };
            conversation.run(beginning, requests).await;
        });
    }

    /// Passes a request to its session. If the task of the session has ended, such as after a stop of the supervisor, a
    /// prompt opens the session again. This may start the team, so no other message does it: an editor also sends
    /// `session/cancel` after the user has stopped the team.
    async fn forward(&mut self, incoming: Incoming) {
        let id = match wire::parse::<OfSession>(&incoming.params) {
            Ok(OfSession { session_id }) => session_id,
            Err(fault) => return answer(incoming, Err(fault)).await,
        };
        let unsent = match self.shared.lock().get_mut(&id) {
            None => Some((incoming, Err(wire::unknown_session(&id)))),
            Some(session) => match session.requests.send(incoming) {
                Ok(()) => None,
                Err(closed) if !is_prompt(&closed.0) => {
                    let text = "the session has ended: send a prompt to open it again";
                    Some((closed.0, Err(wire::fault(INVALID_REQUEST, text))))
                }
                Err(closed) => {
                    let (sender, requests) = mpsc::unbounded_channel();
                    session.requests = sender;
                    let to_open = SessionToOpen {
                        id: Some(id.clone()),
                        directory: session.directory.clone(),
                    };
                    Some((closed.0, Ok((to_open, requests))))
                }
            },
        };
        match unsent {
            None => {}
            Some((incoming, Err(fault))) => answer(incoming, Err(fault)).await,
            Some((incoming, Ok((to_open, requests)))) => {
                let shared = Arc::clone(&self.shared);
                self.tasks
                    .spawn(shared.open_again(to_open, incoming, requests));
            }
        }
    }
}

impl Shared {
    async fn open(
        &self,
        to_open: SessionToOpen,
        is_load: bool,
    ) -> Result<(Conversation, PathBuf), RpcFault> {
        let SessionToOpen { id, directory } = to_open;
        let named = self.named.as_deref();
        let expected = id.as_deref().map(team_of);
        let team = opening::open(named, &directory, expected).await;
        let team = team.map_err(|failure| wire::failed(&failure))?;
        let Some(team) = team else {
            return Err(wire::unknown_session(&id.unwrap_or_default()));
        };
        let id = id.unwrap_or_else(|| new_id(&team.team));
        let opened = Conversation::open(self.rpc.clone(), id, &team, is_load).await;
        let conversation = opened.map_err(|failure| wire::failed(&failure))?;
        Ok((conversation, directory))
    }

    async fn open_again(
        self: Arc<Self>,
        to_open: SessionToOpen,
        first: Incoming,
        mut requests: UnboundedReceiver<Incoming>,
    ) {
        match self.open(to_open, false).await {
            Ok((conversation, _)) => {
                conversation
                    .run(Beginning::Continued(first), requests)
                    .await;
            }
            Err(fault) => {
                answer(first, Err(fault.clone())).await;
                requests.close();
                while let Some(request) = requests.recv().await {
                    answer(request, Err(fault.clone())).await;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, AcpSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A prompt without an id is a notification, which gives no goal.
fn is_prompt(incoming: &Incoming) -> bool {
    incoming.method == "session/prompt" && incoming.responder.is_some()
}

/// Answers a request; a notification needs no answer.
async fn answer(mut incoming: Incoming, outcome: Result<Value, RpcFault>) {
    if let Some(responder) = incoming.responder.take() {
        responder.reply(outcome).await;
    }
}

fn to_open(method: &str, params: &Value) -> Result<SessionToOpen, RpcFault> {
    if method == "session/new" {
        let NewSession { cwd } = wire::parse(params)?;
        return Ok(SessionToOpen {
            id: None,
            directory: cwd,
        });
    }
    let ExistingSession { session_id, cwd } = wire::parse(params)?;
    Ok(SessionToOpen {
        id: Some(session_id),
        directory: cwd,
    })
}

/// The id of a session's team.
fn team_of(id: &str) -> &str {
    id.split(SEPARATOR).next().unwrap_or_default()
}

/// A new id for each session: an editor lists two sessions of one team separately.
fn new_id(team: &TeamId) -> String {
    let unique: String = random::id().chars().take(UNIQUE).collect();
    format!("{team}{SEPARATOR}{unique}")
}

/// The conversations with the leads of all teams, or of the teams of one directory.
async fn list(params: &Value) -> Result<Value, RpcFault> {
    let ListSessions { cwd } = match params.is_null() {
        true => ListSessions::default(),
        false => wire::parse(params)?,
    };
    let teams = teams::list().await;
    let teams = teams.map_err(|failure| wire::failed(&failure))?;
    let is_listed = |team: &&TeamEntry| {
        let is_here = |cwd: &Path| cwd.canonicalize().is_ok_and(|cwd| cwd == team.project);
        cwd.as_deref().is_none_or(is_here)
    };
    let sessions = teams.iter().filter(is_listed).map(
        |team| json!({ "sessionId": team.team, "cwd": team.project, "title": team.name.as_str() }),
    );
    Ok(json!({ "sessions": sessions.collect::<Vec<_>>() }))
}
