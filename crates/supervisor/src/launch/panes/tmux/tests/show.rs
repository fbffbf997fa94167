//! Tests of labels, status lines, focus and attaching, in the panes of a real tmux server.

use super::*;

#[tokio::test]
async fn a_missing_pane_does_not_hide_other_labels() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
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
    for mut rig in [
        Rig::in_team_session(binary.clone()),
        Rig::in_user_session(binary),
    ] {
        rig.start(&["lead", "ada"]).await;
        let show_user_options = ["show-options", "-t", "$0"];
        let before = rig.server.tmux(&show_user_options);
        // The status line of docs/guide/panes.md.
        let status = "#{W:#{?@agent_team_waiting, #{@agent_team_waiting},}}";
        let status_text = |rig: &Rig| {
            let display = ["display-message", "-p", "-t", "$0", status];
            rig.server.tmux(&display)
        };
        assert_eq!(status_text(&rig), "");
        let summary = |waiting: &str| TeamSummary {
            waiting: waiting.to_owned(),
            ..TeamSummary::default()
        };
        rig.panes
            .show_summary(&summary("ada asks: #[fg=red]"))
            .await;
        assert_eq!(status_text(&rig), " ada asks: # [fg=red]");
        rig.panes.show_summary(&summary("")).await;
        assert_eq!(status_text(&rig), "");
        assert_eq!(rig.server.tmux(&show_user_options), before);
    }
}

/// Starts a second tmux server, 80 columns wide, whose pane shows a client of the team's server.
fn screen_of(rig: &Rig) -> Server {
    let screen = Server::not_started(rig.server.binary.clone());
    let client = [
        rig.server.binary.to_str().unwrap(),
        "-S",
        rig.server.socket().to_str().unwrap(),
    ];
    let mut start = vec![
        "new-session",
        "-d",
        "-x",
        "80",
        "-y",
        "24",
        "--",
        "env",
        "-u",
        "TMUX",
    ];
    start.extend(client);
    start.push("attach-session");
    screen.tmux(&start);
    screen.tmux(&["set-option", "-g", "status", "off"]);
    screen
}

/// The rows of a screen, with escape sequences, once they contain the text.
async fn rows_with(screen: &Server, expected: &str) -> Vec<String> {
    let shown = async {
        // Poll: tmux does not report that a screen has changed.
        let mut polls = tokio::time::interval(Duration::from_millis(20));
        loop {
            polls.tick().await;
            let rows = screen.tmux(&["capture-pane", "-p", "-e"]);
            if rows.contains(expected) {
                return rows.lines().map(str::to_owned).collect();
            }
        }
    };
    let shown = tokio::time::timeout(Duration::from_secs(10), shown).await;
    shown.unwrap_or_else(|_| {
        panic!(
            "{expected:?}: {}",
            screen.tmux(&["capture-pane", "-p", "-e"])
        )
    })
}

/// The status line at 80 columns, once the screen contains `expected`.
async fn status_line(rig: &Rig, expected: &str) -> String {
    let screen = screen_of(rig);
    rows_with(&screen, expected).await;
    let rows = screen.tmux(&["capture-pane", "-p"]);
    rows.lines().last().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_status_line_shows_the_team_at_80_columns() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    rig.start(&["lead", "ada"]).await;
    let mut summary = TeamSummary {
        name: "shop".to_owned(),
        completed: 3,
        failed: 1,
        in_progress: 2,
        ..TeamSummary::default()
    };
    rig.panes.show_summary(&summary).await;
    let shown = status_line(&rig, "shop").await;
    assert!(shown.starts_with(" shop  ✓3  ✗1  ◐2 "), "{shown}");
    assert!(shown.trim_end().ends_with(" ^B d detach"), "{shown}");

    summary.failed = 0;
    summary.cost = "$0.31".to_owned();
    summary.mode = "bypass";
    summary.waiting = "ada asks".to_owned();
    rig.panes.show_summary(&summary).await;
    let shown = status_line(&rig, "bypass").await;
    assert!(shown.starts_with(" shop  ✓3  ◐2 "), "{shown}");
    let right = "$0.31  bypass  ? ada asks  ^B d detach";
    assert!(shown.trim_end().ends_with(right), "{shown}");

    summary.name = "n".repeat(60);
    (summary.completed, summary.failed) = (1_000, 100);
    summary.waiting = "ada asks · ben is at a limit · cleo asks you · 9 more".to_owned();
    rig.panes.show_summary(&summary).await;
    let shown = status_line(&rig, "nnn").await;
    let left = format!(" {}…  ✓1000  ✗100  ◐2 ", "n".repeat(15));
    assert!(shown.starts_with(&left), "{shown}");
    let right = "? ada asks · ben is at a limit…  ^B d detach";
    assert!(shown.trim_end().ends_with(right), "{shown}");
    assert!(
        !shown.contains("31"),
        "the status line shows a part of the cost: {shown}"
    );
}

