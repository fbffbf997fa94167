//! An editor: a client of the Agent Client Protocol over the pipes of `agent-team acp`. The client uses no code of the
//! server.

use std::path::Path;
use std::process::Stdio;

use agent_team_tests::{Rig, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

pub(super) struct Editor {
    server: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    last_id: u64,
    /// All messages so far, except those that [`Editor::until`] has returned.
    seen: Vec<Value>,
}

impl Editor {
    /// Starts the server without a message.
    pub(super) fn start(rig: &Rig) -> Self {
        Self::start_with(rig, &["acp"])
    }

    pub(super) fn start_with(rig: &Rig, arguments: &[&str]) -> Self {
        let mut command = rig.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.kill_on_drop(true).spawn().unwrap();
        let stdout = BufReader::new(server.stdout.take().unwrap()).lines();
        Self {
            stdin: server.stdin.take(),
            server,
            stdout,
            last_id: 0,
            seen: Vec::new(),
        }
    }

    pub(super) async fn initialized(rig: &Rig) -> Self {
        let mut editor = Self::start(rig);
        editor.initialize().await;
        editor
    }

    pub(super) async fn initialize(&mut self) {
        let params = json!({ "protocolVersion": 1, "clientCapabilities": {} });
        let answer = self.ok("initialize", params).await;
        assert_eq!(answer["protocolVersion"], 1);
        assert_eq!(answer["authMethods"], json!([]));
    }

    /// An editor with a session in the project.
    pub(super) async fn open(rig: &Rig) -> (Self, String) {
        let mut editor = Self::initialized(rig).await;
        let session = editor.new_session(&rig.project()).await;
        (editor, session)
    }

    pub(super) async fn new_session(&mut self, directory: &Path) -> String {
        let params = json!({ "cwd": directory, "mcpServers": [] });
        let opened = self.ok("session/new", params).await;
        opened["sessionId"].as_str().unwrap().to_owned()
    }

    pub(super) async fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_bytes()).await.unwrap();
        stdin.write_all(b"\n").await.unwrap();
    }

    pub(super) async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.write_line(&request.to_string()).await;
        id
    }

    pub(super) async fn notify(&mut self, method: &str, params: Value) {
        let notification = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.write_line(&notification.to_string()).await;
    }

    pub(super) async fn prompt(&mut self, session: &str, text: &str) -> u64 {
        let content = json!([{ "type": "text", "text": text }]);
        let params = json!({ "sessionId": session, "prompt": content });
        self.send("session/prompt", params).await
    }

    /// The first message that satisfies a condition and was not returned before.
    pub(super) async fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.seen.iter().position(&is) {
            return self.seen.remove(at);
        }
        let reading = async {
            loop {
                let line = self.stdout.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("the server closed its output"));
                let message: Value = serde_json::from_str(&line).unwrap();
                if is(&message) {
                    return message;
                }
                self.seen.push(message);
            }
        };
        within(what, reading).await
    }

    /// The response to a request.
    pub(super) async fn response(&mut self, id: u64) -> Value {
        let is = |message: &Value| message["id"] == id && message["method"].is_null();
        self.until(&format!("the response {id}"), is).await
    }

    pub(super) async fn ok(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let response = self.response(id).await;
        assert!(response["error"].is_null(), "{method}: {response}");
        response["result"].clone()
    }

    /// The code and the message of a request that must fail.
    pub(super) async fn refused(&mut self, method: &str, params: Value) -> (i64, String) {
        let id = self.send(method, params).await;
        self.error(id).await
    }

    pub(super) async fn error(&mut self, id: u64) -> (i64, String) {
        let response = self.response(id).await;
        let error = &response["error"];
        let message = error["message"].as_str().unwrap_or_default();
        (
            error["code"].as_i64().unwrap_or_default(),
            message.to_owned(),
        )
    }

    /// The stop reason of a prompt.
    pub(super) async fn stop_reason(&mut self, prompt: u64) -> String {
        let response = self.response(prompt).await;
        let reason = response["result"]["stopReason"].as_str();
        reason.unwrap_or_else(|| panic!("{response}")).to_owned()
    }

    /// The next update of this kind, with its session.
    pub(super) async fn update(&mut self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        let is = |message: &Value| {
            let update = &message["params"]["update"];
            update["sessionUpdate"] == kind && is(update)
        };
        let message = self.until(kind, is).await;
        message["params"]["update"].clone()
    }

    /// The next question about a permission.
    pub(super) async fn question(&mut self) -> Value {
        let is = |message: &Value| message["method"] == "session/request_permission";
        self.until("a question", is).await
    }

    pub(super) async fn answer(&mut self, question: &Value, option: &str) {
        let outcome = json!({ "outcome": { "outcome": "selected", "optionId": option } });
        let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": outcome });
        self.write_line(&answer.to_string()).await;
    }

    /// The text of all chunks of this kind so far, for one session.
    pub(super) fn text(&self, session: &str, kind: &str) -> String {
        let of_session = self.seen.iter().map(|message| &message["params"]);
        let updates = of_session.filter(|params| params["sessionId"] == session);
        let chunks = updates.filter(|params| params["update"]["sessionUpdate"] == kind);
        let texts = chunks.filter_map(|params| params["update"]["content"]["text"].as_str());
        texts.collect()
    }

    /// All updates of this kind so far.
    pub(super) fn updates(&self, kind: &str) -> Vec<Value> {
        let updates = self.seen.iter().map(|message| &message["params"]["update"]);
        let updates = updates.filter(|update| update["sessionUpdate"] == kind);
        updates.cloned().collect()
    }

    pub(super) fn close_input(&mut self) {
        drop(self.stdin.take());
    }

    /// Kills the server, as an editor does.
    pub(super) async fn kill(mut self) {
        self.server.kill().await.unwrap();
    }

    /// Closes the input and waits for the exit.
    pub(super) async fn close(mut self) {
        self.close_input();
        let exit = within("the exit", self.server.wait()).await.unwrap();
        assert!(exit.success(), "{exit}");
    }
}
