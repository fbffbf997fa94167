//! Limits of a team and its members for models, and the usage so far.
//!
//! ```text
//!   Within ── 80 % ──▶ Warned ── 100 % ──▶ Spent
//!      ▲                  │                  │
//!      └── the limit is raised or removed, or a new goal is given: computed again
//! ```
//! Usage counts from the last goal, or from the beginning if there was none. A member's minutes are the time in which
//! it works in a turn of its model or on a task. The time in which a budget blocks it, or one of its requests waits for
//! a decision, does not count. The team's minutes are the time in which any member works. A command member spends no
//! tokens and no money, and is never blocked; its work counts towards the team's minutes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::value::{Budget, BudgetState, Measure, Usage};

use crate::team::stored::is_default;
use crate::time::Tick;

/// A stopwatch: milliseconds accumulated while it ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Tick>,
}

/// The usage of one member or of the team, for each measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    #[serde(default)]
    pub tokens: u64,
    #[serde(default)]
    pub micro_usd: u64,
    #[serde(default)]
    pub work_ms: u64,
    /// The tokens without a known price.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unpriced: u64,
}

/// Usage of one member or of the team, over all of its launches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Time with a ready worker.
    pub up: Clock,
    pub working: Clock,
    /// The number of completed tasks.
    #[serde(default)]
    pub completed: u64,
    /// Total usage when the last goal was given.
    #[serde(default)]
    before: Used,
    #[serde(rename = "standings", default)]
    states: [BudgetState; 3],
}

fn state_of(used: u64, limit: u64) -> BudgetState {
    if used >= limit {
        BudgetState::Spent
    } else if used >= warning(limit) {
        BudgetState::Warned
    } else {
        BudgetState::Within
    }
}

/// The smallest amount that is at least 80 % of a limit.
fn warning(limit: u64) -> u64 {
    limit - limit / 5
}

impl Clock {
    /// When the clock was started, if it runs.
    pub fn started(&self) -> Option<Tick> {
        self.since
    }

    /// Starts or stops the clock.
    pub(crate) fn set(&mut self, runs: bool, now: Tick) {
        if runs == self.since.is_some() {
            return;
        }
        *self = Self {
            ms: self.read(now),
            since: runs.then_some(now),
        };
    }

    /// Stops the clock after a reboot. The time since its last start is unknown and is not counted.
    pub(crate) fn stop_at_unknown_time(&mut self) {
        self.since = None;
    }

    pub fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// The accumulated time, in milliseconds.
    pub fn read(&self, now: Tick) -> u64 {
        let more = self.since.map_or(0, |since| now.since(since));
        self.ms.saturating_add(more)
    }

    /// When the clock reaches `ms` milliseconds, if it keeps running.
    fn shows(&self, ms: u64) -> Option<Tick> {
        Some(self.since?.after_ms(ms.saturating_sub(self.ms)))
    }
}

impl Account {
    /// Usage since the last goal.
    pub fn used(&self, spent: &Usage, now: Tick) -> Used {
        let total = self.total(spent, now);
        Used {
            tokens: total.tokens.saturating_sub(self.before.tokens),
            micro_usd: total.micro_usd.saturating_sub(self.before.micro_usd),
            work_ms: total.work_ms.saturating_sub(self.before.work_ms),
            unpriced: total.unpriced.saturating_sub(self.before.unpriced),
        }
    }

    fn total(&self, spent: &Usage, now: Tick) -> Used {
        Used {
            tokens: spent.input.saturating_add(spent.output),
            micro_usd: spent.micro_usd,
            work_ms: self.working.read(now),
            unpriced: spent.unpriced,
        }
    }

    /// A goal was given: usage counts from zero again.
    pub(crate) fn begin(&mut self, spent: &Usage, now: Tick) {
        self.before = self.total(spent, now);
        self.states = [BudgetState::Within; 3];
    }

    pub fn state(&self, measure: Measure) -> BudgetState {
        self.states[measure as usize]
    }

    pub(crate) fn set_state(&mut self, measure: Measure, state: BudgetState) {
        self.states[measure as usize] = state;
    }

    /// The first measure whose limit is reached.
    pub fn spent(&self) -> Option<Measure> {
        let all = Measure::ALL.into_iter();
        all.into_iter()
            .find(|measure| self.state(*measure) == BudgetState::Spent)
    }

    /// The measures whose budget state differs from the recorded state, each with its new state.
    pub(crate) fn judge(
        &self,
        budget: &Budget,
        spent: &Usage,
        now: Tick,
    ) -> Vec<(Measure, BudgetState)> {
        if budget.is_empty() && self.states == [BudgetState::Within; 3] {
            return Vec::new();
        }
        let used = self.used(spent, now);
        let state = |measure: Measure| match measure.limit(budget) {
            Some(limit) => state_of(used.of(measure), limit),
            None => BudgetState::Within,
        };
        let all = Measure::ALL.into_iter();
        all.map(|measure| (measure, state(measure)))
            .filter(|(measure, state)| self.state(*measure) != *state)
            .collect()
    }

    /// When the budget state of the minutes changes, if the work continues.
    pub(crate) fn deadline(&self, budget: &Budget) -> Option<Tick> {
        let limit = budget.work_ms?;
        let next = match self.state(Measure::Minutes) {
            BudgetState::Within => warning(limit),
            BudgetState::Warned => limit,
            BudgetState::Spent => return None,
        };
        self.working.shows(self.before.work_ms.saturating_add(next))
    }
}

impl Used {
    pub fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Tokens => self.tokens,
            Measure::Usd => self.micro_usd,
            Measure::Minutes => self.work_ms,
        }
    }
}

/// The limit that blocks a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfBudget {
    pub measure: Measure,
    /// The member to which the limit applies. `None`: the limit of the team.
    pub of: Option<Arc<str>>,
    pub limit: u64,
}

impl OutOfBudget {
    /// The text for a model. A model cannot raise the limit, so the text has no command.
    pub fn for_model(&self) -> String {
        format!("{}; only the user can raise it", self.fact())
    }

    fn fact(&self) -> String {
        let Self { measure, of, limit } = self;
        let (key, limit) = (measure.key(), measure.amount(*limit));
        let whose = of.as_ref().map(|name| format!("{name}'s"));
        let whose = whose.as_deref().unwrap_or("the team's");
        format!("{whose} {key} ({limit}) is used up")
    }
}

/// The text for the user, with the command that raises the limit.
impl fmt::Display for OutOfBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raise = CommandLine::RaiseLimit {
            member: self.of.as_deref(),
            key: self.measure.key(),
        };
        write!(f, "{}; run `{raise}` to raise it", self.fact())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_at_80_percent() {
        for (limit, first) in [(1, 1), (2, 2), (5, 4), (9, 8), (10, 8), (100, 80)] {
            assert_eq!(warning(limit), first, "{limit}");
            assert!(first * 5 >= limit * 4 && (first - 1) * 5 < limit * 4);
        }
    }

    #[test]
    fn a_clock_counts_only_while_it_runs() {
        let mut clock = Clock::default();
        clock.set(true, Tick(100));
        clock.set(true, Tick(150));
        assert_eq!(clock.read(Tick(300)), 200);
        clock.set(false, Tick(300));
        clock.set(true, Tick(1_000));
        assert_eq!(clock.read(Tick(1_001)), 201);
        assert_eq!(clock.shows(250), Some(Tick(1_050)));
        clock.stop_at_unknown_time();
        assert_eq!((clock.read(Tick(5)), clock.shows(250)), (200, None));
    }
}
