//! Members whose agent of another vendor runs in its own terminal interface, beside a side channel. `fake_claude` replaces
//! Claude Code, which needs an account.

use agent_team_protocol::method::{MemberInterrupt, OneMember};
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, processes, tmux, until};
use tempfile::TempDir;

use crate::external::{TASK, installed, until_logged};
use crate::reopen::assert_same_worker;

const TERMINAL: &str = "{ terminal = \"claude\" }";

/// A team of the member ada, whose program `claude` is the fake. These lines are at the end of the team file.
fn rig(placement: &str, lines: &str) -> (Rig, TempDir) {
    rig_with(placement, TERMINAL, "", lines)
}

/// Like [`rig`], with another engine, and more variables in `env` of the member: `NAME = "value", `.
fn rig_with(placement: &str, engine: &str, env: &str, lines: &str) -> (Rig, TempDir) {
    let (mut rig, programs) = installed(&["claude-agent-acp"]);
    let fake = env!("CARGO_BIN_EXE_fake_claude");
    std::os::unix::fs::symlink(fake, programs.path().join("claude")).expect("a link");
    let sessions = programs.path();
    rig.set_team(&format!(
        "mode = \"manual\"\n[panes]\nplacement = \"{placement}\"\n[[member]]\nname = \"ada\"\nengine = {engine}\n\
         env = {{ {env}FAKE_CLAUDE_SESSIONS = {sessions:?}, FAKE_ACP_SESSIONS = {sessions:?} }}\n{lines}"
    ));
    // The variables of an agent in which the team is started reach no other agent.
    rig.set("CLAUDECODE", "1");
    (rig, programs)
}

pub(crate) async fn until_asked(rig: &Rig) {
    rig.until_member("ada", |ada| ada.requests > 0).await;
}

pub(crate) async fn until_nothing_asked(rig: &Rig) {
    rig.until_member("ada", |ada| ada.requests == 0).await;
}

#[tokio::test]
async fn an_agent_in_its_terminal_asks_and_completes_its_task() {
    let (rig, _programs) = rig("headless", TASK);
    rig.ok(["up", "--detach"]).await;
    until_asked(&rig).await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("echo made > made.txt"), "{request}");
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("the fake is done"));
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    rig.until_member_is("ada", MemberState::Idle).await;
    until_logged(&rig, "connected to Claude Code 2.1.331").await;
    rig.ok(["down"]).await;
    assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
}

#[tokio::test]
async fn the_word_of_the_agent_selects_its_protocol_in_a_pane() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig_with("tmux", "\"claude\"", "", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_in_pane("ada").await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(&rig, "pong in mode default").await;
    assert!(!logs.contains("connected to Claude Code"), "{logs}");
    let processes = rig.processes();
    let mut programs = processes.iter().map(|found| found.program.as_str());
    assert!(programs.all(|program| program != "claude" && program != "fake_claude"));
}

#[tokio::test]
async fn a_denial_reaches_the_agent_in_its_terminal_with_its_reason() {
    let (rig, _programs) = rig("headless", TASK);
    rig.ok(["up", "--detach"]).await;
    until_asked(&rig).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "not today"])
        .await;
    rig.until_task_is("T-1", TaskState::Failed).await;
    rig.ok(["task", "show", "T-1"])
        .await
        .assert_prints("not today");
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn a_rule_decides_without_a_dialog() {
    let rules = "[permissions]\ndeny = [\"Bash(echo made:*)\"]\n";
    let (rig, _programs) = rig("headless", rules);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    let logs = until_logged(&rig, "denied: Not permitted").await;
    assert!(!logs.contains("waits for permission"), "{logs}");
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn the_user_answers_in_the_dialog_of_the_agent() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "Welcome to the fake").await;
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, "Do you want to proceed?").await;
    until_asked(&rig).await;
    tmux.ask(["send-keys", "-t", &pane, "2"]).await;
    until_nothing_asked(&rig).await;
    until_logged(&rig, "was denied in the dialog of claude").await;
    rig.ok(["audit"])
        .await
        .assert_prints("the agent reports: denied in its own terminal interface");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);

    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    tmux.ask(["send-keys", "-t", &pane, "1"]).await;
    assert_eq!(rig.until_written("made.txt").await, "made");
    until_nothing_asked(&rig).await;
    until_logged(&rig, "was allowed in the dialog of claude").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_decision_of_a_client_closes_the_dialog_of_the_agent() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, "Do you want to proceed?").await;
    until_asked(&rig).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "The dialog is closed").await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn messages_wake_an_agent_in_its_terminal_and_join_its_turn() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong in mode default").await;
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    rig.ok(["send", "ada", "Use the other file."]).await;
    until_logged(&rig, "During the turn: Message").await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
    rig.ok(["send", "ada", "be broken"]).await;
    until_logged(&rig, "the model is broken").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_turn_that_the_user_types_is_followed() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "Welcome to the fake").await;
    tmux.ask(["send-keys", "-t", &pane, "try it", "Enter"])
        .await;
    until_asked(&rig).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    // Esc calls no hook.
    tmux.ask(["send-keys", "-t", &pane, "endless", "Enter"])
        .await;
    tmux.until_shown(&pane, "I never end").await;
    rig.until_member_is("ada", MemberState::Working).await;
    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn an_agent_survives_its_pane_and_is_repainted() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    rig.ok(["up", "--detach"]).await;
    let (before, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "Welcome to the fake").await;
    let is_headless = async || {
        rig.until_member("ada", |ada| ada.placement == Placement::Headless)
            .await
    };
    tmux.ask(["kill-pane", "-t", &pane]).await;
    is_headless().await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    rig.ok(["panes", "reopen", "ada"]).await;
    let (after, pane) = rig.until_in_pane("ada").await;
    assert_same_worker(&before, &after);
    let shown = tmux.until_shown(&pane, "pong").await;
    assert!(shown.contains("Welcome to the fake"), "{shown}");

    let server = tmux.ask(["display-message", "-p", "#{pid}"]).await;
    processes::kill(processes::living(server.parse().expect("a pid"))).await;
    is_headless().await;
    rig.ok(["up", "--detach"]).await;
    let (again, pane) = rig.until_in_pane("ada").await;
    assert_same_worker(&before, &again);
    tmux.until_shown(&pane, "pong").await;
}

