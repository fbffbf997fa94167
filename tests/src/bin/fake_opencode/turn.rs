//! A turn of the fake. Words in the text of the turn select its behaviour.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_team_tests::{fake_calls, team_tools};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::cwd;
use super::server::{Answer, Asked, Event, Server, record};
use super::shapes::{self, CallState, set_state};

/// How a turn ended.
enum End {
    Text(String),
    Failed,
    Aborted,
    /// The user has rejected a call.
    Rejected,
}

/// A turn of a conversation.
pub(super) struct Run {
    pub(super) server: Arc<Server>,
    pub(super) session: String,
    /// The id of the model's answer.
    pub(super) message: String,
    /// A program of the agent answers its requests at the server.
    pub(super) allows_itself: bool,
    /// The shell line of the command.
    pub(super) line: String,
    /// Messages that have arrived while a dialog was open.
    pub(super) waiting: Vec<String>,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
}

impl Run {
    pub(super) async fn turn(mut self, prompt: String) {
        self.allows_itself = prompt.contains("allow itself");
        self.begin();
        let mut end = self.answer(&prompt).await;
        while let (End::Text(answer), Some(text)) = (&end, self.waiting.pop()) {
            self.text(answer);
            self.complete("tool-calls", &Value::Null);
            self.begin();
            end = self.answer(&text).await;
        }
        let (server, session) = (Arc::clone(&self.server), self.session.clone());
        let aborted = json!({ "name": "MessageAbortedError", "data": { "message": "Aborted" } });
        let broken = json!({ "name": "APIError", "data": { "message": "the model is broken",
            "isRetryable": false } });
        let (finish, error) = match end {
            End::Text(text) => {
                self.text(&text);
                ("stop", Value::Null)
            }
            End::Rejected => ("tool-calls", Value::Null),
            End::Failed => ("", broken),
            End::Aborted => ("", aborted),
        };
        if !error.is_null() {
            // The server reports that it is idle before the answer is complete, and again after that.
            server.event("session.error", &session, json!({ "error": error }));
            server.idle(&session);
        }
        self.complete(finish, &error);
        let mut state = server.state();
        state
            .sessions
            .get_mut(&session)
            .expect("a conversation")
            .turn = None;
        drop(state);
        server.idle(&session);
    }

    /// Begins an answer of the model.
    fn begin(&mut self) {
        self.message = self.server.id("msg");
        let status = json!({ "status": { "type": "busy" } });
        self.server.event("session.status", &self.session, status);
        self.report("", &Value::Null, false);
    }

    fn complete(&self, finish: &str, error: &Value) {
        if error.is_null() {
            let tokens = json!({ "total": 110, "input": 60, "output": 7, "reasoning": 3,
                "cache": { "read": 40, "write": 0 } });
            self.part(
                json!({ "id": self.server.id("prt"), "type": "step-finish", "reason": finish,
                "tokens": tokens, "cost": 0.25 }),
            );
        }
        self.report(finish, error, true);
    }

    fn report(&self, finish: &str, error: &Value, is_complete: bool) {
        let mut info = shapes::answer(&self.message, &self.session);
        if is_complete {
            info["time"]["completed"] = 2.into();
        }
        if !finish.is_empty() {
            info["finish"] = finish.into();
        }
        if !error.is_null() {
            info["error"] = error.clone();
        }
        self.server
            .event("message.updated", &self.session, json!({ "info": info }));
    }

    fn part(&self, mut part: Value) {
        part["messageID"] = self.message.clone().into();
        self.server.part(&self.session, part);
    }

    /// An answer in pieces.
    fn text(&self, text: &str) {
        record(&self.session, text);
        let id = self.server.id("prt");
        let part = |text: &str| json!({ "id": id, "type": "text", "text": text });
        self.part(part(""));
        let delta =
            json!({ "partID": id, "messageID": self.message, "field": "text", "delta": text });
        self.server
            .event("message.part.delta", &self.session, delta);
        self.part(part(text));
    }

