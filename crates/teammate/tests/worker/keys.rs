//! Tests of the keystrokes that reach a program or the prompt, and of the lines that run.

use agent_team_protocol::method::{MemberExit, MessageRead, Nothing, TaskComplete};
use agent_team_protocol::notification::{MemberWaits, StopMember, TaskSession};
use agent_team_system::process::Signal;

use crate::pane::{PROMPT, READS_A_LINE, message};
use crate::rig::{ScriptedSupervisor, task};

/// A line whose output fills the terminal: the terminal accepts no more output until the test reads some.
const STALLS: &str = "seq 1 200000";

/// The length of a text that the worker receives in several reads, in bytes.
const MANY: usize = 8_000;

fn stop() -> StopMember {
    StopMember {
        grace_ms: 3_600_000,
        reason: "asked to".into(),
    }
}

#[tokio::test]
async fn a_paste_at_the_prompt_never_reaches_a_task() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in("\x1b[200~the first half,").await;
    member.notify(&task(READS_A_LINE)).await;
    member.noticed::<TaskSession>(|_| true).await;
    let rest = format!("{} the second half\x1b[201~", "x".repeat(MANY));
    pane.type_in(&rest).await;
    pane.shows("ready\r\n").await;
    pane.type_in("hello\r").await;
    pane.shows("got hello\r\n").await;
    let report = member.asked::<TaskComplete>().await;
    assert!(report.args().text.ends_with("got hello"));
    // The prompt keeps the rest of the user's text.
    pane.shows("the second half").await;
}

#[tokio::test]
async fn keys_typed_before_a_task_stay_at_the_prompt() {
    let supervisor = ScriptedSupervisor::new();
    let (worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    // The keys and the task reach the worker at the same time.
    worker.signal(Signal::SIGSTOP);
    let typed = format!("{} the end", "x".repeat(MANY));
    tokio::join!(pane.type_in(&typed), async {
        member.notify(&task(READS_A_LINE)).await;
        worker.signal(Signal::SIGCONT);
    });
    pane.shows("ready\r\n").await;
    pane.type_in("hello\r").await;
    pane.shows("got hello\r\n").await;
    pane.shows("the end").await;
}

#[tokio::test]
async fn keys_for_an_ended_program_are_not_a_shell_line() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    member.notify(&task(STALLS)).await;
    member.asked::<TaskComplete>().await;
    // The task has ended, but the terminal still shows output of the task.
    pane.type_in("secret\r").await;
    pane.shows("✓ T-1 completed").await;
    pane.shows(PROMPT).await;
    pane.type_in("echo fresh\r").await;
    pane.shows("fresh\r\n").await;
    pane.shows(PROMPT).await;
    assert!(!supervisor.log().contains("secret"), "the keys were run");
    assert!(!pane.seen().contains("secret"), "the keys were shown");
}

#[tokio::test]
async fn keys_for_an_ended_program_do_not_reach_the_next() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in(&format!("{STALLS}\r")).await;
    member.noticed::<TaskSession>(|_| true).await;
    member.notify(&task(READS_A_LINE)).await;
    member
        .noticed::<MemberWaits>(|waits| waits.on.is_none())
        .await;
    // The task begins now, but the terminal still shows output of the line.
    pane.type_in("secret\r").await;
    pane.shows("ready\r\n").await;
    pane.type_in("hello\r").await;
    pane.shows("got hello\r\n").await;
}

#[tokio::test]
async fn an_interrupt_cancels_lines_typed_ahead() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in("echo later\r/task echo last\r\x03").await;
    pane.shows("✗ cancelled 2 lines that had not begun").await;
    pane.type_in("exec sleep 1000\recho later\r").await;
    member.noticed::<TaskSession>(|_| true).await;
    pane.type_in("\x03").await;
    pane.shows("✗ cancelled 1 line that had not begun").await;
    pane.shows("✗ killed by signal 2").await;
    pane.shows(PROMPT).await;
    pane.type_in("echo next\r").await;
    pane.shows("next\r\n").await;
    let log = supervisor.log();
    assert_eq!(log.matches("── you ──").count(), 2, "{log}");
    assert!(!log.contains("later"), "{log}");
}

#[tokio::test]
async fn a_line_typed_while_stopping_is_reported() {
    let supervisor = ScriptedSupervisor::new();
    let (mut worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    member.notify(&stop()).await;
    let exit = member.asked::<MemberExit>().await;
    pane.type_in("echo late\r").await;
    let reported = "✗ not run, because this member is stopping: echo late";
    pane.shows(reported).await;
    assert!(supervisor.log().contains(reported), "{}", supervisor.log());
    member.answer(&exit, &Nothing {}).await;
    assert_eq!(worker.exit_code().await, Some(0));
}

#[tokio::test]
async fn lines_typed_ahead_of_a_stop_are_reported() {
    let supervisor = ScriptedSupervisor::new();
    let (mut worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in("read x\recho later\r").await;
    member.noticed::<TaskSession>(|_| true).await;
    member.notify(&stop()).await;
    // The worker handles notifications in order: once the message is read, the worker has handled the stop.
    member.notify(&message(1, "look")).await;
    member.asked::<MessageRead>().await;
    pane.type_in("\r").await;
    let reported = "✗ not run, because this member is stopping: echo later";
    pane.shows(reported).await;
    assert!(supervisor.log().contains(reported), "{}", supervisor.log());
    let exit = member.asked::<MemberExit>().await;
    member.answer(&exit, &Nothing {}).await;
    assert_eq!(worker.exit_code().await, Some(0));
}
