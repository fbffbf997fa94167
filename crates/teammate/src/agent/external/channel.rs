//! The interface between the loop and the protocol of an external agent: a session, prompts, messages during a turn,
//! permission questions and updates. Each protocol implements [`SideChannel`]: `acp`, and beside the agent's own
//! terminal interface `claude`, `codex` and `opencode`.
//!
//! Updates and calls have the form of the Agent Client Protocol, see `wire`. The other protocols convert their messages
//! to this form.
//!
//! In its own terminal interface, an agent also takes prompts and decisions of the user. The channel then reports turns
//! that begin without a prompt of the loop ([`Event::Began`]), and questions that the user has answered in the
//! interface ([`Withdrawn::Answered`]).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use agent_team_protocol::spec::Steering;
use agent_team_system::process::ProcessId;

use super::wire::{PromptEnd, SessionUpdate, ToolCall};

/// The time limit of the start. Some programs first check for a new version.
const START_LIMIT: Duration = Duration::from_secs(60);

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How to start an agent, and the settings of its session.
pub(super) struct AgentProgram {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) cwd: PathBuf,
    /// The command that connects the agent to its team's tools.
    pub(super) team_tools: Vec<OsString>,
    /// The mode to which the session is set. `None`: the agent's own mode.
    pub(super) mode: Option<String>,
    /// See `KnownAgent::team_titles`.
    pub(super) team_titles: Option<&'static str>,
    /// The tested version of an agent that speaks the Agent Client Protocol.
    pub(super) tested: Option<&'static str>,
    pub(super) steering: Steering,
    /// The team's rules and situation.
    pub(super) rules: String,
}

/// A running agent, and its session. Dropping it kills the program and every process that it started.
pub(super) trait SideChannel: Send {
    /// The process of the program, if it has not ended.
    fn process(&self) -> Option<ProcessId>;

    /// The time limit of [`SideChannel::open`].
    fn start_limit(&self) -> Duration {
        START_LIMIT
    }

    /// Whether the session already contains [`AgentProgram::rules`]. Otherwise, the first prompt must contain them.
    fn has_rules(&self) -> bool {
        false
    }

    /// Whether the agent must have requested the list of the team's tools before it receives its first text.
    fn needs_tools(&self) -> bool {
        false
    }

    /// Whether [`Event::Accepted`] reports that the agent has taken a prompt. Otherwise, the first message of the agent in
    /// the turn means that it has taken the prompt.
    fn reports_acceptance(&self) -> bool {
        false
    }

    /// Opens a session: the earlier session, if the agent still has it. Must precede all other requests.
    ///
    /// # Errors
    /// If the agent cannot be used.
    fn open<'a>(
        &'a mut self,
        program: &'a AgentProgram,
        earlier: Option<String>,
    ) -> BoxFuture<'a, Result<Opened, OpenError>>;

    /// The id of the session.
    fn session(&self) -> &str;

    /// The agent and its version, such as `Gemini CLI 0.61.0`.
    fn description(&self) -> &str;

    /// A warning about an agent whose version was not tested, if [`SideChannel::next`] does not return it.
    fn warning(&self) -> Option<&str> {
        None
    }

    /// The next message of the agent that concerns the loop. Cancel-safe.
    fn next(&mut self) -> BoxFuture<'_, Event>;

    /// A message that has already arrived.
    fn try_next(&mut self) -> Option<Event>;

    /// Sends a prompt. The future completes at the end of the turn.
    ///
    /// # Errors
    /// The agent's refusal, or the end of the connection.
    fn prompt(&mut self, text: &str) -> BoxFuture<'static, Result<PromptEnd, TurnError>>;

    /// Whether [`SideChannel::steer`] can add a message to the running turn.
    fn steers(&self) -> bool;

    /// Adds a message to the running turn. The future returns whether the agent has accepted it.
    fn steer(&mut self, text: &str) -> BoxFuture<'static, bool>;

    /// Asks the agent to end its turn.
    fn cancel(&mut self);

    /// Terminates the program: TERM, then KILL. Returns the last line of its errors, if any.
    fn stop(&mut self) -> BoxFuture<'_, Option<String>>;
}

