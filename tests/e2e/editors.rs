//! `agent-team acp`: an editor talks to the lead of a team over the Agent Client Protocol.

mod client;

use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model, in_turn};
use agent_team_tests::processes::kill;
use serde_json::{Value, json};

use self::client::Editor;
use crate::agents::{greeting, rig, rig_with_requests};

const CHUNK: &str = "agent_message_chunk";

fn write() -> Reply {
    Reply::call("write", json!({"path": "out.txt", "content": "hello\n"}))
}

fn finish(answer: &str) -> Reply {
    Reply::call("finish", json!({ "answer": answer }))
}

/// A team whose lead gives these replies, and asks for edits.
async fn leading(replies: Vec<Reply>) -> (FakeModelServer, Rig) {
    let server = FakeModelServer::start(by_model([("lead", replies)])).await;
    let rig = rig_with_requests(&server);
    (server, rig)
}

#[tokio::test]
async fn a_prompt_becomes_tasks_with_a_plan_and_an_answer() {
    let server = FakeModelServer::start(by_model(greeting())).await;
    let rig = rig(&server);
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet the world").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    let text = editor.text(&session, CHUNK);
    assert!(text.starts_with("Ada will write it."), "{text}");
    assert!(text.ends_with("The greeting is written."), "{text}");
    assert_eq!(rig.read("greeting.txt").as_deref(), Some("hello\n"));

    let plans = editor.updates("plan");
    let entry = json!({ "content": "T-1 Write the greeting (ada)", "priority": "medium", "status": "completed" });
    assert_eq!(
        plans.last().unwrap()["entries"],
        json!([entry]),
        "{plans:?}"
    );
    let begun = editor.updates("tool_call");
    let of_ada = begun
        .iter()
        .find(|call| call["toolCallId"] == "T-1/1")
        .unwrap();
    assert_eq!(of_ada["title"], "ada: T-1 Write the greeting");
    assert!(
        begun.iter().any(|call| call["title"] == "create_task"),
        "{begun:?}"
    );
    let ended = editor.updates("tool_call_update");
    let ended = ended
        .iter()
        .rfind(|call| call["toolCallId"] == "T-1/1")
        .unwrap();
    assert_eq!(ended["status"], "completed");
    assert!(
        ended.to_string().contains("greeting.txt says hello"),
        "{ended}"
    );
    // The team continues without the editor.
    editor.close().await;
    assert!(rig.ok(["ps"]).await.stdout.contains("lead"));
}

#[tokio::test]
async fn thoughts_and_text_of_the_lead_are_streamed_apart() {
    let replies = vec![finish("Done.").thinking("Nothing to do.", "")];
    let (_server, rig) = leading(replies).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    assert_eq!(
        editor.text(&session, "agent_thought_chunk"),
        "Nothing to do."
    );
    assert_eq!(editor.text(&session, CHUNK), "Done.");
    // Give another goal in the same session.
    let title = editor.update("session_info_update", |_| true).await;
    assert_eq!(title["title"], "Greet");
}

