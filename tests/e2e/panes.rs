//! Panes of a real tmux: each member has one pane and outlives it, and no other pane is touched.

use std::fs;

use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, processes, tmux, until};

use crate::teams::{in_panes, task};

#[tokio::test]
async fn each_member_has_its_own_pane_on_the_teams_server() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob", "cyd"], "");
    rig.run(["up"])
        .await
        .expect(0)
        .assert_prints("runs in tmux")
        .assert_prints("a separate tmux server");
    for name in ["ada", "bob", "cyd"] {
        rig.until_member_is(name, MemberState::Idle).await;
    }
    let panes = rig
        .tmux()
        .panes("#{@agent_team_member} #{pane_id} #{pane_pid}")
        .await;
    let mut expected = Vec::new();
    for name in ["ada", "bob", "cyd"] {
        let member = rig.member(name).await;
        assert_eq!(member.placement, Placement::Tmux);
        let (pane, pid) = (member.pane.unwrap(), member.pid.unwrap());
        expected.push(format!("{name} {pane} {pid}"));
    }
    let mut panes = panes;
    panes.sort_unstable();
    assert_eq!(panes, expected);
    let tmux = rig.tmux();
    let format = tmux
        .ask(["show-options", "-wv", "pane-border-status"])
        .await;
    assert_eq!(format, "top");
    until("the borders to show role and state", async || {
        let labels = tmux
            .panes("#{@agent_team_member}: #{@agent_team_label}")
            .await;
        let all = labels
            .iter()
            .all(|label| label.contains("worker") && label.contains("idle"));
        all.then_some(())
    })
    .await;
}

#[tokio::test]
async fn panes_follow_the_size_of_their_terminal() {
    if !tmux::is_here() {
        return;
    }
    let members = ["ada", "bob", "cyd", "dan", "eve"];
    let rig = in_panes(&members, "");
    rig.ok(["up", "--detach"]).await;
    let tmux = rig.tmux();
    let windows = async || {
        let mut windows = tmux.panes("#{window_id}").await;
        windows.dedup();
        windows.len()
    };
    assert_eq!(windows().await, 1);
    let resize = async |columns, rows| {
        let resize = ["resize-window", "-t", "@0", "-x", columns, "-y", rows];
        tmux.ask(resize).await;
    };
    resize("80", "24").await;
    until("several windows", async || {
        (windows().await > 1).then_some(())
    })
    .await;
    resize("200", "50").await;
    until("one window", async || (windows().await == 1).then_some(())).await;
    for name in members {
        rig.until_member_is(name, MemberState::Idle).await;
    }
}

#[tokio::test]
async fn a_task_runs_in_its_members_pane_with_live_output() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(
        &["ada"],
        &task("Talk", "echo one; mkfifo gate; cat gate; echo two", ""),
    );
    rig.ok(["up"]).await;
    let tmux = rig.tmux();
    let pane = rig.member("ada").await.pane.unwrap();
    let shown = tmux.until_shown(&pane, "one").await;
    assert!(shown.contains("T-1 Talk"), "{shown}");
    assert_eq!(rig.task("T-1").await.state, TaskState::InProgress);
    let gate = rig.project().join("gate");
    until("the gate", async || gate.exists().then_some(())).await;
    tokio::task::spawn_blocking(move || fs::write(gate, ""))
        .await
        .unwrap()
        .unwrap();
    tmux.until_shown(&pane, "T-1 completed").await;
}

#[tokio::test]
async fn a_restarted_member_is_in_the_same_pane_with_a_new_launch() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["restart", "ada"]).await;
    let again = rig
        .until_member("ada", |ada| {
            ada.state == MemberState::Idle && ada.launch != before.launch
        })
        .await;
    assert_eq!(again.pane, before.pane);
    processes::kill(rig.worker("ada").await).await;
    let third = rig
        .until_member("ada", |ada| {
            ada.state == MemberState::Idle && ada.launch != again.launch
        })
        .await;
    assert_eq!(third.pane, before.pane);
    let tmux = rig.tmux();
    let pane = third.pane.unwrap();
    tmux.until_shown(&pane, "ada was killed by signal 9; relaunched")
        .await;
    assert_eq!(tmux.panes("#{pane_id}").await.len(), 2);
}

