//! The rules that each agent in its own terminal interface must follow.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use agent_team_protocol::method::{MemberInterrupt, OneMember};
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{processes, tmux};
use rustix::fs::Mode;

use super::agents::{Agent, CLAUDE, CODEX, OPENCODE, QWEN, Team};
use crate::external::{TASK, until_logged};

rules!(
    it_asks_and_completes_its_task,
    a_denied_call_does_not_run,
    a_rule_decides_without_a_dialog,
    the_user_answers_in_its_dialog,
    a_decision_of_a_client_closes_its_dialog,
    messages_wake_it_and_join_its_turn,
    a_failed_turn_shows_the_reason,
    a_turn_that_the_user_types_is_followed,
    a_killed_worker_resumes_its_conversation,
    it_continues_under_a_restarted_supervisor,
    a_crash_resumes_its_conversation,
    an_interrupt_ends_its_turn_and_its_dialog,
    an_untested_version_runs_with_a_warning,
    doctor_shows_it,
    files_for_it_are_private,
);

async fn it_asks_and_completes_its_task(agent: &'static Agent) {
    let team = Team::new(agent, "headless", TASK);
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    team.until_asked().await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("echo made >> made.txt"), "{request}");
    assert!(!request.contains("/bin/bash -lc"), "{request}");
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("the fake is done"));
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.usage.tokens(), agent.tokens, "{:?}", ada.usage);
    let connected = format!("connected to {} {}", agent.name, agent.version);
    until_logged(rig, &connected).await;
    assert_ne!(team.files().len(), 0);
    rig.ok(["down"]).await;
    assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
    assert_eq!(team.files().len(), 0, "{:?}", team.files());
}

async fn a_denied_call_does_not_run(agent: &'static Agent) {
    let team = Team::new(agent, "headless", TASK);
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    team.until_asked().await;
    rig.ok(["requests", "deny", "P-1", "--reason", "not today"])
        .await;
    rig.until_task_is("T-1", TaskState::Failed).await;
    let task = rig.ok(["task", "show", "T-1"]).await.stdout;
    assert_eq!(task.contains("not today"), agent.takes_reason, "{task}");
    assert_eq!(rig.read("made.txt"), None);
}

async fn a_rule_decides_without_a_dialog(agent: &'static Agent) {
    let rules = "[permissions]\ndeny = [\"Bash(echo made:*)\"]\n";
    let team = Team::new(agent, "headless", rules);
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    let logs = until_logged(rig, agent.denied).await;
    assert!(!logs.contains("waits for permission"), "{logs}");
    assert_eq!(rig.read("made.txt"), None);
}

async fn the_user_answers_in_its_dialog(agent: &'static Agent) {
    if !tmux::is_here() {
        return;
    }
    let team = Team::new(agent, "tmux", "");
    let rig = &team.rig;
    let pane = team.pane().await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, agent.dialog).await;
    team.until_asked().await;
    tmux.ask(["send-keys", "-t", &pane, agent.denies]).await;
    team.until_nothing_asked().await;
    let answered = |what: &str| format!("was {what} in the dialog of {}", agent.word);
    until_logged(rig, &answered("denied")).await;
    rig.ok(["audit"])
        .await
        .assert_prints("the agent reports: denied in its own terminal interface");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);

    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    tmux.ask(["send-keys", "-t", &pane, agent.allows]).await;
    assert_eq!(rig.until_written("made.txt").await, "made");
    team.until_nothing_asked().await;
    until_logged(rig, &answered("allowed")).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

async fn a_decision_of_a_client_closes_its_dialog(agent: &'static Agent) {
    if !tmux::is_here() {
        return;
    }
    let team = Team::new(agent, "tmux", "");
    let rig = &team.rig;
    let pane = team.pane().await;
    let tmux = rig.tmux();
    rig.ok(["send", "ada", "try it"]).await;
    tmux.until_shown(&pane, agent.dialog).await;
    team.until_asked().await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "The dialog is closed").await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

async fn messages_wake_it_and_join_its_turn(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let woken = rig.ok(["send", "ada", "ping"]).await;
    assert_eq!(woken.stdout, "sent M-1 to ada\n");
    until_logged(rig, agent.pong).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    let joined = rig.ok(["send", "ada", "Use the other file."]).await;
    joined.assert_prints("to ada; it joins the turn of ada");
    until_logged(rig, "During the turn: ").await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
}

async fn a_failed_turn_shows_the_reason(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "be broken"]).await;
    let logs = until_logged(rig, "✗ the model is broken").await;
    assert!(!logs.contains("\"error\""), "{logs}");
    rig.until_member_is("ada", MemberState::Idle).await;
}

