//! Runs in rounds: how a team with a lead reaches its goal, the result of each round, and the parsing of replies of the
//! lead's model. Texts and states only; `decide/rounds.rs` makes the decisions.
//!
//! ```text
//! coordinator:  question n ── "ROUTE: ada" ──▶ ada works ── its task ends ──▶ question n + 1
//!                   │ └─ anything else ────────────────────────────────────▶ question n + 1, with what was wrong
//!                   └─ "DONE: …" ──▶ finished                 no question left ──▶ failed: max_rounds
//! collaborate:  ada works ──▶ ben works ──▶ … ──▶ question: a synthesis ──▶ finished
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{MemberName, RunId, TaskId};
use agent_team_protocol::value::ExpectedReply;

/// Maximum number of outputs shown to a member; older outputs are left out.
const OUTPUTS_MAX: usize = 64;

/// Bytes reserved for the heading of each text, and for the line that marks the text as truncated. Both contain the
/// name of the member.
const HEADING: usize = 192;

/// How a team with a lead reaches its goals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The lead has tools and finishes the run itself.
    #[default]
    Lead,
    /// In each round, the lead's model names the member that works. A run has at most `max_rounds` rounds.
    Coordinator { max_rounds: u32 },
    /// Each member with a model works once: first the members in `order`, then the rest. Then the lead's model writes a
    /// synthesis.
    Collaborate { order: Vec<MemberName> },
}

/// One round of a run. Its number is its position, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// The round was for this member. `task`: `None` if the member could not work.
    Worked {
        member: MemberName,
        task: Option<TaskId>,
        work: Work,
    },
    /// The reply could not be parsed or followed.
    Unclear { why: Arc<str> },
    /// The reply was the final answer.
    Answered,
}

/// The result of a round's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    UnderWay,
    Completed {
        output: Arc<str>,
    },
    /// `output` contains the reason.
    Failed {
        output: Arc<str>,
    },
}

/// The request for a reply of the lead's model, without which a run cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundPrompt {
    pub run: RunId,
    /// The number of the question's round: one more than the rounds so far.
    pub round: u32,
    pub expected_reply: ExpectedReply,
}

/// A parsed reply of the lead's model.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Route {
        name: &'a str,
        /// The text after the first line, for the member.
        instructions: &'a str,
    },
    Done {
        answer: &'a str,
    },
}

const ROUTE: &str = "ROUTE:";
const DONE: &str = "DONE:";

/// Parses a reply strictly: the first line decides, and no other line may begin with a keyword.
///
/// # Errors
/// The fault of a reply, as text for the model.
pub(crate) fn read(reply: &str) -> Result<Reply<'_>, &'static str> {
    let reply = reply.trim();
    let (first, rest) = reply.split_once('\n').unwrap_or((reply, ""));
    let decides = |line: &str| line.starts_with(ROUTE) || line.starts_with(DONE);
    if reply.is_empty() {
        return Err("it is empty (refused or cut off), so it does not begin with ROUTE: or DONE:");
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
            "" => Err("ROUTE: names no member"),
            name => Ok(Reply::Route { name, instructions }),
        };
    }
    match reply[DONE.len()..].trim() {
        "" => Err("DONE: has no answer"),
        answer => Ok(Reply::Done { answer }),
    }
}

