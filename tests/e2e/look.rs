//! The end of a goal as the user sees it, and the colours for the terminal's background.

use agent_team_tests::fake_model_server::{FakeModelServer, by_model};
use agent_team_tests::{Rig, tmux};

use crate::agents::{greeting, rig};

const QUESTION: &str = "\x1b]11;?\x1b\\\x1b[c";

/// ada's colour in the dark and in the light theme.
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

#[tokio::test]
async fn the_end_of_a_goal_is_shown_and_notified_once() {
    if !tmux::is_here() {
        return;
    }
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach"]).await;
    let tmux = rig.tmux();
    let count = "set-option -ga @bells x";
    tmux.ask(["set-hook", "-g", "alert-bell", count]).await;
    rig.ok(["run", "Greet the world"]).await;

    let lead = rig.until_member("lead", |lead| lead.pane.is_some()).await;
    let pane = lead.pane.expect("a pane");
    let shown = tmux.until_shown(&pane, "✓ Done in").await;
    assert!(shown.contains(" · 1 task"), "{shown}");
    let (_, answer) = shown.split_once("✓ Done in").expect("it is shown");
    assert!(answer.contains("The greeting is written."), "{shown}");
    let ps = rig.run(["ps"]).await.expect(0).stdout;
    let line = ps.lines().find(|line| line.starts_with("✓ R-1 Done in"));
    let line = line.unwrap_or_else(|| panic!("{ps}"));
    assert!(line.ends_with("· 1 task: The greeting is written."), "{ps}");
    assert_eq!(
        tmux.ask(["show-options", "-gqv", "@bells"]).await.trim(),
        "x"
    );
}

#[tokio::test]
async fn an_interrupt_ends_the_query_for_the_background() {
    let mut rig = Rig::with_team(TEAM);
    rig.ok(["up", "--detach"]).await;
    rig.set("AGENT_TEAM_THEME", "auto");
    let mut screen = rig.on_terminal(["top"]);
    screen.until(QUESTION).await;
    screen.type_in("\x03").await;
    let (code, _) = screen.end().await;
    assert_ne!(code, 0);
}

#[tokio::test]
async fn a_theme_of_the_command_line_is_not_replaced() {
    let mut rig = Rig::with_team(TEAM);
    rig.set("AGENT_TEAM_THEME", "auto");
    let screen = rig.on_terminal(["up", "--env", "AGENT_TEAM_THEME=dark"]);
    let (_, shown) = screen.end().await;
    assert!(!shown.contains(QUESTION), "{shown:?}");
}

#[tokio::test]
async fn a_light_background_selects_light_colours() {
    let mut rig = Rig::with_team(TEAM);
    rig.ok(["up", "--detach"]).await;
    rig.set("AGENT_TEAM_THEME", "auto");
    for (answer, colour) in [
        ("\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;22c", LIGHT_BLUE),
        ("\x1b]11;rgb:0000/0000/0000\x07\x1b[?62;22c", DARK_BLUE),
        // A terminal that does not know its background.
        ("\x1b[?1;2c", DARK_BLUE),
        // A terminal that sends no reply.
        ("", DARK_BLUE),
    ] {
        let mut screen = rig.on_terminal(["top"]);
        screen.until(QUESTION).await;
        screen.type_in(answer).await;
        screen.until(colour).await;
        screen.type_in("q").await;
        let (code, _) = screen.end().await;
        assert_eq!(code, 0, "{answer:?}");
    }
}