#[tokio::test]
async fn a_narrow_status_line_lists_all_windows() {
    let Some(binary) = tmux_or_skip() else { return };
    let server = Server::not_started(binary);
    let mut rig = Rig::over(server, TmuxSession::Own, Layout::Tiled, (80, 24));
    rig.start(&["lead", "ada", "ben", "cleo", "dora", "eve", "finn"])
        .await;
    let mut summary = TeamSummary {
        name: "tally".to_owned(),
        completed: 1,
        in_progress: 2,
        cost: "$0.31".to_owned(),
        mode: "accept-edits",
        ..TeamSummary::default()
    };
    rig.panes.show_summary(&summary).await;
    let shown = status_line(&rig, "tally").await;
    let left = " tally  ✓1  ◐2  0 team  1 team-2  2 team-3 ";
    assert!(shown.starts_with(left), "{shown}");
    assert!(
        shown.trim_end().ends_with(" accept-edits  ^B d detach"),
        "{shown}"
    );

    summary.waiting = "cleo asks you · dora asks".to_owned();
    summary.failed = 1;
    rig.panes.show_summary(&summary).await;
    let shown = status_line(&rig, "cleo").await;
    let left = " tally  ✓1  ✗1  ◐2  0 team  1 team-2  2 team-3 ";
    assert!(shown.starts_with(left), "{shown}");
    assert!(
        shown
            .trim_end()
            .ends_with(" ? cleo asks you · …  ^B d detach"),
        "{shown}"
    );
}

#[tokio::test]
async fn borders_and_status_line_have_the_colours_of_the_theme() {
    let Some(binary) = tmux_or_skip() else { return };
    // In order: the colours of ada's name, of the label of a waiting member, of the active border, and of the
    // background of the status line.
    let dark = ["38;5;78m", "38;5;220m", "38;5;69m", "48;5;236m"];
    let light = ["38;5;22m", "38;5;130m", "38;5;61m", "48;5;254m"];
    for (theme, expected, absent) in [
        (Theme::Dark, dark.as_slice(), light.as_slice()),
        (Theme::Light, &light, &dark),
        (Theme::None, &[";7m"], &["38;5;", "48;5;"]),
    ] {
        let mut rig = Rig::in_team_session(binary.clone());
        rig.panes.theme = theme;
        rig.start(&["lead", "ada"]).await;
        let asks = Label {
            asks: true,
            ..label("worker, waiting")
        };
        rig.panes.label(vec![("ada".parse().unwrap(), asks)]).await;
        let summary = TeamSummary {
            name: "shop".to_owned(),
            completed: 3,
            waiting: "ada asks".to_owned(),
            ..TeamSummary::default()
        };
        rig.panes.show_summary(&summary).await;
        let rows = rows_with(&screen_of(&rig), "ada asks").await.join("\n");
        for colour in expected {
            assert!(rows.contains(colour), "{theme:?} {colour}: {rows:?}");
        }
        for colour in absent {
            assert!(!rows.contains(colour), "{theme:?} {colour}: {rows:?}");
        }
    }
}

#[tokio::test]
async fn the_users_server_keeps_its_borders_and_status_line() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_user_session(binary);
    rig.panes.theme = Theme::Light;
    rig.server
        .tmux(&["set-option", "-g", "pane-active-border-style", "fg=red"]);
    let show_user_options = ["show-options", "-t", "$0"];
    let before = rig.server.tmux(&show_user_options);
    let running = rig.start(&["lead", "ada"]).await;
    assert_eq!(rig.server.tmux(&show_user_options), before);
    let style = [
        "display-message",
        "-p",
        "-t",
        id(&running[0]),
        "#{E:pane-active-border-style}",
    ];
    assert_eq!(rig.server.tmux(&style).trim(), "fg=red");
}

