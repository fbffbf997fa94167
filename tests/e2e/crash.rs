//! `kill -9` of the supervisor and of workers, at any moment: acknowledged changes are kept, no work is repeated, and
//! the other processes continue.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_team_client::CallError;
use agent_team_protocol::Recipient;
use agent_team_protocol::method::{
    AddTask, ListMessages, MessageList, MessageSend, SendAnswer, SendMessage, TaskAdd,
};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_system::lock::FileLock;
use agent_team_tests::{Rig, User, processes, until};

use crate::history::{check, history};
use crate::teams::{assigned, headless, task};

/// The time limit from the death of a supervisor until its successor serves.
const PROMISED: Duration = Duration::from_secs(2);

/// Waits until a supervisor other than the process `pid` answers.
pub(crate) async fn successor_of(rig: &Rig, pid: u32) -> User {
    until("the next supervisor", async || {
        let user = rig.user().await;
        (user.client.initialized().pid != pid).then_some(user)
    })
    .await
}

#[tokio::test]
async fn tasks_outlive_a_supervisor_that_a_worker_restarts() {
    let tasks = [
        task(
            "Long",
            "mkfifo gate; cat gate; echo run >> runs; echo done",
            "",
        ),
        task("Other", "mkfifo other; cat other", ""),
    ];
    let rig = headless(&["ada", "bob"], &tasks.concat());
    rig.ok(["up"]).await;
    until("both tasks to run", async || {
        let open = ["gate", "other"].map(|gate| rig.project().join(gate).exists());
        open.iter().all(|open| *open).then_some(())
    })
    .await;
    let before = (rig.member("ada").await, rig.member("bob").await);
    let supervisor = rig.supervisor().await;
    let killed = Instant::now();
    processes::kill(supervisor).await;
    let user = successor_of(&rig, supervisor.pid).await;
    assert!(killed.elapsed() < PROMISED, "{:?}", killed.elapsed());
    assert_ne!(user.client.initialized().pid, supervisor.pid);
    for (name, before) in [("ada", &before.0), ("bob", &before.1)] {
        let now = rig
            .until_member(name, |member| member.state == MemberState::Working)
            .await;
        assert_eq!((now.pid, now.launch), (before.pid, before.launch.clone()));
        assert_eq!(now.task, before.task);
    }
    assert!(killed.elapsed() < PROMISED, "{:?}", killed.elapsed());
    let gate = rig.project().join("gate");
    tokio::task::spawn_blocking(move || std::fs::write(gate, ""))
        .await
        .unwrap()
        .unwrap();
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!((done.attempts, done.generation.0), (1, 1));
    assert_eq!(rig.read("runs").as_deref(), Some("run\n"));
}

#[tokio::test]
async fn the_result_of_a_task_reaches_the_next_supervisor() {
    // The task kills the supervisor, so the task ends while no supervisor runs, or shortly after the next supervisor
    // starts.
    let run = "echo run >> runs; xargs kill -9 < pid; echo after";
    let rig = assigned(&["ada"], &task("Kill", run, ""));
    rig.ok(["up"]).await;
    let supervisor = rig.supervisor().await;
    rig.write("pid", &supervisor.pid.to_string());
    rig.ok(["task", "assign", "T-1", "ada"]).await;
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(done.result.as_deref(), Some("after"));
    assert_eq!(done.attempts, 1);
    assert_eq!(rig.read("runs").as_deref(), Some("run\n"));
}

#[tokio::test]
async fn a_waiting_verb_survives_the_death_of_the_supervisor() {
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    let mut up = rig.start(["up", "--wait"]);
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let gate = rig.project().join("gate");
    until("the gate", async || gate.exists().then_some(())).await;
    let supervisor = rig.supervisor().await;
    processes::kill(supervisor).await;
    successor_of(&rig, supervisor.pid).await;
    tokio::task::spawn_blocking(move || std::fs::write(gate, ""))
        .await
        .unwrap()
        .unwrap();
    assert!(up.wait().await.success());
}

