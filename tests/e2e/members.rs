//! Members as processes: killed, restarted, held, stopped and spawned; no process of a member outlives the member.

use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, MemberView, TaskState};
use agent_team_tests::{Rig, processes};

use crate::teams::{assigned, file, headless, task};

/// A task that starts a child, a process in its own session and a daemon, and then waits. Each of these three processes
/// writes its pid into a file.
const FAMILY: &str = "\
    (echo $$ > child; exec cat gate) & \
    setsid sh -c 'echo $$ > session; exec cat gate' & \
    setsid sh -c '(setsid sh -c \"echo \\$\\$ > daemon; exec cat gate\" > /dev/null 2>&1 < /dev/null &)'; \
    cat gate";

async fn family(rig: &Rig) -> Vec<agent_team_system::process::ProcessId> {
    let mut family = Vec::new();
    for name in ["child", "session", "daemon"] {
        let pid = rig.until_written(name).await;
        family.push(processes::living(pid.parse().unwrap()));
    }
    family
}

fn with_family() -> Rig {
    let run = format!("mkfifo gate; {FAMILY}");
    headless(&["ada", "bob"], &task("Family", &run, "for = \"ada\""))
}

#[tokio::test]
async fn kill_ends_the_process_tree_and_returns_the_task() {
    let rig = with_family();
    rig.ok(["up"]).await;
    let family = family(&rig).await;
    let worker = rig.worker("ada").await;
    rig.ok(["kill", "ada"]).await;
    for process in family.iter().chain([&worker]) {
        assert!(!process.is_alive().unwrap(), "{process:?} is left");
    }
    let task = rig.task("T-1").await;
    assert_eq!((task.state, task.owner), (TaskState::Pending, None));
    assert!(task.result.unwrap().contains("killed"));
    let ada = rig.member("ada").await;
    assert_eq!(
        (ada.state, ada.pid, ada.task),
        (MemberState::Stopped, None, None)
    );
}

#[tokio::test]
async fn a_killed_workers_processes_end_before_its_successor_starts() {
    let rig = with_family();
    rig.ok(["up"]).await;
    let family = family(&rig).await;
    for name in ["gate", "child", "session", "daemon"] {
        std::fs::remove_file(rig.project().join(name)).unwrap();
    }
    processes::kill(rig.worker("ada").await).await;
    let mut events = rig.events().await;
    events.until("launch_ended", &[]).await;
    for process in &family {
        assert!(!process.is_alive().unwrap(), "{process:?} is left");
    }
    events.until("launch_ready", &[]).await;
    rig.until_written("daemon").await;
}

#[tokio::test]
async fn a_member_killed_from_outside_restarts_with_its_task() {
    let run = "echo run >> runs; test $(wc -l < runs) = 2 || { mkfifo gate; cat gate; }";
    let rig = headless(&["ada"], &task("Build", run, ""));
    rig.ok(["up"]).await;
    rig.until_written("runs").await;
    let first = rig.member("ada").await;
    processes::kill(rig.worker("ada").await).await;
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!((task.attempts, task.generation.0), (2, 2));
    let again = rig.member("ada").await;
    assert_ne!(again.launch, first.launch);
    assert_eq!(again.restarts, 1);
    let log = rig.ok(["logs", "ada"]).await.stdout;
    let relaunched = format!("{}; relaunched, continues T-1", cause_of_kill(&first));
    assert!(log.contains(&relaunched), "{log}");
}

/// The reported cause after a SIGKILL. The exit of a process that several members share is not known of each member.
fn cause_of_kill(member: &MemberView) -> &'static str {
    if member.placement == Placement::Hosted {
        "ada exited unexpectedly"
    } else {
        "ada was killed by signal 9"
    }
}

#[tokio::test]
async fn a_task_that_may_not_run_again_fails_with_its_worker() {
    let rig = headless(
        &["ada"],
        &task(
            "Once",
            "echo run >> runs; mkfifo gate; cat gate",
            "rerun = false",
        ),
    );
    rig.ok(["up"]).await;
    rig.until_written("runs").await;
    let cause = format!("worker lost: {}. ", cause_of_kill(&rig.member("ada").await));
    processes::kill(rig.worker("ada").await).await;
    let task = rig.until_task_is("T-1", TaskState::Failed).await;
    let result = task.result.unwrap();
    assert!(result.starts_with(&cause), "{result}");
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("runs").as_deref(), Some("run\n"));
}

