//! The keys of the user's `config.toml`, and of `agent-team config set`.
//!
//! Other crates read `durability`, `[models]` and `[sandbox]`; the end-to-end test `reference` compares the keys that
//! those crates accept with the keys listed here.

use agent_team_protocol::value::Effort;

use super::external::SEARCH;
use super::hooks::{HOOK, USER_HOOKS};
use super::key::DefaultValue::{Depends, Is, Unset};
use super::key::Kind::{Boolean, Integer, Number, Strings, Tables, Word};
use super::key::{KeyInfo, Kind, Manual, Section, words};
use super::roles::ROLE;
use super::team_file::{NOTIFY, NOTIFY_KEY, PERMISSIONS};

pub static SETTINGS: Manual = Manual {
    name: "agent-team-config",
    summary: "the user's settings of agent-team",
    paragraphs: &[
        "`config.toml` in the directory of your settings applies to every team: \
         `$XDG_CONFIG_HOME/agent-team/config.toml`, by default `~/.config/agent-team/config.toml`. With \
         `AGENT_TEAM_HOME` it is `$AGENT_TEAM_HOME/config/config.toml`. The file is TOML and need not exist.",
        "Rules and hooks of this file and of the team file apply together. `notify` of this file, and `mode` and `default_scope` \
         of its `[permissions]`, override the team file. A role or `[search]` of the team file overrides this file.",
        "`agent-team config set KEY VALUE` stores settings for one team in another file of the same directory; the last \
         section lists its keys.",
    ],
    example: EXAMPLE,
    sections: &[
        &ROOT,
        &NOTIFY,
        &USER_HOOKS,
        &HOOK,
        &SANDBOX,
        &MODEL,
        &PERMISSIONS,
        &SEARCH,
        &ROLE,
        &OVERRIDES,
    ],
};

