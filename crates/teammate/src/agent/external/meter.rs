//! Counts the tokens and the cost that an external agent reports, until they are stored. Called by the loop.
//!
//! Agents report in four ways, and most agents in more than one: the tokens of a turn at its end (Claude, Codex,
//! OpenCode), the same tokens below `_meta.quota` (Gemini), the tokens of each answer of the model (Qwen), and the cost
//! of the whole session with `usage_update` (Claude, OpenCode). The cost of a resumed session begins at zero or at the
//! cost of the earlier process, so the counted cost is stored with the session. In its own terminal interface, OpenCode
//! reports the tokens and the cost of each answer.

use std::time::Duration;

use agent_team_protocol::view::Usage;
use serde_json::Value;
use tokio::time::Instant;

use super::wire::{Cost, SessionUpdate, TokenCounts};

/// The shortest time between two stores during a turn. An agent that reports without pause must not fill the journal.
const STORE_INTERVAL: Duration = Duration::from_secs(1);

/// The usage of a session.
#[derive(Debug, Default)]
pub(in crate::agent) struct Meter {
    /// The usage that was counted and is not stored yet.
    unstored: Usage,
    /// The tokens that were counted in this turn.
    of_turn: Usage,
    /// The counted cost of the session, in millionths of a dollar.
    session_cost: u64,
    /// The number of tokens in `unstored` that were reported together with their cost.
    priced: u64,
    /// The agent has reported a cost in this session.
    has_cost: bool,
    stored_at: Option<Instant>,
}

impl Meter {
    /// Begins a session. `counted`: the cost of the session that an earlier launch has stored.
    pub(super) fn begin_session(&mut self, counted: u64) {
        self.session_cost = counted;
        self.has_cost = false;
    }

    pub(super) fn begin_turn(&mut self) {
        self.of_turn = Usage::default();
    }

    /// Counts the tokens and the cost in an update.
    pub(super) fn read(&mut self, update: &SessionUpdate) {
        match update {
            SessionUpdate::UsageUpdate {
                cost: Some(cost), ..
            } => self.cost(cost),
            SessionUpdate::Spent { tokens, usd } => self.spend(tokens, *usd),
            SessionUpdate::AgentMessageChunk { meta, .. } => {
                if let Some(tokens) = tokens(&meta["usage"]) {
                    self.add(tokens);
                }
            }
            SessionUpdate::UsageUpdate { .. }
            | SessionUpdate::AgentThoughtChunk { .. }
            | SessionUpdate::ToolCall(_)
            | SessionUpdate::ToolCallUpdate(_)
            | SessionUpdate::Plan { .. }
            | SessionUpdate::CurrentModeUpdate { .. }
            | SessionUpdate::Other => {}
        }
    }

    /// Counts the tokens of a turn, apart from those that updates have reported.
    pub(super) fn end_turn(&mut self, usage: &Value, meta: &Value) {
        if let Some(whole) = tokens(usage).or_else(|| quota(meta)) {
            self.add(whole.minus(self.of_turn));
        }
    }

    /// The time at which the usage must be stored during a turn. `None`: there is nothing to store.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_empty = self.unstored == Usage::default();
        (!is_empty).then(|| {
            let earliest = self.stored_at.map(|at| at + STORE_INTERVAL);
            earliest.unwrap_or_else(Instant::now)
        })
    }

    /// The usage that must be stored now, and the cost of the session if it has changed.
    pub(super) fn take(&mut self) -> (Usage, Option<u64>) {
        let mut usage = std::mem::take(&mut self.unstored);
        if usage == Usage::default() {
            return (usage, None);
        }
        self.stored_at = Some(Instant::now());
        if !self.has_cost {
            usage.unpriced = usage.tokens().saturating_sub(self.priced);
        }
        self.priced = 0;
        (usage, (usage.micro_usd > 0).then_some(self.session_cost))
    }

    fn add(&mut self, tokens: Usage) {
        self.of_turn = self.of_turn.plus(tokens);
        self.unstored = self.unstored.plus(tokens);
    }

    /// Counts the tokens and the cost of one answer.
    fn spend(&mut self, counts: &Value, usd: f64) {
        let tokens = tokens(counts).unwrap_or_default();
        self.add(tokens);
        let Some(more) = micro_usd(usd) else {
            return;
        };
        self.priced = self.priced.saturating_add(tokens.tokens());
        self.session_cost = self.session_cost.saturating_add(more);
        self.unstored.micro_usd = self.unstored.micro_usd.saturating_add(more);
    }

    fn cost(&mut self, cost: &Cost) {
        let amount = (cost.currency == "USD").then_some(cost.amount);
        let Some(total) = amount.and_then(micro_usd) else {
            return;
        };
        self.has_cost = true;
        // If the cost is smaller than before, the agent has begun to count again.
        let more = total.checked_sub(self.session_cost).unwrap_or(total);
        self.session_cost = total;
        self.unstored.micro_usd = self.unstored.micro_usd.saturating_add(more);
    }
}

/// Converts dollars to millionths. `None`: the number is not an amount.
fn micro_usd(usd: f64) -> Option<u64> {
    let is_amount = usd.is_finite() && usd >= 0.0;
    // A cast of a number with a fraction saturates.
    is_amount.then(|| (usd * 1e6).round() as u64)
}

