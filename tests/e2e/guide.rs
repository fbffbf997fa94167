//! Runs the commands of README.md and of the user guide, so that a wrong command fails a test.
//!
//! Indented blocks, and blocks fenced as `sh`, contain shell lines, which run in order. A line `$ …` shows a command,
//! and the lines below it are its output. Invisible comments before a block describe its world:
//! - `<!-- test: WORLD -->` begins a new world, one of [`World`]; a block without a comment continues in the world of
//!   the previous block
//! - `<!-- test: WORLD, each -->` runs each line of the block in a world of its own
//! - `<!-- test: not run, REASON -->` leaves the block out; [`NOT_RUN`] counts these blocks
//!
//! A command within a sentence is only parsed: `--help` is appended to it. Settings in TOML are also only parsed.

mod page;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use agent_team_file::Reading;
use agent_team_llm::catalogue::Catalogue;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};
use agent_team_tests::{Output, Rig, tmux, until};
use agent_team_tools::confine::Settings;
use serde_json::{Value, json};

use self::page::{Block, BlockWorld, World, commands, names, page};
use crate::requests::there_is_a_sandbox;

/// The number of blocks in all pages that are not run.
const NOT_RUN: usize = 10;

/// The models of the guide. The lead answers the goal about the build at once; for the goal about input validation it
/// adds a task that never ends.
fn reply(request: &Request) -> Reply {
    let new = request.messages().iter().rev();
    let new = new.take_while(|message| message["role"] != "assistant");
    let new_text = new.map(Value::to_string).collect::<String>();
    let is_lead = request.tools().iter().any(|tool| tool == "finish");
    let is_asked = |words: &str| new_text.contains(words);
    match request.model() {
        "ada" if is_asked("Go on") => {
            Reply::call("bash", json!({"command": "cargo test -p parser"}))
        }
        _ if is_lead && is_asked("Why does the build fail?") => {
            Reply::call("finish", json!({"answer": "A semicolon is missing."}))
        }
        // Match this first: one request can contain both the notice of a cancellation and the goal.
        _ if is_lead && is_asked("is cancelled") => Reply::text("I stop."),
        _ if is_lead && is_asked("Add input validation") => Reply::call(
            "create_task",
            json!({"title": "Validate", "for": "worker-1"}),
        ),
        _ if !is_lead && is_asked("Validate") => Reply::hang(),
        _ => Reply::text("I see."),
    }
}

const COMMANDS: &str = "\
[defaults]
engine = \"command\"
[[member]]
name = \"ada\"
[[member]]
name = \"ben\"
";

const AGENTS: &str = "\
name = \"demo\"
mode = \"lead\"
[panes]
placement = \"tmux\"
[lead]
model = \"openai/lead\"
[[member]]
name = \"ada\"
engine = \"native\"
model = \"openai/ada\"
";

/// A world, with the server of its models.
struct Scene {
    rig: Rig,
    _server: FakeModelServer,
}

impl Scene {
    async fn new(world: World, file: Option<&str>) -> Self {
        let server = FakeModelServer::start(reply).await;
        let mut rig = Rig::new();
        rig.set("OPENAI_BASE_URL", server.base_url());
        rig.set("OPENAI_API_KEY", "a-key-of-no-use");
        // Teams without a file use their default model, which needs these variables.
        rig.set("ANTHROPIC_BASE_URL", server.base_url());
        rig.set("ANTHROPIC_API_KEY", "a-key-of-no-use");
        let programs = rig.root().join("programs");
        std::fs::create_dir(&programs).unwrap();
        std::os::unix::fs::symlink("/bin/true", programs.join("notify-send")).unwrap();
        let gate = rig.root().join("gate");
        rig.shell(&format!("mkfifo '{}'", gate.display()))
            .await
            .expect(0);
        let cargo = format!("#!/bin/sh\ncat '{}' 2>/dev/null\nexit 0\n", gate.display());
        write_program(&programs.join("cargo"), &cargo);
        let ours = rig.binary("agent-team");
        let ours = ours.parent().expect("a directory").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path);
        let path = [programs, ours].into_iter().chain(path);
        rig.set("PATH", std::env::join_paths(path).unwrap());
        rig.shell("mkdir web scripts && git init --quiet")
            .await
            .expect(0);
        write_program(
            &rig.project().join("scripts/check.sh"),
            "#!/bin/sh\ncat > /dev/null\n",
        );
        match world {
            World::Project => {}
            World::File => {
                rig.set_team(file.expect("the page shows a team file"));
                // The rig stores the user's trust in the file before it runs `up`.
                rig.ok(["up", "--dry-run"]).await;
            }
            World::Team => {
                rig.set_team(file.unwrap_or(COMMANDS));
                rig.ok(["up", "--detach"]).await;
            }
            World::Request => {
                rig.set_team(AGENTS);
                rig.ok(["up", "--detach"]).await;
                rig.ok(["send", "ada", "Go on"]).await;
                rig.until_member("ada", |ada| ada.requests > 0).await;
            }
        }
        Self {
            rig,
            _server: server,
        }
    }

    /// Ends the running tasks. They run the fake `cargo`, which imitates a long build: it waits until this call.
    fn end_tasks(&self) {
        let (gate, opened) = (self.rig.root().join("gate"), self.rig.root().join("opened"));
        if std::fs::rename(gate, &opened).is_ok() {
            // Opening the pipe for reading and writing does not wait for a reader.
            let both = std::fs::File::options().read(true).write(true).open(opened);
            drop(both.unwrap());
        }
    }
}

