//! The turns of a conversation of Codex, and the worker's texts in them. Called by `codex` and `messages`.
//!
//! ```text
//! turn/start ──► turn/started, the prompt as an item: accepted ──► turn/completed
//! turn/steer ──► the message as an item: taken; otherwise the loop keeps it
//! an item of another client ──► a turn of the user, which the loop follows
//! ```
//! A prompt that the worker sends while the user begins a turn joins that turn. The answer to `turn/start` can arrive
//! after the first messages of its turn, and after the end of the turn.

use std::time::Duration;

use agent_team_client::json_rpc::RpcError;
use agent_team_protocol::text::visible_line;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::channel::{Began, Event, TurnError};
use super::super::outcome::{Outcome, TurnEnd};
use super::super::wire::{SessionUpdate, StopReason};
use super::turn::{Taken, Turn};
use super::{Codex, Reply};

/// The number of ended turns whose ends are kept.
const ENDED_MAX: usize = 8;

/// The time within which Codex reports a turn that it has begun, and the end of a turn that no longer runs.
const REPORT_LIMIT: Duration = Duration::from_secs(15);

impl Codex {
    /// Handles a text that the conversation now contains.
    pub(super) fn taken(&mut self, item: &Value) {
        let id = item["clientId"].as_str().unwrap_or_default();
        match self.sent.remove(id) {
            Some(Taken::Prompt) => self.ready.push_back(Event::Accepted),
            // The receiver is gone if the loop has ended its turn.
            Some(Taken::Message(taken)) => drop(taken.send(true)),
            None => {
                let parts = item["content"].as_array().into_iter().flatten();
                let texts = parts.filter_map(|part| part["text"].as_str());
                let text = texts.collect::<Vec<_>>().join("\n");
                self.follow(text);
            }
        }
    }

    /// Makes this turn the running one, unless it already is or has ended.
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
            // Codex has not reported the end of this turn.
            self.end(turn, &Outcome::Ended(StopReason::Interrupted));
        }
        self.turn = Some(Turn {
            id: id.to_owned(),
            ends: Vec::new(),
            is_followed: false,
            message: None,
            deadline: None,
        });
        self.turn_is_known();
    }

    /// Sends the interruption and the messages that wait for the id of the turn.
    fn turn_is_known(&mut self) {
        if self.is_cancelled {
            self.interrupt();
        }
        for (id, text) in std::mem::take(&mut self.unsent) {
            self.send_message(id, &text);
        }
    }

    /// Reports the turn to the loop if the user has begun it. Called before the first event of the turn.
    pub(super) fn follow(&mut self, text: String) {
        if self.starting > 0 {
            // Only the answer to `turn/start` shows whether the loop has begun this turn.
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
            // The commands of an interrupted turn would continue in the background.
            let params = json!({ "threadId": self.thread });
            self.request("thread/backgroundTerminals/clean", params, |_| {
                Reply::Unused
            });
        }
        for end in turn.ends {
            // The receiver is gone if the turn has joined another turn, because the loop then does not follow it.
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

    /// Gives up the messages that wait for a turn, if no turn is about to begin.
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
            // The user has since begun another conversation. The loop does not receive the messages of this turn.
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
        let is_reported = self.turn.as_ref().is_some_and(|turn| *id == *turn.id);
        self.in_turn(id);
        match &mut self.turn {
            Some(turn) => {
                if !is_reported {
                    turn.deadline = Some(Instant::now() + REPORT_LIMIT);
                }
                turn.is_followed = true;
                turn.ends.push(end);
            }
            None => {
                let why = "it sent an invalid message: the turn has no id".to_owned();
                let _stopped = end.send(Err(TurnError::Failed(why)));
            }
        }
    }

    /// Handles a report about the turn: it is not overdue.
    pub(super) fn turn_is_reported(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.deadline = None;
        }
    }

    /// Handles the report that no turn of the conversation runs: the report of the turn's end must follow.
    pub(super) fn turn_must_end(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.deadline = Some(Instant::now() + REPORT_LIMIT);
        }
    }

    /// The time at which [`Codex::overdue`] must be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let of_turn = self.turn.as_ref().and_then(|turn| turn.deadline);
        let deadlines = [self.approvals.deadline(), of_turn];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn overdue(&mut self) {
        self.approvals.settle();
        let of_turn = self.turn.as_ref().and_then(|turn| turn.deadline);
        if of_turn.is_some_and(|deadline| deadline <= Instant::now()) {
            let limit = REPORT_LIMIT.as_secs();
            let why = format!(
                "it has not reported within {limit} s a turn that its server has begun, or its end; another version may have \
                 other events"
            );
            self.ready.push_back(Event::Unusable(why));
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

/// The text of an error. Codex passes the answer of the model's server unchanged.
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
                tested: None,
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
        // This update reports the end of the turn.
        assert!(matches!(codex.next().await, Event::Update(_)));
        // Codex has not answered the prompt, so the message waits for the answer.
        let early = codex.steer("early");
        server.answer(&start, json!({ "turn": turn })).await;
        let end = until(&mut codex, end).await.unwrap();
        assert_eq!(end.stop_reason, StopReason::EndTurn);
        assert!(!early.await);
        assert!(!codex.steer("late").await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_without_reports_is_unusable() {
        for has_begun in [false, true] {
            let (mut codex, mut server) = Server::open().await;
            let _end = codex.prompt("prompt");
            let start = server.request("turn/start").await;
            let turn = json!({ "id": "1" });
            server.answer(&start, json!({ "turn": turn })).await;
            if has_begun {
                let params = json!({ "threadId": "first", "turn": turn });
                server.notify("turn/started", params).await;
                let idle = json!({ "threadId": "first", "status": { "type": "idle" } });
                server.notify("thread/status/changed", idle).await;
            }
            let Event::Unusable(why) = codex.next().await else {
                panic!("the turn counts as running");
            };
            assert!(why.contains("or its end"), "{why}");
        }
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
