//! Tests that start, restart and replace workers in the panes of a real tmux server.

use agent_team_core::input::ProcessExit;

use super::*;

#[tokio::test]
async fn workers_start_in_tagged_panes_of_the_teams_server() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead", "ada", "bob"]).await;
    assert!(running.iter().all(is_alive));

    let format = "#{pane_id} #{pane_pid} #{@agent_team_team} #{@agent_team_member} #{@agent_team_launch} #{session_name}";
    let expected: Vec<String> = ["lead", "ada", "bob"]
        .iter()
        .zip(&running)
        .zip(1..)
        .map(|((member, running), n)| {
            format!(
                "{} {} demo-12345678 {member} {n:032x} demo-12345678",
                id(running),
                running.process.pid
            )
        })
        .collect();
    assert_eq!(rig.server.panes(format), expected);
    let configuration = rig.server.directory.path().join("at/run/tmux.conf");
    assert_eq!(
        configuration.metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        rig.server.tmux(&["show-options", "-gv", "history-limit"]),
        "5000"
    );
    assert_eq!(
        rig.server.tmux(&[
            "show-options",
            "-wv",
            "-t",
            id(&running[2]),
            "remain-on-exit"
        ]),
        "on"
    );
}

#[tokio::test]
async fn hostile_arguments_reach_the_worker_unchanged() {
    let Some(binary) = tmux_or_skip() else { return };
    for in_user_session in [false, true] {
        // A pane inherits the environment of the process that started its tmux server. The supervisor passes none of
        // its own variables to a server that it starts.
        let (mut rig, inherited) = if in_user_session {
            let inherited = std::env::var("CARGO_MANIFEST_DIR").unwrap_or("none".to_owned());
            (Rig::in_user_session(binary.clone()), inherited)
        } else {
            (Rig::in_team_session(binary.clone()), "none".to_owned())
        };
        let injected = rig.server.directory.path().join("f");
        let touch = format!("#(touch {})", injected.display());
        let names = [
            "x;".to_owned(),
            ";".to_owned(),
            "a'b\"c\\;".to_owned(),
            "new\nline".to_owned(),
            "#{pane_id} $HOME".to_owned(),
        ];
        let (mut orders, mut files) = (Vec::new(), Vec::new());
        for (n, name) in names.iter().enumerate() {
            let mut order = rig.order(&format!("m{n}"));
            let file = rig.server.directory.path().join(name);
            order.task = ProgramTask::Launch { file: file.clone() };
            order.label = label(&format!("{touch}#[fg=red];"));
            files.push(file);
            orders.push(order);
        }
        for outcome in rig.panes.start(&orders).await {
            outcome.unwrap();
        }
        for (order, file) in orders.iter().zip(&files) {
            let expected = format!(
                "--launch|{}|{}|/|{inherited}|",
                file.display(),
                order.launch
            );
            assert_eq!(worker_record(file).await, expected);
        }
        // The label, expanded as tmux expands it in the border of a pane.
        let drawn = rig.server.tmux(&[
            "display-message",
            "-p",
            "-t",
            &rig.server.panes("#{pane_id}").pop().unwrap(),
            "#{T:pane-border-format}",
        ]);
        assert!(
            drawn.contains("m4") && drawn.contains(&touch) && !drawn.contains("#[fg=red]"),
            "{drawn}"
        );
        assert!(!injected.exists());
    }
}

#[tokio::test]
async fn a_restarted_member_keeps_its_pane() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let first = rig.start(&["lead", "ada"]).await;
    let before = id(&first[1]).to_owned();
    first[1].process.signal(Signal::SIGKILL).unwrap();
    wait_for_exit(&first[1]).await;
    for _ in 0..2 {
        let again = rig.start(&["ada"]).await;
        assert_eq!(id(&again[0]), before);
        assert!(is_alive(&again[0]));
        assert_ne!(again[0].process, first[1].process);
        let launch = rig.server.tmux(&[
            "display-message",
            "-p",
            "-t",
            &before,
            "#{@agent_team_launch}",
        ]);
        assert_eq!(launch, format!("{:032x}", rig.launches));
        // Simulate a restart of the supervisor before the next start.
        rig.restart_supervisor();
    }
    assert!(is_alive(&first[0]));
    assert_eq!(rig.server.panes("#{pane_id}").len(), 2);
}

