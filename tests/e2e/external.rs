//! Members whose work is done by another vendor's agent. `fake_acp_agent` replaces the agents, which
//! need accounts.

use std::io::Read;
use std::path::PathBuf;

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, until};

pub(super) fn fake() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_fake_acp_agent"))
}

/// A team of one external agent, with these lines at the end of its file.
pub(super) fn rig(lines: &str) -> Rig {
    rig_with(lines, "")
}

/// Like [`rig`], with more variables in `env` of the member: `NAME = "value", `.
fn rig_with(lines: &str, env: &str) -> Rig {
    let rig = Rig::new();
    let engine = format!("{{ acp = [{:?}] }}", fake());
    rig.set_team(&team(&rig, &engine, env, lines));
    rig
}

/// The file of a team of one member with this engine. An external agent receives only the variables of the user that it
/// is known to read.
fn team(rig: &Rig, engine: &str, env: &str, lines: &str) -> String {
    let root = rig.root();
    format!(
        "mode = \"manual\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\nengine = {engine}\n\
         env = {{ {env}FAKE_ACP_SESSIONS = {root:?} }}\n{lines}"
    )
}

pub(super) const TASK: &str = "[[task]]\ntitle = \"Make the file\"\n";

pub(super) async fn until_logged(rig: &Rig, text: &str) -> String {
    until(&format!("{text:?} in the log"), async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        logs.contains(text).then_some(logs)
    })
    .await
}

#[tokio::test]
async fn an_external_agent_asks_and_completes_its_task() {
    let rig = rig(TASK);
    rig.ok(["up", "--detach"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    let request = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(request.contains("echo made > made.txt"), "{request}");
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["requests", "allow", "P-1"]).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.result.as_deref(), Some("the fake is done"));
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["down"]).await;
    assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
}

#[tokio::test]
async fn a_denied_call_of_an_external_agent_is_not_executed() {
    let rig = rig(TASK);
    rig.ok(["up", "--detach"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "not today"])
        .await;
    rig.until_task_is("T-1", TaskState::Failed).await;
    assert_eq!(rig.read("made.txt"), None);
}

#[tokio::test]
async fn messages_wake_an_external_agent_and_join_its_turn() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "ping"]).await;
    // Only the session of a known agent is set to the mode that asks; this agent is not a known agent.
    until_logged(&rig, "pong in mode auto").await;
    rig.ok(["send", "ada", "be slow"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    let joins = rig.ok(["send", "ada", "Use the other file."]).await;
    joins.assert_prints("it joins or follows the turn of ada");
    until_logged(&rig, "During the turn: Message").await;
    let ada = rig.until_member("ada", |ada| ada.unread == 0).await;
    assert_eq!(ada.state, MemberState::Idle);
}

#[tokio::test]
async fn a_refused_prompt_is_repeated_with_the_next_one() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "overload"]).await;
    until_logged(&rig, "the fake is overloaded").await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.unread, 1);
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    rig.until_member("ada", |ada| ada.unread == 0).await;
}

#[tokio::test]
async fn a_task_that_the_agent_forgets_is_released() {
    let rig = rig("[[task]]\ntitle = \"forget\"\n");
    rig.ok(["up", "--detach"]).await;
    let task = rig
        .until_member("ada", |ada| ada.why.contains("twice without complete_task"))
        .await;
    assert_eq!(task.state, MemberState::Idle, "{task:?}");
    assert_eq!(rig.task("T-1").await.state, TaskState::Pending);
}

#[tokio::test]
async fn a_restarted_external_agent_resumes_its_session() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    rig.ok(["send", "ada", "crash"]).await;
    until_logged(&rig, "the fake crashes").await;
    rig.ok(["send", "ada", "ping again"]).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert!(ada.restarts > 0, "{ada:?}");
    let sessions = std::fs::read_dir(rig.root()).expect("the directory exists");
    let names = sessions.flatten().map(|entry| entry.file_name());
    let sessions = names.filter(|name| name.to_string_lossy().starts_with("s-"));
    assert_eq!(sessions.count(), 1, "the session was resumed");
}

