//! The loop of an agent: input for the model, its answers, its tool calls, and the end of its turns. Started by the
//! worker's loop; the two loops communicate only over channels.
//!
//! ```text
//! read transcript ──► idle ──input──► stored ──► step ──► calls stored ──► executed ──► results stored ─┐
//!                      ▲                ▲         └ no calls: the end of the turn                       │
//!                      │                └───────────────────────────────────────────────────────────────┘
//!                      └── report, or release of its task ◄┘
//! ```
//! Nothing takes effect before it is stored: a message counts as read, a call is executed and a result is used only
//! after the supervisor has stored it in the transcript.

use std::convert::Infallible;
use std::sync::Arc;

use agent_team_llm::{Answer, Item, ModelError, Stop, ToolCall, ToolResult};
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::view::Usage;
use agent_team_protocol::{MemberName, Party};
use agent_team_terminal_ui::Tone;
use agent_team_tools::confine::Confinement;
use agent_team_tools::mcp::{Servers, UserForms};
use agent_team_tools::notes;
use agent_team_tools::team::{ENDS_TASK, FINISH, plan_first, plan_status, small_window};
use agent_team_tools::web_search;
use agent_team_tools::web_search::Search;
use agent_team_tools::{BASH, ToolContext};
use serde_json::Value;

use super::calls::Toolbox;
use super::compact::Room;
use super::conversation::{Conversation, End, cannot};
use super::ending::{Reminders, Retries, Turn, Unusable};
use super::hooks::{Hooks, SessionStart, StopBlocks};
use super::inbox::ModelInput;
use super::repetition::{Repeated, Repetition};
use super::step::StepOutcome;
use super::text_calls::{self, Opening};
use super::work_record::TODO;
use super::{deps, instructions, prompts};

/// The default step limit of a turn.
const MAX_STEPS: u32 = 100;

/// The sizes of the newest part of the conversation that a summary leaves unchanged, as percentages of the window. They
/// are tried in this order.
const SHARES: [u64; 3] = [25, 10, 0];

#[derive(Debug)]
pub(super) struct AgentLoop {
    pub(super) agent: AgentSpec,
    pub(super) confinement: Option<Arc<Confinement>>,
    pub(super) toolbox: Toolbox,
    /// The member's MCP servers, once they are connected.
    pub(super) servers: Option<Servers>,
    pub(super) hooks: Hooks,
    /// The team's lead, once the team is known.
    pub(super) lead: Option<MemberName>,
    pub(super) conversation: Conversation,
}

/// The calls of an answer that may be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AllowedCalls {
    Everything,
    /// Only calls that end a task or the run may be executed: this is the last step.
    Endings,
    /// The answer was truncated: a call's arguments may be incomplete.
    NoneTruncated,
    /// The provider filtered the answer.
    NoneFiltered,
}

