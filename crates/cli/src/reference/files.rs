//! The page of files and environment variables. The paths come from `directories.rs`.

use std::path::PathBuf;

use agent_team_file::{DIRECTORY, FILE};
use agent_team_system::directories::{Directories, HOME_VARIABLE};

use super::cell::cell;

const TEAM: &str = "<team-id>";

/// The variables that the user may set, besides the variables of model providers.
const VARIABLES: [(&str, &str); 6] = [
    (
        HOME_VARIABLE,
        "An absolute path: moves STATE, RUN and CONFIG to its directories `state`, `run` and `config`.",
    ),
    (
        "AGENT_TEAM_LOG",
        "The level of the supervisor's log: `debug` adds connections, requests, commits and launches. Also makes each \
         worker write a trace beside its log.",
    ),
    (
        "AGENT_TEAM_THEME",
        "Colours: `auto` (default), `dark`, `light` or `none`.",
    ),
    (
        "AGENT_TEAM_NOTIFY",
        "`off`: no bell and no desktop notification. `bell`: only the bell.",
    ),
    (
        "AGENT_TEAM_REPLAY_SPEED",
        "Characters per second of a recording.",
    ),
    ("NO_COLOR", "Turns off colours if it is set and not empty."),
];

pub(super) fn page() -> String {
    let all = Directories {
        state: "STATE".into(),
        run: "RUN".into(),
        config: "CONFIG".into(),
    };
    let [overrides, granted, trusted] = all.of_user_for(TEAM);
    let project = PathBuf::from(DIRECTORY);
    let rows: Vec<(PathBuf, &str)> = vec![
        (project.join(FILE), "the team file of the project"),
        (project.join("roles/*.md"), "role files of the project"),
        (
            project.join("notes/*.md"),
            "notes of the project: `agent-team notes`",
        ),
        (
            all.settings_file(),
            "your settings for every team: see [config.md](config.md)",
        ),
        (
            all.config.join("models.toml"),
            "your catalogue of models, written by `agent-team models update`",
        ),
        (all.config.join("roles/*.md"), "your role files"),
        (all.config.join("notes/*.md"), "your notes for all projects"),
        (
            overrides,
            "your settings for one team, written by `agent-team config set`",
        ),
        (granted, "the rules that you allowed `always` for one team"),
        (
            trusted,
            "the lines of a project's files that you trusted, with their digests",
        ),
        (
            all.supervisor_lock(),
            "the lock of the running supervisor; contains the path of its socket",
        ),
        (
            all.supervisor_log(),
            "the log of the supervisor: `agent-team supervisor logs`",
        ),
        (
            all.team(TEAM).join("team.db"),
            "the journal of one team: board, messages, requests, conversations",
        ),
        (
            all.team(TEAM).join("log"),
            "the output of the members: `agent-team logs`",
        ),
        (all.team(TEAM).join("notes/*.md"), "notes of one team"),
        (
            all.typed_file(TEAM),
            "what you typed at the prompts of one team; shell lines are in `typed-lines` beside it",
        ),
        (all.socket(), "the socket of the supervisor"),
        (
            all.tmux_socket(),
            "the socket of agent-team's own tmux server",
        ),
        (
            all.host_socket(TEAM),
            "the socket of the process that hosts members of one team",
        ),
        (
            all.mcp_socket(TEAM),
            "the socket of the process that hosts the shared MCP servers of one team",
        ),
        (
            all.launch_file("<launch-id>"),
            "the token and the environment of a worker that starts; the worker removes it",
        ),
        (
            all.environment_file(TEAM),
            "the environment that a team was started with; `down` removes it",
        ),
    ];
    let files: String = rows
        .iter()
        .map(|(path, what)| format!("| `{}` | {} |\n", path.display(), cell(what)))
        .collect();
    let variables: String = VARIABLES
        .iter()
        .map(|(name, what)| format!("| `{name}` | {} |\n", cell(what)))
        .collect();
    format!(
        "# Where files are\n\n\
         | directory | default | with `{HOME_VARIABLE}` |\n|---|---|---|\n\
         | STATE | `$XDG_STATE_HOME/agent-team`, else `~/.local/state/agent-team` | `${HOME_VARIABLE}/state` |\n\
         | RUN | `$XDG_RUNTIME_DIR/agent-team`, else `agent-team-<uid>` in the directory of temporary files | `${HOME_VARIABLE}/run` |\n\
         | CONFIG | `$XDG_CONFIG_HOME/agent-team`, else `~/.config/agent-team` | `${HOME_VARIABLE}/config` |\n\n\
         STATE and RUN are accessible only to you (mode 0700): agent-team refuses a directory that other users \
         can access. STATE survives a reboot; RUN may be lost. A socket whose path is too long for the system is in `/tmp/agent-team-<uid>` instead.\n\n\
         `<team-id>` is the name of the team and a digest of its project directory; `agent-team team list` prints it. \
         `agent-team team delete` removes the files of a team.\n\n\
         | file | content |\n|---|---|\n{files}\n\
         ## Environment variables\n\n| variable | meaning |\n|---|---|\n{variables}"
    )
}

#[test]
fn each_file_is_in_a_directory_of_the_installation() {
    let page = page();
    for path in [
        "STATE/teams/<team-id>/team.db",
        "RUN/supervisor.sock",
        "CONFIG/config.toml",
    ] {
        assert!(page.contains(&format!("| `{path}` |")), "{path}");
    }
}
