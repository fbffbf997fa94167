//! Static data about models: window sizes and prices. Loaded by workers, by `doctor`, and by the commands that list
//! models. [`crate::open`] looks each model up here.
//!
//! ```text
//!  config.toml [models.<provider>] ─► models.toml ─► catalogue.toml (built in) ─► defaults
//!    the user's entries                 written by `import`
//! ```
//! An earlier source takes precedence. A model that no source contains has a conservative window and, unless it is
//! local, no price.

mod import;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agent_team_providers::{ModelName, PROVIDERS, Provider};
use serde::{Deserialize, Serialize};

pub use self::import::{Imported, import};
use crate::media::MediaSupport;
use crate::usage::{Price, Rates, Tier};

const BUILT_IN: &str = include_str!("catalogue.toml");

/// The file with the user's own catalogue, in the directory of `config.toml`.
const OWN_FILE: &str = "models.toml";

/// The assumed window size, in tokens, of an unknown model of a remote provider.
const WINDOW: u64 = 128_000;

/// The assumed window size, in tokens, of an unknown model of a local provider.
const LOCAL_WINDOW: u64 = 32_768;

/// The longest answer, in tokens, that is requested from an unknown model: every model in use supports this length.
const OUTPUT: u64 = 8_192;

/// The entries by provider name, then by model name or by a prefix followed by a star.
type Tables = BTreeMap<String, BTreeMap<String, Entry>>;

/// A file with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Config,
    OwnFile,
    BuiltIn,
}

/// The data about all known models.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// The sources, in descending precedence.
    sources: [(Source, Tables); 3],
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tiers: Vec<TierEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vision: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pdf: Option<bool>,
}

/// The prices of requests with more input tokens than `above`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct TierEntry {
    above: u64,
    input: f64,
    output: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write: Option<f64>,
}

/// The data about one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelData {
    /// The window for prompt and answer together, in tokens.
    pub window: u64,
    /// Whether the window is an assumption: no source states it.
    pub window_is_assumed: bool,
    /// The longest answer, in tokens.
    pub output: u64,
    /// `None`: the price is unknown.
    pub price: Option<Price>,
    /// Whether no source states a price. `price` is then `None`, or zero for a local model or a recording.
    pub price_is_assumed: bool,
    /// Whether the model accepts images and PDFs.
    pub media: MediaSupport,
}

/// One model, or a family whose name ends in a star, as `agent-team models list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// `provider/model`.
    pub name: String,
    pub provider: &'static str,
    pub window: u64,
    pub max_output: u64,
    pub price: Option<Price>,
    /// The source of the price. Without a price: the first source that sets any field.
    pub from: &'static str,
    /// Whether agents without a configured model use this model if its provider has a key.
    pub default: bool,
}

/// Why the data about models cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("cannot read the [models] tables of {0}")]
    Config(PathBuf, #[source] toml::de::Error),
    #[error("cannot use {0}: repair it, or remove it and run agent-team models update FILE")]
    OwnFile(PathBuf, #[source] toml::de::Error),
    #[error("{0}: unknown provider \"{1}\" in [{2}{1}]")]
    Provider(PathBuf, String, &'static str),
    #[error(
        "{0}: the price of {1}/{2} must set `input` and `output` in dollars, none negative, and `tiers` in ascending \
         order of `above`"
    )]
    Price(PathBuf, String, String),
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Config => "config.toml",
            Self::OwnFile => OWN_FILE,
            Self::BuiltIn => "built in",
        }
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::of(Tables::new(), Tables::new())
    }
}

/// The `[models]` tables of the user's `config.toml`; other modules read its other keys.
#[derive(Debug, Default, Deserialize)]
struct Settings {
    #[serde(default)]
    models: Tables,
}

impl Catalogue {
    fn of(config: Tables, own_file: Tables) -> Self {
        let built_in = toml::from_str(BUILT_IN).expect("a test parses the built-in data");
        Self {
            sources: [
                (Source::Config, config),
                (Source::OwnFile, own_file),
                (Source::BuiltIn, built_in),
            ],
        }
    }