fn write_program(path: &Path, script: &str) {
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// tmux's prefix, then `d`: the keys that detach a client.
const DETACH: &str = "\u{2}d";
const INTERRUPT: &str = "\u{3}";

/// Runs a shell line as a user does, on a terminal if the line needs one. Types the key that leaves a command which
/// does not exit by itself. Returns the output.
async fn run(rig: &Rig, line: &str, at: &str) -> String {
    let code = line.split(" # ").next().unwrap_or(line);
    let words: Vec<&str> = code.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    let attaches = match words.get(1) {
        Some(&"attach") => true,
        Some(&"next") => !rig.ok(["next", "--print"]).await.stdout.is_empty(),
        Some(&"up") => !has("--wait") && !has("--dry-run"),
        _ => false,
    };
    let terminal = || rig.program_on_terminal("/bin/sh".as_ref(), &["-c", line]);
    if attaches {
        let mut screen = terminal();
        let attached = until(line, async || {
            let clients = rig.tmux().run(["list-clients"]).await;
            (!clients.stdout.is_empty()).then_some(())
        });
        tokio::select! {
            () = attached => {}
            // Panics with the shown text if the command exits first.
            () = screen.until("error: ") => panic!("{at}: {line}: {}", screen.seen()),
        }
        screen.type_in(DETACH).await;
        let (code, seen) = screen.end().await;
        assert_eq!(code, 0, "{at}: {line}: {seen}");
        return seen;
    }
    let (shows, leave) = match words[..] {
        [_, "top", ..] => ("MEMBER", "q"),
        [_, "requests", "watch", ..] => ("P-1", INTERRUPT),
        [_, "logs", member, "-f", ..] => {
            rig.ok(["send", member, "a line of the log"]).await;
            ("a line of the log", INTERRUPT)
        }
        _ => {
            let Output {
                code,
                stdout,
                stderr,
                ..
            } = rig.shell(line).await;
            assert_eq!(code, 0, "{at}: {line}\n{stdout}{stderr}");
            return stdout;
        }
    };
    let mut screen = terminal();
    screen.until(shows).await;
    screen.type_in(leave).await;
    let (code, seen) = screen.end().await;
    assert!(code == 0 || leave == INTERRUPT, "{at}: {line}: {seen}");
    seen
}

/// Replaces each age by the same value, because ages depend on the speed of the machine.
fn ageless(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for at in 2..words.len() {
        if words[at].trim_end().starts_with("ago") && ["s", "ms", "min"].contains(&words[at - 1]) {
            (words[at - 2], words[at - 1]) = ("N", "s");
        }
    }
    words.join(" ")
}

async fn run_page(name: &str) {
    if !tmux::is_here() || !there_is_a_sandbox().await {
        return;
    }
    let mut scene: Option<Scene> = None;
    for block in page(name).blocks {
        let (at, file) = (&block.at, block.file.as_deref());
        match block.world {
            BlockWorld::NotRun => continue,
            BlockWorld::New(world) => scene = Some(Scene::new(world, file).await),
            BlockWorld::Same | BlockWorld::Each(_) => {}
        }
        for (line, output) in commands(&block.lines) {
            if let BlockWorld::Each(world) = block.world {
                scene = Some(Scene::new(world, file).await);
            }
            let scene = scene.as_ref();
            let scene = scene.unwrap_or_else(|| panic!("{at}: no comment names a world"));
            if line.contains(" --wait") || line.contains(" task wait ") {
                scene.end_tasks();
            }
            let printed = run(&scene.rig, line, at).await;
            if let Some(output) = output {
                assert_eq!(ageless(&printed), ageless(&output), "{at}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn the_commands_of_the_readme_run() {
    run_page("README.md").await;
}

#[tokio::test]
async fn the_commands_about_agents_run() {
    run_page("docs/guide/agents.md").await;
}

#[tokio::test]
async fn the_commands_about_panes_run() {
    run_page("docs/guide/panes.md").await;
}

#[tokio::test]
async fn the_commands_about_permissions_run() {
    run_page("docs/guide/permissions.md").await;
}

#[tokio::test]
async fn the_commands_about_the_team_file_run() {
    run_page("docs/guide/team-file.md").await;
}

#[test]
fn every_page_with_commands_is_run() {
    let here = include_str!("guide.rs");
    let mut left_out = 0;
    for name in names() {
        let (not_run, run): (Vec<Block>, Vec<Block>) = page(&name)
            .blocks
            .into_iter()
            .partition(|block| block.world == BlockWorld::NotRun);
        left_out += not_run.len();
        let is_run = here.contains(&format!("run_page(\"{name}\")"));
        assert_eq!(is_run, !run.is_empty(), "{name}");
    }
    assert_eq!(left_out, NOT_RUN, "blocks that no test runs");
}

/// Inline code that begins like a command but is not parsed, and the reason.
const NOT_PARSED: [(&str, &str); 5] = [
    (
        "/task add Fix the parser",
        "in a pane, words need no quotes",
    ),
    ("agent-team help", "its argument is a verb"),
    ("agent-team mcp", "it is not supported yet"),
    ("kill -9", "it is the command of the shell"),
    ("requests watch --exec", "its value is left out"),
];

#[tokio::test]
async fn commands_within_sentences_parse() {
    let rig = Rig::new();
    let help = rig.ok(["help"]).await.stdout;
    let verbs: Vec<&str> = help
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let ours = rig.binary("agent-team");
    let mut checked = 0;
    for name in names() {
        for code in page(&name).inline {
            let is_ours = code.starts_with("agent-team ");
            let line = code.strip_prefix("agent-team ").unwrap_or(&code);
            let line = line.strip_prefix('/').unwrap_or(line);
            let verb = line.split(' ').next().unwrap_or_default();
            // `mode = "lead"` is a setting.
            let is_setting = line.contains(" = ");
            let is_command = is_ours || verbs.contains(&verb) && line.contains(' ') && !is_setting;
            let is_exempt = NOT_PARSED.iter().any(|(exempt, _)| *exempt == code);
            if !is_command || is_exempt {
                continue;
            }
            let (line, rest) = line.split_once(" -- ").unwrap_or((line, ""));
            let line = format!("'{}' {line} --help -- {rest}", ours.display());
            let parsed = rig.shell(&line).await;
            assert_eq!(parsed.code, 0, "{name}: `{code}`: {}", parsed.stderr);
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} commands were found");
}

/// Parses settings as the program does: tables that only `config.toml` can have, or a team file.
fn read_settings(text: &str, directory: &Path) -> Result<(), String> {
    let config = directory.join("config.toml");
    std::fs::write(&config, text).unwrap();
    match text.split(['.', ']']).next() {
        Some("[models") => Catalogue::with(&config)
            .map(drop)
            .map_err(|error| error.to_string()),
        Some("[sandbox") => Settings::read(&config)
            .map(drop)
            .map_err(|error| error.to_string()),
        _ => {
            let reading = Reading {
                here: directory,
                settings: None,
                variables: None,
                overrides: None,
            };
            agent_team_file::of_text(text, directory, reading)
                .map(drop)
                .map_err(|faults| format!("{faults:?}"))
        }
    }
}

#[test]
fn the_settings_of_the_guide_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let blocks = names().into_iter().flat_map(|name| page(&name).toml);
    let faults: Vec<String> = blocks
        .filter_map(|(at, text)| {
            let fault = read_settings(&text, directory.path()).err()?;
            Some(format!("{at}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn the_settings_for_tmux_are_accepted() {
    if !tmux::is_here() {
        return;
    }
    let rig = Rig::new();
    let tmux = rig.users_tmux();
    tmux.ask(["new-session", "-d", "cat"]).await;
    for block in names().iter().flat_map(|name| page(name).tmux) {
        rig.write("tmux.conf", &block);
        let file = rig.project().join("tmux.conf");
        tmux.ask(["source-file", file.to_str().unwrap()]).await;
        let keys = tmux.ask(["list-keys", "-T", "prefix", "N"]).await;
        assert!(keys.contains("agent-team next"), "{keys}");
    }
}
