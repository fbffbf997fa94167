//! Tests of the stop of a worker, and of its exit report.

use std::path::Path;

use agent_team_protocol::method::{Exit, MemberExit, Nothing, TaskComplete};
use agent_team_protocol::notification::{StopMember, TaskOutput, TaskSession};
use agent_team_system::process::Signal;

use crate::rig::{ScriptedSupervisor, Worker, ended, task};
use crate::task::accept;
use crate::wire::Connection;

fn stop(grace_ms: u64) -> StopMember {
    StopMember {
        grace_ms,
        reason: "ada was stopped".into(),
    }
}

async fn exit_report(member: &mut Connection, worker: &mut Worker) -> (Exit, Option<i32>) {
    let exit = member.asked::<MemberExit>().await;
    member.answer(&exit, &Nothing {}).await;
    (exit.call.args, worker.exit_code().await)
}

#[tokio::test]
async fn an_idle_member_stops_at_once() {
    let supervisor = ScriptedSupervisor::new();
    let mut worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member.notify(&stop(3_600_000)).await;
    let (report, code) = exit_report(&mut member, &mut worker).await;
    assert_eq!((report.code, report.hold), (0, false));
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn a_task_within_the_grace_period_is_reported_before_exit() {
    let supervisor = ScriptedSupervisor::new();
    let mut worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    let go = supervisor.path("go");
    let line = format!("mkfifo {0} && echo ready && cat {0}", go.display());
    member.notify(&task(&line)).await;
    member
        .noticed::<TaskOutput>(|output| output.text.ends_with("ready\n"))
        .await;
    member.notify(&stop(3_600_000)).await;
    std::fs::write(&go, "in time").unwrap();
    let report = member.asked::<TaskComplete>().await;
    assert_eq!(report.args().text, "ready\nin time");
    accept(&mut member, &report).await;
    let (report, code) = exit_report(&mut member, &mut worker).await;
    assert_eq!((report.code, code), (0, Some(0)));
}

#[tokio::test]
async fn a_task_beyond_the_grace_period_ends_unreported() {
    let supervisor = ScriptedSupervisor::new();
    let mut worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    member
        .notify(&task(
            "trap '' TERM; echo ready; while :; do sleep 1000; done",
        ))
        .await;
    let session = member.noticed::<TaskSession>(|_| true).await;
    member
        .noticed::<TaskOutput>(|output| output.text.ends_with("ready\n"))
        .await;
    member.notify(&stop(1)).await;
    let (_, code) = exit_report(&mut member, &mut worker).await;
    assert_eq!(code, Some(0));
    ended(session.pid).await;
    member.assert_not_called::<TaskComplete>();
    let log = supervisor.log();
    assert!(log.contains("✗ T-1 abandoned: ada was stopped"), "{log}");
}

#[tokio::test]
async fn sigterm_is_a_stop() {
    let supervisor = ScriptedSupervisor::new();
    let mut worker = supervisor.headless();
    let mut member = supervisor.member(None).await;
    worker.signal(Signal::SIGTERM);
    let (report, code) = exit_report(&mut member, &mut worker).await;
    assert_eq!((report.code, code), (0, Some(0)));
}

#[tokio::test]
async fn a_missing_directory_holds_the_member() {
    let supervisor = ScriptedSupervisor::new();
    let file = supervisor.launch_file(&supervisor.path("nowhere"));
    let mut worker = supervisor.spawn_for(&file);
    let mut member = supervisor.member(Some(task("echo ran"))).await;
    let (report, code) = exit_report(&mut member, &mut worker).await;
    assert!(report.hold);
    assert!(
        report.reason.ends_with("nowhere does not exist"),
        "{}",
        report.reason
    );
    assert_eq!(report.code, 3);
    assert_eq!(code, Some(3));
    assert!(!supervisor.log().contains("ran"));
}

#[tokio::test]
async fn the_reason_of_a_held_member_is_below_the_first_row() {
    let supervisor = ScriptedSupervisor::new();
    let file = supervisor.launch_file(&supervisor.path("nowhere"));
    let (mut worker, mut pane) = supervisor.in_pane_for(&file);
    let mut member = supervisor.member(None).await;
    exit_report(&mut member, &mut worker).await;
    pane.shows("does not exist").await;
    let rows: Vec<_> = pane.seen().lines().collect();
    let reason = rows.iter().position(|row| row.contains("nowhere"));
    assert!(reason.is_some_and(|row| row > 0), "{rows:?}");
}

#[tokio::test]
async fn a_link_out_of_the_project_holds_the_member() {
    let supervisor = ScriptedSupervisor::new();
    std::fs::create_dir(supervisor.path("elsewhere")).unwrap();
    let web = supervisor.path("project/web");
    std::os::unix::fs::symlink(supervisor.path("elsewhere"), &web).unwrap();
    let file = supervisor.launch_file(&web);
    let mut worker = supervisor.spawn_for(&file);
    let mut member = supervisor.member(Some(task("echo ran"))).await;
    let (report, _) = exit_report(&mut member, &mut worker).await;
    assert!(report.hold);
    assert!(
        report.reason.ends_with("outside the project"),
        "{}",
        report.reason
    );
    assert!(!supervisor.log().contains("ran"));
}

#[tokio::test]
async fn wrong_usage_prints_one_line() {
    for worker in [
        env!("CARGO_BIN_EXE_agent-teammate"),
        env!("CARGO_BIN_EXE_agent-teammate-native"),
    ] {
        check_wrong_usage(worker);
    }
}

fn check_wrong_usage(worker: &str) {
    let name = Path::new(worker).file_name().unwrap().to_str().unwrap();
    for args in [
        &[][..],
        &["--launch"],
        &["--nonsense", "x"],
        &["--launch", "a", "b"],
    ] {
        let output = std::process::Command::new(worker)
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.starts_with(&format!("{name}: usage: {name} ")) && text.lines().count() == 1,
            "{text}"
        );
    }
    let output = std::process::Command::new(worker)
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(output.stdout.starts_with(format!("{name} ").as_bytes()));
}

#[tokio::test]
async fn a_launch_file_readable_by_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let supervisor = ScriptedSupervisor::new();
    let file = supervisor.launch_file(&supervisor.path("project"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut worker = supervisor.spawn_for(&file);
    assert_eq!(worker.exit_code().await, Some(2));
    assert!(file.exists());
}
