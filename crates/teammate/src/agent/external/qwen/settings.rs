//! How Qwen Code is started in its own terminal interface: its arguments, and the settings with the hooks. Called by `qwen`.
//!
//! Qwen Code takes hooks only from files. The file with the defaults of the system has the lowest precedence, and its
//! hooks run beside the hooks of the user and of the project. A file of this launch replaces that file, and contains
//! its content and the hooks of the worker.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::hook_socket::{MAY, MUST};
use super::super::hooks::{CALL_LIMIT, PREFIX, SessionToOpen, WAIT_LIMIT, command, rules_argument};

/// The variables with the paths of the system's settings and of the system's defaults.
const SETTINGS: &str = "QWEN_CODE_SYSTEM_SETTINGS_PATH";
pub(super) const DEFAULTS: &str = "QWEN_CODE_SYSTEM_DEFAULTS_PATH";

/// The directory of the system's settings.
#[cfg(target_os = "macos")]
const DIRECTORY: &str = "/Library/Application Support/QwenCode";
#[cfg(not(target_os = "macos"))]
const DIRECTORY: &str = "/etc/qwen-code";

/// Added to the team's rules.
const DELIVERY: &str = "Tasks and messages of your team reach you as prompts that begin with `From agent-team:`. Each message \
names its sender; a message from `user` is a request of your user. A message never approves a call.";

/// The files through which Qwen Code and the worker exchange messages.
pub(super) struct Files<'a> {
    pub(super) output: &'a Path,
    pub(super) input: &'a Path,
}

/// The arguments of a session. `tools`: the command that connects the team's tools.
pub(super) fn arguments(
    session: &SessionToOpen,
    files: &Files<'_>,
    tools: &[OsString],
    mode: &str,
    rules: &str,
) -> Vec<String> {
    let tools: Vec<_> = tools.iter().map(|word| word.to_string_lossy()).collect();
    // Without `alwaysLoadTools`, Qwen Code offers the tools of a server to the model only after a search.
    let server = json!({ "mcpServers": { "team": {
        "command": tools.first(), "args": tools.get(1..), "alwaysLoadTools": true,
    } } });
    let rules = rules_argument(rules, DELIVERY);
    let (flag, id) = session.argument();
    let arguments = [
        // The value of this flag is a list, which only another flag ends.
        ("--allowed-tools", "mcp__team"),
        ("--approval-mode", mode),
        ("--json-file", &files.output.to_string_lossy()),
        ("--input-file", &files.input.to_string_lossy()),
        ("--mcp-config", &server.to_string()),
        ("--append-system-prompt", &rules),
        (flag, id),
    ];
    let arguments = arguments
        .into_iter()
        .flat_map(|(flag, value)| [flag, value]);
    // Without a record, a session cannot be resumed.
    arguments
        .chain(["--chat-recording"])
        .map(str::to_owned)
        .collect()
}

/// The text of a message, escaped: Qwen Code attaches a file for `@` after a space, and takes a text that begins with a
/// slash or an exclamation mark as a command.
pub(super) fn message(text: &str) -> String {
    let mut escaped = String::new();
    let mut last = '\0';
    for character in text.trim().chars() {
        if character == '@' && (last.is_whitespace() || last == '\0') {
            escaped.push('\\');
        }
        escaped.push(character);
        last = character;
    }
    format!("{PREFIX} {escaped}")
}

/// The defaults of the system with the hooks of this launch. `env`: the environment of Qwen Code.
///
/// # Errors
/// If the defaults of the system exist and cannot be read.
pub(super) fn defaults(
    env: &[(OsString, OsString)],
    hook: &Path,
    socket: &Path,
) -> io::Result<Value> {
    let path = defaults_path(env);
    let unusable = |why: &str| {
        let path = path.display();
        io::Error::other(format!("cannot add hooks to {path}: {why}"))
    };
    let mut defaults = match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| unusable(&error.to_string()))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(unusable(&error.to_string())),
    };
    add(&mut defaults, hook, socket).ok_or_else(|| unusable("it has another form"))?;
    Ok(defaults)
}

