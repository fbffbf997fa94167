//! Tests of `bash` and its jobs: output, exit status, and the end of leftover processes.

use std::time::{Duration, Instant};

use agent_team_system::process::{ExitWatch, ProcessId};
use agent_team_system::tree::Tree;
use serde_json::json;

use crate::context::Rig;

/// Reads a pid that a command wrote, and watches the process. Returns `None` if it has exited.
fn watch(rig: &Rig, name: &str) -> Option<ExitWatch> {
    let pid: u32 = rig.content(name).trim().parse().unwrap();
    ExitWatch::open(ProcessId::of(pid).unwrap()?).unwrap()
}

/// All processes with this test's launch marker.
fn survivors(rig: &Rig) -> Vec<ProcessId> {
    let tree = Tree {
        marker: rig.env("AGENT_TEAM_LAUNCH").into_string().unwrap(),
        ..Tree::default()
    };
    tree.survivors().unwrap()
}

#[tokio::test]
async fn a_result_has_the_output_and_the_exit_status() {
    let rig = Rig::new();
    let text = rig
        .text(
            "bash",
            json!({"command": "echo out; echo err >&2; pwd; cat; exit 3"}),
        )
        .await;
    let project = rig.context.project.display();
    assert_eq!(text, format!("out\nerr\n{project}\n(exit 3)"));
    assert_eq!(*rig.shown.lock().unwrap(), format!("out\nerr\n{project}\n"));
    assert_eq!(
        rig.text("bash", json!({"command": "true"})).await,
        "(exit 0)"
    );
    let killed = rig.text("bash", json!({"command": "kill -9 $$"})).await;
    assert_eq!(killed, "(killed by signal 9)");
    let coloured = rig
        .text("bash", json!({"command": "printf '\\033[31mred\\033[0m'"}))
        .await;
    assert_eq!(coloured, "red\n(exit 0)");
}

