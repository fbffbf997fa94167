//! Tests of the layout of panes after the terminal has changed its size.

use std::collections::BTreeSet;

use super::*;

/// Window, columns and rows of each member's pane.
fn sizes(rig: &Rig) -> Vec<(String, usize, usize)> {
    let format = "#{@agent_team_member} #{window_id} #{pane_width} #{pane_height}";
    let mut rows = rig.server.panes(format);
    rows.sort();
    let size = |row: &String| {
        let words: Vec<&str> = row.split(' ').collect();
        (
            words[1].to_owned(),
            words[2].parse().unwrap(),
            words[3].parse().unwrap(),
        )
    };
    rows.iter().map(size).collect()
}

fn resize(rig: &Rig, columns: &str, rows: &str) {
    rig.server
        .tmux(&["resize-window", "-t", "@0", "-x", columns, "-y", rows]);
}

#[tokio::test]
async fn panes_keep_their_minimum_size_when_the_terminal_shrinks() {
    let Some(binary) = tmux_or_skip() else { return };
    for layout in [Layout::MainVertical, Layout::Tiled] {
        let server = Server::not_started(binary.clone());
        let mut rig = Rig::over(server, TmuxSession::Own, layout, (200, 50));
        let members = names(0..7);
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let running = rig.start(&members).await;
        resize(&rig, "80", "24");
        assert!(
            sizes(&rig)
                .iter()
                .any(|(_, wide, high)| *wide < 40 || *high < 6)
        );

        rig.panes.arrange().await;
        let after = sizes(&rig);
        assert_eq!(after.len(), 7);
        assert!(
            after
                .iter()
                .all(|(_, wide, high)| *wide >= 40 && *high >= 6),
            "{after:?}"
        );
        assert!(running.iter().all(is_alive));
        // A restarted supervisor recognises the new windows as its own.
        rig.restart_supervisor();
        let survey = rig.panes.survey().await.unwrap();
        let in_windows: usize = survey
            .windows_of(&team())
            .iter()
            .map(|window| window.panes)
            .sum();
        assert_eq!(in_windows, 7);
        rig.panes.arrange().await;
        assert_eq!(sizes(&rig), after, "a size changes");
    }
}

#[tokio::test]
async fn a_dragged_border_stays() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead", "ada", "bob"]).await;
    rig.panes.arrange().await;
    rig.server
        .tmux(&["resize-pane", "-t", id(&running[1]), "-y", "2"]);
    let before = sizes(&rig);
    assert!(before.iter().any(|(_, _, high)| *high < 6), "{before:?}");
    rig.panes.arrange().await;
    assert_eq!(sizes(&rig), before);
    // A new supervisor reads the existing layout.
    rig.restart_supervisor();
    rig.panes.found().await;
    rig.panes.arrange().await;
    assert_eq!(sizes(&rig), before);
}

#[tokio::test]
async fn the_active_pane_stays_active_and_in_its_window() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let members = names(0..7);
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let running = rig.start(&members).await;
    let last = id(&running[6]);
    rig.server.tmux(&["select-pane", "-t", last]);
    resize(&rig, "80", "24");
    rig.panes.arrange().await;
    let active = ["display-message", "-p", "-t", "@0", "#{pane_id}"];
    assert_eq!(rig.server.tmux(&active).trim(), last);
}

#[tokio::test]
async fn a_layout_with_large_panes_is_kept() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    rig.start(&["lead", "ada", "bob"]).await;
    rig.server
        .tmux(&["select-layout", "-t", "@0", "even-horizontal"]);
    resize(&rig, "150", "40");
    let before = sizes(&rig);
    rig.panes.arrange().await;
    assert_eq!(sizes(&rig), before);
}

/// The number of windows with members' panes.
fn windows(rig: &Rig) -> usize {
    let windows: BTreeSet<_> = sizes(rig).into_iter().map(|(window, ..)| window).collect();
    windows.len()
}

/// Seven members, spread over several windows because the terminal has shrunk.
async fn spread(layout: Layout, binary: PathBuf) -> (Rig, Vec<StartedWorker>) {
    let server = Server::not_started(binary);
    let mut rig = Rig::over(server, TmuxSession::Own, layout, (200, 50));
    let members = names(0..7);
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let running = rig.start(&members).await;
    resize(&rig, "80", "24");
    rig.panes.arrange().await;
    assert!(windows(&rig) > 1);
    (rig, running)
}

#[tokio::test]
async fn panes_return_to_one_window_when_there_is_room() {
    let Some(binary) = tmux_or_skip() else { return };
    for layout in [Layout::MainVertical, Layout::Tiled] {
        let (mut rig, running) = spread(layout, binary.clone()).await;
        // The user looks at a pane of another window.
        let last = id(&running[6]);
        rig.server.tmux(&["select-window", "-t", last]);
        rig.server.tmux(&["select-pane", "-t", last]);
        resize(&rig, "200", "49");
        rig.panes.arrange().await;

        let after = sizes(&rig);
        assert_eq!((after.len(), windows(&rig)), (7, 1), "{after:?}");
        let is_large = |(_, wide, high): &(String, usize, usize)| *wide >= 40 && *high >= 6;
        assert!(after.iter().all(is_large), "{after:?}");
        assert!(running.iter().all(is_alive));
        let in_order = rig.server.panes("#{@agent_team_member}");
        assert_eq!(in_order, names(0..7));
        let shown = [
            "display-message",
            "-p",
            "-t",
            "=demo-12345678:",
            "#{pane_id}",
        ];
        assert_eq!(rig.server.tmux(&shown).trim(), last);
        rig.panes.arrange().await;
        assert_eq!(sizes(&rig), after, "a size changes");
    }
}

#[tokio::test]
async fn windows_of_the_same_size_are_not_joined() {
    let Some(binary) = tmux_or_skip() else { return };
    let (mut rig, _) = spread(Layout::Tiled, binary).await;
    resize(&rig, "200", "49");
    // A new supervisor reads the existing layout.
    rig.restart_supervisor();
    rig.panes.found().await;
    let before = sizes(&rig);
    rig.panes.arrange().await;
    assert_eq!(sizes(&rig), before);
}

#[tokio::test]
async fn a_window_with_a_users_pane_is_not_joined() {
    let Some(binary) = tmux_or_skip() else { return };
    let (mut rig, running) = spread(Layout::Tiled, binary).await;
    let last = id(&running[6]);
    rig.server
        .tmux(&["split-window", "-t", last, "--", "sleep", "600"]);
    resize(&rig, "200", "49");
    let before = sizes(&rig);
    rig.panes.arrange().await;
    assert_eq!(sizes(&rig), before);
}
