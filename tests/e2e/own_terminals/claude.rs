//! Claude Code in its own terminal interface, beside its hooks.

use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::MemberState;
use agent_team_tests::{processes, tmux, until};

use super::agents::{CLAUDE, Team};
use crate::external::until_logged;
use crate::reopen::assert_same_worker;

#[tokio::test]
async fn the_acp_word_opens_no_terminal_interface() {
    if !tmux::is_here() {
        return;
    }
    let team = Team::of(&CLAUDE, "tmux", "\"claude-acp\"", "", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_in_pane("ada").await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(rig, "pong in mode default").await;
    assert!(!logs.contains("connected to Claude Code"), "{logs}");
    let processes = rig.processes();
    let mut programs = processes.iter().map(|found| found.program.as_str());
    assert!(programs.all(|program| program != "claude" && program != "fake_claude"));
}

#[tokio::test]
async fn an_agent_survives_its_pane_and_is_repainted() {
    if !tmux::is_here() {
        return;
    }
    let team = Team::new(&CLAUDE, "tmux", "");
    let rig = &team.rig;
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
    until_logged(rig, "pong").await;
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
async fn a_hook_that_cannot_reach_the_worker_blocks_the_call() {
    let team = Team::new(&CLAUDE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "unreachable"]).await;
    screen.until("blocked: agent-team cannot decide").await;
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn a_program_that_ends_at_its_start_holds_its_member() {
    let env = "FAKE_CLAUDE_EXIT = \"Invalid API key\", ";
    let team = Team::with(&CLAUDE, "headless", env, "");
    let rig = &team.rig;
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
async fn the_first_message_waits_for_the_team_tools() {
    let env = "FAKE_CLAUDE_WITHOUT_TOOLS = \"1\", ";
    let team = Team::with(&CLAUDE, "headless", env, "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(rig, "I have no tools of the team").await;
    let (before, _) = logs.split_once("I have no tools").expect("the answer");
    assert!(
        before.contains("claude has not loaded the team's tools within 10 s"),
        "{logs}"
    );
}

#[tokio::test]
async fn the_conversation_after_a_clear_is_resumed() {
    let team = Team::new(&CLAUDE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(rig, "pong").await;
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
    let team = Team::new(&CLAUDE, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(rig, "pong").await;
    let sockets = rig.directories().hook_socket("x");
    let sockets = std::fs::read_dir(sockets.parent().expect("a directory")).expect("a directory");
    let mut sockets = sockets.flatten().map(|file| file.path());
    let socket = sockets.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("hook-")
    });
    let input = team.programs.path().join("input");
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