#[tokio::test]
async fn a_member_outlives_its_closed_pane() {
    if !tmux::is_here() {
        return;
    }
    let run = "mkfifo gate; cat gate; echo run >> runs; echo still here";
    let rig = in_panes(&["ada", "bob"], &task("Long", run, "for = \"ada\""));
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Working).await;
    let gate = rig.project().join("gate");
    until("the gate", async || gate.exists().then_some(())).await;
    rig.tmux()
        .ask(["kill-pane", "-t", &before.pane.clone().unwrap()])
        .await;
    let after = rig
        .until_member("ada", |ada| ada.placement == Placement::Headless)
        .await;
    assert_eq!((after.pid, after.launch), (before.pid, before.launch));
    assert_eq!(after.task, before.task);
    let why = rig.ok(["why", "ada"]).await;
    why.assert_prints("T-1")
        .assert_prints("it runs without a pane");
    rig.until_member_is("bob", MemberState::Idle).await;
    tokio::task::spawn_blocking(move || fs::write(gate, ""))
        .await
        .unwrap()
        .unwrap();
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(
        (done.attempts, done.result.as_deref()),
        (1, Some("still here"))
    );
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("still here");
}

#[tokio::test]
async fn the_team_outlives_its_tmux_server() {
    if !tmux::is_here() {
        return;
    }
    let tasks = [
        task("One", "mkfifo one; cat one; echo run >> runs", ""),
        task("Two", "mkfifo two; cat two; echo run >> runs", ""),
    ];
    let rig = in_panes(&["ada", "bob"], &tasks.concat());
    rig.ok(["up"]).await;
    let gates = ["one", "two"].map(|gate| rig.project().join(gate));
    for gate in &gates {
        until("the gates", async || gate.exists().then_some(())).await;
    }
    let before = [
        rig.member("ada").await.launch,
        rig.member("bob").await.launch,
    ];
    rig.tmux().ask(["kill-server"]).await;
    for name in ["ada", "bob"] {
        rig.until_member(name, |member| member.placement == Placement::Headless)
            .await;
    }
    for gate in gates {
        tokio::task::spawn_blocking(move || fs::write(gate, ""))
            .await
            .unwrap()
            .unwrap();
    }
    for id in ["T-1", "T-2"] {
        let done = rig.until_task_is(id, TaskState::Completed).await;
        assert_eq!((done.attempts, done.generation.0), (1, 1));
    }
    let after = [
        rig.member("ada").await.launch,
        rig.member("bob").await.launch,
    ];
    assert_eq!(before, after);
    assert_eq!(rig.read("runs").as_deref(), Some("run\nrun\n"));
    rig.ok(["restart", "ada"]).await;
    let again = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(
        again.placement,
        Placement::Tmux,
        "a new pane, on a new server"
    );
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_new_supervisor_adopts_the_panes() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let bob = rig.until_member_is("bob", MemberState::Idle).await;
    let panes = rig.tmux().panes("#{pane_id} #{pane_pid}").await;
    let supervisor = rig.supervisor().await;
    processes::kill(supervisor).await;
    let again = rig
        .until_member("bob", |bob| {
            bob.state == MemberState::Idle && bob.pane.is_some()
        })
        .await;
    assert_eq!((again.pid, again.pane), (bob.pid, bob.pane));
    assert_eq!(rig.tmux().panes("#{pane_id} #{pane_pid}").await, panes);
    let down = rig.json(["down", "--force"]).await;
    let closed = down["receipts"].as_array().unwrap().iter();
    let closed = closed.filter(|receipt| receipt["kind"] == "pane" && receipt["fate"] == "closed");
    assert_eq!(closed.count(), 2, "{down}");
}

#[tokio::test]
async fn down_closes_the_panes_and_ends_the_tmux_server() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach"]);
    screen.until("ada").await;
    let down = rig.ok(["down"]).await.stdout;
    assert_eq!(down.matches("closed").count(), 2, "{down}");
    screen.end().await;
    // The supervisor exits after its last client: the attached terminal was one.
    rig.until_all_have_ended().await;
    assert!(!rig.directories().tmux_socket().exists());
}

/// A rig whose verbs run in a pane of the user's own tmux server, which does not belong to a team.
async fn in_users_tmux() -> Rig {
    let mut rig = in_panes(&["ada", "bob"], "");
    let users = rig.users_tmux();
    // Use `exec`, because tmux names a window after its process, and not every shell replaces itself by its last
    // command.
    users
        .ask([
            "new-session",
            "-d",
            "-s",
            "work",
            "-x",
            "150",
            "-y",
            "40",
            "exec cat",
        ])
        .await;
    users.ask(["split-window", "-h", "exec cat"]).await;
    let pane = users.ask(["display-message", "-p", "#{pane_id}"]).await;
    let pid = users.ask(["display-message", "-p", "#{pid}"]).await;
    rig.set("TMUX", format!("{},{pid},0", users.socket().display()));
    rig.set("TMUX_PANE", pane);
    rig
}

