//! Tests of the single worker of a launch and of its connection: authentication, pings, and lost connections.

use agent_team_protocol::method::{MemberPing, Nothing, TaskComplete};
use agent_team_protocol::notification::{
    Assignment, Goodbye, GoodbyeReason, Ping, TaskOutput, TaskSession,
};
use agent_team_protocol::{ErrorCode, Generation, Refusal, TaskId};

use crate::rig::{ScriptedSupervisor, at_work, ended, task, within};
use crate::task::accept;

fn goodbye(reason: GoodbyeReason, error: Option<Refusal>) -> Goodbye {
    Goodbye { reason, error }
}

/// A task that prints when it runs, and completes with the text written to the FIFO `go`.
fn waiting_task(supervisor: &ScriptedSupervisor) -> Assignment {
    let go = supervisor.path("go");
    task(&format!(
        "mkfifo {0} && echo ready && cat {0}",
        go.display()
    ))
}

#[tokio::test]
async fn a_second_worker_of_a_launch_exits() {
    let supervisor = ScriptedSupervisor::new();
    let file = supervisor.launch_file(&supervisor.path("project"));
    let mut workers = [supervisor.spawn_for(&file), supervisor.spawn_for(&file)];
    let mut member = supervisor.member(None).await;
    assert!(!file.exists());
    let [one, other] = &mut workers;
    let (code, left) = tokio::select! {
        code = one.exit_code() => (code, one.child.process.pid),
        code = other.exit_code() => (code, other.child.process.pid),
    };
    assert_eq!(code, Some(0));
    member.notify(&task("echo $PPID")).await;
    let report = member.asked::<TaskComplete>().await;
    assert_ne!(report.args().text, left.to_string());
}

#[tokio::test]
async fn nothing_runs_before_initialize_is_answered() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.accept_member().await;
    assert_eq!(supervisor.log(), "");
    member.welcome(&supervisor, Some(task("echo held"))).await;
    assert_eq!(member.asked::<TaskComplete>().await.args().text, "held");
}

#[tokio::test]
async fn pings_are_answered_under_full_load() {
    let supervisor = ScriptedSupervisor::new();
    let worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member
        .notify(&task("yes & yes & while :; do :; done"))
        .await;
    member.noticed::<TaskOutput>(|_| true).await;
    for _ in 0..10 {
        let ping = Ping {
            launch: worker.launch(),
        };
        let Nothing {} = member.call::<MemberPing>(ping).await;
    }
}

#[tokio::test]
async fn excess_output_loses_its_middle() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&task("seq 1 1000000")).await;
    let cut = |output: &TaskOutput| output.text.contains("bytes omitted");
    let output = member.noticed::<TaskOutput>(cut).await;
    assert!(output.text.len() <= 16 << 10, "{}", output.text.len());
    member.asked::<TaskComplete>().await;
}

#[tokio::test]
async fn an_unanswered_report_is_repeated_with_its_key() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    let runs = supervisor.path("runs");
    let once = task(&format!("echo run >> {}", runs.display()));
    member.notify(&once).await;
    let report = member.asked::<TaskComplete>().await;
    drop(member);

    let mut member = supervisor.member(Some(once)).await;
    let again = member.asked::<TaskComplete>().await;
    assert!(again.key.is_some());
    assert_eq!(again.key, report.key);
    accept(&mut member, &again).await;
    let next = Assignment {
        task: TaskId(2),
        ..task("true")
    };
    member.notify(&next).await;
    let next = member.asked::<TaskComplete>().await;
    assert_eq!(next.args().task, TaskId(2));
    assert_ne!(next.key, report.key);
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\n");
}

#[tokio::test]
async fn a_task_survives_a_lost_connection() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    let task = waiting_task(&supervisor);
    member.notify(&task).await;
    let session = member.noticed::<TaskSession>(|_| true).await;
    member
        .noticed::<TaskOutput>(|output| output.text.ends_with("ready\n"))
        .await;
    drop(member);

    let mut member = supervisor.member(Some(task)).await;
    assert_eq!(
        member.noticed::<TaskSession>(|_| true).await.pid,
        session.pid
    );
    std::fs::write(supervisor.path("go"), "went on").unwrap();
    assert_eq!(
        member.asked::<TaskComplete>().await.args().text,
        "ready\nwent on"
    );
}

#[tokio::test]
async fn a_reassigned_claim_ends_unreported() {
    let (supervisor, _worker, member, session) = at_work().await;
    drop(member);

    let newer = Assignment {
        generation: Generation(2),
        ..task("echo second")
    };
    let mut member = supervisor.member(Some(newer)).await;
    ended(session.pid).await;
    let report = member.asked::<TaskComplete>().await;
    assert_eq!(report.args().generation, Some(Generation(2)));
    assert_eq!(report.args().text, "second");
}

#[tokio::test]
async fn a_claim_lost_during_a_disconnect_ends() {
    let (supervisor, _worker, member, session) = at_work().await;
    drop(member);
    let _member = supervisor.member(None).await;
    ended(session.pid).await;
}

#[tokio::test]
async fn a_report_that_could_not_be_stored_is_repeated() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&task("true")).await;
    let report = member.asked::<TaskComplete>().await;
    member
        .refuse(&report, Refusal::new(ErrorCode::StorageFull, "disk full"))
        .await;
    let again = member.asked::<TaskComplete>().await;
    assert_eq!(again.key, report.key);
    accept(&mut member, &again).await;
}

#[tokio::test]
async fn an_announced_restart_is_waited_for() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    let since = std::time::Instant::now();
    member
        .notify(&goodbye(GoodbyeReason::Restarting, None))
        .await;
    drop(member);
    supervisor.member(None).await;
    assert!(since.elapsed().as_millis() >= 2000, "{:?}", since.elapsed());
}

#[tokio::test]
async fn the_wait_for_an_announced_restart_ends_early() {
    let mut supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member
        .notify(&goodbye(GoodbyeReason::Restarting, None))
        .await;
    drop(member);
    let since = std::time::Instant::now();
    supervisor.listen_again();
    supervisor.member(None).await;
    assert!(since.elapsed().as_millis() < 1500, "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_stopped_supervisor_ends_the_worker_and_its_task() {
    let (_supervisor, mut worker, mut member, session) = at_work().await;
    member.notify(&goodbye(GoodbyeReason::Stopped, None)).await;
    assert_eq!(worker.exit_code().await, Some(0));
    within("the task to be gone", ended(session.pid)).await;
}

#[tokio::test]
async fn a_retired_launch_exits_on_reconnect() {
    let (supervisor, mut worker, member, session) = at_work().await;
    drop(member);
    let mut member = supervisor.accept_member().await;
    let refusal = Refusal::new(ErrorCode::Unauthenticated, "another launch took over");
    member.refuse_initialize(refusal).await;
    assert_eq!(worker.exit_code().await, Some(0));
    ended(session.pid).await;
    assert!(supervisor.log().contains("another launch took over"));
}

#[tokio::test]
async fn a_retired_launch_exits_when_notified() {
    let supervisor = ScriptedSupervisor::new();
    let mut worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&goodbye(GoodbyeReason::Closed, None)).await;
    assert_eq!(worker.exit_code().await, Some(0));
}
