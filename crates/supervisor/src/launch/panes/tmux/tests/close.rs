//! Tests that close the pane of one member, or all panes of a team.

use super::*;

#[tokio::test]
async fn closing_all_leaves_no_pane_no_server_and_no_socket() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead", "ada"]).await;
    let server = ProcessId::of(rig.server.pid()).unwrap().unwrap();
    let receipts = rig.panes.close_all().await;
    let socket = rig.server.socket().display().to_string();
    let (lead, ada) = (
        format!("{} (lead)", id(&running[0])),
        format!("{} (ada)", id(&running[1])),
    );
    assert_eq!(
        fates(&receipts),
        [
            (ReceiptKind::Pane, lead.as_str(), ReceiptOutcome::Closed),
            (ReceiptKind::Pane, ada.as_str(), ReceiptOutcome::Closed),
            (
                ReceiptKind::Socket,
                socket.as_str(),
                ReceiptOutcome::Removed
            ),
        ]
    );
    assert!(!server.is_alive().unwrap());
    for running in &running {
        wait_for_exit(running).await;
    }
    let mut left: Vec<_> = std::fs::read_dir(rig.server.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".record"))
        .collect();
    left.sort();
    assert_eq!(left, ["at", "worker"]);
    let home = rig.server.directory.path().join("at");
    for file in ["run/tmux.conf", "state/tmux.process"] {
        assert!(!home.join(file).exists(), "{file}");
    }
    assert_eq!(rig.panes.close_all().await, []);
}

#[tokio::test]
async fn closing_all_finds_a_server_whose_socket_was_deleted() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead"]).await;
    let server = ProcessId::of(rig.server.pid()).unwrap().unwrap();
    std::fs::remove_file(rig.server.socket()).unwrap();
    let receipts = rig.panes.close_all().await;
    let lead = format!("{} (lead)", id(&running[0]));
    assert_eq!(
        fates(&receipts)[0],
        (ReceiptKind::Pane, lead.as_str(), ReceiptOutcome::Closed)
    );
    assert!(!server.is_alive().unwrap());
    wait_for_exit(&running[0]).await;
}

#[tokio::test]
async fn panes_without_the_teams_tag_are_kept_and_reported() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead"]).await;
    let other = TeamId::from_directory_name("demo-99999999").unwrap();
    let mut others = panes(&rig.server, TmuxSession::Own, Layout::Tiled, (200, 50));
    others.team = other;
    let order = rig.order("lead");
    let theirs = others.start(&[order]).await.remove(0).unwrap();
    let by_hand = rig.server.tmux(&[
        "split-window",
        "-d",
        "-t",
        id(&running[0]),
        "-P",
        "-F",
        "#{pane_id}",
        "--",
        "sleep",
        "600",
    ]);

    let receipts = rig.panes.close_all().await;
    let (ours, kept) = (
        format!("{} (lead)", id(&running[0])),
        format!("{by_hand} (of another program)"),
    );
    assert_eq!(
        fates(&receipts),
        [
            (ReceiptKind::Pane, ours.as_str(), ReceiptOutcome::Closed),
            (ReceiptKind::Pane, kept.as_str(), ReceiptOutcome::Kept),
        ]
    );
    let mut left = rig.server.panes("#{pane_id}");
    left.sort();
    let mut expected = [by_hand.clone(), id(&theirs).to_owned()];
    expected.sort();
    assert_eq!(left, expected);
    assert!(is_alive(&theirs));

    // The other team's pane is not the last on the server, so there is no receipt for the server's socket.
    assert_eq!(others.close_all().await.len(), 1);
    assert_eq!(rig.server.panes("#{pane_id}"), [by_hand]);
}

#[tokio::test]
async fn closing_a_member_closes_only_its_pane() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    rig.start(&["lead", "ada", "bob"]).await;
    rig.panes.close(&"ada".parse().unwrap()).await;
    rig.panes.close(&"eve".parse().unwrap()).await;
    assert_eq!(rig.server.panes("#{@agent_team_member}"), ["lead", "bob"]);
}
