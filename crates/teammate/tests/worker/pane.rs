//! Tests of the pane's output, and of the effects of keystrokes.

use agent_team_protocol::initialize::ConnectionRole;
use agent_team_protocol::method::{
    LendTerminalAnswer, MessageRead, PaneHold, TaskAdd, TaskAnswer, TaskComplete, TaskFail,
};
use agent_team_protocol::notification::{
    Assignment, Deliver, DeliveredMessage, MemberWaits, PaneGrown, PaneLost, PaneTooSmall,
    TaskOutput, TaskSession,
};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::{Generation, MessageId, Party, TaskId};
use agent_team_system::process::{ProcessId, Signal};

use crate::rig::{ScriptedSupervisor, task};

pub(crate) const PROMPT: &str = "ada ▸ ";

pub(crate) fn message(id: u64, text: &str) -> Deliver {
    Deliver {
        messages: vec![DeliveredMessage {
            id: MessageId(id),
            from: Party::User,
            text: text.into(),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            can_wait: false,
            redelivered: false,
            attach_outside: false,
        }],
    }
}

/// A shell line that prints `ready`, reads one line of input, and prints that line.
pub(crate) const READS_A_LINE: &str = "echo ready; read line; echo got $line";

#[tokio::test]
async fn a_task_is_shown_between_its_header_and_its_footer() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    let verified = Assignment {
        verify: Some("echo checked".into()),
        attempt: 2,
        ..task("stty size; echo $TERM")
    };
    member.notify(&verified).await;
    pane.shows("── T-1 Build (attempt 2) ── stty size; echo $TERM")
        .await;
    pane.shows("30 100\r\ntmux-256color\r\n").await;
    pane.shows("── verify ── echo checked").await;
    pane.shows("checked\r\n").await;
    pane.shows("✓ T-1 completed in ").await;
    pane.shows(PROMPT).await;
    assert!(
        pane.seen().contains("\x1b[38;5;75m"),
        "no member colour: {}",
        pane.seen()
    );
    let log = supervisor.log();
    assert!(
        log.contains("── T-1 Build (attempt 2)") && log.contains("30 100\n"),
        "{log}"
    );
    assert!(!log.contains('\x1b'), "{log:?}");
}

#[tokio::test]
async fn keys_reach_the_task() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    member.notify(&task(READS_A_LINE)).await;
    pane.shows("ready\r\n").await;
    pane.type_in("hello\r").await;
    pane.shows("got hello").await;
    assert!(
        member
            .asked::<TaskComplete>()
            .await
            .args()
            .text
            .ends_with("got hello")
    );
}

#[tokio::test]
async fn an_interrupt_key_reaches_only_the_task() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    member.notify(&task("echo ready; exec sleep 1000")).await;
    pane.shows("ready\r\n").await;
    pane.type_in("\x03").await;
    let report = member.asked::<TaskFail>().await;
    assert!(
        report.args().text.starts_with("killed by signal 2"),
        "{}",
        report.args().text
    );
    pane.shows("✗ T-1 failed: killed by signal 2").await;
    pane.shows(PROMPT).await;
}

#[tokio::test]
async fn a_resized_pane_resizes_the_task() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    let line = "trap 'stty size' WINCH; echo ready; while :; do sleep 1000 & wait; done";
    member.notify(&task(line)).await;
    pane.shows("ready\r\n").await;
    pane.resize(60, 20);
    pane.shows("20 60").await;
}

#[tokio::test]
async fn a_pane_that_is_too_small_or_grows_is_reported() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.resize(60, 5);
    member.noticed::<PaneTooSmall>(|_| true).await;
    pane.resize(60, 20);
    member.noticed::<PaneGrown>(|_| true).await;
    pane.resize(70, 18);
    member.noticed::<PaneGrown>(|_| true).await;
}

#[tokio::test]
async fn after_a_task_the_prompt_edits_lines_again() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    // This task behaves like a full-screen program that dies without restoring the terminal.
    member
        .notify(&task(
            r"stty raw -echo; printf '\033[?1049h\033[?25l\033[?2004h'; kill -9 $$",
        ))
        .await;
    member.asked::<TaskFail>().await;
    pane.shows("\x1b[?1049l").await;
    pane.shows("\x1b[?25h").await;
    pane.shows("\x1b[?2004l").await;
    pane.shows(PROMPT).await;
    pane.type_in("/task echo bx\x7f\x1b[Da \r").await;
    let (mut client, _) = supervisor.accept().await;
    client.welcome_client().await;
    let call = client.asked::<TaskAdd>().await.call;
    assert_eq!(call.args.spec.run.as_deref(), Some("echo a b"));
}

