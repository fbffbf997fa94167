//! The loop of a member whose work is done by another vendor's agent: passes it tasks and messages as prompts, shows
//! what it does, and asks for the permissions that it needs. Replaces `agent_loop`; started by the worker's loop.
//!
//! ```text
//! idle ──messages, task──► prompt ──► updates, permission questions ──► end of turn
//!   ▲                        ▲ └─ messages: steered into the turn, or kept for the next prompt │
//!   │                        └── reminder, if the agent still owns its task ◄────────────────┤
//!   └── report, or release of the task ◄─────────────────────────────────────────────────────┘
//! ```
//! The agent reaches its team's tools over MCP, see `team_door`. Its transcript holds the id of its session, so that a
//! restarted member continues the conversation. A message counts as read when the agent has accepted it.

mod acp;
mod channel;
mod connection;
mod entry;
mod inputs;
mod meter;
mod permission;
pub(crate) mod probe;
pub(crate) mod team_door;
mod updates;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AppendTranscript, EndTask, TaskRelease, TeamShow, TranscriptAppend, TurnEnd,
};
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::spec::{AgentSpec, ExternalAgent};
use agent_team_protocol::text::visible_line;
use agent_team_protocol::{MessageId, method};
use agent_team_system::daemon::sibling_binary;
use agent_team_terminal_ui::Tone;
use agent_team_tools::program::find_outside;
use agent_team_tools::team::{message_line, without_middle};
use agent_team_tools::{Permission, ToolContext};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::acp::Acp;
use self::channel::{
    AgentProgram, Event, OpenError, Opened, PermissionAnswer, SideChannel, TurnError, open_in_time,
};
use self::entry::{EarlierSession, Entry, earlier_session};
pub(super) use self::inputs::Inputs;
use self::inputs::{Prompt, stop_requested};
pub(super) use self::meter::Meter;
use self::permission::{Decided, decide};
use self::team_door::TeamDoor;
use self::updates::Updates;
use self::wire::StopReason;
use super::conversation::{End, cannot};
use super::deps;
use super::ending::UNCUT_MAX;
use super::prompts;
use crate::hosted::team_handle::TeamHandle;
use crate::pane::paint;
use crate::timer::sleep_until;
use crate::worker::{ExitReport, refused};

/// The argument with which this worker's program connects its stdin and stdout to the team's tools.
const CONNECT: &str = "--mcp";

/// Variables of a program that runs inside another vendor's agent. A nested agent would take itself for a part of that
/// agent. The environment of external agents contains only variables that `launch` selects.
pub(crate) const NESTED: [&str; 2] = ["CLAUDECODE", "CLAUDE_CODE_"];

/// The first prompt of a session begins with the team's rules. They refer to tools by their plain names.
const TOOLS: &str = "The tools named here are those of the MCP server `team`. Call them there.";

const INTERRUPTED: &str = "A message interrupted your turn. Handle it first, then continue.";

const CUT: &str =
    "A limit of your team stopped you. It allows you to continue now: finish what you were doing.";

const RESTARTED: &str = "Your program was restarted during your turn. Check what is done, then finish what you were doing.";

/// The time limit of the end of a cancelled turn. Afterwards, the agent is restarted.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// The largest number of open permission questions. Further questions are answered as cancelled.
const QUESTIONS_MAX: usize = 32;

/// The time for which the end of the connection is awaited after it failed.
const CLOSED_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct External {
    pub(super) external: ExternalAgent,
    pub(super) agent: AgentSpec,
    pub(super) team: TeamHandle,
    pub(super) context: Arc<ToolContext>,
    pub(super) permission: Permission,
    /// The socket at which the agent's programs reach the team's tools.
    pub(super) socket: PathBuf,
    /// Open while an agent runs.
    pub(super) door: Option<TeamDoor>,
    pub(super) inputs: Inputs,
    /// The id of a new session, until it is stored with the first prompt. An entry without a turn would show an idle
    /// member as working.
    pub(super) unstored_session: Option<String>,
    pub(super) meter: Meter,
}

/// How an exchange ended.
enum Ended {
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

