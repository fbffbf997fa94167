//! A member's reads, changes, plans and questions, taken from its transcript. Pure. The transcript adds each item to
//! the record; the record is read when a summary replaces items, and after a restart.
//!
//! The record covers the whole transcript, including the items that the model no longer sees. Its lists are bounded:
//! the oldest entries are dropped first.

use std::collections::{HashMap, VecDeque};

use agent_team_llm::{Item, ToolCall, ToolResult};
use agent_team_protocol::request::PROPOSE_PLAN;
use agent_team_protocol::{MessageId, Party};
use agent_team_tools::APPLY_PATCH;
use agent_team_tools::team::{ASK, ReceivedMessage, received_message, unanswered};
use serde_json::Value;

/// The tool whose last call restores the todo list after a restart.
pub(super) const TODO: &str = "todo";

const READ: &str = "read";
const EDIT: &str = "edit";
const WRITE: &str = "write";
const SEND_MESSAGE: &str = "send_message";

/// The paths of the files that a patch adds or updates, and the new paths of the files that it moves.
fn patched(patch: &str) -> impl Iterator<Item = &str> {
    const SECTIONS: [&str; 3] = ["*** Add File: ", "*** Update File: ", "*** Move to: "];
    let path = |line| {
        SECTIONS
            .iter()
            .find_map(|start| str::strip_prefix(line, *start))
    };
    patch.lines().filter_map(path).map(str::trim)
}

/// The recipient `lead` in the arguments of a call.
const LEAD: &str = "lead";

/// The beginning of the result of an interrupted call, which may have taken effect.
const INTERRUPTED: &str = "interrupted";

/// The largest number of files in a list.
const FILES_MAX: usize = 100;

/// The largest number of messages or questions in a list.
const MESSAGES_MAX: usize = 20;

#[derive(Debug, Default)]
pub(super) struct WorkRecord {
    /// The calls of the last answer, by id.
    calls: HashMap<String, ToolCall>,
    /// The paths, as the model wrote them, of files that the member has read and not changed; the last is the newest.
    pub(super) read: VecDeque<String>,
    pub(super) changed: VecDeque<String>,
    /// The last call that replaced the todo list.
    pub(super) todo: Option<Todo>,
    /// The last plan that was proposed.
    pub(super) plan: Option<String>,
    /// The messages of the user; the last one is the newest.
    pub(super) of_user: VecDeque<String>,
    /// The messages whose sender waits for a reply of this member.
    pub(super) to_answer: VecDeque<ReceivedMessage>,
    /// The questions of this member without a reply.
    pub(super) questions: VecDeque<Question>,
}

#[derive(Debug)]
pub(super) struct Todo {
    /// The arguments of the call.
    pub(super) input: String,
    /// The list in the form that its tool shows.
    pub(super) list: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) to: Party,
    /// `None`: the call was interrupted, so its message is unknown. The supervisor may have stored it.
    pub(super) message: Option<MessageId>,
    pub(super) text: String,
}

impl Question {
    /// Whether the message is the reply to this question: it names the question; or the question is to the user, and
    /// the message is a later message of the user that names no question. The id of an interrupted question is unknown,
    /// so any reply of the asked party counts.
    fn is_answered_by(&self, message: &ReceivedMessage) -> bool {
        match (message.reply_to, self.message) {
            (Some(replied), Some(asked)) => replied == asked,
            // The reply to a question to `lead` has the lead's name as its sender.
            (Some(_), None) => message.from == self.to || self.to.to_string() == LEAD,
            (None, asked) => {
                message.from == Party::User
                    && self.to == Party::User
                    && asked.is_none_or(|asked| asked < message.id)
            }
        }
    }
}

impl WorkRecord {
    /// Adds an item of the transcript.
    pub(super) fn add(&mut self, item: &Item) {
        match item {
            Item::Input { text } => {
                if let Some(message) = received_message(text) {
                    self.add_message(message);
                }
            }
            Item::Shown { .. } => {}
            Item::Answered(answer) => {
                let calls = answer.calls.iter();
                self.calls = calls.map(|call| (call.id.clone(), call.clone())).collect();
            }
            Item::Returned { results } => {
                for result in results {
                    if let Some(call) = self.calls.remove(&result.id) {
                        self.add_result(&call, result);
                    }
                }
            }
        }
    }