#[tokio::test]
async fn in_the_users_tmux_the_team_adds_only_its_own_window() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_users_tmux().await;
    let users = rig.users_tmux();
    let theirs = async || {
        users
            .ask([
                "list-panes", "-t", "work:0", "-F",
                "#{pane_id} #{pane_pid} #{pane_active} #{window_active} #{pane_width}x#{pane_height} \
                 #{pane_title} #{window_name} #{window_layout}",
            ])
            .await
    };
    // tmux names a window after its process, with a delay.
    let before = until("the user's window to have its name", async || {
        Some(theirs().await).filter(|shown| shown.contains(" cat "))
    })
    .await;
    rig.run(["up"])
        .await
        .expect(0)
        .assert_prints("a new window");
    rig.until_member_is("ada", MemberState::Idle).await;
    let ada = rig.member("ada").await;
    let panes = users.panes("#{@agent_team_member} #{pane_id}").await;
    assert!(
        panes.contains(&format!("ada {}", ada.pane.unwrap())),
        "{panes:?}"
    );
    assert_eq!(theirs().await, before, "window, focus, size and names");
    assert!(
        !rig.directories().tmux_socket().exists(),
        "the team started no tmux server"
    );
    rig.ok(["down"]).await;
    assert_eq!(theirs().await, before);
    assert_eq!(users.panes("#{pane_id}").await.len(), 2);
}

#[tokio::test]
async fn a_users_pane_in_the_teams_window_outlives_the_team() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_users_tmux().await;
    rig.ok(["up"]).await;
    let ada = rig
        .until_member_is("ada", MemberState::Idle)
        .await
        .pane
        .unwrap();
    let users = rig.users_tmux();
    let own = users
        .ask([
            "split-window",
            "-d",
            "-P",
            "-F",
            "#{pane_id} #{pane_pid}",
            "-t",
            &ada,
            "cat",
        ])
        .await;
    rig.ok(["down", "--force"]).await;
    let left = users.panes("#{pane_id} #{pane_pid}").await;
    assert!(left.contains(&own), "{own} in {left:?}");
    assert!(!left.iter().any(|pane| pane.starts_with(&format!("{ada} "))));
}

#[tokio::test]
async fn processes_and_panes_expose_no_secrets() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up", "--env", "API_KEY=s3cr3t-value"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    for found in rig.processes() {
        assert!(!found.command.contains("s3cr3t"), "{found:?}");
    }
    let tmux = rig.tmux();
    for arguments in [
        ["show-environment", "-g"],
        ["show-options", "-A"],
        ["list-panes", "-F#{pane_start_command} #{pane_title}"],
    ] {
        let shown = tmux.ask(arguments).await;
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
    let pid = rig.tmux().ask(["display-message", "-p", "#{pid}"]).await;
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&environment).contains("s3cr3t"));
}

#[tokio::test]
async fn a_tmux_server_is_found_after_its_socket_was_deleted() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Idle).await;
    fs::remove_file(rig.directories().tmux_socket()).unwrap();
    rig.ok(["restart", "ada"]).await;
    let ada = rig
        .until_member("ada", |ada| {
            ada.state == MemberState::Idle && ada.launch != before.launch
        })
        .await;
    assert_eq!(ada.placement, Placement::Tmux);
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), [], "the tmux server is gone too");
}

#[tokio::test]
async fn a_new_supervisor_finds_a_tmux_server_without_its_socket() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let before = rig.until_member_is("ada", MemberState::Idle).await;
    rig.until_member_is("bob", MemberState::Idle).await;
    let server = rig.tmux().ask(["display-message", "-p", "#{pid}"]).await;
    // A pane of the user keeps the server alive when the members' panes are gone.
    let window = before.pane.clone().unwrap();
    rig.tmux()
        .ask(["split-window", "-d", "-t", &window, "sleep", "600"])
        .await;
    fs::remove_file(rig.directories().tmux_socket()).unwrap();
    processes::kill(rig.supervisor().await).await;
    rig.ok(["restart", "ada"]).await;
    let ada = rig
        .until_member("ada", |ada| {
            ada.state == MemberState::Idle && ada.launch != before.launch
        })
        .await;
    assert_eq!((ada.placement, ada.pane), (before.placement, before.pane));

    fs::remove_file(rig.directories().tmux_socket()).unwrap();
    processes::kill(rig.supervisor().await).await;
    rig.run(["down", "--force"])
        .await
        .expect(0)
        .assert_prints("of another program");
    let left = rig.tmux().ask(["display-message", "-p", "#{pid}"]).await;
    assert_eq!(left, server, "the same server keeps the user's pane");
    assert_eq!(rig.tmux().panes("#{pane_id}").await.len(), 1);
    rig.tmux().ask(["kill-server"]).await;
}