#[tokio::test]
async fn a_typed_line_runs_in_the_pane_and_is_logged() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    // Moving the cursor does not change the line.
    pane.type_in("printf '%s-' two; tty; stty size; echo $GIVEN; exit 3")
        .await;
    pane.type_in("\x01\x1bf\x1bf\x1b[C").await;
    pane.type_in("\x05\r").await;
    let session = member.noticed::<TaskSession>(|_| true).await;
    assert_eq!(session.task, None, "a typed line belongs to no task");
    pane.shows("two-/dev/").await;
    pane.shows("30 100\r\n").await;
    pane.shows("yes\r\n").await;
    pane.shows("✗ exit 3").await;
    pane.shows(PROMPT).await;
    let log = supervisor.log();
    assert!(log.contains("── you ── printf '%s-' two;"), "{log}");
    assert!(
        log.contains("two-/dev/") && log.contains("✗ exit 3"),
        "{log}"
    );
    // A search of the history finds the line. Afterwards, the program of the next line reads the typed text.
    pane.type_in("\x12printf").await;
    pane.shows("search: printf ▸ ").await;
    pane.type_in("\x07").await;
    pane.type_in("read line; echo got $line\r").await;
    pane.shows("── you ── read line").await;
    member.noticed::<TaskSession>(|_| true).await;
    pane.type_in("/ps\r").await;
    pane.shows("got /ps").await;
}

#[tokio::test]
async fn a_task_waits_for_the_program_of_a_typed_line() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in("echo begun; read line; echo got $line\r")
        .await;
    pane.shows("begun\r\n").await;
    member.notify(&task("echo the task")).await;
    let waits = member.noticed::<MemberWaits>(|_| true).await;
    assert!(waits.on.is_some(), "{waits:?}");
    pane.shows("T-1 waits until your program ends").await;
    pane.type_in("hello\r").await;
    pane.shows("got hello").await;
    let waits = member.noticed::<MemberWaits>(|_| true).await;
    assert!(waits.on.is_none(), "{waits:?}");
    assert_eq!(member.asked::<TaskComplete>().await.args().text, "the task");
}

#[tokio::test]
async fn the_command_task_adds_its_line_as_a_task() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in("\r").await;
    pane.type_in("/task echo hi\r").await;

    let (mut client, initialize) = supervisor.accept().await;
    assert_eq!(initialize.role, ConnectionRole::Client);
    assert_eq!(initialize.token, None);
    client.welcome_client().await;
    let added = client.asked::<TaskAdd>().await;
    let call = &added.call;
    assert_eq!(call.team, Some(TeamRef::Id(supervisor.team())));
    assert!(call.key.is_some());
    assert_eq!(call.args.spec.title, "echo hi");
    assert_eq!(call.args.spec.run.as_deref(), Some("echo hi"));
    assert_eq!(call.args.spec.assignee, Some("ada".parse().unwrap()));
    assert!(!call.args.spec.rerun);
    let answer = TaskAnswer {
        task: TaskId(9),
        generation: Generation(0),
        overlaps: Vec::new(),
    };
    client.answer(&added, &answer).await;
    pane.shows("T-9 added").await;
    pane.shows(PROMPT).await;
    member
        .notify(&Assignment {
            task: TaskId(9),
            ..task("echo hi")
        })
        .await;
    pane.shows("✓ T-9 completed").await;
}

#[tokio::test]
async fn keys_at_the_prompt_do_not_end_the_worker() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in("half a line").await;
    pane.shows("half a line").await;
    pane.type_in("\x03").await;
    pane.shows(PROMPT).await;
    pane.type_in("\x1a\x1c").await;
    pane.type_in("\x03").await;
    pane.shows("to leave, detach").await;
    pane.type_in("\x03").await;
    pane.shows("detach").await;
    pane.type_in("\x04").await;
    pane.shows("detach").await;
    pane.shows(PROMPT).await;
    pane.type_in("/task whole\r").await;
    let (mut client, _) = supervisor.accept().await;
    client.welcome_client().await;
    let call = client.asked::<TaskAdd>().await.call;
    assert_eq!(call.args.spec.run.as_deref(), Some("whole"));
    member.notify(&task("true")).await;
    member.asked::<TaskComplete>().await;
}

#[tokio::test]
async fn a_half_typed_line_does_not_reach_the_task() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    pane.type_in("rm -rf ").await;
    pane.shows("rm -rf ").await;
    member.notify(&task(READS_A_LINE)).await;
    pane.shows("ready\r\n").await;
    pane.type_in("hello\r").await;
    pane.shows("got hello\r\n").await;
    // The prompt keeps its text.
    member.asked::<TaskComplete>().await;
    pane.shows("rm -rf ").await;
}

#[tokio::test]
async fn a_message_counts_as_read_when_log_and_pane_have_it() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    member.notify(&message(1, "look\x1b[2J here")).await;
    pane.shows("✉ you:\u{1b}[m look\\e[2J here").await;
    pane.shows(PROMPT).await;
    let read = member.asked::<MessageRead>().await;
    assert_eq!(read.args().messages, [MessageId(1)]);
    assert!(supervisor.log().contains("✉ you: look\\e[2J here\n"));
}

