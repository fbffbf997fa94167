//! Faults of external agents, and of the processes around them: nothing runs without a decision, no question is answered
//! twice, and no fault of one agent stops its team.

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, processes, together, until};

use crate::external::{TASK, rig, until_logged};

/// The answers that the fake has received to its questions.
fn answers(rig: &Rig) -> Vec<String> {
    let file = rig.root().join("answers");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|line| line.contains("outcome"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn an_agent_that_floods_its_client_is_stopped_like_any_other() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "fake:flood"]).await;
    until_logged(&rig, "flood flood").await;
    // The supervisor answers, and the worker obeys.
    rig.ok(["ps"]).await;
    let down = rig.ok(["down"]).await.stdout;
    assert!(!down.contains("survived"), "{down}");
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn an_agent_that_forks_and_exits_leaves_no_process() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "fake:fork"]).await;
    rig.until_member("ada", |ada| {
        ada.restarts > 0 && ada.state == MemberState::Idle
    })
    .await;
    until_logged(&rig, "I leave").await;
    let processes = rig.processes();
    let mut programs = processes.iter().map(|found| found.program.as_str());
    assert!(!programs.any(|program| program == "sleep"), "{processes:?}");
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_huge_call_is_not_allowed_unseen() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "fake:huge"]).await;
    until_logged(&rig, "huge: false").await;
    assert_eq!(rig.read("made.txt"), None);
    // The member continues to work.
    rig.ok(["send", "ada", "ping"]).await;
    until_logged(&rig, "pong").await;
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn two_decisions_at_once_give_one_answer() {
    let rig = rig(TASK);
    rig.ok(["up", "--detach"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    let (allow, deny) = (["requests", "allow", "P-1"], ["requests", "deny", "P-1"]);
    let decided = together([rig.run(allow), rig.run(deny)]).await;
    let codes: Vec<_> = decided.iter().map(|output| output.code).collect();
    assert_eq!(
        codes.iter().filter(|code| **code == 0).count(),
        1,
        "{codes:?}"
    );
    let is_allowed = codes[0] == 0;
    let state = match is_allowed {
        true => TaskState::Completed,
        false => TaskState::Failed,
    };
    rig.until_task_is("T-1", state).await;
    let expected = is_allowed.then_some("made\n");
    assert_eq!(rig.read("made.txt").as_deref(), expected);
    assert_eq!(answers(&rig).len(), 1);
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_decision_about_a_withdrawn_question_changes_nothing() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "fake:withdraw"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    rig.ok(["send", "ada", "Withdraw it."]).await;
    until_logged(&rig, "I have withdrawn it").await;
    rig.until_member("ada", |ada| ada.requests == 0).await;
    rig.refused(4, ["requests", "allow", "P-1"]).await;
    rig.ok(["down"]).await;
    assert_eq!(rig.read("made.txt"), None);
    let allowed = |answer: &&String| answer.contains("selected");
    assert_eq!(answers(&rig).iter().find(allowed), None);
}

#[tokio::test]
async fn the_reason_of_a_refused_prompt_is_shown_as_plain_text() {
    let rig = rig("[[task]]\ntitle = \"fake:expired\"\n");
    rig.ok(["up", "--detach"]).await;
    let ada = rig
        .until_member("ada", |ada| ada.why.contains("has expired"))
        .await;
    assert!(!ada.why.contains('\u{1b}'), "{:?}", ada.why);
    assert_eq!(rig.task("T-1").await.state, TaskState::Pending);
    rig.ok(["down"]).await;
}

/// Calls `kill`, which kills a process, while a question of the agent is open.
async fn killed_while_asking(kill: impl AsyncFnOnce(&Rig)) {
    let rig = rig(TASK);
    rig.ok(["up", "--detach"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    kill(&rig).await;
    // The agent has asked again, or the old request is still open. Nothing has run, and no agent of the killed worker
    // can run the call.
    let request = until("an open request", async || {
        let requests = rig.json(["requests"]).await;
        let open = requests["requests"].as_array().cloned().unwrap_or_default();
        let [request] = open.as_slice() else {
            return None;
        };
        request["id"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(rig.read("made.txt"), None);
    rig.until_member("ada", |ada| ada.requests == 1 && !ada.disconnected)
        .await;
    rig.ok(["requests", "allow", &request]).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    let allowed = answers(&rig);
    let allowed = allowed.iter().filter(|answer| answer.contains("\"yes\""));
    assert_eq!(allowed.count(), 1);
    rig.ok(["down"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_worker_killed_between_question_and_answer_runs_nothing() {
    killed_while_asking(async |rig| {
        let worker = rig.worker("ada").await;
        processes::kill(worker).await;
        rig.until_member("ada", |ada| ada.restarts > 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_killed_supervisor_runs_no_undecided_call() {
    killed_while_asking(async |rig| {
        processes::kill(rig.supervisor().await).await;
    })
    .await;
}

#[tokio::test]
async fn a_killed_worker_does_not_repeat_a_decided_call() {
    let rig = rig(TASK);
    rig.ok(["up", "--detach"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    let worker = rig.worker("ada").await;
    // A stopped worker cannot forward the decision.
    let stop = agent_team_system::process::Signal::SIGSTOP;
    worker.signal(stop).unwrap();
    rig.ok(["requests", "allow", "P-1"]).await;
    processes::kill(worker).await;
    assert_eq!(rig.read("made.txt"), None, "the agent got no answer");
    // The decision is valid for this call: the next launch runs it without another question, once.
    rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    rig.ok(["down"]).await;
}
