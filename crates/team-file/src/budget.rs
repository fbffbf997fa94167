//! `limits.tokens`, `limits.usd`, `limits.minutes`: what may be spent on one goal, by the team or by one member.

use agent_team_protocol::spec::Budget;

use super::table::Table;

/// The keys.
pub(super) const KEYS: [&str; 3] = ["tokens", "usd", "minutes"];

/// Takes the keys of a budget out of a table that may hold others.
pub(super) fn read(table: &mut Table<'_>) -> Budget {
    let [tokens, usd, minutes] = KEYS;
    Budget {
        tokens: table.count(tokens),
        micro_usd: table.amount(usd).map(scaled(1e6)),
        work_ms: table.amount(minutes).map(scaled(60_000.0)),
    }
}

/// In whole small units, at least one. A number that is too large for them is as good as none.
fn scaled(units: f64) -> impl Fn(f64) -> u64 {
    move |number| ((number * units).round() as u64).max(1)
}
