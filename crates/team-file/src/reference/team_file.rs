//! The keys of the team file, except the keys of roles.

use agent_team_protocol::permissions::Mode;
use agent_team_protocol::value::Effort;

use super::external::{MCP_SERVER, PROVIDER, SEARCH};
use super::hooks::{HOOK, HOOKS};
use super::key::DefaultValue::{Depends, Is, Required, Unset};
use super::key::Kind::{Boolean, Integer, Number, StringTable, Strings, Table, Tables, Word};
use super::key::{KeyInfo, Kind, Manual, Section, words};
use super::roles::{
    AGENT_KEYS, COLOUR, DELEGATE, DELEGATE_SETTINGS, FALLBACK_MINUTES, INSTRUCTIONS, ROLE,
    ROLE_FILE,
};
use crate::engine::engine_words;
use crate::member::{CLAIMS, LAYOUTS, member_placements, placements};
use crate::mode::MODES;
use crate::notify::WORDS;
use crate::permissions::SCOPES;

pub static TEAM_FILE: Manual = Manual {
    name: "agent-team.toml",
    summary: "the team file of agent-team",
    paragraphs: &[
        "A project describes its team in `.agent-team/team.toml`. A command finds the file of the current directory, or \
         else of the nearest parent directory that has one. `agent-team init` writes a first file.",
        "The file is TOML. Every key is optional unless this page states that it is required. A key that is unknown, \
         has a wrong type or is not supported is an error with its line; no key is ignored.",
        "`{{name}}` in prompts and descriptions is replaced by the value of `--var name=VALUE`. Relative paths start at \
         the project directory. Lines that run or allow something take effect only after the user trusts them.",
    ],
    example: EXAMPLE,
    sections: &[
        &ROOT,
        &LEAD,
        &MEMBER,
        &BUDGET,
        &DELEGATE_SETTINGS,
        &TASK,
        &DEFAULTS,
        &LIMITS,
        &PANES,
        &HOOKS,
        &HOOK,
        &NOTIFY,
        &ENGINE,
        &PERMISSIONS,
        &MCP_SERVER,
        &SEARCH,
        &PROVIDER,
        &ROLE,
        &ROLE_FILE,
    ],
};

const EXAMPLE: &str = "\
name = \"payments\"

[[member]]
name = \"ada\"
engine = \"command\"

[[task]]
title = \"Build\"
run = \"cargo build\"

