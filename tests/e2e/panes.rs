//! Panes of a real tmux: what is in them, who gets into them, and that nothing depends on them.

use agent_team_protocol::view::{MemberState, Placement, TaskState};
use agent_team_tests::{processes, tmux, until};

use crate::teams::{file, in_panes, task};

/// The pane of a member, as `ps` says.
async fn pane(rig: &agent_team_tests::Rig, member: &str) -> String {
    let view = rig.until_member(member, |view| view.pane.is_some()).await;
    view.pane.expect("it was waited for")
}

#[tokio::test]
async fn every_member_has_a_pane_whose_border_says_who_it_is() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "ben", "cleo"], "");
    rig.ok(["up", "--detach"]).await.says("tmux");
    let mut named = rig.tmux().panes("#{@agent_team_member}").await;
    named.sort();
    assert_eq!(named, ["ada", "ben", "cleo"]);
    rig.until_member_is("ada", MemberState::Idle).await;
    until("the borders to say so", async || {
        let labels = rig
            .tmux()
            .panes("#{@agent_team_member} #{@agent_team_label}")
            .await;
        labels
            .iter()
            .all(|label| label.contains("idle"))
            .then_some(())
    })
    .await;
    assert_eq!(rig.tmux().panes("#{pane-border-status}").await, ["top"; 3]);
}

#[tokio::test]
async fn attach_puts_a_person_into_the_members_pane_where_a_line_is_a_task() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "ben"], "");
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["attach", "ben"]);
    screen.until("ben ▸").await;
    screen.type_in("echo $((40 + 2)) > answer\r").await;
    assert_eq!(rig.written("answer").await.trim(), "42");
    let task = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(
        task.assignee.map(|name| name.to_string()).as_deref(),
        Some("ben")
    );
    // Leaving ends nothing.
    screen.type_in("\u{2}d").await;
    assert_eq!(screen.end().await.0, 0);
    rig.until_member_is("ben", MemberState::Idle).await;
}

#[tokio::test]
async fn what_is_typed_while_a_task_runs_reaches_it() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(
        &["ada"],
        &task(
            "Ask",
            "printf 'name? '; read name; echo \"$name\" > name",
            "",
        ),
    );
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("name?").await;
    screen.type_in("grace\r").await;
    assert_eq!(rig.written("name").await.trim(), "grace");
    rig.until_task_is("T-1", TaskState::Completed).await;
}

#[tokio::test]
async fn an_interrupt_typed_in_a_pane_ends_the_program_and_not_the_member() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], &task("Long", "echo begun; exec sleep 1000", ""));
    rig.ok(["up", "--detach"]).await;
    let worker = rig.worker("ada").await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("begun").await;
    screen.type_in("\u{3}").await;
    rig.until_task_is("T-1", TaskState::Failed).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.worker("ada").await, worker);
}

#[tokio::test]
async fn a_message_is_shown_in_the_members_pane() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up", "--detach"]).await;
    let pane = pane(&rig, "ada").await;
    rig.ok(["send", "ada", "the schema changed"]).await;
    rig.tmux()
        .until_shown(&pane, "user: the schema changed")
        .await;
}

#[tokio::test]
async fn restart_brings_a_member_back_in_the_same_pane() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada", "ben"], "");
    rig.ok(["up", "--detach"]).await;
    let (before, first) = (pane(&rig, "ada").await, rig.member("ada").await);
    rig.ok(["restart", "ada"]).await;
    assert_eq!(pane(&rig, "ada").await, before);
    assert_ne!(rig.member("ada").await.launch, first.launch);
    processes::kill(rig.worker("ada").await).await;
    rig.until_member("ada", |ada| ada.restarts == 1 && ada.pane.is_some())
        .await;
    assert_eq!(pane(&rig, "ada").await, before);
    assert_eq!(rig.tmux().panes("#{pane_id}").await.len(), 2);
}

