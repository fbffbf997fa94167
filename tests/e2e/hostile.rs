//! Names, titles, directories and messages with deceptive or executable text: the output for the user is harmless, and
//! no command in the text runs.

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, tmux};

use crate::teams::{file, task};

/// Text that could fool a shell, tmux, a terminal or a user. Each command in the text would create a file `x…`.
const HOSTILE: &str = "#(touch x1);`touch x2`$(touch x3)'; touch x4; '\"; touch x5; \"\n touch x6 \n\
     \u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r#{pane_id}#[fg=red]\u{202e}gpj.exe\u{200b}\u{feff}\\;|&>x7<";

/// Characters that must not reach a terminal raw.
const RAW: [&str; 8] = [
    "\u{1b}", "\u{7}", "\u{9b}", "\r", "\u{202e}", "\u{200b}", "\u{feff}", "\u{8}",
];

fn assert_harmless(what: &str, text: &str) {
    for raw in RAW {
        assert!(!text.contains(raw), "{what} has {raw:?}: {text:?}");
    }
}

/// Asserts that no command in the texts was run.
fn assert_nothing_ran(rig: &Rig) {
    let directories = [
        rig.project(),
        rig.root().to_owned(),
        rig.root().join("home"),
    ];
    for directory in directories {
        for entry in std::fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap_or_default();
            assert!(!name.starts_with('x'), "{name} was made");
        }
    }
}

async fn with_hostile_texts(placement: &str) -> Rig {
    let title = toml_string(HOSTILE);
    let tasks = format!(
        "[[task]]\ntitle = {title}\nkey = \"k\"\ndescription = {title}\nlabels = [{title}]\nrun = \"cat hostile\"\n{}",
        task("Plain", "true", "after = [\"k\"]")
    );
    let rig = Rig::with_team(&file(&["ada"], placement, "ready", &tasks));
    rig.write("hostile", HOSTILE);
    rig.run(["up", "--wait", "--env", "ODD=#(touch x8)"])
        .await
        .expect(0);
    rig.run_with(["send", "ada", "-"], HOSTILE).await.expect(0);
    rig.until_member("ada", |ada| ada.unread == 0).await;
    rig
}

fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

#[tokio::test]
async fn verbs_show_hostile_texts_harmlessly() {
    let rig = with_hostile_texts("headless").await;
    let verbs: [&[&str]; 14] = [
        &["logs", "ada"],
        &["ps"],
        &["top", "--once"],
        &["task", "list"],
        &["task", "show", "T-1"],
        &["task", "graph"],
        &["task", "graph", "--dot"],
        &["messages"],
        &["messages", "ada"],
        &["events"],
        &["why", "ada"],
        &["team", "show"],
        &["supervisor", "status"],
        &["up", "--dry-run"],
    ];
    for verb in verbs {
        let mut command = rig.command(verb);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{verb:?}");
        assert_harmless(&verb.join(" "), &String::from_utf8(output.stdout).unwrap());
        assert_harmless(&verb.join(" "), &String::from_utf8(output.stderr).unwrap());
    }
    // JSON output contains the text unchanged.
    let task = rig.json(["task", "show", "T-1"]).await;
    assert_eq!(task["title"], HOSTILE);
    let messages = rig.json(["messages", "ada"]).await;
    let texts: Vec<_> = messages["messages"].as_array().unwrap().iter().collect();
    assert!(texts.iter().any(|message| message["text"] == HOSTILE));
    assert_nothing_ran(&rig);
}

#[tokio::test]
async fn a_hostile_refusal_is_escaped() {
    let rig = Rig::with_team(&file(&["ada"], "headless", "ready", ""));
    rig.ok(["up"]).await;
    for arguments in [["why", HOSTILE], ["-t", HOSTILE], ["send", HOSTILE]] {
        let mut command = rig.command(&arguments);
        if arguments[0] == "-t" {
            command.arg("ps");
        }
        let output = command.arg("x").output().await.unwrap();
        assert!(!output.status.success());
        assert_harmless("a refusal", &String::from_utf8(output.stderr).unwrap());
    }
    rig.set_team(&format!("name = {}\n", toml_string(HOSTILE)));
    let output = rig.run(["up"]).await.expect(2);
    assert_harmless("a refusal", &output.stderr);
    rig.set_team(&format!("{} = 1\n", toml_string(HOSTILE)));
    let output = rig.run(["up"]).await.expect(2);
    assert_harmless("a refusal", &output.stderr);
    assert_nothing_ran(&rig);
}

#[tokio::test]
async fn hostile_texts_are_harmless_in_tmux() {
    if !tmux::is_here() {
        return;
    }
    let rig = with_hostile_texts("tmux").await;
    let tmux = rig.tmux();
    // While a task is claimed, its title is in the border.
    rig.ok(["task", "add", HOSTILE, "--run", "mkfifo gate; cat gate"])
        .await;
    rig.until_task_is("T-3", TaskState::InProgress).await;
    let ada = rig.until_member_is("ada", MemberState::Working).await;
    let pane = ada.pane.unwrap();
    // Attach a client, so that tmux draws the border.
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("T-3").await;
    tmux.until_shown(&pane, "T-3").await;
    let names = tmux
        .panes("#{pane_title}|#{window_name}|#{session_name}|#{@agent_team_label}")
        .await
        .join("\n");
    assert_harmless("a name", &names);
    let window = tmux.panes("#{window_name}").await;
    assert_eq!(window, ["team"]);
    // Expand the format once more than tmux does for a border.
    let border = [
        "display-message",
        "-p",
        "-t",
        &pane,
        "#{T:pane-border-format}",
    ];
    assert_harmless("the border", &tmux.ask(border).await);
    let shown = tmux
        .ask(["capture-pane", "-p", "-e", "-S", "-", "-t", &pane])
        .await;
    for header in shown
        .lines()
        .filter(|line| line.contains("── T-") || line.contains('✉'))
    {
        assert!(!header.contains("\u{202e}"), "{header:?}");
        assert!(!header.contains("\u{1b}[2J"), "{header:?}");
    }
    assert_nothing_ran(&rig);
}

#[tokio::test]
async fn a_project_in_a_hostile_directory_works_and_runs_nothing() {
    for placement in ["headless", "tmux"] {
        if placement == "tmux" && !tmux::is_here() {
            return;
        }
        let rig = Rig::new();
        let name = "p #(touch x1);'touch x2'\"$(touch x3)`touch x4`\n#{pane_id} \u{202e}é;";
        let file = file(
            &["ada"],
            placement,
            "ready",
            &task("Build", "pwd > here", ""),
        );
        let project = rig.other_project(name, &file);
        rig.run_in(&project, ["up", "--wait"]).await.expect(0);
        let here = std::fs::read_to_string(project.join("here")).unwrap();
        assert_eq!(here.trim_end_matches('\n'), project.to_str().unwrap());
        for verb in [["ps", "--color=never"], ["team", "show"], ["team", "list"]] {
            let output = rig.run_in(&project, verb).await.expect(0);
            assert_harmless(verb[0], &output.stdout);
        }
        rig.run_in(&project, ["down"]).await.expect(0);
        for directory in [&project, rig.root()] {
            for entry in std::fs::read_dir(directory).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.starts_with('x'), "{name} was made");
            }
        }
    }
}