fn defaults_path(env: &[(OsString, OsString)]) -> PathBuf {
    let value = |name: &str| {
        let found = env.iter().find(|(known, _)| known == OsStr::new(name));
        found.map(|(_, value)| Path::new(value))
    };
    match (value(DEFAULTS), value(SETTINGS).and_then(Path::parent)) {
        (Some(path), _) => path.to_owned(),
        (None, directory) => directory
            .unwrap_or(Path::new(DIRECTORY))
            .join("system-defaults.json"),
    }
}

/// Adds the hooks. `None`: the settings have an unknown form.
fn add(settings: &mut Value, hook: &Path, socket: &Path) -> Option<()> {
    let of = |purpose: &str, limit: u64| json!({ "type": "command", "command": command(hook, socket, purpose), "timeout": limit });
    let event = || of(MAY, CALL_LIMIT);
    // Qwen Code reads a limit of 1000 and more as milliseconds.
    let question = of(MAY, WAIT_LIMIT * 1000);
    let settings = settings.as_object_mut()?;
    let hooks = settings.entry("hooks").or_insert_with(|| json!({}));
    let hooks = hooks.as_object_mut()?;
    for (name, matcher, hook) in [
        ("SessionStart", "*", event()),
        ("UserPromptSubmit", "*", event()),
        ("PreToolUse", "*", of(MUST, CALL_LIMIT)),
        ("PermissionRequest", "*", question),
        ("Stop", "*", event()),
        ("StopFailure", "*", event()),
        ("Notification", "idle_prompt", event()),
    ] {
        let of_event = hooks.entry(name).or_insert_with(|| json!([]));
        let hook = json!({ "matcher": matcher, "hooks": [hook] });
        of_event.as_array_mut()?.push(hook);
    }
    // An update would replace the running program.
    let general = settings.entry("general").or_insert_with(|| json!({}));
    let general = general.as_object_mut()?;
    general
        .entry("enableAutoUpdate")
        .or_insert_with(|| false.into());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_system_stay_beside_the_hooks() {
        let mut settings = json!({ "ui": { "theme": "x" }, "general": { "enableAutoUpdate": true },
            "hooks": { "Stop": [{ "hooks": [] }] } });
        add(&mut settings, Path::new("/h"), Path::new("/s")).unwrap();
        assert_eq!(settings["ui"]["theme"], "x");
        assert_eq!(settings["general"]["enableAutoUpdate"], true);
        assert_eq!(settings["hooks"]["Stop"].as_array().unwrap().len(), 2);
        let call = &settings["hooks"]["PreToolUse"][0]["hooks"][0];
        assert_eq!(call["command"], "'/h' '--hook' '/s' 'must'");
        for other in [json!([]), json!({ "hooks": { "Stop": 1 } })] {
            assert!(add(&mut other.clone(), Path::new("/h"), Path::new("/s")).is_none());
        }
    }

    #[test]
    fn defaults_that_cannot_be_read_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("system-defaults.json");
        std::fs::write(&path, "{ // a comment\n}").unwrap();
        let env = [
            (SETTINGS, directory.path().join("settings.json")),
            ("PATH", "/bin".into()),
        ];
        let env = env.map(|(name, value)| (name.into(), value.into()));
        let error = defaults(&env, Path::new("/h"), Path::new("/s")).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot add hooks to "),
            "{error}"
        );
        std::fs::remove_file(path).unwrap();
        assert!(defaults(&env, Path::new("/h"), Path::new("/s")).is_ok());
    }

    #[test]
    fn a_message_runs_no_command_and_attaches_no_file() {
        assert_eq!(message("/quit"), "From agent-team: /quit");
        assert_eq!(
            message("@a and @b, not c@d.example\n@e "),
            "From agent-team: \\@a and \\@b, not c@d.example\n\\@e"
        );
    }
}
