//! Labels and attaching.

use super::*;

#[tokio::test]
async fn a_missing_pane_does_not_hide_other_labels() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::own(binary);
    let running = rig.start(&["lead", "ada", "bob"]).await;
    rig.server.tmux(&["kill-pane", "-t", id(&running[1])]);
    let labels = ["lead", "ada", "bob"].map(|member| (member.parse().unwrap(), label("-t busy;")));
    rig.panes.label(labels.to_vec()).await;
    assert_eq!(
        rig.server
            .panes("#{@agent_team_member} #{@agent_team_label}"),
        ["lead -t busy;", "bob -t busy;"]
    );
}

#[tokio::test]
async fn status_lines_can_show_waiting_members() {
    let Some(binary) = tmux_or_skip() else { return };
    for mut rig in [Rig::own(binary.clone()), Rig::users(binary)] {
        rig.start(&["lead", "ada"]).await;
        let theirs = ["show-options", "-t", "$0"];
        let before = rig.server.tmux(&theirs);
        // As in docs/guide/panes.md.
        let status = "#{W:#{?@agent_team_waiting, #{@agent_team_waiting},}}";
        let shown_text = |rig: &Rig| {
            let shown = ["display-message", "-p", "-t", "$0", status];
            rig.server.tmux(&shown)
        };
        assert_eq!(shown_text(&rig), "");
        rig.panes.show_summary("ada asks: #[fg=red]").await;
        assert_eq!(shown_text(&rig), " ada asks: # [fg=red]");
        rig.panes.show_summary("").await;
        assert_eq!(shown_text(&rig), "");
        assert_eq!(rig.server.tmux(&theirs), before);
    }
}

#[tokio::test]
async fn attaching_from_outside_returns_a_command() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::own(binary);
    assert_eq!(
        rig.panes
            .attach(None, None, false, &within(None))
            .await
            .unwrap_err()
            .code,
        ErrorCode::NoPane
    );
    let running = rig.start(&["lead", "ada"]).await;
    let ada = "ada".parse().unwrap();
    let answer = rig
        .panes
        .attach(Some(&ada), None, true, &within(Some("/elsewhere,1,0")))
        .await
        .unwrap();
    assert_eq!(answer.unset, ["TMUX", "TMUX_PANE"]);
    let (end, start) = (&answer.argv[answer.argv.len() - 4..], &answer.argv[..3]);
    assert_eq!(
        start,
        [
            rig.server.binary.to_str().unwrap(),
            "-S",
            rig.server.socket().to_str().unwrap()
        ]
    );
    assert_eq!(end, ["attach-session", "-t", "$0", "-r"]);

    // All but the last command can run here; the last one needs a terminal.
    let upto = answer.argv.len() - 5;
    for _ in 0..2 {
        let words: Vec<&str> = answer.argv[3..upto].iter().map(String::as_str).collect();
        rig.server.tmux(&words);
        let shown_now = rig.server.tmux(&[
            "display-message",
            "-p",
            "-t",
            "=demo-12345678:",
            "#{pane_id} #{window_zoomed_flag}",
        ]);
        assert_eq!(shown_now, format!("{} 1", id(&running[1])));
    }
    assert_eq!(
        rig.panes
            .attach(Some(&"eve".parse().unwrap()), None, false, &within(None))
            .await
            .unwrap_err()
            .code,
        ErrorCode::NoPane
    );
}

#[tokio::test]
async fn attaching_from_inside_switches_the_callers_client() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::users(binary.clone());
    let running = rig.start(&["lead", "ada"]).await;
    let tmux = format!("{},{},0", rig.server.socket().display(), rig.server.pid());
    let ada = "ada".parse().unwrap();
    assert_eq!(
        rig.panes
            .attach(Some(&ada), None, false, &within(Some(&tmux)))
            .await
            .unwrap_err()
            .code,
        ErrorCode::NoPane
    );
    assert_eq!(
        rig.panes
            .attach(Some(&ada), None, true, &within(Some(&tmux)))
            .await
            .unwrap_err()
            .code,
        ErrorCode::Invalid
    );

    // A client in control mode needs no terminal, and prints when it is attached.
    let mut client = tokio::process::Command::new(&binary);
    client
        .arg("-S")
        .arg(rig.server.socket())
        .args(["-C", "attach-session", "-t", "$0"]);
    client
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut client = client.env_remove("TMUX").spawn().unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(client.stdout.take().unwrap()));
    let attached = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("%session-changed") {
                return;
            }
        }
        panic!("the client ended");
    };
    tokio::time::timeout(Duration::from_secs(10), attached)
        .await
        .unwrap();

    let answer = rig
        .panes
        .attach(Some(&ada), None, false, &within(Some(&tmux)))
        .await
        .unwrap();
    assert!(answer.argv.is_empty() && answer.unset.is_empty());
    let shown_now = rig
        .server
        .tmux(&["display-message", "-p", "-t", "$0:", "#{pane_id}"]);
    assert_eq!(shown_now, id(&running[1]));
}
