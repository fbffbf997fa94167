//! The agents of other vendors that agent-team knows: how each agent is started, how it behaves, and texts about it for
//! the user. Bare data: `team-file` and the supervisor make members from it, the workers select variables with it, and
//! `agent-team doctor` shows it.
//!
//! A new agent is a row of [`EXTERNAL`].

use std::iter;

use crate::engine::Engine;
use crate::spec::{ExternalAgent, OwnTerminal, SideChannelKind, Steering};

/// A known external agent. `tested` and `terminal_tested` contain the tested versions, if it was tested.
#[derive(Debug)]
pub struct KnownAgent {
    /// The agent's name in `engine`. It selects the agent's own terminal interface, if the agent has a `terminal`.
    pub word: &'static str,
    /// The name in `engine` of an agent that has a `terminal`, but speaks the Agent Client Protocol.
    pub acp_word: Option<&'static str>,
    pub command: &'static [&'static str],
    /// The npm package that contains the program of `command`. `None`: the vendor documents the installation.
    pub package: Option<&'static str>,
    /// The command with which the user logs in. `None`: the agent asks for a login when it runs in a terminal, or reads
    /// a key from a variable.
    pub login: Option<&'static str>,
    /// Variables that the agent's program gets in addition to the member's.
    pub env: &'static [(&'static str, &'static str)],
    /// The mode that every session is set to. `None`: the agent's own mode.
    pub mode: Option<&'static str>,
    /// The beginning of the titles of the questions that the agent asks before it calls the team's tools; the rest of a
    /// title is the name of the tool. agent-team allows these calls: they act only as the member. `None`: the agent
    /// does not ask.
    pub team_titles: Option<&'static str>,
    /// The option that names the team's tools as JSON at the start of an agent that accepts no program as an MCP server
    /// in a session.
    pub team_option: Option<&'static str>,
    pub steering: Steering,
    /// The tested version declares `_session/steering`.
    pub declares_steering: bool,
    /// The agent's own terminal interface, and the side channel beside it.
    pub terminal: Option<(&'static [&'static str], SideChannelKind)>,
    /// The npm package that contains the program of `terminal`, if it is another package.
    pub terminal_package: Option<&'static str>,
    /// The first and the last version of the program of `terminal` that agent-team was tested with.
    pub terminal_tested: Option<[&'static str; 2]>,
    /// The arguments with which the program of `terminal` exits with 0 if the user is logged in, and with 1 if not.
    /// `None`: the program of `command` is the same program, and reports whether the user is logged in.
    pub terminal_login: Option<&'static [&'static str]>,
    /// The user's variables that the agent reads: its keys, its addresses, its settings. A `*` at the end matches any
    /// rest of a name. The list omits the variables that change which calls the agent makes without asking.
    pub reads: &'static [&'static str],
    /// The agent reads the keys of all model providers.
    pub reads_all_keys: bool,
    /// The version that `cargo xtask test real-clis` tests.
    pub tested: Option<&'static str>,
    /// The calls that the agent makes without asking in `mode`, as a text for the user.
    pub unasked: &'static str,
    /// The agent reports the tokens of its turns over the Agent Client Protocol.
    pub reports_tokens: bool,
    /// The agent reports the cost of its session over the Agent Client Protocol.
    pub reports_cost: bool,
}

/// The text about an agent that agent-team does not know.
const UNASKED_BY_UNKNOWN: &str = "what it decides itself: agent-team does not know this agent";

/// The text about an agent whose mode agent-team does not set.
const UNASKED_BY_OWN_MODE: &str = "what its own mode and its own settings allow";

/// The text about Claude Code in its own terminal interface. Hooks of other settings can answer Claude Code's dialogs,
/// and change the input of a call that was allowed. The lines in its skills and slash commands run without a hook.
const UNASKED_WITH_CLAUDE_HOOKS: &str = "reading in the project, its own helpers, what hooks of your settings or of the project's .claude allow or change, and the `!` lines of skills and slash commands that settings or these files allow";

/// The text about Qwen Code in its own terminal interface. Qwen Code calls the hook of agent-team before each call that
/// runs, even if other hooks have decided.
const UNASKED_WITH_QWEN_HOOKS: &str = "reading in the project, its own helpers, and the `!` lines of slash commands that settings allow";