    /// Returns the built-in data and the user's entries. `settings` is the path of the user's `config.toml`;
    /// `models.toml` is in the same directory. Both files may be absent.
    ///
    /// # Errors
    /// If a file cannot be read, or contains invalid entries.
    pub fn with(settings: &Path) -> Result<Self, CatalogueError> {
        let text = read_optional(settings)?;
        let Settings { models } = toml::from_str(&text)
            .map_err(|error| CatalogueError::Config(settings.to_owned(), error))?;
        check(settings, "models.", &models)?;
        let own_file = read_own(&settings.with_file_name(OWN_FILE))?;
        Ok(Self::of(models, own_file))
    }

    /// Returns the data about a model. Fields that no entry sets have conservative defaults. A recording is free.
    pub fn look_up(&self, name: &ModelName) -> ModelData {
        let ModelName::Of { provider, model } = name else {
            return Entry::default().model_data(WINDOW, true);
        };
        self.entry(provider, model).0.data_at(provider)
    }

    /// All entries, in the order of the table of providers.
    pub fn list(&self) -> Vec<Listed> {
        let of = |provider: &'static Provider| {
            let tables = self
                .sources
                .iter()
                .filter_map(|(_, tables)| tables.get(provider.name));
            let names: BTreeSet<&String> = tables.flat_map(BTreeMap::keys).collect();
            names.into_iter().map(move |name| {
                let (entry, from) = self.entry(provider, name);
                let data = entry.data_at(provider);
                Listed {
                    name: format!("{}/{name}", provider.name),
                    provider: provider.name,
                    window: data.window,
                    max_output: data.output,
                    price: data.price,
                    from: from.unwrap_or(Source::BuiltIn).name(),
                    default: provider.default_model == Some(name),
                }
            })
        };
        PROVIDERS.iter().flat_map(of).collect()
    }

    /// Returns the fields that the sources set, and the source of the price. Without a price, the source is the first
    /// one that sets any field.
    fn entry(&self, provider: &Provider, model: &str) -> (Entry, Option<Source>) {
        let mut entry = Entry::default();
        let mut from = None;
        for (source, tables) in &self.sources {
            let had_price = entry.has_price();
            let before = entry.clone();
            entry.complete_with(tables, provider.name, model);
            // A gateway charges the prices of the model's maker. A provider that runs models of other makers itself has
            // its own prices.
            let is_gateway = provider.quirks.is_openrouter || provider.base_url.is_empty();
            if is_gateway
                && let Some((maker, model)) = model.split_once('/')
                && let Some(maker) = Provider::named(maker)
            {
                entry.complete_with(tables, maker.name, model);
            }
            if (!had_price && entry.has_price()) || (from.is_none() && entry != before) {
                from = Some(*source);
            }
        }
        (entry, from)
    }
}

fn read_optional(path: &Path) -> Result<String, CatalogueError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(CatalogueError::Read(path.to_owned(), error)),
    }
}

/// Reads the user's own catalogue, which may be absent.
fn read_own(path: &Path) -> Result<Tables, CatalogueError> {
    let tables = toml::from_str(&read_optional(path)?)
        .map_err(|error| CatalogueError::OwnFile(path.to_owned(), error))?;
    check(path, "", &tables)?;
    Ok(tables)
}

/// Checks that all providers are known and all prices are valid. `above`: the part of a table's name before the
/// provider.
fn check(path: &Path, above: &'static str, tables: &Tables) -> Result<(), CatalogueError> {
    for (provider, models) in tables {
        let path = || path.to_owned();
        if Provider::named(provider).is_none_or(|known| known.name != provider) {
            return Err(CatalogueError::Provider(path(), provider.clone(), above));
        }
        if let Some((model, _)) = models.iter().find(|(_, entry)| !entry.is_usable()) {
            return Err(CatalogueError::Price(
                path(),
                provider.clone(),
                model.clone(),
            ));
        }
    }
    Ok(())
}

