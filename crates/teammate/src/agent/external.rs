//! The loop of a member whose work is done by another vendor's agent: passes tasks and messages to the agent as
//! prompts, shows the agent's output, and asks for permissions. Replaces `agent_loop`; started by the worker's loop.
//!
//! ```text
//! idle ──messages, task──► prompt ──► updates, permission questions ──► end of turn
//!   ▲                        ▲ └─ messages: steered into the turn, or kept for the next prompt │
//!   │                        └── reminder, if the agent still owns its task ◄────────────────┤
//!   └── report, or release of the task ◄─────────────────────────────────────────────────────┘
//! ```
//! The agent reaches its team's tools over MCP, see `team_mcp`. The member's transcript contains the id of the agent's
//! session, so that a restarted member continues the conversation. A message counts as read when the agent has accepted
//! it.
//!
//! An agent speaks the Agent Client Protocol, or runs in its own terminal interface beside a side channel (`terminal`).
//! In this interface, the user can begin turns and answer questions, too.

mod acp;
pub(in crate::agent) mod agent_socket;
mod announced;
mod channel;
mod claude;
mod codex;
mod connection;
mod entry;
mod file_change;
mod file_read;
pub(crate) mod hook_socket;
mod hooks;
mod inputs;
mod interface;
pub(in crate::agent) mod keystrokes;
mod meter;
mod opencode;
mod outcome;
mod permission;
pub(crate) mod probe;
mod qwen;
mod running_program;
mod start;
pub(crate) mod team_mcp;
pub(in crate::agent) mod terminal;
mod turn;
mod updates;
mod version;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::MessageId;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AppendTranscript, EndTask, TaskRelease, TranscriptAppend, TurnEnd,
};
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::spec::{AgentSpec, ExternalAgent};
use agent_team_protocol::text::visible_line;
use agent_team_terminal_ui::Tone;
use agent_team_tools::team::{message_line, without_middle};
use agent_team_tools::{Permission, ToolContext};

use self::channel::{Began, Event, PermissionAnswer, SideChannel};
use self::entry::Entry;
pub(super) use self::inputs::Inputs;
use self::inputs::Prompt;
use self::keystrokes::Keystrokes;
pub(super) use self::meter::Meter;
pub(crate) use self::start::runs_in_terminal;
use self::team_mcp::TeamSocket;
use self::terminal::TerminalHandle;
use self::wire::StopReason;
use super::conversation::{End, cannot};
use super::ending::UNCUT_MAX;
use super::prompts;
use crate::hosted::team_handle::TeamHandle;
use crate::pane::paint;
use crate::worker::{ExitReport, refused};

/// Variables that another vendor's agent sets for the programs that it starts. An agent that finds them acts as a part
/// of that agent. The environment of external agents contains only variables that `launch` selects.
pub(crate) const NESTED: [&str; 2] = ["CLAUDECODE", "CLAUDE_CODE_"];

const CUT: &str =
    "A limit of your team stopped you. It allows you to continue now: finish what you were doing.";

/// The time limit of the end of a cancelled turn. Afterwards, the agent is restarted.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct External {
    pub(super) external: ExternalAgent,
    pub(super) agent: AgentSpec,
    pub(super) team: TeamHandle,
    pub(super) context: Arc<ToolContext>,
    pub(super) permission: Permission,
    pub(super) sockets: Sockets,
    /// `None` for an agent without its own terminal interface.
    pub(super) terminal: Option<TerminalHandle>,
    pub(super) keystrokes: Keystrokes,
    /// Open while an agent runs.
    pub(super) tools_socket: Option<TeamSocket>,
    pub(super) inputs: Inputs,
    /// The id of a new session, until it is stored with the first prompt. An entry without a turn would show an idle
    /// member as working.
    pub(super) unstored_session: Option<String>,
    pub(super) meter: Meter,
}

/// The paths for the agent's programs.
pub(crate) struct Sockets {
    /// The socket at which the programs reach the team's tools.
    pub(crate) tools: PathBuf,
    /// One of three paths: where the agent's hooks reach the worker, where the agent's server listens, or the file with
    /// the team's rules for the agent. The supervisor removes this socket or file when the launch has ended.
    pub(crate) hooks: PathBuf,
    /// The directory for the files of a side channel, if the channel needs any. The supervisor removes the directory
    /// when the launch has ended.
    pub(crate) files: PathBuf,
}

