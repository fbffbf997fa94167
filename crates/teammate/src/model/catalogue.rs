//! What is known of models beforehand: how long a conversation may be, and what a token costs. Called by `open`, and
//! by whoever counts money.
//!
//! The data is `catalogue.toml`; a person's own file of the same form goes before it. A model that stands in neither
//! has a window to be safe with, and no price.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Usage;
use super::name::ModelName;
use super::provider::Provider;

const BUILT_IN: &str = include_str!("catalogue.toml");

/// Tokens that an unknown model at a provider, and one on the person's own machine, are taken to hold.
const WINDOW: u64 = 128_000;
const LOCAL_WINDOW: u64 = 32_768;

/// Tokens of an answer that every model of the last years can give.
const OUTPUT: u64 = 8_192;

/// By provider and the beginning of the model's name.
type Tables = BTreeMap<String, BTreeMap<String, Entry>>;

/// Everything that is known of models.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// What a person said goes first.
    own: Tables,
    built_in: Tables,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    window: Option<u64>,
    output: Option<u64>,
    input: Option<f64>,
    output_price: Option<f64>,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// What a model's tokens cost, in US dollars for a million.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_write: f64,
}

/// What is known of one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// Tokens that prompt and answer together may have.
    pub window: u64,
    /// Tokens that one answer may have.
    pub output: u64,
    /// Nobody knows what it costs when there is none.
    pub price: Option<Price>,
}

/// Why a person's own file is not used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0} is not a catalogue of models")]
    Parse(PathBuf, #[source] toml::de::Error),
    #[error("{0}: no provider is called \"{1}\"")]
    Provider(PathBuf, String),
    #[error("{0}: a price of {1}/{2} is no number of dollars")]
    Price(PathBuf, String, String),
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            own: Tables::new(),
            built_in: toml::from_str(BUILT_IN).expect("a test reads it"),
        }
    }
}

impl Catalogue {
    /// With a person's own file before what is built in.
    ///
    /// # Errors
    /// When it cannot be read, or holds what could not be used.
    pub fn with(path: &Path) -> Result<Self, CatalogueError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| CatalogueError::Read(path.to_owned(), error))?;
        let own: Tables =
            toml::from_str(&text).map_err(|error| CatalogueError::Parse(path.to_owned(), error))?;
        for (provider, models) in &own {
            if Provider::named(provider).is_none() {
                return Err(CatalogueError::Provider(path.to_owned(), provider.clone()));
            }
            for (model, entry) in models {
                if entry
                    .prices()
                    .any(|price| !price.is_finite() || price < 0.0)
                {
                    return Err(CatalogueError::Price(
                        path.to_owned(),
                        provider.clone(),
                        model.clone(),
                    ));
                }
            }
        }
        Ok(Self {
            own,
            ..Self::default()
        })
    }

    /// What is known of a model; of a recording, what is safe.
    pub fn look_up(&self, name: &ModelName) -> Known {
        let ModelName::Of { provider, model } = name else {
            return Entry::default().known(None);
        };
        let mut entry = Entry::default();
        for tables in [&self.own, &self.built_in] {
            entry.complete_with(find(tables, provider.name, model));
            if let Some((maker, model)) = model.split_once('/')
                && let Some(maker) = Provider::named(maker)
            {
                entry.complete_with(find(tables, maker.name, model));
            }
        }
        entry.known(Some(provider))
    }
}

/// The entry with the longest beginning of this name.
fn find<'a>(tables: &'a Tables, provider: &str, model: &str) -> Option<&'a Entry> {
    let plain = |name: &str| name.replace('.', "-");
    let model = plain(model);
    let entries = tables.get(provider)?.iter();
    // Up to a boundary: `gpt-5.2` is not the beginning of `gpt-5-2025-08-07`.
    let fitting = entries.filter(|(prefix, _)| {
        let rest = model.strip_prefix(&plain(prefix));
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    });
    let (_, entry) = fitting.max_by_key(|(prefix, _)| prefix.len())?;
    Some(entry)
}

impl Entry {
    fn prices(&self) -> impl Iterator<Item = f64> {
        [
            self.input,
            self.output_price,
            self.cache_read,
            self.cache_write,
        ]
        .into_iter()
        .flatten()
    }

    /// Prices belong together; the rest is completed one by one.
    fn complete_with(&mut self, other: Option<&Self>) {
        let Some(other) = other else { return };
        self.window = self.window.or(other.window);
        self.output = self.output.or(other.output);
        if self.prices().next().is_none() {
            *self = Self {
                window: self.window,
                output: self.output,
                ..*other
            };
        }
    }

