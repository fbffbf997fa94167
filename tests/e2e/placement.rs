//! Where members run: which tmux is used, and what `up` reports and does without a usable tmux.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::MemberState;
use agent_team_tests::{Rig, tmux, within};

use crate::teams::{file, in_panes};

#[tokio::test]
async fn up_does_not_fail_when_the_named_tmux_server_is_gone() {
    if !tmux::is_here() {
        return;
    }
    let mut rig = in_panes(&["ada"], "");
    rig.set("TMUX", format!("{},1,0", rig.root().join("gone").display()));
    rig.set("TMUX_PANE", "%0");
    rig.run(["up"])
        .await
        .expect(0)
        .assert_prints("a separate tmux server");
    rig.until_member_is("ada", MemberState::Idle).await;
}

/// Puts a script named tmux ahead of the real tmux in `PATH`.
fn fake_tmux(rig: &mut Rig, script: &str) {
    let bin = rig.root().join("fake");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("tmux"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join("tmux"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    rig.set("PATH", format!("{}:{path}", bin.display()));
}

#[tokio::test]
async fn an_old_tmux_is_refused_if_requested_else_reported() {
    let mut rig = Rig::with_team(&file(&["ada"], "auto", "ready", ""));
    fake_tmux(&mut rig, "echo 'tmux 2.9a'");
    rig.run(["up", "--panes", "tmux"])
        .await
        .expect(4)
        .assert_prints("tmux 2.9a is too old")
        .assert_prints("3.0")
        .assert_prints("--panes headless");
    assert_eq!(rig.json(["team", "list"]).await["teams"].to_string(), "[]");
    rig.run(["up"])
        .await
        .expect(0)
        .assert_prints("runs headless")
        .assert_prints("too old");
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.placement, Placement::Headless);
}

#[tokio::test]
async fn a_hung_tmux_does_not_delay_up_for_long() {
    let mut rig = Rig::with_team(&file(&["ada"], "auto", "ready", ""));
    fake_tmux(
        &mut rig,
        "exec cat > /dev/null < \"$(mktemp -u)\" || exec tail -f /dev/null",
    );
    within("up to give up on tmux", async {
        rig.run(["up"])
            .await
            .expect(0)
            .assert_prints("runs headless");
    })
    .await;
    rig.until_member_is("ada", MemberState::Idle).await;
}

#[tokio::test]
async fn without_tmux_up_reports_headless_and_refuses_panes() {
    // The shell hides every program named tmux. The shell runs in a mount namespace of its own.
    let hide = "for tmux in /usr/local/bin/tmux /opt/homebrew/bin/tmux /usr/bin/tmux /bin/tmux; do \
                test ! -e $tmux || mount --bind /dev/null $tmux || exit 99; done; exec \"$@\"";
    let rig = Rig::with_team(&file(&["ada"], "auto", "ready", ""));
    let up = async |panes: &str| {
        let mut command = tokio::process::Command::new("unshare");
        command
            .args(["-rm", "sh", "-c", hide, "sh"])
            .arg(rig.binary("agent-team"))
            .args(["up", "--panes", panes])
            .current_dir(rig.project())
            .env_clear()
            .envs(
                rig.command(&[])
                    .as_std()
                    .get_envs()
                    .filter_map(|(name, value)| {
                        let value = if name == "PATH" {
                            "/usr/bin:/bin".as_ref()
                        } else {
                            value?
                        };
                        Some((name, value))
                    }),
            );
        within("up without tmux", command.output()).await
    };
    let refused = match up("tmux").await {
        Ok(output) if output.status.code() != Some(99) && output.status.code() != Some(1) => output,
        other => {
            eprintln!("skipped: tmux cannot be hidden here: {other:?}");
            return;
        }
    };
    let output = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{output}");
    assert!(output.contains("tmux is not installed"), "{output}");
    let headless = up("auto").await.unwrap();
    let output = String::from_utf8_lossy(&headless.stdout).into_owned();
    assert_eq!(headless.status.code(), Some(0), "{output}");
    assert!(
        output.contains("headless: tmux is not installed"),
        "{output}"
    );
    rig.until_member_is("ada", MemberState::Idle).await;
}
