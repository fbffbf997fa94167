//! The card of a permission request in a pane of real tmux: the content of 12 rows, the colour of the border, and the
//! answer with a reason.

use agent_team_protocol::status::Status;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{tmux, until};
use serde_json::json;

use crate::agents::rig_with_requests;

#[tokio::test]
async fn a_card_fits_12_rows_and_takes_a_reason() {
    if !tmux::is_here() {
        return;
    }
    let lines: Vec<String> = (1..=60)
        .map(|line| format!("let x{line} = {line};"))
        .collect();
    let old = lines.join("\n");
    let ada = vec![
        Reply::call("read", json!({ "path": "a.rs" })),
        Reply::call(
            "edit",
            json!({ "path": "a.rs", "old": old, "new": old.replace('x', "y") }),
        ),
        Reply::text("Very well."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", ada)])).await;
    let rig = rig_with_requests(&server);
    rig.write("a.rs", &old);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach"]).await;
    let ada = rig.until_member("ada", |ada| ada.pane.is_some()).await;
    let pane = ada.pane.expect("a pane");
    let tmux = rig.tmux();
    // Two panes beside each other, each with a border line above it.
    tmux.ask(["resize-window", "-t", &pane, "-x", "121", "-y", "13"])
        .await;
    tmux.ask(["resize-pane", "-t", &pane, "-x", "60"]).await;
    let format = |format: &'static str| {
        let (tmux, pane) = (tmux.clone(), pane.clone());
        async move {
            tmux.ask(["display-message", "-p", "-t", &pane, format])
                .await
        }
    };
    assert_eq!(format("#{pane_width}x#{pane_height}").await, "60x12");
    // The styles and the text of the border, as tmux expands them for this pane.
    let waiting = format!("fg=colour{}", Status::Waiting.ansi256());
    let border = "#{E:pane-border-style}#{E:pane-active-border-style}#{T:pane-border-format}";
    assert!(!format(border).await.contains(&waiting));

    rig.ok(["send", "ada", "Go on"]).await;
    let parts = [
        "╭─ ? P-1 edit a.rs (+60 −60) ",
        "- let x1 = 1;",
        "more lines, ^O",
        "[n] no",
        "[e] no, because…",
    ];
    // tmux reports a new size to the program in a pane with a delay.
    until(&format!("{parts:?} in the pane"), async || {
        let screen = tmux.ask(["capture-pane", "-p", "-t", &pane]).await;
        parts.iter().all(|part| screen.contains(part)).then_some(())
    })
    .await;
    until("the border to have the colour of waiting", async || {
        let border = format(border).await;
        (border.matches(&waiting).count() >= 1).then_some(())
    })
    .await;
    let coloured = tmux.ask(["capture-pane", "-e", "-p", "-t", &pane]).await;
    assert!(
        coloured.contains("\u{1b}[38;5;203m"),
        "a removed line is red: {coloured:?}"
    );

    // A key counts only after a pause without keys.
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(600));
    until("the prompt for the reason", async || {
        ticks.tick().await;
        tmux.ask(["send-keys", "-t", &pane, "e"]).await;
        let screen = tmux.ask(["capture-pane", "-p", "-t", &pane]).await;
        screen.contains("no, because ▸").then_some(())
    })
    .await;
    // Clear the text: the last `e` may have arrived after the card asked for the reason.
    tmux.ask(["send-keys", "-t", &pane, "C-u"]).await;
    tmux.ask(["send-keys", "-t", &pane, "-l", "keep the x"])
        .await;
    tmux.until_shown(&pane, "no, because ▸ keep the x").await;
    tmux.ask(["send-keys", "-t", &pane, "Enter"]).await;
    server.until_asked("ada", 3).await;
    let requests = server.requests();
    let results = requests.last().expect("the model was called").results();
    let denied = results.iter().any(|(_, text)| text.contains("keep the x"));
    assert!(denied, "{results:?}");
    let folded = "✗ P-1 edit a.rs: denied by you, \"keep the x\"";
    tmux.until_shown(&pane, folded).await;
    let screen = tmux.ask(["capture-pane", "-p", "-t", &pane]).await;
    assert!(!screen.contains("╭─ ? P-1"), "{screen}");
    assert_eq!(rig.read("a.rs"), Some(old));
    until("the border to have its own colour", async || {
        (!format(border).await.contains(&waiting)).then_some(())
    })
    .await;
}
