//! Tests of the resource limits of a member's commands.

use agent_team_tools::confine::Settings;
use serde_json::json;

use crate::confined::{confine_with, rig_with_home, sandboxes, wait_for_clock_tick};

#[tokio::test]
async fn the_result_names_the_exceeded_limit() {
    let settings = Settings {
        processes: 20,
        memory_mib: 100,
        open_files: 16,
        file_mib: 1,
        ..Settings::default()
    };
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &settings);
        wait_for_clock_tick(&rig).await;
        for (command, setting) in [
            (
                "for i in $(seq 60); do sleep 60 & done; wait",
                "processes = N",
            ),
            (
                "(head -c 300000000 /dev/zero; sleep 60) | tail > /dev/null",
                "memory_mib = N",
            ),
            ("head -c 3000000 /dev/zero > big", "file_mib = N"),
            (
                "for i in $(seq 3 40); do eval \"exec $i</dev/null\" || exit 1; done",
                "open_files = N",
            ),
        ] {
            let printed = rig.text("bash", json!({ "command": command })).await;
            assert!(printed.contains(setting), "{sandbox}: {command}: {printed}");
        }
        let printed = rig.text("bash", json!({ "command": "echo ok" })).await;
        assert_eq!(printed, "ok\n(exit 0)", "{sandbox}");
    }
}

#[tokio::test]
async fn the_commands_of_a_member_share_a_limit() {
    // For a user other than root, the kernel counts all processes of the user: a command may start this number of
    // processes in addition to those that exist when it starts. The second job leaves room for 60 processes of other
    // tests.
    let settings = Settings {
        processes: 200,
        ..Settings::default()
    };
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &settings);
        for processes in [90, 140] {
            let command = format!("for i in $(seq {processes}); do sleep 60 & done; wait");
            let job = json!({ "command": command, "background": true });
            rig.text("bash", job).await;
        }
        let wait = json!({ "id": 2, "wait_seconds": 30 });
        let mut printed = rig.text("bash_output", wait.clone()).await;
        while printed.contains("running") {
            printed = rig.text("bash_output", wait.clone()).await;
        }
        assert!(printed.contains("(terminated"), "{sandbox}: {printed}");
        assert!(printed.contains("processes = N"), "{sandbox}: {printed}");
        let other = json!({ "id": 1 });
        let printed = rig.text("bash_output", other).await;
        assert!(printed.contains("running"), "{sandbox}: {printed}");
        rig.text("bash_kill", json!({ "id": 1 })).await;
    }
}

#[tokio::test]
async fn no_command_starts_on_a_full_disk() {
    let settings = Settings {
        free_mib: u64::MAX >> 20,
        ..Settings::default()
    };
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &settings);
        let refused = rig.call("bash", json!({ "command": "echo ok" })).await;
        let error = refused.err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains("free_mib = N"), "{sandbox}: {error}");
    }
}