    fn add_message(&mut self, message: ReceivedMessage) {
        self.questions
            .retain(|question| !question.is_answered_by(&message));
        if message.from == Party::User {
            push(&mut self.of_user, message.text.clone(), MESSAGES_MAX);
        }
        if message.wants_reply {
            push(&mut self.to_answer, message, MESSAGES_MAX);
        }
    }

    fn add_result(&mut self, call: &ToolCall, result: &ToolResult) {
        let arguments: Value = serde_json::from_str(&call.input).unwrap_or_default();
        let text = |name: &str| arguments[name].as_str().map(str::to_owned);
        // Record the plan even if it was sent back: the model must then revise it.
        if call.name == PROPOSE_PLAN {
            self.plan = text("text").or(self.plan.take());
        }
        if call.name == ASK {
            self.add_question(text("to"), text("question"), result);
        }
        if result.failed {
            return;
        }
        if call.name == APPLY_PATCH {
            for path in patched(&text("input").unwrap_or_default()) {
                self.read.retain(|read| read != path);
                push_once(&mut self.changed, path.to_owned());
            }
            return;
        }
        match (call.name.as_str(), text("path")) {
            (READ, Some(path)) if !self.changed.contains(&path) => {
                push_once(&mut self.read, path);
            }
            (EDIT | WRITE, Some(path)) => {
                self.read.retain(|read| *read != path);
                push_once(&mut self.changed, path);
            }
            (TODO, _) if arguments["items"].is_array() => {
                self.todo = Some(Todo {
                    input: call.input.clone(),
                    list: result.text.clone(),
                });
            }
            (SEND_MESSAGE, _) => {
                let answered: Option<MessageId> =
                    text("reply_to").and_then(|reply_to| reply_to.parse().ok());
                self.to_answer
                    .retain(|message| Some(message.id) != answered);
            }
            _ => {}
        }
    }

    /// Adds the question of a call of `ask`, if it has no reply yet.
    fn add_question(&mut self, to: Option<String>, text: Option<String>, result: &ToolResult) {
        let Some(text) = text else {
            return;
        };
        let question = match result.failed {
            true if result.text.starts_with(INTERRUPTED) => {
                let to: Option<Party> = to.and_then(|to| to.parse().ok());
                to.map(|to| (to, None))
            }
            true => return,
            false => unanswered(&result.text).map(|(to, message)| (to, Some(message))),
        };
        // If the model repeats an interrupted call, the new question replaces the interrupted one.
        self.questions
            .retain(|known| known.message.is_some() || known.text != text);
        if let Some((to, message)) = question {
            let question = Question { to, message, text };
            push(&mut self.questions, question, MESSAGES_MAX);
        }
    }
}

fn push<T>(list: &mut VecDeque<T>, entry: T, most: usize) {
    list.push_back(entry);
    if list.len() > most {
        list.pop_front();
    }
}

/// Makes this file the newest of the list.
fn push_once(list: &mut VecDeque<String>, path: String) {
    list.retain(|known| *known != path);
    push(list, path, FILES_MAX);
}

#[cfg(test)]
mod tests {
    use agent_team_llm::Answer;
    use agent_team_protocol::notification::DeliveredMessage;
    use agent_team_tools::team::message_line;

    use super::*;

    fn message(id: u64, from: &str, wants_reply: bool) -> Item {
        Item::Input {
            text: message_line(&DeliveredMessage {
                id: MessageId(id),
                from: from.parse().unwrap(),
                text: format!("Text of M-{id}"),
                urgent: false,
                reply_to: None,
                summary: None,
                wants_reply,
                can_wait: false,
                redelivered: false,
                attach_outside: false,
            }),
        }
    }

    fn call(record: &mut WorkRecord, name: &str, input: &str, result: &str, failed: bool) {
        record.add(&Item::Answered(Answer {
            calls: vec![ToolCall {
                id: "1".into(),
                name: name.into(),
                input: input.into(),
            }],
            ..Answer::default()
        }));
        record.add(&Item::Returned {
            results: vec![ToolResult {
                id: "1".into(),
                text: result.into(),
                failed,
                media: Vec::new(),
            }],
        });
    }

