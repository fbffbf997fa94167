//! Formats the question to the model of a lead without tools, and extracts the reply from its answer. Pure. Called by
//! `rounds`.

use agent_team_llm::{Answer, Stop};
use agent_team_protocol::spec::Strategy;
use agent_team_protocol::template::fill;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::view::{
    ExpectedReply, MemberState, MemberView, QuestionView, RoundState, RoundView, TeamView,
};
use agent_team_tools::team::{role_of, without_middle};

use super::ending::{UNCUT_MAX, Unusable};
use super::prompts;

/// The default template of a question.
const TEMPLATE: &str = "\
# The goal
{task}

# The members
{worker_descriptions}

# Outputs so far
{prior_outputs}";

const DECIDE: &str = "\
Reply with `ROUTE: <member>` as the first line and the instructions for that member below it, or with \
`DONE: <the answer>`.";

const LAST: &str = "\
This is the last round. If you reply with `ROUTE:`, the run ends without an answer.";

const SUM_UP: &str = "\
All members have had a turn. Reply with the answer to the goal, based on these outputs. The user receives your \
reply unchanged.";

/// The inputs of one question.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuestionInputs<'a> {
    pub(super) question: &'a QuestionView,
    pub(super) strategy: &'a Strategy,
    /// All rounds so far.
    pub(super) rounds: &'a [RoundView],
    pub(super) team: &'a TeamView,
    /// The largest total size of the outputs, in bytes.
    pub(super) outputs_max: usize,
}

impl QuestionInputs<'_> {
    pub(super) fn text(&self) -> String {
        let template = match self.strategy {
            Strategy::Coordinator { prompt, .. } => prompt.as_deref().unwrap_or(TEMPLATE),
            Strategy::Collaborate => TEMPLATE,
        };
        let (members, outputs) = (self.members(), self.outputs());
        let filled = fill(template, |word| match word {
            "worker_descriptions" => Some(members.as_str()),
            "task" => Some(self.question.goal.as_str()),
            "prior_outputs" => Some(outputs.as_str()),
            _ => None,
        });
        let round = self.question.round;
        match self.question.expected_reply {
            ExpectedReply::Decision { max_rounds } => {
                let mut text = prompts::note(&format!("Round {round} of {max_rounds}."));
                if let Some(why) = self.rejection() {
                    text.push_str(&format!(" Your last reply was rejected: {why}."));
                }
                text.push_str(&format!("\n\n{filled}\n\n{DECIDE}"));
                if round == max_rounds {
                    text.push_str(&format!("\n{LAST}"));
                }
                text
            }
            ExpectedReply::Synthesis => format!("{filled}\n\n{SUM_UP}"),
        }
    }

    /// Why the previous reply was rejected. `None`: no reply was rejected.
    fn rejection(&self) -> Option<&str> {
        let last = self.rounds.last()?;
        let output = last.output.as_deref()?;
        (last.state == RoundState::Unclear).then_some(output)
    }

    fn members(&self) -> String {
        let members = self.team.members.iter();
        let members = members.filter(|member| !member.lead && member.engine.uses_model());
        let lines: Vec<_> = members.map(|member| self.member(member)).collect();
        lines.join("\n")
    }

    fn member(&self, member: &MemberView) -> String {
        let line = format!("- {} ({})", member.name, role_of(member, self.team));
        match member.state {
            MemberState::Held | MemberState::Stopped => {
                format!("{line}: unavailable. {}", visible_line(&member.why))
            }
            MemberState::Planned
            | MemberState::Launching
            | MemberState::Idle
            | MemberState::Working
            | MemberState::Waiting
            | MemberState::Unresponsive
            | MemberState::Draining
            | MemberState::Cooling
            | MemberState::Unknown => line,
        }
    }

    fn outputs(&self) -> String {
        let output = |round: &RoundView| round.output.clone().unwrap_or_default();
        let worked = self.rounds.iter().filter(|round| round.member.is_some());
        let bytes: usize = worked.clone().map(|round| output(round).len()).sum();
        let share = match bytes > self.outputs_max {
            true => self.outputs_max / worked.clone().count(),
            false => usize::MAX,
        };
        let outputs = worked.filter_map(|round| {
            let how = match round.state {
                RoundState::Failed => ", failed",
                RoundState::UnderWay
                | RoundState::Completed
                | RoundState::Unclear
                | RoundState::Answered
                | RoundState::Unknown => "",
            };
            let (member, number) = (round.member.as_ref()?, round.round);
            let output = without_middle(output(round), share);
            Some(format!("## {member}, round {number}{how}\n{output}"))
        });
        let outputs: Vec<_> = outputs.collect();
        match outputs.is_empty() {
            true => "None yet.".to_owned(),
            false => outputs.join("\n\n"),
        }
    }
}

/// The request for another reply after an unusable one.
pub(super) fn again(unusable: Unusable) -> &'static str {
    match unusable {
        Unusable::Empty => "Your reply was empty. Reply again.",
        Unusable::Refused => {
            "Your reply was refused by a filter. Reply again, and leave out what the filter may have refused."
        }
        Unusable::Truncated => {
            "Your reply was truncated: it reached the length limit. Reply again, and write less."
        }
        Unusable::WrittenCall => "You have no tools. Reply again, without a tool call.",
    }
}

/// The text of the reply. It is empty if the answer was truncated or filtered: such an answer must not end a run.
pub(super) fn reply(answer: &Answer) -> String {
    match answer.stop {
        Stop::Length | Stop::Refused => String::new(),
        Stop::Finished | Stop::Calls | Stop::Paused => {
            without_middle(answer.text.clone(), UNCUT_MAX)
        }
    }
}
