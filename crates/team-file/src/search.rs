//! `[search]`: the web search service for agents. Read from the team file, or else from the user's `config.toml`.

use agent_team_protocol::spec::Search;

use super::source::Source;
use super::table::{At, Table};
use super::variables::is_variable;

/// The default variable of the API key, as in Brave's documentation.
const BRAVE_KEY: &str = "BRAVE_API_KEY";

#[derive(Debug, Clone, Copy)]
pub(super) enum Api {
    None,
    Provider,
    Searxng,
    Brave,
}

pub(super) const APIS: &[(&str, Api)] = &[
    ("none", Api::None),
    ("provider", Api::Provider),
    ("searxng", Api::Searxng),
    ("brave", Api::Brave),
];

pub(super) fn read(source: &Source<'_>, table: Option<Table<'_>>) -> Option<Search> {
    let mut table = table?;
    let at = table.at;
    let has_api = table.position_of("api").is_some();
    let api = table.word("api", APIS);
    let url = table.string("url");
    let key = table.string("key");
    table.finish();
    if !has_api {
        source.fault_with_hint(
            at,
            "`[search]` needs `api`",
            "set api = \"searxng\", \"brave\", \"provider\" or \"none\"",
        );
    }
    if let Some(url) = url {
        check_url(source, url);
    }
    let refuse_unused = |found: Option<At<&str>>, name: &str| {
        if let Some(found) = found {
            source.fault(found.at, format!("`{name}` has no effect with this `api`"));
        }
    };
    match api?.value {
        api @ (Api::None | Api::Provider) => {
            refuse_unused(url, "url");
            refuse_unused(key, "key");
            Some(match api {
                Api::None => Search::Off,
                Api::Provider | Api::Searxng | Api::Brave => Search::Provider,
            })
        }
        Api::Searxng => {
            refuse_unused(key, "key");
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
                // The value may be the key itself, so the message must not contain it.
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

/// Whether a name has the form of a variable (upper case) and not of an API key.
fn is_usual_variable(name: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    is_variable(name) && name.chars().all(is_usual)
}

/// Checks the scheme of a URL, and refuses credentials in it: the file must not contain secrets.
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
