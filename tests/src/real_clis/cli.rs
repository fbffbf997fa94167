//! The agents: their packages, and the settings with which they reach the scripted model.

use std::fs;

use agent_team_protocol::external;
use serde_json::json;

use crate::Rig;
use crate::fake_model_server::FakeModelServer;

/// An agent of another vendor.
#[derive(Debug)]
pub struct Cli {
    /// The name of its member. The paths of its model begin with it.
    pub word: &'static str,
    /// The value of `engine`, and the tested version. `None`: those of the known agent with this word.
    engine: Option<(&'static str, &'static str)>,
    /// Its package in the npm registry.
    pub package: &'static str,
    /// The file that must exist after the installation.
    pub program: &'static str,
    /// Whether a message joins its turn.
    pub(super) joins: bool,
}

impl Cli {
    /// The tested version of the package.
    ///
    /// # Panics
    /// If the table of external agents names none.
    pub fn version(&self) -> &'static str {
        if let Some((_, version)) = self.engine {
            return version;
        }
        let known = external::known(self.word);
        let tested = known.and_then(|known| known.tested);
        tested.expect("the agent has a tested version")
    }

    /// The packages to install: its own, and the runtime that it needs.
    pub fn packages(&self) -> Vec<String> {
        let mut packages = vec![format!("{}@{}", self.package, self.version())];
        if self.word == "kimi" {
            // Kimi Code needs Node.js 22.19 or later, and finds it beside its own program.
            packages.push("node@24.21.0".to_owned());
        }
        packages
    }
}

/// All agents.
pub const CLIS: &[Cli] = &[
    Cli {
        word: "claude",
        engine: None,
        package: "@agentclientprotocol/claude-agent-acp",
        program: "claude-agent-acp",
        joins: true,
    },
    Cli {
        word: "claude-terminal",
        engine: Some(("{ terminal = \"claude\" }", "2.1.331")),
        package: "@anthropic-ai/claude-code",
        program: "claude",
        joins: true,
    },
    Cli {
        word: "codex",
        engine: None,
        package: "@agentclientprotocol/codex-acp",
        program: "codex-acp",
        joins: true,
    },
    Cli {
        word: "codex-terminal",
        engine: Some(("{ terminal = \"codex\" }", "0.169.0")),
        package: "@openai/codex",
        program: "codex",
        joins: true,
    },
    Cli {
        word: "opencode",
        engine: None,
        package: "opencode-ai",
        program: "opencode",
        joins: true,
    },
    Cli {
        word: "opencode-terminal",
        engine: Some(("{ terminal = \"opencode\" }", "1.18.33")),
        package: "opencode-ai",
        program: "opencode",
        joins: true,
    },
    Cli {
        word: "qwen",
        engine: None,
        package: "@qwen-code/qwen-code",
        program: "qwen",
        joins: true,
    },
    Cli {
        word: "qwen-terminal",
        engine: Some(("{ terminal = \"qwen\" }", "0.24.4")),
        package: "@qwen-code/qwen-code",
        program: "qwen",
        joins: true,
    },
    Cli {
        word: "gemini",
        engine: None,
        package: "@google/gemini-cli",
        program: "gemini",
        joins: false,
    },
    Cli {
        word: "copilot",
        engine: None,
        package: "@github/copilot",
        program: "copilot",
        joins: false,
    },
    Cli {
        word: "kimi",
        engine: None,
        package: "@moonshot-ai/kimi-code",
        program: "kimi",
        joins: false,
    },
];

/// The settings that make Codex use the scripted model.
const CODEX: &str = r#"model = "gpt-5.1"
model_provider = "scripted"
[model_providers.scripted]
name = "Scripted"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
"#;

/// Writes a team of one member for each agent, and the settings of the agents in the empty home.
pub(super) fn write_team(rig: &Rig, clis: &[&Cli], server: &FakeModelServer) {
    let mut team = format!(
        "mode = \"manual\"\n[panes]\nplacement = \"headless\"\n[limits]\nteammates = {}\n",
        clis.len()
    );
    for cli in clis {
        let word = cli.word;
        let engine = cli
            .engine
            .map_or(format!("{word:?}"), |(engine, _)| engine.to_owned());
        team.push_str(&format!(
            "[[member]]\nname = {word:?}\nengine = {engine}\n[member.env]\n"
        ));
        for (name, value) in environment(cli, rig, server) {
            team.push_str(&format!("{name} = {value:?}\n"));
        }
    }
    rig.set_team(&team);
}

