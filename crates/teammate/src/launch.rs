//! Takes the launch file, which defines a worker, and derives directories and environments from the file. At most one
//! process can take a launch file. Called first, by `lib.rs` and `hosted`.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use agent_team_protocol::external::{KnownAgent, known_agent};
use agent_team_protocol::launch::{LAUNCH_MARKER, LaunchFile};
use agent_team_providers::holds_key;
use agent_team_system::directories::Directories;
use agent_team_system::private_file;

use crate::env_allowlist::is_allowed;

/// The environment variable with the member's name, for its programs.
const MEMBER_VARIABLE: &str = "AGENT_TEAM_MEMBER";

/// The environment variable with the team's id, for its programs.
pub(crate) const TEAM_VARIABLE: &str = "AGENT_TEAM_TEAM";

/// Variables that the member's programs must not inherit: they describe another terminal or name another launch.
const NOT_PASSED_ON: [&str; 6] = [
    "TERM",
    "COLUMNS",
    "LINES",
    "TMUX",
    "TMUX_PANE",
    LAUNCH_MARKER,
];

/// The terminal type of a pty without a pane.
const DEFAULT_TERM: &str = "xterm-256color";

#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeLaunchError {
    /// Another process has taken the launch, or the supervisor has withdrawn it.
    #[error("{} does not exist: another process took the launch, or it was withdrawn", .0.display())]
    Taken(PathBuf),
    #[error("cannot take the launch file")]
    Io(#[from] io::Error),
    #[error("{} is not a launch file of this version", path.display())]
    Malformed {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// Takes the launch: this process becomes the member's only worker.
pub(crate) fn take(path: &Path) -> Result<LaunchFile, TakeLaunchError> {
    let bytes = private_file::take(path)?.ok_or_else(|| TakeLaunchError::Taken(path.to_owned()))?;
    serde_json::from_slice(&bytes).map_err(|source| TakeLaunchError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// The directories of the installation that started this launch, derived from the launch file. The environment of this
/// process may come from a tmux server that was started days ago, so the environment is used only for the configuration
/// directory, and only if the launch file determines none.
pub(crate) fn directories(path: &Path, file: &LaunchFile) -> io::Result<Directories> {
    // The paths are `<run>/launch/<id>` and `<state>/supervisor.lock`.
    let run = path.parent().and_then(Path::parent);
    let (Some(run), Some(state)) = (run, file.supervisor_lock.parent()) else {
        return Err(io::Error::other("the launch file contains no directories"));
    };
    let home = state
        .parent()
        .filter(|home| home.join("state") == state && home.join("run") == run);
    let absolute = |name: &str| {
        let path = PathBuf::from(file.environment.get(name)?);
        path.is_absolute().then_some(path)
    };
    let config = match home {
        Some(home) => home.join("config"),
        None => absolute("XDG_CONFIG_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".config")))
            .map(|config| config.join("agent-team"))
            .map_or_else(
                || {
                    Ok(Directories::from_environment()
                        .map_err(io::Error::other)?
                        .config)
                },
                Ok::<_, io::Error>,
            )?,
    };
    Ok(Directories {
        state: state.to_owned(),
        run: run.to_owned(),
        config,
    })
}

/// The complete environment of the member's programs. A provider's key is only for the model, unless the user made the
/// key a secret for the tools as well. An agent's programs receive a variable of the user only if the allow-list or the
/// configuration names it. Another vendor's agent also receives the variables that it reads, among them its keys.
pub(crate) fn child_environment(
    file: &LaunchFile,
    term: Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let own = [
        ("TERM", term.unwrap_or_else(|| DEFAULT_TERM.into())),
        (LAUNCH_MARKER, file.launch.as_str().into()),
        (MEMBER_VARIABLE, file.member.as_str().into()),
        (TEAM_VARIABLE, file.team.as_str().into()),
    ];
    let passed_on =
        |name: &str| !NOT_PASSED_ON.contains(&name) && !own.iter().any(|(ours, _)| *ours == name);
    let is_secret = |name: &str| file.secrets.contains_key(name);
    let is_external = file.engine.is_external();
    let known = file.agent.external.as_ref().and_then(known_agent);
    let reads = |name: &str| known.is_some_and(|known| known.reads(name, holds_key(name)));
    let is_given = |name: &str| {
        !(file.engine.uses_model() || is_external)
            || is_allowed(name)
            || file.named.contains(name)
            || (is_external && reads(name))
    };
    // Another vendor's agent calls its own model, even as a terminal program.
    let calls_model = is_external || file.engine.shows_program();
    let is_kept = |name: &str| calls_model || !holds_key(name);
    let variables = file
        .environment
        .iter()
        .filter(|(name, _)| is_given(name) && is_kept(name) && !is_secret(name));
    let given = variables
        .chain(&file.secrets)
        .filter(|(name, _)| passed_on(name))
        .map(|(name, value)| (name.into(), value.into()));
    given
        .chain(own.iter().map(|(name, value)| (name.into(), value.clone())))
        .collect()
}

/// The variables of this process that a known agent receives if its user starts it without a team.
pub(crate) fn variables_of_agent(
    known: &KnownAgent,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let is_given = |name: &str| is_allowed(name) || known.reads(name, holds_key(name));
    variables
        .filter(|(name, _)| name.to_str().is_some_and(is_given))
        .collect()
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::engine::Engine;
    use std::collections::{BTreeMap, BTreeSet};

    use agent_team_protocol::external::selected;
    use agent_team_protocol::id::LaunchId;
    use agent_team_protocol::spec::{AgentSpec, ExternalAgent};
    use agent_team_protocol::{TeamId, TeamName};

    use super::*;

    fn launch_file(home: &Path, environment: &[(&str, &str)]) -> LaunchFile {
        let team: TeamName = "demo".parse().unwrap();
        LaunchFile {
            supervisor_lock: home.join("state/supervisor.lock"),
            team: TeamId::new(&team, "/project".as_ref()),
            member: "ada".parse().unwrap(),
            launch: LaunchId::from_bits(7),
            token: "secret".into(),
            cwd: "/".into(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect::<BTreeMap<String, String>>(),
            named: BTreeSet::new(),
            secrets: BTreeMap::new(),
            log: home.join("ada.log"),
            engine: Engine::Command,
            role: "worker".parse().unwrap(),
            lead: false,
            project: "/".into(),
            agent: AgentSpec::default(),
            usd_limit: false,
            relaunched: None,
        }
    }

    #[test]
    fn children_get_the_environment_and_their_own_term() {
        let given = [
            ("PATH", "/bin"),
            ("TMUX", "/tmp/x,1,0"),
            ("TERM", "dumb"),
            ("COLUMNS", "200"),
        ];
        let file = launch_file("/home".as_ref(), &given);
        let environment = child_environment(&file, Some("tmux-256color".into()));
        let value = |name: &str| {
            let values: Vec<_> = environment.iter().filter(|(n, _)| n == name).collect();
            assert!(values.len() < 2, "{name} is set twice");
            values
                .first()
                .map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        assert_eq!(value("PATH").as_deref(), Some("/bin"));
        assert_eq!(value("TERM").as_deref(), Some("tmux-256color"));
        assert_eq!(value("TMUX"), None);
        assert_eq!(value("COLUMNS"), None);
        assert_eq!(value(LAUNCH_MARKER).as_deref(), Some(file.launch.as_str()));
        assert_eq!(value(MEMBER_VARIABLE).as_deref(), Some("ada"));
    }

    #[test]
    fn a_model_key_reaches_tools_only_as_a_secret() {
        let given = [
            ("OPENAI_API_KEY", "of the model"),
            ("ANTHROPIC_API_KEY", "of another"),
            ("ANTHROPIC_API_KEY_FILE", "/key"),
            ("TOKEN", "not this one"),
            ("KEPT", "yes"),
        ];
        let mut file = launch_file("/home".as_ref(), &given);
        let secrets = [("OPENAI_API_KEY", "of the tests"), ("TOKEN", "this one")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
        file.secrets = secrets.into();
        let environment = child_environment(&file, None);
        let of = |name: &str| -> Vec<_> {
            let of_it = environment.iter().filter(|(n, _)| n == name);
            of_it.map(|(_, value)| value.to_str().unwrap()).collect()
        };
        assert_eq!(of("OPENAI_API_KEY"), ["of the tests"]);
        assert_eq!(of("TOKEN"), ["this one"]);
        assert_eq!(of("KEPT"), ["yes"]);
        assert!(of("ANTHROPIC_API_KEY").is_empty());
        assert!(of("ANTHROPIC_API_KEY_FILE").is_empty());
    }

    #[test]
    fn agent_tools_get_allowed_and_named_variables() {
        let given = [
            ("PATH", "/bin"),
            ("GITHUB_TOKEN", "of the user"),
            ("DATABASE_URL", "named"),
            ("OPENAI_API_KEY", "named, and also of the model"),
        ];
        let mut file = launch_file("/home".as_ref(), &given);
        file.named = ["DATABASE_URL", "OPENAI_API_KEY"].map(String::from).into();
        let names = |file: &LaunchFile| -> BTreeSet<String> {
            let environment = child_environment(file, None).into_iter();
            let names = environment.map(|(name, _)| name.into_string().unwrap());
            names
                .filter(|name| given.iter().any(|(given, _)| given == name))
                .collect()
        };
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names(&file), of(&["PATH", "GITHUB_TOKEN", "DATABASE_URL"]));
        file.engine = Engine::Native;
        assert_eq!(names(&file), of(&["PATH", "DATABASE_URL"]));
    }

    #[test]
    fn an_external_agent_gets_its_own_keys_and_no_others() {
        let given = [
            ("PATH", "/bin"),
            ("GITHUB_TOKEN", "of the user"),
            ("ANTHROPIC_API_KEY", "of claude"),
            ("CLAUDE_CODE_OAUTH_TOKEN", "of claude"),
            ("CLAUDE_CODE_SSE_PORT", "of another claude"),
            ("CLAUDECODE", "1"),
            ("OPENAI_API_KEY", "of codex"),
            ("NAMED", "yes"),
        ];
        let mut file = launch_file("/home".as_ref(), &given);
        file.engine = Engine::External;
        file.named = ["NAMED".to_owned()].into();
        let mut names = |agent: ExternalAgent| -> Vec<&str> {
            file.agent.external = Some(agent);
            let environment = child_environment(&file, None);
            let has = |name: &str| environment.iter().any(|(found, _)| found == name);
            let names = given.iter().map(|(name, _)| *name);
            names.filter(|name| has(name)).collect()
        };
        let claude = selected("claude-acp").unwrap();
        let expected = [
            "PATH",
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "NAMED",
        ];
        assert_eq!(names(claude.clone()), expected);
        let codex = selected("codex-acp").unwrap();
        assert_eq!(names(codex), ["PATH", "OPENAI_API_KEY", "NAMED"]);
        let opencode = selected("opencode-acp").unwrap();
        let expected = ["PATH", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "NAMED"];
        assert_eq!(names(opencode), expected);
        // This program of the project has the name of a known agent.
        let command = vec!["./claude".to_owned()];
        assert_eq!(
            names(ExternalAgent { command, ..claude }),
            ["PATH", "NAMED"]
        );
    }

    #[test]
    fn a_nested_member_has_its_own_marker() {
        let given = [("AGENT_TEAM_LAUNCH", "other"), ("AGENT_TEAM_MEMBER", "bob")];
        let environment = child_environment(&launch_file("/home".as_ref(), &given), None);
        assert!(
            !environment
                .iter()
                .any(|(_, value)| value == "other" || value == "bob")
        );
    }

    #[test]
    fn directories_come_from_the_launch_file() {
        let file = launch_file("/base".as_ref(), &[]);
        let directories = directories("/base/run/launch/0007".as_ref(), &file).unwrap();
        assert_eq!(directories.config, Path::new("/base/config"));
        assert_eq!(directories.supervisor_lock(), file.supervisor_lock);
        let file = LaunchFile {
            supervisor_lock: "/s/agent-team/supervisor.lock".into(),
            ..launch_file("/base".as_ref(), &[("HOME", "/srv/me")])
        };
        let directories = super::directories("/r/agent-team/launch/0007".as_ref(), &file).unwrap();
        assert_eq!(directories.run, Path::new("/r/agent-team"));
        assert_eq!(directories.config, Path::new("/srv/me/.config/agent-team"));
    }
}
