//! The programs as they are installed: one file with four names, which an update replaces while a team works.

use std::fs;

use agent_team_protocol::view::MemberView;
use agent_team_system::process::ProcessId;
use agent_team_tests::processes;

use crate::crash::successor_of;
use crate::teams::headless;

/// The file that this process runs, as the kernel names it.
fn executable(process: ProcessId) -> String {
    let file = fs::read_link(format!("/proc/{}/exe", process.pid)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_update_replaces_the_file_of_a_running_team() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let mut rig = headless(&["ada"], "");
    rig.install_one_file();
    rig.ok(["up"]).await;
    let supervisor = rig.supervisor().await;
    let worker = rig.worker("ada").await;
    let path = |name: &str| rig.binary(name).display().to_string();
    assert_eq!(executable(supervisor), path("agent-teamd"));
    assert_eq!(executable(worker), path("agent-teammate"));

    rig.update_one_file();
    assert!(executable(supervisor).ends_with(" (deleted)"));
    // The running supervisor, whose program file is deleted, finds the new worker.
    processes::kill(worker).await;
    let found = |member: &MemberView| {
        !member.disconnected && member.pid.is_some_and(|pid| pid != worker.pid)
    };
    rig.until_member("ada", found).await;
    let next = rig.worker("ada").await;
    assert_eq!(executable(next), path("agent-teammate"));
    assert_eq!(rig.supervisor().await, supervisor);

    // A worker whose supervisor was killed starts the new supervisor.
    processes::kill(supervisor).await;
    successor_of(&rig, supervisor.pid).await;
    assert_eq!(executable(rig.supervisor().await), path("agent-teamd"));
    let doctor = rig.json(["doctor"]).await;
    let checks = doctor["checks"].as_array().unwrap();
    for name in ["agent-teamd", "agent-teammate", "agent-teammate-native"] {
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["ok"], true, "{check}");
    }
}
