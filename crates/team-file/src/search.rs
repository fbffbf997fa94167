//! `[search]`: who searches the web for agents. In the team file, else in the user's own settings.

use std::path::Path;

use agent_team_protocol::spec::Search;
use toml::de::DeTable;

use super::source::{Fault, Source};
use super::table::{At, Level, Table};

/// The variable that Brave's own examples use.
const BRAVE_KEY: &str = "BRAVE_API_KEY";

#[derive(Debug, Clone, Copy)]
enum Api {
    Nobody,
    Provider,
    Searxng,
    Brave,
}

const APIS: &[(&str, Api)] = &[
    ("none", Api::Nobody),
    ("provider", Api::Provider),
    ("searxng", Api::Searxng),
    ("brave", Api::Brave),
];

/// What the user's `config.toml` says. A file that cannot be read at all stops the supervisor, which says so.
pub(super) fn of_settings(settings: &Path) -> Result<Option<Search>, Vec<Fault>> {
    let file = settings.join("config.toml");
    let Ok(text) = super::open::read_text(&file) else {
        return Ok(None);
    };
    let shown = file.display().to_string();
    let source = Source::new(&*shown, &text);
    let Ok(document) = DeTable::parse(&text) else {
        return Ok(None);
    };
    let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
    let search = read(&source, root.table("search", Level::Search));
    match source.take_faults() {
        faults if faults.is_empty() => Ok(search),
        faults => Err(faults),
    }
}

pub(super) fn read(source: &Source<'_>, table: Option<Table<'_>>) -> Option<Search> {
    let mut table = table?;
    let at = table.at;
    let is_there = table.place_of("api").is_some();
    let api = table.word("api", APIS);
    let url = table.string("url");
    let key = table.string("key");
    table.finish();
    if !is_there {
        source.fault_with_hint(
            at,
            "`[search]` needs `api`",
            "set api = \"searxng\", \"brave\", \"provider\" or \"none\"",
        );
    }
    if let Some(url) = url {
        check_url(source, url);
    }
    let needless = |found: Option<At<&str>>, name: &str| {
        if let Some(found) = found {
            source.fault(found.at, format!("`{name}` has no effect with this `api`"));
        }
    };
    match api?.value {
        api @ (Api::Nobody | Api::Provider) => {
            needless(url, "url");
            needless(key, "key");
            Some(match api {
                Api::Nobody => Search::Nobody,
                Api::Provider | Api::Searxng | Api::Brave => Search::Provider,
            })
        }
        Api::Searxng => {
            needless(key, "key");
            if url.is_none() {
                source.fault_with_hint(
                    at,
                    "`url` is missing: SearXNG has no default server",
                    "set url = \"http://127.0.0.1:8888\"",
                );
            }
            let url = url?.value.to_owned();
            Some(Search::Searxng { url })
        }
        Api::Brave => {
            if let Some(key) = key
                && !is_usual_variable(key.value)
            {
                // It may be the key itself, which is shown nowhere.
                source.fault_with_hint(
                    key.at,
                    "`key` must be the name of an environment variable, not the key itself",
                    format!("set key = {BRAVE_KEY:?} and pass the key with --secret {BRAVE_KEY}"),
                );
            }
            Some(Search::Brave {
                url: url.map(|url| url.value.to_owned()),
                key: key.map_or(BRAVE_KEY, |key| key.value).to_owned(),
            })
        }
    }
}

/// As variables with keys are called, and keys are not.
fn is_usual_variable(name: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    super::is_variable(name) && name.chars().all(is_usual)
}

/// What stands in the file is no secret.
fn check_url(source: &Source<'_>, url: At<&str>) {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.value.strip_prefix(scheme));
    match rest {
        None => source.fault(url.at, "`url` must begin with http:// or https://"),
        Some(rest) => {
            let host = rest.split('/').next().unwrap_or("");
            if host.contains('@') {
                source.fault(url.at, "`url` must not contain a user name or password");
            }
        }
    }
}
