//! Static data about models: window sizes and prices. Loaded by the callers of `open`, which looks each model up here.
//!
//! The data is in `catalogue.toml`; entries in the user's `config.toml` below `[models.<provider>]` take precedence. A
//! model that is in neither has a conservative window and no price.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_providers::{ModelName, Provider};
use serde::Deserialize;

use crate::usage::Price;

const BUILT_IN: &str = include_str!("catalogue.toml");

/// The assumed window size, in tokens, of an unknown model of a remote provider.
const WINDOW: u64 = 128_000;

/// The assumed window size, in tokens, of an unknown model of a local provider.
const LOCAL_WINDOW: u64 = 32_768;

/// The longest answer, in tokens, that is requested from an unknown model: every model in use supports this length.
const OUTPUT: u64 = 8_192;

/// The entries by provider name, then by model name or by a prefix followed by a star.
type Tables = BTreeMap<String, BTreeMap<String, Entry>>;

/// The data about models.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// The user's entries. They take precedence over `built_in`.
    of_user: Tables,
    built_in: Tables,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    window: Option<u64>,
    max_output: Option<u64>,
    input: Option<f64>,
    output: Option<f64>,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// The data about one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelData {
    /// The window for prompt and answer together, in tokens.
    pub window: u64,
    /// The longest answer, in tokens.
    pub output: u64,
    /// `None`: the price is unknown.
    pub price: Option<Price>,
}

/// Why the models in the user's `config.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0}: [models] must be a table of models")]
    Parse(PathBuf, #[source] toml::de::Error),
    #[error("{0}: unknown provider \"{1}\" in [models.{1}]")]
    Provider(PathBuf, String),
    #[error("{0}: the price of {1}/{2} must set `input` and `output` in dollars, none negative")]
    Price(PathBuf, String, String),
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            of_user: Tables::new(),
            built_in: toml::from_str(BUILT_IN).expect("a test parses the built-in data"),
        }
    }
}

/// The `[models]` tables of the user's `config.toml`; other modules read its other keys.
#[derive(Debug, Default, Deserialize)]
struct Settings {
    #[serde(default)]
    models: Tables,
}

impl Catalogue {
    /// Returns the built-in data and the entries of the file `settings`, the user's `config.toml`, which may be absent.
    ///
    /// # Errors
    /// If the file cannot be read, or contains invalid entries.
    pub fn with(settings: &Path) -> Result<Self, CatalogueError> {
        let text = match std::fs::read_to_string(settings) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(CatalogueError::Read(settings.to_owned(), error)),
        };
        let Settings { models: of_user } = toml::from_str(&text)
            .map_err(|error| CatalogueError::Parse(settings.to_owned(), error))?;
        for (provider, models) in &of_user {
            if Provider::named(provider).is_none_or(|known| known.name != provider) {
                return Err(CatalogueError::Provider(
                    settings.to_owned(),
                    provider.clone(),
                ));
            }
            let unusable = models.iter().find(|(_, entry)| !entry.is_usable());
            if let Some((model, _)) = unusable {
                return Err(CatalogueError::Price(
                    settings.to_owned(),
                    provider.clone(),
                    model.clone(),
                ));
            }
        }
        Ok(Self {
            of_user,
            ..Self::default()
        })
    }

    /// Returns the data about a model. Fields that no entry sets have conservative defaults. A recording is free.
    pub fn look_up(&self, name: &ModelName) -> ModelData {
        let ModelName::Of { provider, model } = name else {
            return Entry::default().model_data(WINDOW, true);
        };
        let mut entry = Entry::default();
        for tables in [&self.of_user, &self.built_in] {
            entry.complete_with(tables, provider.name, model);
            if let Some((maker, model)) = model.split_once('/')
                && let Some(maker) = Provider::named(maker)
            {
                entry.complete_with(tables, maker.name, model);
            }
        }
        let window = if provider.is_local() {
            LOCAL_WINDOW
        } else {
            WINDOW
        };
        // A provider without its own base URL, `openai-compatible`, may be any server: its prices are unknown.
        let free = provider.is_local() && !provider.base_url.is_empty();
        entry.model_data(window, free)
    }
}

