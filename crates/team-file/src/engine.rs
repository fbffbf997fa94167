//! `engine`: what does a member's work. Called for members, roles and `[defaults]`.
//!
//! An external agent is named by a word of [`EXTERNAL`], or by its command: `engine = { acp = ["program", "argument"] }`.
//! A program with a terminal interface is named by its command: `engine = { terminal = ["program", "argument"] }`.

use std::path::Path;

use agent_team_protocol::engine::{ENGINE_WORDS, Engine};
use agent_team_protocol::spec::{ExternalAgent, Steering};
use agent_team_protocol::text::visible_label;

use super::agent::AgentKeys;
use super::source::Source;
use super::table::{At, Table};
use super::unsupported::Level;

/// A known external agent: how to start it, and how it behaves. Tried with the versions of November 2026.
struct External {
    word: &'static str,
    command: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    mode: Option<&'static str>,
    steering: Steering,
}

/// The number of characters of a program's name that are shown.
const NAME_MAX: usize = 40;

const OTHER: External = External {
    word: "",
    command: &[],
    env: &[],
    mode: None,
    steering: Steering::Declared,
};

/// The known external agents. The modes make an agent ask: the default modes of several agents let a model decide. Codex
/// does not ask about what its own sandbox contains. No agent asks about the team's tools, which only act as the member:
/// Codex follows their annotations, Claude gets a rule when its session is opened.
const EXTERNAL: &[External] = &[
    External {
        word: "claude",
        command: &["claude-agent-acp"],
        mode: Some("default"),
        ..OTHER
    },
    External {
        word: "codex",
        command: &["codex-acp"],
        // Its other modes edit files without asking.
        mode: Some("read-only"),
        ..OTHER
    },
    External {
        word: "opencode",
        command: &["opencode", "acp"],
        // Without this setting, it asks for nothing. The team's tools need no permission.
        env: &[(
            "OPENCODE_CONFIG_CONTENT",
            r#"{"permission":{"*":"ask","team_*":"allow"}}"#,
        )],
        steering: Steering::Prompt,
        ..OTHER
    },
    External {
        word: "qwen",
        // Without `tool_search`, it offers the team's tools to the model from the start.
        command: &[
            "qwen",
            "--acp",
            "--exclude-tools",
            "tool_search",
            "--allowed-tools",
            "mcp__team",
        ],
        // With its pool of MCP connections, the first turn begins before the team's tools are connected, and its agent
        // for notes closes the connection when it ends (0.24.4).
        env: &[("QWEN_SERVE_NO_MCP_POOL", "1")],
        mode: Some("default"),
        steering: Steering::Drain,
    },
    External {
        word: "gemini",
        command: &["gemini", "--acp", "--allowed-tools", "mcp_team_*"],
        // It connects no MCP server in a directory that it does not trust. The user has trusted the team file, which
        // names the member as a program that runs with the project's settings.
        env: &[("GEMINI_CLI_TRUST_WORKSPACE", "true")],
        mode: Some("default"),
        // A second prompt cancels the turn.
        steering: Steering::AfterTurn,
    },
    External {
        word: "copilot",
        command: &["copilot", "--acp"],
        ..OTHER
    },
    External {
        word: "kimi",
        command: &["kimi", "acp"],
        ..OTHER
    },
    External {
        word: "goose",
        command: &["goose", "acp"],
        // Its default is `auto`: it asks for nothing.
        env: &[("GOOSE_MODE", "approve")],
        ..OTHER
    },
    External {
        word: "cursor",
        command: &["agent", "acp"],
        ..OTHER
    },
];

/// Whether the name of the engine alone does not say which program it starts.
pub(super) fn needs_command(engine: Engine) -> bool {
    engine.is_external() || engine.shows_program()
}

/// The words that `engine` accepts, with their engines.
pub(super) fn engine_words() -> Vec<(&'static str, Engine)> {
    let engines = ENGINE_WORDS.iter().copied();
    let engines = engines.filter(|(_, engine)| !needs_command(*engine));
    let external = EXTERNAL.iter();
    let external = external.map(|external| (external.word, Engine::External));
    engines.chain(external).collect()
}

/// The external agent of this word.
pub(super) fn external(word: &str) -> Option<ExternalAgent> {
    let mut known = EXTERNAL.iter();
    known
        .find(|external| external.word == word)
        .map(External::agent)
}

/// Reads `engine` from a table of the team file. The program of an external agent is stored in `keys`.
pub(super) fn read(
    source: &Source<'_>,
    table: &mut Table<'_>,
    keys: &mut AgentKeys,
) -> Option<At<Engine>> {
    const KEY: &str = "engine";
    if !table.is_table(KEY) {
        let word = table.string_at(KEY);
        if word == Some(Engine::Terminal.name()) {
            let at = table.string(KEY)?.at;
            source.fault_with_hint(
                at,
                "`engine = \"terminal\"` names no program",
                "set engine = { terminal = [\"vi\"] }",
            );
            return None;
        }
        let found = table.word(KEY, &engine_words())?;
        keys.external = word.and_then(external);
        return Some(found);
    }
    let mut inner = table.table(KEY, Level::Engine)?;
    let at = inner.at;
    let commands = ["acp", "terminal"].map(|key| inner.strings(key));
    inner.finish();
    let (engine, command) = match commands {
        [Some(command), None] => (Engine::External, command),
        [None, Some(command)] => (Engine::Terminal, command),
        [Some(_), Some(_)] => {
            source.fault_with_hint(
                at,
                "`engine` has both `acp` and `terminal`",
                "remove one of them",
            );
            return None;
        }
        [None, None] => (Engine::External, Vec::new()),
    };
    let command = command.into_iter();
    let command: Vec<String> = command.map(|word| word.value.to_owned()).collect();
    let program = command.first().map(Path::new).and_then(Path::file_name);
    let Some(program) = program else {
        source.fault_with_hint(
            at,
            "`engine` needs `acp` or `terminal`, with a program and its arguments",
            "set engine = { acp = [\"gemini\", \"--acp\"] }, or engine = { terminal = [\"vi\"] }",
        );
        return None;
    };
    keys.external = Some(ExternalAgent {
        name: visible_label(&program.to_string_lossy(), NAME_MAX),
        command,
        ..ExternalAgent::default()
    });
    Some(At { value: engine, at })
}

impl External {
    fn agent(&self) -> ExternalAgent {
        let env = self.env.iter();
        ExternalAgent {
            name: self.word.to_owned(),
            command: self.command.iter().map(|&word| word.to_owned()).collect(),
            env: env
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            mode: self.mode.map(str::to_owned),
            steering: self.steering,
        }
    }
}