#[tokio::test]
async fn a_pane_that_was_closed_by_hand_is_replaced() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let first = rig.start(&["lead", "ada", "bob"]).await;
    rig.server.tmux(&["kill-pane", "-t", id(&first[1])]);
    let again = rig.start(&["bob", "ada", "lead"]).await;
    assert_eq!(
        (id(&again[0]), id(&again[2])),
        (id(&first[2]), id(&first[0]))
    );
    assert_ne!(id(&again[1]), id(&first[1]));
    assert!(again.iter().all(is_alive));
    assert_eq!(
        rig.server.panes("#{@agent_team_member}"),
        ["lead", "bob", "ada"]
    );
}

#[tokio::test]
async fn a_killed_server_is_started_again() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let first = rig.start(&["lead", "ada"]).await;
    let server = ProcessId::of(rig.server.pid()).unwrap().unwrap();
    let mut watch = ExitWatch::open(server).unwrap().unwrap();
    rig.server.tmux(&["kill-server"]);
    assert!(watch.exited_within(Duration::from_secs(10)).await.unwrap());

    let again = rig.start(&["lead", "ada"]).await;
    assert!(again.iter().all(is_alive));
    assert_ne!(again[0].process, first[0].process);
    assert_eq!(rig.server.panes("#{@agent_team_member}"), ["lead", "ada"]);
}

#[tokio::test]
async fn pane_ids_of_an_earlier_server_are_not_used() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let first = rig.start(&["lead"]).await;
    let server = ProcessId::of(rig.server.pid()).unwrap().unwrap();
    let mut watch = ExitWatch::open(server).unwrap().unwrap();
    rig.server.tmux(&["kill-server"]);
    assert!(watch.exited_within(Duration::from_secs(10)).await.unwrap());
    // A user's pane has the id that the lead's pane had.
    let theirs = rig.server.tmux(&[
        "new-session",
        "-d",
        "-P",
        "-F",
        "#{pane_id} #{pane_pid}",
        "--",
        "sleep",
        "600",
    ]);
    assert!(theirs.starts_with(id(&first[0])));

    let again = rig.start(&["lead"]).await;
    assert_ne!(id(&again[0]), id(&first[0]));
    rig.panes
        .label(vec![("lead".parse().unwrap(), label("busy"))])
        .await;
    rig.panes.close(&"lead".parse().unwrap()).await;
    assert_eq!(rig.server.panes("#{pane_id} #{pane_pid}"), [theirs]);
}

#[tokio::test]
async fn no_pane_is_smaller_than_the_minimum() {
    let Some(binary) = tmux_or_skip() else { return };
    let layouts = [
        Layout::MainVertical,
        Layout::Tiled,
        Layout::EvenHorizontal,
        Layout::EvenVertical,
    ];
    let sizes = [(80, 24), (120, 40), (200, 50), (81, 25)];
    for (layout, size) in layouts
        .into_iter()
        .flat_map(|layout| sizes.map(|size| (layout, size)))
    {
        let mut rig = Rig::over(
            Server::not_started(binary.clone()),
            TmuxSession::Own,
            layout,
            size,
        );
        let names = names(0..23);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        rig.start(&names[..5]).await;
        rig.start(&names[5..]).await;
        assert_eq!(
            rig.server.panes("#{@agent_team_member}").len(),
            23,
            "{layout:?} {size:?}"
        );
        for pane in rig
            .server
            .panes("#{pane_width} #{pane_height} #{window_name}")
        {
            let mut fields = pane.split(' ');
            let mut number = || fields.next().unwrap().parse::<u16>().unwrap();
            assert!(
                number() >= 40 && number() >= 6,
                "{layout:?} {size:?} {pane}"
            );
        }
        let windows = rig
            .server
            .tmux(&["list-windows", "-a", "-F", "#{window_name}"]);
        assert!(
            windows.starts_with("team\nteam-2"),
            "{layout:?} {size:?} {windows}"
        );
    }
}

#[tokio::test]
async fn main_vertical_places_members_in_order() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let format = "#{@agent_team_member} #{pane_left},#{pane_top} #{pane_width}x#{pane_height}";
    rig.start(&["lead", "ada"]).await;
    assert_eq!(
        rig.server.panes(format),
        ["lead 0,1 100x48", "ada 101,1 99x48"]
    );
    rig.start(&["bob", "cyd", "dan"]).await;
    let grid = [
        "lead 0,1 60x48",
        "ada 61,1 69x23",
        "bob 61,25 69x24",
        "cyd 131,1 69x23",
        "dan 131,25 69x24",
    ];
    assert_eq!(rig.server.panes(format), grid);
}

#[tokio::test]
async fn a_zoomed_pane_stays_zoomed() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead", "ada"]).await;
    let ada = id(&running[1]);
    rig.server.tmux(&["resize-pane", "-Z", "-t", ada]);
    rig.start(&["bob"]).await;
    let zoomed = rig
        .server
        .panes("#{window_zoomed_flag} #{pane_active} #{pane_id}");
    assert!(zoomed.contains(&format!("1 1 {ada}")), "{zoomed:?}");
}

