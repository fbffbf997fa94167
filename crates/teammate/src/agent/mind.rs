//! The loop of a thinking member: what its model is told, what it says, what it calls, and when its turn is over.
//! Started by the worker's loop, which it never touches but through channels.
//!
//! ```text
//! read back ──► resting ──heard──► stored ──► step ──► calls stored ──► carried out ──► results stored ─┐
//!                  ▲                 ▲         └ no calls: the end of a turn                            │
//!                  │                 └──────────────────────────────────────────────────────────────────┘
//!                  └── report, or release of its task ◄┘
//! ```
//! Nothing goes on before what it depends on is stored: a message is read, a call made and a result believed only
//! when the supervisor has it in the transcript.

use std::convert::Infallible;
use std::sync::Arc;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AppendTranscript, Nothing, ReadTranscript, Rest, TeamShow, TranscriptAppend, TranscriptRead,
};
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::view::Usage;
use agent_team_protocol::{MemberName, MessageId, Party, Refusal, with_causes};
use agent_team_terminal_ui::Tone;
use serde_json::value::RawValue;

use super::calls::Toolbox;
use super::compact::Room;
use super::ending::Reminders;
use super::inbox::{Heard, Inbox, Interruption};
use super::screen::Screen;
use super::step::{Stepped, Voice, ask};
use super::transcript::{Mark, Transcript, raw, spent, stored};
use super::{say, seam};
use crate::desk::Desk;
use crate::model::{Answer, Item, Model, ModelError, Prompt, Stop, ToolCall, ToolResult, ToolSpec};
use crate::team_tool::{ENDS_TASK, FINISH, Shared, plan_standing};
use crate::tool::bash::BASH;
use crate::tool::confine::Confinement;
use crate::tool::web_search::Search;
use crate::tool::{mcp, plan_first, web_search};
use crate::worker::LastWords;

/// Bytes of JSON that go into one append, unless a single item has more.
const APPEND: usize = 512 << 10;

/// Steps of a turn unless its role says otherwise.
const MAX_STEPS: u32 = 100;

/// What stays as it is when room is made for one step, in percent of the window: less with each attempt.
const SHARES: [u64; 3] = [25, 10, 0];

/// Why a mind comes to its end.
#[derive(Debug)]
pub(super) enum End {
    /// It was told to.
    Stopped,
    Words(LastWords),
}

#[derive(Debug)]
pub(super) struct Mind {
    pub(super) agent: AgentSpec,
    pub(super) model: Arc<dyn Model>,
    pub(super) confinement: Option<Arc<Confinement>>,
    pub(super) toolbox: Toolbox,
    /// The toolbox's, as the model is offered them.
    pub(super) specs: Vec<ToolSpec>,
    /// Its provider may search the web.
    pub(super) search: bool,
    pub(super) system: String,
    /// The team's lead, once the team is known.
    pub(super) lead: Option<MemberName>,
    pub(super) desk: Desk,
    pub(super) shared: Shared,
    pub(super) inbox: Inbox,
    pub(super) transcript: Transcript,
    pub(super) screen: Screen,
}

/// How far a turn has come.
pub(super) enum Turn {
    GoesOn,
    Over,
}

/// Which calls of an answer are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Everything,
    /// The last step: calls that end a task or the run.
    Endings,
    /// The answer was cut off: the arguments of a call may be incomplete.
    NoneCutOff,
    /// The provider filtered the answer.
    NoneFiltered,
}

