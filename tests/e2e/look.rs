//! The end of a goal as the user sees it, notifications, and the colours for the terminal's background.

use agent_team_protocol::view::MemberState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::tmux::{self, Tmux};
use agent_team_tests::{Rig, processes, until};
use serde_json::json;

use crate::agents::{greeting, rig};

const QUERY: &str = "\x1b]11;?\x1b\\\x1b[c";

/// ada's colour in the dark theme. [`LIGHT_BLUE`] is ada's colour in the light theme.
const DARK_BLUE: &str = "38;5;75";
const LIGHT_BLUE: &str = "38;5;26";

const TEAM: &str = "\
name = \"demo\"
[panes]
placement = \"headless\"
[[member]]
name = \"ada\"
engine = \"command\"
colour = \"blue\"
";

/// A team in tmux, which appends a letter to the option `@bells` at each bell.
async fn with_counted_bells(server: &FakeModelServer) -> (Rig, Tmux) {
    let rig = rig(server);
    let tmux = in_tmux_with_counted_bells(&rig).await;
    (rig, tmux)
}

/// Starts the team in tmux, which appends a letter to the option `@bells` at each bell.
async fn in_tmux_with_counted_bells(rig: &Rig) -> Tmux {
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach"]).await;
    let tmux = rig.tmux();
    let count = "set-option -ga @bells x";
    tmux.ask(["set-hook", "-g", "alert-bell", count]).await;
    tmux
}

#[tokio::test]
async fn the_end_of_a_goal_is_shown_and_notified_once() {
    if !tmux::is_here() {
        return;
    }
    let server = FakeModelServer::start(by_model(greeting())).await;
    let (rig, tmux) = with_counted_bells(&server).await;
    rig.ok(["run", "Greet the world"]).await;

    let lead = rig.until_member("lead", |lead| lead.pane.is_some()).await;
    let pane = lead.pane.expect("a pane");
    let shown = tmux.until_shown(&pane, "✓ Done in").await;
    assert!(shown.contains(" · 1 task · 1 file"), "{shown}");
    let (_, answer) = shown.split_once("✓ Done in").expect("the answer is shown");
    assert!(answer.contains("The greeting is written."), "{shown}");
    let ps = rig.run(["ps"]).await.expect(0).stdout;
    let line = ps.lines().find(|line| line.starts_with("✓ R-1 Done in"));
    let line = line.unwrap_or_else(|| panic!("{ps}"));
    let end = "· 1 task · 1 file: The greeting is written.";
    assert!(line.ends_with(end), "{ps}");
    assert_eq!(
        tmux.ask(["show-options", "-gqv", "@bells"]).await.trim(),
        "x"
    );
}

