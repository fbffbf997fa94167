//! The agents of other vendors that agent-team knows: how each agent is started, how it behaves, and texts about it for
//! the user. Bare data: `team-file` and the supervisor make members from it, the workers select variables with it, and
//! `agent-team doctor` shows it.
//!
//! A new agent is a row of [`EXTERNAL`].

use crate::engine::Engine;
use crate::spec::{ExternalAgent, OwnTerminal, SideChannelKind, Steering};

/// A known external agent. Tried with the versions of November 2026.
#[derive(Debug)]
pub struct KnownAgent {
    /// Its name in `engine`.
    pub word: &'static str,
    pub command: &'static [&'static str],
    /// Variables that its program gets in addition to the member's.
    pub env: &'static [(&'static str, &'static str)],
    /// The mode that every session is set to. `None`: the agent's own mode.
    pub mode: Option<&'static str>,
    /// It asks before it calls the team's tools. The beginning of the titles of these questions; the rest is the name of
    /// the tool. agent-team allows these calls: they act only as the member.
    pub team_titles: Option<&'static str>,
    /// It accepts no program as an MCP server in a session. The option that names the team's tools at its start, as JSON.
    pub team_option: Option<&'static str>,
    pub steering: Steering,
    /// Its own terminal interface, and the side channel beside it.
    pub terminal: Option<(&'static [&'static str], SideChannelKind)>,
    /// The first and the last version of the program of `terminal` that agent-team was tested with.
    pub terminal_tested: Option<[&'static str; 2]>,
    /// The user's variables that it reads: its keys, its addresses, its settings. A `*` at the end matches any rest of
    /// a name. Omits the variables that change which calls it makes without asking.
    pub reads: &'static [&'static str],
    /// It reads the keys of all model providers.
    pub reads_all_keys: bool,
    /// The version that `cargo xtask test real-clis` tests.
    pub tested: Option<&'static str>,
    /// The calls that it makes without asking in `mode`, as a text for the user.
    pub unasked: &'static str,
    /// It reports the tokens of its turns.
    pub reports_tokens: bool,
    /// It reports the cost of its session.
    pub reports_cost: bool,
}

/// The text about an agent that agent-team does not know.
const UNASKED_BY_UNKNOWN: &str = "what it decides itself: agent-team does not know this agent";

/// The text about an agent whose mode agent-team does not set.
const UNASKED_BY_OWN_MODE: &str = "what its own mode and its own settings allow";

/// The text about an agent in its own terminal interface, whose hooks ask agent-team about each call.
const UNASKED_WITH_HOOKS: &str = "its tools that only read, and its own helpers";

/// The text about OpenCode in its own terminal interface, whose conversation has rules of agent-team.
const UNASKED_WITH_SERVER: &str = "what you allow always in its dialog, and the tools of its helpers that its own settings allow by name";

const OTHER: KnownAgent = KnownAgent {
    word: "",
    command: &[],
    env: &[],
    mode: None,
    team_titles: None,
    team_option: None,
    steering: Steering::Declared,
    terminal: None,
    terminal_tested: None,
    reads: &[],
    reads_all_keys: false,
    tested: None,
    unasked: UNASKED_BY_OWN_MODE,
    reports_tokens: false,
    reports_cost: false,
};

/// The tested versions of the agents in their own terminal interfaces: the first, and the last.
pub const CLAUDE_TESTED: [&str; 2] = ["2.1.330", "2.1.331"];
pub const CODEX_TESTED: [&str; 2] = ["0.169.0", "0.169.0"];
pub const OPENCODE_TESTED: [&str; 2] = ["1.18.33", "1.18.33"];
pub const QWEN_TESTED: [&str; 2] = ["0.24.4", "0.24.4"];

/// The variable with the address of the session bus, through which programs read the user's keyring with its logins.
const KEYRING: &str = "DBUS_SESSION_BUS_ADDRESS";