impl Mind {
    /// Lives until it is told to stop, or cannot go on.
    pub(super) async fn run(mut self) -> End {
        match self.live().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn live(&mut self) -> Result<Infallible, End> {
        self.read_back().await?;
        if let Some(strategy) = self.agent.strategy.clone() {
            return self.lead_by_rounds(&strategy).await;
        }
        self.wake().await?;
        loop {
            if self.inbox.work().await.is_err() {
                return Err(End::Stopped);
            }
            self.turn().await?;
        }
    }

    /// Connects what is not of this program: its MCP servers, and what searches the web. What cannot be used is told
    /// of, and missed by nobody else.
    async fn connect(&mut self) -> Result<String, End> {
        let permission = seam::permission_of(&self.agent, &self.desk);
        let bench = self.toolbox.bench();
        let mut offered = tokio::select! {
            offered = mcp::connect(&self.agent, &permission, bench) => offered,
            () = self.inbox.told_to_stop() => return Err(End::Stopped),
        };
        match web_search::of(&self.agent, self.model.searches(), &permission, bench) {
            Ok(Search::Nobody) => {}
            Ok(Search::Provider) => self.search = true,
            Ok(Search::Tool(tool)) => offered.tools.push(tool),
            Err(why) => offered.troubles.push(format!("web_search: {why}")),
        }
        if self.specs.iter().any(|spec| spec.name == BASH) {
            let held = match &self.confinement {
                Some(confinement) => confinement.told().await,
                None => say::UNCONFINED.to_owned(),
            };
            self.screen.lines(Tone::Dim, &held);
        }
        for trouble in &offered.troubles {
            self.screen.lines(Tone::Accent, trouble);
        }
        if self.agent.must_plan {
            offered.tools = plan_first(offered.tools, &self.desk);
        }
        self.toolbox.add(offered.tools);
        self.specs = self.toolbox.specs();
        Ok(say::troubles(&offered.troubles))
    }

    async fn read_back(&mut self) -> Result<(), End> {
        loop {
            let after = self.transcript.entries();
            let args = ReadTranscript {
                member: None,
                after,
            };
            let page = self.desk.call::<TranscriptRead>(&args).await;
            let page = page.map_err(|refusal| cannot("its transcript cannot be read", &refusal))?;
            self.transcript.read(&page.items).map_err(|unreadable| {
                End::Words(LastWords {
                    code: ExitCode::Failed as u8,
                    reason: with_causes(&unreadable),
                    hold: true,
                })
            })?;
            if !page.more || page.items.is_empty() {
                return Ok(());
            }
        }
    }

    /// Takes up where the transcript ends.
    async fn wake(&mut self) -> Result<(), End> {
        let troubles = self.connect().await?;
        let team = self.desk.call::<TeamShow>(&Nothing {}).await;
        let team = team.map_err(|refusal| cannot("its team cannot be shown", &refusal))?;
        self.system = seam::system_of(&self.desk, &self.agent, &team, self.toolbox.cwd());
        self.system.push_str(&troubles);
        let mut members = team.members.iter();
        self.lead = members
            .find(|member| member.lead)
            .map(|lead| lead.name.clone());
        if let Some(returned) = self.transcript.lost_calls() {
            self.append(vec![returned], Vec::new(), Usage::default())
                .await?;
        }
        if self.transcript.is_unfinished() {
            let heard = self.inbox.take();
            let mut note = say::restarted(self.inbox.task());
            let mut members = team.members.iter();
            let me = members.find(|member| member.name == self.desk.member);
            if let Some(plan) = me.and_then(|me| me.plan.as_ref()) {
                note.push_str(&format!(" Of your plan: {}", plan_standing(plan)));
            }
            let note = Item::Said {
                text: say::note(&note),
            };
            self.append(vec![note], Vec::new(), Usage::default())
                .await?;
            self.hear(heard).await?;
            return self.turn().await;
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), End> {
        let limit = self.agent.max_steps.unwrap_or(MAX_STEPS).max(1);
        let mut steps = 0;
        let mut report = String::new();
        let mut reminders = Reminders::default();
        let mut was_filtered = false;
        loop {
            let mut heard = self.inbox.take();
            if heard.iter().any(|heard| matches!(heard, Heard::Task(_))) {
                steps = 0;
            }
            if heard.iter().any(|heard| self.gives_new_work(heard)) {
                reminders.reset();
            }
            steps += 1;
            let is_last = steps >= limit;
            if is_last {
                heard.push(Heard::Note(say::last_step(limit, self.inbox.task())));
            }
            self.hear(heard).await?;
            let answer = match self.step().await? {
                Stepped::Answered(answer) => answer,
                Stepped::Interrupted(_) => continue,
                Stepped::Failed(error) => return self.give_up(&error).await,
            };
            if !answer.text.trim().is_empty() {
                report.clone_from(&answer.text);
            }
            let is_filtered = answer.stop == Stop::Refused;
            let is_filtered_again =
                std::mem::replace(&mut was_filtered, is_filtered) && is_filtered;
            let turn = match answer.calls.is_empty() {
                true if answer.stop == Stop::Paused && !is_last => {
                    self.store_answer(answer).await?;
                    Turn::GoesOn
                }
                true => {
                    self.conclude(answer, &report, &mut reminders, is_last)
                        .await?
                }
                // A result in an incomplete answer is not the model's last word.
                false if answer.stop == Stop::Length => {
                    self.carry_out(answer, Allowed::NoneCutOff).await?
                }
                false if is_filtered => {
                    let turn = self.carry_out(answer, Allowed::NoneFiltered).await?;
                    // Asking again costs a step each time, and the filter sees the same conversation.
                    if is_filtered_again {
                        let why = "stopped: the provider's filter ended two answers in a row";
                        return self.let_go(why, &report).await;
                    }
                    turn
                }
                false if is_last => self.carry_out(answer, Allowed::Endings).await?,
                false => {
                    reminders.reset();
                    self.carry_out(answer, Allowed::Everything).await?
                }
            };
            match turn {
                Turn::Over => return Ok(()),
                Turn::GoesOn if is_last => {
                    let why = format!("stopped after {limit} steps, its limit");
                    return self.let_go(&why, &report).await;
                }
                Turn::GoesOn => {}
            }
        }
    }

    /// Whether the model may now end its turn for another reason than before: it has a new task, or new words of the
    /// user or the lead.
    fn gives_new_work(&self, heard: &Heard) -> bool {
        match heard {
            Heard::Task(_) => true,
            Heard::Message(message) => match &message.from {
                Party::User => true,
                Party::Member(sender) => self.lead.as_ref() == Some(sender),
                Party::System => false,
            },
            Heard::Request(_) | Heard::Note(_) => false,
        }
    }

    /// Tells the model, which is to say: stores what it is told, and acknowledges the messages among it.
    pub(super) async fn hear(&mut self, heard: Vec<Heard>) -> Result<(), End> {
        let mut items = Vec::new();
        let mut read = Vec::new();
        let mut bytes = 0;
        for heard in heard {
            if let Some(header) = say::header(&heard) {
                self.screen.lines(Tone::Accent, &header);
            }
            let item = say::item(&heard);
            let length = stored(&mut item.clone()).get().len();
            if bytes > 0 && bytes + length > APPEND {
                let (items, read) = (std::mem::take(&mut items), std::mem::take(&mut read));
                self.append(items, read, Usage::default()).await?;
                bytes = 0;
            }
            bytes += length;
            items.push(item);
            if let Heard::Message(message) = heard {
                read.push(message.id);
            }
        }
        if items.is_empty() {
            return Ok(());
        }
        self.append(items, read, Usage::default()).await
    }

    /// One answer, after room was made for it where there was none.
    async fn step(&mut self) -> Result<Stepped, End> {
        if self.is_full()
            && let Some(stepped) = self.squeeze(&mut SHARES.into_iter().take(1)).await?
        {
            return Ok(stepped);
        }
        let mut shares = SHARES.into_iter();
        loop {
            let stepped = self.ask().await?;
            let is_too_long = matches!(stepped, Stepped::Failed(ModelError::TooLong(_)));
            if !is_too_long || shares.len() == 0 {
                return Ok(stepped);
            }
            if let Some(stepped) = self.squeeze(&mut shares).await? {
                return Ok(stepped);
            }
        }
    }

    /// Makes room, leaving the first of these shares that leaves anything out. What came in between, if something did.
    async fn squeeze(
        &mut self,
        shares: &mut impl Iterator<Item = u64>,
    ) -> Result<Option<Stepped>, End> {
        for share in shares {
            match self.make_room(share).await? {
                Room::Made => break,
                Room::Enough => {}
                Room::Interrupted(why) => return Ok(Some(Stepped::Interrupted(why))),
                Room::Failed(error) => return Ok(Some(Stepped::Failed(error))),
            }
        }
        Ok(None)
    }

    pub(super) async fn ask(&mut self) -> Result<Stepped, End> {
        let prompt = Prompt {
            system: &self.system,
            items: self.transcript.items(),
            tools: &self.specs,
            search: self.search,
        };
        let stepped = ask(
            &*self.model,
            prompt,
            &mut self.inbox,
            &self.screen,
            Voice::Aloud,
        );
        unless_stopped(stepped.await)
    }

    pub(super) fn prompt(&self) -> Prompt<'_> {
        Prompt {
            system: &self.system,
            items: self.transcript.items(),
            tools: &self.specs,
            search: self.search,
        }
    }

    /// Carries out those calls of the answer that are allowed, and stores the results of all.
    async fn carry_out(&mut self, answer: Answer, allowed: Allowed) -> Result<Turn, End> {
        let all = answer.calls.clone();
        self.store_answer(answer).await?;
        let owned = self.inbox.task().is_some();
        let (calls, refused): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|call| allowed.includes(call));
        let carried_out = self
            .toolbox
            .carry_out(&calls, &mut self.inbox, &self.screen)
            .await;
        // Shown by these calls, and read once their results are stored.
        let read = self.shared.arrivals.shown();
        let mut done = calls.iter().zip(&carried_out.results);
        let finished = done.any(|(call, result)| call.name == FINISH && !result.failed);
        let mut results = carried_out.results;
        results.extend(refused.into_iter().map(|call| ToolResult {
            id: call.id,
            text: allowed.refusal().into(),
            failed: true,
        }));
        self.append(vec![Item::Returned { results }], read, Usage::default())
            .await?;
        if carried_out.stopped {
            return Err(End::Stopped);
        }
        // Nothing is left to do: another answer would only cost.
        let ended = owned && allowed == Allowed::Endings;
        if (finished || ended) && self.inbox.task().is_none() {
            if !self.inbox.has_task() {
                self.rest(String::new()).await?;
                return Ok(Turn::Over);
            }
            if ended {
                return Ok(Turn::Over);
            }
        }
        Ok(Turn::GoesOn)
    }