#[tokio::test]
async fn a_timeout_terminates_all_child_processes() {
    let rig = Rig::new();
    let command =
        "sleep 600 & setsid sleep 600 & trap '' TERM; echo begun; while :; do sleep 600; done";
    let begun = Instant::now();
    let text = rig
        .text("bash", json!({"command": command, "timeout_seconds": 1}))
        .await;
    assert!(
        text.starts_with("begun\n") && text.contains("timed out after 1 s"),
        "{text}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(survivors(&rig), []);
    for seconds in [0, 601] {
        let refusal = rig
            .refusal(
                "bash",
                json!({"command": "true", "timeout_seconds": seconds}),
            )
            .await;
        assert!(refusal.contains("between 1 and 600"), "{refusal}");
    }
}

#[tokio::test]
async fn leftover_daemons_are_terminated() {
    let rig = Rig::new();
    // The command starts a daemon: its parent has exited, it has its own session, and it keeps the output open.
    let command = "(setsid sh -c 'echo $$ > daemon; exec sleep 600' &); (sleep 600; echo never) & \
        while ! [ -s daemon ]; do :; done; echo done";
    let text = rig.text("bash", json!({"command": command})).await;
    assert_eq!(text, "done\n(exit 0)");
    assert!(watch(&rig, "daemon").is_none());
    assert_eq!(survivors(&rig), []);
}

#[tokio::test]
async fn dropping_a_call_terminates_only_that_call() {
    let rig = Rig::new();
    let other = "echo $$ > other; exec sleep 600";
    let started = rig
        .text("bash", json!({"command": other, "background": true}))
        .await;
    assert!(started.starts_with("job 1 is running"), "{started}");
    let command = "(setsid sh -c 'echo $$ > daemon; exec sleep 600' &); echo $$ > shell; \
        while ! [ -s daemon ]; do :; done; echo ready; sleep 600";
    {
        let call = rig.call("bash", json!({"command": command}));
        tokio::pin!(call);
        let ready = async {
            while !rig.shown.lock().unwrap().contains("ready") {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = &mut call => panic!("{ended:?}"),
            () = ready => {}
        }
    }
    for name in ["shell", "daemon"] {
        if let Some(mut watch) = watch(&rig, name) {
            watch.exited().await.unwrap();
        }
    }
    // The job belongs to another call.
    assert!(watch(&rig, "other").is_some());
    let ended = rig.text("bash_kill", json!({"id": 1})).await;
    assert!(
        ended.contains("terminated with all its child processes"),
        "{ended}"
    );
    assert!(watch(&rig, "other").is_none());
}

#[tokio::test]
async fn long_output_is_truncated_and_stored() {
    let rig = Rig::new();
    let text = rig.text("bash", json!({"command": "seq 1 20000"})).await;
    assert!(
        text.starts_with("1\n2\n3\n") && text.contains("bytes omitted"),
        "{text}"
    );
    assert!(
        text.contains("19999\n20000\n(108894 bytes in total, stored in "),
        "{text}"
    );
    assert!(text.ends_with("(exit 0)"), "{text}");
    let file = text
        .split("stored in ")
        .nth(1)
        .unwrap()
        .split(": use")
        .next()
        .unwrap();
    assert_eq!(std::fs::metadata(file).unwrap().len(), 108_894);
    let middle = rig
        .text("read", json!({"path": file, "offset": 10000, "limit": 1}))
        .await;
    assert!(middle.contains("10000\n"), "{middle}");
    let found = rig
        .text("grep", json!({"path": file, "pattern": "^12345$"}))
        .await;
    assert!(found.contains("12345:12345"), "{found}");
    let refusal = rig
        .refusal("write", json!({"path": file, "content": ""}))
        .await;
    assert!(refusal.contains("outside the project"), "{refusal}");
}

#[tokio::test]
async fn large_output_uses_bounded_memory_and_disk() {
    let rig = Rig::new();
    let before = agent_team_system::process::resident_bytes(std::process::id())
        .unwrap()
        .unwrap();
    let command = "head -c 60000000 /dev/zero | tr '\\0' x; echo; echo end";
    let text = rig
        .text("bash", json!({"command": command, "timeout_seconds": 600}))
        .await;
    assert!(
        text.contains("end\n(60000005 bytes in total; the first 16777216 are stored in "),
        "{text}"
    );
    assert!(text.contains("the rest is lost"), "{text}");
    let kept: u64 = std::fs::read_dir(&rig.context.outputs)
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(kept, 16 << 20);
    let shown = rig.shown.lock().unwrap().len() as u64;
    assert!(shown < (16 << 20) + 100, "{shown}");
    let after = agent_team_system::process::resident_bytes(std::process::id())
        .unwrap()
        .unwrap();
    // The test itself has a copy of the shown output.
    assert!(after < before + 3 * shown, "{before} {after}");
}

#[tokio::test]
async fn a_job_continues_and_returns_new_output() {
    let rig = Rig::new();
    let command = "echo first; while ! [ -e go ]; do read -t 0.01 < /dev/zero; done; echo second";
    rig.text("bash", json!({"command": command, "background": true}))
        .await;
    let first = rig
        .text("bash_output", json!({"id": 1, "wait_seconds": 60}))
        .await;
    assert_eq!(first, "first\n(running)");
    assert_eq!(rig.text("bash_output", json!({"id": 1})).await, "(running)");
    rig.put("go", "");
    let mut rest = String::new();
    while !rest.contains("exit") {
        rest += &rig
            .text("bash_output", json!({"id": 1, "wait_seconds": 60}))
            .await;
    }
    assert!(
        rest.starts_with("second\n") && rest.ends_with("(exit 0)"),
        "{rest}"
    );
    assert_eq!(rig.text("bash_kill", json!({"id": 1})).await, "(exit 0)");
    let refusal = rig.refusal("bash_output", json!({"id": 7})).await;
    assert!(refusal.contains("no job 7; jobs: 1"), "{refusal}");
}

#[tokio::test]
async fn jobs_are_terminated_with_their_member() {
    let mut rig = Rig::new();
    let command = "(setsid sh -c 'echo $$ > daemon; exec sleep 600' &); echo $$ > shell; sleep 600";
    for _ in 0..2 {
        rig.text("bash", json!({"command": command, "background": true}))
            .await;
    }
    let limited = json!({"command": "sleep 600", "background": true, "timeout_seconds": 1});
    rig.text("bash", limited).await;
    let ended = rig
        .text("bash_output", json!({"id": 3, "wait_seconds": 60}))
        .await;
    assert!(ended.contains("timed out after 1 s"), "{ended}");
    let trees = survivors(&rig);
    assert!(trees.len() >= 4, "{trees:?}");
    rig.tools.clear();
    for process in trees {
        if let Some(mut watch) = ExitWatch::open(process).unwrap() {
            watch.exited().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_number_of_running_jobs_is_limited() {
    let rig = Rig::new();
    for _ in 0..16 {
        rig.text(
            "bash",
            json!({"command": "exec sleep 600", "background": true}),
        )
        .await;
    }
    let refusal = rig
        .refusal("bash", json!({"command": "true", "background": true}))
        .await;
    assert!(
        refusal.contains("16 jobs are already running (1, 2, "),
        "{refusal}"
    );
    rig.text("bash_kill", json!({"id": 5})).await;
    rig.text("bash", json!({"command": "true", "background": true}))
        .await;
}
