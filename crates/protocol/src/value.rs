//! Plain values that the wire, the core and its journal share. Of this crate, the core uses only this module, the ids
//! and the command lines. Journals contain the values, so their JSON form is frozen: never rename or remove a variant
//! or a field.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::id::{MemberName, RequestId, TaskId};

/// Limits on what may be spent on models for one goal; each at least 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Budget {
    /// Input and output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Millionths of a US dollar. Tokens without a known price do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd: Option<u64>,
    /// Milliseconds in which the member works, or for a limit of the team, in which any member works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_ms: Option<u64>,
}

impl Budget {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Limits input and output tokens together.
    #[must_use]
    pub fn tokens(self, tokens: u64) -> Self {
        Self {
            tokens: Some(tokens),
            ..self
        }
    }

    /// Limits the cost to this many US dollars, rounded to a millionth; at least one millionth.
    #[must_use]
    pub fn usd(self, usd: f64) -> Self {
        Self {
            micro_usd: Some(((usd * 1e6).round() as u64).max(1)),
            ..self
        }
    }

    /// Limits the working time to this many minutes, rounded to a millisecond; at least one millisecond.
    #[must_use]
    pub fn minutes(self, minutes: f64) -> Self {
        Self {
            work_ms: Some(milliseconds(minutes)),
            ..self
        }
    }
}

/// Converts minutes to milliseconds; returns at least 1.
pub fn milliseconds(minutes: f64) -> u64 {
    ((minutes * 60_000.0).round() as u64).max(1)
}

/// The most useful line of a result. For a completed task, the last line, where programs print a summary; for other
/// tasks, the first line, which is the reason of a failure.
///
/// The output of `cargo test` ends with a summary of the doc tests, often of no test. The summary before it is more
/// useful.
pub fn result_line(completed: bool, result: &str) -> &str {
    const SUMMARY: &str = "test result: ";
    const EMPTY_SUMMARY: &str = "test result: ok. 0 passed; 0 failed";

    let mut lines = result.lines().map(str::trim);
    let line = match completed {
        true => {
            let mut lines = lines.rev().filter(|line| !line.is_empty());
            let last = lines.next();
            let is_empty = |line: &str| line.starts_with(EMPTY_SUMMARY);
            let mut summaries = lines.filter(|line| line.starts_with(SUMMARY) && !is_empty(line));
            match last {
                Some(line) if is_empty(line) => summaries.next().or(last),
                last => last,
            }
        }
        false => lines.find(|line| !line.is_empty()),
    };
    line.unwrap_or_default()
}

/// The quantity that a limit restricts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Tokens,
    Usd,
    Minutes,
}

impl Measure {
    pub const ALL: [Self; 3] = [Self::Tokens, Self::Usd, Self::Minutes];

    /// The name of the setting.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tokens => "limits.tokens",
            Self::Usd => "limits.usd",
            Self::Minutes => "limits.minutes",
        }
    }

    pub fn limit(self, budget: &Budget) -> Option<u64> {
        match self {
            Self::Tokens => budget.tokens,
            Self::Usd => budget.micro_usd,
            Self::Minutes => budget.work_ms,
        }
    }

    /// An amount of this measure as the user reads it.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Tokens => amount.to_string(),
            Self::Usd => format!("${:.2}", amount as f64 / 1e6),
            Self::Minutes => format!("{} min", amount / 60_000),
        }
    }
}

/// How much of a limit is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    #[default]
    Within,
    /// The lead and the user were warned.
    Warned,
    /// The members that the limit applies to are blocked.
    Spent,
}

/// How many tasks of a board are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskCounts {
    pub pending: u64,
    pub in_progress: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// Tokens and their cost, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Usage {
    /// All input tokens, cached or not.
    pub input: u64,
    pub output: u64,
    /// The part of `input` that came from the provider's cache.
    #[serde(default)]
    pub cached: u64,
    /// Millionths of a US dollar, for tokens with a known price.
    #[serde(default)]
    pub micro_usd: u64,
    /// Input and output tokens without a known price.
    #[serde(default)]
    pub unpriced: u64,
}

impl Usage {
    /// Input and output tokens.
    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// US dollars. `None`: some tokens have no known price.
    pub fn usd(&self) -> Option<f64> {
        // The conversion is exact below 2^53 millionths of a dollar.
        (self.unpriced == 0).then_some(self.micro_usd as f64 / 1e6)
    }

    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        self.combine(more, u64::saturating_add)
    }

    #[must_use]
    pub fn minus(self, before: Self) -> Self {
        self.combine(before, u64::saturating_sub)
    }

    fn combine(self, other: Self, with: fn(u64, u64) -> u64) -> Self {
        Self {
            input: with(self.input, other.input),
            output: with(self.output, other.output),
            cached: with(self.cached, other.cached),
            micro_usd: with(self.micro_usd, other.micro_usd),
            unpriced: with(self.unpriced, other.unpriced),
        }
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), Self::plus)
    }
}

/// The calls that a decision covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    #[default]
    Once,
    /// The decision covers such calls of this member while it works on its current task.
    Task,
    /// The decision covers such calls of this member, until the team goes down.
    Member,
    /// The decision covers such calls of all members.
    Team,
    /// Like `Team`, and stored in the user's settings for later teams. The client writes the settings.
    Always,
}

