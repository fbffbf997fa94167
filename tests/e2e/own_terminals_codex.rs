//! Codex as a member in its own terminal interface, beside its app-server. `fake_codex` replaces Codex, which needs
//! an account.

use agent_team_protocol::method::{MemberInterrupt, OneMember};
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, processes, tmux, until};
use tempfile::TempDir;

use crate::external::{TASK, installed, until_logged};
use crate::own_terminals::{until_asked, until_nothing_asked};

/// A team of the member ada, whose program `codex` is the fake. `env`: more of its variables: `NAME = "value", `. These
/// lines are at the end of the team file.
fn rig_with(placement: &str, env: &str, lines: &str) -> (Rig, TempDir) {
    let (rig, programs) = installed(&[]);
    let fake = env!("CARGO_BIN_EXE_fake_codex");
    std::os::unix::fs::symlink(fake, programs.path().join("codex")).expect("a link");
    let sessions = programs.path();
    rig.set_team(&format!(
        "mode = \"manual\"\n[panes]\nplacement = \"{placement}\"\n[[member]]\nname = \"ada\"\n\
         engine = {{ terminal = \"codex\" }}\nenv = {{ {env}FAKE_CODEX_SESSIONS = {sessions:?} }}\n{lines}"
    ));
    (rig, programs)
}

fn rig(placement: &str, lines: &str) -> (Rig, TempDir) {
    rig_with(placement, "", lines)
}

/// Starts the team; returns ada's pane, once it shows the interface.
async fn pane_of_interface(rig: &Rig) -> String {
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    rig.tmux().until_shown(&pane, "Welcome to the fake").await;
    pane
}

/// The conversations that were stored.
fn conversations(programs: &TempDir) -> usize {
    let files = std::fs::read_dir(programs.path()).expect("a directory");
    let files = files.flatten().map(|file| file.file_name());
    files
        .filter(|name| name.to_string_lossy().ends_with(".rollout"))
        .count()
}

#[tokio::test]
async fn codex_in_its_terminal_asks_and_completes_its_task() {
    let (rig, _programs) = rig("headless", TASK);
    rig.ok(["up", "--detach"]).await;
    until_asked(&rig).await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("echo made > made.txt"), "{request}");
    assert!(!request.contains("/bin/bash -lc"), "{request}");
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("the fake is done"));
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.usage.tokens(), 110, "{:?}", ada.usage);
    until_logged(&rig, "connected to Codex 0.169.0").await;
    rig.ok(["down"]).await;
    assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
}

#[tokio::test]
async fn a_denied_command_of_codex_does_not_run() {
    let (rig, _programs) = rig("headless", TASK);
    rig.ok(["up", "--detach"]).await;
    until_asked(&rig).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "not today"])
        .await;
    rig.until_task_is("T-1", TaskState::Failed).await;
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn a_rule_decides_about_a_command_of_codex() {
    let rules = "[permissions]\ndeny = [\"Bash(echo made:*)\"]\n";
    let (rig, _programs) = rig("headless", rules);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    let logs = until_logged(&rig, "rejected by user").await;
    assert!(!logs.contains("waits for permission"), "{logs}");
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn the_user_answers_in_the_dialog_of_codex() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    let pane = pane_of_interface(&rig).await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, "Yes (y), No (esc)").await;
    until_asked(&rig).await;
    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    until_nothing_asked(&rig).await;
    until_logged(&rig, "was denied in the dialog of codex").await;
    rig.ok(["audit"])
        .await
        .assert_prints("the agent reports: denied in its own terminal interface");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);

    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    tmux.ask(["send-keys", "-t", &pane, "y"]).await;
    assert_eq!(rig.until_written("made.txt").await, "made");
    until_nothing_asked(&rig).await;
    until_logged(&rig, "was allowed in the dialog of codex").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_decision_of_a_client_closes_the_dialog_of_codex() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    let pane = pane_of_interface(&rig).await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, "Yes (y), No (esc)").await;
    until_asked(&rig).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "The dialog is closed").await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn messages_wake_codex_and_join_its_turn() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong with readOnly, on-request").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    rig.ok(["send", "ada", "Use the other file."]).await;
    until_logged(&rig, "During the turn: Message").await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
    rig.ok(["send", "ada", "be broken"]).await;
    let logs = until_logged(&rig, "the model is broken").await;
    assert!(!logs.contains("\"error\""), "{logs}");
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_turn_that_the_user_types_in_codex_is_followed() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    let pane = pane_of_interface(&rig).await;
    let tmux = rig.tmux();
    tmux.ask(["send-keys", "-t", &pane, "try it", "Enter"])
        .await;
    until_asked(&rig).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    tmux.ask(["send-keys", "-t", &pane, "endless", "Enter"])
        .await;
    rig.until_member_is("ada", MemberState::Working).await;
    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn codex_works_on_while_its_interface_is_closed() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    let pane = pane_of_interface(&rig).await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    tmux.ask(["send-keys", "-t", &pane, "/quit", "Enter"]).await;
    until_logged(
        &rig,
        "the terminal interface of Codex has ended and is opened again",
    )
    .await;
    rig.ok(["send", "ada", "Go on."]).await;
    until_logged(&rig, "During the turn: Message").await;
    tmux.until_shown(&pane, "During the turn: Message").await;
    rig.until_member("ada", |ada| {
        ada.state == MemberState::Idle && ada.restarts == 0
    })
    .await;
}

