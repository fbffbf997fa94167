//! The turns of a conversation of Codex, and the texts of this client in it. Called by `codex` and `messages`.
//!
//! ```text
//! turn/start ──► turn/started, the prompt as an item: accepted ──► turn/completed
//! turn/steer ──► the message as an item: taken; otherwise the loop keeps it
//! an item of another client ──► a turn of the user, which the loop follows
//! ```
//! A prompt that is sent while the user begins a turn joins that turn. The answer to `turn/start` can arrive after the
//! first messages of its turn, and after its end.

use agent_team_client::json_rpc::RpcError;
use agent_team_protocol::text::visible_line;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::super::channel::{Began, Event, TurnError};
use super::super::outcome::{Outcome, TurnEnd};
use super::super::wire::{SessionUpdate, StopReason};
use super::turn::{Taken, Turn};
use super::{Codex, Reply};

/// The number of ended turns whose ends are kept.
const ENDED_MAX: usize = 8;

impl Codex {
    /// Handles a text that the conversation contains now.
    pub(super) fn taken(&mut self, item: &Value) {
        let id = item["clientId"].as_str().unwrap_or_default();
        match self.sent.remove(id) {
            Some(Taken::Prompt) => self.ready.push_back(Event::Accepted),
            // The loop has ended its turn if it no longer waits.
            Some(Taken::Message(taken)) => drop(taken.send(true)),
            None => {
                let parts = item["content"].as_array().into_iter().flatten();
                let texts = parts.filter_map(|part| part["text"].as_str());
                let text = texts.collect::<Vec<_>>().join("\n");
                self.follow(text);
            }
        }
    }

    /// Notes the turn that a message belongs to.
    pub(super) fn in_turn(&mut self, id: &Value) {
        let Some(id) = id.as_str() else {
            return;
        };
        let has_ended = self.ended.iter().any(|(ended, _)| ended == id);
        let is_it = self.turn.as_ref().is_some_and(|turn| turn.id == id);
        if is_it || has_ended {
            return;
        }
        if let Some(turn) = self.turn.take() {
            // Its end was lost.
            self.end(turn, &Outcome::Ended(StopReason::Interrupted));
        }
        self.turn = Some(Turn {
            id: id.to_owned(),
            ends: Vec::new(),
            is_followed: false,
            message: None,
        });
        self.turn_is_known();
    }

    /// Sends what waits for the id of the turn.
    fn turn_is_known(&mut self) {
        if self.is_cancelled {
            self.interrupt();
        }
        for (id, text) in std::mem::take(&mut self.unsent) {
            self.send_message(id, &text);
        }
    }

    /// Reports the turn to the loop if the user has begun it. Called before its first event.
    pub(super) fn follow(&mut self, text: String) {
        if self.starting > 0 {
            // Whether this is the turn that the loop has begun is known from the answer to `turn/start`.
            return;
        }
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.is_followed) else {
            return;
        };
        turn.is_followed = true;
        let (end, ended) = oneshot::channel();
        turn.ends.push(end);
        let end = Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) });
        self.ready.push_back(Event::Began(Began { text, end }));
    }

    pub(super) fn turn_ended(&mut self, turn: &Value) {
        let id = turn["id"].as_str().unwrap_or_default();
        let outcome = match turn["status"].as_str() {
            Some("completed") => Outcome::Ended(StopReason::EndTurn),
            Some("interrupted") if self.is_cancelled => Outcome::Ended(StopReason::Cancelled),
            Some("interrupted") => Outcome::Ended(StopReason::Interrupted),
            _ => Outcome::Failed(failure(&turn["error"])),
        };
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back((id.to_owned(), outcome.clone()));
        if let Some(turn) = self.turn.take_if(|turn| turn.id == id) {
            self.end(turn, &outcome);
        }
    }

    pub(super) fn end(&mut self, turn: Turn, outcome: &Outcome) {
        self.forget_turn(&turn.id);
        self.drop_messages();
        if std::mem::take(&mut self.is_cancelled) {
            // Commands of an interrupted turn continue in the background.
            let params = json!({ "threadId": self.thread });
            self.request("thread/backgroundTerminals/clean", params, |_| {
                Reply::Unused
            });
        }
        for end in turn.ends {
            // The loop does not follow a turn that has joined another.
            let _unfollowed = end.send(outcome.result());
        }
        // Returns control to the loop before the next turn begins: the loop must notice the end first.
        self.update(SessionUpdate::Other);
    }

    /// Gives up the messages that the turn has not taken. The loop keeps them.
    pub(super) fn drop_messages(&mut self) {
        self.unsent.clear();
        self.sent.retain(|_, taken| matches!(taken, Taken::Prompt));
    }

    /// Gives up the messages that wait for a turn, if none is to begin.
    fn drop_unsent(&mut self) {
        if self.turn.is_none() && self.starting == 0 {
            self.drop_messages();
        }
    }

    /// Handles the answer to a prompt. It can arrive after the first messages of its turn, and after its end.
    pub(super) fn turn_started(
        &mut self,
        thread: &str,
        text: &str,
        end: TurnEnd,
        answer: Result<Value, RpcError>,
    ) {
        self.starting -= 1;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.sent.remove(text);
                self.drop_unsent();
                let _stopped = end.send(Err(error.into()));
                return;
            }
        };
        let id = &answer["turn"]["id"];
        if thread != self.thread {
            // The user has begun another conversation since. The loop does not receive the messages of this one.
            self.sent.remove(text);
            self.drop_unsent();
            let params = json!({ "threadId": thread, "turnId": id });
            self.request("turn/interrupt", params, |_| Reply::Unused);
            let reason = match std::mem::take(&mut self.is_cancelled) {
                true => StopReason::Cancelled,
                false => StopReason::Interrupted,
            };
            let _stopped = end.send(Outcome::Ended(reason).result());
            return;
        }
        let ended = self.ended.iter().find(|(ended, _)| id == ended);
        if let Some((_, outcome)) = ended {
            let _stopped = end.send(outcome.result());
            self.drop_unsent();
            return;
        }
        self.in_turn(id);
        match &mut self.turn {
            Some(turn) => {
                turn.is_followed = true;
                turn.ends.push(end);
            }
            None => {
                let why = "it sent an invalid message: the turn has no id".to_owned();
                let _stopped = end.send(Err(TurnError::Failed(why)));
            }
        }
    }

    pub(super) fn send_message(&mut self, id: String, text: &str) {
        let Some(turn) = &self.turn else {
            return self.unsent.push((id, text.to_owned()));
        };
        let params = json!({
            "threadId": self.thread,
            "expectedTurnId": turn.id,
            "clientUserMessageId": id,
            "input": [{ "type": "text", "text": text }],
        });
        self.request("turn/steer", params, |answer| Reply::Steered {
            text: id,
            answer,
        });
    }

    pub(super) fn interrupt(&mut self) {
        if let Some(turn) = &self.turn {
            let params = json!({ "threadId": self.thread, "turnId": turn.id });
            self.request("turn/interrupt", params, |_| Reply::Unused);
        }
    }
}

