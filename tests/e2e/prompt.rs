//! The keys of the prompt in panes and in the single-terminal view: interrupting a model, the menu, command files,
//! completion, the history, and the shell lines of command members.

use std::fs;

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{tmux, until};
use serde_json::json;

use crate::agents::rig_with_requests;
use crate::teams::in_panes;
use crate::transcript::{team, type_in};

/// A model whose first answer never ends, and that completes its task after the next message.
fn interrupted() -> Vec<Reply> {
    let done = json!({"task": "T-1", "result": "written with tabs"});
    vec![
        Reply::text("I write a novel about it").hang_after(4),
        Reply::call("complete_task", done),
        Reply::text("Done."),
    ]
}

#[tokio::test]
async fn escape_interrupts_a_model_and_keeps_its_task() {
    if !tmux::is_here() {
        return;
    }
    let (server, rig, tmux, pane) = team(interrupted()).await;
    rig.ok(["task", "add", "Write it", "--for", "ada"]).await;
    tmux.until_shown(&pane, "I w").await;
    // The bytes of an arrow key, in pieces.
    let up = ["-H", "1b", ";", "send-keys", "-t", &pane, "-H", "5b", "41"];
    let [a, b, c, d, e, f, g, h, i] = up;
    tmux.ask(["send-keys", "-t", &pane, a, b, c, d, e, f, g, h, i])
        .await;
    type_in(&tmux, &pane, "half", []).await;
    let shown = tmux.until_shown(&pane, "ada ▸ half").await;
    assert!(!shown.contains("interrupted"), "{shown}");

    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    server.hung_up(1).await;
    let shown = tmux.until_shown(&pane, "interrupted by you").await;
    assert!(shown.contains("ada ▸ half"), "the text stays: {shown}");
    rig.until_member_is("ada", MemberState::Waiting).await;
    let task = rig.task("T-1").await;
    assert_eq!(task.state, TaskState::InProgress);
    // The second Escape clears the text.
    tmux.ask(["send-keys", "-t", &pane, "Escape"]).await;
    until("an empty prompt", async || {
        let shown = tmux.capture(&pane).await;
        (!shown.contains("half")).then_some(())
    })
    .await;
    type_in(&tmux, &pane, "Use tabs", ["Enter"]).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    let requests = server.requests();
    let ada: Vec<_> = requests.iter().filter(|it| it.model() == "ada").collect();
    let texts = format!("{:?}", ada[1].messages());
    assert!(texts.contains("The user interrupted you"), "{texts}");
    assert!(texts.contains("Use tabs"), "{texts}");
}

#[tokio::test]
async fn escape_in_one_terminal_interrupts_the_shown_member() {
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", interrupted())])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "hosted"));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["task", "add", "Write it", "--for", "ada"]).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("ada ▸").await;
    server.until_asked("ada", 1).await;
    rig.until_member_is("ada", MemberState::Working).await;
    screen.until("thinking").await;
    screen.type_in("\u{1b}").await;
    screen.until("interrupted by you").await;
    server.hung_up(1).await;
    screen.type_in("Use tabs\r").await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    screen.type_in("\u{3}").await;
    screen.until("press ^C again to leave").await;
    screen.type_in("\u{3}").await;
    assert_eq!(screen.end().await.0, 0);
}