#[tokio::test]
async fn a_killed_worker_resumes_the_conversation_of_codex() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    let fakes = || {
        let fakes = rig.processes().into_iter();
        let fakes = fakes.filter(|found| found.program == "codex" || found.program == "fake_codex");
        fakes.map(|found| found.process).collect::<Vec<_>>()
    };
    let before = fakes();
    assert_eq!(before.len(), 2, "the server and the interface");
    processes::kill(rig.worker("ada").await).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    until("the answer after the restart", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches("pong").count() == 2).then_some(())
    })
    .await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let after = fakes();
    assert!(before.iter().all(|ended| !after.contains(ended)));
    assert_eq!(rig.read("made.txt"), None);
    assert_eq!(conversations(&programs), 1);
}

#[tokio::test]
async fn a_crashed_server_of_codex_is_restarted() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "crash"]).await;
    until_logged(&rig, "codex has exited: exit 3").await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    assert_eq!(conversations(&programs), 1);
}

#[tokio::test]
async fn the_team_follows_the_user_to_a_new_conversation() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    screen.type_in("/new\r").await;
    screen.until("a new conversation").await;
    until("both conversations", async || {
        (conversations(&programs) == 2).then_some(())
    })
    .await;
    rig.ok(["send", "ada", "ping"]).await;
    screen.until("pong with readOnly, on-request").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "crash"]).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    until("the answer after the restart", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches("pong").count() == 2).then_some(())
    })
    .await;
    assert_eq!(conversations(&programs), 2, "the new one was resumed");
}

#[tokio::test]
async fn changed_permissions_of_codex_are_set_back() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    screen.type_in("/full-access\r").await;
    until_logged(&rig, "they are set back to read-only, on-request").await;
    screen.type_in("ping\r").await;
    screen.until("pong with readOnly, on-request").await;
}

#[tokio::test]
async fn an_edit_of_codex_is_shown_with_its_difference() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "edit it"]).await;
    until_asked(&rig).await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("+edited"), "{request}");
    assert_eq!(rig.read("edited.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    until_logged(&rig, "it is edited").await;
    assert_eq!(rig.read("edited.txt").as_deref(), Some("edited\n"));
}

#[tokio::test]
async fn a_tool_of_another_server_asks_with_its_arguments() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "use a tool"]).await;
    until_asked(&rig).await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("other.send"), "{request}");
    assert!(request.contains("\"to\""), "{request}");
    rig.ok(["requests", "deny", "P-1"]).await;
    until_logged(&rig, "the tool was rejected").await;
    rig.ok(["send", "ada", "use a tool"]).await;
    until_asked(&rig).await;
    rig.ok(["requests", "allow", "P-2"]).await;
    until_logged(&rig, "the tool ran").await;
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_of_codex_and_its_dialog() {
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
async fn a_newer_version_of_codex_runs_with_a_warning() {
    let (rig, _programs) = rig_with("headless", "FAKE_CODEX_VERSION = \"9.0.0\", ", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(&rig, "pong").await;
    let warning = "warning: version 9.0.0 is not tested; agent-team was tested with 0.169.0";
    assert!(logs.contains(warning), "{logs}");
}

#[tokio::test]
async fn an_unusable_codex_holds_its_member() {
    for (env, why) in [
        (
            "FAKE_CODEX_VERSION = \"0.150.0\", ",
            "version 0.150.0 is too old",
        ),
        (
            "FAKE_CODEX_LOGIN = \"1\", ",
            "codex needs a login; it offers: codex login",
        ),
        (
            "FAKE_CODEX_POLICY = \"never\", ",
            "it does not accept the settings read-only, on-request and user",
        ),
    ] {
        let (rig, _programs) = rig_with("headless", env, "");
        rig.ok(["up", "--detach"]).await;
        let ada = rig.until_member_is("ada", MemberState::Held).await;
        assert!(ada.why.contains(why), "{}", ada.why);
        rig.ok(["down"]).await;
    }
}

#[tokio::test]
async fn doctor_shows_the_own_interface_of_codex() {
    let (rig, programs) = rig("headless", "");
    let document = rig.run(["doctor", "--clis", "--json"]).await.json();
    let clis = document["clis"].as_array().expect("a list");
    let codex = clis.iter().find(|cli| cli["engine"] == "codex");
    let own = &codex.expect("codex is installed")["own_terminal"];
    assert_eq!(own["engine"], "{ terminal = \"codex\" }");
    assert_eq!(own["version"], "0.169.0");
    let program = programs.path().join("codex");
    assert_eq!(own["program"], *program.to_string_lossy());
    rig.run(["doctor", "--clis"]).await.assert_prints(
        "its own terminal interface with engine = { terminal = \"codex\" }: 0.169.0",
    );
}
