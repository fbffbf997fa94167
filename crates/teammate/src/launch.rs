//! What this worker is, from its launch file: taken once, by one process. Called by `lib.rs` first of all.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use agent_team_protocol::launch::{LAUNCH_MARKER, LaunchFile};
use agent_team_protocol::model::holds_key;
use agent_team_protocol::spec::Engine;
use agent_team_system::directories::Directories;
use agent_team_system::private_file;

use crate::usual::is_usual;

/// Names the member to what runs for her.
const MEMBER_VARIABLE: &str = "AGENT_TEAM_MEMBER";

/// Names her team's id to what runs for her.
const TEAM_VARIABLE: &str = "AGENT_TEAM_TEAM";

/// Says what the caller's terminal was, or is about another terminal than the task's own.
const NOT_PASSED_ON: [&str; 6] = [
    "TERM",
    "COLUMNS",
    "LINES",
    "TMUX",
    "TMUX_PANE",
    LAUNCH_MARKER,
];

/// What a pty is to programs when no pane says otherwise.
const DEFAULT_TERM: &str = "xterm-256color";

#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeLaunchError {
    /// Another process owns the launch, or the supervisor has withdrawn it.
    #[error("{} is not there: its launch was taken by another process, or withdrawn", .0.display())]
    Taken(PathBuf),
    #[error("cannot take the launch file")]
    Io(#[from] io::Error),
    #[error("{} is not a launch file of this version", path.display())]
    Malformed {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// Takes the launch: from here on this process, and no other, is the member's worker.
pub(crate) fn take(path: &Path) -> Result<LaunchFile, TakeLaunchError> {
    let bytes = private_file::take(path)?.ok_or_else(|| TakeLaunchError::Taken(path.to_owned()))?;
    serde_json::from_slice(&bytes).map_err(|source| TakeLaunchError::Malformed {
        path: path.to_owned(),
        source,
    })
}

/// The directories of the installation that launched us. Our own environment is not asked: it is that of a tmux server
/// that somebody may have started days ago.
pub(crate) fn directories(path: &Path, file: &LaunchFile) -> io::Result<Directories> {
    // `<run>/launch/<id>` and `<state>/supervisor.lock`.
    let run = path.parent().and_then(Path::parent);
    let (Some(run), Some(state)) = (run, file.supervisor_lock.parent()) else {
        return Err(io::Error::other("the launch file names no directories"));
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

/// The whole environment of everything that runs for this member. A provider's key is its model's alone, unless the
/// person has made it a secret for the tools too. What an agent runs is given no more of the person's than is usual, or
/// was named.
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
    let is_given =
        |name: &str| file.engine != Engine::Native || is_usual(name) || file.named.contains(name);
    let variables = file
        .environment
        .iter()
        .filter(|(name, _)| is_given(name) && !holds_key(name) && !is_secret(name));
    let given = variables
        .chain(&file.secrets)
        .filter(|(name, _)| passed_on(name))
        .map(|(name, value)| (name.into(), value.into()));
    given
        .chain(own.iter().map(|(name, value)| (name.into(), value.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use agent_team_protocol::id::LaunchId;
    use agent_team_protocol::spec::AgentSpec;
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
        }
    }

    #[test]
    fn children_get_the_given_environment_and_their_own_terminal() {
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
            assert!(values.len() < 2, "{name} is there twice");
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
    fn a_models_key_is_no_tools_unless_it_is_made_a_secret() {
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
    fn an_agents_tools_are_given_what_is_usual_and_what_was_named() {
        let given = [
            ("PATH", "/bin"),
            ("GITHUB_TOKEN", "of the person"),
            ("DATABASE_URL", "named"),
            ("OPENAI_API_KEY", "named, and of the model all the same"),
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
    fn a_member_started_by_another_members_task_is_marked_as_itself() {
        let given = [("AGENT_TEAM_LAUNCH", "other"), ("AGENT_TEAM_MEMBER", "bob")];
        let environment = child_environment(&launch_file("/home".as_ref(), &given), None);
        assert!(
            !environment
                .iter()
                .any(|(_, value)| value == "other" || value == "bob")
        );
    }

    #[test]
    fn the_directories_are_those_of_who_launched_us() {
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
