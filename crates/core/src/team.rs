//! The state of one team, and queries on it. Only `apply` changes it.

mod apply;

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::id::{LaunchId, MemberName, MessageId, Party, Revision, TaskId};

use crate::answers::{Answer, AnsweredCall, Answers, CallKey};
use crate::budget::Account;
use crate::decide::Decider;
use crate::effect::Effect;
use crate::event::Record;
use crate::input::Input;
use crate::mail::Lane;
use crate::member::{Life, Member};
use crate::plan::TeamPlan;
use crate::refusal::Refused;
use crate::request::Requests;
use crate::run::{Memory, Run, Spent};
use crate::task::{Board, Task};
use crate::time::{Context, Tick};
use crate::user_mail::UserMail;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Team {
    pub(crate) plan: TeamPlan,
    pub(crate) boot: Option<Arc<str>>,
    pub(crate) members: BTreeMap<MemberName, Member>,
    pub(crate) board: Board,
    pub(crate) answers: Answers,
    pub(crate) run: Option<Run>,
    pub(crate) memory: Memory,
    pub(crate) account: Account,
    /// Of all members, including former ones.
    pub(crate) spent: Spent,
    pub(crate) requests: Requests,
    pub(crate) user_mail: UserMail,
    pub(crate) last_message: u64,
    /// The highest number given to an unnamed spawn of each role.
    pub(crate) spawned: BTreeMap<Arc<str>, u64>,
    pub(crate) revision: Revision,
}

/// Replays records of a journal, or of a snapshot and the journal after it.
impl Extend<Record> for Team {
    fn extend<R: IntoIterator<Item = Record>>(&mut self, records: R) {
        for mut record in records {
            // Taken out of the record, not cloned: most answers of a long journal are soon dropped.
            let call = record.call.take();
            self.apply(&record);
            if let Some(call) = call {
                self.remember(record.tick, *call);
            }
        }
    }
}

/// The result of one input.
#[derive(Debug, Default)]
pub struct Step {
    /// To be stored, in this order, before any effect runs.
    pub records: Vec<Record>,
    pub effects: Vec<Effect>,
    /// Tasks that this step completed, with their results. They have left the board.
    pub completed: Vec<CompletedTask>,
    /// Items that this step added to transcripts, to be stored with the records.
    pub transcript_items: Vec<TranscriptItems>,
}

/// New items of a transcript that had `after` items before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptItems {
    pub member: MemberName,
    pub after: u64,
    /// Each as JSON.
    pub items: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedTask {
    pub task: Task,
    pub owner: Party,
    pub result: Arc<str>,
    /// The tasks that depended on it.
    pub blocks: Vec<TaskId>,
    /// The revision of the completion, and its Unix time in milliseconds.
    pub revision: Revision,
    pub at: u64,
}

impl Team {
    /// Decides what an input means and applies it.
    pub fn step(&mut self, context: &Context, input: Input) -> Step {
        let mut decider = Decider::new(self, context);
        decider.take(input);
        decider.settle();
        decider.finish()
    }

    /// The earliest deadline of the team: then the input `DeadlineReached` is due.
    pub fn next_deadline(&self) -> Option<Tick> {
        let lives = self.members.values().map(|member| member.life.deadline());
        let others = self.budget_deadlines().chain([self.requests.deadline()]);
        lives.chain(others).flatten().min()
    }

    /// When the working minutes of a member or of the team reach a limit.
    pub(crate) fn budget_deadlines(&self) -> impl Iterator<Item = Option<Tick>> {
        let members = self.members.values().map(|member| {
            let budget = member.plan.budget.as_ref()?;
            member.account.deadline(budget)
        });
        members.chain([self.account.deadline(&self.plan.budget)])
    }

    /// The usage of the whole team, including former members.
    pub fn account(&self) -> (&Account, &Spent) {
        (&self.account, &self.spent)
    }

    pub fn plan(&self) -> &TeamPlan {
        &self.plan
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The last goal given to the lead.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Whether the run is under way while no member works, although the lead was notified: it cannot end unless the
    /// lead receives a message.
    pub fn is_stalled(&self) -> bool {
        let is_told = |run: &Run| run.is_under_way() && run.idle_notified;
        self.run.as_ref().is_some_and(is_told) && !self.is_busy()
    }

    /// Whether any member works or is about to.
    pub(crate) fn is_busy(&self) -> bool {
        self.members.values().any(|member| match &member.life {
            Life::Held { .. } | Life::Stopped => false,
            Life::Ready { .. } => {
                member.transcript.active
                    || !member.inbox.is_empty()
                    || self.task_of(&member.plan.name).is_some()
            }
            Life::Planned
            | Life::Launching { .. }
            | Life::StopRequested { .. }
            | Life::Draining { .. }
            | Life::Ending { .. }
            | Life::Cooling { .. } => true,
        })
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    pub fn user_mail(&self) -> &UserMail {
        &self.user_mail
    }

    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    pub fn board(&self) -> &Board {
        &self.board
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub fn member(&self, name: &MemberName) -> Option<&Member> {
        self.members.get(name)
    }

    pub fn lead(&self) -> Option<&Member> {
        // While a former lead is leaving there can be two leads.
        self.members
            .values()
            .find(|member| member.plan.lead && !member.is_leaving())
    }

    /// The member whose current launch this is.
    pub fn member_of(&self, launch: &LaunchId) -> Option<&Member> {
        self.members
            .values()
            .find(|member| member.life.launch().is_some_and(|l| l.id == *launch))
    }

    /// The task a member works on.
    pub fn task_of(&self, member: &MemberName) -> Option<&Task> {
        self.board.claims(&Party::Member(member.clone())).next()
    }

    pub fn is_down(&self) -> bool {
        self.members.values().all(Member::is_stopped)
    }

    /// Whether a task is in progress, or can be claimed by a member without intervention.
    pub fn can_progress(&self) -> bool {
        self.board.in_progress().next().is_some()
            || self
                .members
                .values()
                .any(|member| member.life.may_work() && self.board.next_for(member).is_some())
    }

    /// The first answer to a call if it repeats an earlier one with the same key.
    ///
    /// # Errors
    /// When the key was used for another call.
    pub fn answered(&self, key: &CallKey) -> Result<Option<&Answer>, Refused> {
        self.answers.repeated(key)
    }

    pub(crate) fn remember(&mut self, now: Tick, call: AnsweredCall) {
        self.answers.keep(now, call);
    }

    pub(crate) fn lane(&self, from: &Party, urgent: bool) -> Lane {
        match from {
            _ if urgent => Lane::Control,
            Party::User | Party::System => Lane::Lead,
            Party::Member(name) if self.member(name).is_some_and(|member| member.plan.lead) => {
                Lane::Lead
            }
            Party::Member(_) => Lane::Peers,
        }
    }

    pub(crate) fn next_task(&self) -> TaskId {
        TaskId(self.board.last + 1)
    }

    /// Whether a message of this number was ever accepted.
    pub(crate) fn has_sent(&self, message: MessageId) -> bool {
        (1..=self.last_message).contains(&message.0)
    }

    pub(crate) fn next_message(&self) -> MessageId {
        MessageId(self.last_message + 1)
    }
}