/// The text of an error. Codex passes the answer of the model's server as it is.
pub(super) fn failure(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("it gives no reason");
    let inner = serde_json::from_str::<Value>(message).ok();
    let inner = inner
        .as_ref()
        .and_then(|it| it["error"]["message"].as_str());
    visible_line(inner.unwrap_or(message)).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use agent_team_protocol::spec::Steering;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex};

    use super::super::super::channel::{AgentProgram, SideChannel};
    use super::super::super::connection::Connection;
    use super::super::super::terminal::TerminalHandle;
    use super::*;

    /// The side of the app-server.
    struct Server(BufReader<DuplexStream>);

    impl Server {
        async fn open() -> (Codex, Self) {
            let program = AgentProgram {
                program: "/bin/sleep".into(),
                args: Vec::new(),
                env: Vec::new(),
                cwd: "/".into(),
                team_tools: Vec::new(),
                mode: None,
                team_titles: None,
                steering: Steering::default(),
                rules: String::new(),
            };
            let (lines, other) = duplex(1 << 16);
            let connect = async { Ok(lines) };
            let connection = Connection::start_server(&program, vec!["600".into()], connect).await;
            let (terminal, _) = TerminalHandle::channel();
            let path = Path::new("/nonexistent");
            let mut codex = Codex::over(connection.unwrap(), &terminal, &program, path);
            codex.thread = "first".to_owned();
            (codex, Self(BufReader::new(other)))
        }

        /// The next request with this method.
        async fn request(&mut self, method: &str) -> Value {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            let request: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(request["method"], method, "{request}");
            request
        }

        async fn write(&mut self, message: Value) {
            let line = format!("{message}\n");
            self.0.write_all(line.as_bytes()).await.unwrap();
        }

        async fn answer(&mut self, request: &Value, result: Value) {
            self.write(json!({ "id": request["id"], "result": result }))
                .await;
        }

        async fn notify(&mut self, method: &str, params: Value) {
            self.write(json!({ "method": method, "params": params }))
                .await;
        }
    }

    /// Waits while the messages of the server are handled.
    async fn until<T>(codex: &mut Codex, done: impl Future<Output = T>) -> T {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                biased;
                done = &mut done => return done,
                _ = codex.next() => {}
            }
        }
    }

    #[tokio::test]
    async fn a_message_after_the_end_of_a_turn_is_not_taken() {
        let (mut codex, mut server) = Server::open().await;
        let end = codex.prompt("prompt");
        let start = server.request("turn/start").await;
        let turn = json!({ "id": "1", "status": "completed" });
        let params = json!({ "threadId": "first", "turn": turn });
        server.notify("turn/started", params.clone()).await;
        server.notify("turn/completed", params).await;
        // The end of the turn.
        assert!(matches!(codex.next().await, Event::Update(_)));
        // The prompt has no answer, so the message waits for it.
        let early = codex.steer("early");
        server.answer(&start, json!({ "turn": turn })).await;
        let end = until(&mut codex, end).await.unwrap();
        assert_eq!(end.stop_reason, StopReason::EndTurn);
        assert!(!early.await);
        assert!(!codex.steer("late").await);
    }

    #[tokio::test]
    async fn a_prompt_to_an_earlier_conversation_is_interrupted() {
        let (mut codex, mut server) = Server::open().await;
        let end = codex.prompt("prompt");
        let start = server.request("turn/start").await;
        let thread = json!({ "id": "second", "ephemeral": false, "threadSource": "user" });
        server
            .notify("thread/started", json!({ "thread": thread }))
            .await;
        let inject = until(&mut codex, server.request("thread/inject_items")).await;
        server.answer(&inject, json!({})).await;
        let resume = until(&mut codex, server.request("thread/resume")).await;
        let settings = json!({ "approvalPolicy": "on-request", "approvalsReviewer": "user",
            "sandbox": { "type": "readOnly" } });
        server.answer(&resume, settings).await;
        assert!(matches!(codex.next().await, Event::Session(id) if id == "second"));

        server
            .answer(&start, json!({ "turn": { "id": "1" } }))
            .await;
        let end = until(&mut codex, end).await.unwrap();
        assert_eq!(end.stop_reason, StopReason::Interrupted);
        let interrupt = server.request("turn/interrupt").await;
        let expected = json!({ "threadId": "first", "turnId": "1" });
        assert_eq!(interrupt["params"], expected);
        assert!(codex.turn.is_none());
    }
}
