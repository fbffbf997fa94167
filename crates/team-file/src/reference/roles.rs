//! The keys of roles, in the team file and in role files.

use agent_team_protocol::value::Effort;

use super::key::DefaultValue::{Depends, Is, Unset};
use super::key::Kind::{Boolean, Integer, Number, Strings, Word};
use super::key::{KeyInfo, Kind, Section, words};
use crate::agent::PLANS;
use crate::engine::engine_words;
use crate::table::colours;

const MODEL: KeyInfo = KeyInfo::new(
    "model",
    Kind::String,
    Depends(
        "the model of the role, else of `[defaults]`, else of the first provider with a key or a server",
    ),
    "Model of the agent: `provider/model`, or `replay:FILE` to play a recording. A list of models: a later model \
     replaces one that stays overloaded, rejects its key or has no budget.",
    "model = \"anthropic/claude-sonnet-5-5\"",
);

pub(super) const FALLBACK_MINUTES: KeyInfo = KeyInfo::new(
    "fallback_minutes",
    Number,
    Depends("the value of the role, else of `[defaults]`, else 3"),
    "Minutes for which a model of a list may stay overloaded or unreachable. Then the next model of the list replaces \
     it. The last model is retried without this limit.",
    "fallback_minutes = 10",
);

const EFFORT: KeyInfo = KeyInfo::new(
    "effort",
    Word(|| words(&Effort::NAMES)),
    Depends("the value of the role, else of `[defaults]`, else `medium`"),
    "How much the model thinks before it answers. A model that cannot think ignores it.",
    "effort = \"high\"",
);

const COMPACT: KeyInfo = KeyInfo::new(
    "compact",
    Kind::String,
    Depends("the value of the role, else of `[defaults]`, else the agent's own model"),
    "Model that writes the summaries of long conversations: `provider/model`, such as a cheaper one.",
    "compact = \"anthropic/claude-haiku-4-5\"",
);

pub(super) const DELEGATE: KeyInfo = KeyInfo::new(
    "delegate",
    Boolean,
    Depends("the value of the role, else of `[defaults]`, else `false`"),
    "Whether the agent may delegate questions to helpers, which only read. A table sets the model and the limits of the \
     helpers.",
    "delegate = true",
);

pub(super) static DELEGATE_SETTINGS: Section = Section {
    heading: "delegate of an agent",
    summary: "The helpers of the agent, such as `delegate = { model = \"anthropic/claude-haiku-4-5\" }`. The table turns \
              delegation on.",
    groups: &[&[
        KeyInfo::new(
            "model",
            Kind::String,
            Depends("the agent's own model"),
            "Model of the helpers: `provider/model`, such as a cheaper one.",
            "model = \"anthropic/claude-haiku-4-5\"",
        ),
        KeyInfo::new(
            "steps",
            Integer,
            Is("20"),
            "Maximum number of model replies for one question.",
            "steps = 10",
        ),
        KeyInfo::new(
            "tokens",
            Integer,
            Is("200_000"),
            "Maximum number of input and output tokens for one question.",
            "tokens = 60_000",
        ),
    ]],
};

const PROMPT: KeyInfo = KeyInfo::new(
    "prompt",
    Kind::String,
    Unset,
    "Instructions for the agent, after the instructions of its role.",
    "prompt = \"Explain each change in one sentence.\"",
);

const MAX_STEPS: KeyInfo = KeyInfo::new(
    "max_steps",
    Integer,
    Depends("the value of the role, else of `[defaults]`, else 100"),
    "Maximum number of model replies for one task or turn.",
    "max_steps = 50",
);

const TOOLS: KeyInfo = KeyInfo::new(
    "tools",
    Strings,
    Depends("the tools of the role, else all"),
    "The only tools that the agent has. `mcp__SERVER__TOOL` names a tool of an MCP server.",
    "tools = [\"read\", \"grep\", \"glob\"]",
);

const DENY_TOOLS: KeyInfo = KeyInfo::new(
    "deny_tools",
    Strings,
    Unset,
    "Tools that the agent does not have, in addition to the denied tools of its role.",
    "deny_tools = [\"bash\"]",
);

