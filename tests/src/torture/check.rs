//! The checkers, one for each guarantee: pure functions from the evidence to the violations.
//!
//! The checkers compare the journal with the answers that clients received, the files that commands wrote, and the
//! injected faults. `--plant` plants one of five faults in the supervisor to prove that a checker finds it;
//! hand-written histories in `tests.rs` prove that the checkers find other violations.
//!
//! The guarantees of the product and their checkers:
//!
//! | guarantee | checker | parts that only an end-to-end test covers |
//! |---|---|---|
//! | delivery | [`Guarantee::Delivery`]: stored once, read once, in order | |
//! | claims | [`Guarantee::Claims`], [`Guarantee::Rerun`], [`Guarantee::Stopping`] (free within 1 s) | |
//! | requests | [`Guarantee::Requests`]: listed until decided, run only when allowed | |
//! | supervisor | [`Guarantee::Supervisor`] (2 s), [`Guarantee::Worker`] (nothing launched twice), [`Guarantee::Storage`] | |
//! | worker | [`Guarantee::Worker`], [`Guarantee::Liveness`] (the successor works) | a held member: `members::` |
//! | panes | [`Guarantee::Panes`], with placement tmux; iTerm2: `iterm::` | |
//! | stopping | [`Guarantee::Stopping`]: after `down`, and after `kill` of one member | a surviving process: `down::` |
//! | storage | [`Guarantee::Storage`], [`Guarantee::OneWriter`] | an unlinked or damaged database: `storage::` |
//! | time | [`Guarantee::Time`], [`Guarantee::Delivery`] (order) | |
//! | load | [`Guarantee::Load`] | |
//! | skew | none: there is one version of the protocol | a recorded client: `skew::` |

mod delivery;
mod life;
mod panes;
mod storage;
#[cfg(test)]
mod tests;
mod time;
mod work;

use std::fmt;

pub use life::{Recovery, recoveries};

use super::history::Evidence;
use crate::Event;

/// The guarantees; each has a checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    Delivery,
    Claims,
    Rerun,
    Requests,
    Supervisor,
    Worker,
    Panes,
    Stopping,
    Storage,
    OneWriter,
    Time,
    Load,
    Liveness,
}

impl Guarantee {
    pub const ALL: [Guarantee; 13] = [
        Guarantee::Delivery,
        Guarantee::Claims,
        Guarantee::Rerun,
        Guarantee::Requests,
        Guarantee::Supervisor,
        Guarantee::Worker,
        Guarantee::Panes,
        Guarantee::Stopping,
        Guarantee::Storage,
        Guarantee::OneWriter,
        Guarantee::Time,
        Guarantee::Load,
        Guarantee::Liveness,
    ];

    /// The text of the guarantee in the report.
    pub fn text(self) -> &'static str {
        match self {
            Self::Delivery => {
                "an accepted message is in each inbox exactly once, in order, and is read exactly once"
            }
            Self::Claims => {
                "a task has one owner at any instant, and a stale owner changes nothing"
            }
            Self::Rerun => {
                "a task ends once unless it is retried; it runs at most once per attempt, with rerun = false at most once"
            }
            Self::Requests => {
                "a request is listed until it is decided; a command runs once, and only after the user allowed it"
            }
            Self::Supervisor => {
                "a new supervisor serves within 2 s of a kill, or within 10 s of the last of several kills"
            }
            Self::Worker => {
                "a launch ends only when its process was killed or asked to stop, and no member has two launches at once"
            }
            Self::Panes => "each running member has its pane, and no other pane is left",
            Self::Stopping => {
                "down and kill end all processes of their members and no others; a killed member's task is free within 1 s"
            }
            Self::Storage => "every acknowledged change is stored, and no refused change is stored",
            Self::OneWriter => {
                "the journal has one writer: no change is refused, repeated or lost because of a second writer"
            }
            Self::Time => {
                "a clock jump changes no state and no timeout; after a reboot no recorded process is trusted"
            }
            Self::Load => {
                "memory and the latency of calls are bounded under slow readers and floods"
            }
            Self::Liveness => "when the faults stop, all work finishes; no process panics",
        }
    }

    /// Returns the evidence of each violation.
    pub fn check(self, evidence: &Evidence) -> Vec<String> {
        match self {
            Self::Delivery => delivery::delivery(evidence),
            Self::Claims => work::claims(evidence),
            Self::Rerun => work::runs(evidence),
            Self::Requests => work::requests(evidence),
            Self::Supervisor => life::recovery(evidence),
            Self::Worker => life::launches(evidence),
            Self::Panes => panes::panes(evidence),
            Self::Time => time::time(evidence),
            Self::Stopping => evidence
                .left
                .iter()
                .map(|left| format!("left after down: {left}"))
                .chain(evidence.kept.iter().cloned())
                .chain(
                    evidence
                        .harmed
                        .iter()
                        .map(|process| format!("a process outside the team ended: {process}")),
                )
                .collect(),
            Self::Storage => storage::storage(evidence),
            Self::OneWriter => storage::one_writer(evidence),
            Self::Load => life::load(evidence),
            Self::Liveness => [&evidence.unfinished[..], &evidence.panics[..]].concat(),
        }
    }
}

/// A violated guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub guarantee: Guarantee,
    pub evidence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.guarantee, self.evidence)
    }
}

/// All violations of all guarantees.
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let of = |guarantee: Guarantee| {
        let found = guarantee.check(evidence).into_iter();
        found.map(move |evidence| Violation {
            guarantee,
            evidence,
        })
    };
    Guarantee::ALL.into_iter().flat_map(of).collect()
}

/// The number in a field: `7`, or an id such as `"T-7"` with the prefix `T-`. 0 if the field has neither form.
fn number(event: &Event, field: &str, prefix: &str) -> u64 {
    let value = &event.data[field];
    let text = value.as_str().and_then(|text| text.strip_prefix(prefix));
    let number = text.and_then(|text| text.parse().ok());
    number.or(value.as_u64()).unwrap_or_default()
}

/// The numbers in a list; see [`number`]. Skips items of another form.
fn numbers(event: &Event, field: &str, prefix: &str) -> Vec<u64> {
    let values = event.data[field].as_array().into_iter().flatten();
    values
        .filter_map(|value| match value.as_str() {
            Some(text) => text.strip_prefix(prefix)?.parse().ok(),
            None => value.as_u64(),
        })
        .collect()
}

fn texts(event: &Event, field: &str) -> Vec<String> {
    let values = event.data[field].as_array().into_iter().flatten();
    values
        .filter_map(|value| Some(value.as_str()?.to_owned()))
        .collect()
}