impl AgentLoop {
    /// Runs until the member is stopped, or cannot continue.
    pub(super) async fn run(mut self) -> End {
        match self.run_until_end().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn run_until_end(&mut self) -> Result<Infallible, End> {
        self.conversation.read_back().await?;
        for warning in self.conversation.model.warnings() {
            self.conversation.sink.lines(Tone::Runtime, warning);
        }
        if let Some(strategy) = self.agent.strategy.clone() {
            return self.lead_by_rounds(&strategy).await;
        }
        self.resume().await?;
        loop {
            if self.conversation.inbox.wait_for_work().await.is_err() {
                return Err(End::Stopped);
            }
            match self.conversation.inbox.takes_compaction() {
                true => self.compact_by_hand(true).await?,
                false => self.turn().await?,
            }
        }
    }

    /// Connects to MCP servers and sets up the web search. Returns sections of the situation: the problems of servers
    /// and of the search, and the description of the servers. The member works without the parts that failed.
    async fn connect(&mut self) -> Result<String, End> {
        let permission = deps::permission_of(&self.agent, &self.conversation.client);
        let context = self.toolbox.context();
        let window = self.conversation.model.window();
        let forms = UserForms {
            client: self.conversation.client.clone(),
            arrivals: self.conversation.shared.arrivals.clone(),
            display: Arc::new(self.conversation.sink.clone()),
            open: Arc::default(),
        };
        let mut servers = tokio::select! {
            servers = Servers::connect(&self.agent, window, &permission, context, forms) => servers,
            () = self.conversation.inbox.stop_requested() => return Err(End::Stopped),
        };
        let mut problems = servers.take_problems();
        let mut tools = Vec::new();
        match web_search::of(
            &self.agent,
            self.conversation.model.search_support(),
            &permission,
            context,
        ) {
            Ok(Search::None) => {}
            Ok(Search::Provider) => self.conversation.search = true,
            Ok(Search::Tool(tool)) => tools.push(tool),
            Err(why) => problems.push(format!("web_search: {why}")),
        }
        if self.conversation.specs.iter().any(|spec| spec.name == BASH) {
            let sandbox = match &self.confinement {
                Some(confinement) => confinement.description().await,
                None => prompts::UNCONFINED.to_owned(),
            };
            self.conversation.sink.lines(Tone::Dim, &sandbox);
        }
        for problem in &problems {
            self.conversation.sink.lines(Tone::Runtime, problem);
        }
        if self.agent.must_plan {
            tools = plan_first(tools, &self.conversation.client);
        }
        tools.extend(servers.tools());
        self.toolbox.add(tools);
        self.conversation.specs = self.toolbox.specs();
        self.conversation.sink.commands(servers.prompts());
        let description = without_secrets(self.toolbox.context(), &servers.description());
        self.servers = Some(servers);
        let problems = prompts::problems(&problems);
        Ok(format!("{problems}{description}{}", self.notes()))
    }

    /// Applies the changes that MCP servers have reported since the last step.
    async fn refresh_servers(&mut self) -> Result<(), End> {
        let Some(servers) = &mut self.servers else {
            return Ok(());
        };
        let changes = tokio::select! {
            changes = servers.refresh() => changes,
            () = self.conversation.inbox.stop_requested() => return Err(End::Stopped),
        };
        for problem in servers.take_problems() {
            let problem = without_secrets(self.toolbox.context(), &problem);
            self.conversation.sink.lines(Tone::Runtime, &problem);
        }
        if changes.prompts {
            self.conversation.sink.commands(servers.prompts());
        }
        if !changes.tools.is_empty() {
            self.toolbox.replace_mcp(servers.tools());
            self.conversation.specs = self.toolbox.specs();
            self.conversation.sink.lines(Tone::Runtime, &changes.tools);
            self.conversation.inbox.note(changes.tools);
        }
        Ok(())
    }

    /// Restores the state that tools have only in memory: the files that the model has read, and the todo list. To
    /// restore the list, repeats the call that last wrote it.
    async fn restore_tools(&mut self) {
        let seen = self.conversation.transcript.take_seen();
        self.toolbox.context().seen.restore(seen);
        if let Some(todo) = &self.conversation.transcript.record().todo {
            self.toolbox.repeat(TODO, &todo.input).await;
        }
    }

    /// The section about notes; empty if there are none, or if the agent cannot read them.
    fn notes(&self) -> String {
        let mut specs = self.conversation.specs.iter();
        match specs.any(|spec| spec.name == notes::NAME) {
            true => prompts::notes(&notes::listed_names(&self.toolbox.context().notes)),
            false => String::new(),
        }
    }

    /// Reads the team, and resumes the turn in which the transcript ends, if any.
    async fn resume(&mut self) -> Result<(), End> {
        let problems = self.connect().await?;
        self.restore_tools().await;
        let team = self.conversation.client.call::<TeamShow>(&Nothing {}).await;
        let team = team.map_err(|refusal| cannot("cannot read the team", &refusal))?;
        let files = self.agent.instructions.clone();
        let window = self.conversation.model.window();
        let max = small_window::text_max(window);
        let instructions = instructions::read(files, &team.project, max).await;
        for notice in &instructions.notices {
            self.conversation.sink.lines(Tone::Runtime, notice);
        }
        (self.conversation.system, self.conversation.situation) = deps::prompts_of(
            &self.conversation.client,
            &self.agent,
            &team,
            window,
            self.toolbox.cwd(),
            &self.toolbox.context().secrets.redact(&instructions.text),
            &problems,
        );
        self.conversation.check_window()?;
        let mut me = team.members.iter();
        let me = me.find(|it| it.name == self.conversation.client.member);
        if let Some(mode) = me.and_then(|it| it.mode).or(team.mode) {
            self.hooks.set_initial_mode(mode);
        }
        let mut members = team.members.iter();
        self.lead = members
            .find(|member| member.lead)
            .map(|lead| lead.name.clone());
        self.session_starts(match self.conversation.transcript.entries() {
            0 => SessionStart::New,
            _ => SessionStart::Restart,
        })
        .await?;
        if let Some(returned) = self.conversation.transcript.lost_calls() {
            self.conversation
                .append(vec![returned], Vec::new(), Usage::default())
                .await?;
        }
        if self.conversation.transcript.is_unfinished() {
            // `agent-team run` stops the team when the run is finished. That stop can arrive after the worker has stored
            // the call of `finish`, but before it has stored the end of the turn: such a turn must not continue.
            let inbox = &mut self.conversation.inbox;
            let has_work = inbox.task().is_some() || inbox.has_task();
            if self.conversation.transcript.ends_with_finish() && !has_work {
                return self.conversation.finish_turn(String::new()).await;
            }
            let model_inputs = self.conversation.inbox.take();
            let mut note = prompts::restarted(self.conversation.inbox.task());
            let mut members = team.members.iter();
            let me = members.find(|member| member.name == self.conversation.client.member);
            if let Some(plan) = me.and_then(|me| me.plan.as_ref()) {
                note.push_str(&format!(" Plan status: {}", plan_status(plan)));
            }
            let note = Item::Input {
                text: prompts::note(&note),
            };
            self.conversation
                .append(vec![note], Vec::new(), Usage::default())
                .await?;
            self.store_inputs(model_inputs).await?;
            return self.turn().await;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), End> {
        let limit = self.agent.max_steps.unwrap_or(MAX_STEPS).max(1);
        let mut steps = 0;
        let mut report = String::new();
        let mut reminders = Reminders::default();
        let mut retries = Retries::default();
        let mut repetition = Repetition::default();
        let mut stop_blocks = StopBlocks::default();
        let mut has_called = false;
        loop {
            self.conversation.wait_if_interrupted().await?;
            if self.conversation.inbox.takes_compaction() {
                self.compact_by_hand(false).await?;
            }
            self.refresh_servers().await?;
            let mut model_inputs = self.conversation.inbox.take();
            let had_inputs = !model_inputs.is_empty();
            if model_inputs
                .iter()
                .any(|input| matches!(input, ModelInput::Task(_)))
            {
                steps = 0;
            }
            if model_inputs.iter().any(|input| self.gives_new_work(input)) {
                reminders.reset();
                repetition = Repetition::default();
                self.conversation.shared.arrivals.forget_quiet_waits();
                stop_blocks = StopBlocks::default();
            }
            steps += 1;
            let is_last = steps >= limit;
            if is_last {
                model_inputs.push(ModelInput::Note(prompts::last_step(
                    limit,
                    self.conversation.inbox.task(),
                )));
            }
            let has_stored = self.store_inputs(model_inputs).await?;
            if had_inputs && !has_stored && steps == 1 {
                // Hooks withheld everything that started this turn.
                return self.conversation.finish_turn(String::new()).await;
            }
            let answer = match self.step().await? {
                StepOutcome::Answered(answer) => answer,
                StepOutcome::Interrupted(_) => continue,
                StepOutcome::Failed(error) => return self.conversation.give_up(&error).await,
            };
            let parses_calls = self.conversation.model.parses_calls();
            let answer = match parses_calls {
                true => answer,
                false => {
                    let transcript = &self.conversation.transcript;
                    let opening = Opening::after(transcript.items());
                    text_calls::read(answer, transcript.entries(), opening)
                }
            };
            if !answer.text.trim().is_empty() {
                report.clone_from(&answer.text);
            }
            let has_calls = !answer.calls.is_empty();
            let may_be_empty = has_called && self.conversation.inbox.task().is_none();
            let unusable = Unusable::of(&answer, may_be_empty, parses_calls);
            if unusable.is_none() {
                retries.reset();
            }
            let turn = match unusable {
                Some(unusable) => {
                    let allowed = match unusable {
                        Unusable::Refused => AllowedCalls::NoneFiltered,
                        Unusable::Empty | Unusable::Truncated | Unusable::WrittenCall => {
                            AllowedCalls::NoneTruncated
                        }
                    };
                    if has_calls {
                        self.execute_calls(answer, allowed, &mut repetition).await?;
                    } else {
                        self.conversation.store_answer(answer).await?;
                    }
                    self.conversation
                        .retry(unusable, has_calls, &mut retries, is_last)
                }
                None if !has_calls && answer.stop == Stop::Paused && !is_last => {
                    self.conversation.store_answer(answer).await?;
                    Turn::Continues
                }
                None if !has_calls => {
                    let must_continue = match is_last {
                        true => None,
                        false => self.must_continue(&answer, &mut stop_blocks).await?,
                    };
                    match must_continue {
                        Some(reason) => {
                            self.conversation.store_answer(answer).await?;
                            self.conversation.inbox.note(reason);
                            Turn::Continues
                        }
                        None => {
                            self.conversation
                                .conclude(answer, &report, &mut reminders, is_last)
                                .await?
                        }
                    }
                }
                None => {
                    let allowed = match is_last {
                        true => AllowedCalls::Endings,
                        false => AllowedCalls::Everything,
                    };
                    if !is_last {
                        reminders.reset();
                    }
                    stop_blocks = StopBlocks::default();
                    has_called = true;
                    self.execute_calls(answer, allowed, &mut repetition).await?
                }
            };
            match turn {
                Turn::Over => return Ok(()),
                Turn::GivenUp(why) => {
                    return self
                        .conversation
                        .release_and_finish_turn(&why, &report)
                        .await;
                }
                Turn::Continues if is_last => {
                    let why = format!("stopped at its limit of {limit} steps");
                    return self
                        .conversation
                        .release_and_finish_turn(&why, &report)
                        .await;
                }
                Turn::Continues => {}
            }
        }
    }

    /// Returns whether the input gives the model new work: a new task, or a message of the user or the lead. After new
    /// work, the model gets another reminder before its task is released.
    fn gives_new_work(&self, input: &ModelInput) -> bool {
        match input {
            ModelInput::Task(_) => true,
            ModelInput::Message(message) => match &message.from {
                Party::User => true,
                Party::Member(sender) => self.lead.as_ref() == Some(sender),
                Party::System => false,
            },
            ModelInput::Request(_) | ModelInput::Note(_) => false,
        }
    }

    /// Makes room if necessary, and runs one step.
    async fn step(&mut self) -> Result<StepOutcome, End> {
        if self.conversation.is_full() {
            self.conversation.prune().await?;
        }
        if self.conversation.is_full()
            && let Some(stepped) = self.make_room_for(&mut SHARES.into_iter().take(1)).await?
        {
            return Ok(stepped);
        }
        let mut shares = SHARES.into_iter();
        let (mut may_guess, mut may_prune) = (true, true);
        loop {
            let stepped = self.conversation.ask().await?;
            let is_too_long = match &stepped {
                StepOutcome::Failed(ModelError::TooLong(_)) => true,
                // Model servers have no common error for a conversation that is too long. If this error may mean that,
                // retry once with a shorter conversation.
                StepOutcome::Failed(error) => {
                    std::mem::take(&mut may_guess) && self.conversation.may_be_too_long(error)
                }
                StepOutcome::Answered(_) | StepOutcome::Interrupted(_) => false,
            };
            if !is_too_long || shares.len() == 0 {
                return Ok(stepped);
            }
            if std::mem::take(&mut may_prune) && self.conversation.prune().await? {
                continue;
            }
            if let Some(stepped) = self.make_room_for(&mut shares).await? {
                return Ok(stepped);
            }
        }
    }

    /// Tries the shares in order until a summary replaces part of the conversation. Returns `Some` only if an
    /// interruption or a model error prevents the summary.
    async fn make_room_for(
        &mut self,
        shares: &mut impl Iterator<Item = u64>,
    ) -> Result<Option<StepOutcome>, End> {
        let mut is_announced = false;
        for share in shares {
            if !self.conversation.can_make_room(share) {
                continue;
            }
            if !std::mem::replace(&mut is_announced, true) {
                self.before_compaction("auto").await?;
            }
            match self.conversation.make_room(share).await? {
                Room::Made => {
                    self.session_starts(SessionStart::Compaction).await?;
                    break;
                }
                Room::NothingOlder => {}
                Room::Interrupted(why) => return Ok(Some(StepOutcome::Interrupted(why))),
                Room::Failed(error) => return Ok(Some(StepOutcome::Failed(error))),
            }
        }
        Ok(None)
    }

    async fn compact_by_hand(&mut self, is_idle: bool) -> Result<(), End> {
        if self.conversation.can_compact_by_hand() {
            self.before_compaction("manual").await?;
        }
        self.conversation.compact_by_hand(is_idle).await
    }

    /// Executes the permitted calls of the answer, and stores the results of all calls.
    async fn execute_calls(
        &mut self,
        answer: Answer,
        allowed: AllowedCalls,
        repetition: &mut Repetition,
    ) -> Result<Turn, End> {
        let all = answer.calls.clone();
        self.conversation.store_answer(answer).await?;
        let owned = self.conversation.inbox.task().is_some();
        let (calls, refused): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|call| allowed.includes(call));
        let executed = self
            .toolbox
            .execute(
                &calls,
                &mut self.conversation.inbox,
                &self.conversation.sink,
            )
            .await;
        // Messages that these calls have shown to the model count as read once the results are stored.
        let read = self.conversation.shared.arrivals.taken_by_tool();
        let mut done = calls.iter().zip(&executed.results);
        let finished = done.any(|(call, result)| call.name == FINISH && !result.failed);
        let has_changed = !executed.changed.is_empty();
        // The results of interrupted calls state the interruption, not a failure of the model.
        let repeated = match executed.interrupted {
            true => None,
            false => {
                let reads_only = |call: &ToolCall| self.toolbox.reads_only(call);
                repetition.record(&calls, &executed.results, has_changed, reads_only)
            }
        };
        let mut results = executed.results;
        results.extend(refused.into_iter().map(|call| ToolResult {
            id: call.id,
            text: allowed.refusal().into(),
            failed: true,
            media: Vec::new(),
        }));
        let seen = self.toolbox.context().seen.take_unstored();
        self.conversation
            .append_results(results, read, executed.changed, seen)
            .await?;
        if executed.stopped {
            return Err(End::Stopped);
        }
        if let Some(call) = calls.iter().find(|call| finished && call.name == FINISH) {
            let answer = answer_of(call);
            self.conversation.show_goal_end(&answer).await;
            self.finished(&answer).await?;
        }
        if let (Some(reason), false) = (executed.stopped_by_hook, finished) {
            return Ok(Turn::GivenUp(format!("stopped by a hook: {reason}")));
        }
        // The task or run is over: another answer would only cost tokens.
        let ended = owned && allowed == AllowedCalls::Endings;
        if (finished || ended) && self.conversation.inbox.task().is_none() {
            if !self.conversation.inbox.has_task() {
                self.conversation.finish_turn(String::new()).await?;
                return Ok(Turn::Over);
            }
            if ended {
                return Ok(Turn::Over);
            }
        }
        Ok(self.break_repetition(repeated))
    }

    /// Notifies the model of the first repetition in a turn, and gives up after the second.
    fn break_repetition(&mut self, repeated: Option<Repeated>) -> Turn {
        match repeated {
            None => Turn::Continues,
            Some(Repeated::First(what)) => {
                let line = format!("… the model repeats itself: it {what}");
                self.conversation.sink.lines(Tone::Runtime, &line);
                let note = prompts::repetition(&what, self.conversation.inbox.task());
                self.conversation.inbox.note(note);
                Turn::Continues
            }
            Some(Repeated::Again(what)) => Turn::GivenUp(format!(
                "stopped because its model repeats itself: it {what}"
            )),
        }
    }
}

/// Redacts the member's secrets in a text from an MCP server: the server may know them, for example from its environment.
fn without_secrets(context: &ToolContext, text: &str) -> String {
    context.secrets.redact(text).into_owned()
}

/// The answer to the goal in a call of the tool `finish`.
fn answer_of(call: &ToolCall) -> String {
    let input: Value = serde_json::from_str(&call.input).unwrap_or_default();
    input["answer"].as_str().unwrap_or_default().to_owned()
}

impl AllowedCalls {
    fn includes(self, call: &ToolCall) -> bool {
        match self {
            Self::Everything => true,
            Self::Endings => call.name == FINISH || ENDS_TASK.contains(&call.name.as_str()),
            Self::NoneTruncated | Self::NoneFiltered => false,
        }
    }

    /// The result of a call that is not executed.
    fn refusal(self) -> &'static str {
        match self {
            Self::Everything | Self::Endings => prompts::AFTER_LAST_STEP,
            Self::NoneTruncated => prompts::TRUNCATED_CALLS,
            Self::NoneFiltered => prompts::FILTERED_CALLS,
        }
    }
}