const PLAN: KeyInfo = KeyInfo::new(
    "plan",
    Word(|| words(PLANS)),
    Unset,
    "The agent changes nothing before its plan is approved.",
    "plan = \"required\"",
);

const NETWORK: KeyInfo = KeyInfo::new(
    "network",
    Boolean,
    Depends("the value of the role, else of `[defaults]`, else `false`"),
    "Whether sandboxed commands of the agent have network access.",
    "network = true",
);

const MCP: KeyInfo = KeyInfo::new(
    "mcp",
    Strings,
    Depends("the servers of the role, else all"),
    "The MCP servers whose tools the agent has, by their names in `[mcp.<name>]`. `[]`: none.",
    "mcp = []",
);

pub(super) const INSTRUCTIONS: KeyInfo = KeyInfo::new(
    "instructions",
    Boolean,
    Depends("the value of the role, else of `[defaults]`, else `true`"),
    "Whether the agent receives the instruction files of the user and of the project, such as `AGENTS.md`, and \
     their skills and slash commands. A list names other instruction files of the project.",
    "instructions = false",
);

/// The keys of an agent, in `[lead]` and `[[member]]`.
pub(super) const AGENT_KEYS: &[KeyInfo] = &[
    MODEL,
    FALLBACK_MINUTES,
    EFFORT,
    COMPACT,
    DELEGATE,
    PROMPT,
    MAX_STEPS,
    TOOLS,
    DENY_TOOLS,
    PLAN,
    NETWORK,
    MCP,
    INSTRUCTIONS,
];

/// The same keys in `[roles.<name>]`.
const ROLE_AGENT_KEYS: &[KeyInfo] = &[
    KeyInfo {
        default: Depends(
            "the model of `[defaults]`, else of the first provider with a key or a server",
        ),
        ..MODEL
    },
    KeyInfo {
        default: Depends("the value of `[defaults]`, else 3"),
        ..FALLBACK_MINUTES
    },
    KeyInfo {
        default: Depends("the value of `[defaults]`, else `medium`"),
        ..EFFORT
    },
    KeyInfo {
        default: Depends("the value of `[defaults]`, else the agent's own model"),
        ..COMPACT
    },
    KeyInfo {
        default: Depends("the value of `[defaults]`, else `false`"),
        ..DELEGATE
    },
    KeyInfo {
        summary: "Instructions for the agents of the role.",
        ..PROMPT
    },
    KeyInfo {
        default: Depends("the value of `[defaults]`, else 100"),
        ..MAX_STEPS
    },
    KeyInfo {
        default: Depends("all"),
        ..TOOLS
    },
    KeyInfo {
        summary: "Tools that the agents of the role do not have.",
        ..DENY_TOOLS
    },
    PLAN,
    KeyInfo {
        default: Depends("the value of `[defaults]`, else `false`"),
        ..NETWORK
    },
    KeyInfo {
        default: Depends("all"),
        ..MCP
    },
    KeyInfo {
        default: Depends("the value of `[defaults]`, else `true`"),
        ..INSTRUCTIONS
    },
];

pub(super) const COLOUR: KeyInfo = KeyInfo {
    alias: Some("color"),
    ..KeyInfo::new(
        "colour",
        Word(|| words(&colours())),
        Depends("the colour of the role, else the next free colour"),
        "Colour of the member's name.",
        "colour = \"teal\"",
    )
};

const ROLE_KEYS: &[KeyInfo] = &[
    KeyInfo::new(
        "description",
        Kind::String,
        Is("\"\""),
        "What members of the role do; the lead reads it to choose a member.",
        "description = \"Finds what is wrong\"",
    ),
    KeyInfo::new(
        "engine",
        Word(|| words(&engine_words())),
        Depends(
            "`native` if a key of an agent, such as `model`, is set; else the engine of `[defaults]`",
        ),
        "Engine of members of the role.",
        "engine = \"native\"",
    ),
    KeyInfo {
        default: Depends("the next free colour"),
        ..COLOUR
    },
    KeyInfo::new(
        "may_spawn",
        Strings,
        Depends("all"),
        "A lead with this role may add members only of these roles.",
        "may_spawn = [\"worker\"]",
    ),
    KeyInfo::new(
        "coordinate",
        Boolean,
        Is("false"),
        "With `true`, members of the role have no tools that change files: `apply_patch`, `bash`, `edit`, `write` and `note`.",
        "coordinate = true",
    ),
];