/// How a turn begins.
enum Start {
    Prompt(Prompt),
    /// The turn has begun without a prompt of the loop.
    Began(Began),
}

/// How an exchange ended.
enum ExchangeEnd {
    /// The agent ended its turn.
    Turn(StopReason),
    /// The agent refused the prompt or failed, for this reason.
    Failed(String),
    /// The turn was cancelled, but the agent has not ended it in time.
    Unresponsive,
}

impl External {
    /// Runs until the member is stopped, or cannot continue.
    pub(super) async fn run(mut self) -> End {
        let mut channel = match self.start().await {
            Ok(channel) => channel,
            Err(end) => return end,
        };
        let end = loop {
            match self.work(&mut channel).await {
                Ok(()) => {}
                Err(end) => break end,
            }
        };
        channel.stop().await;
        end
    }

    /// Waits for work, and runs one turn.
    async fn work(&mut self, channel: &mut Box<dyn SideChannel>) -> Result<(), End> {
        let mut start = loop {
            self.inputs.accept_queued();
            if self.inputs.finish_at.is_some() {
                return Err(End::Stopped);
            }
            let is_allowed = self.inputs.allowances.waits().is_none();
            if is_allowed && let Some(prompt) = self.next_prompt() {
                break Start::Prompt(prompt);
            }
            tokio::select! {
                () = self.inputs.receive() => {}
                event = channel.next() => if let Some(began) = self.between_turns(event)? {
                    break Start::Began(began);
                },
            }
        };
        // A turn that the user has begun in the agent's terminal interface is not about the task: send no reminder.
        let mut is_reminded = matches!(start, Start::Began(_));
        loop {
            (self.inputs.is_interrupted, self.inputs.is_urgent) = (false, false);
            self.inputs.is_abandoned = false;
            let is_own = matches!(start, Start::Began(_));
            let (ended, report) = self.exchange(&mut **channel, start).await?;
            if self.inputs.finish_at.is_some() {
                return Err(End::Stopped);
            }
            let is_whole = matches!(ended, ExchangeEnd::Turn(StopReason::EndTurn));
            let failure = match ended {
                ExchangeEnd::Turn(StopReason::EndTurn | StopReason::Cancelled) => None,
                ExchangeEnd::Turn(StopReason::Interrupted) => return self.rest(report, None).await,
                ExchangeEnd::Turn(StopReason::MaxTokens) => {
                    Some("its answer reached the length limit".to_owned())
                }
                ExchangeEnd::Turn(StopReason::MaxTurnRequests) => {
                    Some("it reached its limit of steps".to_owned())
                }
                ExchangeEnd::Turn(StopReason::Refusal) => Some("it refused to answer".to_owned()),
                ExchangeEnd::Turn(StopReason::Other) => {
                    Some("it ended its turn for an unknown reason".to_owned())
                }
                ExchangeEnd::Failed(why) => Some(why),
                ExchangeEnd::Unresponsive => {
                    let line = format!(
                        "it has not ended its turn within {} s: it is restarted",
                        CANCEL_LIMIT.as_secs()
                    );
                    self.team.sink.lines(Tone::Runtime, &line);
                    self.store_usage().await?;
                    *channel = self.start().await?;
                    // This loop decides whether the turn continues.
                    self.inputs.continues = false;
                    None
                }
            };
            if let Some(why) = failure {
                return self.give_up(&why, &report).await;
            }
            if self.inputs.is_interrupted {
                return self.rest(report, None).await;
            }
            // The usage of the turn may reach a limit.
            self.store_usage().await?;
            if let Some(why) = self.inputs.allowances.waits() {
                if is_whole && (is_own || self.owned_task().is_none()) {
                    return self.rest(report, None).await;
                }
                // The turn stays open: it continues once the limit allows it.
                self.inputs.continue_with(CUT);
                let sink = &self.team.sink;
                sink.lines(Tone::Runtime, &format!("… waits: {}", visible_line(&why)));
                return Ok(());
            }
            if let Some(next) = self.next_prompt() {
                start = Start::Prompt(next);
                is_reminded = false;
                continue;
            }
            let task = self.owned_task().filter(|_| !is_own);
            let Some(task) = task else {
                return self.rest(report, None).await;
            };
            if std::mem::replace(&mut is_reminded, true) {
                let why = "ended its turn twice without complete_task, fail_task or release_task";
                return self.give_up(why, &report).await;
            }
            let line = format!("… {} is not completed: the agent is reminded", task.task);
            self.team.sink.lines(Tone::Runtime, &line);
            start = Start::Prompt(Prompt {
                about_task: prompts::note(&prompts::reminder(&task)),
                ..Prompt::default()
            });
        }
    }