#[tokio::test]
async fn a_started_task_without_rerun_needs_a_retry() {
    let ends = [
        ("headless", "kill"),
        ("headless", "down"),
        ("hosted", "kill"),
    ];
    for (placement, end) in ends {
        let once = task(
            "Once",
            "echo run >> runs; mkfifo gate; cat gate",
            "rerun = false",
        );
        let rig = Rig::with_team(&file(&["ada", "bob"], placement, "ready", &once));
        rig.ok(["up"]).await;
        rig.until_written("runs").await;
        let owner = rig.task("T-1").await.owner.unwrap().to_string();
        match end {
            "down" => rig.ok(["down", "--force"]).await,
            verb => rig.ok([verb, &owner]).await,
        };
        rig.ok(["up"]).await;
        for member in ["ada", "bob"] {
            rig.until_member_is(member, MemberState::Idle).await;
        }
        let failed = rig.task("T-1").await;
        assert_eq!(failed.state, TaskState::Failed, "{placement} {end}");
        assert!(failed.result.unwrap().contains("agent-team task retry T-1"));
        assert_eq!(rig.read("runs").as_deref(), Some("run\n"));
        rig.ok(["task", "retry", "T-1"]).await;
        rig.until_task_is("T-1", TaskState::InProgress).await;
    }
}