#[tokio::test]
async fn layout_windows_gives_each_member_a_window() {
    let Some(binary) = tmux_or_skip() else { return };
    for in_user_session in [false, true] {
        let (server, session, prefix) = match in_user_session {
            false => (Server::not_started(binary.clone()), TmuxSession::Own, ""),
            true => (
                Server::start(binary.clone()),
                TmuxSession::OfUser("$0".to_owned()),
                "demo ",
            ),
        };
        let mut rig = Rig::over(server, session, Layout::Windows, (80, 24));
        rig.start(&["lead", "ada"]).await;
        rig.start(&["bob"]).await;
        let windows = rig.server.panes("#{window_name}|#{@agent_team_member}");
        for member in ["lead", "ada", "bob"] {
            let expected = format!("{prefix}{member}|{member}");
            assert!(windows.contains(&expected), "{windows:?}");
        }
    }
}

#[tokio::test]
async fn a_worker_in_its_pane_gets_no_attach_helper() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let running = rig.start(&["lead", "ada"]).await;
    let directory = rig.server.directory.path().to_owned();
    let helper_order = |mut order: LaunchOrder, worker: u32| {
        let file = directory.join(order.launch.as_str());
        let arguments = vec!["--hold".into(), file.clone().into()];
        order.task = ProgramTask::AttachHelper { worker, arguments };
        (order, file)
    };
    let (in_pane, _) = helper_order(rig.order("ada"), running[1].process.pid);
    let kept = rig.panes.start(&[in_pane]).await.remove(0).unwrap();
    assert_eq!(kept.process, running[1].process);
    assert!(is_alive(&running[1]));
    // A worker outside its old pane gets an attach helper in that pane.
    let (elsewhere, file) = helper_order(rig.order("ada"), std::process::id());
    let helper = rig.panes.start(&[elsewhere]).await.remove(0).unwrap();
    assert_eq!(id(&helper), id(&running[1]));
    assert_ne!(helper.process, running[1].process);
    let record = worker_record(&file).await;
    // The attach helper must not have the launch marker: after each task, all processes with the marker are killed.
    assert!(
        record.starts_with("--hold|") && record.contains("||/|"),
        "{record}"
    );
}

#[tokio::test]
async fn all_members_of_a_large_team_get_a_pane_in_order() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::over(
        Server::not_started(binary),
        TmuxSession::Own,
        Layout::Tiled,
        (500, 300),
    );
    let names = names(0..60);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let running = rig.start(&names).await;
    assert!(running.iter().all(is_alive));
    assert_eq!(rig.server.panes("#{@agent_team_member}"), names);
    assert_eq!(
        rig.server
            .tmux(&["list-windows", "-a", "-F", "#{window_name}"]),
        "team"
    );
    let again = rig.start(&names).await;
    assert_eq!(
        again.iter().map(id).collect::<Vec<_>>(),
        running.iter().map(id).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn user_windows_and_focus_are_unchanged() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_user_session(binary);
    let user_window = |rig: &Rig| {
        rig.server
            .panes("#{window_id} #{window_layout} #{window_active} #{pane_active} #{pane_pid}")[0]
            .clone()
    };
    let before = user_window(&rig);
    let first = rig.start(&["lead"]).await;
    rig.start(&["ada", "bob"]).await;
    assert_eq!(user_window(&rig), before);
    assert_eq!(
        rig.server
            .panes("#{window_name} #{@agent_team_member} #{pane_active}"),
        ["window  1", "demo lead 1", "demo ada 0", "demo bob 0"]
    );
    // The user zooms a pane; the next start keeps the zoom.
    rig.server.tmux(&["resize-pane", "-Z", "-t", id(&first[0])]);
    rig.start(&["eve"]).await;
    assert_eq!(
        rig.server.tmux(&[
            "display-message",
            "-p",
            "-t",
            id(&first[0]),
            "#{window_zoomed_flag}#{pane_active}"
        ]),
        "11"
    );

    let receipts = rig.panes.close_all().await;
    assert_eq!(receipts.len(), 4);
    assert!(
        receipts
            .iter()
            .all(|receipt| receipt.outcome == ReceiptOutcome::Closed),
        "{receipts:?}"
    );
    assert_eq!(
        rig.server
            .panes("#{window_id} #{window_layout} #{window_active} #{pane_active} #{pane_pid}"),
        [before]
    );
}