/// Returns the entry that names the model, with or without its version, and the entry with the longest matching prefix.
/// A dot in a name matches a dash.
fn find<'a>(tables: &'a Tables, provider: &str, model: &str) -> [Option<&'a Entry>; 2] {
    let plain = |name: &str| name.replace('.', "-");
    let model = plain(model);
    let Some(entries) = tables.get(provider) else {
        return [None, None];
    };
    let rest = |beginning: &str| model.strip_prefix(&*plain(beginning)).map(str::to_owned);
    let exact = entries
        .iter()
        .find(|(name, _)| rest(name).is_some_and(|rest| is_version(&rest)));
    let family = entries
        .iter()
        .filter(|(name, _)| name.strip_suffix('*').and_then(rest).is_some())
        .max_by_key(|(name, _)| name.len());
    [exact, family].map(|found| found.map(|(_, entry)| entry))
}

/// Returns whether the rest of a name denotes a version of the same model: nothing, `-latest`, or a dash and at least
/// four digits, such as a date. Any other rest may denote another model with another price.
fn is_version(rest: &str) -> bool {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
    rest.is_empty() || rest == "-latest" || rest.strip_prefix('-').is_some_and(|it| digits(it) >= 4)
}

impl Entry {
    fn prices(&self) -> impl Iterator<Item = f64> {
        [self.input, self.output, self.cache_read, self.cache_write]
            .into_iter()
            .flatten()
    }

    /// Returns whether no price is set, or `input` and `output` are both set and all prices are finite and not
    /// negative.
    fn is_usable(&self) -> bool {
        let complete = self.input.is_some() && self.output.is_some();
        let plausible = |price: f64| price.is_finite() && price >= 0.0;
        self.prices().next().is_none() || (complete && self.prices().all(plausible))
    }

    /// Sets missing fields from the entries of this model in `tables`. All prices come from the same entry.
    fn complete_with(&mut self, tables: &Tables, provider: &str, model: &str) {
        for other in find(tables, provider, model).into_iter().flatten() {
            self.window = self.window.or(other.window);
            self.max_output = self.max_output.or(other.max_output);
            if self.prices().next().is_none() {
                *self = Self {
                    window: self.window,
                    max_output: self.max_output,
                    ..*other
                };
            }
        }
    }

