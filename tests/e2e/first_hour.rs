//! The first hour of a user, in five settings: a team of commands, agents that play the demo's recording, a machine
//! without tmux, the user's own tmux, and pipes. Commands are typed into a shell on a real terminal, or run in pipes;
//! each test checks what the user reads.

use std::fs;
use std::path::Path;
use std::time::Duration;

use agent_team_protocol::view::{MemberState, MemberView, TaskState};
use agent_team_system::process::Signal;
use agent_team_tests::tmux::Tmux;
use agent_team_tests::{LIMIT, Rig, tmux, until};

use crate::demo;
use crate::requests::there_is_a_sandbox;

/// The prompt of the shell.
const PROMPT: &str = "ready>";

/// How often the screen of the terminal is read: a terminal sends no event when it changes.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The rule of `cargo xtask tidy` that refuses translated idiom, and gendered pronouns for members.
const WORDS: &str = include_str!("../../xtask/src/tidy/words.rs");

/// Words that a comment may contain, but no screen may show.
const TRANSLATED: [&str; 4] = ["hears", "tells", "stands", "is ended"];

/// The phrases that no screen may show.
fn refused() -> Vec<&'static str> {
    let (_, list) = WORDS.split_once("const REFUSED").expect("the list");
    let (list, _) = list.split_once("];").expect("its end");
    let phrases: Vec<&str> = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once('"'))
        .map(|(phrase, _)| phrase)
        .collect();
    assert!(phrases.len() > 20, "{phrases:?}");
    phrases
}

