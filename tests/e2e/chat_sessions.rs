//! `agent-team mcp`: a chat session of another program, played by a real MCP client, creates, joins and deletes teams.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::processes::{ended, kill, living};
use agent_team_tests::{Rig, until, within};
use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationCapability, ErrorData, Implementation, ProgressNotificationParam,
    ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient, RunningService};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};
use tokio::process::Child;

const COMMANDS: &str = "name = \"demo\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\nengine = \"command\"\n";

/// The user of the other program.
#[derive(Clone)]
enum User {
    /// The program of this user cannot show questions.
    Unasked,
    Answers(ElicitationAction),
}

#[derive(Clone)]
struct Client {
    user: Option<ElicitationAction>,
    questions: Arc<Mutex<Vec<String>>>,
    progress: Arc<Mutex<u32>>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        if self.user.is_some() {
            capabilities.elicitation = Some(ElicitationCapability::default());
        }
        ClientConfig::new(capabilities, Implementation::new("a-chat", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        if let ElicitRequestParams::FormElicitationParams { message, .. } = request {
            self.questions.lock().unwrap().push(message);
        }
        Ok(ElicitResult::new(self.user.clone().unwrap()))
    }

    async fn on_progress(
        &self,
        _progress: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        *self.progress.lock().unwrap() += 1;
    }
}

struct Chat {
    client: Client,
    service: RunningService<RoleClient, Client>,
    server: Child,
}

impl Chat {
    async fn start(rig: &Rig, user: User) -> Self {
        Self::with(rig, user, ClientLifecycleMode::Initialize).await
    }

