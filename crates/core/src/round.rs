//! Runs that go by rounds: how a team with a lead reaches its goal, what each round came to, and what the replies of the
//! lead's model mean. Pure texts and states; `decide/rounds.rs` makes the decisions.
//!
//! ```text
//! coordinator:  question n ── "ROUTE: ada" ──▶ ada works ── her task ends ──▶ question n + 1
//!                   │ └─ anything else ────────────────────────────────────▶ question n + 1, with what was wrong
//!                   └─ "DONE: …" ──▶ finished                 no question left ──▶ failed: max_rounds
//! collaborate:  ada works ──▶ ben works ──▶ … ──▶ question: a synthesis ──▶ finished
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{MemberName, RunId, TaskId};

use crate::decide::takes_part;
use crate::member::Member;
use crate::run::{MEMORY_VALUE_MAX, Run};
use crate::team::Team;

/// Outputs that a member is shown, the latest.
const SHOWN: usize = 64;

/// What a heading may take of a text, in bytes.
const HEADING: usize = 128;

/// How a team with a lead reaches its goals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The lead has tools, and says when it is done.
    #[default]
    Lead,
    /// The lead's model says each round who works next, at most so many times.
    Coordinator { max_rounds: u32 },
    /// Everybody who thinks works on it, these in this order; then the lead's model sums up.
    Collaborate { order: Vec<MemberName> },
}

/// One round of a run; its number is its place, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// A member was given work. Without a task it could not do any.
    Worked {
        member: MemberName,
        task: Option<TaskId>,
        work: Work,
    },
    /// The reply could not be followed.
    Unclear { why: Arc<str> },
    /// The reply was the answer.
    Answered,
}

/// What a round's work came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    UnderWay,
    Completed {
        output: Arc<str>,
    },
    /// `output` says why.
    Failed {
        output: Arc<str>,
    },
}

/// What was decided of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Member(MemberName),
    Done,
    /// It is put back to the model with this.
    Unclear(Arc<str>),
}

/// Whether the member did what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundEnd {
    Completed,
    Failed,
}

/// What a run wants to be told by the lead's model before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    pub run: RunId,
    /// The round that the reply opens.
    pub round: u32,
    pub wants: Wants,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Decision {
        max_rounds: u32,
    },
    /// The answer, from everybody's outputs.
    Synthesis,
}

impl Run {
    /// The round in which a member works: its number, the member and the task.
    pub(crate) fn round_under_way(&self) -> Option<(u32, &MemberName, TaskId)> {
        match self.rounds.last() {
            Some(Round::Worked {
                member,
                task: Some(task),
                work: Work::UnderWay,
            }) if self.is_under_way() => Some((self.rounds_so_far(), member, *task)),
            Some(Round::Worked { .. } | Round::Unclear { .. } | Round::Answered) | None => None,
        }
    }

    pub fn rounds_so_far(&self) -> u32 {
        u32::try_from(self.rounds.len()).unwrap_or(u32::MAX)
    }
}

impl Team {
    /// What the run wants to be told by the lead's model, if it goes by rounds and waits for that.
    pub fn question(&self) -> Option<Question> {
        let run = self.run.as_ref().filter(|run| run.is_under_way())?;
        let round = run.rounds_so_far() + 1;
        let wants = match &self.plan.strategy {
            _ if run.round_under_way().is_some() => return None,
            Strategy::Lead => return None,
            Strategy::Coordinator { max_rounds } if round > *max_rounds => return None,
            Strategy::Coordinator { max_rounds } => Wants::Decision {
                max_rounds: *max_rounds,
            },
            Strategy::Collaborate { .. } if self.next_collaborator().is_some() => return None,
            Strategy::Collaborate { .. } => Wants::Synthesis,
        };
        Some(Question {
            run: run.id,
            round,
            wants,
        })
    }

    /// Who works next where everybody does: those of the file in its order, then the others.
    pub(crate) fn next_collaborator(&self) -> Option<&Member> {
        let Strategy::Collaborate { order } = &self.plan.strategy else {
            return None;
        };
        let run = self.run.as_ref()?;
        let had_a_round = |name: &MemberName| {
            let mut rounds = run.rounds.iter();
            rounds.any(|round| matches!(round, Round::Worked { member, .. } if member == name))
        };
        let listed = order.iter().filter_map(|name| self.member(name));
        let mut members = listed.chain(self.members.values());
        members.find(|member| takes_part(member) && !had_a_round(&member.plan.name))
    }

