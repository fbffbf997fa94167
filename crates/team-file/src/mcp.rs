//! `[mcp.<name>]`: the MCP servers whose tools the agents get. Called when the team is read.

use std::collections::BTreeMap;

use agent_team_protocol::spec::{McpServer, McpTransport};

use super::member::{Member, check_variable};
use super::source::Source;
use super::table::{At, Table};
use super::unsupported::Level;

/// Maximum length of a server name, in bytes. Providers limit the length of a tool's name, which contains the server's
/// name.
const NAME_MAX: usize = 24;

/// The largest `timeout_s`: a day.
const TIMEOUT_MAX: i32 = 24 * 60 * 60;

const SECRET_HEADERS: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
];

pub(super) fn read(source: &Source<'_>, table: Option<Table<'_>>) -> Vec<McpServer> {
    let servers = table
        .map(|table| table.named_tables(Level::McpServer))
        .unwrap_or_default();
    servers
        .into_iter()
        .filter_map(|(name, table)| server(source, name, table))
        .collect()
}

fn server(source: &Source<'_>, name: At<&str>, mut table: Table<'_>) -> Option<McpServer> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = (1..=NAME_MAX).contains(&name.value.len()) && name.value.chars().all(is_plain);
    // `__` separates the server from the tool in a tool's name.
    if !fits || name.value.contains("__") {
        source.fault(
            name.at,
            format!(
                "{:?} is not a valid MCP server name: use 1 to {NAME_MAX} letters, digits, - and single _",
                name.value
            ),
        );
    }
    let at = table.at;
    let command = table.string("command");
    let url = table.string("url");
    let args = table.strings("args");
    let env = table.string_map("env", check_variable);
    let headers = table.string_map("headers", check_header);
    let timeout_s = table.integer("timeout_s", 1..=TIMEOUT_MAX);
    let search = table.boolean("search");
    let shared = table.boolean("shared") == Some(true);
    table.finish();
    let via = match (command, url) {
        (Some(command), None) if command.value.trim().is_empty() => {
            source.fault(command.at, "`command` is empty");
            return None;
        }
        (Some(command), None) if !headers.is_empty() => {
            source.fault(command.at, "`headers` requires `url`, not `command`");
            return None;
        }
        (Some(command), None) => McpTransport::Program {
            command: command.value.to_owned(),
            args: args
                .unwrap_or_default()
                .into_iter()
                .map(|argument| argument.value.to_owned())
                .collect(),
            env,
        },
        (None, Some(url)) => {
            if shared {
                source.fault_with_hint(
                    url.at,
                    "`shared` requires `command`, not `url`: the members already share a server at a URL",
                    "remove `shared`",
                );
            }
            if args.is_some() || !env.is_empty() {
                source.fault(url.at, "`args` and `env` require `command`, not `url`");
            }
            if !["http://", "https://"]
                .iter()
                .any(|scheme| url.value.starts_with(scheme))
            {
                source.fault(url.at, "`url` must begin with http:// or https://");
            }
            McpTransport::Http {
                url: url.value.to_owned(),
                headers,
            }
        }
        (Some(_), Some(url)) => {
            source.fault(url.at, "set `command` or `url`, not both");
            return None;
        }
        (None, None) => {
            source.fault_with_hint(
                at,
                format!("MCP server {:?} has neither `command` nor `url`", name.value),
                "set command = \"program\" to start a server, or url = \"https://…\" to connect to one",
            );
            return None;
        }
    };
    Some(McpServer {
        name: name.value.to_owned(),
        via,
        timeout_s: timeout_s.map(i32::unsigned_abs),
        search,
        shared,
        files: Vec::new(),
    })
}

/// Refuses a shared server whose members need different processes: the server gets the environment and the root of a
/// member.
pub(super) fn check_shared(source: &Source<'_>, members: &[Member]) {
    let mut first_users: BTreeMap<&str, &Member> = BTreeMap::new();
    let agents = members
        .iter()
        .filter(|member| member.spec.engine.uses_model());
    for member in agents {
        for server in member.agent.mcp.iter().filter(|server| server.shared) {
            let first = *first_users.entry(&server.name).or_insert(member);
            let (one, other) = (&first.spec, &member.spec);
            let key = match (one.env == other.env, one.cwd == other.cwd) {
                (false, _) => "env",
                (true, false) => "cwd",
                (true, true) => continue,
            };
            source.fault_with_hint(
                member.at,
                format!(
                    "MCP server {:?} is shared, but {} and {} have different `{key}`",
                    server.name, one.name, other.name
                ),
                format!(
                    "give both the same `{key}`, remove the server from the `mcp` of one of them, or remove `shared`"
                ),
            );
        }
    }
}

/// Checks a header's name and value. Refuses a credential in the value, since the file is usually committed.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) || value.contains(char::is_control) {
        return Err(format!("header {name:?} has an invalid name or value"));
    }
    if SECRET_HEADERS
        .iter()
        .any(|header| name.eq_ignore_ascii_case(header))
        && !value.contains('$')
    {
        return Err(format!(
            "`{name}` must not contain the secret itself: write $NAME in its place and pass the value with --secret NAME"
        ));
    }
    Ok(())
}