/// The prompt for a member in a round, in at most `max` bytes.
pub(crate) fn member_prompt(
    goal: &str,
    instructions: &str,
    rounds: &[Round],
    max: usize,
) -> String {
    let outputs: Vec<(usize, &MemberName, &str, &str)> = rounds
        .iter()
        .enumerate()
        .filter_map(|(index, round)| match round {
            Round::Worked { member, work, .. } => match work {
                Work::UnderWay => None,
                Work::Completed { output } => Some((index + 1, member, "", &**output)),
                Work::Failed { output } => Some((index + 1, member, ", not done", &**output)),
            },
            Round::Unclear { .. } | Round::Answered => None,
        })
        .collect();
    let outputs = &outputs[outputs.len().saturating_sub(OUTPUTS_MAX)..];
    let mut texts = vec![goal, instructions];
    texts.extend(outputs.iter().map(|(_, _, _, output)| *output));
    let overhead = INSTRUCTIONS.len() + HEADING * texts.len();
    let mut fitting = cut_to_fit(&texts, max.saturating_sub(overhead)).into_iter();
    let mut next = || fitting.next().unwrap_or_default();
    let (goal, instructions) = (next(), next());
    let mut text = INSTRUCTIONS.to_owned();
    if !instructions.is_empty() {
        text.push_str(&format!("\n\n# Your instructions\n{instructions}"));
    }
    text.push_str(&format!("\n\n# Team goal\n{goal}"));
    if !outputs.is_empty() {
        text.push_str("\n\n# Results so far");
    }
    for (round, member, how, whole) in outputs {
        let output = next();
        text.push_str(&format!("\n## {member}, round {round}{how}\n{output}"));
        if output.len() < whole.len() {
            text.push_str(&format!(
                "\n… truncated: recall key {member} for its latest output"
            ));
        }
    }
    text
}

const INSTRUCTIONS: &str = "\
The team works on its goal in rounds, and this round is yours. Call complete_task with what you did and what you \
found: the lead and the other members see only this result. No member answers questions during a round: decide open \
points yourself and state your decisions in the result.";

/// Cuts the texts to `total` bytes together. A text shorter than its share leaves the rest to the longer texts.
fn cut_to_fit<'a>(texts: &[&'a str], total: usize) -> Vec<&'a str> {
    let mut by_length: Vec<usize> = (0..texts.len()).collect();
    by_length.sort_unstable_by_key(|index| texts[*index].len());
    let mut cut = vec![""; texts.len()];
    let mut left = total;
    for (given, index) in by_length.iter().enumerate() {
        let share = left / (texts.len() - given);
        let text = texts[*index];
        cut[*index] = &text[..text.floor_char_boundary(share)];
        left -= cut[*index].len();
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies_are_parsed_strictly() {
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
            ("ROUTE:", "names no member"),
            ("ROUTE:\nada", "names no member"),
            ("DONE: \n ", "has no answer"),
        ] {
            let error = super::read(reply).expect_err(reply);
            assert!(error.contains(why), "{reply:?}: {error}");
        }
    }

    #[test]
    fn a_round_prompt_has_goal_instructions_and_outputs() {
        let worked = |name: &str, work| Round::Worked {
            member: name.parse().expect("a valid name"),
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
        let text = member_prompt("Mend it", "Look again", &rounds, 4096);
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
        fn a_round_prompt_fits_its_limit(
            lengths in prop::collection::vec(0_usize..70_000, 0..OUTPUTS_MAX),
            goal in 0_usize..65_537,
        ) {
            let rounds: Vec<Round> = lengths.iter().map(|length| Round::Worked {
                member: "a".repeat(32).parse().expect("a valid name"),
                task: None,
                work: Work::Failed { output: "é".repeat(length / 2).into() },
            }).collect();
            let max = 64 << 10;
            let text = member_prompt(&"g".repeat(goal), "i", &rounds, max);
            prop_assert!(text.len() <= max, "{}", text.len());
            prop_assert!(text.contains("# Your instructions\ni"));
        }

        #[test]
        fn short_texts_are_not_cut(lengths in prop::collection::vec(0_usize..100, 1..10), total in 0_usize..500) {
            let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let cut = cut_to_fit(&texts, total);
            prop_assert!(cut.iter().map(|text| text.len()).sum::<usize>() <= total);
            for (cut, whole) in cut.iter().zip(&texts) {
                prop_assert!(cut.len() == whole.len() || cut.len() >= total / texts.len());
            }
        }
    }
}