    async fn answer(&mut self, prompt: &str) -> End {
        let has = |word: &str| prompt.contains(word);
        if has("crash") || has("fork") {
            // The clients know that the conversation contains the prompt.
            while self.server.unwritten.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
            if has("fork") {
                fake_calls::leave_process();
                std::process::exit(0);
            }
            std::process::exit(3);
        } else if has("flood") {
            self.flood().await;
        } else if has("hang up") {
            self.server.state().clients.clear();
            return self.aborted().await;
        } else if has("broken") {
            return End::Failed;
        } else if has("ask me") {
            let question = json!({ "id": "que_1", "questions": [{ "question": "Which?",
                "header": "Choice", "options": [] }] });
            self.server.event("question.asked", &self.session, question);
            return self.aborted().await;
        } else if has("slow") {
            let Some(Event::Message(text)) = self.events.recv().await else {
                return End::Aborted;
            };
            self.complete("tool-calls", &Value::Null);
            self.begin();
            return End::Text(format!("During the turn: {text}"));
        } else if has("endless") {
            return self.aborted().await;
        } else if has("edit it") {
            return self.ran(&[edit()], "it is edited", write).await;
        } else if has("use a tool") {
            let asked = json!({ "permission": "other_send", "patterns": ["*"], "metadata": {},
                "always": [] });
            let send = call("other_send", json!({ "to": "all" }));
            return self.ran(&[(send, asked)], "the tool ran", |_| {}).await;
        } else if has("try both") {
            return self.ran(&[self.made(), edit()], "both ran", |_| {}).await;
        } else if let Some((_, file)) = prompt.split_once("read ") {
            let path = file.split_whitespace().next().unwrap_or_default();
            let asked = json!({ "permission": "read", "patterns": [path], "metadata": {},
                "always": [] });
            let read = (call("read", json!({ "filePath": path })), asked);
            return self.ran(&[read], "it is read", |_| {}).await;
        } else if let Some((_, path)) = prompt.split_once("search ") {
            let path = path.split_whitespace().next().unwrap_or_default();
            let asked = json!({ "permission": "grep", "patterns": ["."], "metadata": {},
                "always": [] });
            let input = json!({ "pattern": ".", "path": path });
            let search = (call("grep", input), asked);
            return self.ran(&[search], "it is read", |_| {}).await;
        } else if has("list elsewhere") {
            let input = json!({ "command": "ls", "workdir": "/elsewhere" });
            let list = (call("bash", input), bash("ls"));
            return self.ran(&[list], "listed", |_| {}).await;
        } else if has("helper") {
            let helper = self.server.id("ses");
            let info = shapes::session(&helper, Some(&self.session), &Value::Null);
            self.server
                .event("session.created", &helper, json!({ "info": info }));
            let own = std::mem::replace(&mut self.session, helper.clone());
            let info = shapes::user_message(&self.server.id("msg"), &helper);
            self.server
                .event("message.updated", &helper, json!({ "info": info }));
            self.server.opened(
                &helper,
                &json!({ "permission": [
                { "permission": "*", "pattern": "*", "action": "ask" }] }),
            );
            let end = self
                .ran(&[self.made()], "the helper ran", fake_calls::run)
                .await;
            self.session = own;
            return end;
        } else if let Some((_, rest)) = prompt.split_once("own the task ") {
            let task = rest.split(':').next().unwrap_or_default().to_owned();
            let (tool, field, text) =
                match self.ran(&[self.made()], "it ran", fake_calls::run).await {
                    End::Text(text) if text == "it ran" => {
                        ("complete_task", "result", "the fake is done".to_owned())
                    }
                    End::Text(why) => ("fail_task", "reason", why),
                    end @ (End::Failed | End::Aborted | End::Rejected) => return end,
                };
            let team = self.server.team.clone();
            let arguments = json!({ "task": task, field: text });
            let call = move || team_tools::call(&team, tool, &arguments);
            let text = tokio::task::spawn_blocking(call).await.expect("an answer");
            return End::Text(format!("{tool}: {text}"));
        } else if has("try it") {
            return self.ran(&[self.made()], "it ran", fake_calls::run).await;
        } else if has("ping") {
            let action = self.server.action(&self.session, "bash");
            let has_rules = self.server.rules.contains("team");
            let rules = if has_rules { "the rules" } else { "no rules" };
            return End::Text(format!("pong with {action} and {rules}"));
        }
        End::Text("I have nothing to do".to_owned())
    }

    async fn aborted(&mut self) -> End {
        while let Some(event) = self.events.recv().await {
            if let Event::Abort = event {
                break;
            }
        }
        End::Aborted
    }

