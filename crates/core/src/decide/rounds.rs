//! Runs in rounds: chooses the next member, acts on replies of the lead's model, and fails runs that cannot continue.
//!
//! The next round of a run is derived from the stored state, so a run continues after a crash of the supervisor.

use std::sync::Arc;

use agent_team_protocol::id::{MemberName, Party, RunId, TaskId};
use agent_team_protocol::value::{
    Effort, ExpectedReply, MessageNote, RoundChoice, RoundEnd, RunFailure,
};

use super::{CallResult, Decider, TEXT_MAX, check_size, first_line};
use crate::input::Origin;
use crate::refusal::Refused;
use crate::team::answers::Answer;
use crate::team::event::Event;
use crate::team::member::{GRACE_MS, Life, Member};
use crate::team::memory;
use crate::team::round::{self, Reply, Round, Strategy, Work};
use crate::team::run::Run;
use crate::team::spec::TaskSpec;
use crate::team::task::TaskState;

/// The priority of a round's task: above the usual priorities of the member's other tasks.
const PRIORITY: i32 = 100;

impl Decider<'_> {
    /// Acts on the reply of the lead's model to the question of a round.
    pub(super) fn reply_to_question(
        &mut self,
        run: RunId,
        round: u32,
        text: &Arc<str>,
    ) -> CallResult {
        check_size("the reply", text, TEXT_MAX)?;
        let question = self.team.round_prompt();
        let question = question.filter(|asked| (asked.run, asked.round) == (run, round));
        let question = question.ok_or(Refused::NotAsked(run, round))?;
        match question.expected_reply {
            ExpectedReply::Decision { .. } => self.decide_round(run, round, text),
            ExpectedReply::Synthesis if text.trim().is_empty() => {
                let reason = "the lead's model returned no synthesis: its reply was empty, refused or cut off";
                self.fail_run(run, RunFailure::Stuck, reason.into());
            }
            ExpectedReply::Synthesis => self.end_run(run, text.clone()),
        }
        Ok(Answer::Run { run }.into())
    }

    fn decide_round(&mut self, run: RunId, round: u32, text: &Arc<str>) {
        let decide = |decision| Event::CoordinatorDecided {
            run,
            round,
            decision,
            text: text.clone(),
        };
        let routed = match round::read(text) {
            Ok(Reply::Done { answer }) => {
                self.record(decide(RoundChoice::Done));
                return self.end_run(run, answer.into());
            }
            Ok(Reply::Route { name, instructions }) => {
                self.routable(name).map(|member| (member, instructions))
            }
            Err(why) => Err(why.to_owned()),
        };
        match routed {
            Ok((member, instructions)) => {
                self.record(decide(RoundChoice::Member(member.clone())));
                self.begin_round(run, round, member, instructions);
            }
            Err(why) => self.record(decide(RoundChoice::Unclear(why.into()))),
        }
    }

    /// The named member if it can be given work; otherwise the reason why it cannot.
    fn routable(&self, name: &str) -> Result<MemberName, String> {
        let mut members = self
            .team
            .members()
            .filter(|member| member.takes_part_in_rounds());
        let Some(member) = members.find(|member| member.spec.name.as_str() == name) else {
            let known = self
                .team
                .members()
                .filter(|member| member.takes_part_in_rounds());
            let known: Vec<&str> = known.map(|member| member.spec.name.as_str()).collect();
            let name = first_line(name);
            return Err(format!(
                "{name:?} is not a member that can be given work; choose one of: {}",
                known.join(", ")
            ));
        };
        match cannot_work(member) {
            None => Ok(member.spec.name.clone()),
            Some(why) => Err(format!("{name} cannot work: {why}")),
        }
    }

    /// Advances the run as far as the state permits.
    pub(super) fn advance_run(&mut self) {
        self.end_round();
        let Some(run) = self.team.run.as_ref().filter(|run| run.is_under_way()) else {
            return;
        };
        // If the lead cannot work, the whole team may be going down: the run waits for the lead.
        let lead_may_work = self.team.lead().is_some_and(|lead| lead.life.may_work());
        if !lead_may_work || run.round_under_way().is_some() {
            return;
        }
        let (id, round) = (run.id, run.rounds_so_far() + 1);
        match &self.team.spec.strategy {
            Strategy::Lead => {}
            Strategy::Coordinator { max_rounds } if round > *max_rounds => {
                let reason = format!("the run reached its limit of rounds ({max_rounds})");
                self.fail_run(id, RunFailure::MaxRounds, reason);
            }
            Strategy::Coordinator { .. } => {
                if let Some(reason) = self.why_no_member_works() {
                    self.fail_run(id, RunFailure::Stuck, reason);
                }
            }
            Strategy::Collaborate { .. } => match self.team.next_collaborator() {
                Some(member) => {
                    let member = member.spec.name.clone();
                    self.begin_round(id, round, member, "");
                }
                None if !run.rounds.iter().any(is_completed) => {
                    let reason = self.why_no_member_works();
                    let reason =
                        reason.unwrap_or_else(|| "no member completed any work".to_owned());
                    self.fail_run(id, RunFailure::Stuck, reason);
                }
                None => {}
            },
        }
    }

    /// Why no member can be given work; `None` if a member can.
    fn why_no_member_works(&self) -> Option<String> {
        let members = self
            .team
            .members()
            .filter(|member| member.takes_part_in_rounds());
        let mut reasons = Vec::new();
        for member in members {
            let why = cannot_work(member)?;
            reasons.push(format!("{}: {why}", member.spec.name));
        }
        Some(match reasons.is_empty() {
            true => "the team has no member with a model besides its lead".to_owned(),
            false => format!("no member can work ({})", reasons.join("; ")),
        })
    }

    fn begin_round(&mut self, run: RunId, round: u32, member: MemberName, instructions: &str) {
        let Some(current) = self.team.run.as_ref() else {
            return;
        };
        let unable = self.team.member(&member).and_then(cannot_work);
        let title = format!("Round {round}: {}", first_line(&current.goal));
        let spec = TaskSpec {
            key: format!("{run}, round {round}").into(),
            title: title.into(),
            description: round::member_prompt(
                &current.goal,
                instructions,
                &current.rounds,
                TEXT_MAX,
            )
            .into(),
            priority: PRIORITY,
            labels: Vec::new(),
            after: Vec::new(),
            role: None,
            assignee: Some(member.clone()),
            files: Vec::new(),
            run: None,
            verify: None,
            rerun: true,
            active_form: None,
            metadata: None,
            from_file: false,
        };
        let task = match &unable {
            None => Some(self.team.next_task()),
            Some(_) => None,
        };
        if let Some(task) = task {
            self.record(Event::TaskAdded {
                task,
                spec,
                created_by: Party::System,
            });
        }
        self.record(Event::RoundStarted {
            run,
            round,
            member: member.clone(),
            task,
        });
        if let Some(why) = unable {
            self.record_round_end(run, round, member, RoundEnd::Failed, why.into());
        }
    }

    /// Ends the round under way if its task has ended or can no longer be claimed.
    pub(super) fn end_round(&mut self) {
        let Some(run) = &self.team.run else { return };
        let Some((round, member, id)) = run.round_under_way() else {
            return;
        };
        let (run, member) = (run.id, member.clone());
        let (end, output) = match self.team.board.get(id).map(|task| &task.state) {
            None => {
                // This input completed the task, which has left the board.
                let mut completed = self.transition.completed.iter();
                let completed = completed.find(|completed| completed.task.id == id);
                let result = completed.map(|completed| completed.result.clone());
                (RoundEnd::Completed, result.unwrap_or_default())
            }
            Some(TaskState::InProgress { .. }) => return,
            Some(TaskState::Failed { reason, .. }) => (RoundEnd::Failed, reason.clone()),
            Some(TaskState::Cancelled) => (RoundEnd::Failed, "its task was cancelled".into()),
            Some(TaskState::Pending { note, taken_from }) => {
                let Some(reason) = self.why_unclaimable(id, note.clone(), taken_from.clone())
                else {
                    return;
                };
                self.record(Event::TaskFailed {
                    task: id,
                    reason: reason.clone(),
                });
                (RoundEnd::Failed, reason)
            }
        };
        self.record_round_end(run, round, member, end, output);
    }

    /// Why the pending task of a round will never be claimed; `None` if a claim is still expected.
    fn why_unclaimable(
        &self,
        id: TaskId,
        note: Option<Arc<str>>,
        taken_from: Option<MemberName>,
    ) -> Option<Arc<str>> {
        let assignee = self.team.board.get(id)?.spec.assignee.clone()?;
        if taken_from.as_ref() == Some(&assignee) {
            return Some(note.unwrap_or_else(|| "it was released".into()));
        }
        // If the lead cannot work, the whole team may be going down: the run continues after the next `up`.
        if !self.team.lead().is_some_and(|lead| lead.life.may_work()) {
            return None;
        }
        match self.team.member(&assignee) {
            Some(member) => cannot_work(member).map(Into::into),
            None => Some(format!("{assignee} has left the team").into()),
        }
    }

    fn record_round_end(
        &mut self,
        run: RunId,
        round: u32,
        member: MemberName,
        end: RoundEnd,
        output: Arc<str>,
    ) {
        let (key, value) = (member.as_str().into(), memory::stored_output(&output));
        self.record(Event::RoundEnded {
            run,
            round,
            member,
            end,
            output,
        });
        self.record(Event::Remembered { key, value });
    }

    /// Abandons the round of a run that another goal replaces.
    pub(super) fn abandon_round(&mut self, by: &Origin) {
        let under_way = self.team.run.as_ref().and_then(Run::round_under_way);
        if let Some((_, _, id)) = under_way
            && let Some(task) = self.team.board.get(id).cloned()
        {
            self.record(Event::TaskCancelled { task: id });
            self.abandon(by, &task, "another goal replaced it");
        }
    }

    pub(super) fn end_run(&mut self, run: RunId, answer: Arc<str>) {
        let effort = self.team.effort();
        let totals = self.team.run_totals(self.context.now);
        self.record(Event::RunFinished {
            run,
            answer: answer.clone(),
            totals,
        });
        self.restore_effort(effort);
        self.send_answer(run, answer);
        self.go_down_after_run("the run is finished");
    }

    /// Sends the answer to the user, who may see neither the pane nor the command that gave the goal. The system is the
    /// sender: a message of the lead would count as a question to the user.
    fn send_answer(&mut self, run: RunId, answer: Arc<str>) {
        if answer.trim().is_empty() {
            return;
        }
        let note = MessageNote {
            summary: Some(format!("the answer to {run}").into()),
            ..MessageNote::default()
        };
        self.accept(Party::System, vec![Party::User], answer, false, None, note);
    }

    pub(super) fn fail_run(&mut self, run: RunId, failure: RunFailure, reason: String) {
        let effort = self.team.effort();
        self.record(Event::RunFailed {
            run,
            failure,
            reason: reason.into(),
            totals: self.team.run_totals(self.context.now),
        });
        self.restore_effort(effort);
        self.go_down_after_run("the run has failed");
    }

    /// Notifies the members with a model that the effort of the ended run no longer applies. Does nothing if the run
    /// set no effort.
    fn restore_effort(&mut self, of_run: Option<Effort>) {
        if of_run.is_some() {
            self.send_all_allowances();
        }
    }

    fn go_down_after_run(&mut self, why: &str) {
        if self.team.run.as_ref().is_some_and(|run| run.then_down) {
            self.end_all(GRACE_MS, why);
        }
    }
}

/// Why the member cannot claim a task without intervention; `None` if it can.
fn cannot_work(member: &Member) -> Option<String> {
    if member.life.may_work() {
        return None;
    }
    Some(match &member.life {
        Life::Held { reason } => format!("it is held: {reason}"),
        Life::Stopped
        | Life::Planned
        | Life::Launching { .. }
        | Life::Ready { .. }
        | Life::StopRequested { .. }
        | Life::Draining { .. }
        | Life::Ending { .. }
        | Life::Cooling { .. } => "it was stopped".to_owned(),
    })
}

fn is_completed(round: &Round) -> bool {
    match round {
        Round::Worked { work, .. } => matches!(work, Work::Completed { .. }),
        Round::Unclear { .. } | Round::Answered => false,
    }
}