pub(super) static ROLE: Section = Section {
    heading: "[roles.<name>]",
    summary: "A template for members. A role of the team file replaces roles of the same name from all other sources.",
    groups: &[ROLE_KEYS, ROLE_AGENT_KEYS],
};

pub(crate) static ROLE_FILE: Section = Section {
    heading: "Role files",
    summary: "`.agent-team/roles/*.md` of the project and `roles/*.md` of your settings define roles, too. Such a file \
              begins with these keys between two lines `---`, written `key: value`. The text after the second line `---` \
              is the prompt.",
    groups: &[&[
        KeyInfo::new(
            "name",
            Kind::String,
            Depends("the name of the file"),
            "Name of the role.",
            "name: auditor",
        ),
        KeyInfo::new(
            "description",
            Kind::String,
            Unset,
            "What members of the role do; the lead reads it to choose a member.",
            "description: Finds what is wrong",
        ),
        KeyInfo::new(
            "engine",
            Word(|| words(&engine_words())),
            Depends(
                "`native` if the file has a prompt or a key of an agent, such as `model`; else the engine of `[defaults]`",
            ),
            "Engine of members of the role.",
            "engine: native",
        ),
        KeyInfo::new(
            "model",
            Kind::String,
            Depends("the model of `[defaults]`, else of the first provider with a key or a server"),
            "Model of the agent: `provider/model`, or `replay:FILE`.",
            "model: anthropic/claude-sonnet-5-5",
        ),
        KeyInfo::new(
            "effort",
            Word(|| words(&Effort::NAMES)),
            Depends("the team's"),
            "How much the model thinks before it answers.",
            "effort: high",
        ),
        KeyInfo::new(
            "compact",
            Kind::String,
            Depends("the team's, else the agent's own model"),
            "Model that writes the summaries of long conversations: `provider/model`.",
            "compact: anthropic/claude-haiku-4-5",
        ),
        KeyInfo {
            default: Depends("the value of `[defaults]`, else `false`"),
            summary: "Whether the agent may delegate questions to helpers, which only read.",
            example: "delegate: true",
            ..DELEGATE
        },
        KeyInfo::new(
            "max_steps",
            Integer,
            Depends("the value of `[defaults]`, else 100"),
            "Maximum number of model replies for one task or turn.",
            "max_steps: 50",
        ),
        KeyInfo::new(
            "tools",
            Strings,
            Depends("all"),
            "The only tools that the agent has.",
            "tools: [read, grep, glob]",
        ),
        KeyInfo::new(
            "deny_tools",
            Strings,
            Unset,
            "Tools that the agent does not have.",
            "deny_tools: [bash]",
        ),
        KeyInfo {
            alias: Some("color"),
            ..KeyInfo::new(
                "colour",
                Word(|| words(&colours())),
                Depends("the next free colour"),
                "Colour of the names of members.",
                "colour: teal",
            )
        },
        KeyInfo::new(
            "coordinate",
            Boolean,
            Depends("`false`"),
            "With `true`, members of the role have no tools that change files: `apply_patch`, `bash`, `edit`, `write` and `note`.",
            "coordinate: true",
        ),
        KeyInfo::new(
            "may_spawn",
            Strings,
            Depends("all"),
            "A lead with this role may add members only of these roles.",
            "may_spawn: [worker]",
        ),
        KeyInfo::new(
            "plan",
            Word(|| words(PLANS)),
            Unset,
            "The agent changes nothing before its plan is approved.",
            "plan: required",
        ),
        KeyInfo::new(
            "network",
            Boolean,
            Depends("the value of `[defaults]`, else `false`"),
            "Whether sandboxed commands of the agent have network access.",
            "network: true",
        ),
        KeyInfo {
            default: Depends("the value of `[defaults]`, else `true`"),
            example: "instructions: false",
            ..INSTRUCTIONS
        },
    ]],
};
