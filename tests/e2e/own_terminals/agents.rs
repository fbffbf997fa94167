//! The table of the agents in their own terminal interfaces, and a team of one of them.

use std::collections::HashSet;

use agent_team_system::process::ProcessId;
use agent_team_tests::{Rig, until};
use tempfile::TempDir;

use crate::external::installed;

pub(crate) struct Agent {
    /// The word of the agent's engine, which is also the name of its program.
    pub(crate) word: &'static str,
    pub(crate) name: &'static str,
    pub(crate) fake: &'static str,
    /// The beginning of the variables of its fake.
    pub(crate) variables: &'static str,
    /// The ending of the files of its conversations.
    ending: &'static str,
    /// The version of its fake, and the tested versions.
    pub(crate) version: &'static str,
    pub(crate) tested: &'static str,
    /// The number of its processes.
    pub(crate) processes: usize,
    /// The tokens that it reports for a task.
    pub(crate) tokens: u64,
    /// The text of its dialog, and the keys that allow and deny.
    pub(crate) dialog: &'static str,
    pub(crate) allows: &'static str,
    pub(crate) denies: &'static str,
    /// Its answer to `ping`.
    pub(crate) pong: &'static str,
    /// Its text about a denied call.
    pub(crate) denied: &'static str,
    /// The reason of a denial reaches the agent in the same turn.
    pub(crate) takes_reason: bool,
    /// The agent opens no session before its dialogs at the start are answered.
    pub(crate) waits_for_dialogs: bool,
    /// The end of the variable with which its fake opens no session.
    pub(crate) silent: &'static str,
    /// The fields of its messages without which the worker cannot follow the agent.
    pub(crate) fields: &'static [&'static str],
    /// Its other program, which speaks the Agent Client Protocol.
    pub(crate) adapter: Option<&'static str>,
}

pub(crate) const CLAUDE: Agent = Agent {
    word: "claude",
    name: "Claude Code",
    fake: env!("CARGO_BIN_EXE_fake_claude"),
    variables: "FAKE_CLAUDE",
    ending: ".jsonl",
    version: "2.1.331",
    tested: "2.1.330 to 2.1.331",
    processes: 1,
    tokens: 0,
    dialog: "Do you want to proceed?",
    allows: "1",
    denies: "2",
    pong: "pong in mode default",
    denied: "denied: Not permitted",
    takes_reason: true,
    waits_for_dialogs: true,
    silent: "DIALOG",
    fields: &["hook_event_name", "prompt", "tool_name", "tool_use_id"],
    adapter: Some("claude-agent-acp"),
};

pub(crate) const CODEX: Agent = Agent {
    word: "codex",
    name: "Codex",
    fake: env!("CARGO_BIN_EXE_fake_codex"),
    variables: "FAKE_CODEX",
    ending: ".rollout",
    version: "0.169.0",
    tested: "0.169.0",
    processes: 2,
    tokens: 110,
    dialog: "Yes (y), No (esc)",
    allows: "y",
    denies: "Escape",
    pong: "pong with readOnly, on-request",
    denied: "rejected by user",
    takes_reason: false,
    waits_for_dialogs: false,
    silent: "MUTE",
    fields: &["threadId", "turn", "item"],
    adapter: Some("codex-acp"),
};

pub(crate) const OPENCODE: Agent = Agent {
    word: "opencode",
    name: "OpenCode",
    fake: env!("CARGO_BIN_EXE_fake_opencode"),
    variables: "FAKE_OPENCODE",
    ending: ".session",
    version: "1.18.33",
    tested: "1.18.33",
    processes: 2,
    tokens: 110,
    dialog: "Permission required",
    allows: "y",
    denies: "Escape",
    pong: "pong with ask and the rules",
    denied: "with the following feedback",
    takes_reason: true,
    waits_for_dialogs: false,
    silent: "MUTE",
    fields: &["permission"],
    adapter: None,
};

pub(crate) const QWEN: Agent = Agent {
    word: "qwen",
    name: "Qwen Code",
    fake: env!("CARGO_BIN_EXE_fake_qwen"),
    variables: "FAKE_QWEN",
    ending: ".jsonl",
    version: "0.24.4",
    tested: "0.24.4",
    processes: 1,
    tokens: 220,
    dialog: "Do you want to proceed?",
    allows: "1",
    denies: "2",
    pong: "pong in mode default",
    denied: "denied: Not permitted",
    takes_reason: true,
    waits_for_dialogs: true,
    silent: "DIALOG",
    fields: &["hook_event_name", "prompt", "tool_name", "request_id"],
    adapter: None,
};