    /// She is the lead of a team that goes by rounds: her model is asked, and she takes no tasks.
    pub(crate) fn only_asks(&self, member: &Member) -> bool {
        member.plan.lead && self.plan.strategy != Strategy::Lead
    }
}

/// A reply of the lead's model, as it says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Route {
        name: &'a str,
        /// For the member: what stands behind the line.
        instructions: &'a str,
    },
    Done {
        answer: &'a str,
    },
}

const ROUTE: &str = "ROUTE:";
const DONE: &str = "DONE:";

/// Reads a reply to the letter: its first line decides, and no other one does. Nothing is guessed.
///
/// # Errors
/// What is wrong with it, for the model.
pub(crate) fn read(reply: &str) -> Result<Reply<'_>, &'static str> {
    let reply = reply.trim();
    let (first, rest) = reply.split_once('\n').unwrap_or((reply, ""));
    let decides = |line: &str| line.starts_with(ROUTE) || line.starts_with(DONE);
    if reply.is_empty() {
        return Err(
            "it is empty, or was refused or cut off; it does not begin with ROUTE: or DONE:",
        );
    }
    if !decides(first) {
        return Err("it does not begin with ROUTE: or DONE:");
    }
    if rest.lines().any(decides) {
        return Err("it has more than one line that begins with ROUTE: or DONE:");
    }
    if let Some(name) = first.strip_prefix(ROUTE) {
        let (name, instructions) = (name.trim(), rest.trim());
        return match name {
            "" => Err("ROUTE: names nobody"),
            name => Ok(Reply::Route { name, instructions }),
        };
    }
    match reply[DONE.len()..].trim() {
        "" => Err("DONE: gives no answer"),
        answer => Ok(Reply::Done { answer }),
    }
}

/// What a member is told to do in a round, in at most so many bytes.
pub(crate) fn work(goal: &str, instructions: &str, rounds: &[Round], max: usize) -> String {
    let outputs: Vec<(usize, &MemberName, &str, &str)> = rounds
        .iter()
        .enumerate()
        .filter_map(|(place, round)| match round {
            Round::Worked { member, work, .. } => match work {
                Work::UnderWay => None,
                Work::Completed { output } => Some((place + 1, member, "", &**output)),
                Work::Failed { output } => Some((place + 1, member, ", not done", &**output)),
            },
            Round::Unclear { .. } | Round::Answered => None,
        })
        .collect();
    let outputs = &outputs[outputs.len().saturating_sub(SHOWN)..];
    let mut texts = vec![goal, instructions];
    texts.extend(outputs.iter().map(|(_, _, _, output)| *output));
    let words = WORDS.len() + HEADING * texts.len();
    let mut fitting = fitting(&texts, max.saturating_sub(words)).into_iter();
    let mut next = || fitting.next().unwrap_or_default();
    let (goal, instructions) = (next(), next());
    let mut text = WORDS.to_owned();
    if !instructions.is_empty() {
        text.push_str(&format!("\n\n# What you are to do now\n{instructions}"));
    }
    text.push_str(&format!("\n\n# The goal of the team\n{goal}"));
    if !outputs.is_empty() {
        text.push_str("\n\n# What the team has so far");
    }
    for (round, member, how, whole) in outputs {
        let output = next();
        text.push_str(&format!("\n## {member}, round {round}{how}\n{output}"));
        if output.len() < whole.len() {
            text.push_str(&format!("\n… cut off here: recall {member} has more"));
        }
    }
    text
}

const WORDS: &str = "\
The team works on its goal in rounds, and this one is yours. Call complete_task with what you did and found out: the \
result is all that the others and the lead see of your round. No questions are answered meanwhile: decide what is open \
yourself, and say so in the result.";

/// The texts, each cut to its share of so many bytes. Who needs less than a share leaves the rest to the others.
fn fitting<'a>(texts: &[&'a str], total: usize) -> Vec<&'a str> {
    let mut by_length: Vec<usize> = (0..texts.len()).collect();
    by_length.sort_unstable_by_key(|place| texts[*place].len());
    let mut cut = vec![""; texts.len()];
    let mut left = total;
    for (given, place) in by_length.iter().enumerate() {
        let share = left / (texts.len() - given);
        let text = texts[*place];
        cut[*place] = &text[..text.floor_char_boundary(share)];
        left -= cut[*place].len();
    }
    cut
}

