//! The keys of the tables that describe services outside of the team: MCP servers, web search, model providers.

use agent_team_protocol::spec::Wire;

use super::key::DefaultValue::{Depends, Is, Required, Unset};
use super::key::Kind::{Boolean, Integer, StringTable, Strings, Table, Word};
use super::key::{KeyInfo, Kind, Section, words};
use crate::search::APIS;

pub(super) static MCP_SERVER: Section = Section {
    heading: "[mcp.<name>]",
    summary: "An MCP server whose tools the agents get. Set `command` or `url`, not both.",
    groups: &[&[
        KeyInfo::new(
            "command",
            Kind::String,
            Unset,
            "Program to start; it talks MCP on stdin and stdout.",
            "command = \"github-mcp-server\"",
        ),
        KeyInfo::new(
            "args",
            Strings,
            Is("[]"),
            "Arguments of the program.",
            "args = [\"stdio\"]",
        ),
        KeyInfo::new(
            "env",
            StringTable,
            Unset,
            "Variables of the program.",
            "env = { LOG_LEVEL = \"warn\" }",
        ),
        KeyInfo::new(
            "url",
            Kind::String,
            Unset,
            "Endpoint of a running server (streamable HTTP).",
            "url = \"https://mcp.example/v1\"",
        ),
        KeyInfo::new(
            "headers",
            StringTable,
            Unset,
            "Headers of each request. `$NAME` is replaced by the secret of that name.",
            "headers = { Authorization = \"Bearer $MCP_TOKEN\" }",
        ),
        KeyInfo::new(
            "timeout_s",
            Integer,
            Depends("300"),
            "Seconds that a call may take without progress. Progress extends the time, up to 12 times this value.",
            "timeout_s = 60",
        ),
        KeyInfo::new(
            "search",
            Boolean,
            Depends(
                "`false` while the tools of all servers together are at most 20 and at most 8 KiB; else `true` for the \
                 largest servers",
            ),
            "Whether the model finds the tools by search, instead of having all of them in each request.",
            "search = true",
        ),
        KeyInfo::new(
            "shared",
            Boolean,
            Is("false"),
            "Whether all members use one process of the program. Requires `command`, and the same `env` and `cwd` for these members.",
            "shared = true",
        ),
    ]],
};

pub(super) static SEARCH: Section = Section {
    heading: "[search]",
    summary: "The web search service of the agents. The table of your own config.toml applies to teams whose file has none.",
    groups: &[&[
        KeyInfo::new(
            "api",
            Word(|| words(APIS)),
            Required,
            "The service. `provider`: the model's provider searches. `none`: agents have no web search.",
            "api = \"searxng\"",
        ),
        KeyInfo::new(
            "url",
            Kind::String,
            Depends("Brave's endpoint with `api = \"brave\"`; required with `api = \"searxng\"`"),
            "Address of the server, without credentials.",
            "url = \"http://127.0.0.1:8888\"",
        ),
        KeyInfo::new(
            "key",
            Kind::String,
            Is("\"BRAVE_API_KEY\""),
            "Name of the variable that contains the API key. Only with `api = \"brave\"`.",
            "key = \"BRAVE_API_KEY\"",
        ),
    ]],
};

pub(super) static PROVIDER: Section = Section {
    heading: "[providers.<name>]",
    summary: "The endpoint of a model provider, such as a gateway.",
    groups: &[&[
        KeyInfo::new(
            "base_url",
            Kind::String,
            Depends("the provider's own URL"),
            "Base URL. It receives no key until you confirm it with `agent-team config set providers.<name>.base_url`.",
            "base_url = \"https://gateway.example/v1\"",
        ),
        KeyInfo::new(
            "headers",
            StringTable,
            Unset,
            "Additional headers of each request. `$NAME` is replaced by that variable of your environment.",
            "headers = { x-gateway-key = \"$GATEWAY_KEY\" }",
        ),
        KeyInfo::new(
            "extra_headers",
            StringTable,
            Unset,
            "Another name of `headers`, beside `extra_body`.",
            "extra_headers = { x-gateway-key = \"$GATEWAY_KEY\" }",
        ),
        KeyInfo::new(
            "extra_body",
            Table,
            Unset,
            "Additional fields of each request's body. They replace fields of the same name.",
            "extra_body = { service_tier = \"flex\" }",
        ),
        KeyInfo::new(
            "wire",
            Word(|| words(&Wire::NAMES)),
            Depends("the API of the provider; `responses` for GPT-5.4 and later at `openai`"),
            "API of the endpoint: Chat Completions, Responses or Anthropic's Messages.",
            "wire = \"chat\"",
        ),
        KeyInfo::new(
            "reasoning_content",
            Boolean,
            Depends("`true` for `deepseek`, `moonshot` and `zai`, else `false`"),
            "Whether requests repeat the model's reasoning in `reasoning_content`, as some servers of Kimi, GLM and \
             MiniMax models require.",
            "reasoning_content = true",
        ),
        KeyInfo::new(
            "silence_seconds",
            Integer,
            Depends("120, or 600 for a server on this machine"),
            "Time without any byte from the server after which a request is repeated.",
            "silence_seconds = 1800",
        ),
        KeyInfo::new(
            "ca",
            Kind::String,
            Unset,
            "PEM file with certificates that are trusted in addition to the built-in ones. Relative to the project.",
            "ca = \"gateway.pem\"",
        ),
    ]],
};
