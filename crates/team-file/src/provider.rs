//! `[providers.<name>]`: where a provider of models is asked, and what it is told besides.

use std::collections::BTreeMap;

use agent_team_protocol::model::{PROVIDERS, ProviderName};
use agent_team_protocol::spec::ProviderSpec;

use super::source::Source;
use super::table::{Level, Table, suggest};

pub(super) fn read(
    source: &Source<'_>,
    table: Option<Table<'_>>,
) -> BTreeMap<String, ProviderSpec> {
    let mut providers = BTreeMap::new();
    let tables = table.map(|table| table.named_tables(Level::Provider));
    for (name, mut table) in tables.unwrap_or_default() {
        let base_url = table.string("base_url").map(|found| found.value.to_owned());
        let headers = table.string_map("headers", check_header);
        table.finish();
        match ProviderName::named(name.value) {
            Some(provider) => {
                let spec = ProviderSpec { base_url, headers };
                providers.insert(provider.name.to_owned(), spec);
            }
            None => {
                let known: Vec<_> = PROVIDERS.iter().map(|known| known.name).collect();
                let message = format!("there is no provider {:?}", name.value);
                source.fault_with_hint(name.at, message, suggest(name.value, &known));
            }
        }
    }
    providers
}

/// What could not be sent is found before anybody is started.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!("{name:?} cannot be a header"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("the value of {name} holds a control character"));
    }
    Ok(())
}
