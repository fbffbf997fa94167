//! Tests of the supervisor process: only one runs at a time, it closes in an orderly way, and clients reach it when its
//! files are gone.

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use agent_team_client::CallError;
use agent_team_protocol::method::{AddTask, TaskAdd};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_system::announcement::Announced;
use agent_team_system::lock::FileLock;
use agent_team_system::process::Signal;
use agent_team_tests::{Rig, processes, until, within};

use crate::crash::successor_of;
use crate::teams::{assigned, file, headless, in_panes, task};

/// How much longer a command may take when the socket is gone.
const REACHED: Duration = Duration::from_secs(2);

/// The factor by which a command may be slower than its control, because other tests use the processor meanwhile.
const NOISE: u32 = 5;

async fn timed<const N: usize>(rig: &Rig, arguments: [&str; N]) -> Duration {
    let began = Instant::now();
    rig.ok(arguments).await;
    began.elapsed()
}

/// Asserts that a command took less than the sum of [`REACHED`] and [`NOISE`] times `control`, which is the duration of
/// the same command in the same test, with nothing removed.
fn assert_within_limit(what: &str, took: Duration, control: Duration) {
    let limit = REACHED + NOISE * control;
    assert!(took < limit, "{what}: {took:?}, the control {control:?}");
}

/// The number of lines in the supervisors' log that contain this message.
fn logged(rig: &Rig, message: &str) -> usize {
    let log = fs::read_to_string(rig.directories().supervisor_log()).unwrap();
    log.lines().filter(|line| line.contains(message)).count()
}

/// Adds tasks until `stop` is set, and repeats each call with its key until the call is answered. Returns the number of
/// tasks.
async fn add_tasks(rig: &Rig, caller: usize, stop: &Cell<bool>) -> usize {
    let id = format!("caller-{caller}");
    let mut user = rig.user_as(&id).await;
    let mut added = 0;
    while !stop.get() {
        let spec = TaskSpec {
            key: format!("{caller}-{added}"),
            title: format!("task {added} of caller {caller}"),
            ..TaskSpec::default()
        };
        let key = added.to_string();
        match user.call::<TaskAdd>(AddTask { spec }, Some(&key)).await {
            Ok(_) => added += 1,
            Err(CallError::Disconnected) => user = rig.user_as(&id).await,
            Err(error) => panic!("a call was refused: {error}"),
        }
    }
    added
}

#[tokio::test]
async fn a_closing_supervisor_opens_no_team_again() {
    const RESTARTS: usize = 8;
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    let stop = Cell::new(false);
    let restarts = async {
        for _ in 0..RESTARTS {
            let before = rig.supervisor().await;
            rig.ok(["supervisor", "restart"]).await;
            successor_of(&rig, before.pid).await;
        }
        stop.set(true);
    };
    let callers = (0..8).map(|caller| add_tasks(&rig, caller, &stop));
    let (added, ()) = tokio::join!(agent_team_tests::together(callers), restarts);
    let list = rig.json(["task", "list"]).await;
    let stored = list["tasks"].as_array().unwrap().len();
    assert_eq!(stored, added.iter().sum::<usize>(), "each task once");
    assert_eq!(logged(&rig, " serving"), RESTARTS + 1);
    assert_eq!(logged(&rig, " opened"), RESTARTS + 1, "once per supervisor");
}

#[tokio::test]
async fn a_team_that_another_process_writes_is_not_opened() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["down"]).await;
    let teams = fs::read_dir(rig.directories().teams()).unwrap();
    let team = teams.last().unwrap().unwrap().path();
    let lock = FileLock::try_acquire(&team.join("team.lock")).unwrap();
    let refusal = rig.refused(1, ["up"]).await;
    assert_eq!(refusal["code"], "storage_failed", "{refusal}");
    let message = refusal["message"].as_str().unwrap();
    assert!(
        message.contains("another supervisor writes it"),
        "{message}"
    );
    drop(lock);
    rig.ok(["up"]).await;
}

/// A rig with a running task, after `remove` has removed files.
async fn without_socket(remove: impl Fn(&Rig)) -> Rig {
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    remove(&rig);
    rig
}

fn remove_socket(rig: &Rig) {
    fs::remove_file(rig.directories().socket()).unwrap();
}

fn remove_runtime_directory(rig: &Rig) {
    rig.remove_runtime_directory();
}

