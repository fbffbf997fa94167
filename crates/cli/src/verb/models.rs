//! `models …`: lists the known models with their windows and prices, and updates the user's own catalogue. The program
//! of native workers reads and writes the catalogue. This file reads the new list and prints results.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use agent_team_protocol::exit::ExitCode as Exit;
use serde::{Deserialize, Serialize};

use super::native_worker;
use crate::args::ModelsCommand;
use crate::error::Failure;
use crate::output::table::{Cell, Table, elastic_to, fixed, optional};
use crate::output::usage::tokens;
use crate::output::{Output, columns, text};

/// The maximum size of a list, in bytes. The list of models.dev has less than a tenth of this size.
const LIST_MAX: u64 = 64 << 20;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Models {
    models: Vec<KnownModel>,
}

/// A model, or a family of models whose name ends in `*`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct KnownModel {
    /// `provider/model`.
    name: String,
    provider: String,
    /// Tokens of prompt and answer together.
    window: u64,
    /// Tokens of the longest answer that is requested.
    max_output: u64,
    /// `null`: unknown.
    price: Option<ModelPrice>,
    /// The source of the price, or else of the window: `config.toml`, `models.toml` or `built in`.
    from: String,
    /// Whether agents without a configured model use it if its provider has a key.
    default: bool,
}

/// US dollars per million tokens.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ModelPrice {
    input: f64,
    output: f64,
    cache_read: f64,
    cache_write: f64,
    tiers: Vec<PriceTier>,
}

/// The prices of requests with a long prompt, for all of their tokens.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PriceTier {
    /// The prices apply to requests with more input tokens than this.
    above: u64,
    input: f64,
    output: f64,
    cache_read: f64,
    cache_write: f64,
}

/// The result of `update`.
#[derive(Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UpdatedModels {
    /// Your catalogue.
    file: String,
    /// The number of models in the list whose provider is known.
    models: u64,
    /// How many of them have a price.
    priced: u64,
    /// The providers of these models.
    providers: Vec<String>,
}

pub(super) fn run(output: Output, command: Option<ModelsCommand>) -> Result<ExitCode, Failure> {
    match command.unwrap_or(ModelsCommand::List) {
        ModelsCommand::List => {
            let models = native_worker::ask("--models", &[], &BTreeMap::new());
            let models = models.map_err(|why| {
                Failure::new(
                    "no_catalogue",
                    Exit::Failed,
                    format!("cannot list models: {why}"),
                )
            })?;
            let models = Models { models };
            output.show(&models, || table(&models.models))?;
        }
        ModelsCommand::Update { file } => {
            let list = read(&file)?;
            let updated = native_worker::ask("--import-models", &list, &BTreeMap::new());
            let updated: UpdatedModels = updated.map_err(|why| {
                let text = format!("cannot update models from {file}: {why}");
                Failure::new("invalid_list", Exit::Failed, text)
                    .hint("get a list with: curl -o models.json https://models.dev/api.json")
            })?;
            output.show(&updated, || text_of(&updated))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the list. `-` is stdin.
fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let cannot = |error| Failure::io(format!("cannot read {file}"), &error);
    let mut list = Vec::new();
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin()),
        file => Box::new(File::open(file).map_err(cannot)?),
    };
    source
        .take(LIST_MAX + 1)
        .read_to_end(&mut list)
        .map_err(cannot)?;
    if list.len() as u64 > LIST_MAX {
        let text = format!("cannot read {file}: it is longer than {LIST_MAX} bytes");
        return Err(Failure::usage(text));
    }
    Ok(list)
}

fn table(models: &[KnownModel]) -> String {
    let mut table = Table::new([
        elastic_to("MODEL", 24),
        fixed("WINDOW"),
        fixed("INPUT"),
        fixed("OUTPUT"),
        optional("CACHED", 2),
        optional("LONG PROMPTS", 1),
        optional("FROM", 3),
    ]);
    for model in models {
        let price = model.price.as_ref();
        let of = |price: Option<f64>| price.map_or_else(|| "unknown".to_owned(), dollars);
        let tiers = price.map_or(&[][..], |price| &price.tiers);
        let tier = |tier: &PriceTier| {
            let PriceTier {
                above,
                input,
                output,
                ..
            } = tier;
            let (input, output) = (dollars(*input), dollars(*output));
            format!("above {}: {input}, {output}", tokens(*above))
        };
        let tiers: Vec<_> = tiers.iter().map(tier).collect();
        table.row([
            Cell::new(&model.name),
            Cell::new(tokens(model.window)),
            Cell::new(of(price.map(|price| price.input))),
            Cell::new(of(price.map(|price| price.output))),
            Cell::new(of(price.map(|price| price.cache_read))),
            Cell::new(tiers.join("; ")),
            Cell::new(&model.from),
        ]);
    }
    table.render(columns())
}

/// Dollars with as many digits as the price has.
fn dollars(price: f64) -> String {
    format!("${price}")
}

fn text_of(updated: &UpdatedModels) -> String {
    let UpdatedModels {
        file,
        models,
        priced,
        providers,
    } = updated;
    format!(
        "wrote {}: models: {models}, with a price: {priced}, of {}\n",
        text::line(file),
        text::line(&providers.join(", "))
    )
}