    /// Handles a message of the agent between two turns. Denies permission questions: the agent may ask only within a
    /// turn. Returns a turn that has begun.
    fn between_turns(&mut self, event: Event) -> Result<Option<Began>, End> {
        match event {
            Event::Closed(why) => return Err(self.exited(&why)),
            Event::Unusable(why) => return Err(self.unusable(&why)),
            Event::Permission(question) => {
                let why = "there is no turn".to_owned();
                question.answer(PermissionAnswer::Deny(why));
            }
            Event::Drain(answer) => answer(&[]),
            Event::Began(began) => return Ok(Some(began)),
            Event::Session(id) => self.session_changed(id),
            Event::Notice(line) => self.notice(&line),
            Event::Update(update) => self.meter.read(&update),
            Event::Accepted => {}
        }
        Ok(None)
    }

    /// Handles a change of the session: the conversation continues in another session.
    fn session_changed(&mut self, id: String) {
        self.unstored_session = Some(id);
        self.meter.begin_session(0);
    }

    fn notice(&self, line: &str) {
        let line = format!("{}: {}", self.external.name, visible_line(line));
        self.team.sink.lines(Tone::Runtime, &line);
    }

    /// The task that the agent still owns.
    fn owned_task(&mut self) -> Option<Assignment> {
        let claims = &self.team.shared.claims;
        let is_over = |task: &mut Assignment| claims.generation(task.task) != Some(task.generation);
        self.inputs.task.take_if(is_over);
        self.inputs.task.clone()
    }

    /// The task, messages and notes that the agent has not received. `None`: nothing that starts a turn.
    fn next_prompt(&mut self) -> Option<Prompt> {
        let messages = self.team.shared.arrivals.take();
        let requests = self.team.shared.arrivals.take_requests();
        let task = match std::mem::take(&mut self.inputs.is_new) {
            true => self.owned_task(),
            false => None,
        };
        let continues = std::mem::take(&mut self.inputs.continues);
        let starts = continues || requests.iter().any(|request| request.may_allow);
        self.inputs
            .notes
            .extend(requests.iter().map(|request| request.text()));
        let kept = std::mem::take(&mut self.inputs.kept);
        if messages.is_empty() && kept.is_empty() && task.is_none() && !starts {
            return None;
        }
        let sink = &self.team.sink;
        let mut parts = Vec::new();
        let mut read = Vec::new();
        if let Some(prompt) = self.inputs.undelivered.take() {
            parts.push(prompt.text);
            read.extend(prompt.read);
        }
        parts.append(&mut self.inputs.notes);
        for prompt in kept {
            parts.push(prompt.text);
            read.extend(prompt.read);
        }
        read.extend(messages.iter().map(|message| message.id));
        for message in &messages {
            sink.lines(Tone::Runtime, &paint::message(message));
            parts.push(message_line(message));
        }
        let mut about_task = String::new();
        if let Some(task) = task {
            sink.lines(Tone::Runtime, &paint::header(&task));
            about_task = prompts::assignment(&task);
        }
        Some(Prompt {
            text: parts.join("\n\n"),
            about_task,
            read,
        })
    }

    /// The unread messages, which are offered to the agent during its turn.
    fn steerable(&self) -> Prompt {
        let messages = self.team.shared.arrivals.take();
        for message in &messages {
            let line = paint::message(message);
            self.team.sink.lines(Tone::Runtime, &line);
        }
        let texts: Vec<_> = messages.iter().map(message_line).collect();
        Prompt {
            text: texts.join("\n\n"),
            about_task: String::new(),
            read: messages.iter().map(|message| message.id).collect(),
        }
    }