    fn known(&self, provider: Option<&Provider>) -> Known {
        let local = provider.is_some_and(Provider::is_local);
        let window = if local { LOCAL_WINDOW } else { WINDOW };
        let input = self.input.unwrap_or(0.0);
        let price = Price {
            input,
            output: self.output_price.unwrap_or(0.0),
            cache_read: self.cache_read.unwrap_or(input),
            cache_write: self.cache_write.unwrap_or(input),
        };
        Known {
            window: self.window.unwrap_or(window),
            output: self.output.unwrap_or(OUTPUT),
            price: (local || self.prices().next().is_some()).then_some(price),
        }
    }
}

impl Price {
    /// US dollars.
    pub fn of(&self, usage: &Usage) -> f64 {
        let plain = usage
            .input
            .saturating_sub(usage.cache_read + usage.cache_write);
        let tokens = [plain, usage.cache_read, usage.cache_write, usage.output];
        let prices = [self.input, self.cache_read, self.cache_write, self.output];
        // Token counts are far below 2^52.
        let dollars = |(tokens, price): (u64, f64)| tokens as f64 * price / 1e6;
        tokens.into_iter().zip(prices).map(dollars).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_team_protocol::with_causes;

    fn known(catalogue: &Catalogue, name: &str) -> Known {
        catalogue.look_up(&name.parse().expect("a model's name"))
    }

    #[test]
    fn the_longest_beginning_of_a_name_wins() {
        let catalogue = Catalogue::default();
        let price = |name| known(&catalogue, name).price.expect("it is known").input;
        assert_eq!(price("anthropic/claude-opus-4-1-20250805"), 15.0);
        assert_eq!(price("anthropic/claude-opus-4-5"), 5.0);
        assert_eq!(price("openai/gpt-4o-mini-2024-07-18"), 0.15);
        assert_eq!(price("openai/gpt-5-2025-08-07"), 1.25);
        assert_eq!(price("openai/gpt-5.2-pro"), 1.75);
        assert_eq!(price("openrouter/anthropic/claude-opus-4.5"), 5.0);
        assert_eq!(price("openrouter/google/gemini-2.5-pro"), 1.25);
    }

    #[test]
    fn an_unknown_model_has_a_window_and_no_price() {
        let catalogue = Catalogue::default();
        let unknown = known(&catalogue, "openai/gpt-99");
        assert_eq!((unknown.window, unknown.price), (WINDOW, None));
        let local = known(&catalogue, "ollama/qwen3:8b");
        assert_eq!(local.window, LOCAL_WINDOW);
        let free = local.price.expect("nobody is paid");
        assert_eq!((free.input, free.output), (0.0, 0.0));
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let price = known(&Catalogue::default(), "anthropic/claude-sonnet-4-6").price;
        let usage = Usage {
            input: 1_000_000,
            output: 100_000,
            cache_read: 600_000,
            cache_write: 200_000,
        };
        let dollars = price.expect("it is known").of(&usage);
        assert!(
            (dollars - (0.6 + 0.18 + 0.75 + 1.5)).abs() < 1e-9,
            "{dollars}"
        );
    }

    #[test]
    fn a_persons_own_file_goes_first_and_the_rest_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("models.toml");
        let write = |text: &str| std::fs::write(&path, text).expect("it is written");
        write("[ollama]\nqwen3 = { window = 8_000 }\n[openai]\ngpt-5 = { input = 9.0 }\n");
        let catalogue = Catalogue::with(&path).expect("it is one");
        assert_eq!(known(&catalogue, "ollama/qwen3:8b").window, 8_000);
        let gpt = known(&catalogue, "openai/gpt-5");
        assert_eq!(gpt.window, 400_000);
        let price = gpt.price.expect("it is known");
        assert_eq!((price.input, price.cache_read), (9.0, 9.0));

        for (text, says) in [
            ("[openai]\ngpt-5 = { windw = 1 }", "is not a catalogue"),
            ("[opnai]\ngpt-5 = { window = 1 }", "no provider is called"),
            ("[openai]\ngpt-5 = { input = -1.0 }", "no number of dollars"),
            ("[openai]\ngpt-5 = { input = nan }", "no number of dollars"),
        ] {
            write(text);
            let error = with_causes(&Catalogue::with(&path).expect_err(text));
            assert!(error.contains(says), "{error}");
        }
    }
}
