//! `limits.tokens`, `limits.usd`, `limits.minutes`: the budget of the team or of one member for one goal.

use agent_team_protocol::spec::Budget;

use super::table::Table;

const KEYS: [&str; 3] = ["tokens", "usd", "minutes"];

/// Reads the keys of a budget from a table that may have other keys.
pub(super) fn read(table: &mut Table<'_>) -> Budget {
    let [tokens, usd, minutes] = KEYS;
    let tokens = table.count(tokens);
    let [usd, minutes] = [usd, minutes].map(|key| table.amount(key));
    with(Budget::default(), tokens, usd, minutes)
}

pub(super) fn with(
    budget: Budget,
    tokens: Option<u64>,
    usd: Option<f64>,
    minutes: Option<f64>,
) -> Budget {
    let budget = tokens.map_or(budget, |tokens| budget.tokens(tokens));
    let budget = usd.map_or(budget, |usd| budget.usd(usd));
    minutes.map_or(budget, |minutes| budget.minutes(minutes))
}