/// The known external agents. Where `mode` is set, it makes the agent ask for permission: in the default modes of
/// several agents, a model decides. Codex does not ask about commands that its own sandbox confines. No agent asks
/// about the team's tools, which act only as the member: Codex follows the annotations of these tools, and Claude
/// receives a rule when its session is opened.
pub const EXTERNAL: &[KnownAgent] = &[
    KnownAgent {
        word: "claude",
        command: &["claude-agent-acp"],
        mode: Some("default"),
        terminal: Some((&["claude"], SideChannelKind::ClaudeHooks)),
        terminal_tested: Some(CLAUDE_TESTED),
        reads: &[
            "ANTHROPIC_*",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "CLAUDE_CONFIG_DIR",
        ],
        tested: Some("0.101.0"),
        unasked: "reading in the project, and what its settings and the project's .claude allow",
        reports_tokens: true,
        reports_cost: true,
        ..OTHER
    },
    KnownAgent {
        word: "codex",
        command: &["codex-acp"],
        // In its other modes, Codex edits files without asking.
        mode: Some("read-only"),
        terminal: Some((&["codex"], SideChannelKind::CodexAppServer)),
        terminal_tested: Some(CODEX_TESTED),
        reads: &["CODEX_API_KEY", "CODEX_HOME", "OPENAI_*"],
        tested: Some("2.6.0"),
        unasked: "commands in its own read-only sandbox, and what its rules allow",
        reports_tokens: true,
        ..OTHER
    },
    KnownAgent {
        word: "opencode",
        command: &["opencode", "acp"],
        // Without this setting, opencode makes every call without asking. The team's tools need no permission.
        env: &[(
            "OPENCODE_CONFIG_CONTENT",
            r#"{"permission":{"*":"ask","team_*":"allow"}}"#,
        )],
        steering: Steering::Prompt,
        terminal: Some((&["opencode"], SideChannelKind::OpenCodeServer)),
        terminal_tested: Some(OPENCODE_TESTED),
        reads: &["OPENCODE_API_KEY", "OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR"],
        reads_all_keys: true,
        tested: Some("1.18.33"),
        unasked: "the tools that its own settings allow by name",
        reports_tokens: true,
        reports_cost: true,
        ..OTHER
    },
    KnownAgent {
        word: "qwen",
        // While its tool `tool_search` is excluded, Qwen Code offers the team's tools to the model from the start.
        command: &[
            "qwen",
            "--acp",
            "--exclude-tools",
            "tool_search",
            "--allowed-tools",
            "mcp__team",
        ],
        // Turns off the pool of MCP connections. With the pool, the first turn begins before the team's tools are
        // connected, and the agent that writes Qwen Code's notes closes the shared connection when that agent ends
        // (0.24.4).
        env: &[("QWEN_SERVE_NO_MCP_POOL", "1")],
        mode: Some("default"),
        steering: Steering::Drain,
        terminal: Some((&["qwen"], SideChannelKind::QwenFiles)),
        terminal_tested: Some(QWEN_TESTED),
        reads: &["DASHSCOPE_*", "OPENAI_*", "QWEN_MODEL"],
        tested: Some("0.24.4"),
        unasked: "reading in the project, and what its settings and the project's .qwen allow",
        reports_tokens: true,
        ..OTHER
    },
    KnownAgent {
        word: "gemini",
        command: &["gemini", "--acp", "--allowed-tools", "mcp_team_*"],
        // Gemini CLI connects no MCP server in a directory that it does not trust. The user has trusted the team file,
        // which names the member as a program that runs with the project's settings.
        env: &[("GEMINI_CLI_TRUST_WORKSPACE", "true")],
        mode: Some("default"),
        // A second prompt cancels the turn.
        steering: Steering::AfterTurn,
        reads: &["GEMINI_API_KEY", "GEMINI_MODEL", "GOOGLE_*"],
        tested: Some("0.61.0"),
        unasked: "reading in the project, and what its settings and the project's .gemini allow",
        reports_tokens: true,
        ..OTHER
    },
    KnownAgent {
        word: "copilot",
        command: &["copilot", "--acp", "--allow-tool", "team"],
        team_option: Some("--additional-mcp-config"),
        // In the mode "autopilot", Copilot makes every call without asking.
        mode: Some("https://agentclientprotocol.com/protocol/session-modes#agent"),
        reads: &[
            "COPILOT_GITHUB_TOKEN",
            "COPILOT_MODEL",
            "COPILOT_OFFLINE",
            "COPILOT_PROVIDER_*",
            "GH_TOKEN",
            "GITHUB_TOKEN",
            KEYRING,
        ],
        tested: Some("1.0.102"),
        unasked: "reading in the project, its helpers, and what its settings allow",
        ..OTHER
    },
    KnownAgent {
        word: "kimi",
        command: &["kimi", "acp"],
        // In its other modes, Kimi Code runs commands without asking.
        mode: Some("default"),
        // Kimi Code has no setting for one start that allows a tool.
        team_titles: Some("mcp__team__"),
        reads: &["KIMI_*", "MOONSHOT_*"],
        tested: Some("2.1.0"),
        unasked: "reading, the web, its helpers, changes of files in a Git project, and what its settings allow",
        ..OTHER
    },
    KnownAgent {
        word: "goose",
        command: &["goose", "acp"],
        // In its default mode `auto`, Goose makes every call without asking.
        env: &[("GOOSE_MODE", "approve")],
        reads: &["GOOSE_MODEL", "GOOSE_PROVIDER", KEYRING],
        reads_all_keys: true,
        unasked: "the tools that its own settings allow by name",
        ..OTHER
    },
    KnownAgent {
        word: "cursor",
        command: &["agent", "acp"],
        reads: &["CURSOR_API_KEY", "CURSOR_CONFIG_DIR", KEYRING],
        ..OTHER
    },
];

