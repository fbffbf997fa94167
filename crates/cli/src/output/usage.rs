//! Formats token counts and costs.

use agent_team_protocol::view::Usage;

/// `850`, `12.3k`, `4.5M`.
pub(crate) fn tokens(count: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", count / unit, count % unit * 10 / unit);
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", tenths(1_000)),
        1_000_000.. => format!("{}M", tenths(1_000_000)),
    }
}

/// `$0.42`; `–` without tokens, `unknown` when no price is known, and `$0.42 + ?` when only some prices are known. Less
/// than a cent is shown with four decimals and never rounds to zero.
pub(crate) fn cost(usage: &Usage) -> String {
    let dollars = match usage.micro_usd {
        0 => "$0.00".to_owned(),
        micro @ 1..10_000 => format!("${:.4}", (micro.max(100)) as f64 / 1e6),
        micro @ 10_000.. => format!("${:.2}", micro as f64 / 1e6),
    };
    match usage.unpriced {
        0 if usage.tokens() == 0 => "–".to_owned(),
        0 => dollars,
        _ if usage.micro_usd == 0 => "unknown".to_owned(),
        _ => format!("{dollars} + ?"),
    }
}

/// `12.3k tokens for $0.42`; `None` when no tokens were used.
pub(crate) fn sentence(usage: &Usage) -> Option<String> {
    let spent = tokens(usage.tokens());
    let cost = match usage.usd() {
        None if usage.micro_usd == 0 => "at an unknown price".to_owned(),
        Some(_) | None => format!("for {}", cost(usage)),
    };
    (usage.tokens() > 0).then(|| format!("{spent} tokens {cost}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, micro_usd: u64, unpriced: u64) -> Usage {
        Usage {
            input,
            micro_usd,
            unpriced,
            ..Usage::default()
        }
    }

    #[test]
    fn unknown_and_tiny_costs_are_not_shown_as_zero() {
        for (usage, shown) in [
            (usage(0, 0, 0), "–"),
            (usage(10, 0, 0), "$0.00"),
            (usage(10, 0, 10), "unknown"),
            (usage(10, 7, 0), "$0.0001"),
            (usage(10, 4_200, 0), "$0.0042"),
            (usage(10, 420_000, 0), "$0.42"),
            (usage(10, 420_000, 5), "$0.42 + ?"),
        ] {
            assert_eq!(cost(&usage), shown, "{usage:?}");
        }
    }

    #[test]
    fn token_counts_are_abbreviated() {
        for (count, shown) in [(999, "999"), (12_345, "12.3k"), (4_560_000, "4.5M")] {
            assert_eq!(tokens(count), shown);
        }
        assert_eq!(
            sentence(&usage(12_345, 0, 12_345)).as_deref(),
            Some("12.3k tokens at an unknown price")
        );
        assert_eq!(sentence(&usage(0, 0, 0)), None);
    }
}