/// The function that answers with messages.
pub(super) type DrainAnswer = Box<dyn FnOnce(&[String]) + Send>;

/// A message or request of the agent.
pub(super) enum Event {
    Update(SessionUpdate),
    /// The agent has taken the prompt.
    Accepted,
    /// A turn has begun without a prompt of the loop.
    Began(Began),
    /// The conversation continues in another session, with this id.
    Session(String),
    /// A line for the user.
    Notice(String),
    Permission(PermissionQuestion),
    /// The agent asks for messages that have arrived during the turn. Dropping the function answers with an error.
    Drain(DrainAnswer),
    /// The agent can no longer be used, for example because it has left the mode of its session. The reason is for the
    /// user.
    Unusable(String),
    /// The program has exited, or closed the connection. The reason is for the user.
    Closed(String),
}

/// A turn that has begun without a prompt of the loop.
pub(super) struct Began {
    /// The text that began the turn, such as a prompt of the user. Empty if the text is unknown or is a message of the
    /// loop.
    pub(super) text: String,
    pub(super) end: BoxFuture<'static, Result<PromptEnd, TurnError>>,
}

/// Why a question needs no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdrawn {
    /// The agent no longer asks.
    Gone,
    /// The user has answered the question in the agent's own terminal interface.
    Answered { allowed: bool },
}

/// The answer to a permission question. The answer concerns only this call, and never changes the agent's own rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PermissionAnswer {
    Allow,
    /// Contains the reason, for the agent.
    Deny(String),
    /// The turn is cancelled.
    Cancel,
}

/// The question whether the agent may execute a call. Dropping it answers [`PermissionAnswer::Cancel`].
pub(super) struct PermissionQuestion {
    pub(super) call: ToolCall,
    /// Whether the answer can contain the reason of a denial.
    pub(super) gives_reason: bool,
    /// `None` once the question is answered.
    respond: Option<Box<dyn FnOnce(PermissionAnswer) + Send>>,
    /// Called when no rule decides, and the question waits for a decision.
    pending: Option<Box<dyn Fn() + Send + Sync>>,
    /// Completes when the question no longer needs an answer.
    withdrawn: Option<BoxFuture<'static, Withdrawn>>,
}

impl PermissionQuestion {
    pub(super) fn new(
        call: ToolCall,
        withdrawn: impl Future<Output = Withdrawn> + Send + 'static,
        respond: impl FnOnce(PermissionAnswer) + Send + 'static,
    ) -> Self {
        Self {
            call,
            gives_reason: false,
            respond: Some(Box::new(respond)),
            pending: None,
            withdrawn: Some(Box::pin(withdrawn)),
        }
    }

    /// For an agent that receives the reason of a denial, and a notification when the question waits for a decision.
    pub(super) fn with_reason_and_pending(
        mut self,
        pending: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        self.gives_reason = true;
        self.pending = Some(Box::new(pending));
        self
    }

    /// The function to call when the question waits for a decision. Can be taken once.
    pub(super) fn take_pending(&mut self) -> impl Fn() + Send + Sync + use<> {
        let pending = self.pending.take();
        move || {
            if let Some(pending) = &pending {
                pending();
            }
        }
    }

    /// Completes when the question no longer needs an answer. Can be taken once.
    pub(super) fn take_withdrawn(&mut self) -> impl Future<Output = Withdrawn> + Send + use<> {
        let withdrawn = self.withdrawn.take();
        async move {
            match withdrawn {
                Some(withdrawn) => withdrawn.await,
                None => std::future::pending().await,
            }
        }
    }

    pub(super) fn answer(mut self, answer: PermissionAnswer) {
        self.respond(answer);
    }

    fn respond(&mut self, answer: PermissionAnswer) {
        if let Some(respond) = self.respond.take() {
            respond(answer);
        }
    }
}

impl Drop for PermissionQuestion {
    fn drop(&mut self) {
        self.respond(PermissionAnswer::Cancel);
    }
}