/// Asserts that a screen or an output contains no refused phrase.
#[track_caller]
fn assert_plain_words(shown: &str) {
    let words: Vec<String> = shown
        .to_lowercase()
        .split(|c: char| !c.is_alphabetic() && c != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let text = format!(" {} ", words.join(" "));
    for phrase in refused().into_iter().chain(TRANSLATED) {
        assert!(
            !text.contains(&format!(" {phrase} ")),
            "{phrase:?} in:\n{shown}"
        );
    }
}

/// The place in which the user's shell runs.
#[derive(Debug, Clone, Copy)]
enum Surroundings {
    /// The shell runs on a terminal; tmux is installed.
    Plain,
    /// The shell runs in a pane of the user's own tmux.
    OwnTmux,
    /// The shell runs on a terminal of a machine without tmux.
    NoTmux,
}

/// A shell on an 80×24 terminal, in the project. The terminal is a pane of a tmux server, but only with
/// [`Surroundings::OwnTmux`] does the shell's environment contain `TMUX`.
struct Shell {
    tmux: Tmux,
}

impl Shell {
    async fn start(rig: &Rig, surroundings: Surroundings) -> Self {
        let mut script = String::new();
        for (name, value) in rig.command(&[]).as_std().get_envs() {
            let value = value.expect("a variable is set").to_str().expect("text");
            let name = name.to_str().expect("text");
            script.push_str(&format!("export {name}='{value}'\n"));
        }
        let (programs, path) = (programs(rig), path());
        script.push_str(&format!(
            "export PATH='{programs}:{path}' PS1='{PROMPT} '\ncd '{}'\n",
            rig.project().display()
        ));
        let begin = match surroundings {
            Surroundings::Plain => "unset TMUX TMUX_PANE\nexec sh -i\n".to_owned(),
            Surroundings::OwnTmux => "exec sh -i\n".to_owned(),
            Surroundings::NoTmux => {
                format!("unset TMUX TMUX_PANE\nexec unshare -rm sh -c '{HIDE_TMUX}exec sh -i'\n")
            }
        };
        script.push_str(&begin);
        let file = rig.root().join("shell");
        fs::write(&file, script).expect("the file can be written");
        let tmux = rig.users_tmux();
        let file = file.to_str().expect("text");
        tmux.ask([
            "new-session",
            "-d",
            "-s",
            "own",
            "-x",
            "80",
            "-y",
            "24",
            "sh",
            file,
        ])
        .await;
        tmux.ask(["set-option", "-g", "default-terminal", "tmux-256color"])
            .await;
        let shell = Self { tmux };
        shell.shows(PROMPT).await;
        shell
    }

    /// The content of the terminal at this moment.
    async fn screen(&self) -> String {
        self.tmux
            .ask(["capture-pane", "-p", "-J", "-t", "%0"])
            .await
    }

    /// Waits until the terminal shows all of these texts at the same time.
    async fn shows_all(&self, texts: &[&str]) -> String {
        let mut shown = String::new();
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        let waited = tokio::time::timeout(LIMIT, async {
            while shown.is_empty() || !texts.iter().all(|text| shown.contains(text)) {
                ticks.tick().await;
                shown = self.screen().await;
            }
        });
        let is_shown = waited.await.is_ok();
        assert!(is_shown, "{texts:?} are not all shown:\n{shown}");
        assert_plain_words(&shown);
        for line in shown.lines() {
            assert!(!line.starts_with("{\""), "JSON on a screen:\n{shown}");
        }
        shown
    }

    async fn shows(&self, text: &str) -> String {
        self.shows_all(&[text]).await
    }

    /// Closes the terminal, and waits until no process of the rig is left.
    async fn end(self, rig: &Rig) {
        self.tmux.ask(["kill-server"]).await;
        rig.until_all_have_ended().await;
    }

    async fn press(&self, keys: &[&str]) {
        for key in keys {
            self.tmux.ask(["send-keys", "-t", "%0", key]).await;
        }
    }

    async fn type_in(&self, text: &str) {
        self.tmux.ask(["send-keys", "-l", "-t", "%0", text]).await;
    }

    /// Enters a line on a cleared screen. tmux clears the screen at once: until the shell runs `clear`, the output of
    /// the previous line would be taken for the output of this one.
    async fn enter(&self, line: &str) {
        self.tmux.ask(["send-keys", "-R", "-t", "%0"]).await;
        self.tmux.ask(["clear-history", "-t", "%0"]).await;
        self.type_in(&format!("clear; {line}")).await;
        self.press(&["Enter"]).await;
    }

    /// Enters a line and waits until these texts and the next prompt are shown.
    async fn run(&self, line: &str, texts: &[&str]) -> String {
        self.enter(&format!("{line}; echo \"exit $?.\"")).await;
        let mut all = texts.to_vec();
        all.push(PROMPT);
        if !texts.iter().any(|text| text.starts_with("exit ")) {
            all.push("exit 0.");
        }
        self.shows_all(&all).await
    }
}

/// The directory of the programs.
fn programs(rig: &Rig) -> String {
    let program = rig.binary("agent-team");
    let directory = program.parent().expect("a directory");
    directory.to_str().expect("text").to_owned()
}

fn path() -> String {
    std::env::var("PATH").expect("PATH is set")
}

/// The project of a new user: a Makefile, and no trust in any team file.
fn with_makefile() -> Rig {
    let mut rig = Rig::new();
    rig.trust_nothing();
    rig.write(
        "Makefile",
        "all:\n\t@echo built it\ncheck:\n\t@echo checked it\n",
    );
    rig
}

/// Shell lines that hide every program named tmux. They need a mount namespace of their own.
const HIDE_TMUX: &str = "\
for tmux in /usr/local/bin/tmux /opt/homebrew/bin/tmux /usr/bin/tmux /bin/tmux; do
    test ! -e $tmux || mount --bind /dev/null $tmux || exit 99
done
";

/// Whether a test can hide tmux here; prints a note if not.
async fn tmux_can_be_hidden(rig: &Rig) -> bool {
    let line = format!("unshare -rm sh -c '{HIDE_TMUX}'");
    let can = rig.shell(&line).await.code == 0;
    if !can {
        eprintln!("skipped: tmux cannot be hidden here");
    }
    can
}

/// Waits until the client of the team's tmux takes keys: keys that arrive within a millisecond of attaching are pasted
/// text for tmux.
async fn until_attached(rig: &Rig) {
    let team = rig.tmux();
    until("a client to be attached", async || {
        let clients = team.run(["list-clients"]).await;
        (!clients.stdout.is_empty()).then_some(())
    })
    .await;
}

/// Waits until the tasks of the Makefile template are completed: the output of `ps` shows only one moment.
async fn until_both_are_completed(rig: &Rig) {
    for id in ["T-1", "T-2"] {
        rig.until_task_is(id, TaskState::Completed).await;
    }
}

fn is_unchanged(project: &Path) -> bool {
    !project.join(".agent-team").exists()
}

#[tokio::test]
async fn a_first_hour_with_a_team_of_commands() {
    if !tmux::is_here() {
        return;
    }
    let rig = with_makefile();
    let shell = Shell::start(&rig, Surroundings::Plain).await;

    let down = ["error: ", "agent-team up", "exit 3."];
    shell.run("agent-team ps", &down).await;
    shell
        .run(
            "agent-team upp",
            &["a similar subcommand exists: 'up'", "exit 2."],
        )
        .await;
    assert!(is_unchanged(&rig.project()));
    let wrote = ["team.toml from the template make", "agent-team up"];
    shell.run("agent-team init", &wrote).await;

    shell.enter("agent-team up").await;
    let panes = [
        "ada",
        "grace",
        "built it",
        "checked it",
        "✓2",
        "^B d detach",
    ];
    shell.shows_all(&panes).await;
    until_attached(&rig).await;
    shell.press(&["C-b", "d"]).await;
    shell
        .shows("return: agent-team attach, stop: agent-team down")
        .await;

    let ps = shell.run("agent-team ps", &["2 completed", "○ idle"]).await;
    assert!(ps.contains("T-1") && ps.contains("T-2"), "{ps}");
    shell
        .run(
            "agent-team task add 'Say it' --run 'echo said it'",
            &["T-3"],
        )
        .await;
    shell
        .run(
            "agent-team task wait T-3 2>&1 || true; agent-team logs --tail 9",
            &["said it"],
        )
        .await;
    shell.run("agent-team logs adda", &["ada", "exit 3."]).await;

    shell.enter("agent-team attach").await;
    shell.shows_all(&["said it", "✓3"]).await;
    until_attached(&rig).await;
    shell.press(&["C-b", "d"]).await;
    shell.shows("stop: agent-team down").await;
    shell.run("agent-team down", &["ended", "closed"]).await;
    shell.run("agent-team ps", &["the team is down"]).await;
    shell.end(&rig).await;
}

/// Selects the pane of a member in the team's own tmux.
async fn go_to(rig: &Rig, member: &str) {
    let pane = rig.member(member).await.pane.expect("a pane");
    let tmux = rig.tmux();
    tmux.ask(["select-window", "-t", &pane]).await;
    tmux.ask(["select-pane", "-t", &pane]).await;
}

#[tokio::test]
async fn a_first_hour_with_agents_that_play_the_recording() {
    if !tmux::is_here() || !there_is_a_sandbox().await {
        return;
    }
    let mut rig = demo::sample();
    // At this speed, ben is killed in the middle of its task.
    rig.set("AGENT_TEAM_REPLAY_SPEED", "1000");
    let shell = Shell::start(&rig, Surroundings::Plain).await;
    shell
        .enter(&format!("agent-team up '{}'", demo::goal()))
        .await;
    // The team file allows calls without a decision.
    shell.shows_all(&["allow", "Edit(src/**)", "[y/N]"]).await;
    shell.type_in("y").await;
    shell.press(&["Enter"]).await;
    let works = |ben: &MemberView| ben.state == MemberState::Working && ben.task.is_some();
    let killed = rig.until_member("ben", works).await;
    let worker = rig.worker("ben").await;
    worker.signal(Signal::SIGKILL).expect("the worker runs");
    rig.until_member("ben", |ben| ben.pid.is_some() && ben.pid != killed.pid)
        .await;

    rig.until_member("cleo", |cleo| cleo.asks_user.is_some())
        .await;
    go_to(&rig, "cleo").await;
    shell
        .shows_all(&["alphabetical", "answer.)", "waiting · asks you"])
        .await;
    shell.type_in("yes").await;
    shell.press(&["Enter"]).await;
    rig.until_member("cleo", |cleo| cleo.asks_user.is_none())
        .await;

    rig.until_member("dora", |dora| dora.requests > 0).await;
    go_to(&rig, "dora").await;
    shell.shows_all(&["README.md", "once"]).await;
    // A key counts only after a pause without keys.
    let mut ticks = tokio::time::interval(Duration::from_millis(600));
    while rig.member("dora").await.requests > 0 {
        ticks.tick().await;
        shell.type_in("y").await;
    }
    go_to(&rig, "lead").await;
    shell.shows("✓ Done in").await;
    shell.press(&["C-b", "d"]).await;
    shell.shows("agent-team down").await;
    shell
        .run("agent-team ps", &["✓ R-1 Done in", "3 tasks"])
        .await;
    shell.run("agent-team audit", &["README.md"]).await;
    shell.run("agent-team down", &["ended"]).await;
    assert!(
        rig.read("src/lib.rs")
            .expect("the file exists")
            .contains("pub fn top")
    );
    shell.end(&rig).await;
}

#[tokio::test]
async fn a_first_hour_on_a_machine_without_tmux() {
    if !tmux::is_here() {
        return;
    }
    let rig = with_makefile();
    if !tmux_can_be_hidden(&rig).await {
        return;
    }
    let shell = Shell::start(&rig, Surroundings::NoTmux).await;
    shell.run("agent-team init", &["team.toml"]).await;
    shell.enter("agent-team up").await;
    shell.shows_all(&["━━ ada (worker) ━━", "ada ▸"]).await;
    shell.press(&["Tab"]).await;
    shell.shows("grace ▸").await;
    until_both_are_completed(&rig).await;
    shell.type_in("/ps").await;
    shell.press(&["Enter"]).await;
    shell.shows_all(&["2 completed", "hosted"]).await;
    shell.press(&["C-c"]).await;
    shell.press(&["C-c"]).await;
    shell.shows("agent-team attach").await;
    shell.run("agent-team ps", &["hosted", "○ idle"]).await;
    shell
        .run(
            "agent-team panes reopen ada",
            &["error: ", "no terminal", "exit 4."],
        )
        .await;
    shell.enter("agent-team attach").await;
    shell.shows("ada ▸").await;
    shell.press(&["C-c", "C-c"]).await;
    shell.shows(PROMPT).await;
    shell.run("agent-team down", &["ended"]).await;
    shell.end(&rig).await;
}

#[tokio::test]
async fn a_first_hour_inside_the_users_own_tmux() {
    if !tmux::is_here() {
        return;
    }
    let rig = with_makefile();
    let shell = Shell::start(&rig, Surroundings::OwnTmux).await;
    let socket = shell.tmux.socket().to_str().expect("text");
    // Attach a client, as for a user who looks at this tmux.
    let client = ["-c", &format!("exec tmux -S '{socket}' attach")];
    let _terminal = rig.program_on_terminal(Path::new("/bin/sh"), &client);
    until("the user's client", async || {
        let clients = shell.tmux.ask(["list-clients"]).await;
        (!clients.is_empty()).then_some(())
    })
    .await;
    shell.run("agent-team init", &["team.toml"]).await;
    shell.enter("agent-team up").await;
    let active = async || {
        let format = "#{window_name} #{@agent_team_member}";
        shell
            .tmux
            .ask(["display-message", "-p", "-t", "own:", format])
            .await
    };
    until("the team's window to be the active one", async || {
        active().await.contains("ada").then_some(())
    })
    .await;
    let panes = shell.tmux.panes("#{@agent_team_member}").await;
    assert_eq!(panes.iter().filter(|member| !member.is_empty()).count(), 2);
    until_both_are_completed(&rig).await;
    let window = until("the panes to show both tasks", async || {
        let panes = shell.tmux.panes("#{?@agent_team_member,#{pane_id},}").await;
        let mut window = String::new();
        for pane in panes.iter().filter(|pane| !pane.is_empty()) {
            let capture = ["capture-pane", "-p", "-J", "-t", pane];
            window += &shell.tmux.ask(capture).await;
        }
        let ends = ["✓ T-1 completed in", "✓ T-2 completed in"];
        let shows_all = ends.iter().all(|end| window.contains(end));
        shows_all.then_some(window)
    })
    .await;
    assert_plain_words(&window);
    shell.tmux.ask(["select-window", "-t", "own:0"]).await;
    shell.run("agent-team ps", &["2 completed"]).await;
    shell.run("agent-team down", &["ended", "closed"]).await;
    assert_eq!(shell.tmux.panes("#{pane_id}").await, ["%0"]);
    shell.end(&rig).await;
}

#[tokio::test]
async fn a_first_hour_through_pipes() {
    let mut rig = with_makefile();
    rig.set("PATH", format!("{}:{}", programs(&rig), path()));
    let plain = async |line: &str| {
        let output = rig.shell(line).await;
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains('\x1b'), "an escape sequence: {text:?}");
            assert_plain_words(text);
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(
                longest <= Some(200),
                "a line of {longest:?} columns: {text}"
            );
        }
        output
    };
    let none = plain("agent-team ps").await;
    assert_eq!(none.code, 3, "{none:?}");
    assert!(none.stderr.contains("agent-team up"), "{none:?}");
    let wrote = plain("agent-team init | cat").await;
    assert!(wrote.stdout.contains("team.toml"), "{wrote:?}");
    let up = plain("agent-team up --wait --panes headless")
        .await
        .expect(0);
    assert!(
        up.stdout.contains("built it") && up.stdout.contains("checked it"),
        "{up:?}"
    );
    let ps = plain("agent-team ps | cat").await;
    assert!(ps.stdout.contains("2 completed"), "{ps:?}");
    let states = plain("agent-team task list --json | cat").await;
    assert_eq!(
        states.stdout.matches("\"completed\"").count(),
        2,
        "{states:?}"
    );
    let error = plain("agent-team task show T-9").await;
    assert_eq!(error.code, 3, "{error:?}");
    assert!(error.stderr.starts_with("error: "), "{error:?}");
    let down = plain("agent-team down | cat").await;
    assert!(down.stdout.contains("ended"), "{down:?}");
    assert_eq!(rig.processes(), []);
}