    async fn with(rig: &Rig, user: User, lifecycle: ClientLifecycleMode) -> Self {
        let mut command = rig.command(&["mcp"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.kill_on_drop(true).spawn().unwrap();
        let pipes = (server.stdout.take().unwrap(), server.stdin.take().unwrap());
        let client = Client {
            user: match user {
                User::Unasked => None,
                User::Answers(action) => Some(action),
            },
            questions: Arc::default(),
            progress: Arc::default(),
        };
        let served = client.clone().serve_with_lifecycle(pipes, lifecycle);
        let service = within("the handshake", served).await.unwrap();
        Self {
            client,
            service,
            server,
        }
    }

    async fn tools(&self) -> Vec<String> {
        let tools = self.service.list_all_tools().await.unwrap();
        tools.iter().map(|tool| tool.name.to_string()).collect()
    }

    /// The text of the result, and whether the call failed.
    async fn try_call(&self, tool: &str, input: Value) -> (String, bool) {
        let arguments = input.as_object().cloned().unwrap();
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = within(tool, self.service.call_tool(call)).await.unwrap();
        let texts = result.content.iter().filter_map(|it| it.as_text());
        let text: String = texts.map(|it| it.text.clone()).collect();
        (text, result.is_error == Some(true))
    }

    async fn ok(&self, tool: &str, input: Value) -> String {
        let (text, failed) = self.try_call(tool, input).await;
        assert!(!failed, "{tool}: {text}");
        text
    }

    async fn refused(&self, tool: &str, input: Value) -> String {
        let (text, failed) = self.try_call(tool, input).await;
        assert!(failed, "{tool}: {text}");
        text
    }

    fn questions(&self) -> Vec<String> {
        self.client.questions.lock().unwrap().clone()
    }
}

const UNJOINED: [&str; 4] = ["list_teams", "create_team", "join_team", "delete_team"];

#[tokio::test]
async fn a_chat_session_joins_and_uses_the_board_and_messages() {
    let rig = Rig::with_team(COMMANDS);
    rig.ok(["up", "--detach"]).await;
    let chat = Chat::start(&rig, User::Unasked).await;
    assert_eq!(chat.tools().await, UNJOINED);
    let early = chat.refused("send_message", json!({})).await;
    assert!(early.contains("call join_team"), "{early}");
    assert!(chat.ok("list_teams", json!({})).await.contains("demo"));

    let joined = chat.ok("join_team", json!({"name": "chat"})).await;
    assert!(joined.contains("You are the member chat"), "{joined}");
    let tools = chat.tools().await;
    for tool in [
        "send_message",
        "read_messages",
        "list_tasks",
        "claim_task",
        "wait",
        "ask",
        "delete_team",
    ] {
        assert!(tools.iter().any(|name| name == tool), "{tool}: {tools:?}");
    }
    for tool in ["join_team", "create_team", "create_task", "allow_request"] {
        assert!(!tools.iter().any(|name| name == tool), "{tool}: {tools:?}");
    }
    let listed = chat.service.list_all_tools().await.unwrap();
    for tool in &listed {
        let annotations = tool.annotations.as_ref().unwrap();
        assert_eq!(annotations.open_world_hint, Some(false), "{}", tool.name);
        let destructive = tool.name == "delete_team";
        assert_eq!(
            annotations.destructive_hint,
            Some(destructive),
            "{}",
            tool.name
        );
        if tool.name == "list_tasks" {
            assert_eq!(annotations.read_only_hint, Some(true));
        }
    }
    let member = rig.until_member_is("chat", MemberState::Idle).await;
    assert_eq!(member.engine.name(), "joined");

    // A message of the user is counted, then read, then acknowledged.
    rig.ok(["send", "chat", "hello from the user"]).await;
    until("the count of unread messages", async || {
        let text = chat.ok("list_tasks", json!({})).await;
        text.ends_with("1 unread message").then_some(())
    })
    .await;
    let read = chat.ok("read_messages", json!({})).await;
    assert!(read.contains("hello from the user"), "{read}");
    assert!(!read.contains("unread message"), "{read}");
    rig.until_member("chat", |member| member.unread == 0).await;
    let sent = chat
        .ok(
            "send_message",
            json!({"to": "user", "text": "done, says the chat"}),
        )
        .await;
    assert!(sent.contains("user"), "{sent}");
    assert!(
        rig.ok(["messages"])
            .await
            .stdout
            .contains("done, says the chat")
    );

    // Only a call claims a task: the ready task stays on the board until then.
    rig.ok(["task", "add", "Think", "--for", "chat"]).await;
    let assigned = chat.ok("wait", json!({"timeout_s": 20})).await;
    assert!(assigned.contains("T-1 is yours now: Think"), "{assigned}");
    chat.ok("complete_task", json!({"task": "T-1", "result": "thought"}))
        .await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    rig.ok(["task", "add", "Free"]).await;
    assert_eq!(rig.task("T-2").await.state, TaskState::Pending);
    chat.ok("claim_task", json!({"task": "T-2"})).await;
    rig.until_task_is("T-2", TaskState::InProgress).await;

    let wrong = chat.refused("send_message", json!({"too": "ada"})).await;
    assert!(wrong.contains("too"), "{wrong}");
    let wrong = chat.refused("join_team", json!({})).await;
    assert!(wrong.contains("already the member chat"), "{wrong}");
    let wrong = chat.refused("no_such_tool", json!({})).await;
    assert!(wrong.contains("no_such_tool"), "{wrong}");
    let wrong = chat.refused("delete_team", json!({"name": "demo"})).await;
    assert!(wrong.contains("invalid arguments"), "{wrong}");
    rig.ok(["down"]).await;
    until("the tools without a team", async || {
        (chat.tools().await == UNJOINED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_wait_ends_with_the_message_and_reports_progress() {
    let rig = Rig::with_team(COMMANDS);
    rig.ok(["up", "--detach"]).await;
    let chat = Chat::start(&rig, User::Unasked).await;
    chat.ok("join_team", json!({"name": "chat"})).await;
    let before = *chat.client.progress.lock().unwrap();
    let waiting = chat.ok("wait", json!({}));
    let sending = async {
        // The second notification of a call follows a second after the first.
        until("progress", async || {
            (*chat.client.progress.lock().unwrap() >= before + 2).then_some(())
        })
        .await;
        rig.ok(["send", "chat", "wake up"]).await;
    };
    let (text, ()) = tokio::join!(waiting, sending);
    assert!(text.contains("You have messages from user:"), "{text}");
    assert!(
        text.contains("wake up") && !text.contains("next step"),
        "{text}"
    );
    rig.until_member("chat", |member| member.unread == 0).await;
}

#[tokio::test]
async fn a_killed_session_holds_its_member_and_frees_its_task() {
    let rig = Rig::with_team(COMMANDS);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["task", "add", "Think"]).await;
    let chat = Chat::start(&rig, User::Unasked).await;
    chat.ok("join_team", json!({"name": "chat"})).await;
    chat.ok("claim_task", json!({"task": "T-1"})).await;
    let worker = rig.worker("chat").await;
    let other = Chat::start(&rig, User::Unasked).await;
    let taken = other.refused("join_team", json!({"name": "chat"})).await;
    assert!(taken.contains("another chat session has joined"), "{taken}");
    let wrong = other.refused("join_team", json!({"name": "ada"})).await;
    assert!(wrong.contains("engine command"), "{wrong}");

    kill(living(chat.server.id().unwrap().into())).await;
    let held = rig.until_member_is("chat", MemberState::Held).await;
    assert!(
        held.why.contains("the chat session has disconnected"),
        "{}",
        held.why
    );
    ended(worker).await;
    rig.until_task_is("T-1", TaskState::Pending).await;

    // Another session continues as this member, and reads what arrived in between.
    rig.ok(["send", "chat", "while you were away"]).await;
    let joined = other.ok("join_team", json!({"name": "chat"})).await;
    assert!(joined.contains("You are the member chat"), "{joined}");
    until("the message", async || {
        let text = other.ok("read_messages", json!({})).await;
        text.contains("while you were away").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_killed_worker_leaves_no_socket() {
    let rig = Rig::with_team(COMMANDS);
    rig.ok(["up", "--detach"]).await;
    let chat = Chat::start(&rig, User::Unasked).await;
    chat.ok("join_team", json!({"name": "chat"})).await;
    let launch = rig.member("chat").await.launch.expect("a launch");
    let socket = rig.directories().joined_socket(launch.as_str());
    assert!(socket.exists());
    kill(rig.worker("chat").await).await;
    until("the end of the socket", async || {
        (!socket.exists()).then_some(())
    })
    .await;
}

/// Sends this order over a new connection, and returns the connection with the answer.
fn order(socket: &Path, order: &Value) -> (BufReader<UnixStream>, Value) {
    let mut stream = BufReader::new(UnixStream::connect(socket).unwrap());
    writeln!(stream.get_mut(), "{order}").unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    (stream, serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn an_unconfirmed_result_leaves_its_messages_unread() {
    let rig = Rig::with_team(COMMANDS);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["spawn", "--engine", "joined", "--name", "chat", "worker"])
        .await;
    let launch = rig.member("chat").await.launch.expect("a launch");
    let socket = rig.directories().joined_socket(launch.as_str());
    until("the socket", async || socket.exists().then_some(())).await;
    let (_session, joined) = order(&socket, &json!({"join": {}}));
    assert_eq!(joined["refused"], Value::Null);
    rig.ok(["send", "chat", "Which port?"]).await;
    let read = json!({"call": {"tool": "read_messages", "input": {}, "confirms": true}});
    let reads = || {
        let (stream, answer) = order(&socket, &read);
        let text = answer["text"].as_str().unwrap_or_default();
        text.contains("Which port?").then_some(stream)
    };
    // Each connection is closed without a confirmation.
    until("the message", async || reads().map(drop)).await;
    let mut confirmed = until("the message again", async || reads()).await;
    assert_eq!(rig.member("chat").await.unread, 1);
    writeln!(confirmed.get_mut(), "{}", json!({"received": {}})).unwrap();
    rig.until_member("chat", |chat| chat.unread == 0).await;
    assert!(reads().is_none());
}

#[tokio::test]
async fn a_session_survives_a_killed_supervisor() {
    let rig = Rig::with_team(COMMANDS);
    rig.ok(["up", "--detach"]).await;
    let chat = Chat::start(&rig, User::Unasked).await;
    chat.ok("join_team", json!({"name": "chat"})).await;
    let worker = rig.worker("chat").await;
    kill(rig.supervisor().await).await;
    let sent = chat
        .ok("send_message", json!({"to": "user", "text": "still here"}))
        .await;
    assert!(sent.contains("user"), "{sent}");
    assert_eq!(rig.worker("chat").await, worker);
    assert!(rig.ok(["messages"]).await.stdout.contains("still here"));
}

#[tokio::test]
async fn two_sessions_are_two_members() {
    let rig = Rig::with_team(COMMANDS);
    rig.ok(["up", "--detach"]).await;
    let one = Chat::start(&rig, User::Unasked).await;
    let two = Chat::start(&rig, User::Unasked).await;
    one.ok("join_team", json!({"name": "one"})).await;
    two.ok("join_team", json!({"name": "two"})).await;
    let asking = one.ok("ask", json!({"to": "two", "question": "ready?"}));
    let answering = async {
        let text = two.ok("wait", json!({})).await;
        assert!(text.contains("ready?"), "{text}");
        let id = text.split_whitespace().find(|word| word.starts_with("M-"));
        let id: String = id.unwrap().chars().take_while(|it| *it != ',').collect();
        two.ok(
            "send_message",
            json!({"to": "one", "text": "yes", "reply_to": id}),
        )
        .await;
    };
    let (answer, ()) = tokio::join!(asking, answering);
    assert!(answer.contains("yes"), "{answer}");
}

#[tokio::test]
async fn creating_a_team_needs_the_users_consent() {
    let rig = Rig::new();
    let mute = Chat::start(&rig, User::Unasked).await;
    let refused = mute.refused("create_team", json!({"name": "mine"})).await;
    assert!(refused.contains("agent-team mcp --create"), "{refused}");
    for no in [ElicitationAction::Decline, ElicitationAction::Cancel] {
        let chat = Chat::start(&rig, User::Answers(no)).await;
        let refused = chat.refused("create_team", json!({"name": "mine"})).await;
        assert!(refused.contains("has not agreed"), "{refused}");
        assert_eq!(chat.questions().len(), 1);
        assert_eq!(
            chat.ok("list_teams", json!({})).await,
            "There are no teams."
        );
    }
    let wrong = mute.refused("create_team", json!({"name": "../x"})).await;
    assert!(wrong.contains("invalid arguments"), "{wrong}");

    let chat = Chat::start(&rig, User::Answers(ElicitationAction::Accept)).await;
    let created = chat.ok("create_team", json!({"name": "mine"})).await;
    assert!(created.contains("its lead"), "{created}");
    let question = chat.questions().join("\n");
    let project = rig.project();
    assert!(
        question.contains("mine") && question.contains(project.to_str().unwrap()),
        "{question}"
    );
    // The lead gives a command member a task. The user decides about the line of the task; the lead cannot.
    assert!(
        !chat
            .tools()
            .await
            .iter()
            .any(|name| name == "allow_request")
    );
    rig.ok(["spawn", "worker", "--engine", "command", "--name", "ada"])
        .await;
    let creating = chat.ok(
        "create_task",
        json!({"title": "Look", "run": "touch looked", "for": "ada"}),
    );
    let allowing = async {
        until("the request", async || {
            let requests = rig.ok(["requests"]).await.stdout;
            requests.contains("P-1").then_some(())
        })
        .await;
        assert_eq!(rig.read("looked"), None);
        rig.ok(["requests", "allow", "P-1"]).await;
    };
    tokio::join!(creating, allowing);
    rig.until_task_is("T-1", TaskState::Completed).await;
    until("the report", async || {
        let text = chat.ok("read_messages", json!({})).await;
        text.contains("T-1").then_some(())
    })
    .await;
    assert!(rig.read("looked").is_some());
    let sent = chat
        .ok("send_message", json!({"to": "ada", "text": "well done"}))
        .await;
    assert!(sent.contains("is in the inbox of ada"), "{sent}");
    let again = mute.refused("create_team", json!({"name": "mine"})).await;
    assert!(again.contains("already up"), "{again}");

    let kept = mute.refused("delete_team", json!({"team": "mine"})).await;
    assert!(kept.contains("agent-team team delete"), "{kept}");
    chat.ok("delete_team", json!({"team": "mine"})).await;
    assert_eq!(chat.questions().len(), 2);
    until("no team", async || {
        let text = chat.ok("list_teams", json!({})).await;
        (text == "There are no teams.").then_some(())
    })
    .await;
    until("the tools without a team", async || {
        (chat.tools().await == UNJOINED).then_some(())
    })
    .await;
}

/// Without `PATH`, agent-team finds only sandboxes that protect no files of the project.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn creating_a_team_needs_the_sandbox_of_its_mode() {
    let mut rig = Rig::new();
    rig.set_settings("[permissions]\nmode = \"sandboxed\"\n");
    rig.set("PATH", "/nonexistent");
    let refused = rig.refused(4, ["mcp", "--create"]).await;
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("cannot use mode sandboxed: "),
        "{refused}"
    );
    let chat = Chat::start(&rig, User::Answers(ElicitationAction::Accept)).await;
    let refused = chat.refused("create_team", json!({})).await;
    assert!(refused.contains("cannot use mode sandboxed"), "{refused}");
    assert!(chat.questions().is_empty(), "nothing is asked in vain");
    assert_eq!(
        chat.ok("list_teams", json!({})).await,
        "There are no teams."
    );
}

#[tokio::test]
async fn a_leading_chat_session_allows_no_delegated_request() {
    let rig = Rig::with_team(
        "name = \"demo\"\nmode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nengine = \"joined\"\n\
         [permissions]\napprove = [\"Bash(touch:*)\"]\n",
    );
    rig.ok(["up", "--detach"]).await;
    let chat = Chat::start(&rig, User::Unasked).await;
    let joined = chat.ok("join_team", json!({"name": "lead"})).await;
    assert!(joined.contains("its lead"), "{joined}");
    let tools = chat.tools().await;
    assert!(tools.iter().any(|name| name == "deny_request"), "{tools:?}");
    assert!(
        !tools.iter().any(|name| name == "allow_request"),
        "{tools:?}"
    );
}

#[tokio::test]
async fn clients_of_2026_07_28_answer_in_a_repeated_call() {
    let rig = Rig::new();
    let lifecycle = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    };
    let user = User::Answers(ElicitationAction::Decline);
    let chat = Chat::with(&rig, user, lifecycle.clone()).await;
    let refused = chat.refused("create_team", json!({})).await;
    assert!(refused.contains("has not agreed"), "{refused}");
    assert_eq!(chat.questions().len(), 1);
    // An answer without the question counts for nothing.
    let unasked = CallToolRequestParams::new("create_team")
        .with_input_responses([("confirm".to_owned(), json!({"action": "accept"}))].into());
    let refused = chat.service.call_tool(unasked).await.unwrap();
    assert_eq!(refused.is_error, Some(true));
    assert_eq!(chat.questions().len(), 2);
    // An answer counts only with the handle of its question.
    let forged = CallToolRequestParams::new("create_team")
        .with_input_responses([("confirm".to_owned(), json!({"action": "accept"}))].into())
        .with_request_state(chat.questions()[0].clone());
    let refused = chat.service.call_tool(forged).await.unwrap();
    assert_eq!(refused.is_error, Some(true));
    assert_eq!(chat.questions().len(), 3);

    let user = User::Answers(ElicitationAction::Accept);
    let chat = Chat::with(&rig, user, lifecycle).await;
    chat.ok("create_team", json!({})).await;
    assert!(chat.tools().await.iter().any(|name| name == "create_task"));
    chat.ok("delete_team", json!({"team": "project"})).await;
}

#[tokio::test]
async fn the_user_starts_a_team_for_a_chat_session_to_lead() {
    let mut rig = Rig::new();
    rig.ok(["mcp", "--create"]).await;
    let chat = Chat::start(&rig, User::Unasked).await;
    let joined = chat.ok("join_team", json!({"name": "lead"})).await;
    assert!(joined.contains("its lead"), "{joined}");
    let how = rig.ok(["mcp", "--how", "claude"]).await.stdout;
    assert_eq!(
        how,
        "claude    claude mcp add agent-team -- agent-team mcp\n"
    );
    rig.set("AGENT_TEAM_LAUNCH", "x");
    let refused = rig.refused(2, ["mcp"]).await;
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("program of a member")
    );
    // Closing stdin ends the server, and with it the member's launch.
    let Chat {
        service,
        mut server,
        ..
    } = chat;
    service.cancel().await.unwrap();
    let exit = tokio::time::timeout(Duration::from_secs(10), server.wait()).await;
    assert!(exit.unwrap().unwrap().success());
    rig.unset("AGENT_TEAM_LAUNCH");
    rig.until_member_is("lead", MemberState::Held).await;
}