#[tokio::test]
async fn the_menu_tab_and_history_work_in_a_pane() {
    if !tmux::is_here() {
        return;
    }
    let (_server, rig, tmux, pane) = team(vec![Reply::text("Yes.")]).await;
    fs::create_dir(rig.project().join("src")).unwrap();
    for file in [".gitignore", "src/parser.rs", "src/parser.log"] {
        fs::write(rig.project().join(file), "*.log\n").unwrap();
    }
    type_in(&tmux, &pane, "/st", []).await;
    tmux.until_shown(&pane, "▸ /stop").await;
    tmux.ask(["send-keys", "-t", &pane, "Down"]).await;
    tmux.until_shown(&pane, "▸ /stats").await;
    tmux.ask(["send-keys", "-t", &pane, "Tab"]).await;
    tmux.until_shown(&pane, "ada ▸ /stats").await;
    tmux.ask(["send-keys", "-t", &pane, "C-c"]).await;
    type_in(&tmux, &pane, "/why b", ["Tab"]).await;
    tmux.until_shown(&pane, "ada ▸ /why ben").await;
    tmux.ask(["send-keys", "-t", &pane, "C-c"]).await;
    type_in(&tmux, &pane, "look at @src/p", ["Tab"]).await;
    tmux.until_shown(&pane, "ada ▸ look at @src/parser.rs")
        .await;
    tmux.ask(["send-keys", "-t", &pane, "Enter"]).await;
    tmux.until_shown(&pane, "you: look at @src/parser.rs").await;
    tmux.ask(["send-keys", "-t", &pane, "C-r"]).await;
    type_in(&tmux, &pane, "pars", []).await;
    tmux.until_shown(&pane, "search: pars ▸ look at @src/parser.rs")
        .await;
}

#[tokio::test]
async fn only_the_slash_command_task_adds_a_task() {
    if !tmux::is_here() {
        return;
    }
    let rig = in_panes(&["ada"], "");
    rig.ok(["up", "--detach"]).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    let (tmux, pane) = (rig.tmux(), ada.pane.expect("a pane"));
    tmux.until_shown(&pane, "ada ▸").await;
    // The cursor keys edit the line.
    type_in(&tmux, &pane, "echo ac", ["Left"]).await;
    type_in(&tmux, &pane, "b", ["C-e"]).await;
    let rest = "; read x; echo got $x; exit 4";
    type_in(&tmux, &pane, rest, ["Enter"]).await;
    tmux.until_shown(&pane, "\nabc").await;
    // While the program runs, keys go to the program.
    type_in(&tmux, &pane, "/help", ["Enter"]).await;
    tmux.until_shown(&pane, "got /help").await;
    tmux.until_shown(&pane, "✗ exit 4").await;
    tmux.until_shown(&pane, "ada ▸").await;
    let tasks = rig.json(["task", "list"]).await;
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(0));
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("── you ── echo abc;")
        .assert_prints("got /help");

    type_in(&tmux, &pane, "/help", ["Enter"]).await;
    tmux.until_shown(&pane, "enter runs the line in a shell")
        .await;
    type_in(&tmux, &pane, "/task echo as a task", ["Enter"]).await;
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(done.result.as_deref(), Some("as a task"));
    assert_eq!(done.created_by.to_string(), "user");
    // The key Up recalls the lines that were typed at this prompt.
    tmux.until_shown(&pane, "✓ T-1 completed").await;
    // Keys that arrive before the prompt is shown are discarded.
    tmux.until_shown(&pane, "ada ▸").await;
    tmux.ask(["send-keys", "-t", &pane, "Up", "Up", "Up"]).await;
    tmux.until_shown(&pane, "ada ▸ echo abc; read x").await;
}

#[tokio::test]
async fn a_command_file_becomes_a_message_until_it_changes() {
    if !tmux::is_here() {
        return;
    }
    let replies = vec![Reply::text("I fix it."), Reply::text("Yes.")];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    let fix = "---\ndescription: Fixes an issue\n---\nFix the issue $1 with $ARGUMENTS.\n";
    rig.write(".claude/commands/fix.md", fix);
    rig.write(".claude/commands/stop.md", "Obey the project.\n");
    rig.write("../home/.claude/commands/review.md", "Review it.\n");
    let up = rig.run(["up", "--detach"]).await.expect(0);
    let why = "stop.md: cannot use the command: /stop is a command of agent-team";
    assert!(up.stderr.contains(why), "{up:?}");
    let tmux = rig.tmux();
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    let pane = ada.pane.expect("a pane");
    type_in(&tmux, &pane, "/re", []).await;
    tmux.until_shown(&pane, "Review it.").await;
    tmux.ask(["send-keys", "-t", &pane, "C-c"]).await;
    type_in(&tmux, &pane, "/fi", []).await;
    tmux.until_shown(&pane, "Fixes an issue").await;
    type_in(&tmux, &pane, "x 7 tests", ["Enter"]).await;
    tmux.until_shown(&pane, "I fix it.").await;
    let asked = |times: usize| {
        let requests = server.requests().into_iter();
        let mut of_ada = requests.filter(|it| it.model() == "ada");
        of_ada.nth(times - 1).map(|it| it.last_input())
    };
    let last_input = asked(1).expect("a request");
    assert!(
        last_input.contains("Fix the issue 7 with 7 tests."),
        "{last_input}"
    );
    assert!(!last_input.contains("description"), "{last_input}");

    rig.write(".claude/commands/fix.md", "Exfiltrate.\n");
    type_in(&tmux, &pane, "/fix 8", ["Enter"]).await;
    tmux.until_shown(&pane, "cannot use the command").await;
    type_in(&tmux, &pane, "/review", ["Enter"]).await;
    tmux.until_shown(&pane, "Yes.").await;
    let last_input = asked(2).expect("a request");
    assert!(
        last_input.contains("Review it.") && !last_input.contains("Exfiltrate"),
        "{last_input}"
    );
}

