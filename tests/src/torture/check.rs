//! The checkers: one for each promise. Pure functions from the evidence to what contradicts the promise.
//!
//! Each relies on the answers that clients received, on the journal and on traces that commands left outside the product, never
//! on the product's opinion alone. `--plant` proves that each finds a fault of its kind.

mod delivery;
mod life;
mod storage;
#[cfg(test)]
mod tests;
mod work;

use std::fmt;

pub use life::{Recovery, recoveries};

use super::history::Evidence;
use crate::Event;

/// The promises of which each has a checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    Delivery,
    Claims,
    Rerun,
    Requests,
    Supervisor,
    Worker,
    Stopping,
    Storage,
    OneWriter,
    Load,
    Liveness,
}

impl Promise {
    pub const ALL: [Promise; 11] = [
        Promise::Delivery,
        Promise::Claims,
        Promise::Rerun,
        Promise::Requests,
        Promise::Supervisor,
        Promise::Worker,
        Promise::Stopping,
        Promise::Storage,
        Promise::OneWriter,
        Promise::Load,
        Promise::Liveness,
    ];

    /// The promise, as the report prints it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Delivery => {
                "an accepted message is in each inbox exactly once, in order, and is read exactly once"
            }
            Self::Claims => {
                "a task has one owner at any instant, and a stale owner changes nothing"
            }
            Self::Rerun => {
                "a task ends once, runs once per attempt, and once in all with rerun = false"
            }
            Self::Requests => "a command runs only after the user allowed it, and once",
            Self::Supervisor => "a new supervisor serves within 2 s of kill -9",
            Self::Worker => {
                "a launch ends only when its process was killed, and no member is launched twice"
            }
            Self::Stopping => "down leaves no process and touches no other",
            Self::Storage => "every acknowledged change is stored, and no refused one",
            Self::OneWriter => {
                "the journal has one writer: nothing is refused, repeated or missing for another one's sake"
            }
            Self::Load => "slow readers and floods cost bounded memory and delay no call",
            Self::Liveness => "when faults stop, everything is finished; nothing panics",
        }
    }

    /// What contradicts it.
    pub fn check(self, evidence: &Evidence) -> Vec<String> {
        match self {
            Self::Delivery => delivery::delivery(evidence),
            Self::Claims => work::claims(evidence),
            Self::Rerun => work::runs(evidence),
            Self::Requests => work::requests(evidence),
            Self::Supervisor => life::recovery(evidence),
            Self::Worker => life::launches(evidence),
            Self::Stopping => evidence
                .left
                .iter()
                .map(|left| format!("left after down: {left}"))
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

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub promise: Promise,
    pub evidence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.evidence)
    }
}

/// Every contradiction of every promise.
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let of = |promise: Promise| {
        let found = promise.check(evidence).into_iter();
        found.map(move |evidence| Violation { promise, evidence })
    };
    Promise::ALL.into_iter().flat_map(of).collect()
}

fn number(event: &Event, field: &str, prefix: &str) -> u64 {
    let value = &event.data[field];
    let text = value.as_str().and_then(|text| text.strip_prefix(prefix));
    let number = text.and_then(|text| text.parse().ok());
    number.or(value.as_u64()).unwrap_or_default()
}

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