/// The tokens of a report in the form of the Agent Client Protocol.
fn tokens(usage: &Value) -> Option<Usage> {
    let counts: TokenCounts = serde_json::from_value(usage.clone()).ok()?;
    let cached = counts.cached_read_tokens.unwrap_or(0);
    let caches = cached.saturating_add(counts.cached_write_tokens.unwrap_or(0));
    let thought = counts.thought_tokens.unwrap_or(0);
    let plain = counts.input_tokens.saturating_add(counts.output_tokens);
    let total = counts.total_tokens.unwrap_or(plain).max(plain);
    // Some agents include cached and thought tokens in the input and output; other agents report them in addition. Only
    // the total shows which form an agent uses.
    let rest = total - plain;
    let is_added = rest == thought || rest == thought.saturating_add(caches);
    let output = match is_added {
        true => counts.output_tokens.saturating_add(thought),
        false => counts.output_tokens,
    };
    let usage = Usage {
        input: total.saturating_sub(output),
        output,
        cached,
        ..Usage::default()
    };
    (usage.tokens() > 0).then_some(usage)
}

/// The tokens of a turn as Gemini reports them.
fn quota(meta: &Value) -> Option<Usage> {
    let counts = &meta["quota"]["token_count"];
    let usage = Usage {
        input: counts["input_tokens"].as_u64()?,
        output: counts["output_tokens"].as_u64()?,
        ..Usage::default()
    };
    (usage.tokens() > 0).then_some(usage)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn used(input: u64, output: u64, cached: u64) -> Option<Usage> {
        Some(Usage {
            input,
            output,
            cached,
            ..Usage::default()
        })
    }

    fn update(update: Value) -> SessionUpdate {
        serde_json::from_value(update).unwrap()
    }

    fn cost(amount: f64, currency: &str) -> SessionUpdate {
        update(json!({
            "sessionUpdate": "usage_update", "used": 10, "size": 100,
            "cost": { "amount": amount, "currency": currency },
        }))
    }

    #[test]
    fn each_form_of_a_report_has_the_same_meaning() {
        let claude = json!({ "inputTokens": 10, "outputTokens": 5, "cachedReadTokens": 100,
            "cachedWriteTokens": 20, "totalTokens": 135 });
        assert_eq!(tokens(&claude), used(130, 5, 100));
        let codex = json!({ "inputTokens": 130, "outputTokens": 5, "cachedReadTokens": 100,
            "thoughtTokens": 3, "totalTokens": 135 });
        assert_eq!(tokens(&codex), used(130, 5, 100));
        let opencode = json!({ "inputTokens": 30, "outputTokens": 2, "cachedReadTokens": 100,
            "thoughtTokens": 3, "totalTokens": 135 });
        assert_eq!(tokens(&opencode), used(130, 5, 100));
        let gemini =
            json!({ "quota": { "token_count": { "input_tokens": 130, "output_tokens": 5 } } });
        assert_eq!(quota(&gemini), used(130, 5, 0));
        for invalid in [
            json!(null),
            json!("7"),
            json!({ "inputTokens": -1 }),
            json!({}),
        ] {
            assert_eq!(tokens(&invalid), None, "{invalid}");
        }
        let huge = json!({ "inputTokens": u64::MAX, "outputTokens": u64::MAX });
        assert_eq!(tokens(&huge).unwrap().tokens(), u64::MAX);
    }

    #[test]
    fn tokens_of_updates_are_not_counted_again_at_the_end() {
        let mut meter = Meter::default();
        meter.begin_turn();
        assert_eq!(meter.due(), None);
        meter.read(&update(json!({
            "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": "" },
            "_meta": { "usage": { "inputTokens": 10, "outputTokens": 5 } },
        })));
        assert!(meter.due().is_some());
        meter.end_turn(
            &json!({ "inputTokens": 30, "outputTokens": 7 }),
            &Value::Null,
        );
        let (usage, session_cost) = meter.take();
        assert_eq!((usage.input, usage.output, usage.unpriced), (30, 7, 37));
        assert_eq!(session_cost, None);
        assert_eq!(meter.take().0, Usage::default());
    }

    #[test]
    fn the_cost_of_a_resumed_session_is_counted_once() {
        let mut meter = Meter::default();
        meter.begin_session(0);
        meter.read(&cost(0.5, "USD"));
        meter.read(&cost(0.75, "USD"));
        assert_eq!(meter.take().1, Some(750_000));
        // The next process includes the cost of the earlier process, or counts from zero.
        meter.begin_session(750_000);
        meter.read(&cost(1.0, "USD"));
        assert_eq!(meter.take().0.micro_usd, 250_000);
        meter.begin_session(1_000_000);
        meter.read(&cost(0.1, "USD"));
        assert_eq!(
            meter.take(),
            (
                Usage {
                    micro_usd: 100_000,
                    ..Usage::default()
                },
                Some(100_000)
            )
        );
        // The cost of one answer is not the cost of the session.
        let tokens = json!({ "inputTokens": 10, "outputTokens": 5 });
        meter.read(&SessionUpdate::Spent { tokens, usd: 0.05 });
        // Another session begins before the usage is stored.
        meter.begin_session(0);
        let (usage, _) = meter.take();
        assert_eq!(
            (usage.micro_usd, usage.tokens(), usage.unpriced),
            (50_000, 15, 0)
        );
        for (amount, currency) in [(5.0, "EUR"), (-1.0, "USD")] {
            meter.read(&cost(amount, currency));
            assert_eq!(meter.take().0, Usage::default(), "{amount} {currency}");
        }
    }
}