    #[test]
    fn files_are_listed_once_and_failed_calls_not_at_all() {
        let mut record = WorkRecord::default();
        for path in ["a", "b", "a"] {
            let input = format!("{{\"path\": \"{path}\"}}");
            call(&mut record, "read", &input, "text", false);
        }
        call(&mut record, "read", "{\"path\": \"gone\"}", "no file", true);
        assert_eq!(record.read, ["b", "a"]);
        call(&mut record, "edit", "{\"path\": \"a\"}", "changed", false);
        call(&mut record, "read", "{\"path\": \"a\"}", "text", false);
        call(&mut record, "write", "{\"path\": \"c\"}", "denied", true);
        assert_eq!(record.read, ["b"]);
        assert_eq!(record.changed, ["a"]);
        for file in 0..=FILES_MAX {
            let input = format!("{{\"path\": \"f{file}\"}}");
            call(&mut record, "read", &input, "text", false);
        }
        assert_eq!(record.read.len(), FILES_MAX);
        assert_eq!(record.read[0], "f1");
    }

    #[test]
    fn the_last_list_and_plan_are_kept() {
        let mut record = WorkRecord::default();
        let list = "{\"items\": [{\"text\": \"Look\", \"state\": \"done\"}]}";
        call(&mut record, "todo", list, "[x] Look\n", false);
        call(&mut record, "todo", "{}", "[x] Look\n", false);
        call(&mut record, "todo", "{\"items\": 1}", "invalid", true);
        let todo = record.todo.unwrap();
        assert_eq!((&*todo.input, &*todo.list), (list, "[x] Look\n"));
        record.todo = None;
        let plan = "{\"text\": \"1. Look.\"}";
        call(&mut record, "propose_plan", plan, "sent back", true);
        assert_eq!(record.plan.as_deref(), Some("1. Look."));
    }

    #[test]
    fn another_message_of_the_asked_party_closes_no_question() {
        let mut record = WorkRecord::default();
        let ask = "{\"to\": \"ben\", \"question\": \"Tabs?\"}";
        let result = "ben has not replied to M-4 within 300 s.";
        call(&mut record, "ask", ask, result, false);
        record.add(&message(5, "ben", false));
        record.add(&message(6, "user", false));
        assert_eq!(record.questions[0].message, Some(MessageId(4)));
        let reply = "Message M-7 from ben, in reply to M-4:\n> Yes.";
        record.add(&Item::Input { text: reply.into() });
        assert!(record.questions.is_empty());
    }

    #[test]
    fn an_interrupted_question_is_open() {
        use crate::agent::prompts::LOST_CALL;
        let mut record = WorkRecord::default();
        let ask = "{\"to\": \"user\", \"question\": \"Tabs?\"}";
        call(&mut record, "ask", ask, "not executed", true);
        assert!(record.questions.is_empty());
        call(&mut record, "ask", ask, LOST_CALL, true);
        let question = Question {
            to: Party::User,
            message: None,
            text: "Tabs?".into(),
        };
        assert_eq!(record.questions, [question]);
        let result = "user has not replied to M-4 yet. Act on what arrived.";
        call(&mut record, "ask", ask, result, false);
        assert_eq!(record.questions.len(), 1, "asked again");
        record.add(&message(6, "user", false));
        assert!(record.questions.is_empty());
    }

    #[test]
    fn questions_are_open_until_their_reply() {
        let mut record = WorkRecord::default();
        let ask = "{\"to\": \"user\", \"question\": \"Tabs?\"}";
        let result = "user has not replied to M-4 yet. Act on what arrived.";
        call(&mut record, "ask", ask, result, false);
        record.add(&message(5, "ben", true));
        assert_eq!(record.questions[0].text, "Tabs?");
        assert_eq!(record.to_answer[0].id, MessageId(5));
        let reply = "{\"to\": \"ben\", \"text\": \"Yes.\", \"reply_to\": \"M-5\"}";
        call(&mut record, "send_message", reply, "sent", false);
        record.add(&message(6, "user", false));
        assert!(record.questions.is_empty() && record.to_answer.is_empty());
        assert_eq!(record.of_user, ["Text of M-6"]);
    }
}