#[tokio::test]
async fn an_agent_that_cannot_start_holds_its_member() {
    let rig = rig_with("", "FAKE_ACP_LOGIN = \"1\", ");
    rig.ok(["up", "--detach"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    assert!(ada.why.contains("Log in with the fake"), "{}", ada.why);
    let rig = rig_with("", "FAKE_ACP_VERSION = \"2\", ");
    rig.ok(["up", "--detach"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    let why = "it speaks version 2 of the Agent Client Protocol, not version 1";
    assert!(ada.why.contains(why), "{}", ada.why);
    let missing = Rig::with_team(
        "mode = \"manual\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\nengine = \"gemini\"\n",
    );
    missing.ok(["up", "--detach"]).await;
    let ada = missing.until_member_is("ada", MemberState::Held).await;
    assert!(
        ada.why.contains("cannot find the program gemini of gemini; install it with: npm install --global @google/gemini-cli"),
        "{}",
        ada.why
    );
}

/// A team of one member with a known engine. Its program is the fake.
pub(super) fn rig_of(engine: &str, program: &str, lines: &str) -> (Rig, tempfile::TempDir) {
    let (rig, programs) = installed(&[program]);
    rig.set_team(&team(&rig, &format!("{engine:?}"), "", lines));
    (rig, programs)
}

/// A project without a team file, and a directory of `PATH` with the fake under these names.
pub(super) fn installed(names: &[&str]) -> (Rig, tempfile::TempDir) {
    let programs = tempfile::tempdir().expect("a directory");
    for name in names {
        std::os::unix::fs::symlink(fake(), programs.path().join(name)).expect("a link");
    }
    let mut rig = Rig::new();
    let path = std::env::var_os("PATH").expect("it is set");
    let own = std::iter::once(programs.path().to_owned());
    let path = std::env::join_paths(own.chain(std::env::split_paths(&path)));
    rig.set("PATH", path.expect("no colon in a path"));
    (rig, programs)
}

#[tokio::test]
async fn an_untested_version_of_an_agent_runs_with_a_warning() {
    let (rig, _programs) = rig_of("gemini", "gemini", "");
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("env = { ", "env = { FAKE_ACP_OWN_VERSION = \"99.0.0\", "));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    let logs = until_logged(&rig, "pong").await;
    let warning = "warning: version 99.0.0 is not tested; agent-team was tested with 0.61.0\n";
    assert!(logs.contains(warning), "{logs}");
    rig.set_team(&file);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping again"]).await;
    until("the answer of the tested version", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        let is_answered = logs.matches("pong").count() == 2;
        is_answered.then(|| assert_eq!(logs.matches("warning").count(), 1, "{logs}"))
    })
    .await;
}

#[tokio::test]
async fn the_mode_of_an_external_agent_is_set_and_kept() {
    let (rig, _programs) = rig_of("claude-acp", "claude-agent-acp", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong in mode default").await;
    rig.ok(["send", "ada", "wander"]).await;
    until_logged(&rig, "back in mode default").await;
    rig.ok(["send", "ada", "crash"]).await;
    until_logged(&rig, "the fake crashes").await;
    rig.ok(["send", "ada", "ping again"]).await;
    until("the mode of the resumed session", async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches("pong in mode default").count() == 2).then_some(())
    })
    .await;
    rig.ok(["send", "ada", "escape"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    let why = "has left the mode default for auto, and the mode cannot be set again";
    assert!(ada.why.contains(why), "{}", ada.why);
    assert!(ada.why.contains("the fake stays"), "{}", ada.why);
}

#[tokio::test]
async fn an_agent_that_ignores_a_cancel_is_restarted() {
    // Messages do not join a turn of this agent: an urgent message cancels it.
    let (rig, _programs) = rig_of("gemini", "gemini", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "be deaf"]).await;
    until_logged(&rig, "I do not listen").await;
    let waits = rig.ok(["send", "ada", "this waits"]).await;
    waits.assert_prints("it waits for the end of the turn of ada");
    let interrupts = rig.ok(["send", "ada", "--urgent", "ping"]).await;
    interrupts.assert_prints("it interrupts the turn of ada");
    until_logged(&rig, "it is restarted").await;
    until_logged(&rig, "pong").await;
    let ada = rig.until_member("ada", |ada| ada.unread == 0).await;
    assert_eq!(ada.restarts, 0, "{ada:?}");
}

#[tokio::test]
async fn a_cancelled_prompt_that_fails_releases_no_task() {
    let (rig, _programs) = rig_of("gemini", "gemini", "[[task]]\ntitle = \"fragile\"\n");
    rig.ok(["up", "--detach"]).await;
    until_logged(&rig, "I wait").await;
    rig.ok(["send", "ada", "--urgent", "ping"]).await;
    until_logged(&rig, "pong").await;
    let logs = rig.ok(["logs", "ada"]).await.stdout;
    assert!(!logs.contains("the fake was cancelled"), "{logs}");
}

#[tokio::test]
async fn a_stop_during_the_start_leaves_no_process() {
    // The first fake opens no session; the second fake does not even answer `initialize`.
    for variable in ["FAKE_ACP_SILENT", "FAKE_ACP_MUTE"] {
        let rig = rig_with("", &format!("{variable} = \"1\", "));
        rig.ok(["up", "--detach"]).await;
        until("the agent", async || {
            let processes = rig.processes();
            let mut agents = processes.iter().map(|process| &process.program);
            agents
                .any(|program| program == "fake_acp_agent")
                .then_some(())
        })
        .await;
        rig.ok(["down"]).await;
        assert_eq!(rig.processes().len(), 0, "{:?}", rig.processes());
    }
}

#[tokio::test]
async fn only_the_agent_reaches_its_team_tools() {
    let (rig, _programs) = rig_of("claude-acp", "claude-agent-acp", "");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    let logs = rig.ok(["logs", "ada"]).await.stdout;
    let (_, rest) = logs.split_once("tools at ").expect("the socket");
    let socket = rest.split_whitespace().next().expect("the socket");
    let mut stranger = std::os::unix::net::UnixStream::connect(socket).expect("a connection");
    let mut answer = Vec::new();
    // The member closes the connection without an answer, although the client sends no frame first.
    stranger.read_to_end(&mut answer).expect("the end");
    assert!(answer.is_empty());
}