#[tokio::test]
async fn commands_work_after_the_socket_was_removed() {
    let control = without_socket(|_| {}).await;
    let ps = timed(&control, ["ps"]).await;
    let status = timed(&control, ["supervisor", "status"]).await;
    let down = timed(&control, ["down", "--force"]).await;
    for remove in [remove_socket, remove_runtime_directory] {
        let rig = without_socket(remove).await;
        assert!(!rig.directories().socket().exists());
        let took = timed(&rig, ["ps"]).await;
        assert_within_limit("ps", took, ps);

        let before = rig.supervisor().await;
        remove(&rig);
        let took = timed(&rig, ["supervisor", "status"]).await;
        assert_within_limit("status", took, status);
        assert_eq!(rig.supervisor().await, before, "no other supervisor");

        remove(&rig);
        let took = timed(&rig, ["down", "--force"]).await;
        assert_within_limit("down", took, down);
        assert_eq!(rig.processes(), []);
    }
}

#[tokio::test]
async fn a_supervisor_without_a_socket_is_stopped_and_restarted() {
    let rig = without_socket(|_| {}).await;
    let before = rig.supervisor().await;
    let control = timed(&rig, ["supervisor", "restart"]).await;
    successor_of(&rig, before.pid).await;
    remove_socket(&rig);
    let lock = rig.directories().supervisor_lock();
    let announced = Announced::read(&lock).unwrap().unwrap();
    let before = announced.process.expect("the lock names its process");
    let took = timed(&rig, ["supervisor", "restart"]).await;
    assert_within_limit("restart", took, control);
    successor_of(&rig, before.pid).await;
    rig.until_member_is("ada", MemberState::Working).await;
    remove_runtime_directory(&rig);
    rig.ok(["supervisor", "stop"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_new_supervisor_finds_tmux_without_its_directory() {
    let rig = in_panes(&["ada"], "");
    rig.ok(["up", "--detach"]).await;
    let before = rig.supervisor().await;
    let ada = rig.worker("ada").await;
    // The worker is stopped meanwhile. When it continues, it starts the next supervisor.
    ada.signal(Signal::SIGSTOP).unwrap();
    remove_runtime_directory(&rig);
    processes::kill(before).await;
    ada.signal(Signal::SIGCONT).unwrap();
    successor_of(&rig, before.pid).await;
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_removed_lock_file_makes_no_second_supervisor() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let before = rig.supervisor().await;
    let files = ["supervisor.lock", "supervisor.pid", "run/supervisor.sock"];
    let lock = rig.directories().supervisor_lock();
    // The supervisor is found by its record, by its socket without a record, and by its record without a socket.
    for removed in [&files[..1], &files[..2], &[files[0], files[2]]] {
        for file in removed {
            let path = match file.strip_prefix("run/") {
                Some(name) => rig.directories().run.join(name),
                None => rig.directories().state.join(file),
            };
            fs::remove_file(path).unwrap();
        }
        rig.ok(["ps"]).await;
        assert_eq!(rig.supervisor().await, before, "{removed:?}");
        assert!(FileLock::is_held(&lock).unwrap(), "{removed:?}");
        let mut supervisors = rig.processes();
        supervisors.retain(|found| found.program == "agent-teamd");
        assert_eq!(supervisors.len(), 1, "{removed:?}");
    }
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_hosted_member_outlives_its_removed_socket() {
    let long = task("Long", "mkfifo gate; cat gate", "");
    let rig = Rig::with_team(&file(&["ada"], "hosted", "ready", &long));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let before = rig.member("ada").await;
    let supervisor = rig.supervisor().await;
    // The next supervisor finds no socket of the process that hosts ada.
    remove_runtime_directory(&rig);
    processes::kill(supervisor).await;
    successor_of(&rig, supervisor.pid).await;
    let after = rig.until_member("ada", |member| !member.disconnected).await;
    assert_eq!((after.pid, after.launch), (before.pid, before.launch));
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn stop_ends_the_teams_of_a_killed_supervisor() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let ada = rig.worker("ada").await;
    // A stopped worker starts no supervisor.
    ada.signal(Signal::SIGSTOP).unwrap();
    processes::kill(rig.supervisor().await).await;
    let mut stop = rig.start(["supervisor", "stop"]);
    let lock = rig.directories().supervisor_lock();
    until("a supervisor", async || {
        FileLock::is_held(&lock).unwrap().then_some(())
    })
    .await;
    ada.signal(Signal::SIGCONT).unwrap();
    assert!(stop.wait().await.success());
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_worker_connects_after_the_socket_was_removed() {
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let ada = rig.worker("ada").await;
    remove_socket(&rig);
    processes::kill(ada).await;
    // Only the worker's successor connects meanwhile, so the supervisor binds the socket again because of the
    // successor.
    let socket = rig.directories().socket();
    until("the socket", async || socket.exists().then_some(())).await;
    let back = rig
        .until_member("ada", |member| {
            member.state == MemberState::Working && member.pid != Some(ada.pid)
        })
        .await;
    assert!(back.pid.is_some());
}

#[tokio::test]
async fn a_stopped_supervisor_is_named_with_its_pid() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    for remove in [|_: &Rig| {}, remove_socket] {
        let supervisor = rig.supervisor().await;
        supervisor.signal(Signal::SIGSTOP).unwrap();
        until("the stop", async || {
            supervisor.is_stopped().unwrap().then_some(())
        })
        .await;
        remove(&rig);
        let error = rig.refused(6, ["ps"]).await;
        let message = error["message"].as_str().unwrap();
        let named = format!("process {}, is stopped", supervisor.pid);
        assert!(message.contains(&named), "{message}");
        let hint = format!("kill -CONT {}", supervisor.pid);
        assert!(error["hint"].as_str().unwrap().contains(&hint), "{error}");
        supervisor.signal(Signal::SIGCONT).unwrap();
        rig.ok(["ps"]).await;
    }
}

#[tokio::test]
async fn ps_shows_a_member_that_is_not_connected() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let ada = rig.worker("ada").await;
    ada.signal(Signal::SIGSTOP).unwrap();
    processes::kill(rig.supervisor().await).await;
    rig.run(["ps"])
        .await
        .expect(0)
        .assert_prints("idle, not connected");
    let document = rig.json(["ps"]).await;
    assert_eq!(document["members"][0]["disconnected"], true, "{document}");
    rig.run(["why", "ada"])
        .await
        .expect(0)
        .assert_prints("its worker is not connected");
    ada.signal(Signal::SIGCONT).unwrap();
    rig.until_member("ada", |member| !member.disconnected).await;
}

#[tokio::test]
async fn a_worker_reconnects_soon_after_many_crashes() {
    const CRASHES: u32 = 10;
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let crash = async || {
        processes::kill(rig.supervisor().await).await;
        rig.ok(["ps"]).await;
    };
    let connected = async || {
        let began = Instant::now();
        rig.until_member("ada", |member| !member.disconnected).await;
        began.elapsed()
    };
    crash().await;
    let control = connected().await;
    for _ in 0..CRASHES {
        crash().await;
    }
    // If the worker counted each crash as a failed attempt, its next pause would be 25 s.
    assert_within_limit("the connection", connected().await, control);
}

#[tokio::test]
async fn a_command_repeats_its_call_when_supervisors_crash() {
    let mut rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["down"]).await;
    // Six supervisors crash before they store the call, the seventh crashes before it answers.
    rig.script_supervisor(
        "cd \"$AGENT_TEAM_HOME\"\n\
         for crash in crash-*; do\n\
             rm \"$crash\" || break\n\
             case $crash in crash-7) at=committed;; *) at=decided;; esac\n\
             exec \"$PLANTED\" crash-at=$at:1\n\
         done\n\
         exec \"$SUPERVISOR\"\n",
    );
    for number in 1..=7 {
        fs::write(rig.home().join(format!("crash-{number}")), "").unwrap();
    }
    rig.ok(["task", "add", "Once"]).await;
    assert!(
        !rig.home().join("crash-7").exists(),
        "all seven supervisors crashed"
    );
    let list = rig.json(["task", "list"]).await;
    assert_eq!(list["tasks"].as_array().map(Vec::len), Some(1), "{list}");
}

#[tokio::test]
async fn down_ends_a_tmux_server_whose_directory_was_removed() {
    let rig = in_panes(&["ada"], "");
    rig.ok(["up", "--detach"]).await;
    remove_runtime_directory(&rig);
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn the_log_has_requests_commits_and_launches_on_demand() {
    let rig = headless(&["ada"], "");
    let mut up = rig.command(&["up"]);
    up.env("AGENT_TEAM_LOG", "debug");
    assert!(up.output().await.unwrap().status.success());
    rig.ok(["down"]).await;
    // `supervisor logs` needs no supervisor. The thread that writes the log may lag, so repeat the command.
    let ended = async {
        loop {
            let log = rig.ok(["supervisor", "logs"]).await.stdout;
            if log.contains(" exiting ") {
                return log;
            }
        }
    };
    let log = within("the supervisor to end", ended).await;
    for part in [
        "request{method=\"team/up\" by=User key=\"",
        "committed team=demo-",
        "launching member=ada",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
}
