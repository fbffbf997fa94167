//! The state of one team, and queries on it. Only [`Team::apply`] and [`Team::remember`], which keeps an answer, change
//! it. The decisions are in `decide`.

pub(crate) mod answers;
mod apply;
pub mod budget;
pub mod event;
pub mod mail;
pub mod member;
pub mod memory;
pub mod mode;
pub mod plan_lock;
pub mod request;
pub mod restarts;
pub mod round;
pub mod run;
mod snapshot;
pub mod spec;
mod stored;
pub mod task;
pub mod user_mail;

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::id::{LaunchId, MemberName, MessageId, Party, Revision, TaskId};
use agent_team_protocol::value::{Budget, Effort, ExpectedReply, Usage};

use crate::refusal::Refused;
use crate::team::answers::{Answer, AnsweredCall, Answers, CallKey};
use crate::team::budget::{Account, OutOfBudget};
use crate::team::event::Record;
use crate::team::mail::Lane;
use crate::team::member::{Life, Member};
use crate::team::memory::Memory;
use crate::team::request::Requests;
use crate::team::round::{Round, RoundPrompt, Strategy};
use crate::team::run::{Run, RunTotals};
use crate::team::spec::TeamSpec;
use crate::team::task::{Board, Task};
use crate::team::user_mail::{UserMail, UserQuestion};
use crate::time::Tick;
use crate::timer::Timer;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Team {
    pub(crate) spec: TeamSpec,
    pub(crate) boot: Option<Arc<str>>,
    pub(crate) members: BTreeMap<MemberName, Member>,
    pub(crate) board: Board,
    pub(crate) answers: Answers,
    pub(crate) run: Option<Run>,
    pub(crate) memory: Memory,
    pub(crate) account: Account,
    /// The usage of all members, including former members.
    pub(crate) spent: Usage,
    pub(crate) requests: Requests,
    pub(crate) user_mail: UserMail,
    pub(crate) last_message: u64,
    /// For each role, the highest number in a member name of the form `ROLE-NUMBER`.
    pub(crate) spawned: BTreeMap<Arc<str>, u64>,
    pub(crate) revision: Revision,
}

/// Replays records of a journal, or of a snapshot and the journal after it.
impl Extend<Record> for Team {
    fn extend<R: IntoIterator<Item = Record>>(&mut self, records: R) {
        for mut record in records {
            // Move the answer out of the record instead of cloning it: most answers of a long journal are soon dropped.
            let call = record.call.take();
            self.apply(&record);
            if let Some(call) = call {
                self.remember(record.tick, *call);
            }
        }
    }
}