const EXAMPLE: &str = "\
[permissions]
deny = [\"Read(.env)\"]
allow = [\"Bash(cargo test:*)\"]

[sandbox]
readable = [\"~/.config/mise\"]
";

static ROOT: Section = Section {
    heading: "Top of config.toml",
    summary: "Keys before the first table.",
    groups: &[&[
        KeyInfo::new(
            "durability",
            Word(|| vec!["power", "process"]),
            Is("\"power\""),
            "The failures that a stored operation survives. `power`: also a power failure. `process`: a crash of any process, \
             but not a power failure; faster.",
            "durability = \"process\"",
        ),
        NOTIFY_KEY,
    ]],
};

static SANDBOX: Section = Section {
    heading: "[sandbox]",
    summary: "Limits of the commands of agents. A team file cannot set them.",
    groups: &[&[
        KeyInfo::new(
            "readable",
            Strings,
            Is("[]"),
            "Additional readable paths of your home directory, absolute or beginning with `~/`.",
            "readable = [\"~/.config/mise\", \"~/data\"]",
        ),
        KeyInfo::new(
            "processes",
            Integer,
            Is("4096"),
            "Maximum number of processes of all commands of a member.",
            "processes = 1024",
        ),
        KeyInfo::new(
            "memory_mib",
            Integer,
            Depends("three quarters of the machine's memory"),
            "Maximum memory of all commands of a member, in MiB.",
            "memory_mib = 8192",
        ),
        KeyInfo::new(
            "open_files",
            Integer,
            Is("16384"),
            "Maximum number of open files of one process.",
            "open_files = 4096",
        ),
        KeyInfo::new(
            "file_mib",
            Integer,
            Is("16384"),
            "Maximum size of one file, in MiB.",
            "file_mib = 1024",
        ),
        KeyInfo::new(
            "temporary_mib",
            Integer,
            Depends("a quarter of the machine's memory"),
            "Maximum size of the `/tmp` of one command under bubblewrap, in MiB. This `/tmp` is in memory.",
            "temporary_mib = 2048",
        ),
        KeyInfo::new(
            "free_mib",
            Integer,
            Is("100"),
            "Free disk space to keep, in MiB. Below it, no command starts and running commands are terminated. 0: no limit.",
            "free_mib = 500",
        ),
    ]],
};

static MODEL: Section = Section {
    heading: "[models.<provider>]",
    summary: "Data about models: each key is the name of a model, or a prefix followed by `*`; its value is a table with \
              these keys. They override `models.toml`, which `agent-team models update` writes, and the built-in data. Prices are in US dollars per million tokens.",
    groups: &[&[
        KeyInfo::new(
            "window",
            Integer,
            Depends("128000, or 32768 for a local server"),
            "Window for prompt and answer together, in tokens.",
            "\"gpt-6.1-sol\" = { window = 400000 }",
        ),
        KeyInfo::new(
            "max_output",
            Integer,
            Depends("8192"),
            "Longest answer, in tokens.",
            "\"gpt-6.1-sol\" = { max_output = 128000 }",
        ),
        KeyInfo::new(
            "vision",
            Boolean,
            Unset,
            "Whether the model accepts images. Without it, `read` refuses images for models that the built-in data does not \
             contain.",
            "\"qwen3-vl*\" = { vision = true }",
        ),
        KeyInfo::new(
            "pdf",
            Boolean,
            Unset,
            "Whether the model accepts PDFs.",
            "\"qwen3-vl*\" = { vision = true, pdf = false }",
        ),
        KeyInfo::new(
            "input",
            Number,
            Unset,
            "Price of input. `input` and `output` are set together.",
            "\"gpt-6.1-sol\" = { input = 2.0, output = 10.0 }",
        ),
        KeyInfo::new(
            "output",
            Number,
            Unset,
            "Price of output.",
            "\"gpt-6.1-sol\" = { input = 2.0, output = 10.0 }",
        ),
        KeyInfo::new(
            "cache_read",
            Number,
            Depends("the price of input"),
            "Price of input that the provider read from its cache.",
            "\"gpt-6.1-sol\" = { input = 2.0, output = 10.0, cache_read = 0.1 }",
        ),
        KeyInfo::new(
            "cache_write",
            Number,
            Depends("the price of input"),
            "Price of input that the provider wrote to its cache.",
            "\"claude-*\" = { input = 3.0, output = 15.0, cache_write = 3.75 }",
        ),
        KeyInfo::new(
            "tiers",
            Tables,
            Unset,
            "Prices of requests with more input tokens than `above`, for all of their tokens. Each table sets `above`, \
             `input` and `output`, and can set `cache_read` and `cache_write`.",
            "\"gpt-5.4\" = { input = 2.5, output = 15.0, tiers = [{ above = 272000, input = 5.0, output = 22.5 }] }",
        ),
    ]],
};

pub(crate) static OVERRIDES: Section = Section {
    heading: "agent-team config set",
    summary: "Settings of one team, stored in `teams/<team-id>.toml` beside `config.toml`. They override the team file. \
              Each of the first seven keys can also be set for one member, as `members.<name>.<key>`.",
    groups: &[&[
        KeyInfo::new(
            "model",
            Kind::String,
            Depends("the model of the team file"),
            "Model of agents. A recording (`replay:FILE`) can be set only in the team file.",
            "agent-team config set members.ada.model openai/gpt-6.1-sol",
        ),
        KeyInfo::new(
            "effort",
            Word(|| words(&Effort::NAMES)),
            Depends("the effort of the team file"),
            "How much the models of agents think before they answer.",
            "agent-team config set members.ada.effort high",
        ),
        KeyInfo::new(
            "role",
            Kind::String,
            Depends("the role of the team file"),
            "Role of members.",
            "agent-team config set members.ada.role reviewer",
        ),
        KeyInfo::new(
            "max_steps",
            Integer,
            Depends("the value of the team file"),
            "Maximum number of model replies for one task or turn.",
            "agent-team config set max_steps 50",
        ),
        KeyInfo::new(
            "limits.tokens",
            Integer,
            Depends("the limit of the team file"),
            "Maximum number of tokens for one goal.",
            "agent-team config set limits.tokens 2_000_000",
        ),
        KeyInfo::new(
            "limits.usd",
            Number,
            Depends("the limit of the team file"),
            "Maximum cost for one goal, in US dollars.",
            "agent-team config set limits.usd 2.5",
        ),
        KeyInfo::new(
            "limits.minutes",
            Number,
            Depends("the limit of the team file"),
            "Maximum working time for one goal, in minutes.",
            "agent-team config set members.ada.limits.minutes 30",
        ),
        KeyInfo::new(
            "roles.<name>.model",
            Kind::String,
            Depends("the model that the role's file sets"),
            "Model of a role.",
            "agent-team config set roles.worker.model openai/gpt-6.1-sol",
        ),
        KeyInfo::new(
            "providers.<name>.base_url",
            Kind::String,
            Depends(
                "the URL of the team file, to which no API key is sent; otherwise the provider's own URL",
            ),
            "Base URL of a provider. Setting it also allows sending your API key there.",
            "agent-team config set providers.openai.base_url https://gateway.example/v1",
        ),
    ]],
};