/// The variables of a member. Writes the files that the agent reads in addition.
fn environment(cli: &Cli, rig: &Rig, server: &FakeModelServer) -> Vec<(&'static str, String)> {
    let home = rig.root().join("home");
    let root = server.base_url();
    let root = root.trim_end_matches("/v1");
    let (root, versioned) = (
        format!("{root}/{}", cli.word),
        format!("{root}/{}/v1", cli.word),
    );
    let key = || "scripted".to_owned();
    let write = |file: &str, text: &str| {
        let file = home.join(file);
        let directory = file.parent().expect("the file is in the home");
        fs::create_dir_all(directory).expect("the home can be written");
        fs::write(file, text).expect("the home can be written");
    };
    match cli.word {
        "claude" | "claude-terminal" => {
            // The answers to the dialogs of the first start.
            let projects =
                json!({ rig.project().to_string_lossy(): { "hasTrustDialogAccepted": true } });
            let settings = json!({
                "hasCompletedOnboarding": true,
                "projects": projects,
                "customApiKeyResponses": { "approved": [key()], "rejected": [] },
            });
            write(".claude.json", &settings.to_string());
            vec![
                ("ANTHROPIC_BASE_URL", root),
                ("ANTHROPIC_API_KEY", key()),
                ("DISABLE_AUTOUPDATER", "1".to_owned()),
                ("DISABLE_TELEMETRY", "1".to_owned()),
            ]
        }
        "codex" | "codex-terminal" => {
            write(
                &format!("{}/config.toml", cli.word),
                &format!("{CODEX}base_url = {versioned:?}\n"),
            );
            let settings = home.join(cli.word).to_string_lossy().into_owned();
            vec![("CODEX_HOME", settings), ("SCRIPTED_KEY", key())]
        }
        "opencode" | "opencode-terminal" => {
            let model = json!({ "name": "scripted", "tool_call": true,
                "limit": { "context": 200_000, "output": 8_000 } });
            let provider = json!({
                "npm": "@ai-sdk/openai-compatible",
                "name": "Scripted",
                "options": { "baseURL": versioned, "apiKey": "scripted" },
                "models": { "scripted": model },
            });
            let mut settings = json!({
                "model": "scripted/scripted",
                "small_model": "scripted/scripted",
                "provider": { "scripted": provider },
            });
            if cli.word == "opencode-terminal" {
                // Does not apply to the conversation of the member.
                settings["permission"] = json!({ "*": "allow", "bash": "allow" });
            }
            let file = format!(".config/{}.json", cli.word);
            write(&file, &settings.to_string());
            let file = home.join(file).to_string_lossy().into_owned();
            vec![
                ("OPENCODE_CONFIG", file),
                ("OPENCODE_DISABLE_AUTOUPDATE", "1".to_owned()),
                ("OPENCODE_DISABLE_MODELS_FETCH", "1".to_owned()),
            ]
        }
        "qwen" | "qwen-terminal" => vec![
            ("OPENAI_BASE_URL", versioned),
            ("OPENAI_API_KEY", key()),
            ("OPENAI_MODEL", "scripted".to_owned()),
        ],
        "gemini" => vec![
            ("GOOGLE_GEMINI_BASE_URL", root),
            ("GEMINI_API_KEY", key()),
            ("GEMINI_MODEL", "gemini-3-pro".to_owned()),
        ],
        "copilot" => vec![
            ("COPILOT_PROVIDER_BASE_URL", versioned),
            ("COPILOT_PROVIDER_API_KEY", key()),
            ("COPILOT_MODEL", "gpt-5.1".to_owned()),
            ("COPILOT_OFFLINE", "true".to_owned()),
        ],
        "kimi" => vec![
            ("KIMI_MODEL_BASE_URL", versioned),
            ("KIMI_MODEL_API_KEY", key()),
            ("KIMI_MODEL_NAME", "scripted".to_owned()),
        ],
        other => panic!("the agent {other} has no settings"),
    }
}