    pub(super) async fn store_answer(&mut self, answer: Answer) -> Result<(), End> {
        let usage = spent(answer.usage, self.model.price());
        self.append(vec![Item::Answered(answer)], Vec::new(), usage)
            .await
    }

    /// Stores these, and with that acknowledges these messages. Only then the model has seen or said them.
    pub(super) async fn append(
        &mut self,
        mut items: Vec<Item>,
        read: Vec<MessageId>,
        usage: Usage,
    ) -> Result<(), End> {
        let entries = items.iter_mut().map(stored).collect();
        self.store(entries, read, usage, None).await?;
        items
            .into_iter()
            .for_each(|item| self.transcript.push(item));
        Ok(())
    }

    pub(super) async fn append_mark(
        &mut self,
        mark: Mark,
        usage: Usage,
        rests: Option<Rest>,
    ) -> Result<(), End> {
        self.store(vec![raw(&mark)], Vec::new(), usage, rests)
            .await?;
        self.transcript.mark(mark);
        Ok(())
    }

    pub(super) async fn store(
        &mut self,
        items: Vec<Box<RawValue>>,
        read: Vec<MessageId>,
        usage: Usage,
        rests: Option<Rest>,
    ) -> Result<(), End> {
        let args = AppendTranscript {
            items,
            read,
            usage,
            rests,
        };
        let stored = self.desk.call::<TranscriptAppend>(&args).await;
        let stored =
            stored.map_err(|refusal| cannot("its transcript cannot be stored", &refusal))?;
        self.inbox.allow(stored.allowance);
        self.shared.arrivals.acknowledged(&args.read);
        Ok(())
    }
}

impl Allowed {
    fn includes(self, call: &ToolCall) -> bool {
        match self {
            Self::Everything => true,
            Self::Endings => call.name == FINISH || ENDS_TASK.contains(&call.name.as_str()),
            Self::NoneCutOff | Self::NoneFiltered => false,
        }
    }

    /// The result of a call that is not allowed.
    fn refusal(self) -> &'static str {
        match self {
            Self::Everything | Self::Endings => say::AFTER_LAST_STEP,
            Self::NoneCutOff => say::CUT_CALLS,
            Self::NoneFiltered => say::FILTERED_CALLS,
        }
    }
}

/// Passes on everything but the wish to stop, which is an end.
pub(super) fn unless_stopped(stepped: Stepped) -> Result<Stepped, End> {
    match stepped {
        Stepped::Interrupted(Interruption::Stop { .. }) => Err(End::Stopped),
        other @ (Stepped::Interrupted(Interruption::Hear(_))
        | Stepped::Answered(_)
        | Stepped::Failed(_)) => Ok(other),
    }
}

pub(super) fn cannot(what: &str, refusal: &Refusal) -> End {
    End::Words(LastWords {
        code: ExitCode::Failed as u8,
        reason: format!("{what}: {}", refusal.message),
        hold: false,
    })
}
