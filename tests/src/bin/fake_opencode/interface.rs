//! The terminal interface of the fake: a second client of its server.

use agent_team_tests::fake_terminal::{ESCAPE, read_keys, show, show_dialog};
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;
use tokio::sync::mpsc;

use super::http::{Client, message};

/// The terminal interface.
pub(super) struct Interface {
    client: Client,
    /// `None`: the next line begins a conversation.
    session: Option<String>,
    /// The request of the dialog on the screen.
    dialog: Option<String>,
}

impl Interface {
    pub(super) async fn run(client: Client, session: &str) {
        let (sender, mut keys) = mpsc::unbounded_channel();
        read_keys(move |key| sender.send(key).is_ok());
        if show_dialog("FAKE_OPENCODE_DIALOG") {
            while keys.recv().await != Some(b'\r') {}
        }
        let mut events = client.open("GET", "/event", &Value::Null).await;
        assert!(message(&mut events).await.is_some());
        let path = format!("/session/{session}/message");
        for message in client
            .ask("GET", &path, Value::Null)
            .await
            .as_array()
            .into_iter()
            .flatten()
        {
            show(message["parts"][0]["text"].as_str().expect("a text"));
        }
        show("Welcome to the fake");
        let (session, dialog) = (Some(session.to_owned()), None);
        let mut interface = Self {
            client,
            session,
            dialog,
        };
        let mut typed = String::new();
        let mut lines = events.lines();
        loop {
            tokio::select! {
                Some(key) = keys.recv() => interface.key(key, &mut typed).await,
                line = lines.next_line() => {
                    let Ok(Some(line)) = line else {
                        show("the server is gone");
                        std::process::exit(1);
                    };
                    if let Some(event) = line.strip_prefix("data: ") {
                        interface.event(&serde_json::from_str(event).expect("JSON"));
                    }
                }
            }
        }
    }

    async fn key(&mut self, key: u8, typed: &mut String) {
        let replies = [(b'y', "once"), (b'a', "always"), (ESCAPE, "reject")];
        let reply = replies.into_iter().find(|(known, _)| *known == key);
        if let (Some((_, reply)), Some(id)) = (reply, &self.dialog) {
            let path = format!("/permission/{id}/reply");
            let body = json!({ "reply": reply });
            self.client.ask("POST", &path, body).await;
            return;
        }
        if key == ESCAPE {
            if let Some(session) = &self.session {
                let path = format!("/session/{session}/abort");
                self.client.ask("POST", &path, Value::Null).await;
            }
            return;
        }
        if key != b'\r' {
            return typed.push(key.into());
        }
        let line = std::mem::take(typed);
        match line.as_str() {
            "/quit" => std::process::exit(0),
            "/new" => {
                self.session = None;
                show("a new conversation");
            }
            _ => {
                let session = match self.session.take() {
                    Some(session) => session,
                    None => {
                        let opened = self.client.ask("POST", "/session", json!({})).await;
                        opened["id"].as_str().expect("an id").to_owned()
                    }
                };
                let path = format!("/session/{session}/prompt_async");
                let body = json!({ "parts": [{ "type": "text", "text": line }] });
                self.session = Some(session);
                self.client.ask("POST", &path, body).await;
            }
        }
    }

    fn event(&mut self, event: &Value) {
        let properties = &event["properties"];
        match event["type"].as_str().unwrap_or_default() {
            "permission.asked" => {
                self.dialog = properties["id"].as_str().map(str::to_owned);
                show("Permission required: once (y), always (a), reject (esc)");
            }
            "permission.replied" => {
                let id = properties["requestID"].as_str();
                if self.dialog.take_if(|dialog| id == Some(dialog)).is_some() {
                    show("The dialog is closed");
                }
            }
            "session.status" => show(&format!("the turn is {}", properties["status"]["type"])),
            "message.part.delta" => show(properties["delta"].as_str().expect("a text")),
            _ => {}
        }
    }
}