#[tokio::test]
async fn an_answer_of_several_lines_is_shown_whole() {
    if !tmux::is_here() {
        return;
    }
    let answer = "The greeting is written.\n\nRead it in greeting.txt.";
    let lead = vec![Reply::call("finish", json!({ "answer": answer }))];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let (rig, tmux) = with_counted_bells(&server).await;
    rig.ok(["run", "Greet the world"]).await;
    let lead = rig.until_member("lead", |lead| lead.pane.is_some()).await;
    let pane = lead.pane.expect("a pane");
    until("the answer below the headline", async || {
        let shown = tmux.capture(&pane).await;
        let (_, below) = shown.split_once("✓ Done in")?;
        let is_whole = answer.lines().all(|line| below.contains(line));
        is_whole.then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_interrupt_ends_the_query_for_the_background() {
    let mut rig = Rig::with_team(TEAM);
    rig.ok(["up", "--detach"]).await;
    rig.set("AGENT_TEAM_THEME", "auto");
    let mut screen = rig.on_terminal(["top"]);
    screen.until(QUERY).await;
    screen.type_in("\x03").await;
    let (code, _) = screen.end().await;
    assert_ne!(code, 0);
}

#[tokio::test]
async fn a_theme_on_the_command_line_prevents_the_query() {
    let mut rig = Rig::with_team(TEAM);
    rig.set("AGENT_TEAM_THEME", "auto");
    let screen = rig.on_terminal(["up", "--env", "AGENT_TEAM_THEME=dark"]);
    let (_, shown) = screen.end().await;
    assert!(!shown.contains(QUERY), "{shown:?}");
}

#[tokio::test]
async fn a_cancelled_goal_is_shown_and_notified() {
    if !tmux::is_here() {
        return;
    }
    let lead = ("lead", vec![Reply::hang(), Reply::text("I have stopped.")]);
    let server = FakeModelServer::start(by_model([lead])).await;
    let (rig, tmux) = with_counted_bells(&server).await;
    let run = async { rig.run(["run", "Greet the world"]).await.expect(1) };
    let cancel = async {
        server.until_asked("lead", 1).await;
        rig.ok(["cancel", "--reason", "wrong branch"]).await
    };
    tokio::join!(run, cancel);
    let lead = rig.until_member("lead", |lead| lead.pane.is_some()).await;
    let pane = lead.pane.expect("a pane");
    let shown = tmux.until_shown(&pane, "✗ Cancelled after").await;
    assert!(
        shown.contains("cancelled by the user: wrong branch"),
        "{shown}"
    );
    until_the_bell(&tmux).await;
}

/// Waits until the one notification of the team has rung the bell.
async fn until_the_bell(tmux: &Tmux) {
    until("the bell", async || {
        let bells = tmux.ask(["show-options", "-gqv", "@bells"]).await;
        (bells.trim() == "x").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_member_at_a_limit_rings_the_bell() {
    if !tmux::is_here() {
        return;
    }
    let ada = vec![Reply::call("list_tasks", json!({})).tokens(1_200, 10, 0)];
    let server = FakeModelServer::start(by_model([("ada", ada)])).await;
    let rig = rig(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&format!("{file}limits.tokens = 1_000\n"));
    let tmux = in_tmux_with_counted_bells(&rig).await;
    rig.ok(["send", "ada", "Go on"]).await;
    until_the_bell(&tmux).await;
}

#[tokio::test]
async fn another_member_rings_the_bell_for_a_held_member() {
    if !tmux::is_here() {
        return;
    }
    let bob = "[[member]]\nname = \"bob\"\nengine = \"command\"\n";
    let rig = Rig::with_team(&format!("{TEAM}cwd = \"work\"\n{bob}"));
    std::fs::create_dir(rig.project().join("work")).expect("the directory can be created");
    let tmux = in_tmux_with_counted_bells(&rig).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    std::fs::remove_dir(rig.project().join("work")).expect("the directory can be removed");
    processes::kill(rig.worker("ada").await).await;
    rig.until_member_is("ada", MemberState::Held).await;
    until_the_bell(&tmux).await;
}

/// ada sends a hostile message to the user while a terminal is attached to this member. Returns the output of the
/// terminal.
async fn seen_after_a_message(notify: &str) -> String {
    let text = "look\x1b]52;c;eA==\x07\u{202e}";
    let ada = vec![
        Reply::call("send_message", json!({"to": "user", "text": text})),
        Reply::text("I have asked."),
    ];
    let server = FakeModelServer::start(by_model([("ada", ada)])).await;
    let mut rig = rig(&server);
    // The terminal of the test is not a pane of tmux, and supports OSC 9.
    rig.set("TERM", "xterm-256color");
    rig.set("VTE_VERSION", "");
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&format!("notify = \"{notify}\"\n{file}"));
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("ada is attached; press").await;
    rig.ok(["send", "ada", "Go on"]).await;
    screen.until("I have asked.").await;
    screen.type_in("\x1c").await;
    screen.end().await.1
}

#[tokio::test]
async fn a_message_notifies_once_without_its_control_codes() {
    let seen = seen_after_a_message("desktop").await;
    assert_eq!(seen.matches("\x1b]9;").count(), 1, "{seen:?}");
    assert!(
        seen.contains("\x07\x1b]9;demo: ada: look\\e]52;c;eA=="),
        "{seen:?}"
    );
    assert!(!seen.contains("\x1b]52;"), "{seen:?}");
    assert!(!seen.contains('\u{202e}'), "{seen:?}");
}

#[tokio::test]
async fn the_terminal_of_attach_shows_a_desktop_notification() {
    if !tmux::is_here() {
        return;
    }
    let ada = vec![
        Reply::call(
            "send_message",
            json!({"to": "user", "text": "look\x1b]52;c;eA==\x07"}),
        ),
        Reply::text("I have asked."),
    ];
    let server = FakeModelServer::start(by_model([("ada", ada)])).await;
    let mut rig = rig(&server);
    rig.set("TERM", "xterm-256color");
    rig.set("VTE_VERSION", "");
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["attach"]);
    screen.until("ada").await;
    // The terminal reports that it has lost the focus.
    screen.type_in("\x1b[O").await;
    rig.ok(["send", "ada", "Go on"]).await;
    screen.until("\x1b]9;demo: ada: look\\e]52;c;eA==").await;
    screen.type_in("\x02d").await;
    let (code, seen) = screen.end().await;
    assert_eq!((code, seen.matches("\x1b]9;").count()), (0, 1), "{seen:?}");
}

#[tokio::test]
async fn a_pane_with_the_focus_does_not_notify() {
    if !tmux::is_here() {
        return;
    }
    let message = |text| Reply::call("send_message", json!({"to": "user", "text": text}));
    let ada = vec![
        message("which port?"),
        Reply::text("I have asked."),
        Reply::text("I wait."),
        message("which host?"),
        Reply::text("I have asked again."),
    ];
    // The lead receives the reports of ada's turns.
    let lead = (0..4).map(|_| Reply::text("Noted.")).collect();
    let server = FakeModelServer::start(by_model([("ada", ada), ("lead", lead)])).await;
    let (rig, tmux) = with_counted_bells(&server).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("ada ▸").await;
    let pane = rig.member("ada").await.pane.expect("a pane");
    rig.ok(["send", "ada", "Go on"]).await;
    tmux.until_shown(&pane, "I have asked.").await;
    // The launcher handles its calls in order, so it handles the message before this call.
    rig.ok(["panes", "reopen"]).await;
    rig.ok(["send", "ada", "Wait"]).await;
    tmux.until_shown(&pane, "I wait.").await;
    let bells = async || tmux.ask(["show-options", "-gqv", "@bells"]).await;
    assert_eq!(bells().await, "", "a pane with the focus rings no bell");

    // The terminal reports that the user has left it.
    screen.type_in("\x1b[O").await;
    until("the client without the focus", async || {
        let flags = tmux.ask(["list-clients", "-F", "#{client_flags}"]).await;
        (!flags.contains("focused")).then_some(())
    })
    .await;
    rig.ok(["send", "ada", "Go on"]).await;
    until("the bell", async || (bells().await == "x").then_some(())).await;
}

#[tokio::test]
async fn the_team_file_selects_the_notification() {
    let seen = seen_after_a_message("off").await;
    assert!(!seen.contains("\x1b]9;"), "{seen:?}");
    assert!(!seen.contains('\x07'), "{seen:?}");
    let seen = seen_after_a_message("bell").await;
    assert!(!seen.contains("\x1b]9;"), "{seen:?}");
    assert_eq!(seen.matches('\x07').count(), 1, "{seen:?}");
}

#[tokio::test]
async fn the_theme_of_up_reaches_tmux() {
    if !tmux::is_here() {
        return;
    }
    let mut rig = Rig::with_team(&TEAM.replace("headless", "tmux"));
    rig.set("AGENT_TEAM_THEME", "light");
    rig.ok(["up", "--detach"]).await;
    let tmux = rig.tmux();
    let colours = tmux.panes("#{@agent_team_colour}").await;
    assert_eq!(colours, ["colour26"]);
    let session = tmux.panes("#{session_id}").await.remove(0);
    let style = ["show-options", "-v", "-t", &session, "status-style"];
    assert_eq!(tmux.ask(style).await, "fg=colour238,bg=colour254");
}

#[tokio::test]
async fn a_light_background_selects_light_colours() {
    let mut rig = Rig::with_team(TEAM);
    rig.ok(["up", "--detach"]).await;
    rig.set("AGENT_TEAM_THEME", "auto");
    for (answer, colour) in [
        ("\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;22c", LIGHT_BLUE),
        ("\x1b]11;rgb:0000/0000/0000\x07\x1b[?62;22c", DARK_BLUE),
        // A terminal that answers without a background colour.
        ("\x1b[?1;2c", DARK_BLUE),
        // A terminal that sends no reply.
        ("", DARK_BLUE),
    ] {
        let mut screen = rig.on_terminal(["top"]);
        screen.until(QUERY).await;
        screen.type_in(answer).await;
        screen.until(colour).await;
        screen.type_in("q").await;
        let (code, _) = screen.end().await;
        assert_eq!(code, 0, "{answer:?}");
    }
}
