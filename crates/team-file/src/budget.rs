//! `limits.tokens`, `limits.usd`, `limits.minutes`: what may be spent on one goal, by the team or by one member.

use agent_team_protocol::spec::Budget;

use super::table::Table;

const KEYS: [&str; 3] = ["tokens", "usd", "minutes"];

/// Takes the keys of a budget out of a table that may hold others.
pub(super) fn read(table: &mut Table<'_>) -> Budget {
    let [tokens, usd, minutes] = KEYS;
    Budget {
        tokens: table.count(tokens),
        micro_usd: table.amount(usd).map(micro_usd),
        work_ms: table.amount(minutes).map(work_ms),
    }
}

/// Dollars in millionths, at least one.
pub(super) fn micro_usd(usd: f64) -> u64 {
    ((usd * 1e6).round() as u64).max(1)
}

/// Minutes in milliseconds, at least one.
pub(super) fn work_ms(minutes: f64) -> u64 {
    ((minutes * 60_000.0).round() as u64).max(1)
}
