//! Reads a list of models in the form of models.dev's `api.json` and adds it to the user's `models.toml`. Called for
//! `agent-team models update`.
//!
//! The whole list is checked before the file is replaced, so an invalid list changes nothing. Entries of `models.toml`
//! that the list does not contain are kept. The import skips providers that agent-team does not know, and models
//! without tool calls. It also skips local providers, because their servers report the window.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_providers::Provider;
use agent_team_system::private_file;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::{CatalogueError, Entry, OWN_FILE, Tables, TierEntry, read_own};

/// The first lines of `models.toml`.
const HEADER: &str = "\
# Written by `agent-team models update`, which adds to this file and replaces entries of the same name.
# Entries in config.toml below [models.<provider>] take precedence.

";

/// The result of an import.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Imported {
    pub file: PathBuf,
    /// The number of models in the list, without those that were skipped.
    pub models: usize,
    /// The number of these models that have a price.
    pub priced: usize,
    /// The providers of these models.
    pub providers: Vec<&'static str>,
}

/// Why a list cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source error contains the line number.
    #[error("the list is not in the form of models.dev's api.json")]
    List(#[source] serde_json::Error),
    #[error("the list contains no model of a provider that agent-team knows")]
    Empty,
    #[error(transparent)]
    Own(#[from] CatalogueError),
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] std::io::Error),
}

/// A provider of the list.
#[derive(Deserialize)]
struct ListedProvider {
    models: BTreeMap<String, ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    #[serde(default = "yes")]
    tool_call: bool,
    limit: Option<Limit>,
    cost: Option<Cost>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Limit {
    context: u64,
    /// The longest prompt, if it is shorter than the window.
    input: Option<u64>,
    output: Option<u64>,
}

#[derive(Deserialize)]
struct Cost {
    #[serde(flatten)]
    rates: ListedRates,
    #[serde(default)]
    tiers: Vec<CostTier>,
}

#[derive(Deserialize)]
struct CostTier {
    #[serde(flatten)]
    rates: ListedRates,
    tier: TierSize,
}

#[derive(Deserialize)]
struct TierSize {
    size: u64,
}

#[derive(Deserialize)]
struct ListedRates {
    input: Dollars,
    output: Dollars,
    cache_read: Option<Dollars>,
    cache_write: Option<Dollars>,
}

/// A price, in US dollars per million tokens.
#[derive(Clone, Copy)]
struct Dollars(f64);

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        match dollars.is_finite() && dollars >= 0.0 {
            true => Ok(Self(dollars)),
            false => Err(D::Error::custom("a price cannot be negative")),
        }
    }
}

/// Adds the models of `list` to `models.toml` beside `settings`, the user's `config.toml`.
///
/// # Errors
/// If the list is invalid or has no model of a known provider, if the present `models.toml` is invalid, or if the new
/// file cannot be written. In all these cases, `models.toml` is unchanged.
pub fn import(list: &str, settings: &Path) -> Result<Imported, ImportError> {
    let tables = tables(list)?;
    let file = settings.with_file_name(OWN_FILE);
    let mut all = read_own(&file)?;
    let entries = || tables.values().flat_map(BTreeMap::values);
    let imported = Imported {
        file: file.clone(),
        models: entries().count(),
        priced: entries().filter(|entry| entry.has_price()).count(),
        providers: tables
            .keys()
            .filter_map(|name| Some(Provider::named(name)?.name))
            .collect(),
    };
    if imported.models == 0 {
        return Err(ImportError::Empty);
    }
    for (provider, models) in tables {
        all.entry(provider).or_default().extend(models);
    }
    let text = toml::to_string(&all).expect("names are strings, and numbers fit");
    let write = || {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        private_file::replace(&file, format!("{HEADER}{text}").as_bytes())
    };
    write().map_err(|error| ImportError::Write(file.clone(), error))?;
    Ok(imported)
}

fn tables(list: &str) -> Result<Tables, ImportError> {
    let listed: BTreeMap<String, ListedProvider> =
        serde_json::from_str(list).map_err(ImportError::List)?;
    let mut tables = Tables::new();
    for (name, ListedProvider { models }) in listed {
        let Some(provider) = Provider::named(&name).filter(|known| !known.is_local()) else {
            continue;
        };
        let usable = models
            .into_iter()
            .filter(|(name, model)| model.tool_call && is_name(name))
            .map(|(name, model)| (name, entry(model)));
        let into = tables.entry(provider.name.to_owned()).or_default();
        into.extend(usable);
    }
    tables.retain(|_, models| !models.is_empty());
    Ok(tables)
}

/// Whether the text names one model. A star at the end would make it the name of a family.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| !c.is_whitespace() && !c.is_control() && c != '*';
    !text.is_empty() && text.chars().all(is_part)
}

