//! Messages of members to the user: where they appear, and when they count as read.

use agent_team_protocol::view::{MemberView, Waiting};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, tmux, until};
use serde_json::{Value, json};

use crate::agents::rig_with_requests;

/// A lead that writes to the user and waits for messages.
fn message() -> Vec<Reply> {
    vec![
        Reply::call("send_message", json!({"to": "user", "text": "Which port?"})),
        Reply::call("wait", json!({"for": "messages"})),
        Reply::call("finish", json!({"answer": "It is 8080."})),
    ]
}

async fn team_with_message(placement: &str) -> (FakeModelServer, Rig) {
    let server = FakeModelServer::start(by_model([("lead", message())])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("placement = \"headless\"", placement));
    rig.ok(["up", "--detach", "Choose a port"]).await;
    rig.until_member("lead", |lead| lead.wrote_user.is_some())
        .await;
    (server, rig)
}

#[tokio::test]
async fn ps_next_top_and_watch_show_a_message_to_the_user() {
    let (_server, rig) = team_with_message("placement = \"headless\"").await;
    let lead = rig
        .until_member("lead", |lead| lead.why.contains("waits"))
        .await;
    let message = lead.wrote_user.expect("the lead wrote").to_string();
    assert!(lead.why.contains("it wrote to you in"), "{}", lead.why);

    let shown = rig.ok(["ps"]).await.stdout;
    assert!(
        shown.contains(&format!("wrote to you, {message}")),
        "{shown}"
    );
    assert!(!shown.contains("asks you"), "{shown}");
    assert!(shown.contains("1 unread message to you"), "{shown}");
    assert_eq!(rig.json(["ps"]).await["unread"], 1);
    assert_eq!(rig.json(["next"]).await["member"], "lead");
    assert_eq!(
        rig.ok(["next", "--print"]).await.stdout,
        "lead wrote to you\n"
    );
    let top = rig.ok(["top", "--once"]).await.stdout;
    assert!(top.contains("1 waiting"), "{top}");

    let mut watch = rig.start([
        "requests",
        "watch",
        "--json",
        "--exec",
        "cat > seen.json; echo \"$AGENT_TEAM_MESSAGE\" > seen.txt",
    ]);
    let line: Value = serde_json::from_str(&watch.line().await).expect("JSON");
    assert_eq!(
        (&line["id"], &line["text"]),
        (&json!(message), &json!("Which port?"))
    );
    assert_eq!(line["kind"], "message");
    assert_eq!(rig.until_written("seen.txt").await, message);
    let input = rig.read("seen.json").expect("the program ran");
    let input: Value = serde_json::from_str(&input).expect("JSON");
    assert_eq!(input, line, "the program receives the printed line");

    rig.ok(["messages", "--peek"]).await.assert_prints("unread");
    assert_eq!(
        rig.json(["ps"]).await["unread"],
        1,
        "--peek marks nothing as read"
    );
    rig.ok(["messages", "user"])
        .await
        .assert_prints("Which port?");
    let after = rig.json(["ps"]).await;
    assert_eq!(after["unread"], 0);
    assert_eq!(rig.ok(["next", "--print"]).await.stdout, "");
    assert_eq!(rig.json(["messages"]).await["messages"][1]["state"], "read");
}

#[tokio::test]
async fn next_shows_a_hosted_member() {
    let (_server, rig) = team_with_message("placement = \"hosted\"").await;
    let mut screen = rig.on_terminal(["next"]);
    screen.until("━━ lead").await;
    screen.until("text: Which port?").await;
    for expected in ["press ^C again to leave", "agent-team attach"] {
        screen.type_in("\u{3}").await;
        screen.until(expected).await;
    }
    let (code, shown) = screen.end().await;
    assert_eq!(code, 0, "{shown}");
}