/// How a session was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    New,
    Resumed,
    /// A new session, because the agent cannot continue the earlier one. The reason is for the user.
    Lost(String),
}

/// Why an agent cannot be used.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The user must log in first. The text names the ways to do so.
    Login(String),
    /// The agent cannot continue the earlier session, for this reason. The agent must be started again without that
    /// session.
    SessionLost(String),
    Other(String),
}

/// Why a turn failed.
#[derive(Debug)]
pub(super) enum TurnError {
    /// The agent refused the prompt or failed. The reason is for the user.
    Failed(String),
    /// The connection is closed.
    Closed,
}

/// Why the agent cannot be used, if one of these events reports it. Called during the start, when the loop does not
/// read the events yet.
pub(super) fn why_unusable(events: &VecDeque<Event>) -> Option<String> {
    events.iter().find_map(|event| match event {
        Event::Unusable(why) => Some(why.clone()),
        Event::Update(_)
        | Event::Accepted
        | Event::Began(_)
        | Event::Session(_)
        | Event::Notice(_)
        | Event::Permission(_)
        | Event::Drain(_)
        | Event::Closed(_) => None,
    })
}

/// Opens a session within the time limit of the start.
///
/// # Errors
/// If the agent cannot be used.
pub(super) async fn open_in_time(
    channel: &mut dyn SideChannel,
    program: &AgentProgram,
    earlier: Option<String>,
) -> Result<Opened, OpenError> {
    let limit = channel.start_limit();
    let opened = tokio::time::timeout(limit, channel.open(program, earlier)).await;
    let opened = opened.unwrap_or_else(|_| {
        let limit = limit.as_secs();
        let why =
            format!("no session within {limit} s; if it shows a dialog, answer it after a restart");
        Err(OpenError::Other(why))
    });
    match opened {
        // The last line of the program's errors explains more than a closed connection.
        Err(OpenError::Other(why)) => Err(OpenError::Other(match channel.stop().await {
            Some(last) => format!("{why}: {last}"),
            None => why,
        })),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(600);

    /// An agent that shows a dialog and opens no session.
    struct Silent;

    impl SideChannel for Silent {
        fn process(&self) -> Option<ProcessId> {
            None
        }

        fn start_limit(&self) -> Duration {
            LIMIT
        }

        fn open<'a>(
            &'a mut self,
            _program: &'a AgentProgram,
            _earlier: Option<String>,
        ) -> BoxFuture<'a, Result<Opened, OpenError>> {
            Box::pin(std::future::pending())
        }

        fn session(&self) -> &str {
            ""
        }

        fn description(&self) -> &str {
            ""
        }

        fn next(&mut self) -> BoxFuture<'_, Event> {
            Box::pin(std::future::pending())
        }

        fn try_next(&mut self) -> Option<Event> {
            None
        }

        fn prompt(&mut self, _text: &str) -> BoxFuture<'static, Result<PromptEnd, TurnError>> {
            Box::pin(std::future::pending())
        }

        fn steers(&self) -> bool {
            false
        }

        fn steer(&mut self, _text: &str) -> BoxFuture<'static, bool> {
            Box::pin(std::future::ready(false))
        }

        fn cancel(&mut self) {}

        fn stop(&mut self) -> BoxFuture<'_, Option<String>> {
            Box::pin(std::future::ready(Some("Do you trust it?".to_owned())))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_without_a_session_fails_after_its_limit() {
        let program = AgentProgram {
            program: PathBuf::new(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::new(),
            team_tools: Vec::new(),
            mode: None,
            team_titles: None,
            tested: None,
            steering: Steering::default(),
            rules: String::new(),
        };
        let begin = tokio::time::Instant::now();
        let opened = open_in_time(&mut Silent, &program, None).await;
        assert!(begin.elapsed() >= LIMIT);
        let Err(OpenError::Other(why)) = opened else {
            panic!("{opened:?}");
        };
        assert!(why.starts_with("no session within 600 s"), "{why}");
        assert!(why.ends_with(": Do you trust it?"), "{why}");
    }
}
