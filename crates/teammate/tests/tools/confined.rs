//! What a command can do when a sandbox holds it. Each that this machine has is tried.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use agent_team_system::directories::Directories;
use agent_team_system::sandbox::Network;
use agent_team_teammate::tool::confine::Confinement;
use agent_team_teammate::tool::{Options, Permission, domain_tools};
use serde_json::json;

use crate::bench::Rig;

/// With a home directory that has a key, and a project that has git's files. `None` where there is no sandbox.
async fn confined() -> Option<Rig> {
    let mut rig = Rig::new();
    for place in ["temporary", "ours", ".ssh", "code"] {
        fs::create_dir(rig.outside(place)).unwrap();
    }
    fs::write(rig.outside(".ssh/id"), "secret").unwrap();
    fs::write(rig.outside("code/main.c"), "int main;").unwrap();
    git(&rig.path(""), &["init", "-q"]);
    hold(&mut rig, Network::None);
    let printed = rig.text("bash", json!({ "command": "true" })).await;
    assert!(printed.contains("exit 0"), "{printed}");
    let none = rig
        .shown
        .lock()
        .unwrap()
        .contains("there is no sandbox here");
    (!none).then_some(rig)
}

/// Makes the tools anew, as a new launch does.
fn hold(rig: &mut Rig, network: Network) {
    let ours = rig.outside("ours");
    let ours = Directories {
        state: ours.join("state"),
        run: ours.join("run"),
        config: ours.join("config"),
    };
    let temporary = rig.outside("temporary");
    let env = &rig.bench.env;
    let confinement = Confinement::new(&rig.bench.project, temporary, env, &ours, network);
    rig.tools = domain_tools(Options {
        permission: Permission::Bypass,
        confinement: Some(Arc::new(confinement)),
        private_addresses: false,
    });
}

fn git(cwd: &Path, args: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(args)
        .current_dir(cwd);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null");
    assert!(git.status().unwrap().success(), "{args:?}");
}

#[tokio::test]
async fn a_command_writes_in_its_project_and_where_the_temporary_is() {
    let Some(rig) = confined().await else { return };
    let command = "echo 1 > made && echo 2 > $TMPDIR/made && cat made $TMPDIR/made; echo 3 > ../code/made; echo 4 > ~/made";
    let printed = rig.text("bash", json!({ "command": command })).await;
    assert!(printed.starts_with("1\n2\n"), "{printed}");
    assert_eq!(rig.content("made"), "1\n");
    assert!(
        !rig.outside("code/made").exists() && !rig.outside("made").exists(),
        "{printed}"
    );
}

#[tokio::test]
async fn a_command_outside_the_sandbox_does_what_its_person_could() {
    let Some(rig) = confined().await else { return };
    let call = json!({ "command": "echo 4 > ~/made; cat ~/.ssh/id", "outside_sandbox": true });
    let printed = rig.text("bash", call).await;
    assert!(
        printed.contains("secret") && rig.outside("made").exists(),
        "{printed}"
    );
}

#[tokio::test]
async fn what_proves_who_its_person_is_a_command_cannot_read() {
    let Some(rig) = confined().await else { return };
    // Also what came after the launch.
    fs::write(rig.outside(".netrc"), "secret").unwrap();
    let printed = rig
        .text("bash", json!({ "command": "cat ~/.ssh/id ~/.netrc" }))
        .await;
    assert!(!printed.contains("secret"), "{printed}");
}

#[tokio::test]
async fn a_command_has_the_network_where_its_role_has_it() {
    let Some(mut rig) = confined().await else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo $((6 * 7))");
    let call = json!({ "command": format!("bash -c '{line}'") });
    let printed = rig.text("bash", call.clone()).await;
    assert!(!printed.contains("42\n"), "{printed}");
    hold(&mut rig, Network::Host);
    let printed = rig.text("bash", call).await;
    assert!(printed.contains("42\n"), "{printed}");
}

#[tokio::test]
async fn a_confined_job_has_a_moment_to_end() {
    let Some(rig) = confined().await else { return };
    let command = "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done";
    rig.text("bash", json!({ "command": command, "background": true }))
        .await;
    let printed = rig
        .text("bash_output", json!({ "id": 1, "wait_seconds": 10 }))
        .await;
    assert!(printed.contains("ready"), "{printed}");
    let printed = rig.text("bash_kill", json!({ "id": 1 })).await;
    assert!(printed.contains("bye"), "{printed}");
}

#[tokio::test]
async fn a_linked_working_tree_is_committed_in() {
    let Some(mut rig) = confined().await else {
        return;
    };
    let main = rig.outside("main");
    fs::create_dir(&main).unwrap();
    git(&main, &["init", "-q"]);
    git(&main, &["commit", "-q", "--allow-empty", "-m", "one"]);
    fs::remove_dir_all(rig.path("")).unwrap();
    git(
        &main,
        &["worktree", "add", "-q", rig.bench.project.to_str().unwrap()],
    );
    hold(&mut rig, Network::None);
    let command = "git -c user.name=t -c user.email=t@example.org commit -q --allow-empty -m two; git log --oneline";
    let printed = rig.text("bash", json!({ "command": command })).await;
    assert!(
        printed.contains(" two\n") && printed.contains(" one\n"),
        "{printed}"
    );
}

#[tokio::test]
async fn what_a_project_says_of_its_git_opens_nothing_outside_of_it() {
    let Some(mut rig) = confined().await else {
        return;
    };
    let other = rig.outside("code/worktrees/x");
    fs::create_dir_all(&other).unwrap();
    fs::remove_dir_all(rig.path(".git")).unwrap();
    rig.put(".git", format!("gitdir: {}\n", other.display()));
    hold(&mut rig, Network::None);
    let printed = rig
        .text("bash", json!({ "command": "echo 1 > ../code/made" }))
        .await;
    assert!(!rig.outside("code/made").exists(), "{printed}");
}
