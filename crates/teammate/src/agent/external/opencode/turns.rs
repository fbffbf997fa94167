//! The turns of a conversation of OpenCode, and the worker's texts in them. Called by `opencode` and `messages`.
//!
//! ```text
//! a text of the worker in the conversation: taken ──► answers of the model ──► idle, and no answer is open: the end
//! a text of the user, or an answer without one ──► a turn of the user, which the loop follows
//! ```
//! After a failed or aborted answer, the server reports twice that it is idle: first when the turn is cancelled, while
//! the answer is still open, and again after the answer is complete. A prompt between the two reports would end with
//! the second report, so the first report ends the turn only if the answer stays open.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::channel::{Began, Event, TurnError};
use super::super::outcome::Outcome;
use super::super::wire::{SessionUpdate, StopReason};
use super::calls::text;
use super::messages::KEPT_MAX;
use super::server::Refusal;
use super::settings::permissions;
use super::turn::{Sent, SentKind};
use super::{OpenCode, Reply, asks};

/// The time within which an idle server completes an open answer.
const SETTLE_LIMIT: Duration = Duration::from_secs(3);

/// The name of the failure of an answer that was aborted.
const ABORTED: &str = "MessageAbortedError";

/// The number of consecutive heartbeats without a turn after which the report of the turn's end counts as lost. One
/// heartbeat is not enough: the server reports the text of a turn shortly before it runs the turn.
const IDLE_BEATS: u32 = 2;

/// The largest number of conversations of helpers that are known.
const HELPERS_MAX: usize = 4096;

impl OpenCode {
    /// Handles a text of the user or of the worker in the conversation. `id`: the id of its part.
    pub(super) fn taken(&mut self, id: &str, line: &str) {
        match self.sent.remove(id).map(|sent| sent.kind) {
            Some(SentKind::Prompt(end)) => {
                let turn = self.turn.get_or_insert_default();
                turn.is_followed = true;
                turn.ends.push(end);
                self.ready.push_back(Event::Accepted);
            }
            Some(SentKind::Message(taken)) => {
                // If the turn has ended meanwhile, the message has begun another turn. The loop must know this turn
                // before the message counts as taken.
                self.follow(String::new());
                // The receiver is gone if the loop has ended its turn.
                let _unawaited = taken.send(true);
            }
            None => self.follow(line.to_owned()),
        }
        if self.is_cancelled {
            self.abort();
        }
    }

    /// Reports the turn to the loop if the loop has not begun it.
    pub(super) fn follow(&mut self, text: String) {
        let turn = self.turn.get_or_insert_default();
        if std::mem::replace(&mut turn.is_followed, true) {
            return;
        }
        let (end, ended) = oneshot::channel();
        turn.ends.push(end);
        let end = Box::pin(async move { ended.await.unwrap_or(Err(TurnError::Closed)) });
        self.ready.push_back(Event::Began(Began { text, end }));
    }

    /// Handles the state of an answer of the model.
    pub(super) fn answer_updated(&mut self, message: &Value) {
        let id = text(&message["id"]);
        let model = format!(
            "{}/{}",
            text(&message["providerID"]),
            text(&message["modelID"])
        );
        self.window = self.windows.get(&model).copied();
        let is_complete = !message["time"]["completed"].is_null();
        if !is_complete && !message["error"].is_object() {
            // The answer belongs to an unknown turn, for example after a command of the interface.
            self.follow(String::new());
        }
        let Some(turn) = &mut self.turn else {
            return;
        };
        if is_complete {
            turn.open_answers.remove(id);
        } else if turn.open_answers.len() < KEPT_MAX && turn.open_answers.insert(id.to_owned()) {
            (turn.failure, turn.settles_at) = (None, None);
            if self.is_cancelled {
                // The turn was cancelled before the server ran it: abort it now.
                self.abort();
            }
        }
        let Some(turn) = &mut self.turn else {
            return;
        };
        if !message["finish"].is_null() {
            turn.finish = message["finish"].clone();
        }
        if message["error"].is_object() {
            self.failed(&message["error"]);
        }
    }

