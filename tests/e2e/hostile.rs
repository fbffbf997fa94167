//! Names, titles, directories and messages that would run or repaint something: shown harmlessly, and executed nowhere.

use agent_team_protocol::view::TaskState;
use agent_team_tests::{Rig, tmux, until};

use crate::teams::{file, headless, in_panes};

/// What a shell, tmux or a terminal could take for something else.
const HOSTILE: &str = "#(touch evil1) $(touch evil2) `touch evil3`; touch evil4;' \" \\ #[fg=red]#{pane_id}\n\u{1b}[2J\u{1b}]0;x\u{7}\r\u{202e}\u{200b}\u{9b}31m end;";

/// Nothing of it was run, in the project or where the rig's programs are.
fn nothing_was_executed(rig: &Rig, directories: &[&std::path::Path]) {
    let project = rig.project();
    for directory in directories
        .iter()
        .copied()
        .chain([project.as_path(), rig.root()])
    {
        for n in 1..=4 {
            let made = directory.join(format!("evil{n}"));
            assert!(!made.exists(), "{} was made", made.display());
        }
    }
}

/// No control character but newlines, nothing bidirectional, nothing invisible.
fn is_harmless(verb: &str, text: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
    };
    assert!(!text.chars().any(bad), "{verb} shows it raw: {text:?}");
}

#[tokio::test]
async fn every_verb_shows_hostile_text_harmlessly() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok([
        "task",
        "add",
        HOSTILE,
        "--run",
        "printf 'out\\033[2J\\302\\233'; exit 3",
    ])
    .await;
    rig.ok(["send", "ada", HOSTILE]).await;
    rig.until_task_is("T-1", TaskState::Failed).await;
    let verbs: [&[&str]; 11] = [
        &["ps"],
        &["why", "ada"],
        &["task", "list"],
        &["task", "show", "T-1"],
        &["task", "graph"],
        &["task", "graph", "--dot"],
        &["messages"],
        &["messages", "ada"],
        &["events"],
        &["logs", "ada"],
        &["team", "show"],
    ];
    for verb in verbs {
        let output = rig.command(verb).output().await.unwrap();
        assert!(output.status.success(), "{verb:?}");
        is_harmless(&verb.join(" "), &String::from_utf8(output.stdout).unwrap());
    }
    let task = rig.json(["task", "show", "T-1"]).await;
    assert_eq!(task["title"], HOSTILE, "nothing of it is lost");
    nothing_was_executed(&rig, &[]);
}

#[tokio::test]
async fn tmux_shows_hostile_text_and_executes_none_of_it() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up", "--detach"]).await;
    let pane = rig
        .until_member("ada", |ada| ada.pane.is_some())
        .await
        .pane
        .unwrap();
    rig.ok(["task", "add", HOSTILE, "--run", "mkfifo gate; cat gate"])
        .await;
    rig.ok(["send", "ada", HOSTILE]).await;
    let gate = rig.project().join("gate");
    until("the gate", async || gate.exists().then_some(())).await;
    until("the border to name the task", async || {
        let labels = rig.tmux().panes("#{@agent_team_label}").await;
        labels
            .iter()
            .any(|label| label.contains("T-1"))
            .then_some(())
    })
    .await;
    rig.tmux().until_shown(&pane, "touch evil1").await;
    // Every format of the window is expanded once more than a border would.
    rig.tmux()
        .ask([
            "display-message",
            "-p",
            "-t",
            &pane,
            "#{T:pane-border-format}",
        ])
        .await;
    assert_eq!(rig.tmux().panes("#{window_name}").await, ["team"]);
    tokio::task::spawn_blocking(move || std::fs::write(gate, ""))
        .await
        .unwrap()
        .unwrap();
    rig.until_task_is("T-1", TaskState::Completed).await;
    nothing_was_executed(&rig, &[]);
}

#[tokio::test]
async fn a_project_may_be_called_anything() {
    if !tmux::is_here() {
        return;
    }
    let rig = Rig::new();
    let run = "[[task]]\ntitle = \"Where\"\nrun = \"pwd > here\"\n";
    let name = "#(touch evil1);$(touch evil2) '\" it;";
    let project = rig.other_project(name, &file(&["ada"], "tmux", "ready", run));
    let up = rig.run_in(&project, ["up", "--wait"]).await;
    assert_eq!(up.code, 0, "{}", up.stderr);
    let here = std::fs::read_to_string(project.join("here")).unwrap();
    assert_eq!(
        here.trim_end(),
        project.canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(rig.run_in(&project, ["down"]).await.code, 0);
    nothing_was_executed(&rig, &[&project]);
}