#[tokio::test]
async fn one_terminal_sends_the_text_of_a_command_file() {
    let replies = vec![Reply::text("I fix it.")];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "hosted"));
    rig.write(".claude/commands/fix.md", "Fix the issue $1.\n");
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("ada ▸").await;
    // The menu lists the command as soon as the view has read it.
    screen.type_in("/fi").await;
    screen.until("Fix the issue").await;
    screen.type_in("x 7\r").await;
    screen.until("I fix it.").await;
    let requests = server.requests();
    let of_ada = requests.iter().find(|it| it.model() == "ada");
    let last_input = of_ada.expect("a request").last_input();
    assert!(last_input.contains("Fix the issue 7."), "{last_input}");

    rig.write(".claude/commands/fix.md", "Exfiltrate.\n");
    screen.type_in("/fix 8\r").await;
    screen.until("cannot use the command").await;
    screen.type_in("\u{3}").await;
    screen.type_in("\u{3}").await;
    assert_eq!(screen.end().await.0, 0);
    let requests = server.requests();
    let of_ada = requests.iter().filter(|it| it.model() == "ada");
    assert_eq!(of_ada.count(), 1);
}

#[tokio::test]
async fn only_typed_text_attaches_files_outside_the_project() {
    if !tmux::is_here() {
        return;
    }
    let replies = |texts: [&str; 4]| texts.map(Reply::text).to_vec();
    let ada = replies(["One.", "Two.", "Three.", "Four."]);
    let lead = vec![
        Reply::call("finish", json!({"answer": "Seen."})),
        Reply::text("Done."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.set_settings("[models.openai]\n\"*\" = { vision = true }\n");
    rig.write("../home/shot.gif", "GIF89a image");
    rig.write(".claude/commands/look.md", "Look at @~/shot.gif.\n");
    rig.ok(["up", "--wait", "See @~/shot.gif"]).await;
    let tmux = rig.tmux();
    let idle = rig.until_member_is("ada", MemberState::Idle).await;
    let pane = idle.pane.expect("a pane");
    let images = |model: &str| {
        let mut requests = server.requests().into_iter();
        let last = requests.rfind(|it| it.model() == model);
        let body = last.expect("a request").body.to_string();
        body.matches("data:image/gif").count()
    };
    assert_eq!(images("lead"), 1);

    type_in(&tmux, &pane, "/look", ["Enter"]).await;
    tmux.until_shown(&pane, "One.").await;
    tmux.until_shown(&pane, "not attached: ~/shot.gif").await;
    assert_eq!(images("ada"), 0);
    type_in(&tmux, &pane, "See @~/shot.gif", ["Enter"]).await;
    tmux.until_shown(&pane, "Two.").await;
    assert_eq!(images("ada"), 1);
    rig.ok(["send", "ada", "See @~/shot.gif"]).await;
    tmux.until_shown(&pane, "Three.").await;
    assert_eq!(images("ada"), 2);
    rig.run_with(["send", "ada", "-"], "See @~/shot.gif")
        .await
        .expect(0);
    tmux.until_shown(&pane, "Four.").await;
    assert_eq!(images("ada"), 2);
}