/// Returns the entry that names the model, preferably with its version, and the entry with the longest matching prefix.
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
        .filter(|(name, _)| rest(name).is_some_and(|rest| is_version(&rest)))
        .max_by_key(|(name, _)| name.len());
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
    fn has_price(&self) -> bool {
        self.prices().next().is_some()
    }

    fn prices(&self) -> impl Iterator<Item = f64> {
        [self.input, self.output, self.cache_read, self.cache_write]
            .into_iter()
            .flatten()
    }

    /// Returns whether no price is set, or `input` and `output` are both set, all prices are finite and not negative,
    /// and the tiers ascend.
    fn is_usable(&self) -> bool {
        let complete = self.input.is_some() && self.output.is_some();
        let plausible = |price: f64| price.is_finite() && price >= 0.0;
        let without = !self.has_price() && self.tiers.is_empty();
        without
            || (complete
                && self.prices().all(plausible)
                && self.tiers.is_sorted_by(|one, next| one.above < next.above)
                && self.tiers.iter().flat_map(TierEntry::prices).all(plausible))
    }

    /// Sets missing fields from the entries of this model in `tables`. All prices come from the same entry.
    fn complete_with(&mut self, tables: &Tables, provider: &str, model: &str) {
        for other in find(tables, provider, model).into_iter().flatten() {
            self.window = self.window.or(other.window);
            self.max_output = self.max_output.or(other.max_output);
            self.vision = self.vision.or(other.vision);
            self.pdf = self.pdf.or(other.pdf);
            if !self.has_price() {
                *self = Self {
                    window: self.window,
                    max_output: self.max_output,
                    vision: self.vision,
                    pdf: self.pdf,
                    ..other.clone()
                };
            }
        }
    }

    /// The data about a model of this provider: these fields, and defaults for the missing ones.
    fn data_at(&self, provider: &Provider) -> ModelData {
        let window = if provider.is_local() {
            LOCAL_WINDOW
        } else {
            WINDOW
        };
        // The provider `openai-compatible` has no base URL, so its server may run anywhere: `open` checks whether the
        // server runs on this machine.
        let free = provider.is_local() && !provider.base_url.is_empty();
        self.model_data(window, free)
    }

    fn model_data(&self, window: u64, free: bool) -> ModelData {
        let rates = rates(
            self.input.unwrap_or(0.0),
            self.output.unwrap_or(0.0),
            self.cache_read,
            self.cache_write,
        );
        let tier = |tier: &TierEntry| Tier {
            above: tier.above,
            rates: tier.rates(),
        };
        let price = Price {
            rates,
            tiers: self.tiers.iter().map(tier).collect(),
        };
        ModelData {
            window: self.window.unwrap_or(window),
            window_is_assumed: self.window.is_none(),
            output: self.max_output.unwrap_or(OUTPUT),
            price: (free || self.has_price()).then_some(price),
            price_is_assumed: !self.has_price(),
            media: MediaSupport {
                images: self.vision,
                documents: self.pdf,
            },
        }
    }
}

impl TierEntry {
    fn prices(&self) -> impl Iterator<Item = f64> {
        let cache = [self.cache_read, self.cache_write].into_iter().flatten();
        [self.input, self.output].into_iter().chain(cache)
    }

    fn rates(&self) -> Rates {
        rates(self.input, self.output, self.cache_read, self.cache_write)
    }
}