/// The text about OpenCode in its own terminal interface, whose conversation has rules of agent-team.
const UNASKED_WITH_SERVER: &str = "what you allow always in its dialog, and the tools of its helpers that its settings or those of the project allow by name";

const OTHER: KnownAgent = KnownAgent {
    word: "",
    acp_word: None,
    command: &[],
    package: None,
    login: None,
    env: &[],
    mode: None,
    team_titles: None,
    team_option: None,
    steering: Steering::Declared,
    declares_steering: false,
    terminal: None,
    terminal_package: None,
    terminal_tested: None,
    terminal_login: None,
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

/// The prefixes of variables that configure the known agents, in addition to the variables in [`KnownAgent::reads`].
/// Variables of AWS choose where Claude sends requests and credentials on Amazon Bedrock, or name files that choose
/// programs. Variables of OpenTelemetry choose where several agents send their telemetry, which can contain prompts.
const SETTINGS: [&str; 16] = [
    "ANTHROPIC_",
    "AWS_CONFIG_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_SHARED_CREDENTIALS_FILE",
    "CLAUDE",
    "CODEX_",
    "COPILOT_",
    "CURSOR_",
    "DASHSCOPE_",
    "GEMINI_",
    "GOOGLE_",
    "GOOSE_",
    "OPENAI_",
    "OPENCODE_",
    "OTEL_",
    "QWEN_",
];

/// The end of the names of variables that only choose a model.
const MODEL: &str = "_MODEL";

/// The known external agents. If `mode` is set, this mode makes the agent ask for permission: in the default modes of
/// several agents, a model decides. Codex does not ask about commands that its own sandbox confines. No agent asks the
/// user about the team's tools, which act only as the member: Codex follows the annotations of these tools, Claude
/// receives a rule when its session is opened, and the worker answers the questions of Kimi Code (see
/// [`KnownAgent::team_titles`]).
pub const EXTERNAL: &[KnownAgent] = &[
    KnownAgent {
        word: "claude",
        acp_word: Some("claude-acp"),
        command: &["claude-agent-acp"],
        package: Some("@agentclientprotocol/claude-agent-acp"),
        login: Some("claude auth login"),
        mode: Some("default"),
        declares_steering: true,
        terminal: Some((&["claude"], SideChannelKind::ClaudeHooks)),
        terminal_package: Some("@anthropic-ai/claude-code"),
        terminal_tested: Some(CLAUDE_TESTED),
        terminal_login: Some(&["auth", "status"]),
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
        acp_word: Some("codex-acp"),
        command: &["codex-acp"],
        package: Some("@agentclientprotocol/codex-acp"),
        login: Some("codex login"),
        // In its other modes, Codex edits files without asking.
        mode: Some("read-only"),
        declares_steering: true,
        terminal: Some((&["codex"], SideChannelKind::CodexAppServer)),
        terminal_package: Some("@openai/codex"),
        terminal_tested: Some(CODEX_TESTED),
        terminal_login: Some(&["login", "status"]),
        reads: &["CODEX_API_KEY", "CODEX_HOME", "OPENAI_*"],
        tested: Some("2.6.0"),
        unasked: "commands in its own read-only sandbox, and what its rules allow",
        reports_tokens: true,
        ..OTHER
    },
    KnownAgent {
        word: "opencode",
        acp_word: Some("opencode-acp"),
        command: &["opencode", "acp"],
        package: Some("opencode-ai"),
        login: Some("opencode auth login"),
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
        unasked: "the tools that its settings, the project's opencode.json or .opencode allow by name",
        reports_tokens: true,
        reports_cost: true,
        ..OTHER
    },
    KnownAgent {
        word: "qwen",
        acp_word: Some("qwen-acp"),
        // While its tool `tool_search` is excluded, Qwen Code offers the team's tools to the model from the start.
        command: &[
            "qwen",
            "--acp",
            "--exclude-tools",
            "tool_search",
            "--allowed-tools",
            "mcp__team",
        ],
        package: Some("@qwen-code/qwen-code"),
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
        package: Some("@google/gemini-cli"),
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
        package: Some("@github/copilot"),
        login: Some("copilot login"),
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
        package: Some("@moonshot-ai/kimi-code"),
        login: Some("kimi login"),
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
        login: Some("goose configure"),
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
        login: Some("agent login"),
        reads: &["CURSOR_API_KEY", "CURSOR_CONFIG_DIR", KEYRING],
        ..OTHER
    },
];

/// The words of `engine` for the known agents.
pub fn engine_words() -> impl Iterator<Item = &'static str> {
    let words = |known: &'static KnownAgent| iter::once(known.word).chain(known.acp_word);
    EXTERNAL.iter().flat_map(words)
}