#[tokio::test]
async fn a_question_is_listed_until_it_is_answered() {
    let lead = vec![
        Reply::call(
            "ask",
            json!({"to": "user", "question": "Which port?\u{1b}[2J"}),
        ),
        Reply::call("finish", json!({"answer": "It is 8080.\nIt was free."})),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach", "Choose a port"]).await;
    let waits = |lead: &MemberView| matches!(lead.waiting, Some(Waiting::Answer { .. }));
    let lead = rig.until_member("lead", waits).await;
    assert!(lead.why.contains("waits for your answer"), "{}", lead.why);
    let message = lead.asks_user.expect("it asks").to_string();
    assert_eq!(lead.why.matches(&message).count(), 1, "{}", lead.why);
    assert_eq!(lead.wrote_user, None, "the question counts once");
    let asks = format!("asks you, {message}");
    rig.ok(["ps"]).await.assert_prints(&asks);
    rig.ok(["top", "--once"]).await.assert_prints(&asks);
    rig.ok(["messages"]).await.assert_prints("Which port?");

    // The question was read, and is still open.
    let list = rig.json(["requests"]).await;
    assert_eq!(list["questions"][0]["id"], json!(message));
    assert_eq!(list["questions"][0]["member"], "lead");
    let shown = rig.ok(["requests"]).await.stdout;
    assert!(shown.contains("Which port?"), "{shown}");
    assert!(shown.contains("agent-team send lead"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "control characters are escaped");
    assert_eq!(rig.ok(["next", "--print"]).await.stdout, "lead asks you\n");
    let mut watch = rig.start(["requests", "watch", "--json"]);
    let line: Value = serde_json::from_str(&watch.line().await).expect("JSON");
    assert_eq!(
        (&line["kind"], &line["id"]),
        (&json!("question"), &json!(message))
    );

    rig.ok(["send", "lead", "8080"]).await;
    server.until_asked("lead", 2).await;
    until("the goal to end", async || {
        let shown = rig.ok(["goal", "show"]).await.stdout;
        shown.contains("It was free.").then_some(())
    })
    .await;
    assert_eq!(rig.json(["requests"]).await["questions"], json!([]));
    assert_eq!(rig.json(["goal", "show"]).await["state"], "finished");
}

#[tokio::test]
async fn a_line_typed_in_the_pane_answers_a_question() {
    if !tmux::is_here() {
        return;
    }
    let lead = vec![
        Reply::call("ask", json!({"to": "user", "question": "Which port?"})),
        Reply::call("finish", json!({"answer": "It is chosen."})),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach", "Choose a port"]).await;
    let waits = |lead: &MemberView| matches!(lead.waiting, Some(Waiting::Answer { .. }));
    let pane = rig.until_member("lead", waits).await.pane;
    let (team, pane) = (rig.tmux(), pane.expect("a pane"));
    team.until_shown(&pane, "Which port?").await;
    let label = async || team.panes("#{@agent_team_label}").await.join(" ");
    until("the border to show the question", async || {
        label().await.contains("asks you").then_some(())
    })
    .await;
    team.ask(["send-keys", "-t", &pane, "8080", "Enter"]).await;
    server.until_asked("lead", 2).await;
    let request = &server.requests()[1];
    let inputs = format!("{:?}", request.messages());
    assert!(inputs.contains("8080"), "{inputs}");
    assert_eq!(request.results().len(), 1, "ask returns");
    assert_eq!(rig.json(["requests"]).await["questions"], json!([]));
    let goal = async || rig.json(["goal", "show"]).await["state"] == "finished";
    until("the goal to end", async || goal().await.then_some(())).await;
    until("the border without the question", async || {
        (!label().await.contains("asks you")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_question_without_a_user_is_refused() {
    let lead = vec![
        Reply::call("ask", json!({"to": "user", "question": "Which port?"})),
        Reply::call("finish", json!({"answer": "I chose 8080."})),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead)])).await;
    let rig = rig_with_requests(&server);
    let run = rig.run(["run", "Choose a port"]).await.expect(0);
    assert_eq!(run.stdout, "I chose 8080.\n");
    let refused = &server.requests()[1].results()[0].1;
    assert!(refused.contains("no user answers"), "{refused}");
    assert!(refused.contains("decide without the user"), "{refused}");
}

#[tokio::test]
async fn writing_to_a_member_marks_its_messages_as_read() {
    let (server, rig) = team_with_message("placement = \"headless\"").await;
    rig.ok(["send", "lead", "8080"]).await;
    rig.until_member("lead", |lead| lead.wrote_user.is_none())
        .await;
    server.until_asked("lead", 3).await;
    // The answer of the goal is also a message of agent-team.
    let list = rig.json(["messages"]).await;
    let messages = list["messages"].as_array().expect("messages");
    let questions = messages.iter().filter(|it| it["from"] == "lead");
    let states: Vec<_> = questions.map(|it| &it["state"]).collect();
    assert_eq!(states, ["read"], "{list}");
}

#[tokio::test]
async fn a_pane_shows_a_message_and_takes_its_answer() {
    if !tmux::is_here() {
        return;
    }
    let (server, rig) = team_with_message("placement = \"tmux\"").await;
    let team = rig.tmux();
    let label = async || team.panes("#{@agent_team_label}").await.join(" ");
    until("the border to show the message", async || {
        label().await.contains("wrote to you").then_some(())
    })
    .await;
    let status = ["display-message", "-p", "#{T:status-right}"];
    until("the status line to show the message", async || {
        team.ask(status)
            .await
            .contains("lead wrote to you")
            .then_some(())
    })
    .await;
    let pane = rig.member("lead").await.pane.expect("a pane");
    team.ask(["send-keys", "-t", &pane, "8080", "Enter"]).await;
    server.until_asked("lead", 3).await;
    until("the border without the message", async || {
        (!label().await.contains("wrote to you")).then_some(())
    })
    .await;
}
