//! OpenCode as a member in its own terminal interface, beside its server. `fake_opencode` replaces OpenCode, which needs
//! a model.

use agent_team_protocol::method::{MemberInterrupt, OneMember};
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, processes, tmux, until};
use tempfile::TempDir;

use crate::external::{TASK, installed, until_logged};
use crate::own_terminals::{until_asked, until_nothing_asked};

/// A team of the member ada, whose program `opencode` is the fake. `env`: more of its variables: `NAME = "value", `. These
/// lines are at the end of the team file.
fn rig_with(placement: &str, env: &str, lines: &str) -> (Rig, TempDir) {
    let (rig, programs) = installed(&[]);
    let fake = env!("CARGO_BIN_EXE_fake_opencode");
    std::os::unix::fs::symlink(fake, programs.path().join("opencode")).expect("a link");
    let sessions = programs.path();
    rig.set_team(&format!(
        "mode = \"manual\"\n[panes]\nplacement = \"{placement}\"\n[[member]]\nname = \"ada\"\n\
         engine = {{ terminal = \"opencode\" }}\nenv = {{ {env}FAKE_OPENCODE_SESSIONS = {sessions:?} }}\n{lines}"
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
        .filter(|name| name.to_string_lossy().ends_with(".session"))
        .count()
}

/// The processes of the fake whose command line contains this word.
fn fakes(rig: &Rig, word: &str) -> Vec<agent_team_system::process::ProcessId> {
    let fakes = rig.processes().into_iter();
    let fakes = fakes.filter(|found| {
        ["opencode", "fake_opencode"].contains(&&*found.program) && found.command.contains(word)
    });
    fakes.map(|found| found.process).collect()
}

async fn until_pongs(rig: &Rig, count: usize) {
    until("the answer", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches("pong").count() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn opencode_answers_in_its_pane() {
    if !tmux::is_here() {
        return;
    }
    let proxy = "HTTP_PROXY = \"http://127.0.0.1:9\", ";
    let (rig, _programs) = rig_with("tmux", proxy, "");
    let pane = pane_of_interface(&rig).await;
    rig.ok(["send", "ada", "ping"]).await;
    rig.tmux()
        .until_shown(&pane, "pong with ask and the rules")
        .await;
    let logs = until_logged(&rig, "pong with ask and the rules").await;
    assert_eq!(logs.matches("pong").count(), 1, "{logs}");
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.unread, 0);
}

#[tokio::test]
async fn opencode_in_its_terminal_asks_and_completes_its_task() {
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
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.usage.tokens(), 110, "{:?}", ada.usage);
    assert_eq!(ada.usage.micro_usd, 250_000, "{:?}", ada.usage);
    until_logged(&rig, "connected to OpenCode 1.18.33").await;
    let rules = rig.directories().hook_socket("x");
    let files = std::fs::read_dir(rules.parent().expect("a directory")).expect("a directory");
    let is_left = |path: &std::path::Path| path.to_string_lossy().contains("hook-");
    let before: Vec<_> = files.flatten().map(|file| file.path()).collect();
    rig.ok(["down"]).await;
    assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
    let mut rules = before.iter().filter(|path| is_left(path));
    assert!(rules.next().is_some_and(|path| !path.exists()));
}

#[tokio::test]
async fn a_denial_reaches_opencode_with_its_reason() {
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
async fn a_rule_decides_about_a_command_of_opencode() {
    let rules = "[permissions]\ndeny = [\"Bash(echo made:*)\"]\n";
    let (rig, _programs) = rig("headless", rules);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    let logs = until_logged(&rig, "with the following feedback").await;
    assert!(!logs.contains("waits for permission"), "{logs}");
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn a_request_of_opencode_shows_the_directory_of_its_line() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "list elsewhere"]).await;
    until_asked(&rig).await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("/elsewhere"), "{request}");
}

#[tokio::test]
async fn opencode_reads_in_the_project_unless_a_rule_asks() {
    let rules = "[permissions]\ndeny = [\"Read(secret.txt)\"]\n";
    let (rig, _programs) = rig("headless", rules);
    rig.write("plain.txt", "plain");
    rig.write("secret.txt", "secret");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "read plain.txt"]).await;
    let logs = until_logged(&rig, "it is read").await;
    assert!(!logs.contains("waits for permission"), "{logs}");
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "read secret.txt"]).await;
    let logs = until_logged(&rig, "with the following feedback").await;
    assert!(!logs.contains("waits for permission"), "{logs}");
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "read /etc/hostname"]).await;
    until_asked(&rig).await;
}