    /// The command, and the request for it.
    fn made(&self) -> (Value, Value) {
        let input = json!({ "command": self.line, "description": "Make it" });
        (call("bash", input), bash(&self.line))
    }

    async fn flood(&self) -> ! {
        let id = self.server.id("prt");
        self.part(json!({ "id": id, "type": "text", "text": "" }));
        loop {
            let delta = json!({ "partID": id, "messageID": self.message, "field": "text",
                "delta": "flood ".repeat(1000) });
            self.server
                .event("message.part.delta", &self.session, delta);
            while self.server.unwritten.load(Ordering::Relaxed) > 100 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Asks for permission to make the calls, and runs them with `run`.
    async fn ran(&mut self, calls: &[(Value, Value)], done: &str, run: impl Fn(&str)) -> End {
        let mut waiting = Vec::new();
        for (call, asked) in calls {
            let mut part = call.clone();
            part["callID"] = self.server.id("call").into();
            part["id"] = self.server.id("prt").into();
            set_state(&mut part, &CallState::Pending);
            self.part(part.clone());
            let permission = asked["permission"].as_str().expect("a name");
            if self.server.action(&self.session, permission) == "allow" {
                run(&self.line);
                continue;
            }
            let id = self.server.id("per");
            let (sender, answer) = oneshot::channel();
            let session = self.session.clone();
            let kept = Asked {
                session,
                answer: sender,
            };
            self.server.state().asked.insert(id.clone(), kept);
            let mut asked = asked.clone();
            asked["id"] = id.into();
            asked["tool"] = json!({ "messageID": self.message, "callID": part["callID"] });
            self.server
                .event("permission.asked", &self.session, asked.clone());
            // The real server reports the input of the call before or after the request.
            set_state(&mut part, &CallState::Running);
            self.part(part.clone());
            if self.allows_itself {
                let once = json!({ "reply": "once" });
                self.server
                    .reply(asked["id"].as_str().expect("an id"), &once);
            }
            waiting.push((part, answer));
        }
        let mut end = End::Text(done.to_owned());
        for (mut part, answer) in waiting {
            let mut answer = answer;
            let answer = loop {
                tokio::select! {
                    answer = &mut answer => break answer.expect("an answer"),
                    Some(event) = self.events.recv() => match event {
                        Event::Message(text) => self.waiting.push(text),
                        // The request stays open.
                        Event::Abort => {
                            let error = "Tool execution aborted";
                            set_state(&mut part, &CallState::Failed { error });
                            self.part(part);
                            return End::Aborted;
                        }
                    }
                }
            };
            let error = "The user rejected permission to use this specific tool call";
            match answer {
                Answer::Allowed => {
                    run(&self.line);
                    let output = "(no output)";
                    set_state(&mut part, &CallState::Completed { output });
                }
                Answer::Rejected(Some(reason)) => {
                    let error = format!("{error} with the following feedback: {reason}");
                    set_state(&mut part, &CallState::Failed { error: &error });
                    end = End::Text(error);
                }
                Answer::Rejected(None) => {
                    let error = format!("{error}.");
                    set_state(&mut part, &CallState::Failed { error: &error });
                    end = End::Rejected;
                }
            }
            self.part(part);
        }
        end
    }
}

fn call(tool: &str, input: Value) -> Value {
    json!({ "type": "tool", "tool": tool, "state": { "input": input } })
}

/// The request for a command. The request does not name all inputs.
fn bash(line: &str) -> Value {
    json!({ "permission": "bash", "patterns": [line], "metadata": { "command": line },
        "always": ["echo *"] })
}

/// The change of a file, and the request for it.
fn edit() -> (Value, Value) {
    let path = cwd().join("edited.txt");
    let diff = format!(
        "--- {0}\n+++ {0}\n@@ -0,0 +1,1 @@\n+edited\n",
        path.display()
    );
    let metadata = json!({ "filepath": path, "diff": diff });
    let asked = json!({ "permission": "edit", "patterns": ["edited.txt"], "metadata": metadata,
        "always": ["*"] });
    let input = json!({ "filePath": path, "content": "edited\n" });
    (call("write", input), asked)
}

fn write(_line: &str) {
    std::fs::write(cwd().join("edited.txt"), "edited\n").expect("a file");
}