#[tokio::test]
async fn panes_may_go_at_any_time_and_no_task_notices() {
    if !tmux::is_here() {
        return;
    }
    let tasks = task("One", "mkfifo one; cat one > seen-one", "for = \"ada\"")
        + &task("Two", "mkfifo two; cat two > seen-two", "for = \"ben\"");
    let rig = in_panes(&["ada", "ben"], &tasks);
    rig.ok(["up", "--detach"]).await;
    for gate in ["one", "two"] {
        until(gate, async || {
            rig.project().join(gate).exists().then_some(())
        })
        .await;
    }
    let (ada, ben) = (rig.worker("ada").await, rig.worker("ben").await);
    let closed = pane(&rig, "ada").await;
    rig.tmux().run(["kill-pane", "-t", &closed]).await;
    rig.until_member("ada", |view| view.placement == Placement::Headless)
        .await;
    rig.tmux().run(["kill-server"]).await;
    rig.until_member("ben", |view| view.placement == Placement::Headless)
        .await;
    for gate in ["one", "two"] {
        let gate = rig.project().join(gate);
        let written = tokio::task::spawn_blocking(move || std::fs::write(gate, "through"));
        written.await.unwrap().unwrap();
    }
    rig.until_task_is("T-1", TaskState::Completed).await;
    rig.until_task_is("T-2", TaskState::Completed).await;
    assert_eq!(rig.read("seen-one").as_deref(), Some("through"));
    assert_eq!(
        (rig.worker("ada").await, rig.worker("ben").await),
        (ada, ben)
    );
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_persons_own_windows_are_left_alone_and_so_are_panes_she_adds() {
    if !tmux::is_here() {
        return;
    }
    let mut rig = in_panes(&["ada", "ben"], "");
    let users = rig.users_tmux();
    users
        .ask([
            "new-session",
            "-d",
            "-x",
            "160",
            "-y",
            "40",
            "--",
            "sleep",
            "1000",
        ])
        .await;
    let own = users
        .ask(["display-message", "-p", "#{pane_id} #{window_id} #{pid}"])
        .await;
    let own: Vec<&str> = own.split(' ').collect();
    rig.set("TMUX", format!("{},{},0", users.socket().display(), own[2]));
    rig.set("TMUX_PANE", own[0]);
    let looks = || {
        users.ask([
            "list-panes",
            "-t",
            own[1],
            "-F",
            "#{pane_id} #{window_active} #{pane_width}x#{pane_height}",
        ])
    };
    let before = looks().await;

    rig.ok(["up", "--detach"]).await.says("your");
    assert_eq!(looks().await, before, "its size and focus are as they were");
    let team = pane(&rig, "ada").await;
    assert_ne!(
        users
            .ask(["display-message", "-p", "-t", &team, "#{window_id}"])
            .await,
        own[1]
    );
    let added = users
        .ask([
            "split-window",
            "-d",
            "-t",
            &team,
            "-P",
            "-F",
            "#{pane_id}",
            "--",
            "sleep",
            "1001",
        ])
        .await;

    rig.ok(["down"]).await;
    let mut left = users.panes("#{pane_id}").await;
    left.sort();
    let mut expected = vec![own[0].to_owned(), added];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(looks().await, before);
    users.run(["kill-server"]).await;
}

#[tokio::test]
async fn without_tmux_members_are_headless_and_that_is_said() {
    let mut rig = agent_team_tests::Rig::with_team(&file(&["ada"], "auto", "ready", ""));
    rig.write("bin/tmux", "#!/bin/sh\necho tmux 2.9a\n");
    let fake = rig.project().join("bin/tmux");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&fake, mode).unwrap();
    let path = format!("{}:/usr/bin:/bin", rig.project().join("bin").display());
    rig.set("PATH", path);
    rig.ok(["up", "--detach"])
        .await
        .says("headless")
        .says("2.9a");
    assert_eq!(rig.member("ada").await.placement, Placement::Headless);
}