    /// Handles messages that were offered to the agent during its turn.
    async fn steered(&mut self, prompt: Prompt, is_accepted: bool) -> Result<(), End> {
        if prompt.read.is_empty() {
            return Ok(());
        }
        if !is_accepted {
            self.inputs.kept.push(prompt);
            return Ok(());
        }
        let Prompt { text, read, .. } = prompt;
        self.append(vec![Entry::Sent(text)], read, None).await
    }

    /// Stores a prompt that the agent has accepted, and acknowledges its messages.
    async fn accepted(&mut self, prompt: Option<Prompt>) -> Result<(), End> {
        let Some(prompt) = prompt else {
            return Ok(());
        };
        let sent = vec![Entry::Sent(prompt.full_text())];
        self.append(sent, prompt.read, None).await
    }

    /// Stores entries in the transcript, and acknowledges messages.
    async fn append(
        &mut self,
        mut entries: Vec<Entry>,
        mut read: Vec<MessageId>,
        turn_end: Option<TurnEnd>,
    ) -> Result<(), End> {
        if let Some(session) = &self.unstored_session {
            entries.insert(0, Entry::Session(session.clone()));
        }
        let (usage, cost) = self.meter.take();
        entries.extend(cost.map(Entry::Cost));
        let arrivals = &self.team.shared.arrivals;
        read.extend(arrivals.taken_by_tool());
        let args = AppendTranscript {
            items: entries.into_iter().map(Entry::stored).collect(),
            read,
            usage,
            turn_end,
            ..AppendTranscript::default()
        };
        let stored = self.team.call::<TranscriptAppend>(&args).await;
        let stored = stored.map_err(|refusal| cannot("cannot store the transcript", &refusal))?;
        arrivals.acknowledged(&args.read);
        self.inputs.allowances.update(stored.allowance);
        self.unstored_session = None;
        Ok(())
    }

    /// Stores the usage that was counted since the last entry, if any.
    async fn store_usage(&mut self) -> Result<(), End> {
        match self.meter.due() {
            Some(_) => self.append(Vec::new(), Vec::new(), None).await,
            None => Ok(()),
        }
    }

    /// Ends the turn. `failure`: why the turn could not continue.
    async fn rest(&mut self, report: String, failure: Option<String>) -> Result<(), End> {
        let turn_end = TurnEnd {
            report: without_middle(report.clone(), UNCUT_MAX),
            failure,
        };
        self.append(vec![Entry::Answer(report)], Vec::new(), Some(turn_end))
            .await
    }

    /// Releases the task, if any, and ends the turn.
    async fn give_up(&mut self, why: &str, report: &str) -> Result<(), End> {
        let why = visible_line(why).into_owned();
        self.team.sink.lines(Tone::Runtime, &format!("✗ {why}"));
        let mut account = format!("{} {why}", self.team.member());
        if let Some(task) = self.owned_task() {
            let release = EndTask {
                task: task.task,
                generation: Some(task.generation),
                text: without_middle(account.clone(), UNCUT_MAX),
            };
            match self.team.call::<TaskRelease>(&release).await {
                Ok(_) => account.push_str(&format!("\nIt has released {}.", task.task)),
                Err(refusal) => {
                    let what = format!("cannot end {}", task.task);
                    let sink = &self.team.sink;
                    sink.lines(Tone::Runtime, &refused(&what, &refusal));
                }
            }
            self.team.shared.claims.forget(task.task, task.generation);
            self.inputs.task = None;
        }
        if !report.is_empty() {
            account.push_str(&format!("\nIts last text: {report}"));
        }
        self.rest(account, Some(why)).await
    }

    /// The end of the loop after the program has exited. The supervisor restarts the member, which resumes the session.
    fn exited(&self, why: &str) -> End {
        End::Report(ExitReport {
            code: ExitCode::Failed as u8,
            reason: visible_line(&format!("{} has exited: {why}", self.external.name)).into_owned(),
            hold: false,
        })
    }

    /// The end of the loop because the agent could act without asking, or because its messages are not understood.
    fn unusable(&self, why: &str) -> End {
        held(
            ExitCode::Denied,
            format!("cannot use {}: {why}", self.external.name),
        )
    }
}

/// The end of the loop because the member cannot work until the user acts.
fn held(code: ExitCode, reason: String) -> End {
    End::Report(ExitReport {
        code: code as u8,
        reason: visible_line(&reason).into_owned(),
        hold: true,
    })
}