    /// Starts the agent, and opens its session.
    async fn start(&mut self) -> Result<Box<dyn SideChannel>, End> {
        let earlier = earlier_session(&self.team).await?;
        let program = self.program()?;
        let started = Acp::start(&program).map_err(|error| {
            let program = program.program.display();
            held(
                ExitCode::NotFound,
                format!("cannot start {program}: {error}"),
            )
        })?;
        let mut channel: Box<dyn SideChannel> = Box::new(started);
        let opened = match self.open_door(&*channel) {
            Ok(()) => self.open(&mut *channel, &program, earlier).await,
            Err(end) => Err(end),
        };
        match opened {
            Ok(()) => Ok(channel),
            Err(end) => {
                channel.stop().await;
                Err(end)
            }
        }
    }

    fn open_door(&mut self, channel: &dyn SideChannel) -> Result<(), End> {
        // Closing the earlier door removes its socket.
        self.door = None;
        let door = match channel.process() {
            Some(agent) => TeamDoor::open(&self.socket, agent, self.team.team_tools()),
            None => Err(std::io::Error::other("the agent has exited")),
        };
        let door = door.map_err(|error| {
            held(
                ExitCode::Failed,
                format!("cannot open the team's tools: {error}"),
            )
        })?;
        self.door = Some(door);
        Ok(())
    }

    /// Opens a session, unless the member is stopped meanwhile.
    async fn open(
        &mut self,
        channel: &mut dyn SideChannel,
        program: &AgentProgram,
        earlier: Option<EarlierSession>,
    ) -> Result<(), End> {
        let name = &self.external.name;
        let session = earlier.as_ref().map(|earlier| earlier.id.clone());
        let opened = tokio::select! {
            opened = open_in_time(channel, program, session) => opened,
            () = stop_requested(&mut self.inputs) => return Err(End::Stopped),
        };
        let opened = opened.map_err(|error| match error {
            OpenError::Login(methods) => held(
                ExitCode::Denied,
                format!("{name} needs a login; it offers: {methods}"),
            ),
            OpenError::Other(why) => held(ExitCode::NotFound, format!("cannot use {name}: {why}")),
        })?;
        let sink = &self.team.sink;
        sink.lines(
            Tone::Dim,
            &format!("connected to {}", channel.description()),
        );
        if let Opened::Lost(why) = &opened {
            let why = visible_line(why);
            let line = format!("a new session begins: the earlier one is lost: {why}");
            sink.lines(Tone::Runtime, &line);
        }
        if earlier.as_ref().is_some_and(|earlier| earlier.is_open) {
            self.inputs.continue_with(RESTARTED);
        }
        let is_new = opened != Opened::Resumed;
        let earlier = earlier.filter(|_| !is_new);
        let counted = earlier.as_ref().map_or(0, |earlier| earlier.cost);
        self.meter.begin_session(counted);
        if is_new {
            self.unstored_session = Some(channel.session().to_owned());
        }
        if earlier.is_none_or(|earlier| !earlier.is_briefed) {
            self.brief().await?;
        }
        Ok(())
    }

    fn program(&self) -> Result<AgentProgram, End> {
        let ExternalAgent { command, env, .. } = &self.external;
        let Some((program, args)) = command.split_first() else {
            let reason = "the external agent has no command".to_owned();
            return Err(held(ExitCode::Usage, reason));
        };
        let mut environment = self.context.env.clone();
        environment.retain(|(name, _)| !env.contains_key(&*name.to_string_lossy()));
        environment.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
        let path = environment.iter().find(|(name, _)| name == "PATH");
        let found = match (program.contains('/'), path) {
            (true, _) => Some(self.context.project.join(program)),
            (false, Some((_, path))) => find_outside(&self.context.project, path, program),
            (false, None) => None,
        };
        let Some(found) = found else {
            let reason = format!(
                "cannot find the program {program} of {}",
                self.external.name
            );
            return Err(held(ExitCode::NotFound, reason));
        };
        let shim = sibling_binary(Engine::External.worker())
            .map_err(|error| held(ExitCode::NotFound, error.to_string()))?;
        Ok(AgentProgram {
            program: found,
            args: args.to_vec(),
            env: environment,
            cwd: self.context.cwd.clone(),
            team_tools: vec![shim.into(), CONNECT.into(), self.socket.clone().into()],
            mode: self.external.mode.clone(),
            steering: self.external.steering,
        })
    }