/// The known agent with this word of `engine`.
pub fn known(word: &str) -> Option<&'static KnownAgent> {
    let has = |known: &&KnownAgent| known.word == word || known.acp_word == Some(word);
    EXTERNAL.iter().find(has)
}

/// The agent that a word of `engine` selects.
pub fn selected(word: &str) -> Option<ExternalAgent> {
    let known = known(word)?;
    let own = known.in_own_terminal().filter(|_| known.word == word);
    own.or_else(|| Some(known.over_acp()))
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
            Some(SideChannelKind::ClaudeHooks) => UNASKED_WITH_CLAUDE_HOOKS,
            Some(SideChannelKind::QwenFiles) => UNASKED_WITH_QWEN_HOOKS,
            Some(SideChannelKind::OpenCodeServer) => UNASKED_WITH_SERVER,
            Some(SideChannelKind::CodexAppServer | SideChannelKind::Unknown) | None => {
                known.unasked
            }
        },
    };
    engine.is_external().then_some(unasked)
}

/// Whether a message joins the running turn of this agent; otherwise the agent receives it after the turn. `None`: only
/// the agent's handshake answers this, with `_session/steering`.
pub fn joins_turn(agent: &ExternalAgent) -> Option<bool> {
    if agent.terminal.is_some() {
        return Some(true);
    }
    match agent.steering {
        Steering::Prompt | Steering::Drain => Some(true),
        Steering::Declared => {
            let tested = known_agent(agent).filter(|known| known.tested.is_some());
            tested.map(|known| known.declares_steering)
        }
        Steering::AfterTurn => Some(false),
    }
}

/// The usage that an agent reports. A limit of usage that is not reported cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedUsage {
    pub tokens: bool,
    pub cost: bool,
}

/// The usage that this agent reports. An agent that agent-team does not know counts as one that reports its usage.
pub fn reported_usage(agent: &ExternalAgent) -> ReportedUsage {
    let all = |reported| ReportedUsage {
        tokens: reported,
        cost: reported,
    };
    match agent.terminal.as_ref().map(|own| own.channel) {
        // The hooks contain neither tokens nor cost.
        Some(SideChannelKind::ClaudeHooks | SideChannelKind::Unknown) => all(false),
        Some(SideChannelKind::CodexAppServer | SideChannelKind::QwenFiles) => ReportedUsage {
            tokens: true,
            cost: false,
        },
        Some(SideChannelKind::OpenCodeServer) => all(true),
        None => known_agent(agent).map_or(all(true), |known| ReportedUsage {
            tokens: known.reports_tokens,
            cost: known.reports_cost,
        }),
    }
}

/// Whether this variable configures a known agent: its keys, its addresses, its settings, or the calls that it makes
/// without asking. A variable that only chooses a model does not count.
pub fn configures_agent(variable: &str) -> bool {
    let is_setting = SETTINGS.iter().any(|prefix| variable.starts_with(prefix))
        || EXTERNAL.iter().any(|known| known.reads(variable, false));
    is_setting && !variable.ends_with(MODEL)
}