#[tokio::test]
async fn user_options_and_hooks_do_not_affect_team_panes() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_user_session(binary);
    for [flags, option, value] in [
        ["-g", "base-index", "1"],
        ["-g", "renumber-windows", "on"],
        ["-g", "default-command", "exit 3"],
        ["-g", "mouse", "on"],
        ["-gw", "pane-base-index", "1"],
        ["-gw", "pane-border-status", "off"],
        ["-gw", "remain-on-exit", "off"],
        ["-g", "after-new-window[0]", "split-window -d 'sleep 1000'"],
        [
            "-g",
            "after-split-window[0]",
            "select-layout even-horizontal",
        ],
        ["-g", "after-kill-pane[0]", "select-pane -t 1"],
    ] {
        rig.server.tmux(&["set-option", flags, option, value]);
    }
    let queries = [
        ["show-options", "-g"],
        ["show-options", "-gw"],
        ["show-options", "-gH"],
    ];
    let options = |rig: &Rig| queries.map(|query| rig.server.tmux(&query));
    let theirs = |rig: &Rig| {
        let panes =
            "#{@agent_team_member}|#{window_id} #{window_layout} #{pane_active} #{pane_pid}";
        let mut panes = rig.server.panes(panes);
        panes.retain(|pane| pane.starts_with('|'));
        panes
    };
    let before = (options(&rig), theirs(&rig)[0].clone());
    let running = rig.start(&["lead", "ada", "bob"]).await;
    assert!(running.iter().all(is_alive));
    let again = rig.start(&["ada"]).await;
    assert_eq!(id(&again[0]), id(&running[1]));
    assert_eq!((options(&rig), theirs(&rig)[0].clone()), before);
    rig.panes.close_all().await;
    let tagged = rig.server.panes("#{@agent_team_member}");
    assert!(tagged.iter().all(String::is_empty), "{tagged:?}");
    assert_eq!((options(&rig), theirs(&rig)[0].clone()), before);
}

#[tokio::test]
async fn a_closed_user_session_is_not_replaced() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_user_session(binary);
    rig.server
        .tmux(&["new-session", "-d", "--", "sleep", "600"]);
    rig.server.tmux(&["kill-session", "-t", "$0"]);
    let order = rig.order("lead");
    let outcomes = rig.panes.start(&[order]).await;
    assert!(
        outcomes[0].as_ref().unwrap_err().contains("gone"),
        "{outcomes:?}"
    );
    assert!(rig.panes.is_gone());
    assert_eq!(rig.server.panes("#{session_id}"), ["$1"]);
}

#[tokio::test]
async fn a_worker_that_exits_at_once_is_reported() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    let mut order = rig.order("lead");
    order.program = rig.server.directory.path().join("missing");
    // The supervisor may observe the worker before or after its exit. In both cases the order gets a result.
    let outcome = rig.panes.start(&[order]).await.remove(0);
    match outcome {
        Ok(running) => wait_for_exit(&running).await,
        Err(error) => assert!(error.contains("exited at once"), "{error}"),
    }
    assert_eq!(rig.server.panes("#{@agent_team_member}"), ["lead"]);
}

#[tokio::test]
async fn tmux_reports_the_exit_of_every_process() {
    let Some(binary) = tmux_or_skip() else { return };
    let mut rig = Rig::in_team_session(binary);
    // Without the extra SIGCHLD, tmux built with libutempter misses several of these exits.
    for signal in [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGTERM].repeat(10) {
        let ada = rig.start(&["ada"]).await.remove(0);
        ada.process.signal(signal).unwrap();
        wait_for_exit(&ada).await;
        let survey = rig.panes.survey.as_ref().unwrap();
        let pane = survey.of_member(&team(), "ada").unwrap().clone();
        let how = rig.panes.process_exit(&pane).await;
        assert_eq!(how, ProcessExit::Signal(signal as i32));
    }
}

#[tokio::test]
async fn a_start_times_out_when_tmux_hangs() {
    let mut rig = Rig::in_team_session("/nonexistent".into());
    let fake = rig.server.directory.path().join("tmux");
    std::fs::write(&fake, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o700)).unwrap();
    rig.panes.tmux = Tmux::new(fake, rig.server.socket().to_owned(), None);
    let orders = [rig.order("lead"), rig.order("ada")];
    let began = std::time::Instant::now();
    let outcomes = rig.panes.start(&orders).await;
    let took = began.elapsed();
    assert!(
        outcomes.iter().all(|outcome| outcome
            .as_ref()
            .is_err_and(|error| error.contains("within 5 s"))),
        "{outcomes:?}"
    );
    assert!(
        took >= Duration::from_secs(5) && took < Duration::from_secs(15),
        "{took:?}"
    );
}
