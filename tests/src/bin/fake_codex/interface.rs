//! The terminal interface of the fake: a second client of its server.

use std::path::Path;

use agent_team_tests::fake_terminal::{ESCAPE, read_keys, show, show_dialog};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// The terminal interface.
pub(super) struct Interface {
    stream: WebSocketStream<UnixStream>,
    thread: String,
    turn: Value,
    /// The field of the answer to the dialog.
    field: &'static str,
    /// The request of the dialog on the screen.
    dialog: Option<Value>,
    last: u64,
}

impl Interface {
    pub(super) async fn run(socket: &Path, thread: &str) {
        let (sender, mut keys) = mpsc::unbounded_channel();
        read_keys(move |key| sender.send(key).is_ok());
        if show_dialog("FAKE_CODEX_DIALOG") {
            while keys.recv().await != Some(b'\r') {}
        }
        let stream = UnixStream::connect(socket).await.expect("a server");
        let opened = tokio_tungstenite::client_async("ws://localhost/", stream).await;
        let (stream, _) = opened.expect("a handshake");
        let mut interface = Self {
            stream,
            thread: thread.to_owned(),
            turn: Value::Null,
            dialog: None,
            field: "decision",
            last: 0,
        };
        let params = json!({ "clientInfo": { "name": "fake", "version": "0.169.0" },
            "capabilities": { "experimentalApi": true } });
        interface.ask("initialize", params).await;
        let resume = json!({ "threadId": thread });
        interface.ask("thread/resume", resume).await;
        show("Welcome to the fake");
        let mut typed = String::new();
        loop {
            tokio::select! {
                Some(key) = keys.recv() => interface.key(key, &mut typed).await,
                message = interface.stream.next() => {
                    let Some(Ok(Message::Text(text))) = message else {
                        show("the server is gone");
                        std::process::exit(1);
                    };
                    interface.message(&serde_json::from_str(&text).expect("JSON"));
                }
            }
        }
    }

    async fn ask(&mut self, method: &str, params: Value) {
        self.last += 1;
        let request = json!({ "id": self.last, "method": method, "params": params });
        self.send(&request).await;
    }

    async fn send(&mut self, message: &Value) {
        let message = Message::Text(message.to_string().into());
        self.stream.send(message).await.expect("a server");
    }

    async fn key(&mut self, key: u8, typed: &mut String) {
        if let (b'y' | ESCAPE, Some(request)) = (key, &self.dialog) {
            let decision = if key == b'y' { "accept" } else { "cancel" };
            let result = json!({ self.field: decision });
            let answer = json!({ "id": request, "result": result });
            self.dialog = None;
            return self.send(&answer).await;
        }
        if key == ESCAPE {
            let params = json!({ "threadId": self.thread, "turnId": self.turn });
            return self.ask("turn/interrupt", params).await;
        }
        if key != b'\r' {
            return typed.push(key.into());
        }
        let line = std::mem::take(typed);
        let thread = self.thread.clone();
        match line.as_str() {
            "/quit" => std::process::exit(0),
            "/new" => {
                let params = json!({ "threadSource": "user", "approvalPolicy": "on-request",
                    "approvalsReviewer": "user", "sandbox": "read-only" });
                self.ask("thread/start", params).await;
            }
            "/full-access" => {
                let params = json!({ "threadId": thread, "approvalPolicy": "never",
                    "approvalsReviewer": "user", "sandboxPolicy": { "type": "dangerFullAccess" } });
                self.ask("thread/settings/update", params).await;
            }
            line if line.starts_with("/resume ") => {
                let id = line.trim_start_matches("/resume ");
                self.ask("thread/resume", json!({ "threadId": id })).await;
                id.clone_into(&mut self.thread);
                show("an earlier conversation");
            }
            _ => {
                let input = json!([{ "type": "text", "text": line }]);
                let params = json!({ "threadId": thread, "input": input });
                self.ask("turn/start", params).await;
            }
        }
    }

    fn message(&mut self, message: &Value) {
        let params = &message["params"];
        let turns = message["result"]["thread"]["turns"].as_array();
        for turn in turns.into_iter().flatten() {
            let text = &turn["items"][0]["content"][0]["text"];
            show(text.as_str().expect("a text"));
        }
        if let Some(method) = message["method"].as_str()
            && !message["id"].is_null()
        {
            self.dialog = Some(message["id"].clone());
            self.field = match method {
                "mcpServer/elicitation/request" => "action",
                _ => "decision",
            };
            return show(&format!("{method}: Yes (y), No (esc)"));
        }
        match message["method"].as_str() {
            Some("serverRequest/resolved") => {
                let mine = self.dialog.take();
                if mine.as_ref() == Some(&params["requestId"]) {
                    show("The dialog is closed");
                }
            }
            Some("thread/started") if params["thread"]["threadSource"] == "user" => {
                let thread = params["thread"]["id"].as_str().expect("an id");
                self.thread = thread.to_owned();
                show("a new conversation");
            }
            Some("turn/started") => {
                self.turn = params["turn"]["id"].clone();
                show("a turn begins");
            }
            Some("turn/completed") => {
                show(&format!("the turn is {}", params["turn"]["status"]));
            }
            Some("item/completed") if params["item"]["type"] == "agentMessage" => {
                show(params["item"]["text"].as_str().expect("a text"));
            }
            _ => {}
        }
    }
}