    /// Queues the team's rules and situation for the first prompt.
    async fn brief(&mut self) -> Result<(), End> {
        let team = self.team.call::<TeamShow>(&method::Nothing {}).await;
        let team = team.map_err(|refusal| cannot("cannot read the team", &refusal))?;
        let (system, situation) = deps::prompts_of(
            &self.team.client,
            &self.agent,
            &team,
            u64::MAX,
            &self.context.cwd,
            "",
            "",
        );
        let text = format!("{system}\n{TOOLS}\n\n{situation}");
        self.inputs.notes.insert(0, text);
        Ok(())
    }

    /// Waits for work, and does one turn of it.
    async fn work(&mut self, channel: &mut Box<dyn SideChannel>) -> Result<(), End> {
        let mut prompt = loop {
            self.inputs.accept_queued();
            if self.inputs.finish_at.is_some() {
                return Err(End::Stopped);
            }
            let is_allowed = self.inputs.allowances.waits().is_none();
            if is_allowed && let Some(prompt) = self.next_prompt() {
                break prompt;
            }
            tokio::select! {
                () = self.inputs.receive() => {}
                event = channel.next() => self.between_turns(event)?,
            }
        };
        let mut is_reminded = false;
        loop {
            (self.inputs.is_interrupted, self.inputs.is_urgent) = (false, false);
            self.inputs.is_abandoned = false;
            let (ended, report) = self.exchange(&mut **channel, prompt).await?;
            if self.inputs.finish_at.is_some() {
                return Err(End::Stopped);
            }
            let is_whole = matches!(ended, Ended::Turn(StopReason::EndTurn));
            let failure = match ended {
                Ended::Turn(StopReason::EndTurn | StopReason::Cancelled) => None,
                Ended::Turn(StopReason::MaxTokens) => {
                    Some("its answer reached the length limit".to_owned())
                }
                Ended::Turn(StopReason::MaxTurnRequests) => {
                    Some("it reached its limit of steps".to_owned())
                }
                Ended::Turn(StopReason::Refusal) => Some("it refused to answer".to_owned()),
                Ended::Turn(StopReason::Other) => {
                    Some("it ended its turn for an unknown reason".to_owned())
                }
                Ended::Failed(why) => Some(why),
                Ended::Unresponsive => {
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
                if is_whole && self.owned_task().is_none() {
                    return self.rest(report, None).await;
                }
                // The turn stays open: it continues once the limit allows it.
                self.inputs.continue_with(CUT);
                let sink = &self.team.sink;
                sink.lines(Tone::Runtime, &format!("… waits: {}", visible_line(&why)));
                return Ok(());
            }
            if let Some(next) = self.next_prompt() {
                prompt = next;
                continue;
            }
            let Some(task) = self.owned_task() else {
                return self.rest(report, None).await;
            };
            if std::mem::replace(&mut is_reminded, true) {
                let why = "ended its turn twice without complete_task, fail_task or release_task";
                return self.give_up(why, &report).await;
            }
            let line = format!("… {} is not completed: the agent is reminded", task.task);
            self.team.sink.lines(Tone::Runtime, &line);
            prompt = Prompt {
                about_task: prompts::note(&prompts::reminder(&task)),
                ..Prompt::default()
            };
        }
    }

    /// Handles a message of the agent outside a turn: there is no turn in which it may ask for anything.
    fn between_turns(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Closed(why) => Err(self.exited(&why)),
            Event::Unusable(why) => Err(self.unusable(&why)),
            Event::Permission(question) => {
                question.answer(PermissionAnswer::Deny);
                Ok(())
            }
            Event::Drain(answer) => {
                answer(&[]);
                Ok(())
            }
            Event::Update(update) => {
                self.meter.read(&update);
                Ok(())
            }
        }
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

    /// The unread messages, to be added to the running turn.
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

    /// Ends the turn. `failure`: why it could not continue.
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

    /// The program has exited. The supervisor restarts the member, which resumes the session.
    fn exited(&self, why: &str) -> End {
        End::Report(ExitReport {
            code: ExitCode::Failed as u8,
            reason: visible_line(&format!("{} has exited: {why}", self.external.name)).into_owned(),
            hold: false,
        })
    }

    /// The agent could act without asking, or its messages are not understood.
    fn unusable(&self, why: &str) -> End {
        held(
            ExitCode::Denied,
            format!("cannot use {}: {why}", self.external.name),
        )
    }

    /// Sends a prompt, and follows the turn to its end. Returns the agent's text.
    async fn exchange(
        &mut self,
        channel: &mut dyn SideChannel,
        prompt: Prompt,
    ) -> Result<(Ended, String), End> {
        let sink = self.team.sink.clone();
        let name = self.external.name.clone();
        let context = Arc::clone(&self.context);
        let mut updates = Updates::new(&sink, &name, &context.secrets);
        let ended = self.follow(channel, prompt, &mut updates).await;
        let report = updates.finish();
        Ok((ended?, report))
    }

    /// Sends a prompt, and passes the updates of the turn to `updates`.
    async fn follow(
        &mut self,
        channel: &mut dyn SideChannel,
        prompt: Prompt,
        updates: &mut Updates<'_>,
    ) -> Result<Ended, End> {
        let sink = self.team.sink.clone();
        let _working = sink.show_thinking();
        let mut steered: JoinSet<(Prompt, bool)> = JoinSet::new();
        let mut questions: JoinSet<Decided> = JoinSet::new();
        let mut permits = BTreeMap::new();
        self.meter.begin_turn();
        let mut response = channel.prompt(&prompt.full_text());
        let mut unaccepted = Some(prompt);
        // Set when the turn is cancelled.
        let mut ends_before = None;
        let mut over = None;
        let mut prompt_end = None;
        let ended = loop {
            // A message that was offered to the agent can start a turn of its own, in which the agent asks for
            // permissions: handle its events until it has ended, too.
            if steered.is_empty()
                && let Some(ended) = over.take()
            {
                break ended;
            }
            let finish_at = self.inputs.finish_at;
            // Inputs come before events: an agent that never pauses could not be interrupted or stopped otherwise.
            tokio::select! {
                biased;
                () = sleep_until(finish_at) => return Err(End::Stopped),
                () = sleep_until(ends_before) => break Ended::Unresponsive,
                // A limit can be reached during the turn.
                () = sleep_until(self.meter.due()), if unaccepted.is_none() => {
                    self.store_usage().await?;
                }
                () = self.inputs.receive() => {
                    let steers = channel.steers();
                    let must_cancel = self.inputs.is_interrupted
                        || self.inputs.is_abandoned
                        || self.inputs.finish_at.is_some()
                        || self.inputs.allowances.waits().is_some()
                        || (self.inputs.is_urgent && !steers);
                    if must_cancel && ends_before.is_none() {
                        ends_before = Some(Instant::now() + CANCEL_LIMIT);
                        channel.cancel();
                        // The protocol requires an answer to each open question of a cancelled turn: the agent may
                        // wait for it before it ends the turn.
                        questions.abort_all();
                        if self.inputs.is_urgent {
                            self.inputs.notes.push(INTERRUPTED.to_owned());
                        }
                    } else if steers && ends_before.is_none() {
                        let messages = self.steerable();
                        if !messages.read.is_empty() {
                            let sent = channel.steer(&messages.text);
                            steered.spawn(async move { (messages, sent.await) });
                        }
                    }
                }
                response = &mut response, if over.is_none() => {
                    over = Some(match response {
                        Ok(end) => {
                            let reason = end.stop_reason;
                            prompt_end = Some(end);
                            Ended::Turn(reason)
                        }
                        Err(TurnError::Closed) => {
                            let (why, has_begun) = closed(channel, updates).await;
                            if has_begun {
                                self.accepted(unaccepted.take()).await?;
                            }
                            return Err(self.exited(&why));
                        }
                        // Some agents answer a cancelled prompt with an error.
                        Err(_) if ends_before.is_some() => {
                            self.inputs.keep(unaccepted.take());
                            Ended::Turn(StopReason::Cancelled)
                        }
                        Err(TurnError::Failed(why)) => Ended::Failed(why),
                    });
                },
                event = channel.next() => {
                    if !matches!(event, Event::Closed(_) | Event::Unusable(_)) {
                        self.accepted(unaccepted.take()).await?;
                    }
                    match event {
                        Event::Update(update) => {
                            self.meter.read(&update);
                            if let Some(call) = updates.show(update) {
                                permits.remove(&call);
                            }
                        }
                        Event::Permission(question)
                            if ends_before.is_some() || questions.len() >= QUESTIONS_MAX =>
                        {
                            drop(question);
                        }
                        Event::Permission(question) => {
                            questions.spawn(decide(
                                question,
                                self.external.name.clone(),
                                self.permission.clone(),
                                Arc::clone(&self.context),
                                sink.clone(),
                            ));
                        }
                        Event::Drain(answer) => {
                            let messages = self.steerable();
                            let texts = (!messages.read.is_empty()).then(|| messages.text.clone());
                            answer(texts.as_slice());
                            self.steered(messages, true).await?;
                        }
                        Event::Unusable(why) => return Err(self.unusable(&why)),
                        Event::Closed(why) => return Err(self.exited(&why)),
                    }
                }
                Some(decided) = questions.join_next() => if let Ok(decided) = decided {
                    if let Some(reason) = decided.denied {
                        self.inputs.notes.push(reason);
                    }
                    permits.extend(decided.permit.map(|permit| (decided.call, permit)));
                },
                Some(sent) = steered.join_next() => if let Ok((prompt, is_accepted)) = sent {
                    self.steered(prompt, is_accepted).await?;
                },
            }
        };
        // Updates that arrived before the response.
        while let Some(event) = channel.try_next() {
            match event {
                Event::Update(update) => {
                    self.accepted(unaccepted.take()).await?;
                    self.meter.read(&update);
                    updates.show(update);
                }
                Event::Unusable(why) => return Err(self.unusable(&why)),
                // Dropping a question answers it. `next` reports the end of the connection again.
                Event::Permission(_) | Event::Drain(_) | Event::Closed(_) => {}
            }
        }
        if let Some(end) = prompt_end {
            self.meter.end_turn(&end.usage, &end.meta);
        }
        match &ended {
            Ended::Turn(_) => self.accepted(unaccepted).await?,
            Ended::Failed(_) => self.inputs.keep(unaccepted),
            Ended::Unresponsive => {
                self.inputs.keep(unaccepted);
                channel.stop().await;
                // Each message that was offered during the turn fails now, and is kept.
                while let Some(Ok((prompt, is_accepted))) = steered.join_next().await {
                    self.steered(prompt, is_accepted).await?;
                }
            }
        }
        Ok(ended)
    }
}

/// Why the connection has ended, and whether an update arrived before.
async fn closed(channel: &mut dyn SideChannel, updates: &mut Updates<'_>) -> (String, bool) {
    let mut has_begun = false;
    let closed = async {
        loop {
            match channel.next().await {
                Event::Closed(why) => return why,
                Event::Update(update) => {
                    has_begun = true;
                    updates.show(update);
                }
                // Dropping a question answers it.
                Event::Permission(_) | Event::Drain(_) | Event::Unusable(_) => {}
            }
        }
    };
    let why = tokio::time::timeout(CLOSED_LIMIT, closed).await;
    let why = why.unwrap_or_else(|_| "it does not read its messages".to_owned());
    (why, has_begun)
}

/// The member cannot work until the user acts.
fn held(code: ExitCode, reason: String) -> End {
    End::Report(ExitReport {
        code: code as u8,
        reason: visible_line(&reason).into_owned(),
        hold: true,
    })
}