#[tokio::test]
async fn the_user_answers_in_the_dialog_of_opencode() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    let pane = pane_of_interface(&rig).await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, "Permission required").await;
    until_asked(&rig).await;
    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    until_nothing_asked(&rig).await;
    until_logged(&rig, "was denied in the dialog of opencode").await;
    rig.ok(["audit"])
        .await
        .assert_prints("the agent reports: denied in its own terminal interface");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);

    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    tmux.ask(["send-keys", "-t", &pane, "a"]).await;
    assert_eq!(rig.until_written("made.txt").await, "made");
    until_nothing_asked(&rig).await;
    let logs = until_logged(&rig, "was allowed in the dialog of opencode").await;
    assert!(logs.contains("it does not ask about them again"), "{logs}");
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_decision_of_a_client_closes_the_dialog_of_opencode() {
    if !tmux::is_here() {
        return;
    }
    let (rig, _programs) = rig("tmux", "");
    let pane = pane_of_interface(&rig).await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, "Permission required").await;
    until_asked(&rig).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "The dialog is closed").await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_denial_also_ends_the_other_request_of_the_conversation() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try both"]).await;
    rig.until_member("ada", |ada| ada.requests == 2).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "no"]).await;
    until_nothing_asked(&rig).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let logs = rig.ok(["logs", "ada"]).await.stdout;
    assert!(!logs.contains("in the dialog of"), "{logs}");
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn messages_wake_opencode_and_join_its_turn() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    rig.ok(["send", "ada", "Use the other file."]).await;
    until_logged(&rig, "During the turn: Message").await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
}

#[tokio::test]
async fn a_failed_turn_of_opencode_shows_the_reason() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "be broken"]).await;
    until_logged(&rig, "the model is broken").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "use the unknown model"]).await;
    until_logged(&rig, "the model does not exist").await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.unread, 1, "the prompt was not taken");
}

#[tokio::test]
async fn a_turn_that_the_user_types_in_opencode_is_followed() {
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
    tmux.ask(["send-keys", "-t", &pane, "ask me", "Enter"])
        .await;
    until_logged(&rig, "OpenCode asks you in its own dialog").await;
    rig.until_member_is("ada", MemberState::Working).await;
}

#[tokio::test]
async fn opencode_works_on_while_its_interface_is_closed() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    let interface = until("the interface", async || {
        fakes(&rig, "attach").first().copied()
    })
    .await;
    processes::kill(interface).await;
    until_logged(
        &rig,
        "the terminal interface of OpenCode has ended and is opened again",
    )
    .await;
    until("another interface", async || {
        let running = fakes(&rig, "attach");
        running.iter().any(|it| *it != interface).then_some(())
    })
    .await;
    rig.ok(["send", "ada", "Go on."]).await;
    until_logged(&rig, "During the turn: Message").await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("During the turn: Message").await;
    rig.until_member("ada", |ada| {
        ada.state == MemberState::Idle && ada.restarts == 0
    })
    .await;
}

#[tokio::test]
async fn a_killed_worker_resumes_the_conversation_of_opencode() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_pongs(&rig, 1).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    let before = fakes(&rig, "");
    assert_eq!(before.len(), 2, "the server and the interface");
    processes::kill(rig.worker("ada").await).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    until_pongs(&rig, 2).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let after = fakes(&rig, "");
    assert!(before.iter().all(|ended| !after.contains(ended)));
    assert_eq!(rig.read("made.txt"), None);
    assert_eq!(conversations(&programs), 1);
}

#[tokio::test]
async fn a_killed_server_of_opencode_is_restarted() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    let server = fakes(&rig, "serve");
    processes::kill(server[0]).await;
    until_logged(&rig, "opencode has exited: ").await;
    until_nothing_asked(&rig).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_pongs(&rig, 1).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "crash"]).await;
    until_logged(&rig, "opencode has exited: exit 3").await;
    rig.ok(["send", "ada", "ping"]).await;
    until_pongs(&rig, 2).await;
    rig.ok(["send", "ada", "hang up"]).await;
    until_logged(&rig, "its server has closed the stream of events").await;
    rig.ok(["send", "ada", "ping"]).await;
    until_pongs(&rig, 3).await;
    assert_eq!(conversations(&programs), 1);
}

#[tokio::test]
async fn opencode_continues_under_a_restarted_supervisor() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    let before = fakes(&rig, "");
    processes::kill(rig.supervisor().await).await;
    rig.ok(["up", "--detach"]).await;
    until_asked(&rig).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    assert_eq!(rig.until_written("made.txt").await, "made");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(fakes(&rig, ""), before);
}

