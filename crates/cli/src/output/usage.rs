//! Formats token counts and costs.

pub(crate) use agent_team_protocol::text::cost;
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

/// `12.3k tokens for $0.42`; `None` when no tokens were used.
pub(crate) fn sentence(usage: &Usage) -> Option<String> {
    let spent = tokens(usage.tokens());
    let cost = match usage.usd() {
        None if usage.micro_usd == 0 => " (price unknown)".to_owned(),
        Some(_) | None => format!(" for {}", cost(usage)),
    };
    (usage.tokens() > 0).then(|| format!("{spent} tokens{cost}"))
}

/// `12.3k tokens · $0.42`, `3.3k tokens · cost unknown`.
pub(crate) fn spent(usage: &Usage) -> String {
    let tokens = tokens(usage.tokens());
    match usage.usd() {
        None if usage.micro_usd == 0 => format!("{tokens} tokens · cost unknown"),
        Some(_) | None => format!("{tokens} tokens · {}", cost(usage)),
    }
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
    fn token_counts_are_abbreviated() {
        for (count, shown) in [(999, "999"), (12_345, "12.3k"), (4_560_000, "4.5M")] {
            assert_eq!(tokens(count), shown);
        }
        assert_eq!(
            sentence(&usage(12_345, 0, 12_345)).as_deref(),
            Some("12.3k tokens (price unknown)")
        );
        assert_eq!(sentence(&usage(0, 0, 0)), None);
        assert_eq!(spent(&usage(3_300, 0, 3_300)), "3.3k tokens · cost unknown");
        assert_eq!(spent(&usage(3_300, 420_000, 0)), "3.3k tokens · $0.42");
    }
}