    /// Handles the failure of the turn.
    pub(super) fn failed(&mut self, error: &Value) {
        let outcome = self.outcome_of(error);
        match &mut self.turn {
            Some(turn) => turn.failure = Some(outcome),
            // An earlier turn was aborted. Any other error: the server has accepted a prompt that it cannot add to the
            // conversation.
            None if error["name"] == ABORTED => {}
            None => {
                let sent: Vec<_> = self.sent.drain().collect();
                for (_, Sent { kind, .. }) in sent {
                    if let SentKind::Prompt(end) = kind {
                        let _stopped = end.send(outcome.result());
                    }
                }
            }
        }
    }

    fn outcome_of(&self, error: &Value) -> Outcome {
        match text(&error["name"]) {
            ABORTED => Outcome::Ended(match self.is_cancelled {
                true => StopReason::Cancelled,
                false => StopReason::Interrupted,
            }),
            "MessageOutputLengthError" => Outcome::Ended(StopReason::MaxTokens),
            "ContentFilterError" => Outcome::Ended(StopReason::Refusal),
            name => {
                let message = error["data"]["message"].as_str();
                Outcome::Failed(message.unwrap_or(name).to_owned())
            }
        }
    }

    /// Handles the report of the server that the conversation has no running turn.
    pub(super) fn idle(&mut self) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        if turn.open_answers.is_empty() {
            return self.end_turn();
        }
        turn.settles_at
            .get_or_insert_with(|| Instant::now() + SETTLE_LIMIT);
    }

    pub(super) fn end_turn(&mut self) {
        let Some(turn) = self.turn.take() else {
            return;
        };
        let reason = match turn.finish.as_str() {
            Some("length") => StopReason::MaxTokens,
            Some("content-filter") => StopReason::Refusal,
            _ if self.is_cancelled => StopReason::Cancelled,
            Some("tool-calls") if turn.is_rejected => StopReason::Interrupted,
            _ => StopReason::EndTurn,
        };
        let outcome = turn.failure.unwrap_or(Outcome::Ended(reason));
        self.is_cancelled = false;
        self.inputs.clear();
        for reply in self.permissions.clear() {
            self.reply_to(reply);
        }
        // The loop keeps the messages that the conversation does not contain. Their requests may still be on the way, so
        // they are not dropped here: the conversation or the refusal decides.
        for end in turn.ends {
            // The receiver is gone if the turn has joined another turn, because the loop then does not follow it.
            let _unfollowed = end.send(outcome.result());
        }
        // Returns control to the loop before the next turn begins: the loop must notice the end first.
        self.ready.push_back(Event::Update(SessionUpdate::Other));
    }

    pub(super) fn abort(&mut self) {
        let (api, session) = (self.server.api.clone(), self.session.clone());
        self.replies.spawn(async move {
            let aborted = api.post(&["session", &session, "abort"], json!({})).await;
            if let Err(refusal) = aborted {
                tracing::debug!(%refusal, "OpenCode did not abort its turn");
            }
            Reply::Unused
        });
    }

    /// Asks which turns the server runs, if the loop waits for the end of a turn.
    pub(super) fn heartbeat(&mut self) {
        if self.turn.is_none() || self.permissions.is_asking() || self.asks_status {
            return;
        }
        self.asks_status = true;
        let api = self.server.api.clone();
        self.replies
            .spawn(async move { Reply::Status(api.get(&["session", "status"]).await) });
    }

    pub(super) fn check_status(&mut self, status: &Value) {
        let Some(turn) = &mut self.turn else {
            return;
        };
        let of_session = &status[&self.session];
        let is_idle = of_session.is_null() || of_session["type"] == "idle";
        turn.idle_beats = match is_idle {
            true => turn.idle_beats + 1,
            false => 0,
        };
        if turn.idle_beats >= IDLE_BEATS {
            self.end_turn();
        }
    }

    /// Stores the id of a helper's conversation: the user does not write in it.
    pub(super) fn session_reported(&mut self, info: &Value) {
        if !text(&info["parentID"]).is_empty() && self.helpers.len() < HELPERS_MAX {
            self.helpers.insert(text(&info["id"]).to_owned());
        }
    }

    /// Follows the user, who writes in another conversation. First, OpenCode must be set to ask about each call in that
    /// conversation.
    pub(super) fn writes_elsewhere(&mut self, session: &str) {
        if self.helpers.contains(session) || self.following.as_deref() == Some(session) {
            return;
        }
        self.following = Some(session.to_owned());
        let (api, session) = (self.server.api.clone(), session.to_owned());
        self.replies.spawn(async move {
            let body = json!({ "permission": permissions() });
            let answer = api.patch(&["session", &session], body).await;
            Reply::Followed { session, answer }
        });
    }

    pub(super) fn continue_in(&mut self, session: String, answer: Result<Value, Refusal>) {
        self.following = None;
        let why = match answer {
            Ok(opened) if asks(&opened) => None,
            Ok(_) => Some("it does not accept that it asks about each call".to_owned()),
            Err(refusal) => Some(refusal.to_string()),
        };
        if let Some(why) = why {
            // In that conversation, OpenCode could act without asking.
            let why = format!("the user has gone to another conversation, and {why}");
            return self.ready.push_back(Event::Unusable(why));
        }
        self.abort();
        if let Some(turn) = &mut self.turn {
            turn.failure = Some(Outcome::Ended(StopReason::Interrupted));
        }
        self.end_turn();
        // The loop no longer receives reports about texts that were sent to the earlier conversation.
        for (_, sent) in self.sent.drain() {
            if let SentKind::Prompt(end) = sent.kind {
                let _stopped = end.send(Outcome::Ended(StopReason::Interrupted).result());
            }
        }
        self.session.clone_from(&session);
        self.ready.push_back(Event::Session(session));
        self.follow(String::new());
        // The turn may have ended before it could be followed.
        if let Some(turn) = &mut self.turn {
            turn.idle_beats = IDLE_BEATS - 1;
        }
        self.heartbeat();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use agent_team_protocol::spec::Steering;
    use tokio::time::timeout;

    use super::super::super::channel::{AgentProgram, BoxFuture, PermissionAnswer, SideChannel};
    use super::super::super::interface::Interface;
    use super::super::super::permission::DENIED_BEFORE;
    use super::super::super::running_program::RunningProgram;
    use super::super::super::terminal::TerminalHandle;
    use super::super::super::wire::PromptEnd;
    use super::super::server::{Api, Refusal, Server};
    use super::*;

    type End = BoxFuture<'static, Result<PromptEnd, TurnError>>;

    /// A side channel in the conversation `ses_1`. Its server does not answer: the tests report the server's events.
    fn client() -> OpenCode {
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
        let running = RunningProgram::start(&program, vec!["600".into()], Vec::new());
        let url = "http://127.0.0.1:1".parse().unwrap();
        let server = Server {
            program: running.unwrap().0,
            api: Api::new(url, "", String::new()).unwrap(),
            password: String::new(),
        };
        let (terminal, _) = TerminalHandle::channel();
        let interface = Interface::new(terminal, &program, Vec::new());
        let mut client = OpenCode::over(server, interface, Path::new("/"));
        client.session = "ses_1".to_owned();
        client
    }

    fn report(client: &mut OpenCode, kind: &str, mut properties: Value) {
        if properties["sessionID"].is_null() {
            properties["sessionID"] = "ses_1".into();
        }
        client.event(&json!({ "type": kind, "properties": properties }));
    }

    /// Reports a text of the user or of the worker: in the part that was sent, or else in a part of the user.
    fn report_text(client: &mut OpenCode, message: &str) {
        let sent = client.sent.keys().next().cloned();
        let part = sent.unwrap_or_else(|| "prt_of_user".to_owned());
        let info = json!({ "id": message, "role": "user" });
        report(client, "message.updated", json!({ "info": info }));
        let part = json!({ "id": part, "messageID": message, "type": "text", "text": "a text" });
        report(client, "message.part.updated", json!({ "part": part }));
    }

    fn report_answer(client: &mut OpenCode, is_complete: bool) {
        let completed = is_complete.then_some(1);
        let info =
            json!({ "id": "msg_2", "role": "assistant", "time": { "completed": completed } });
        report(client, "message.updated", json!({ "info": info }));
    }

    async fn is_pending(end: &mut End) -> bool {
        timeout(Duration::ZERO, end).await.is_err()
    }

    #[tokio::test]
    async fn a_turn_does_not_end_while_its_answer_is_open() {
        let mut client = client();
        let mut end = client.prompt("prompt");
        report_text(&mut client, "msg_1");
        report_answer(&mut client, false);
        let data = json!({ "message": "the model is broken" });
        let error = json!({ "error": { "name": "APIError", "data": data } });
        report(&mut client, "session.error", error);
        report(&mut client, "session.idle", json!({}));
        assert!(is_pending(&mut end).await);
        report_answer(&mut client, true);
        report(&mut client, "session.idle", json!({}));
        let end = end.await;
        assert!(matches!(end, Err(TurnError::Failed(why)) if why == "the model is broken"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stays_open_ends_after_the_limit() {
        let mut client = client();
        let mut end = client.prompt("prompt");
        report_text(&mut client, "msg_1");
        report_answer(&mut client, false);
        report(&mut client, "session.idle", json!({}));
        assert!(is_pending(&mut end).await);
        tokio::time::advance(SETTLE_LIMIT).await;
        client.overdue();
        assert_eq!(end.await.unwrap().stop_reason, StopReason::EndTurn);
    }

    #[tokio::test]
    async fn a_lost_end_of_a_turn_is_found_by_its_status() {
        let mut client = client();
        let mut end = client.prompt("prompt");
        report_text(&mut client, "msg_1");
        report_answer(&mut client, false);
        let busy = json!({ "ses_1": { "type": "busy" } });
        for status in [json!({}), busy, json!({})] {
            client.check_status(&status);
        }
        assert!(is_pending(&mut end).await);
        client.check_status(&json!({ "ses_1": { "type": "idle" } }));
        assert!(end.await.is_ok());
    }

    #[tokio::test]
    async fn a_message_after_the_end_of_a_turn_begins_another() {
        let mut client = client();
        let end = client.prompt("prompt");
        report_text(&mut client, "msg_1");
        let taken = client.steer("message");
        report(&mut client, "session.idle", json!({}));
        assert!(end.await.is_ok());
        report_text(&mut client, "msg_3");
        assert!(taken.await);
        let mut ready = client.ready.iter();
        assert!(ready.any(|event| matches!(event, Event::Began(began) if began.text.is_empty())));
        assert!(client.turn.is_some());
        assert!(!super::OpenCode::steer(&mut self::client(), "late").await);
    }

    #[tokio::test]
    async fn a_refused_decision_leaves_the_report_of_the_answer() {
        let mut client = client();
        let asked = json!({ "id": "per_1", "permission": "bash" });
        report(&mut client, "permission.asked", asked);
        let Some(Event::Permission(question)) = client.ready.pop_back() else {
            panic!("no question");
        };
        question.answer(PermissionAnswer::Allow);
        let decision = client.answers.recv().await.unwrap();
        client.permissions.decided(decision).unwrap();
        // The user has answered: the server no longer has the request, and reports the answer later.
        client.replied(Reply::Permission(Err(Refusal::Missing)));
        let answer = json!({ "requestID": "per_1", "reply": "reject" });
        report(&mut client, "permission.replied", answer);
        let mut ready = client.ready.iter();
        assert!(ready.any(|event| matches!(event, Event::Notice(line) if line == DENIED_BEFORE)));
    }

    #[tokio::test]
    async fn the_team_does_not_follow_a_helper() {
        let mut client = client();
        let helper =
            json!({ "sessionID": "ses_2", "info": { "id": "ses_2", "parentID": "ses_1" } });
        report(&mut client, "session.created", helper);
        for (session, is_followed) in [("ses_2", false), ("ses_3", true)] {
            let info = json!({ "id": "msg_1", "role": "user" });
            let text = json!({ "sessionID": session, "info": info });
            report(&mut client, "message.updated", text);
            assert_eq!(client.following.is_some(), is_followed, "{session}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_prompt_that_is_not_reported_makes_the_agent_unusable() {
        let mut client = client();
        let _end = client.prompt("prompt");
        let part = client.sent.keys().next().unwrap().clone();
        let answer = Ok(Value::Null);
        client.replied(Reply::Sent { part, answer });
        client.overdue();
        assert!(client.ready.is_empty());
        tokio::time::advance(super::super::TAKEN_LIMIT).await;
        client.overdue();
        assert!(matches!(client.ready.pop_front(), Some(Event::Unusable(_))));
    }
}