fn entry(model: ListedModel) -> Entry {
    let ListedModel { limit, cost, .. } = model;
    let window = |limit: &Limit| {
        limit
            .input
            .map_or(limit.context, |it| it.min(limit.context))
    };
    let is_set = |number: &u64| *number > 0;
    let sizes = Entry {
        window: limit.as_ref().map(window).filter(is_set),
        max_output: limit.and_then(|limit| limit.output).filter(is_set),
        ..Entry::default()
    };
    let Some(Cost { rates, mut tiers }) = cost else {
        return sizes;
    };
    tiers.sort_by_key(|tier| tier.tier.size);
    tiers.dedup_by_key(|tier| tier.tier.size);
    let tier = |CostTier { rates, tier }| TierEntry {
        above: tier.size,
        input: rates.input.0,
        output: rates.output.0,
        cache_read: rates.cache_read.map(|price| price.0),
        cache_write: rates.cache_write.map(|price| price.0),
    };
    Entry {
        input: Some(rates.input.0),
        output: Some(rates.output.0),
        cache_read: rates.cache_read.map(|price| price.0),
        cache_write: rates.cache_write.map(|price| price.0),
        tiers: tiers.into_iter().map(tier).collect(),
        ..sizes
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::with_causes;

    use super::super::Catalogue;
    use super::*;

    /// A list in the form that models.dev publishes, with fewer models. Source: `packages/core/src/schema.ts` of
    /// models.dev.
    const LIST: &str = r#"{
      "google": {
        "id": "google", "name": "Google", "env": ["GEMINI_API_KEY"], "npm": "@ai-sdk/google", "doc": "https://x.test",
        "models": {
          "gemini-next": {
            "id": "gemini-next", "name": "Next", "attachment": true, "reasoning": true, "tool_call": true,
            "modalities": { "input": ["text"], "output": ["text"] },
            "limit": { "context": 500000, "input": 400000, "output": 65536 },
            "cost": {
              "input": 2, "output": 12.5, "cache_read": 0.2, "input_audio": 3,
              "tiers": [{ "input": 4, "output": 18, "tier": { "type": "context", "size": 200000 } }]
            }
          },
          "gemini-painter": { "id": "gemini-painter", "tool_call": false, "cost": { "input": 1, "output": 1 } }
        }
      },
      "unheard-of": { "models": { "x": { "cost": { "input": 1, "output": 1 } } } }
    }"#;

    #[test]
    fn a_list_of_models_dev_becomes_the_users_catalogue() {
        let home = tempfile::tempdir().expect("a directory");
        let settings = home.path().join("config/config.toml");
        let imported = import(LIST, &settings).expect("a valid list");
        assert_eq!((imported.models, imported.priced), (1, 1));
        assert_eq!(imported.providers, ["gemini"]);
        let look_up = |name: &str| {
            let catalogue = Catalogue::with(&settings).expect("valid files");
            catalogue.look_up(&name.parse().expect("a model's name"))
        };
        let next = look_up("gemini/gemini-next");
        assert_eq!((next.window, next.output), (400_000, 65_536));
        let price = next.price.expect("a price");
        assert_eq!((price.rates.output, price.tiers[0].above), (12.5, 200_000));
        assert_eq!(price.tiers[0].rates.cache_read, 4.0);

        // A second list adds to the file and replaces entries of the same name. `config.toml` takes precedence.
        let second = LIST
            .replace("12.5", "13.5")
            .replace("gemini-painter", "gemini-2.5-pro");
        let second = second.replace("\"tool_call\": false", "\"tool_call\": true");
        import(&second, &settings).expect("a valid list");
        let price = |name| look_up(name).price.expect("a price").rates.output;
        assert_eq!(price("gemini/gemini-next"), 13.5);
        assert_eq!(price("gemini/gemini-2.5-pro"), 1.0);
        import(LIST, &settings).expect("a valid list");
        assert_eq!(price("gemini/gemini-2.5-pro"), 1.0);
        let own = "[models.gemini]\ngemini-next = { input = 7.0, output = 8.0 }\n";
        std::fs::write(&settings, own).expect("a writable file");
        assert_eq!(price("gemini/gemini-next"), 8.0);
        let listed = Catalogue::with(&settings).expect("valid files").list();
        let from = |name: &str| {
            let found = listed.iter().find(|listed| listed.name == name);
            found.expect("a known model").from
        };
        assert_eq!(from("gemini/gemini-next"), "config.toml");
        assert_eq!(from("gemini/gemini-2.5-pro"), "models.toml");
        assert_eq!(from("gemini/gemini-2.5-flash"), "built in");
    }

    #[test]
    fn an_invalid_list_names_the_line_and_changes_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        let settings = home.path().join("config.toml");
        let file = home.path().join(OWN_FILE);
        import(LIST, &settings).expect("a valid list");
        let before = std::fs::read(&file).expect("the file");
        let negative = LIST.replace("\"input\": 2,", "\"input\": -2,");
        for (list, expected) in [
            ("{\n\"google\": {]", "line 2 column 12"),
            (negative.as_str(), "a price cannot be negative at line"),
            ("{\"google\":\n{\"models\": 7}}", "line 2"),
            ("[]", "models.dev"),
            (
                "{\"unheard-of\": {\"models\": {}}}",
                "no model of a provider",
            ),
        ] {
            let error = with_causes(&import(list, &settings).expect_err(list));
            assert!(error.contains(expected), "{error}");
            assert_eq!(std::fs::read(&file).expect("the file"), before, "{list}");
        }
        std::fs::write(&file, "[openai]\nx = { input = }\n").expect("a writable file");
        let error = with_causes(&import(LIST, &settings).expect_err("an invalid file"));
        assert!(
            error.contains("models.toml") && error.contains("line 2"),
            "{error}"
        );
        assert!(
            std::fs::read_to_string(&file)
                .expect("the file")
                .contains("input = }")
        );
    }
}
