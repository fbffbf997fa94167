//! The tokens of answers, and their cost. Used by models and by the accounting of a member.

use serde::{Deserialize, Serialize};

/// The tokens of one answer, or the sum of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// All input tokens, cached or not.
    pub input: u64,
    pub output: u64,
    /// The part of `input` that was read from the provider's cache.
    #[serde(default)]
    pub cache_read: u64,
    /// The part of `input` that was written to the provider's cache.
    #[serde(default)]
    pub cache_write: u64,
    /// The part of `cache_write` that the provider keeps for an hour, at twice the price of input.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write_hour: u64,
    /// The cost in millionths of a US dollar, if the provider reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd: Option<u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Prices of tokens, in US dollars per million.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_write: f64,
}

/// The rates of requests with a long prompt. They apply to all tokens of such a request, including its output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tier {
    /// The rates apply to requests with more input tokens than this number, cached or not.
    pub above: u64,
    #[serde(flatten)]
    pub rates: Rates,
}

/// The price of a model's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price {
    #[serde(flatten)]
    pub rates: Rates,
    /// The tiers, in ascending order of `above`.
    pub tiers: Vec<Tier>,
}

impl Price {
    /// The price of free models.
    pub const FREE: Self = Self {
        rates: Rates {
            input: 0.0,
            output: 0.0,
            cache_read: 0.0,
            cache_write: 0.0,
        },
        tiers: Vec::new(),
    };

    /// The cost of one answer in millionths of a US dollar.
    pub fn of(&self, usage: &Usage) -> u64 {
        let tier = self.tiers.iter().rfind(|tier| usage.input > tier.above);
        let rates = tier.map_or(&self.rates, |tier| &tier.rates);
        let plain = usage
            .input
            .saturating_sub(usage.cache_read + usage.cache_write);
        let hour = usage.cache_write_hour.min(usage.cache_write);
        let short = usage.cache_write - hour;
        let tokens = [plain, usage.cache_read, short, hour, usage.output];
        let prices = [
            rates.input,
            rates.cache_read,
            rates.cache_write,
            2.0 * rates.input,
            rates.output,
        ];
        // Dollars per million tokens equal millionths of a dollar per token.
        let micro_usd = |(tokens, price): (u64, f64)| tokens as f64 * price;
        let sum: f64 = tokens.into_iter().zip(prices).map(micro_usd).sum();
        // The sum is not negative and far below 2^52, so no digit is lost.
        sum.round() as u64
    }
}