impl Agent {
    /// The engine of its members.
    pub(crate) fn engine(&self) -> String {
        format!("{:?}", self.word)
    }
}

/// The bytes that the terminal sends for a key of tmux.
pub(crate) fn typed(key: &'static str) -> &'static str {
    match key {
        "Escape" => "\x1b",
        key => key,
    }
}

/// A team of the member ada, whose agent is a fake.
pub(crate) struct Team {
    pub(crate) rig: Rig,
    pub(crate) programs: TempDir,
    agent: &'static Agent,
}

impl Team {
    /// Creates a team whose file ends with these lines.
    pub(crate) fn new(agent: &'static Agent, placement: &str, lines: &str) -> Self {
        Self::with(agent, placement, "", lines)
    }

    /// Creates a team with more variables in `env` of the member: `NAME = "value", `.
    pub(crate) fn with(agent: &'static Agent, placement: &str, env: &str, lines: &str) -> Self {
        Self::of(agent, placement, &agent.engine(), env, lines)
    }

    /// Creates a team with another engine.
    pub(crate) fn of(
        agent: &'static Agent,
        placement: &str,
        engine: &str,
        env: &str,
        lines: &str,
    ) -> Self {
        let (mut rig, programs) = installed(&["claude-agent-acp"]);
        let link = programs.path().join(agent.word);
        std::os::unix::fs::symlink(agent.fake, link).expect("a link");
        let (sessions, beginning) = (programs.path(), agent.variables);
        rig.set_team(&format!(
            "mode = \"manual\"\n[panes]\nplacement = \"{placement}\"\n[[member]]\nname = \"ada\"\nengine = {engine}\n\
             env = {{ {env}{beginning}_SESSIONS = {sessions:?}, FAKE_ACP_SESSIONS = {sessions:?} }}\n{lines}"
        ));
        // A team can be started inside an agent. The variables of this agent must reach no other agent.
        rig.set("CLAUDECODE", "1");
        Self {
            rig,
            programs,
            agent,
        }
    }

    /// Starts the team; returns ada's pane, once it shows the interface.
    pub(crate) async fn pane(&self) -> String {
        self.pane_after(["up", "--detach"]).await
    }

    /// Starts the team with this command; returns ada's pane, once it shows the interface.
    pub(crate) async fn pane_after<const N: usize>(&self, up: [&str; N]) -> String {
        self.rig.ok(up).await;
        let (_, pane) = self.rig.until_in_pane("ada").await;
        let tmux = self.rig.tmux();
        tmux.until_shown(&pane, "Welcome to the fake").await;
        pane
    }

    pub(crate) async fn until_asked(&self) {
        self.rig.until_member("ada", |ada| ada.requests > 0).await;
    }

    pub(crate) async fn until_nothing_asked(&self) {
        self.rig.until_member("ada", |ada| ada.requests == 0).await;
    }

    /// Waits until the agent has answered this often to `ping`.
    pub(crate) async fn until_pongs(&self, count: usize) {
        until("the answer", async || {
            let logs = self.rig.ok(["logs", "ada"]).await.stdout;
            (logs.matches("pong").count() == count).then_some(())
        })
        .await;
    }

    /// The processes of the fake whose command line contains this word. A child that a fake has forked has the command
    /// line of the fake until it executes its own program; such a child does not count.
    pub(crate) fn fakes(&self, word: &str) -> Vec<ProcessId> {
        let fake = format!("fake_{}", self.agent.word);
        let fakes = self.rig.processes().into_iter().filter(|found| {
            [self.agent.word, &fake].contains(&&*found.program) && found.command.contains(word)
        });
        let mut fakes: Vec<_> = fakes.collect();
        fakes.sort_by_key(|found| (found.process.start_time, found.process.pid));
        let mut commands = HashSet::new();
        fakes.retain(|found| commands.insert(found.command.clone()));
        fakes.into_iter().map(|found| found.process).collect()
    }

    /// The number of conversations that were stored.
    pub(crate) fn conversations(&self) -> usize {
        self.conversation_files().len()
    }

    /// The files of the conversations.
    pub(crate) fn conversation_files(&self) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(self.programs.path()).expect("a directory");
        let files = files.flatten().map(|file| file.path());
        files
            .filter(|path| path.to_string_lossy().ends_with(self.agent.ending))
            .collect()
    }

    /// The files that the worker has created for the agent.
    pub(crate) fn files(&self) -> Vec<std::path::PathBuf> {
        let socket = self.rig.directories().hook_socket("x");
        let directory = socket.parent().expect("a directory");
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let files = files.filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with("hook-") || name.starts_with("files-")
        });
        files.map(|file| file.path()).collect()
    }
}