#[tokio::test]
async fn the_team_follows_another_opencode_conversation() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    screen.type_in("/new\r").await;
    screen.until("a new conversation").await;
    screen.type_in("hello\r").await;
    screen.until("I have nothing to do").await;
    until("both conversations", async || {
        (conversations(&programs) == 2).then_some(())
    })
    .await;
    rig.until_member_is("ada", MemberState::Idle).await;
    screen.type_in("endless\r").await;
    rig.until_member_is("ada", MemberState::Working).await;
    screen.type_in("\x1b").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "ping"]).await;
    screen.until("pong with ask").await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.usage.unpriced, 0, "{:?}", ada.usage);
    rig.ok(["send", "ada", "crash"]).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    until_pongs(&rig, 2).await;
    assert_eq!(conversations(&programs), 2, "the new one was resumed");
}

#[tokio::test]
async fn an_edit_of_opencode_is_shown_with_its_difference() {
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
async fn a_tool_of_another_opencode_server_asks() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "use a tool"]).await;
    until_asked(&rig).await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("other_send"), "{request}");
    assert!(request.contains("\"to\""), "{request}");
    rig.ok(["requests", "allow", "P-1"]).await;
    until_logged(&rig, "the tool ran").await;
}

#[tokio::test]
async fn a_helper_of_opencode_asks_for_its_member() {
    let (rig, programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "use a helper"]).await;
    until_asked(&rig).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    until_logged(&rig, "the helper ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(conversations(&programs), 1, "the member stays in its own");
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_of_opencode_and_its_dialog() {
    let (rig, _programs) = rig("headless", "");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "try it"]).await;
    until_asked(&rig).await;
    let interrupt = OneMember {
        member: "ada".parse().expect("a name"),
    };
    rig.ask::<MemberInterrupt>(interrupt.clone()).await;
    until_nothing_asked(&rig).await;
    screen.until("The dialog is closed").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "endless"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    rig.ask::<MemberInterrupt>(interrupt).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["send", "ada", "ping"]).await;
    until_pongs(&rig, 1).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.restarts, 0, "{ada:?}");
}

#[tokio::test]
async fn a_newer_version_of_opencode_runs_with_a_warning() {
    let (rig, _programs) = rig_with("headless", "FAKE_OPENCODE_VERSION = \"9.0.0\", ", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(&rig, "pong").await;
    let warning = "warning: version 9.0.0 is not tested; agent-team was tested with 1.18.33";
    assert!(logs.contains(warning), "{logs}");
}

#[tokio::test]
async fn an_unusable_opencode_holds_its_member() {
    for (env, why) in [
        (
            "FAKE_OPENCODE_VERSION = \"1.0.0\", ",
            "version 1.0.0 is too old",
        ),
        (
            "FAKE_OPENCODE_PASSWORD = \"another\", ",
            "its server refuses the password (401)",
        ),
        (
            "FAKE_OPENCODE_ADDRESS = \"http://192.0.2.1:4096\", ",
            "its server listens at http://192.0.2.1:4096, which is not this machine",
        ),
        (
            "FAKE_OPENCODE_RULES = \"none\", ",
            "it does not accept that it asks about each call",
        ),
    ] {
        let (rig, _programs) = rig_with("headless", env, "");
        rig.ok(["up", "--detach"]).await;
        let ada = rig.until_member_is("ada", MemberState::Held).await;
        assert!(ada.why.contains(why), "{}", ada.why);
        rig.ok(["down"]).await;
        assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
    }
}

#[tokio::test]
async fn unknown_events_of_opencode_hold_its_member() {
    let (rig, _programs) = rig_with("headless", "FAKE_OPENCODE_EVENTS = \"v9\", ", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    assert!(
        ada.why.contains("another version may have other events"),
        "{}",
        ada.why
    );
}

#[tokio::test]
async fn doctor_shows_the_own_interface_of_opencode() {
    let (rig, programs) = rig("headless", "");
    let document = rig.run(["doctor", "--clis", "--json"]).await.json();
    let clis = document["clis"].as_array().expect("a list");
    let opencode = clis.iter().find(|cli| cli["engine"] == "opencode");
    let own = &opencode.expect("opencode is installed")["own_terminal"];
    assert_eq!(own["engine"], "{ terminal = \"opencode\" }");
    assert_eq!(own["version"], "1.18.33");
    let program = programs.path().join("opencode");
    assert_eq!(own["program"], *program.to_string_lossy());
}