#[tokio::test]
async fn a_request_is_decided_once_in_the_editor() {
    for (option, written, status) in [
        ("once", Some("hello\n"), "completed"),
        ("no", None, "failed"),
    ] {
        let (_server, rig) = leading(vec![write(), finish("Done.")]).await;
        let (mut editor, session) = Editor::open(&rig).await;
        let prompt = editor.prompt(&session, "Greet").await;
        let question = editor.question().await;
        let params = &question["params"];
        assert_eq!(params["sessionId"], session.as_str());
        let call = &params["toolCall"];
        assert_eq!(call["title"], "lead: write: out.txt");
        let whole = call["content"][0]["content"]["text"].as_str().unwrap();
        assert!(whole.contains("+hello"), "{whole}");
        let path = rig.project().join("out.txt");
        let diff = json!({ "type": "diff", "path": path, "oldText": null, "newText": "hello\n" });
        assert_eq!(call["content"][1], diff);
        let kinds: Vec<_> = params["options"].as_array().unwrap().iter().collect();
        let kinds: Vec<_> = kinds
            .iter()
            .map(|option| option["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["allow_once", "reject_once"]);
        assert_eq!(rig.read("out.txt"), None);
        editor.answer(&question, option).await;
        assert_eq!(editor.stop_reason(prompt).await, "end_turn");
        assert_eq!(rig.read("out.txt").as_deref(), written);
        let is_last = |update: &Value| update["toolCallId"] == "P-1" && update["status"] == status;
        editor.update("tool_call_update", is_last).await;
        // The decision is for this call only.
        assert_eq!(
            rig.json(["rules", "list"]).await["grants"]
                .as_array()
                .map_or(0, Vec::len),
            0
        );
    }
}

#[tokio::test]
async fn a_decision_elsewhere_cancels_the_dialog() {
    let (_server, rig) = leading(vec![write(), finish("Done.")]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet").await;
    let question = editor.question().await;
    rig.ok(["requests", "allow", "P-1"]).await;
    let is_cancel = |message: &Value| message["method"] == "$/cancel_request";
    let cancelled = editor.until("the cancellation", is_cancel).await;
    assert_eq!(cancelled["params"]["requestId"], question["id"]);
    // The answer is too late: the request is already decided.
    editor.answer(&question, "no").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    assert_eq!(rig.read("out.txt").as_deref(), Some("hello\n"));
}

#[tokio::test]
async fn an_undecided_question_stays_pending_and_is_asked_again() {
    let (_server, rig) = leading(vec![write(), finish("Done.")]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let first = editor.prompt(&session, "Greet").await;
    let question = editor.question().await;
    let outcome = json!({ "outcome": { "outcome": "cancelled" } });
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": outcome });
    editor.write_line(&answer.to_string()).await;
    assert!(rig.ok(["requests"]).await.stdout.contains("P-1"));
    let second = editor.prompt(&session, "Please").await;
    let question = editor.question().await;
    editor.answer(&question, "once").await;
    assert_eq!(editor.stop_reason(first).await, "end_turn");
    assert_eq!(editor.stop_reason(second).await, "end_turn");
}

#[tokio::test]
async fn cancelling_a_prompt_cancels_its_goal() {
    let (server, rig) = leading(vec![Reply::hang(), finish("Stopped."), finish("Done.")]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet").await;
    server.until_asked("lead", 1).await;
    editor
        .notify("session/cancel", json!({ "sessionId": session }))
        .await;
    assert_eq!(editor.stop_reason(prompt).await, "cancelled");
    assert_eq!(rig.json(["goal", "show"]).await["state"], "cancelled");
    // Without a prompt, there is nothing to cancel.
    editor
        .notify("session/cancel", json!({ "sessionId": session }))
        .await;
    editor.close().await;
}

#[tokio::test]
async fn a_question_of_the_lead_ends_the_prompt() {
    let ask = Reply::call("ask", json!({"to": "user", "question": "Which colour?"}));
    let (server, rig) = leading(vec![ask, finish("Blue it is.")]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let first = editor.prompt(&session, "Paint").await;
    assert_eq!(editor.stop_reason(first).await, "end_turn");
    let text = editor.text(&session, CHUNK);
    assert!(text.contains("Which colour?"), "{text}");
    let second = editor.prompt(&session, "Blue").await;
    assert_eq!(editor.stop_reason(second).await, "end_turn");
    assert!(editor.text(&session, CHUNK).ends_with("Blue it is."));
    let requests = server.requests();
    let last = requests.last().unwrap();
    // The lead does not wait for another reply.
    let results = last.results();
    assert!(!results[0].1.contains("has not replied"), "{results:?}");
    assert!(last.last_input().contains("Blue"), "{}", last.last_input());
}

#[tokio::test]
async fn a_restarted_editor_gets_the_conversation_again() {
    let replies = vec![
        finish("The first answer."),
        write().thinking("I write it.", ""),
        finish("The second answer."),
    ];
    let (_server, rig) = leading(replies).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "The first goal").await;
    editor.stop_reason(prompt).await;
    editor.prompt(&session, "The second goal").await;
    editor.question().await;
    // The editor kills the server in the middle of the goal. The team continues.
    editor.kill().await;

    let mut editor = Editor::initialized(&rig).await;
    let listed = editor
        .ok("session/list", json!({ "cwd": rig.project() }))
        .await;
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1, "{listed}");
    assert_eq!(sessions[0]["cwd"], json!(rig.project()));
    let elsewhere = editor
        .ok("session/list", json!({ "cwd": rig.root() }))
        .await;
    assert_eq!(elsewhere["sessions"], json!([]));
    let listed = sessions[0]["sessionId"].as_str().unwrap().to_owned();
    for session in [listed.as_str(), session.as_str()] {
        let mut editor = Editor::initialized(&rig).await;
        let load = json!({ "sessionId": session, "cwd": rig.project(), "mcpServers": [] });
        let loaded = editor.ok("session/load", load).await;
        assert_eq!(loaded["modes"]["currentModeId"], "default");
        let goals = editor.text(session, "user_message_chunk");
        assert_eq!(goals, "The first goalThe second goal");
        assert_eq!(editor.text(session, CHUNK), "The first answer.");
        assert_eq!(editor.text(session, "agent_thought_chunk"), "I write it.");
        if session == listed {
            continue;
        }
        // The goal is still under way: its request and its answer reach this session.
        let question = editor.question().await;
        editor.answer(&question, "once").await;
        let is_answer = |update: &Value| update["content"]["text"] == "The second answer.";
        editor.update(CHUNK, is_answer).await;
    }
    let wrong = json!({ "sessionId": "other-12345678", "cwd": rig.project(), "mcpServers": [] });
    assert_eq!(editor.refused("session/load", wrong).await.0, -32002);
    let resume = json!({ "sessionId": session, "cwd": rig.project() });
    editor.ok("session/resume", resume).await;
    assert_eq!(editor.text(&session, "user_message_chunk"), "");
    editor
        .ok("session/close", json!({ "sessionId": session }))
        .await;
    let closed = json!({ "sessionId": session, "prompt": [] });
    assert_eq!(editor.refused("session/prompt", closed).await.0, -32002);
}

#[tokio::test]
async fn closing_a_session_leaves_its_goal_under_way() {
    let (server, rig) = leading(vec![Reply::hang()]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet").await;
    server.until_asked("lead", 1).await;
    let of_session = json!({ "sessionId": session });
    editor.ok("session/close", of_session).await;
    assert_eq!(editor.stop_reason(prompt).await, "cancelled");
    assert_eq!(rig.json(["goal", "show"]).await["state"], "under_way");
}

#[tokio::test]
async fn the_number_of_open_prompts_is_limited() {
    let (server, rig) = leading(vec![Reply::hang()]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    editor.prompt(&session, "Greet").await;
    server.until_asked("lead", 1).await;
    for number in 1..64 {
        editor.prompt(&session, &format!("Message {number}")).await;
    }
    let last = editor.prompt(&session, "One more").await;
    let (code, message) = editor.error(last).await;
    assert_eq!(code, -32600);
    assert!(message.contains("64 prompts are open"), "{message}");
}

#[tokio::test]
async fn a_named_team_serves_sessions_of_any_directory() {
    let (_server, rig) = leading(vec![finish("Done.")]).await;
    let mut editor = Editor::start_with(&rig, &["-t", "demo", "acp"]);
    editor.initialize().await;
    let new = json!({ "cwd": rig.root(), "mcpServers": [] });
    let (_, message) = editor.refused("session/new", new).await;
    assert!(message.contains("the team demo is not up"), "{message}");
    rig.ok(["up", "--detach"]).await;
    let session = editor.new_session(rig.root()).await;
    let prompt = editor.prompt(&session, "Greet").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    assert_eq!(editor.text(&session, CHUNK), "Done.");
}

#[tokio::test]
async fn a_stopped_lead_ends_the_prompt_with_its_command() {
    let (server, rig) = leading(vec![Reply::hang(), finish("Done.")]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet").await;
    server.until_asked("lead", 1).await;
    rig.ok(["kill", "lead"]).await;
    let (_, message) = editor.error(prompt).await;
    assert!(message.contains("the lead was stopped"), "{message}");
    // Another member keeps the team up, so a prompt does not start the lead.
    let prompt = editor.prompt(&session, "Go on").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    let text = editor.text(&session, CHUNK);
    assert!(text.contains("agent-team restart lead"), "{text}");
    rig.ok(["restart", "lead"]).await;
    let prompt = editor.prompt(&session, "Go on").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    assert!(editor.text(&session, CHUNK).ends_with("Done."));
}

#[tokio::test]
async fn two_editors_at_one_team_get_the_same_answer() {
    let (_server, rig) = leading(vec![write(), finish("Done.")]).await;
    let (mut one, first) = Editor::open(&rig).await;
    let (mut two, second) = Editor::open(&rig).await;
    assert_ne!(first, second);
    let of_one = one.prompt(&first, "Greet").await;
    let asked = one.question().await;
    let left = two.prompt(&second, "And be polite").await;
    let question = two.question().await;
    // The goal belongs to the first editor: the second editor only stops waiting.
    two.notify("session/cancel", json!({ "sessionId": second }))
        .await;
    assert_eq!(two.stop_reason(left).await, "cancelled");
    let of_two = two.prompt(&second, "Be polite").await;
    two.answer(&question, "once").await;
    let is_cancel = |message: &Value| message["method"] == "$/cancel_request";
    let cancelled = one.until("the cancellation", is_cancel).await;
    assert_eq!(cancelled["params"]["requestId"], asked["id"]);
    assert_eq!(one.stop_reason(of_one).await, "end_turn");
    assert_eq!(two.stop_reason(of_two).await, "end_turn");
    assert_eq!(one.text(&first, CHUNK), "Done.");
    assert_eq!(two.text(&second, CHUNK), "Done.");
}

#[tokio::test]
async fn an_untrusted_project_is_not_started() {
    let mut rig = Rig::with_team(
        "name = \"demo\"\nmode = \"lead\"\n[permissions]\nallow = [\"Bash(curl:*)\"]\n",
    );
    rig.trust_nothing();
    let mut editor = Editor::initialized(&rig).await;
    let new = json!({ "cwd": rig.project(), "mcpServers": [] });
    let (code, message) = editor.refused("session/new", new).await;
    assert_eq!(code, -32603);
    assert!(
        message.contains("not trusted") && message.contains("curl"),
        "{message}"
    );
    assert!(message.contains("in a terminal"), "{message}");
    let load = json!({ "sessionId": "demo-12345678", "cwd": rig.project(), "mcpServers": [] });
    assert_eq!(editor.refused("session/load", load).await.0, -32603);
    editor.close().await;
    assert_eq!(rig.json(["team", "list"]).await["teams"], json!([]));
}

#[tokio::test]
async fn a_project_without_a_team_file_gets_the_default_team() {
    let server = FakeModelServer::start(in_turn([finish("Done.")])).await;
    let mut rig = Rig::new();
    let mut editor = Editor::initialized(&rig).await;
    let new = json!({ "cwd": rig.project(), "mcpServers": [] });
    let (_, message) = editor.refused("session/new", new).await;
    assert!(message.contains("model"), "{message}");
    for cwd in ["relative", "/no/such/directory"] {
        let new = json!({ "cwd": cwd, "mcpServers": [] });
        let (_, message) = editor.refused("session/new", new).await;
        assert!(message.contains("cannot use the directory"), "{message}");
    }
    rig.set("ANTHROPIC_BASE_URL", server.base_url());
    rig.set("ANTHROPIC_API_KEY", "a-key-of-no-use");
    // A load of another team's session starts no team.
    let mut editor = Editor::initialized(&rig).await;
    let other = json!({ "sessionId": "other-12345678", "cwd": rig.project(), "mcpServers": [] });
    assert_eq!(editor.refused("session/load", other).await.0, -32002);
    assert_eq!(rig.json(["team", "list"]).await["teams"], json!([]));
    let session = editor.new_session(&rig.project()).await;
    let prompt = editor.prompt(&session, "Greet").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    assert_eq!(editor.text(&session, CHUNK), "Done.");
}

#[tokio::test]
async fn modes_of_the_team_are_modes_of_the_session() {
    let (_server, rig) = leading(Vec::new()).await;
    let mut editor = Editor::initialized(&rig).await;
    let new = json!({ "cwd": rig.project(), "mcpServers": [] });
    let opened = editor.ok("session/new", new).await;
    let modes = &opened["modes"];
    assert_eq!(modes["currentModeId"], "default");
    let modes = modes["availableModes"].as_array().unwrap();
    let ids: Vec<_> = modes
        .iter()
        .map(|mode| mode["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"plan") && !ids.contains(&"bypass"), "{ids:?}");
    let session = &opened["sessionId"];
    let set = |mode: &str| json!({ "sessionId": session, "modeId": mode });
    editor.ok("session/set_mode", set("plan")).await;
    let is = |mode: &'static str| move |update: &Value| update["currentModeId"] == mode;
    editor.update("current_mode_update", is("plan")).await;
    assert_eq!(rig.json(["mode"]).await["mode"], "plan");
    let (code, message) = editor.refused("session/set_mode", set("bypass")).await;
    assert_eq!(code, -32602, "{message}");
    rig.ok(["mode", "accept-edits"]).await;
    editor
        .update("current_mode_update", is("accept-edits"))
        .await;
}

#[tokio::test]
async fn a_prompt_survives_a_killed_supervisor() {
    let (_server, rig) = leading(vec![write(), finish("Done.")]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet").await;
    let question = editor.question().await;
    kill(rig.supervisor().await).await;
    editor.answer(&question, "once").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
    assert_eq!(rig.read("out.txt").as_deref(), Some("hello\n"));
}

#[tokio::test]
async fn a_stopped_team_fails_the_prompt_and_starts_with_the_next() {
    for stop in ["supervisor stop", "down"] {
        let replies = vec![Reply::hang(), finish("Done.")];
        let (server, rig) = leading(replies).await;
        let (mut editor, session) = Editor::open(&rig).await;
        let prompt = editor.prompt(&session, "Greet").await;
        server.until_asked("lead", 1).await;
        match stop {
            "down" => rig.ok(["down"]).await,
            _ => rig.ok(["supervisor", "stop"]).await,
        };
        let (code, message) = editor.error(prompt).await;
        assert_eq!(code, -32603, "{stop}");
        assert!(message.contains("stopped"), "{stop}: {message}");
        let prompt = editor.prompt(&session, "Go on").await;
        assert_eq!(editor.stop_reason(prompt).await, "end_turn", "{stop}");
        assert_eq!(editor.text(&session, CHUNK), "Done.", "{stop}");
    }
}

#[tokio::test]
async fn only_a_prompt_starts_a_stopped_team() {
    let (server, rig) = leading(vec![Reply::hang(), finish("Done.")]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let prompt = editor.prompt(&session, "Greet").await;
    server.until_asked("lead", 1).await;
    rig.ok(["down"]).await;
    editor.error(prompt).await;
    // An editor can cancel a prompt that is no longer under way. The mode is set only if the cancellation has opened
    // the session.
    editor
        .notify("session/cancel", json!({ "sessionId": session }))
        .await;
    let set = json!({ "sessionId": session, "modeId": "plan" });
    let (code, message) = editor.refused("session/set_mode", set).await;
    assert_eq!(code, -32600, "{message}");
    assert!(message.contains("send a prompt"), "{message}");
    let teams = rig.json(["team", "list"]).await;
    assert_ne!(teams["teams"][0]["state"], "up", "{teams}");
    let prompt = editor.prompt(&session, "Go on").await;
    assert_eq!(editor.stop_reason(prompt).await, "end_turn");
}

#[tokio::test]
async fn invalid_messages_get_errors() {
    let (_server, rig) = leading(vec![finish("Done.")]).await;
    let mut editor = Editor::start(&rig);
    let early = editor.refused("session/new", json!({})).await;
    assert_eq!(early.0, -32600);
    editor
        .ok("initialize", json!({ "protocolVersion": 99 }))
        .await;
    editor.write_line("{\"jsonrpc\": ").await;
    let is_error = |message: &Value| message["error"]["code"] == -32700;
    assert!(editor.until("the error", is_error).await["id"].is_null());
    assert_eq!(editor.refused("session/fork", json!({})).await.0, -32601);
    assert_eq!(
        editor.refused("session/new", json!({ "cwd": 7 })).await.0,
        -32602
    );
    let unknown = json!({ "sessionId": "demo", "prompt": [] });
    assert_eq!(editor.refused("session/prompt", unknown).await.0, -32002);
    editor
        .notify("session/cancel", json!({ "sessionId": "demo" }))
        .await;

    let session = editor.new_session(&rig.project()).await;
    let prompt = |content: Value| json!({ "sessionId": session, "prompt": content });
    let long = "x".repeat(10 << 20);
    for content in [
        json!([]),
        json!("text"),
        json!([{ "type": "text", "text": long }]),
        json!([{ "type": "image", "data": "", "mimeType": "image/png" }]),
    ] {
        let (code, message) = editor.refused("session/prompt", prompt(content)).await;
        assert_eq!(code, -32602, "{message}");
    }
    let resource = json!({ "uri": "file:///a.rs", "text": "fn main() {}" });
    let content = json!([
        { "type": "text", "text": "Look at " },
        { "type": "resource_link", "name": "b.rs", "uri": "file:///b.rs" },
        { "type": "resource", "resource": resource },
    ]);
    let id = editor.send("session/prompt", prompt(content)).await;
    assert_eq!(editor.stop_reason(id).await, "end_turn");
    let goal = rig.json(["goal", "show"]).await["goal"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        goal.contains("b.rs (file:///b.rs)") && goal.contains("fn main() {}"),
        "{goal}"
    );
    // A closed input ends the server after its answers.
    let list = editor.send("session/list", json!({})).await;
    editor.close_input();
    assert!(editor.response(list).await["result"]["sessions"].is_array());
    editor.close().await;
}

#[tokio::test]
async fn command_files_of_the_lead_are_commands() {
    let (_server, rig) = leading(vec![finish("Done.")]).await;
    let fix = "---\ndescription: Fix an issue\nargument-hint: ISSUE\n---\nFix issue $1 now.\n";
    rig.write(".claude/commands/fix.md", fix);
    rig.ok(["up", "--detach"]).await;
    let (mut editor, session) = Editor::open(&rig).await;
    let commands = editor.update("available_commands_update", |_| true).await;
    let command = &commands["availableCommands"][0];
    assert_eq!(command["name"], "fix", "{commands}");
    assert_eq!(command["input"]["hint"], "ISSUE");
    let prompt = editor.prompt(&session, "/fix 12").await;
    editor.stop_reason(prompt).await;
    let goal = rig.json(["goal", "show"]).await;
    assert_eq!(goal["goal"], "Fix issue 12 now.", "{goal}");
}

#[tokio::test]
async fn the_settings_of_editors_are_printed() {
    let mut rig = Rig::new();
    let how = rig.ok(["acp", "--how", "zed"]).await.stdout;
    let json = how.split_once("settings.json: ").unwrap().1;
    let settings: Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        settings["agent_servers"]["agent-team"]["args"],
        json!(["acp"])
    );
    // A member must not decide requests through an editor's server.
    rig.set("AGENT_TEAM_LAUNCH", "x");
    let refused = rig.refused(2, ["acp"]).await;
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("program of a member"), "{message}");
}