#[tokio::test]
async fn a_message_delivered_twice_is_shown_once() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    member.notify(&message(1, "first")).await;
    let read = member.asked::<MessageRead>().await;
    drop(member);
    let mut member = supervisor.member(None).await;
    member.notify(&message(1, "first")).await;
    member.notify(&message(2, "second")).await;
    let again = member.asked::<MessageRead>().await;
    assert_eq!(again.key, read.key);
    pane.shows("second").await;
    assert_eq!(pane.seen().matches("first").count(), 1, "{}", pane.seen());
}

#[tokio::test]
async fn a_message_waits_for_a_full_screen_program_to_end() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    let editor = r"printf '\033[?1049h'; echo ready; read line; printf '\033[?1049l'";
    member.notify(&task(editor)).await;
    pane.shows("ready\r\n").await;
    member.notify(&message(1, "not now")).await;
    pane.type_in("\r").await;
    pane.shows("\x1b[?1049l").await;
    pane.shows("✉ you:\u{1b}[m not now").await;
    member.asked::<MessageRead>().await;
}

#[tokio::test]
async fn a_task_survives_the_loss_of_its_pane() {
    let supervisor = ScriptedSupervisor::new();
    let (worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    let go = supervisor.path("go");
    member
        .notify(&task(&format!(
            "mkfifo {0} && echo ready && cat {0}",
            go.display()
        )))
        .await;
    let session = member.noticed::<TaskSession>(|_| true).await;
    pane.shows("ready\r\n").await;
    drop(pane);
    member.noticed::<PaneLost>(|_| true).await;
    member.notify(&message(1, "still there?")).await;
    member.asked::<MessageRead>().await;
    assert!(ProcessId::of(session.pid).unwrap().is_some());
    std::fs::write(&go, "went on").unwrap();
    assert_eq!(
        member.asked::<TaskComplete>().await.args().text,
        "ready\nwent on"
    );
    assert!(supervisor.log().contains("went on"));
    worker.signal(Signal::SIGHUP);
    let next = Assignment {
        task: TaskId(2),
        ..task("echo $TERM")
    };
    member.notify(&next).await;
    member.asked::<TaskComplete>().await;
    drop(member);
    let mut member = supervisor.member(None).await;
    member.noticed::<PaneLost>(|_| true).await;
}

#[tokio::test]
async fn a_hangup_alone_loses_the_pane_too() {
    let supervisor = ScriptedSupervisor::new();
    let (worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    worker.signal(Signal::SIGHUP);
    member.noticed::<PaneLost>(|_| true).await;
    member.notify(&task("echo on")).await;
    assert_eq!(member.asked::<TaskComplete>().await.args().text, "on");
}

#[tokio::test]
async fn a_stalled_pane_does_not_block_its_task() {
    let supervisor = ScriptedSupervisor::new();
    let (_worker, mut pane) = supervisor.in_pane();
    let mut member = supervisor.member(None).await;
    pane.shows(PROMPT).await;
    // The test does not read the pane while the task runs.
    member.notify(&task("seq 1 200000")).await;
    member.noticed::<TaskOutput>(|_| true).await;
    let report = member.asked::<TaskComplete>().await;
    assert!(report.args().text.ends_with("200000"));
    pane.shows("output omitted").await;
    pane.shows("✓ T-1 completed").await;
}

#[tokio::test]
async fn the_pane_shows_why_a_member_cannot_work() {
    let supervisor = ScriptedSupervisor::new();
    std::fs::remove_dir(supervisor.path("project")).unwrap();
    let (_worker, mut pane) = supervisor.in_pane();
    let _member = supervisor.member(None).await;
    pane.shows("project does not exist").await;
}

#[tokio::test]
async fn a_terminal_is_reset_after_its_worker_was_killed() {
    let supervisor = ScriptedSupervisor::new();
    let mut worker = supervisor.headless();
    let _member = supervisor.member(None).await;
    let (mut helper, mut terminal) = supervisor.attach();
    let (mut connection, _) = supervisor.accept().await;
    connection.welcome_client().await;
    let call = connection.asked::<PaneHold>().await;
    let answer = LendTerminalAnswer {
        member: "ada".parse().unwrap(),
        pid: worker.child.process.pid,
        start_time: worker.child.process.start_time,
    };
    connection.answer(&call, &answer).await;
    worker.signal(Signal::SIGKILL);
    worker.exit_code().await;
    for mode in ["\x1b[?1049l", "\x1b[?1002l", "\x1b[?2004l", "\x1b[?25h"] {
        terminal.shows(mode).await;
    }
    assert_eq!(helper.exit_code().await, Some(0));
}