#[tokio::test]
async fn a_killed_worker_resumes_the_session_in_the_terminal() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    let fakes = || {
        let fakes = rig.processes().into_iter();
        let fakes =
            fakes.filter(|found| found.program == "claude" || found.program == "fake_claude");
        fakes.map(|found| found.process).collect::<Vec<_>>()
    };
    let before = fakes();
    assert_eq!(before.len(), 1);
    processes::kill(rig.worker("ada").await).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    until("the answer after the restart", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches("pong").count() == 2).then_some(())
    })
    .await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert!(
        !fakes().contains(&before[0]),
        "the earlier program has ended"
    );
    assert_eq!(rig.read("made.txt"), None);
    let files = std::fs::read_dir(programs.path()).expect("a directory");
    let files = files.flatten().map(|file| file.file_name());
    let sessions = files.filter(|name| name.to_string_lossy().ends_with(".jsonl"));
    assert_eq!(sessions.count(), 1, "the session was resumed");
}

#[tokio::test]
async fn an_agent_that_crashes_in_its_terminal_is_restarted() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "crash"]).await;
    until_logged(&rig, "claude has exited: exit 3: the fake crashes").await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
}

#[tokio::test]
async fn a_hook_that_cannot_reach_the_worker_blocks_the_call() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "unreachable"]).await;
    screen.until("blocked: agent-team cannot decide").await;
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_and_cancels_its_dialog() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    let member = "ada".parse().expect("a name");
    rig.ask::<MemberInterrupt>(OneMember { member }).await;
    until_nothing_asked(&rig).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
}

#[tokio::test]
async fn an_untested_version_runs_with_a_warning() {
    let env = "FAKE_CLAUDE_VERSION = \"9.0.0\", ";
    let (rig, _programs) = rig_with("headless", TERMINAL, env, "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(&rig, "pong").await;
    let warning =
        "warning: version 9.0.0 is not tested; agent-team was tested with 2.1.330 to 2.1.331";
    assert!(logs.contains(warning), "{logs}");
}

#[tokio::test]
async fn a_program_that_ends_at_its_start_holds_its_member() {
    let env = "FAKE_CLAUDE_EXIT = \"Invalid API key\", ";
    let (rig, _programs) = rig_with("headless", TERMINAL, env, "");
    rig.ok(["up", "--detach"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    assert!(
        ada.why
            .contains("cannot use claude: exit 1: Invalid API key"),
        "{}",
        ada.why
    );
}

#[tokio::test]
async fn a_cleared_conversation_is_the_one_that_is_resumed() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("pong").await;
    screen.type_in("/clear\r").await;
    screen.until("cleared").await;
    rig.ok(["send", "ada", "ping in the new session"]).await;
    until("the answer in the new session", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches("pong").count() == 2).then_some(())
    })
    .await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "crash"]).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    until("the program with the new session", async || {
        let processes = rig.processes();
        let mut commands = processes.iter().map(|found| {
            let command = std::fs::read(format!("/proc/{}/cmdline", found.process.pid));
            String::from_utf8_lossy(&command.unwrap_or_default()).into_owned()
        });
        commands
            .any(|command| command.contains("--resume\0cleared-"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_the_agent_reaches_its_hooks() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    let sockets = rig.directories().hook_socket("x");
    let sockets = std::fs::read_dir(sockets.parent().expect("a directory")).expect("a directory");
    let mut sockets = sockets.flatten().map(|file| file.path());
    let socket = sockets.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("hook-")
    });
    let input = programs.path().join("input");
    std::fs::write(&input, "{\"hook_event_name\": \"Stop\"}").expect("a file");
    let hook = std::process::Command::new(rig.binary("agent-teammate-native"))
        .arg("--hook")
        .arg(socket.expect("a socket"))
        .arg("must")
        .stdin(std::fs::File::open(input).expect("a file"))
        .output()
        .expect("it starts");
    assert_eq!(hook.status.code(), Some(2), "{hook:?}");
}