    fn model_data(&self, window: u64, free: bool) -> ModelData {
        let input = self.input.unwrap_or(0.0);
        let price = Price {
            input,
            output: self.output.unwrap_or(0.0),
            cache_read: self.cache_read.unwrap_or(input),
            cache_write: self.cache_write.unwrap_or(input),
        };
        ModelData {
            window: self.window.unwrap_or(window),
            output: self.max_output.unwrap_or(OUTPUT),
            price: (free || self.prices().next().is_some()).then_some(price),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;
    use agent_team_protocol::with_causes;

    fn known(catalogue: &Catalogue, name: &str) -> ModelData {
        catalogue.look_up(&name.parse().expect("a model's name"))
    }

    #[test]
    fn prices_apply_to_a_model_and_its_dated_versions() {
        let catalogue = Catalogue::default();
        let price = |name| known(&catalogue, name).price.map(|price| price.input);
        assert_eq!(price("anthropic/claude-opus-4-1-20250805"), Some(15.0));
        assert_eq!(price("anthropic/claude-opus-4-5"), Some(5.0));
        assert_eq!(price("openai/gpt-4o-mini-2024-07-18"), Some(0.15));
        assert_eq!(price("openai/gpt-5-2025-08-07"), Some(1.25));
        assert_eq!(price("openrouter/anthropic/claude-opus-4.5"), Some(5.0));
        assert_eq!(price("openrouter/google/gemini-2.5-pro"), Some(1.25));
        // Related models may cost ten times as much.
        for other in [
            "openai/gpt-5-pro",
            "openai/gpt-5.9",
            "anthropic/claude-opus-4-9",
        ] {
            assert_eq!(price(other), None, "{other}");
        }
    }

    #[test]
    fn models_of_a_family_share_a_window() {
        let catalogue = Catalogue::default();
        assert_eq!(known(&catalogue, "openai/gpt-5.9").window, 272_000);
        assert_eq!(known(&catalogue, "openai/gpt-5.1").window, 400_000);
        assert_eq!(
            known(&catalogue, "anthropic/claude-new").window,
            known(&catalogue, "anthropic/claude-sonnet-4").window
        );
    }

    #[test]
    fn built_in_data_is_valid() {
        let built_in = Catalogue::default().built_in;
        for (provider, models) in &built_in {
            assert!(Provider::named(provider).is_some(), "{provider}");
            for (model, entry) in models {
                assert!(entry.is_usable(), "{provider}/{model}");
            }
        }
    }

    #[test]
    fn an_unknown_model_has_a_window_and_no_price() {
        let catalogue = Catalogue::default();
        let unknown = known(&catalogue, "openai/gpt-99");
        assert_eq!((unknown.window, unknown.price), (WINDOW, None));
        let any_server = known(&catalogue, "openai-compatible/gpt-5");
        assert_eq!(any_server.price, None, "the server is unknown");
        let local = known(&catalogue, "ollama/qwen3:8b");
        assert_eq!(local.window, LOCAL_WINDOW);
        for free in [local, known(&catalogue, "replay:run.jsonl")] {
            let price = free.price.expect("a local model is free");
            assert_eq!((price.input, price.output), (0.0, 0.0));
        }
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let price = known(&Catalogue::default(), "anthropic/claude-sonnet-4-6").price;
        let usage = Usage {
            input: 1_000_000,
            output: 100_000,
            cache_read: 600_000,
            cache_write: 200_000,
            cache_write_hour: 100_000,
            micro_usd: None,
        };
        let micro_usd = price.expect("a known price").of(&usage);
        assert_eq!(micro_usd, 600_000 + 180_000 + 375_000 + 600_000 + 1_500_000);
    }

    #[test]
    fn user_entries_take_precedence() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.toml");
        let write = |text: &str| std::fs::write(&path, text).expect("a writable file");
        Catalogue::with(&path).expect("the file is optional");
        write(
            "durability = \"process\"\n\
             [models.ollama]\n\"qwen3*\" = { window = 8_000 }\n\
             [models.openai]\n\"gpt-5.1\" = { input = 9.0, output = 12.0 }\n",
        );
        let catalogue = Catalogue::with(&path).expect("a valid catalogue");
        assert_eq!(known(&catalogue, "ollama/qwen3:8b").window, 8_000);
        let gpt = known(&catalogue, "openai/gpt-5.1");
        assert_eq!(gpt.window, 400_000);
        let price = gpt.price.expect("a known price");
        assert_eq!((price.input, price.cache_read), (9.0, 9.0));

        for (text, says) in [
            ("[models.openai]\ngpt-5 = { windw = 1 }", "unknown field"),
            ("[models.opnai]\ngpt-5 = { window = 1 }", "unknown provider"),
            ("[models.google]\nx = { window = 1 }", "unknown provider"),
            (
                "[models.openai]\ngpt-5 = { input = -1.0, output = 1.0 }",
                "must set `input` and `output` in dollars",
            ),
            (
                "[models.openai]\ngpt-5 = { input = nan, output = 1.0 }",
                "must set `input` and `output` in dollars",
            ),
            (
                "[models.openai]\ngpt-5 = { input = 1.0 }",
                "must set `input` and `output` in dollars",
            ),
        ] {
            write(text);
            let error = with_causes(&Catalogue::with(&path).expect_err(text));
            assert!(error.contains(says), "{error}");
        }
    }
}
