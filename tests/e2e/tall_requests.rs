//! A permission request with more lines than its pane, in a real tmux.

use std::time::Duration;

use agent_team_protocol::RequestId;
use agent_team_protocol::method::RequestShow;
use agent_team_protocol::request::{OneRequest, RequestState};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{tmux, within};
use serde_json::json;
use tokio::time::timeout;

use crate::agents::rig_with_requests;

const LINES: usize = 120;

#[tokio::test]
async fn a_tall_request_in_tmux_needs_every_page() {
    if !tmux::is_here() {
        return;
    }
    let line = |number| format!("echo line-{number} >> ran.txt\n");
    let command: String = (1..=LINES).map(line).collect();
    let ada = vec![
        Reply::call("bash", json!({ "command": command })),
        Reply::text("Done."),
    ];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", ada)])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    let ada = rig.until_member("ada", |ada| ada.requests > 0).await;
    let pane = ada.pane.expect("a pane");
    let tmux = rig.tmux();
    let press = async |key| tmux.ask(["send-keys", "-t", &pane, key]).await;
    let state = async || {
        let request = RequestId(1);
        rig.ask::<RequestShow>(OneRequest { request }).await.state
    };

    // Wait longer than the pause without keys that must precede a key.
    let pause = Duration::from_millis(600);
    tmux.until_shown(&pane, "more lines, ^O").await;
    for _ in 0..2 {
        press("y").await;
        let decided = timeout(pause, server.until_asked("ada", 2)).await;
        assert!(decided.is_err(), "a key counted on the first page");
    }
    let pages = tmux.until_read(&pane, "[y] once").await;
    assert_eq!(state().await, RequestState::Pending);
    let commands = tmux.capture(&pane).await.matches("echo").count();
    assert!(
        commands < LINES + LINES / 2,
        "the command is shown twice: {pages}"
    );
    for number in 1..=LINES {
        assert!(
            pages.contains(&format!("{} ", line(number).trim_end())),
            "line {number} was not shown"
        );
    }
    assert_eq!(rig.read("ran.txt"), None);
    // A key that arrives while the last page is new is not an answer either.
    within("the key to be taken", async {
        loop {
            press("y").await;
            if timeout(pause, server.until_asked("ada", 2)).await.is_ok() {
                return;
            }
        }
    })
    .await;
    let ran: String = (1..=LINES)
        .map(|number| format!("line-{number}\n"))
        .collect();
    assert_eq!(rig.read("ran.txt"), Some(ran));
}