impl Scope {
    /// The name of each scope in files and arguments.
    pub const NAMES: [(&'static str, Scope); 5] = [
        ("once", Scope::Once),
        ("task", Scope::Task),
        ("member", Scope::Member),
        ("team", Scope::Team),
        ("always", Scope::Always),
    ];

    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, scope)| *scope == self);
        named.map_or("", |(name, _)| name)
    }
}

/// The reply that a question to the lead's model asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExpectedReply {
    /// The next member, or the answer.
    Decision { max_rounds: u32 },
    /// The final answer, written from the outputs of all members.
    Synthesis,
}

/// Why a run ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunFailure {
    MaxRounds,
    /// No member can continue the run.
    Stuck,
    /// The user cancelled the run.
    Cancelled,
}

impl RunFailure {
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxRounds => "max_rounds",
            Self::Stuck => "stuck",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The choice of the lead's model for the next round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoundChoice {
    Member(MemberName),
    Done,
    /// The question is repeated to the model with this reason.
    Unclear(Arc<str>),
}

/// Whether the member of a round completed its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoundEnd {
    Completed,
    Failed,
}

/// One version of a member's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProposedPlan {
    /// Counts from 1 for each member.
    pub number: u64,
    /// The task that the member held when it proposed the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// The sender's additions to the text of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageNote {
    /// A short summary of the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Arc<str>>,
    /// The sender waits for a reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_reply: bool,
    /// A notice that starts no turn: an idle lead reads it in its next turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub can_wait: bool,
    /// Images and PDFs that the text names may be outside the project: the user typed the text on this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach_outside: bool,
    /// The request that this notice announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announces: Option<RequestId>,
}

impl MessageNote {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Identifies a process: its pid together with its start time. The kernel reuses pids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessStamp {
    pub pid: u32,
    /// On Linux in clock ticks after boot, on macOS in microseconds of Unix time.
    pub start_time: u64,
}

/// The decision about calls that no rule matches. `Plan` also overrides rules that allow; `Bypass` also overrides rules
/// that ask. Ordered from the narrowest to the widest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Calls that may change something are denied even if a rule allows them.
    Plan,
    /// Like `Default`, and calls that would need a decision are denied.
    DontAsk,
    /// Calls that only read the project, or change nothing, are allowed; all other calls need a decision.
    #[default]
    Default,
    /// Like `Default`, and files of the project may be changed.
    AcceptEdits,
    /// Like `AcceptEdits`, and commands may run in a sandbox that protects files of the project.
    Sandboxed,
    /// Agents ask for no decision. A call that is judged nevertheless is allowed unless a rule denies it or it writes a
    /// protected path.
    Bypass,
}

impl Mode {
    /// The name of each mode in files and arguments.
    pub const NAMES: [(&'static str, Mode); 6] = [
        ("default", Mode::Default),
        ("accept-edits", Mode::AcceptEdits),
        ("sandboxed", Mode::Sandboxed),
        ("plan", Mode::Plan),
        ("dont-ask", Mode::DontAsk),
        ("bypass", Mode::Bypass),
    ];

    /// The effect of the mode on an agent, as a text for its model.
    pub fn for_model(self) -> &'static str {
        match self {
            Mode::Plan => "calls that change something are denied",
            Mode::DontAsk => "calls that no rule allows are denied, unless they only read",
            Mode::Default => {
                "changes of files, and commands that do more than read, wait for the user"
            }
            Mode::AcceptEdits => {
                "you may change files of the project; commands that do more than read wait for the user"
            }
            Mode::Sandboxed => {
                "you may change files of the project and run commands in a sandbox; other calls wait for the user"
            }
            Mode::Bypass => "no call waits for the user, and commands run outside a sandbox",
        }
    }

    /// The mode that the title of a member with this engine shows: none for `Default`, or if the member is not an agent.
    pub fn in_title(self, engine: Engine) -> Option<Self> {
        (self != Self::Default && engine.uses_model()).then_some(self)
    }

    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, mode)| *mode == self);
        named.map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much a model thinks before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// As little as the model permits.
    None,
    Low,
    #[default]
    Medium,
    High,
    /// As much as the model permits.
    Max,
}

impl Effort {
    /// The name of each effort in files and arguments.
    pub const NAMES: [(&'static str, Effort); 5] = [
        ("none", Effort::None),
        ("low", Effort::Low),
        ("medium", Effort::Medium),
        ("high", Effort::High),
        ("max", Effort::Max),
    ];

    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, effort)| *effort == self);
        named.map_or("", |(name, _)| name)
    }
}

impl FromStr for Effort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, effort)| *effort).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name);
            format!("expected one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::result_line;

    #[test]
    fn the_line_of_a_result_is_its_summary() {
        assert_eq!(
            result_line(false, "\nexit 1: no luck\nmore\n"),
            "exit 1: no luck"
        );
        assert_eq!(result_line(true, "built\n3 passed\n\n"), "3 passed");
        let (unit, doc) = (
            "test result: ok. 12 passed; 0 failed; 0 ignored",
            "test result: ok. 0 passed; 0 failed; 0 ignored",
        );
        let cargo =
            format!("running 12 tests\n{unit}\n\nDoc-tests demo\nrunning 0 tests\n\n{doc}\n");
        assert_eq!(result_line(true, &cargo), unit);
        assert_eq!(result_line(true, doc), doc);
    }
}