#[tokio::test]
async fn the_sixth_death_within_a_minute_holds_a_member() {
    let rig = headless(&["ada"], &task("Build", "mkfifo gate$$; cat gate$$", ""));
    rig.ok(["up"]).await;
    let mut events = rig.events().await;
    for death in 1..=6 {
        let ready = events.until("launch_ready", &[]).await;
        let pid = ready.data["process"]["pid"].as_u64().unwrap();
        processes::kill(processes::living(pid)).await;
        let ended = events.until("launch_ended", &[]).await;
        assert_eq!(
            ended.data["next"].to_string().contains("hold"),
            death == 6,
            "death {death}: {ended:?}"
        );
    }
    let why = rig.ok(["why", "ada"]).await.stdout;
    assert_eq!(why.lines().count(), 1, "{why}");
    assert!(
        why.contains("held") && why.contains("6 times within a minute"),
        "{why}"
    );
    let why = rig.json(["why", "ada"]).await;
    assert_eq!(why["state"], "held");
    rig.until_task_is("T-1", TaskState::Pending).await;
    rig.run(["messages"])
        .await
        .expect(0)
        .assert_prints("ada is held");
    rig.ok(["restart", "ada"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
}

#[tokio::test]
async fn restart_gives_a_member_a_new_launch_and_its_task() {
    let run = "echo run >> runs; test $(wc -l < runs) = 2 || { mkfifo gate; cat gate; }";
    let rig = headless(&["ada"], &task("Build", run, ""));
    rig.ok(["up"]).await;
    rig.until_written("runs").await;
    let before = rig.member("ada").await;
    let restarted = rig.ok(["restart", "ada"]).await.stdout;
    let new_pid = restarted.strip_prefix("ada restarted (pid ");
    assert!(
        new_pid.is_some_and(|pid| pid.trim_end().ends_with(')')),
        "{restarted}"
    );
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(task.attempts, 2);
    let after = rig.member("ada").await;
    assert_ne!(after.launch, before.launch);
    assert_eq!(
        after.restarts, 0,
        "a requested restart does not count as a death"
    );
}

#[tokio::test]
async fn a_stopped_member_stays_stopped_until_up() {
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let worker = rig.worker("ada").await;
    rig.ok(["stop", "ada"]).await;
    assert!(!worker.is_alive().unwrap());
    assert_eq!(rig.member("ada").await.state, MemberState::Stopped);
    rig.until_member_is("bob", MemberState::Idle).await;
    rig.run(["why", "ada"])
        .await
        .expect(0)
        .assert_prints("stopped");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn spawn_names_a_member_by_role_and_number_or_as_given() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.run(["spawn", "worker"])
        .await
        .expect(0)
        .assert_prints("worker-1");
    rig.until_member_is("worker-1", MemberState::Idle).await;
    let eve = rig.json(["spawn", "worker", "--name", "eve"]).await;
    assert_eq!(eve["member"]["name"], "eve");
    rig.ok(["kill", "worker-1"]).await;
    rig.run(["spawn", "worker"])
        .await
        .expect(0)
        .assert_prints("worker-2");
    rig.ok(["up"]).await;
    rig.until_member_is("eve", MemberState::Idle).await;
}

#[tokio::test]
async fn every_member_has_its_own_colour_across_restarts() {
    let names = [
        "ada", "bob", "cyd", "dee", "eve", "fay", "gus", "hal", "ida", "jon",
    ];
    let rig = assigned(&names, "");
    rig.ok(["up"]).await;
    let colours = async || {
        let ps = rig.json(["ps"]).await;
        let members = ps["members"].as_array().unwrap();
        members
            .iter()
            .map(|member| member["colour"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let before = colours().await;
    let mut distinct = before.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len());
    rig.ok(["restart", "dee"]).await;
    rig.ok(["up"]).await;
    assert_eq!(colours().await, before);
}

#[tokio::test]
async fn logs_print_and_follow_a_members_output() {
    let rig = headless(
        &["ada"],
        &task("Talk", "echo before; mkfifo gate; cat gate", ""),
    );
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let mut logs = rig.start(["logs", "ada", "-f"]);
    logs.line_with("before").await;
    let gate = rig.project().join("gate");
    tokio::task::spawn_blocking(move || std::fs::write(gate, "after\n"))
        .await
        .unwrap()
        .unwrap();
    logs.line_with("after").await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("before")
        .assert_prints("after");
}

#[tokio::test]
async fn a_program_has_a_terminal_and_a_session_of_its_own() {
    let rig = headless(
        &["ada"],
        &task("Look", "tty; test -t 1 && ps -o sid= -p $$ && echo $$", ""),
    );
    rig.ok(["up", "--wait"]).await;
    let result = rig.task("T-1").await.result.unwrap();
    let lines: Vec<_> = result.lines().map(str::trim).collect();
    assert!(lines[0].starts_with("/dev/"), "{result}");
    assert_eq!(lines[1], lines[2], "the shell leads its session: {result}");
}

#[tokio::test]
async fn a_member_without_its_directory_is_held_with_the_reason() {
    let rig = headless(&["ada"], "cwd = \"work\"\n");
    std::fs::create_dir(rig.project().join("work")).unwrap();
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    std::fs::remove_dir(rig.project().join("work")).unwrap();
    processes::kill(rig.worker("ada").await).await;
    rig.until_member_is("ada", MemberState::Held).await;
    rig.run(["why", "ada"])
        .await
        .expect(0)
        .assert_prints("work");
}

#[tokio::test]
async fn a_long_wait_prints_a_note_except_with_json() {
    let stubborn = |name: &str| {
        let run = format!(
            "trap '' TERM HUP INT; mkfifo {name}-gate; echo > {name}; while :; do cat {name}-gate; done"
        );
        task(name, &run, "")
    };
    let rig = headless(&["ada", "bob"], &(stubborn("one") + &stubborn("two")));
    rig.ok(["up"]).await;
    for ignores_signals in ["one", "two"] {
        rig.until_written(ignores_signals).await;
    }
    let (ada, bob) = tokio::join!(rig.run(["stop", "ada"]), rig.run(["stop", "bob", "--json"]));
    let note = "waiting for ada to stop (agent-team kill ada kills it at once)\n";
    assert_eq!(ada.expect(0).stderr, note);
    let bob = bob.expect(0);
    assert_eq!(bob.stderr, "");
    assert_eq!(bob.json()["member"]["state"], "stopped");
}

#[tokio::test]
async fn stopping_the_last_member_reports_the_team_as_down() {
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let ada = rig.ok(["kill", "ada"]).await;
    assert!(!ada.stdout.contains("the team is down"), "{}", ada.stdout);
    rig.ok(["kill", "bob"]).await.assert_prints(
        "the team is down: its last member was killed; start it with: agent-team up",
    );
    rig.ok(["up"]).await;
    rig.ok(["stop", "ada"]).await;
    let bob = rig.json(["stop", "bob"]).await;
    assert_eq!(bob["team"], "down");
}

#[tokio::test]
async fn a_spawned_member_comes_back_with_up_until_it_is_removed() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["spawn", "worker", "--name", "zoe", "--engine", "command"])
        .await;
    rig.ok(["down"]).await;
    rig.ok(["up"]).await.assert_prints("zoe");
    rig.until_member_is("zoe", MemberState::Idle).await;
    let taken = rig.refused(4, ["spawn", "worker", "--name", "zoe"]).await;
    assert!(
        taken["hint"]
            .as_str()
            .expect("a hint")
            .contains("agent-team member remove zoe")
    );
    rig.refused(4, ["member", "remove", "ada"]).await;
    let removed = rig.ok(["member", "remove", "zoe"]).await;
    assert_eq!(removed.stdout, "zoe has left the team\n");
    rig.refused(3, ["why", "zoe"]).await;
    rig.ok(["spawn", "worker", "--name", "zoe", "--engine", "command"])
        .await;
    rig.ok(["member", "remove", "zoe"]).await;
    rig.ok(["down"]).await;
    rig.ok(["up"]).await;
    rig.refused(3, ["why", "zoe"]).await;
}

#[tokio::test]
async fn a_swapped_working_directory_is_refused_at_launch() {
    let rig = headless(&["ada"], "");
    rig.write("web/index.html", "<p>\n");
    let outside = rig.root().join("outside");
    std::fs::create_dir(&outside).unwrap();
    rig.ok(["up"]).await;
    rig.ok(["spawn", "worker", "--name", "rita", "--cwd", "web"])
        .await;
    rig.until_member_is("rita", MemberState::Idle).await;
    let web = rig.project().join("web");
    std::fs::rename(&web, rig.project().join("old")).unwrap();
    std::os::unix::fs::symlink(&outside, &web).unwrap();
    rig.run(["restart", "rita"]).await;
    let rita = rig.until_member_is("rita", MemberState::Held).await;
    assert!(rita.why.contains("outside the project"), "{}", rita.why);
    std::fs::remove_file(&web).unwrap();
    std::fs::rename(rig.project().join("old"), &web).unwrap();
    rig.ok(["restart", "rita"]).await;
    rig.until_member_is("rita", MemberState::Idle).await;
}