impl Team {
    /// The earliest deadline of the team, at which the input `DeadlineReached` is due.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.timers().map(|(at, _)| at).min()
    }

    /// Every timer that the state requires, with its time.
    pub fn timers(&self) -> impl Iterator<Item = (Tick, Timer<'_>)> {
        let of_members = self.members.values().filter_map(Member::timer);
        of_members
            .chain(self.budget_timers())
            .chain(self.requests.timers())
    }

    /// When the working minutes of a member or of the team reach the warning or the limit of a budget.
    pub(crate) fn budget_timers(&self) -> impl Iterator<Item = (Tick, Timer<'_>)> {
        let members = self.members.values().filter_map(|member| {
            let at = member.account.deadline(member.spec.budget.as_ref()?)?;
            Some((at, Timer::MemberMinutes(&member.spec.name)))
        });
        let team = self.account.deadline(&self.spec.budget);
        members.chain(team.map(|at| (at, Timer::TeamMinutes)))
    }

    /// How much models think, if the run under way sets it.
    pub fn effort(&self) -> Option<Effort> {
        let run = self.run.as_ref().filter(|run| run.is_under_way());
        run.and_then(|run| run.effort)
    }

    /// The limit that blocks this member, if any.
    pub fn out_of_budget(&self, member: &Member) -> Option<OutOfBudget> {
        let members_budget = member.spec.budget.as_ref()?;
        let of = |measure, of, budget: &Budget| OutOfBudget {
            measure,
            of,
            limit: measure.limit(budget).unwrap_or(0),
        };
        match (member.account.spent(), self.account.spent()) {
            (Some(measure), _) => {
                let name = member.spec.name.as_str().into();
                Some(of(measure, Some(name), members_budget))
            }
            (None, Some(measure)) => Some(of(measure, None, &self.spec.budget)),
            (None, None) => None,
        }
    }

    /// Whether a limit in dollars applies to this member: its own, or the team's.
    pub fn has_usd_limit(&self, member: &Member) -> bool {
        let is_set = |budget: &Budget| budget.micro_usd.is_some();
        let own = member.spec.budget.as_ref();
        own.is_some_and(|own| is_set(own) || is_set(&self.spec.budget))
    }

    /// The usage of the whole team, including former members.
    pub fn account(&self) -> (&Account, &Usage) {
        (&self.account, &self.spent)
    }

    pub fn spec(&self) -> &TeamSpec {
        &self.spec
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The run of the last goal.
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Results and usage of the run of the last goal, until its end or until now. `None` if there was no goal.
    pub fn run_totals(&self, now: Tick) -> Option<RunTotals> {
        let run = self.run.as_ref()?;
        Some(run.totals.unwrap_or_else(|| {
            let used = self.account.used(&self.spent, now);
            RunTotals {
                tasks: self.completed_in(run),
                micro_usd: used.micro_usd,
                unpriced: used.unpriced,
            }
        }))
    }

    /// The number of completed tasks that were added since the run began.
    fn completed_in(&self, run: &Run) -> u64 {
        let added = self.next_task().0.saturating_sub(run.first_task.0);
        // The board contains only tasks that are not completed.
        let is_open = |task: &&task::Task| task.id >= run.first_task;
        let open = self.board.iter().filter(is_open).count();
        added.saturating_sub(u64::try_from(open).unwrap_or(u64::MAX))
    }

    /// Whether the run is under way and no member works, although the lead was notified that all members are idle. Such
    /// a run cannot end by itself.
    pub fn is_stalled(&self) -> bool {
        let was_notified = |run: &Run| run.is_under_way() && run.idle_notified;
        self.run.as_ref().is_some_and(was_notified) && !self.is_busy()
    }

    /// Whether any member works, starts, stops, waits for its restart, or is ready and has an unread message that
    /// starts a turn.
    pub(crate) fn is_busy(&self) -> bool {
        self.members.values().any(|member| match &member.life {
            Life::Held { .. } | Life::Stopped => false,
            Life::Ready { .. } => {
                member.transcript.active
                    || member.has_unread_work()
                    || self.task_of(&member.spec.name).is_some()
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

    /// The open questions to the user. Questions of held and stopped members are hidden until the members run again.
    pub fn user_questions(&self) -> impl Iterator<Item = &UserQuestion> {
        let questions = self.user_mail.questions();
        questions.filter(|question| self.can_receive_answer(&question.member))
    }

    /// The member's question among [`Team::user_questions`].
    pub fn user_question_of(&self, member: &MemberName) -> Option<&UserQuestion> {
        let question = self.user_mail.question_of(member)?;
        self.can_receive_answer(member).then_some(question)
    }

    /// The newest message from the member that the user has not read, unless it is the member's question.
    pub fn unread_from(&self, member: &MemberName) -> Option<MessageId> {
        let question = self.user_mail.question_of(member).map(|it| it.message);
        let newest = self.user_mail.newest_from(member);
        newest.filter(|message| Some(*message) != question)
    }

    fn can_receive_answer(&self, member: &MemberName) -> bool {
        let member = self.member(member);
        member.is_some_and(|it| !matches!(it.life, Life::Held { .. } | Life::Stopped))
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
            .find(|member| member.spec.lead && !member.is_leaving())
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

    /// The first answer to this call, if an earlier call had the same key.
    ///
    /// # Errors
    /// When the earlier call had another method or other arguments.
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
            Party::Member(name) if self.member(name).is_some_and(|member| member.spec.lead) => {
                Lane::Lead
            }
            Party::Member(_) => Lane::Peers,
        }
    }

    pub(crate) fn next_task(&self) -> TaskId {
        TaskId(self.board.last + 1)
    }

    /// Whether a message with this id was ever accepted.
    pub(crate) fn has_sent(&self, message: MessageId) -> bool {
        (1..=self.last_message).contains(&message.0)
    }

    pub(crate) fn next_message(&self) -> MessageId {
        MessageId(self.last_message + 1)
    }

    /// The question that waits for a reply of the lead's model, if the team works in rounds.
    pub fn round_prompt(&self) -> Option<RoundPrompt> {
        let run = self.run.as_ref().filter(|run| run.is_under_way())?;
        let round = run.rounds_so_far() + 1;
        let expected_reply = match &self.spec.strategy {
            _ if run.round_under_way().is_some() => return None,
            Strategy::Lead => return None,
            Strategy::Coordinator { max_rounds } if round > *max_rounds => return None,
            Strategy::Coordinator { max_rounds } => ExpectedReply::Decision {
                max_rounds: *max_rounds,
            },
            Strategy::Collaborate { .. } if self.next_collaborator().is_some() => return None,
            Strategy::Collaborate { .. } => ExpectedReply::Synthesis,
        };
        Some(RoundPrompt {
            run: run.id,
            round,
            expected_reply,
        })
    }

    /// The member that works next in the strategy `collaborate`: first the members in the order of the file, then the
    /// members that this order leaves out, by name.
    pub(crate) fn next_collaborator(&self) -> Option<&Member> {
        let Strategy::Collaborate { order } = &self.spec.strategy else {
            return None;
        };
        let run = self.run.as_ref()?;
        let had_a_round = |name: &MemberName| {
            let mut rounds = run.rounds.iter();
            rounds.any(|round| matches!(round, Round::Worked { member, .. } if member == name))
        };
        let listed = order.iter().filter_map(|name| self.member(name));
        let mut members = listed.chain(self.members.values());
        members.find(|member| member.takes_part_in_rounds() && !had_a_round(&member.spec.name))
    }

    /// Whether the member is the lead of a team that works in rounds: its model answers questions, and it claims no
    /// tasks.
    pub(crate) fn leads_in_rounds(&self, member: &Member) -> bool {
        member.spec.lead && self.spec.strategy != Strategy::Lead
    }
}