#[tokio::test]
async fn a_border_text_ends_with_a_blank() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    // The pane of ada is not active, so its border has the default style.
    rig.start(&["lead", "ada"]).await;
    let screen = screen_of(&rig);
    // All these texts fit in the border.
    for length in 1..=27 {
        let text = "x".repeat(length);
        let labels = vec![("ada".parse().unwrap(), label(&text))];
        rig.panes.label(labels).await;
        rows_with(&screen, &format!(" {text}")).await;
        let rows = screen.tmux(&["capture-pane", "-p"]);
        assert!(rows.contains(&format!(" ada {text} ─")), "{length}: {rows}");
    }
}

#[tokio::test]
async fn a_cut_border_text_ends_with_an_ellipsis() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    rig.start(&["lead", "ada"]).await;
    let screen = screen_of(&rig);
    let long = label(&format!("worker {}", "x".repeat(60)));
    rig.panes.label(vec![("ada".parse().unwrap(), long)]).await;
    rows_with(&screen, "worker xx").await;
    let rows = screen.tmux(&["capture-pane", "-p"]);
    let shown = format!(" ada worker {}… ─", "x".repeat(21));
    assert!(rows.contains(&shown), "{rows}");
}

#[tokio::test]
async fn the_status_line_runs_no_commands_in_names() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    rig.start(&["ada"]).await;
    let injected = rig.server.directory.path().join("r");
    let hostile = format!("#(touch {})", injected.display());
    let summary = TeamSummary {
        name: "#[bold]#{pid}".to_owned(),
        waiting: hostile.clone(),
        cost: hostile,
        ..TeamSummary::default()
    };
    rig.panes.show_summary(&summary).await;
    let shown = status_line(&rig, "detach").await;
    assert!(shown.starts_with(" # [bold]#{pid} "), "{shown}");
    assert!(shown.contains("? #(touch /"), "{shown}");
    assert!(!injected.exists());
}

#[tokio::test]
async fn the_key_runs_next_while_a_member_waits() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let program = rig.server.directory.path().join("it's #{pid}");
    let script =
        "#!/bin/sh\necho \"$1 $2 $3 ${AGENT_TEAM_HOME##*/} ${TMUX:+inside}\" > \"$0.ran\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let home = rig.server.directory.path().join("at");
    let directories = Directories {
        state: home.join("state"),
        run: home.join("run"),
        config: home.join("config"),
    };
    rig.panes.next_line = keys::next_line(&program, &team(), &directories);
    rig.start(&["lead", "ada"]).await;
    let screen = screen_of(&rig);
    rows_with(&screen, "^B d detach").await;
    screen.tmux(&["send-keys", "C-b", "a"]);
    rows_with(&screen, "no member waits for you").await;

    let summary = TeamSummary {
        name: "shop".to_owned(),
        waiting: "ada asks".to_owned(),
        ..TeamSummary::default()
    };
    rig.panes.show_summary(&summary).await;
    // A key removes the message; only then does the client draw the status line again.
    screen.tmux(&["send-keys", "Escape"]);
    rows_with(&screen, "ada asks").await;
    screen.tmux(&["send-keys", "C-b", "a"]);
    let ran = rig.server.directory.path().join("it's #{pid}.ran");
    let read = async {
        let mut polls = tokio::time::interval(Duration::from_millis(20));
        loop {
            polls.tick().await;
            match std::fs::read_to_string(&ran) {
                Ok(text) if text.ends_with('\n') => return text,
                Ok(_) | Err(_) => {}
            }
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(10), read).await;
    assert_eq!(text.unwrap(), "--team demo-12345678 next at inside\n");
}

#[tokio::test]
async fn italics_are_not_shown_in_reverse_video() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    rig.start(&["ada"]).await;
    let infocmp = std::process::Command::new("infocmp")
        .arg("tmux-256color")
        .output();
    let expected = match infocmp.is_ok_and(|output| output.status.success()) {
        true => "tmux-256color",
        false => "screen-256color",
    };
    let terminal = rig
        .server
        .tmux(&["show-options", "-gv", "default-terminal"]);
    assert_eq!(terminal, expected);
}