[[task]]
title = \"Test\"
after = [\"Build\"]
run = \"cargo test\"
";

pub(super) static ROOT: Section = Section {
    heading: "Top of the file",
    summary: "Keys before the first table, and the tables of the file.",
    groups: &[&[
        KeyInfo::new(
            "name",
            Kind::String,
            Depends("derived from the name of the project directory"),
            "Name of the team: a lower-case letter, then lower-case letters, digits and `-`, at most 32 characters.",
            "name = \"payments\"",
        ),
        KeyInfo::new(
            "mode",
            Word(|| words(MODES)),
            Depends("`lead` if a member is an agent, else `manual`"),
            "Planner of the work. `lead`: a lead that is an agent with tools. `coordinator`: a lead whose model chooses \
             the members of each round. `collaborate`: all members in turn, then a summary by the lead. `manual`: the \
             user, through the board.",
            "mode = \"lead\"",
        ),
        KeyInfo::new(
            "max_rounds",
            Integer,
            Is("5"),
            "Maximum number of rounds of a run, from 1 to 100. Only with `mode = \"coordinator\"`.",
            "max_rounds = 8",
        ),
        KeyInfo::new(
            "coordinator_prompt",
            Kind::String,
            Depends("the built-in round prompt"),
            "Round prompt for the lead's model, with the placeholders `{worker_descriptions}`, `{task}` \
             and `{prior_outputs}`. Only with `mode = \"coordinator\"`.",
            "coordinator_prompt = \"{task}: choose from {worker_descriptions}. So far: {prior_outputs}\"",
        ),
        NOTIFY_KEY,
        KeyInfo::new("lead", Table, Unset, "The lead: see `[lead]`.", "[lead]"),
        KeyInfo::new(
            "member",
            Tables,
            Unset,
            "The teammates: see `[[member]]`.",
            "[[member]]",
        ),
        KeyInfo::new(
            "task",
            Tables,
            Unset,
            "The board: see `[[task]]`.",
            "[[task]]",
        ),
        KeyInfo::new(
            "defaults",
            Table,
            Unset,
            "Values for all members: see `[defaults]`.",
            "[defaults]",
        ),
        KeyInfo::new(
            "limits",
            Table,
            Unset,
            "Limits of the team: see `[limits]`.",
            "[limits]",
        ),
        KeyInfo::new(
            "panes",
            Table,
            Unset,
            "Where members are shown: see `[panes]`.",
            "[panes]",
        ),
        KeyInfo::new(
            "hooks",
            Table,
            Unset,
            "Shell lines that check work and follow the events of agents: see `[hooks]`.",
            "[hooks]",
        ),
        KeyInfo::new(
            "permissions",
            Table,
            Unset,
            "Permission rules: see `[permissions]`.",
            "[permissions]",
        ),
        KeyInfo::new(
            "mcp",
            Table,
            Unset,
            "MCP servers for the agents: see `[mcp.<name>]`.",
            "[mcp.github]",
        ),
        KeyInfo::new(
            "search",
            Table,
            Unset,
            "The web search service of the agents: see `[search]`.",
            "[search]",
        ),
        KeyInfo::new(
            "providers",
            Table,
            Unset,
            "Endpoints of model providers: see `[providers.<name>]`.",
            "[providers.openai]",
        ),
        KeyInfo::new(
            "roles",
            Table,
            Unset,
            "Templates for members: see `[roles.<name>]`.",
            "[roles.builder]",
        ),
    ]],
};

const ENV: KeyInfo = KeyInfo::new(
    "env",
    StringTable,
    Unset,
    "Variables for the programs of the member. For an agent, variables that choose programs, such as `PATH`, or redirect \
     API keys are refused; for an agent of another vendor, also those that configure it, such as `CLAUDE_CONFIG_DIR`.",
    "env = { RUST_LOG = \"debug\" }",
);

/// The keys of `[lead]` and `[[member]]` besides [`AGENT_KEYS`].
const MEMBER_KEYS: &[KeyInfo] = &[
    KeyInfo::new(
        "engine",
        Word(|| words(&engine_words())),
        Depends(
            "`native` if a key of an agent, such as `model`, is set; else the engine of the role, else of `[defaults]`",
        ),
        "What the member does. `native`: it is an agent. `command`: it runs the `run` lines of tasks. Any other word: it \
         is that vendor's agent, whose program must be installed. A table starts another program: see the section \
         \"engine of a member\".",
        "engine = \"native\"",
    ),
    KeyInfo::new(
        "limits",
        Table,
        Unset,
        "Budget of the member for one goal: see the section \"limits of a member\".",
        "limits = { usd = 2.5 }",
    ),
    COLOUR,
    KeyInfo::new(
        "cwd",
        Kind::String,
        Depends("the directory of `[defaults]`"),
        "Working directory. A directory outside the project needs the user's trust.",
        "cwd = \"web\"",
    ),
    ENV,
    KeyInfo::new(
        "claim",
        Word(|| words(CLAIMS)),
        Depends("the value of `[defaults]`"),
        "Tasks that the member takes by itself. `ready`: ready tasks that it may claim. `assigned`: only tasks that \
         name the member in `for`.",
        "claim = \"assigned\"",
    ),
    KeyInfo::new(
        "placement",
        Word(|| words(&member_placements())),
        Depends("the placement of `[panes]`"),
        "Where this member runs.",
        "placement = \"hosted\"",
    ),
];

pub(super) static LEAD: Section = Section {
    heading: "[lead]",
    summary: "The lead of the team. A team of agents has a lead even without this table. If the table of such a team sets \
              no `engine`, the lead is an agent.",
    groups: &[
        &[
            KeyInfo::new(
                "name",
                Kind::String,
                Is("\"lead\""),
                "Name of the lead; the rule for names of members applies, but `lead` is permitted.",
                "name = \"grace\"",
            ),
            KeyInfo::new(
                "role",
                Kind::String,
                Is("\"lead\""),
                "Role of the lead.",
                "role = \"architect\"",
            ),
            KeyInfo::new(
                "may_spawn",
                Strings,
                Depends("the roles that the lead's role names, else all"),
                "The lead may add members only of these roles.",
                "may_spawn = [\"worker\", \"reviewer\"]",
            ),
        ],
        MEMBER_KEYS,
        AGENT_KEYS,
    ],
};

pub(super) static MEMBER: Section = Section {
    heading: "[[member]]",
    summary: "A teammate; one table for each.",
    groups: &[
        &[
            KeyInfo::new(
                "name",
                Kind::String,
                Required,
                "Name of the member: a lower-case letter, then lower-case letters, digits and `-`, at most 32 \
                 characters; not `user`, `you`, `system`, `agent-team`, `all` or `lead`.",
                "name = \"ada\"",
            ),
            KeyInfo::new(
                "role",
                Kind::String,
                Depends("the role of `[defaults]`, else `worker`"),
                "Role of the member; `agent-team role list` lists the roles.",
                "role = \"reviewer\"",
            ),
        ],
        MEMBER_KEYS,
        AGENT_KEYS,
    ],
};

const BUDGET_KEYS: &[KeyInfo] = &[
    KeyInfo::new(
        "tokens",
        Integer,
        Unset,
        "Maximum number of tokens for one goal.",
        "tokens = 2_000_000",
    ),
    KeyInfo::new(
        "usd",
        Number,
        Unset,
        "Maximum cost for one goal, in US dollars.",
        "usd = 2.5",
    ),
    KeyInfo::new(
        "minutes",
        Number,
        Unset,
        "Maximum working time for one goal, in minutes.",
        "minutes = 30",
    ),
];

pub(super) static BUDGET: Section = Section {
    heading: "limits of a member",
    summary: "What the member may spend on one goal. Each goal starts with full limits.",
    groups: &[BUDGET_KEYS],
};

pub(super) static LIMITS: Section = Section {
    heading: "[limits]",
    summary: "Limits of the team; the last three apply to all members together.",
    groups: &[
        &[
            KeyInfo::new(
                "teammates",
                Integer,
                Is("10"),
                "Maximum number of teammates that are not stopped; the lead does not count.",
                "teammates = 16",
            ),
            KeyInfo::new(
                "starting",
                Integer,
                Is("4"),
                "Maximum number of concurrent launches of other vendors' agents; no engine of this version launches one.",
                "starting = 2",
            ),
        ],
        BUDGET_KEYS,
    ],
};

pub(super) static TASK: Section = Section {
    heading: "[[task]]",
    summary: "A task of the board; one table for each.",
    groups: &[&[
        KeyInfo::new(
            "title",
            Kind::String,
            Required,
            "What is to be done, in one line.",
            "title = \"Run the tests\"",
        ),
        KeyInfo::new(
            "key",
            Kind::String,
            Depends("the title"),
            "Identifies the task when the file changes, and in `after`. Each key is unique.",
            "key = \"tests\"",
        ),
        KeyInfo::new(
            "description",
            Kind::String,
            Is("\"\""),
            "Details for the member that does the task.",
            "description = \"Fix failures in the parser only.\"",
        ),
        KeyInfo::new(
            "priority",
            Integer,
            Is("0"),
            "Ready tasks with a higher priority are claimed first.",
            "priority = 10",
        ),
        KeyInfo::new(
            "labels",
            Strings,
            Is("[]"),
            "Words about the task, for agents and for `task show`.",
            "labels = [\"ci\"]",
        ),
        KeyInfo::new(
            "after",
            Strings,
            Is("[]"),
            "Keys of the tasks that must be completed before this task starts.",
            "after = [\"Build\"]",
        ),
        KeyInfo::new(
            "role",
            Kind::String,
            Depends("any role"),
            "Only members of this role may claim the task.",
            "role = \"reviewer\"",
        ),
        KeyInfo::new(
            "for",
            Kind::String,
            Depends("any member"),
            "Only this member may claim the task.",
            "for = \"ada\"",
        ),
        KeyInfo::new(
            "files",
            Strings,
            Is("[]"),
            "Files that the task changes, as globs. The lead is warned if tasks in progress overlap.",
            "files = [\"src/parser/**\"]",
        ),
        KeyInfo::new(
            "run",
            Kind::String,
            Unset,
            "Shell line that a member with the engine `command` runs.",
            "run = \"cargo test\"",
        ),
        KeyInfo::new(
            "verify",
            Kind::String,
            Unset,
            "Shell line that must exit with 0 before the task counts as completed.",
            "verify = \"git diff --exit-code\"",
        ),
        KeyInfo::new(
            "rerun",
            Boolean,
            Is("true"),
            "Whether `run` may run again after its worker was lost. With `false` the task fails instead.",
            "rerun = false",
        ),
        KeyInfo::new(
            "active_form",
            Kind::String,
            Unset,
            "Text to show while the task is in progress.",
            "active_form = \"Running the tests\"",
        ),
        KeyInfo::new(
            "metadata",
            Table,
            Unset,
            "Your own data, at most 32 KiB as JSON.",
            "metadata = { ticket = 17 }",
        ),
    ]],
};

pub(super) static DEFAULTS: Section = Section {
    heading: "[defaults]",
    summary: "Values for all members that do not set their own.",
    groups: &[&[
        KeyInfo::new(
            "role",
            Kind::String,
            Is("\"worker\""),
            "Role of members without a role.",
            "role = \"reviewer\"",
        ),
        KeyInfo::new(
            "engine",
            Word(|| words(&engine_words())),
            Depends(
                "`native` if `mode` is set and is not `manual`, or if a key of agents, such as `model`, is set here; else \
                 `command`",
            ),
            "Engine of members.",
            "engine = \"command\"",
        ),
        KeyInfo::new(
            "model",
            Kind::String,
            Depends("the model of the first provider with a key or a server"),
            "Model of agents: `provider/model`, or `replay:FILE` to play a recording. A list of models: a later model \
             replaces one that stays overloaded, rejects its key or has no budget.",
            "model = \"openai/gpt-6.1-sol\"",
        ),
        KeyInfo {
            default: Depends("3"),
            ..FALLBACK_MINUTES
        },
        KeyInfo::new(
            "effort",
            Word(|| words(&Effort::NAMES)),
            Depends("`medium`"),
            "How much the models of agents think before they answer.",
            "effort = \"high\"",
        ),
        KeyInfo::new(
            "compact",
            Kind::String,
            Depends("the agent's own model"),
            "Model that writes the summaries of long conversations: `provider/model`, such as a cheaper one. If it \
             fails, the agent's own model writes them.",
            "compact = \"anthropic/claude-haiku-4-5\"",
        ),
        KeyInfo {
            default: Depends("`false`"),
            ..DELEGATE
        },
        KeyInfo::new(
            "max_steps",
            Integer,
            Depends("100"),
            "Maximum number of model replies for one task or turn.",
            "max_steps = 50",
        ),
        KeyInfo::new(
            "network",
            Boolean,
            Depends("`false`"),
            "Whether sandboxed commands of agents have network access.",
            "network = true",
        ),
        KeyInfo {
            default: Depends("`true`"),
            ..INSTRUCTIONS
        },
        KeyInfo::new(
            "cwd",
            Kind::String,
            Is("\".\""),
            "Working directory of members.",
            "cwd = \"web\"",
        ),
        ENV,
        KeyInfo::new(
            "claim",
            Word(|| words(CLAIMS)),
            Depends("`assigned` for a lead that is an agent, else `ready`"),
            "Tasks that members take by themselves.",
            "claim = \"assigned\"",
        ),
    ]],
};

pub(super) static PANES: Section = Section {
    heading: "[panes]",
    summary: "Where members run and are shown.",
    groups: &[&[
        KeyInfo::new(
            "placement",
            Word(|| words(&placements())),
            Is("\"auto\""),
            "Where members run. `auto`: the first available of your tmux, your iTerm2 and a separate tmux. If none is \
             available: `hosted` with a terminal, `headless` without.",
            "placement = \"tmux\"",
        ),
        KeyInfo::new(
            "layout",
            Word(|| words(LAYOUTS)),
            Depends(
                "`main-vertical` with a lead, `tiled` without, `windows` for more than 12 members",
            ),
            "Arrangement of the panes. `windows`: one window for each member.",
            "layout = \"tiled\"",
        ),
    ]],
};

/// The key of the team file and of the user's settings.
pub(super) const NOTIFY_KEY: KeyInfo = KeyInfo::new(
    "notify",
    Word(|| words(WORDS)),
    Is("\"desktop\""),
    "How you are notified when a member waits for you or a goal ends. `desktop`: a desktop notification and the \
     terminal's bell. `bell`: only the bell. `off`: not at all. A table runs a command: see `[notify]`.",
    "notify = \"bell\"",
);

pub(super) static ENGINE: Section = Section {
    heading: "engine of a member",
    summary: "The program of a member: exactly one of these keys.",
    groups: &[&[
        KeyInfo::new(
            "acp",
            Strings,
            Unset,
            "An agent that speaks the Agent Client Protocol on stdin and stdout: the program and its arguments.",
            "acp = [\"gemini\", \"--acp\"]",
        ),
        KeyInfo::new(
            "terminal",
            Strings,
            Unset,
            "Any program with a terminal interface, which the pane shows: the program and its arguments. It receives no \
             tasks. Messages to the member are shown in the pane, and not delivered to the program.",
            "terminal = [\"htop\"]",
        ),
    ]],
};

pub(super) static NOTIFY: Section = Section {
    heading: "[notify]",
    summary: "A program that notifies you. It runs for at most 10 s. It receives the text as its last argument, as \
              environment variables, and as JSON on stdin.",
    groups: &[&[KeyInfo::new(
        "command",
        Strings,
        Required,
        "The program and its arguments.",
        "command = [\"notify-send\", \"agent-team\"]",
    )]],
};

pub(super) static PERMISSIONS: Section = Section {
    heading: "[permissions]",
    summary: "Rules for the actions of agents. Deny takes precedence over ask, and ask over allow. The table of your own \
              config.toml applies to every team.",
    groups: &[&[
        KeyInfo::new(
            "deny",
            Strings,
            Is("[]"),
            "Actions that are denied, even if another rule allows them.",
            "deny = [\"Bash(rm:*)\", \"Read(.env)\"]",
        ),
        KeyInfo::new(
            "ask",
            Strings,
            Is("[]"),
            "Actions that need a decision, even if another rule allows them.",
            "ask = [\"Bash(git push:*)\"]",
        ),
        KeyInfo::new(
            "allow",
            Strings,
            Is("[]"),
            "Actions that are allowed.",
            "allow = [\"Bash(cargo test:*)\", \"Edit(src/**)\"]",
        ),
        KeyInfo::new(
            "approve",
            Strings,
            Is("[]"),
            "Requests of teammates that the lead may allow, once each; `Plan` covers their plans.",
            "approve = [\"Bash(cargo:*)\", \"Plan\"]",
        ),
        KeyInfo::new(
            "expire_minutes",
            Number,
            Unset,
            "Minutes after which an unanswered request is denied.",
            "expire_minutes = 30",
        ),
        KeyInfo::new(
            "mode",
            Word(|| words(&Mode::NAMES)),
            Is("\"default\""),
            "Decision about actions that no rule matches. `accept-edits`: agents change files of the project without \
             asking. `sandboxed`: they also run commands that the sandbox contains. `plan`: they change nothing, even if \
             a rule allows it. `dont-ask`: what would need a decision is denied. `bypass`: agents ask nothing, and their \
             commands run outside the sandbox.",
            "mode = \"accept-edits\"",
        ),
        KeyInfo::new(
            "default_scope",
            Word(|| words(SCOPES)),
            Is("\"once\""),
            "Scope of a decision that names no scope.",
            "default_scope = \"task\"",
        ),
    ]],
};