async fn a_turn_that_the_user_types_is_followed(agent: &'static Agent) {
    if !tmux::is_here() {
        return;
    }
    let team = Team::new(agent, "tmux", "");
    let rig = &team.rig;
    let pane = team.pane().await;
    let tmux = rig.tmux();
    tmux.ask(["send-keys", "-t", &pane, "try it", "Enter"])
        .await;
    team.until_asked().await;
    rig.ok(["requests", "allow", "P-1"]).await;
    tmux.until_shown(&pane, "it ran").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    tmux.ask(["send-keys", "-t", &pane, "endless", "Enter"])
        .await;
    rig.until_member_is("ada", MemberState::Working).await;
    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

async fn a_killed_worker_resumes_its_conversation(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    let before = team.fakes("");
    assert_eq!(before.len(), agent.processes);
    processes::kill(rig.worker("ada").await).await;
    rig.until_member("ada", |ada| ada.restarts > 0).await;
    rig.ok(["send", "ada", "ping again"]).await;
    team.until_pongs(2).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let after = team.fakes("");
    assert!(before.iter().all(|ended| !after.contains(ended)));
    assert_eq!(rig.read("made.txt"), None);
    assert_eq!(team.conversations(), 1);
    let logs = rig.ok(["logs", "ada"]).await.stdout;
    assert_eq!(logs.matches(agent.pong).count(), 2, "it still asks: {logs}");
}

async fn it_continues_under_a_restarted_supervisor(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    let before = team.fakes("");
    processes::kill(rig.supervisor().await).await;
    rig.ok(["up", "--detach"]).await;
    team.until_asked().await;
    rig.ok(["requests", "allow", "P-1"]).await;
    assert_eq!(rig.until_written("made.txt").await, "made");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(team.fakes(""), before);
}

async fn a_crash_resumes_its_conversation(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "crash"]).await;
    until_logged(rig, &format!("{} has exited: exit 3", agent.word)).await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    assert_eq!(team.conversations(), 1);
}

async fn an_interrupt_ends_its_turn_and_its_dialog(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    let member = "ada".parse().expect("a name");
    rig.ask::<MemberInterrupt>(OneMember { member }).await;
    team.until_nothing_asked().await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.restarts, 0, "{ada:?}");
}

async fn an_untested_version_runs_with_a_warning(agent: &'static Agent) {
    let env = format!("{}_VERSION = \"99.0.0\", ", agent.variables);
    let team = Team::with(agent, "headless", &env, "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(rig, "pong").await;
    let tested = agent.tested;
    let warning =
        format!("warning: version 99.0.0 is not tested; agent-team was tested with {tested}");
    assert!(logs.contains(&warning), "{logs}");
}

async fn doctor_shows_it(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let document = team.rig.run(["doctor", "--clis", "--json"]).await.json();
    let clis = document["clis"].as_array().expect("a list");
    let cli = clis
        .iter()
        .find(|cli| cli["own_terminal"]["engine"] == agent.word);
    let own = &cli.expect("it is installed")["own_terminal"];
    assert_eq!(own["version"], agent.version);
    let program = team.programs.path().join(agent.word);
    assert_eq!(own["program"], *program.to_string_lossy());
    let has_own_status = ["claude", "codex"].contains(&agent.word);
    let expected = if has_own_status { "logged_in" } else { "" };
    assert_eq!(own["login"]["state"].as_str().unwrap_or_default(), expected);
    assert_eq!(
        (&own["message"], &own["resumes"]),
        (&"joins the turn".into(), &true.into())
    );
    assert_ne!(own["unasked"], "");
    let line = format!(
        "its own terminal interface with engine = {:?}: {}",
        agent.word, agent.version
    );
    team.rig
        .run(["doctor", "--clis"])
        .await
        .assert_prints(&line);
}

async fn files_for_it_are_private(agent: &'static Agent) {
    // Each test is its own process.
    rustix::process::umask(Mode::empty());
    let team = Team::new(agent, "headless", TASK);
    team.rig.ok(["up", "--detach"]).await;
    team.until_asked().await;
    let mut files = team.files();
    let directory = files[0].parent().expect("a directory").to_owned();
    files.push(directory);
    while let Some(file) = files.pop() {
        let metadata = file.symlink_metadata().expect("a file");
        // Codex creates its own socket, in the private directory.
        if !metadata.is_symlink() && !metadata.file_type().is_socket() {
            assert_eq!(metadata.mode() & 0o077, 0, "{}", file.display());
        }
        if metadata.is_dir() {
            let entries = std::fs::read_dir(file).expect("a directory");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
        }
    }
}