#[tokio::test]
async fn a_restarted_supervisor_adopts_its_workers() {
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let (before, supervisor) = (rig.member("ada").await, rig.supervisor().await);
    rig.ok(["supervisor", "restart"]).await;
    successor_of(&rig, supervisor.pid).await;
    let after = rig.until_member_is("ada", MemberState::Working).await;
    assert_eq!((after.pid, after.launch), (before.pid, before.launch));
}

#[tokio::test]
async fn only_a_command_restarts_a_terminated_supervisor() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let (ada, supervisor) = (rig.worker("ada").await, rig.supervisor().await);
    supervisor
        .signal(agent_team_system::process::Signal::SIGTERM)
        .unwrap();
    processes::ended(supervisor).await;
    processes::ended(ada).await;
    // With panes, the team's tmux server keeps running and shows the member's last output.
    let programs = rig.processes().into_iter();
    let programs = programs.filter(|found| !found.command.contains("tmux.sock"));
    assert_eq!(programs.collect::<Vec<_>>(), []);
    rig.ok(["ps"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn a_supervisor_starts_after_its_predecessor_exits() {
    let mut rig = headless(&["ada"], "");
    // The test holds the supervisor's lock, as an exiting supervisor does. The script passes on the report of the first
    // new supervisor only after the test has released the lock.
    rig.script_supervisor(
        "cd \"$AGENT_TEAM_HOME\"\n\
         if mkfifo gone; then\n\
             AGENT_TEAM_READY_FD=9 \"$SUPERVISOR\" 9>&1 | cat > said\n\
             mv said heard\n\
             cat gone heard > /dev/fd/\"$AGENT_TEAM_READY_FD\"\n\
             exit 4\n\
         fi\n\
         exec \"$SUPERVISOR\"\n",
    );
    let directories = rig.directories();
    directories.prepare().unwrap();
    let ending = FileLock::try_acquire(&directories.supervisor_lock())
        .unwrap()
        .expect("no supervisor");
    let mut up = rig.start(["up"]);
    let home = rig.home();
    until("the first supervisor's report", async || {
        home.join("heard").exists().then_some(())
    })
    .await;
    drop(ending);
    let gone = home.join("gone");
    tokio::task::spawn_blocking(|| std::fs::write(gone, ""))
        .await
        .unwrap()
        .unwrap();
    assert!(up.wait().await.success());
    rig.until_member_is("ada", MemberState::Idle).await;
}

/// Sends a message for each number, and repeats each call until it is answered. Returns the answers.
async fn send_each(
    rig: &Rig,
    caller: &str,
    numbers: std::ops::Range<u32>,
) -> BTreeMap<u32, SendAnswer> {
    let mut answers = BTreeMap::new();
    let mut user = rig.user_as(caller).await;
    for number in numbers {
        loop {
            let message = SendMessage {
                to: Recipient::Member("ada".parse().unwrap()),
                text: format!("{caller} {number}"),
                urgent: false,
                reply_to: None,
                summary: None,
                wants_reply: false,
                attach_outside: false,
            };
            let key = number.to_string();
            match user.call::<MessageSend>(message, Some(&key)).await {
                Ok(answer) => {
                    answers.insert(number, answer);
                    break;
                }
                Err(CallError::Disconnected) => user = rig.user_as(caller).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
    answers
}

#[tokio::test]
async fn messages_sent_during_supervisor_kills_are_stored_once() {
    const MESSAGES: u32 = 300;
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let killing = async {
        for _ in 0..4 {
            let pid = rig.supervisor().await;
            processes::kill(pid).await;
            successor_of(&rig, pid.pid).await;
        }
    };
    let (one, other, ()) = tokio::join!(
        send_each(&rig, "one", 0..MESSAGES),
        send_each(&rig, "other", 0..MESSAGES),
        killing
    );
    let user = rig.user().await;
    let list = ListMessages {
        of: None,
        limit: 10 * MESSAGES,
    };
    let stored = user.ask::<MessageList>(list).await.messages;
    for (caller, answers) in [("one", one), ("other", other)] {
        let mine: Vec<_> = stored
            .iter()
            .filter_map(|message| {
                let number = message.text.strip_prefix(caller)?.trim();
                Some((number.parse::<u32>().ok()?, message.id))
            })
            .collect();
        let expected: Vec<_> = answers
            .iter()
            .map(|(number, answer)| (*number, answer.id))
            .collect();
        assert_eq!(mine, expected, "in order, once, under the acknowledged id");
    }
    until("ada to have read every message", async || {
        (rig.member("ada").await.unread == 0).then_some(())
    })
    .await;
}

/// A random number generator (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[tokio::test]
async fn random_kills_leave_a_consistent_history() {
    const KILLS: u32 = 24;
    const TASKS: u64 = 60;
    let seed = u64::from(std::process::id()) << 20 | 0x9e37;
    eprintln!("seed {seed}");
    let mut dice = Dice(seed);
    let rig = headless(&["ada", "bob", "cyd", "dee"], "");
    rig.ok(["up"]).await;
    let mut user = rig.user_as("torturer").await;
    for number in 1..=TASKS {
        let add = || AddTask {
            spec: TaskSpec {
                key: format!("task {number}"),
                title: format!("task {number}"),
                // Each run adds one line, so a run after the task's completion would be visible.
                run: Some(format!("sleep 0.05; echo run >> runs-{number}")),
                rerun: true,
                ..TaskSpec::default()
            },
        };
        user.ask::<TaskAdd>(add()).await;
    }
    for _ in 0..KILLS {
        if dice.below(2) == 0 {
            let supervisor = user.client.initialized().pid;
            if let Ok(Some(process)) = agent_team_system::process::ProcessId::of(supervisor) {
                processes::kill(process).await;
            }
        } else {
            let name = ["ada", "bob", "cyd", "dee"][usize::try_from(dice.below(4)).unwrap()];
            let pid = rig.member(name).await.pid.map(u64::from);
            let process = pid.and_then(|pid| {
                agent_team_system::process::ProcessId::of(u32::try_from(pid).unwrap()).unwrap()
            });
            if let Some(process) = process {
                let _already_gone = process.signal(agent_team_system::process::Signal::SIGKILL);
                processes::ended(process).await;
            }
        }
        // If neither the supervisor nor a worker is alive, this command starts the next supervisor.
        rig.ok(["ps"]).await;
        user = rig.user_as("torturer").await;
    }
    // Restart members that are held after too many crashes.
    for name in ["ada", "bob", "cyd", "dee"] {
        if rig.member(name).await.state == MemberState::Held {
            rig.ok(["restart", name]).await;
        }
    }
    until("the completion of every task", async || {
        let list = rig.json(["task", "list"]).await;
        let tasks = list["tasks"].as_array().unwrap();
        tasks
            .iter()
            .all(|task| task["state"] == "completed")
            .then_some(())
    })
    .await;
    let history = history(&rig).await;
    check(&history);
    let completed = history
        .iter()
        .filter(|event| event.kind == "task_completed")
        .count();
    assert_eq!(completed as u64, TASKS);
    for number in 1..=TASKS {
        let runs = rig.read(&format!("runs-{number}")).unwrap_or_default();
        let attempts = rig.task(&format!("T-{number}")).await.attempts as usize;
        let runs = runs.lines().count();
        assert!(
            (1..=attempts).contains(&runs),
            "T-{number}: {runs} runs, {attempts} attempts"
        );
    }
}

#[tokio::test]
async fn a_disconnected_member_stops_when_it_reconnects() {
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["supervisor", "restart"]).await;
    let began = Instant::now();
    rig.ok(["stop", "ada"]).await;
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(6),
        "the member stops before the end of the grace period: {took:?}"
    );
}
