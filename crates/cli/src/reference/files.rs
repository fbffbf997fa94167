//! Generates `docs/reference/files.md`: the files and the environment variables. Called by `super`. Most paths come
//! from `Directories` of `agent_team_system`.

use std::path::PathBuf;

use agent_team_file::{DIRECTORY, FILE};
use agent_team_system::directories::{Directories, HOME_VARIABLE};

use super::cell::cell;

const TEAM: &str = "<team-id>";

/// The variables that the user may set, besides the variables of model providers.
const VARIABLES: [(&str, &str); 6] = [
    (
        HOME_VARIABLE,
        "The absolute path of a directory. STATE, RUN and CONFIG are then its subdirectories `state`, `run` and \
         `config`.",
    ),
    (
        "AGENT_TEAM_LOG",
        "The level of the supervisor's log: `debug` adds connections, requests, commits and launches. If \
         the variable is set, each worker also writes a trace beside its log.",
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
        "The speed at which a recording of a model (`replay:FILE`) is played, in characters per second. If the \
         variable is not set, each answer of the model appears at once.",
    ),
    ("NO_COLOR", "Turns off colours if it is set and not empty."),
];

pub(super) fn page() -> String {
    let directories = Directories {
        state: "STATE".into(),
        run: "RUN".into(),
        config: "CONFIG".into(),
    };
    let [overrides, granted, trusted] = directories.user_files(TEAM);
    let project = PathBuf::from(DIRECTORY);
    let rows: Vec<(PathBuf, &str)> = vec![
        (project.join(FILE), "the team file of the project"),
        (project.join("roles/*.md"), "role files of the project"),
        (
            project.join("notes/*.md"),
            "notes of the project: `agent-team notes`",
        ),
        (
            directories.settings_file(),
            "your settings for every team: see [config.md](config.md)",
        ),
        (
            directories.config.join("models.toml"),
            "your catalogue of models, written by `agent-team models update`",
        ),
        (directories.config.join("roles/*.md"), "your role files"),
        (
            directories.config.join("notes/*.md"),
            "your notes for all projects",
        ),
        (
            overrides,
            "your settings for one team, written by `agent-team config set`",
        ),
        (
            granted,
            "the rules that your decisions with scope `always` created for one team",
        ),
        (
            trusted,
            "the lines of a project's files that you trusted, with their digests",
        ),
        (
            directories.supervisor_lock(),
            "the lock of the running supervisor; contains the path of its socket",
        ),
        (
            directories.supervisor_log(),
            "the log of the supervisor: `agent-team supervisor logs`",
        ),
        (
            directories.team(TEAM).join("team.db"),
            "the journal of one team: board, messages, requests, conversations",
        ),
        (
            directories.team(TEAM).join("log"),
            "the output of the members: `agent-team logs`",
        ),
        (
            directories.team(TEAM).join("notes/*.md"),
            "notes of one team",
        ),
        (
            directories.typed_file(TEAM),
            "the text that you typed at the prompts of one team; shell lines are in the file `typed-lines` beside this file",
        ),
        (directories.socket(), "the socket of the supervisor"),
        (
            directories.tmux_socket(),
            "the socket of agent-team's own tmux server",
        ),
        (
            directories.host_socket(TEAM),
            "the socket of the process that hosts members of one team",
        ),
        (
            directories.mcp_socket(TEAM),
            "the socket of the MCP host, the process that runs the shared MCP servers of one team",
        ),
        (
            directories.launch_file("<launch-id>"),
            "the token and the environment of a worker that is starting; the worker removes this file",
        ),
        (
            directories.environment_file(TEAM),
            "the environment with which a team was started; `down` removes this file",
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
        "# Files and environment variables\n\n\
         | directory | default | with `{HOME_VARIABLE}` |\n|---|---|---|\n\
         | STATE | `$XDG_STATE_HOME/agent-team`, else `~/.local/state/agent-team` | `${HOME_VARIABLE}/state` |\n\
         | RUN | `$XDG_RUNTIME_DIR/agent-team`, else `agent-team-<uid>` in the temporary directory (`$TMPDIR`, else `/tmp`) | `${HOME_VARIABLE}/run` |\n\
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
fn the_page_lists_files_of_each_directory() {
    let page = page();
    for path in [
        "STATE/teams/<team-id>/team.db",
        "RUN/supervisor.sock",
        "CONFIG/config.toml",
    ] {
        assert!(page.contains(&format!("| `{path}` |")), "{path}");
    }
}
