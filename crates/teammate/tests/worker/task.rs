//! Tests of a task's line on a terminal, and of the report of its outcome.

use agent_team_protocol::method::{EndTask, TaskAnswer, TaskComplete, TaskFail};
use agent_team_protocol::notification::{Abandon, Assignment, TaskOutput, TaskSession};
use agent_team_protocol::{ErrorCode, Generation, Refusal, TaskId};
use agent_team_system::process::ProcessId;

use crate::rig::{ScriptedSupervisor, ended, task};
use crate::wire::{Connection, ReceivedCall};

async fn completed(assignment: Assignment) -> EndTask {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&assignment).await;
    member.asked::<TaskComplete>().await.call.args
}

async fn failed(assignment: Assignment) -> String {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&assignment).await;
    member.asked::<TaskFail>().await.call.args.text
}

/// Accepts the report that ends a task.
pub(crate) async fn accept(member: &mut Connection, report: &ReceivedCall<EndTask>) {
    let answer = TaskAnswer {
        task: report.args().task,
        generation: Generation(1),
        overlaps: Vec::new(),
    };
    member.answer(report, &answer).await;
}

#[tokio::test]
async fn a_task_runs_on_a_terminal_and_completes_with_its_result() {
    let line = r"test -t 0 && test -t 1 && test -t 2 && stty size && printf '\033[1mdone\033[m\n'";
    let report = completed(task(line)).await;
    assert_eq!(report.task, TaskId(1));
    assert_eq!(report.generation, Some(Generation(1)));
    assert_eq!(report.text, "24 80\ndone");
}

#[tokio::test]
async fn a_task_has_only_its_members_environment() {
    let line = "echo $GIVEN-$STRAY-$TERM-$AGENT_TEAM_MEMBER-${#AGENT_TEAM_LAUNCH}; pwd";
    let report = completed(task(line)).await;
    let (environment, directory) = report.text.split_once('\n').unwrap();
    assert_eq!(environment, "yes--xterm-256color-ada-32");
    assert!(directory.ends_with("/project"), "{directory}");
}

#[tokio::test]
async fn the_result_is_the_end_of_a_long_output() {
    let report = completed(task("seq 1 100000")).await;
    assert!(report.text.len() <= 4096);
    assert!(report.text.ends_with("\n99999\n100000"), "{}", report.text);
}

#[tokio::test]
async fn a_failed_task_has_its_exit_code_and_output() {
    assert_eq!(failed(task("echo no; exit 3")).await, "exit 3: no");
    assert_eq!(failed(task("exit 4")).await, "exit 4");
}

#[tokio::test]
async fn a_killed_task_fails_with_the_signal() {
    assert_eq!(failed(task("kill -KILL $$")).await, "killed by signal 9");
}

#[tokio::test]
async fn a_failing_verify_line_fails_the_task() {
    let verified = |verify: &str| Assignment {
        verify: Some(verify.into()),
        ..task("echo built")
    };
    let reason = failed(verified("echo broken; false")).await;
    assert_eq!(reason, "verify failed (exit 1): broken");
    assert_eq!(completed(verified("true")).await.text, "built");
}

#[tokio::test]
async fn a_task_without_a_run_line_fails_at_once() {
    let nothing = Assignment {
        run: None,
        ..task("")
    };
    assert_eq!(
        failed(nothing).await,
        "the task has no run line, which the command engine requires"
    );
}

#[tokio::test]
async fn the_supervisor_gets_the_session_and_the_output() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&task("echo pid $$; exec sleep 1000")).await;
    let session = member.noticed::<TaskSession>(|_| true).await;
    assert!(session.start_time > 0);
    let expected = format!("pid {}\n", session.pid);
    let output = member
        .noticed::<TaskOutput>(|output| output.text.ends_with(&expected))
        .await;
    assert_eq!(output.task, Some(TaskId(1)));
    assert!(supervisor.log().contains(&expected), "{}", supervisor.log());
}

#[tokio::test]
async fn a_background_job_does_not_outlive_its_task() {
    let line = "(trap '' HUP TERM; exec setsid sleep 1000) & echo $!";
    let report = completed(task(line)).await;
    let pid = report.text.parse().unwrap();
    assert_eq!(ProcessId::of(pid).unwrap(), None);
}

#[tokio::test]
async fn an_abandoned_task_is_terminated_unreported() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    let stubborn =
        "setsid sh -c 'trap \"\" TERM HUP; echo grandchild $$; while :; do sleep 1000; done'";
    member
        .notify(&task(&format!("{stubborn} & sleep 1000")))
        .await;
    let of_grandchild = |output: &TaskOutput| output.text.contains("grandchild");
    let output = member.noticed::<TaskOutput>(of_grandchild).await;
    let pid: u32 = output
        .text
        .trim()
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    member
        .notify(&Abandon {
            task: TaskId(1),
            generation: Generation(1),
            reason: "released".into(),
        })
        .await;
    ended(pid).await;
    let next = Assignment {
        task: TaskId(2),
        ..task("echo next")
    };
    member.notify(&next).await;
    let report = member.asked::<TaskComplete>().await;
    assert_eq!(
        (report.args().task, report.args().text.as_str()),
        (TaskId(2), "next")
    );
    assert!(supervisor.log().contains("abandoned: released"));
}

#[tokio::test]
async fn abandoning_an_older_claim_changes_nothing() {
    let supervisor = ScriptedSupervisor::new();
    let fifo = supervisor.path("go");
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    let newer = Assignment {
        generation: Generation(2),
        ..task(&format!("mkfifo {0}; echo ready; cat {0}", fifo.display()))
    };
    member.notify(&newer).await;
    member
        .noticed::<TaskOutput>(|output| output.text.ends_with("ready\n"))
        .await;
    member
        .notify(&Abandon {
            task: TaskId(1),
            generation: Generation(1),
            reason: "stale".into(),
        })
        .await;
    std::fs::write(&fifo, "went on").unwrap();
    let report = member.asked::<TaskComplete>().await;
    assert_eq!(report.args().generation, Some(Generation(2)));
    assert_eq!(report.args().text, "ready\nwent on");
}

#[tokio::test]
async fn a_refused_completion_becomes_a_failure() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&task("true")).await;
    let report = member.asked::<TaskComplete>().await;
    let refusal = Refusal::new(ErrorCode::CompletionRefused, "the hook says no");
    member.refuse(&report, refusal).await;
    let failure = member.asked::<TaskFail>().await;
    assert_eq!(failure.args().text, "the hook says no");
    accept(&mut member, &failure).await;
}

#[tokio::test]
async fn a_stale_report_is_dropped() {
    let supervisor = ScriptedSupervisor::new();
    let _worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&task("true")).await;
    let report = member.asked::<TaskComplete>().await;
    member
        .refuse(&report, Refusal::new(ErrorCode::StaleClaim, "stale"))
        .await;
    let next = Assignment {
        task: TaskId(2),
        ..task("true")
    };
    member.notify(&next).await;
    assert_eq!(member.asked::<TaskComplete>().await.args().task, TaskId(2));
    assert!(supervisor.log().contains("stale"));
}