/// The rates for these prices. Cached tokens without a price cost as much as other input.
fn rates(input: f64, output: f64, cache_read: Option<f64>, cache_write: Option<f64>) -> Rates {
    Rates {
        input,
        output,
        cache_read: cache_read.unwrap_or(input),
        cache_write: cache_write.unwrap_or(input),
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
        let price = |name| known(&catalogue, name).price.map(|price| price.rates.input);
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
    fn a_dated_model_keeps_its_own_price() {
        let tables = "[openai]\n\
             \"gpt-x\" = { input = 1.0, output = 1.0 }\n\
             \"gpt-x-2024-05-13\" = { input = 5.0, output = 5.0 }\n";
        let tables: Tables = toml::from_str(tables).expect("valid tables");
        let input = |model| find(&tables, "openai", model)[0].and_then(|entry| entry.input);
        assert_eq!(input("gpt-x-2024-05-13"), Some(5.0));
        assert_eq!(input("gpt-x-2025-01-01"), Some(1.0));
        assert_eq!(input("gpt-x"), Some(1.0));
    }

    #[test]
    fn models_of_a_family_share_a_window() {
        let catalogue = Catalogue::default();
        assert_eq!(known(&catalogue, "openai/gpt-5.9").window, 272_000);
        assert_eq!(known(&catalogue, "openai/gpt-5.1").window, 400_000);
        assert_eq!(known(&catalogue, "moonshot/kimi-k2.9").window, 262_144);
        assert_eq!(known(&catalogue, "moonshot/kimi-k3.9").window, 1_000_000);
        assert_eq!(
            known(&catalogue, "anthropic/claude-new").window,
            known(&catalogue, "anthropic/claude-sonnet-4").window
        );
    }

    #[test]
    fn a_model_family_accepts_images_and_pdfs() {
        let catalogue = Catalogue::default();
        let media = |name| {
            let MediaSupport { images, documents } = known(&catalogue, name).media;
            (images, documents)
        };
        let both = (Some(true), Some(true));
        assert_eq!(media("anthropic/claude-opus-4-5"), both);
        assert_eq!(media("openai/gpt-5.4-mini"), both);
        assert_eq!(media("openrouter/anthropic/claude-opus-4.5"), both);
        assert_eq!(media("gemini/gemini-2.5-pro"), (Some(true), Some(false)));
        assert_eq!(media("ollama/qwen3:8b"), (None, None));
    }

    #[test]
    fn built_in_data_is_valid() {
        let [.., (_, built_in)] = Catalogue::default().sources;
        for (provider, models) in &built_in {
            assert!(Provider::named(provider).is_some(), "{provider}");
            for (model, entry) in models {
                assert!(entry.is_usable(), "{provider}/{model}");
            }
        }
    }

    #[test]
    fn each_default_model_has_a_price_and_a_window() {
        let catalogue = Catalogue::default();
        for provider in PROVIDERS {
            let Some(model) = provider.default_model.filter(|_| provider.needs_key) else {
                continue;
            };
            let data = known(&catalogue, &format!("{}/{model}", provider.name));
            assert!(data.price.is_some(), "{model}");
            assert!(!data.window_is_assumed, "{model}");
        }
    }

    #[test]
    fn deepseek_has_the_price_of_peak_hours() {
        let catalogue = Catalogue::default();
        for (model, output) in [
            ("deepseek-flash", 1.20),
            ("deepseek-v4-flash", 1.20),
            ("deepseek-v4-pro", 3.96),
        ] {
            let data = known(&catalogue, &format!("deepseek/{model}"));
            assert_eq!(data.window, 1_000_000, "{model}");
            assert_eq!(
                data.price.map(|it| it.rates.output),
                Some(output),
                "{model}"
            );
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
            assert_eq!(price, Price::FREE);
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
    fn a_long_prompt_has_its_own_rates() {
        let price = known(&Catalogue::default(), "openai/gpt-6.1-sol").price;
        let price = price.expect("a known price");
        let usage = |input| Usage {
            input,
            output: 1_000,
            ..Usage::default()
        };
        assert_eq!(price.of(&usage(272_000)), 544_000 + 10_000);
        assert_eq!(price.of(&usage(272_001)), 1_088_004 + 15_000);
    }

    #[test]
    fn only_a_gateway_charges_the_price_of_the_maker() {
        let price = |name| known(&Catalogue::default(), name).price;
        let own = price("zai/glm-5.2");
        assert!(own.is_some());
        assert_eq!(price("openrouter/z-ai/glm-5.2"), own);
        assert_eq!(price("groq/z-ai/glm-5.2"), None);
        assert_eq!(price("vllm/z-ai/glm-5.2"), Some(Price::FREE));
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
        assert_eq!((price.rates.input, price.rates.cache_read), (9.0, 9.0));

        for (text, expected) in [
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
            (
                "[models.openai]\ngpt-5 = { input = 1.0, output = 1.0, tiers = [{ above = 9, input = -2.0, output = 1.0 }] }",
                "in ascending order of `above`",
            ),
        ] {
            write(text);
            let error = with_causes(&Catalogue::with(&path).expect_err(text));
            assert!(error.contains(expected), "{error}");
        }
    }
}
