//! The agents: their packages, and the settings with which they reach the scripted model.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use agent_team_protocol::external;
use agent_team_protocol::text::shell_quoted;
use serde_json::json;

use crate::Rig;
use crate::fake_model_server::FakeModelServer;

/// An agent of another vendor.
#[derive(Debug)]
pub struct Cli {
    /// The word for `engine`, which is also the name of the agent's member. The paths of the agent's model begin with
    /// this word.
    pub word: &'static str,
    /// The file that must exist after the installation.
    pub program: &'static str,
    /// Whether a message joins the agent's turn.
    pub(super) joins: bool,
}

impl Cli {
    /// The tested version of the package.
    ///
    /// # Panics
    /// If the table of external agents contains no tested version.
    pub fn version(&self) -> &'static str {
        let known = external::known(self.word);
        let own = known.filter(|known| known.word == self.word);
        let own = own
            .and_then(|known| known.terminal_tested)
            .map(|[_, last]| last);
        let tested = own.or_else(|| known?.tested);
        tested.expect("the agent has a tested version")
    }

    /// The agent's package in the npm registry.
    ///
    /// # Panics
    /// If the table of external agents contains no package.
    pub fn package(&self) -> &'static str {
        let package = external::known(self.word).and_then(|known| known.package_of(self.word));
        package.expect("the agent has a package")
    }

    /// The packages to install: the agent's own package, and the runtime that the agent needs.
    pub fn packages(&self) -> Vec<String> {
        let mut packages = vec![format!("{}@{}", self.package(), self.version())];
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
        word: "claude-acp",
        program: "claude-agent-acp",
        joins: true,
    },
    Cli {
        word: "claude",
        program: "claude",
        joins: true,
    },
    Cli {
        word: "codex-acp",
        program: "codex-acp",
        joins: true,
    },
    Cli {
        word: "codex",
        program: "codex",
        joins: true,
    },
    Cli {
        word: "opencode-acp",
        program: "opencode",
        joins: true,
    },
    Cli {
        word: "opencode",
        program: "opencode",
        joins: true,
    },
    Cli {
        word: "qwen-acp",
        program: "qwen",
        joins: true,
    },
    Cli {
        word: "qwen",
        program: "qwen",
        joins: true,
    },
    Cli {
        word: "gemini",
        program: "gemini",
        joins: false,
    },
    Cli {
        word: "copilot",
        program: "copilot",
        joins: false,
    },
    Cli {
        word: "kimi",
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

/// Starts the next program of the same name in `PATH`, with the variables of the member. A team file cannot set them.
const LAUNCHER: &str = r#"#!/bin/sh
here=${0%/*}
if [ -f "$here/env/${AGENT_TEAM_MEMBER-}" ]; then . "$here/env/$AGENT_TEAM_MEMBER"; fi
PATH=${PATH#"$here":} exec "${0##*/}" "$@"
"#;

/// Writes a team of one member for each agent, and the settings of the agents in the empty home. Returns the directory
/// of the programs that start the agents, for the beginning of `PATH`.
pub(super) fn write_team(rig: &Rig, clis: &[&Cli], server: &FakeModelServer) -> PathBuf {
    let launchers = rig.root().join("launchers");
    let variables = launchers.join("env");
    fs::create_dir_all(&variables).expect("the directory can be written");
    let mut team = format!(
        "mode = \"manual\"\n[panes]\nplacement = \"headless\"\n[limits]\nteammates = {}\n",
        clis.len()
    );
    for cli in clis {
        let word = cli.word;
        team.push_str(&format!("[[member]]\nname = {word:?}\nengine = {word:?}\n"));
        let lines = environment(cli, rig, server).into_iter();
        let lines = lines.map(|(name, value)| format!("export {name}={}\n", shell_quoted(&value)));
        let lines: String = lines.collect();
        fs::write(variables.join(word), lines).expect("the directory can be written");
        let launcher = launchers.join(cli.program);
        fs::write(&launcher, LAUNCHER).expect("the directory can be written");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(launcher, executable).expect("the mode can be set");
    }
    rig.set_team(&team);
    launchers
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
        "claude" | "claude-acp" => {
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
        "codex" | "codex-acp" => {
            write(
                &format!("{}/config.toml", cli.word),
                &format!("{CODEX}base_url = {versioned:?}\n"),
            );
            let settings = home.join(cli.word).to_string_lossy().into_owned();
            vec![("CODEX_HOME", settings), ("SCRIPTED_KEY", key())]
        }
        "opencode" | "opencode-acp" => {
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
            if cli.word == "opencode" {
                // This setting does not apply to the conversation of the member.
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
        "qwen" | "qwen-acp" => vec![
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