/// Waits until `has_focus` returns `expected` for the pane.
async fn until_focus(rig: &Rig, pane: &str, expected: bool) {
    let reached = async {
        let mut polls = tokio::time::interval(Duration::from_millis(20));
        while rig.panes.has_focus(pane).await != expected {
            polls.tick().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
    reached.unwrap_or_else(|_| panic!("the focus of {pane} is not {expected}"));
}

#[tokio::test]
async fn the_active_pane_of_a_focused_terminal_has_focus() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead", "ada"]).await;
    let [lead, ada] = [id(&running[0]), id(&running[1])];
    rig.server.tmux(&["select-pane", "-t", lead]);
    assert!(!rig.panes.has_focus(lead).await, "no client is attached");
    let screen = screen_of(&rig);
    until_focus(&rig, lead, true).await;
    assert!(!rig.panes.has_focus(ada).await);
    rig.server.tmux(&["select-pane", "-t", ada]);
    assert!(rig.panes.has_focus(ada).await);
    assert!(!rig.panes.has_focus(lead).await);
    // The terminal reports that it has lost the focus, and later that it has the focus again.
    screen.tmux(&["send-keys", "-H", "1b", "5b", "4f"]);
    until_focus(&rig, ada, false).await;
    screen.tmux(&["send-keys", "-H", "1b", "5b", "49"]);
    until_focus(&rig, ada, true).await;
    rig.server
        .tmux(&["set-option", "-s", "focus-events", "off"]);
    assert!(
        !rig.panes.has_focus(ada).await,
        "without focus events, the focus is unknown"
    );
}

#[tokio::test]
async fn attaching_from_outside_returns_a_command() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    assert_eq!(
        rig.panes
            .attach(None, None, false, &caller_terminal(None))
            .await
            .unwrap_err()
            .code,
        ErrorCode::NoPane
    );
    let running = rig.start(&["lead", "ada"]).await;
    let ada = "ada".parse().unwrap();
    let answer = rig
        .panes
        .attach(
            Some(&ada),
            None,
            true,
            &caller_terminal(Some("/elsewhere,1,0")),
        )
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
    let last_command = answer.argv.len() - 5;
    for _ in 0..2 {
        let words: Vec<&str> = answer.argv[3..last_command]
            .iter()
            .map(String::as_str)
            .collect();
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
            .attach(
                Some(&"eve".parse().unwrap()),
                None,
                false,
                &caller_terminal(None)
            )
            .await
            .unwrap_err()
            .code,
        ErrorCode::NoPane
    );
}

#[tokio::test]
async fn attaching_from_inside_switches_the_callers_client() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_user_session(binary.clone());
    let running = rig.start(&["lead", "ada"]).await;
    let tmux = format!("{},{},0", rig.server.socket().display(), rig.server.pid());
    let ada = "ada".parse().unwrap();
    assert_eq!(
        rig.panes
            .attach(Some(&ada), None, false, &caller_terminal(Some(&tmux)))
            .await
            .unwrap_err()
            .code,
        ErrorCode::NoPane
    );
    assert_eq!(
        rig.panes
            .attach(Some(&ada), None, true, &caller_terminal(Some(&tmux)))
            .await
            .unwrap_err()
            .code,
        ErrorCode::Invalid
    );

    // A client in control mode needs no terminal, and prints a line once it is attached.
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
        panic!("the client exited before it was attached");
    };
    tokio::time::timeout(Duration::from_secs(10), attached)
        .await
        .unwrap();

    let answer = rig
        .panes
        .attach(Some(&ada), None, false, &caller_terminal(Some(&tmux)))
        .await
        .unwrap();
    assert!(answer.argv.is_empty() && answer.unset.is_empty());
    let shown_now = rig
        .server
        .tmux(&["display-message", "-p", "-t", "$0:", "#{pane_id}"]);
    assert_eq!(shown_now, id(&running[1]));

    // In a zoomed window, the shown pane becomes the zoomed pane.
    rig.server
        .tmux(&["resize-pane", "-Z", "-t", id(&running[1])]);
    for (member, pane) in [("lead", id(&running[0])), ("ada", id(&running[1]))] {
        let member = member.parse().unwrap();
        let inside = caller_terminal(Some(&tmux));
        let attach = rig.panes.attach(Some(&member), None, false, &inside);
        attach.await.unwrap();
        let format = "#{pane_id} #{window_zoomed_flag}";
        let shown = ["display-message", "-p", "-t", "$0:", format];
        assert_eq!(rig.server.tmux(&shown), format!("{pane} 1"));
    }
    rig.server.tmux(&["set-option", "-s", "focus-events", "on"]);
    let has_focus = rig.panes.has_focus(id(&running[1])).await;
    assert!(!has_focus, "a client in control mode reports its focus");
}