/// An output as the team remembers it: a JSON string that is no longer than one may be.
pub(crate) fn remembered(output: &str) -> Arc<str> {
    let mut max = output.len();
    loop {
        let kept = &output[..output.floor_char_boundary(max)];
        let json = serde_json::to_string(kept).expect("a text is JSON");
        if json.len() <= MEMORY_VALUE_MAX {
            return json.into();
        }
        max = max / 8 * 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_is_read_to_the_letter() {
        let route = |name, instructions| Ok(Reply::Route { name, instructions });
        let done = |answer| Ok(Reply::Done { answer });
        for (reply, read) in [
            ("ROUTE: ada", route("ada", "")),
            ("\n ROUTE:ada \n", route("ada", "")),
            (
                "ROUTE: ada\n\nRead a.rs.\nThen b.rs.",
                route("ada", "Read a.rs.\nThen b.rs."),
            ),
            ("ROUTE: ada, please", route("ada, please", "")),
            ("DONE: It is 42.", done("It is 42.")),
            ("DONE:\nIt is\n 42.", done("It is\n 42.")),
        ] {
            assert_eq!(super::read(reply), read, "{reply:?}");
        }
        for (reply, why) in [
            ("", "does not begin"),
            ("ada", "does not begin"),
            ("Sure!\nROUTE: ada", "does not begin"),
            ("I think ROUTE: ada", "does not begin"),
            ("route: ada", "does not begin"),
            ("**ROUTE: ada**", "does not begin"),
            ("ROUTE: ada\nROUTE: ben", "more than one"),
            ("ROUTE: ada\nDONE: yes", "more than one"),
            ("DONE: yes\nROUTE: ada", "more than one"),
            ("ROUTE:", "names nobody"),
            ("ROUTE:\nada", "names nobody"),
            ("DONE: \n ", "gives no answer"),
        ] {
            let error = super::read(reply).expect_err(reply);
            assert!(error.contains(why), "{reply:?}: {error}");
        }
    }

    #[test]
    fn a_member_is_told_the_goal_what_to_do_and_what_there_is() {
        let worked = |name: &str, work| Round::Worked {
            member: name.parse().expect("a good name"),
            task: None,
            work,
        };
        let rounds = [
            worked(
                "ada",
                Work::Completed {
                    output: "found it".into(),
                },
            ),
            Round::Unclear {
                why: "nonsense".into(),
            },
            worked(
                "ben",
                Work::Failed {
                    output: "no key".into(),
                },
            ),
        ];
        let text = work("Mend it", "Look again", &rounds, 4096);
        for part in [
            "Look again",
            "Mend it",
            "ada, round 1\nfound it",
            "ben, round 3, not done\nno key",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("nonsense"), "{text}");
    }

    proptest! {
        #[test]
        fn a_members_work_fits_whatever_there_is(
            lengths in prop::collection::vec(0_usize..70_000, 0..20),
            goal in 0_usize..65_537,
        ) {
            let rounds: Vec<Round> = lengths.iter().map(|length| Round::Worked {
                member: "ada".parse().expect("a good name"),
                task: None,
                work: Work::Completed { output: "é".repeat(length / 2).into() },
            }).collect();
            let max = 64 << 10;
            let text = work(&"g".repeat(goal), "i", &rounds, max);
            prop_assert!(text.len() <= max, "{}", text.len());
            prop_assert!(text.contains("# What you are to do now\ni"));
        }

        #[test]
        fn what_needs_less_than_its_share_is_whole(lengths in prop::collection::vec(0_usize..100, 1..10), total in 0_usize..500) {
            let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let cut = fitting(&texts, total);
            prop_assert!(cut.iter().map(|text| text.len()).sum::<usize>() <= total);
            for (cut, whole) in cut.iter().zip(&texts) {
                prop_assert!(cut.len() == whole.len() || cut.len() >= total / texts.len());
            }
        }
    }

    #[test]
    fn an_output_is_remembered_as_far_as_it_may_be() {
        assert_eq!(&*remembered("a \"b\""), "\"a \\\"b\\\"\"");
        let long = remembered(&"\u{1}".repeat(64 << 10));
        assert!(long.len() <= MEMORY_VALUE_MAX && long.len() > MEMORY_VALUE_MAX / 2);
    }
}