impl KnownAgent {
    /// The word of `engine` that starts the agent as a program that speaks the Agent Client Protocol.
    pub fn word_over_acp(&self) -> &'static str {
        self.acp_word.unwrap_or(self.word)
    }

    /// The npm package of the program that this word of `engine` starts.
    pub fn package_of(&self, word: &str) -> Option<&'static str> {
        let own = self.terminal_package.filter(|_| self.word == word);
        own.or(self.package)
    }

    /// The command that installs the program of this word of `engine`.
    pub fn install_command(&self, word: &str) -> Option<String> {
        let package = self.package_of(word)?;
        Some(format!("npm install --global {package}"))
    }

    /// Converts the known agent into the external agent that speaks the Agent Client Protocol.
    pub fn over_acp(&self) -> ExternalAgent {
        let env = self.env.iter();
        ExternalAgent {
            name: self.word_over_acp().to_owned(),
            command: owned(self.command),
            env: env
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            mode: self.mode.map(str::to_owned),
            steering: self.steering,
            terminal: None,
        }
    }

    /// Converts the known agent into the external agent in its own terminal interface, if agent-team can connect to the
    /// interface.
    pub fn in_own_terminal(&self) -> Option<ExternalAgent> {
        let (command, channel) = self.terminal?;
        Some(ExternalAgent {
            name: self.word.to_owned(),
            command: Vec::new(),
            terminal: Some(OwnTerminal {
                command: owned(command),
                channel,
            }),
            ..self.over_acp()
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
        let engines = crate::engine::ENGINES.iter().map(|engine| engine.name);
        let mut words: Vec<_> = engine_words().chain(engines).collect();
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{words:?}");
        for known in EXTERNAL {
            assert!(!known.command.is_empty() && !known.unasked.is_empty());
            assert_eq!(known.terminal.is_some(), known.acp_word.is_some());
        }
    }

    #[test]
    fn a_word_selects_the_agents_interface_if_it_exists() {
        let claude = selected("claude").unwrap();
        assert_eq!(claude.terminal.unwrap().command, ["claude"]);
        let acp = selected("claude-acp").unwrap();
        assert_eq!(
            (acp.command, acp.terminal),
            (vec!["claude-agent-acp".to_owned()], None)
        );
        let gemini = selected("gemini").unwrap();
        assert_eq!((&*gemini.command[0], gemini.terminal), ("gemini", None));
        assert_eq!(selected("gemini-acp"), None);
    }

    #[test]
    fn messages_join_the_turns_of_these_agents() {
        let words_with = |joins: Option<bool>| -> Vec<_> {
            let has = |word: &&str| joins_turn(&selected(word).unwrap()) == joins;
            engine_words().filter(has).collect()
        };
        let joining = [
            "claude",
            "claude-acp",
            "codex",
            "codex-acp",
            "opencode",
            "opencode-acp",
            "qwen",
            "qwen-acp",
        ];
        assert_eq!(words_with(Some(true)), joining);
        assert_eq!(words_with(Some(false)), ["gemini", "copilot", "kimi"]);
        assert_eq!(words_with(None), ["goose", "cursor"]);
        let unknown = ExternalAgent {
            command: vec!["./claude".to_owned()],
            ..selected("claude-acp").unwrap()
        };
        assert_eq!(joins_turn(&unknown), None);
    }

    #[test]
    fn the_documentation_has_the_commands_that_install_and_log_in() {
        let page = include_str!("../../../docs/clis.md");
        for word in engine_words() {
            let known = known(word).unwrap();
            let commands = known.login.map(str::to_owned);
            for command in commands.into_iter().chain(known.install_command(word)) {
                assert!(page.contains(&format!("`{command}`")), "{command}");
            }
        }
    }

    #[test]
    fn a_known_name_with_another_command_is_not_known() {
        let claude = selected("claude-acp").unwrap();
        assert!(known_agent(&claude).is_some());
        let other = ExternalAgent {
            command: vec!["./claude".to_owned()],
            ..claude
        };
        assert!(known_agent(&other).is_none());
        let mut own = selected("claude").unwrap();
        assert_eq!(
            unasked(Engine::External, Some(&own)),
            Some(UNASKED_WITH_CLAUDE_HOOKS)
        );
        let codex = known("codex").unwrap();
        assert_eq!(
            unasked(Engine::External, codex.in_own_terminal().as_ref()),
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
    fn variables_that_configure_an_agent_are_recognised() {
        for variable in [
            "ANTHROPIC_BASE_URL",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
            "CLAUDECODE",
            "CLAUDE_CONFIG_DIR",
            "CODEX_HOME",
            "GEMINI_CLI_TRUST_WORKSPACE",
            "GH_TOKEN",
            "KIMI_BASE_URL",
            "OPENAI_HOST",
            "OPENCODE_PERMISSION",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "QWEN_CODE_SYSTEM_SETTINGS_PATH",
        ] {
            assert!(configures_agent(variable), "{variable}");
        }
        for variable in ["ANTHROPIC_MODEL", "AWS_REGION", "LOG_LEVEL", "MODEL"] {
            assert!(!configures_agent(variable), "{variable}");
        }
        let of_agents = EXTERNAL.iter().flat_map(|known| known.env);
        for (variable, _) in of_agents {
            assert!(configures_agent(variable), "{variable}");
        }
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