/// The known agent with this name.
pub fn known(word: &str) -> Option<&'static KnownAgent> {
    EXTERNAL.iter().find(|known| known.word == word)
}

/// The known agent with the name and the command of this agent. The name is not enough: an agent of a team file can
/// have the name of a known agent and another command.
pub fn known_agent(agent: &ExternalAgent) -> Option<&'static KnownAgent> {
    known(&agent.name).filter(|known| match &agent.terminal {
        None => agent.command == known.command,
        Some(own) => known.terminal.is_some_and(|(command, channel)| {
            agent.command.is_empty() && own.command == command && own.channel == channel
        }),
    })
}

/// The calls that an external agent makes without asking, as a text for the user. `None`: the member is not an external
/// agent.
pub fn unasked(engine: Engine, agent: Option<&ExternalAgent>) -> Option<&'static str> {
    let unasked = match agent.and_then(|agent| Some((agent, known_agent(agent)?))) {
        None => UNASKED_BY_UNKNOWN,
        Some((agent, known)) => match agent.terminal.as_ref().map(|own| own.channel) {
            Some(SideChannelKind::ClaudeHooks | SideChannelKind::QwenFiles) => UNASKED_WITH_HOOKS,
            Some(SideChannelKind::OpenCodeServer) => UNASKED_WITH_SERVER,
            Some(SideChannelKind::CodexAppServer | SideChannelKind::Unknown) | None => {
                known.unasked
            }
        },
    };
    engine.is_external().then_some(unasked)
}

impl KnownAgent {
    /// As a program that speaks the Agent Client Protocol.
    pub fn agent(&self) -> ExternalAgent {
        let env = self.env.iter();
        ExternalAgent {
            name: self.word.to_owned(),
            command: owned(self.command),
            env: env
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            mode: self.mode.map(str::to_owned),
            steering: self.steering,
            terminal: None,
        }
    }

    /// In its own terminal interface, if it has one that agent-team can connect.
    pub fn agent_in_terminal(&self) -> Option<ExternalAgent> {
        let (command, channel) = self.terminal?;
        Some(ExternalAgent {
            command: Vec::new(),
            terminal: Some(OwnTerminal {
                command: owned(command),
                channel,
            }),
            ..self.agent()
        })
    }

    /// Whether the agent reads this variable of the user. `holds_key`: the variable contains the key of a provider.
    pub fn reads(&self, variable: &str, holds_key: bool) -> bool {
        let is_named = |name: &&str| match name.strip_suffix('*') {
            Some(beginning) => variable.starts_with(beginning),
            None => variable == *name,
        };
        (self.reads_all_keys && holds_key) || self.reads.iter().any(is_named)
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_names_are_distinct_and_not_engines() {
        for (at, known) in EXTERNAL.iter().enumerate() {
            let others = EXTERNAL[..at].iter().map(|other| other.word);
            let engines = crate::engine::ENGINES.iter().map(|engine| engine.name);
            assert!(!others.chain(engines).any(|word| word == known.word));
            assert!(!known.command.is_empty() && !known.unasked.is_empty());
        }
    }

    #[test]
    fn the_name_of_a_known_agent_does_not_make_it_known() {
        let claude = known("claude").unwrap().agent();
        assert!(known_agent(&claude).is_some());
        let other = ExternalAgent {
            command: vec!["./claude".to_owned()],
            ..claude
        };
        assert!(known_agent(&other).is_none());
        let mut own = known("claude").unwrap().agent_in_terminal().unwrap();
        assert_eq!(
            unasked(Engine::External, Some(&own)),
            Some(UNASKED_WITH_HOOKS)
        );
        let codex = known("codex").unwrap();
        assert_eq!(
            unasked(Engine::External, codex.agent_in_terminal().as_ref()),
            Some(codex.unasked)
        );
        own.terminal.as_mut().unwrap().command = vec!["./claude".to_owned()];
        assert!(known_agent(&own).is_none());
        assert_eq!(
            unasked(Engine::External, Some(&other)),
            Some(UNASKED_BY_UNKNOWN)
        );
        assert_eq!(unasked(Engine::Native, None), None);
    }

    #[test]
    fn an_agent_reads_its_own_variables() {
        let claude = known("claude").unwrap();
        assert!(claude.reads("ANTHROPIC_AUTH_TOKEN", false));
        assert!(!claude.reads("CLAUDE_CODE_SSE_PORT", false));
        assert!(!claude.reads("OPENAI_API_KEY", true));
        assert!(known("opencode").unwrap().reads("OPENAI_API_KEY", true));
        assert!(
            !known("opencode")
                .unwrap()
                .reads("OPENCODE_PERMISSION", false)
        );
    }
}
