//! Requests of OpenCode for permissions that are not decided. Called by `opencode`.
//!
//! ```text
//! permission.asked ──► waits for the input of the call ──► question to the loop ──► reply once, or reject
//!                                                          └─► permission.replied: the user has answered in the terminal
//!                                                              interface: withdrawn as allowed or denied
//! ```
//! A rejection applies to all open requests of its conversation: OpenCode reports a reply to each request. When a turn
//! is cancelled, its requests stay open, also in the dialog, so the channel rejects them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::super::channel::{PermissionAnswer, PermissionQuestion, Withdrawn};
use super::super::keystrokes::Keystrokes;
use super::super::permission::{ALLOWED_BEFORE, DENIED_BEFORE};
use super::calls::{asked_call, asked_id, text};

/// The largest number of requests that are open, or whose reply OpenCode has not reported yet. Further requests are
/// rejected.
const OPEN_MAX: usize = 64;

/// How long to wait for the input of a call.
const INPUT_LIMIT: Duration = Duration::from_secs(2);

/// The number of a question, and its answer.
pub(super) type Answer = (u64, PermissionAnswer);

pub(super) struct Permissions {
    waiting: Vec<Waiting>,
    open: Vec<Open>,
    /// The answers of the loop that OpenCode has not reported, and whether they allow the call.
    answered: HashMap<String, bool>,
    answers: mpsc::UnboundedSender<Answer>,
    number: u64,
    /// The directory of the server.
    cwd: PathBuf,
    /// The user's keystrokes in the interface.
    pub(super) keystrokes: Keystrokes,
}

/// A request for a call whose input is not known yet. OpenCode reports the input shortly before or after the request.
/// The request does not contain all inputs: for a shell line, it omits the directory.
struct Waiting {
    asked: Value,
    asked_at: Instant,
    deadline: Instant,
}

struct Open {
    number: u64,
    id: String,
    session: String,
    asked_at: Instant,
    withdraw: oneshot::Sender<Withdrawn>,
}

/// A reply to a request of OpenCode. The reply concerns only this call, and never changes the rules of OpenCode.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) request: String,
    pub(super) body: Value,
}

impl Reply {
    fn new(request: &str, answer: &PermissionAnswer) -> Self {
        let body = match answer {
            PermissionAnswer::Allow => json!({ "reply": "once" }),
            // OpenCode ends the turn after a rejection without a reason.
            PermissionAnswer::Deny(why) => json!({ "reply": "reject", "message": why }),
            PermissionAnswer::Cancel => json!({ "reply": "reject" }),
        };
        Self {
            request: request.to_owned(),
            body,
        }
    }
}

/// The next step for a request.
pub(super) enum Asked {
    Question(PermissionQuestion),
    Reply(Reply),
    /// The request waits for the input of its call.
    Later,
}

impl Permissions {
    pub(super) fn new(answers: mpsc::UnboundedSender<Answer>, cwd: PathBuf) -> Self {
        Self {
            waiting: Vec::new(),
            open: Vec::new(),
            answered: HashMap::new(),
            answers,
            number: 0,
            cwd,
            keystrokes: Keystrokes::default(),
        }
    }

    /// Handles a request. `input`: the input of its call, if it is known.
    ///
    /// # Errors
    /// If the request is not understood.
    pub(super) fn asked(&mut self, asked: &Value, input: Option<&Value>) -> Result<Asked, String> {
        let is_known = ["id", "sessionID", "permission"];
        if is_known.iter().any(|name| text(&asked[*name]).is_empty()) {
            return Err("it sent an invalid message: a request for a permission without its id, conversation or name".to_owned());
        }
        if self.open.len() + self.waiting.len() + self.answered.len() >= OPEN_MAX {
            let why = PermissionAnswer::Deny("too many requests are open".to_owned());
            return Ok(Asked::Reply(Reply::new(text(&asked["id"]), &why)));
        }
        if input.is_none() && !asked["tool"].is_null() {
            self.waiting.push(Waiting {
                asked: asked.clone(),
                asked_at: Instant::now(),
                deadline: Instant::now() + INPUT_LIMIT,
            });
            return Ok(Asked::Later);
        }
        Ok(Asked::Question(self.question(asked, input)))
    }

    /// The questions about a call whose input has become known.
    pub(super) fn input_known(&mut self, call: &str, input: &Value) -> Vec<PermissionQuestion> {
        let of_call = |waiting: &mut Waiting| asked_id(&waiting.asked) == call;
        let known: Vec<_> = self.waiting.extract_if(.., of_call).collect();
        let known = known.iter();
        known
            .map(|known| self.question(&known.asked, Some(input)))
            .collect()
    }

    /// The time at which [`Permissions::overdue`] must be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.deadline).min()
    }

    /// The questions whose inputs have not become known within the limit. Their text shows the user that the input is
    /// missing.
    pub(super) fn overdue(&mut self) -> Vec<PermissionQuestion> {
        let now = Instant::now();
        let is_overdue = |waiting: &mut Waiting| waiting.deadline <= now;
        let overdue: Vec<_> = self.waiting.extract_if(.., is_overdue).collect();
        let overdue = overdue.iter();
        overdue.map(|it| self.question(&it.asked, None)).collect()
    }

    fn question(&mut self, asked: &Value, input: Option<&Value>) -> PermissionQuestion {
        self.number += 1;
        let (withdraw, withdrawn) = oneshot::channel();
        self.open.push(Open {
            number: self.number,
            id: text(&asked["id"]).to_owned(),
            session: text(&asked["sessionID"]).to_owned(),
            asked_at: Instant::now(),
            withdraw,
        });
        let (number, answers) = (self.number, self.answers.clone());
        let withdrawn = async move { withdrawn.await.unwrap_or(Withdrawn::Gone) };
        let question = PermissionQuestion::new(
            asked_call(asked, input, &self.cwd),
            withdrawn,
            move |answer| {
                // Without a receiver, the side channel and its server have ended.
                let _ended = answers.send((number, answer));
            },
        );
        // The reply carries the reason to the agent. The dialog is already open when the question waits.
        question.with_reason_and_pending(|| {})
    }

    /// The reply for a decision of the loop. `None`: the user has already decided.
    pub(super) fn decided(&mut self, (number, answer): Answer) -> Option<Reply> {
        let index = self.open.iter().position(|open| open.number == number)?;
        let open = self.open.remove(index);
        let is_allowed = answer == PermissionAnswer::Allow;
        self.answered.insert(open.id.clone(), is_allowed);
        Some(Reply::new(&open.id, &answer))
    }

    /// Whether a reply allows a call that neither the loop nor the user in the interface has allowed.
    pub(super) fn is_foreign(&self, replied: &Value) -> bool {
        let id = text(&replied["requestID"]);
        if text(&replied["reply"]) == "reject" {
            return false;
        }
        let open = self.open.iter().filter(|open| open.id == id);
        let open = open.map(|open| open.asked_at);
        let waiting = self.waiting.iter();
        let waiting = waiting.filter(|waiting| text(&waiting.asked["id"]) == id);
        let mut asked = open.chain(waiting.map(|waiting| waiting.asked_at));
        asked.any(|asked_at| !self.keystrokes.may_answer(asked_at))
    }

    /// Handles the report of a reply of any client. Returns whether the user has rejected the call in the interface, and a
    /// line for the user.
    pub(super) fn replied(&mut self, replied: &Value) -> (bool, Option<String>) {
        let (id, reply) = (text(&replied["requestID"]), text(&replied["reply"]));
        let allowed = ["once", "always"].contains(&reply);
        let line = (reply == "always").then(|| {
            "you have allowed such calls in the dialog of OpenCode: it does not ask about them again until its next start"
                .to_owned()
        });
        self.waiting
            .retain(|waiting| text(&waiting.asked["id"]) != id);
        if let Some(decided) = self.answered.remove(id) {
            if !allowed && !decided {
                self.rejected_with(text(&replied["sessionID"]));
                return (false, line);
            }
            let contradiction = match (decided, allowed) {
                (true, false) => Some(DENIED_BEFORE),
                (false, true) => Some(ALLOWED_BEFORE),
                _ => None,
            };
            return (
                decided && !allowed,
                contradiction.map(str::to_owned).or(line),
            );
        }
        let index = self.open.iter().position(|open| open.id == id);
        let open = index.map(|index| self.open.remove(index));
        let is_users = open.is_some();
        if let Some(open) = open {
            withdraw(open, Withdrawn::Answered { allowed });
        }
        (is_users && !allowed, line)
    }

    /// Withdraws the other requests of a conversation after the loop has denied one of its calls: OpenCode rejects
    /// them, too, and the user has not answered them.
    fn rejected_with(&mut self, session: &str) {
        for open in self.open.extract_if(.., |open| open.session == session) {
            withdraw(open, Withdrawn::Gone);
        }
        self.waiting
            .retain(|waiting| text(&waiting.asked["sessionID"]) != session);
    }

    /// Withdraws all requests at the end of the turn. Returns the replies that close their dialogs.
    pub(super) fn clear(&mut self) -> Vec<Reply> {
        let mut ids = Vec::new();
        for open in self.open.drain(..) {
            ids.push(open.id.clone());
            withdraw(open, Withdrawn::Gone);
        }
        let waiting = self.waiting.drain(..);
        ids.extend(waiting.map(|waiting| text(&waiting.asked["id"]).to_owned()));
        self.answered.clear();
        let ids = ids.iter();
        ids.map(|id| Reply::new(id, &PermissionAnswer::Cancel))
            .collect()
    }

    /// Whether a question waits for an answer.
    pub(super) fn is_asking(&self) -> bool {
        !self.open.is_empty() || !self.waiting.is_empty()
    }
}

fn withdraw(open: Open, withdrawn: Withdrawn) {
    // The receiver is gone if the loop has received an answer meanwhile.
    let _answered = open.withdraw.send(withdrawn);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: &str) -> Value {
        json!({ "id": id, "sessionID": "ses_1", "permission": "bash", "patterns": ["ls"],
            "metadata": { "command": "ls" }, "tool": { "messageID": "msg_1", "callID": format!("call_{id}") } })
    }

    fn question(permissions: &mut Permissions, id: &str) -> PermissionQuestion {
        let input = json!({ "command": "ls" });
        match permissions.asked(&asked(id), Some(&input)) {
            Ok(Asked::Question(question)) => question,
            _ => panic!("no question"),
        }
    }

    fn replied(id: &str, reply: &str) -> Value {
        json!({ "sessionID": "ses_1", "requestID": id, "reply": reply })
    }

    #[tokio::test]
    async fn a_denial_withdraws_the_other_requests_without_an_answer() {
        let (sender, mut answers) = mpsc::unbounded_channel();
        let mut permissions = Permissions::new(sender, "/p".into());
        let denied = question(&mut permissions, "per_1");
        let mut other = question(&mut permissions, "per_2");
        denied.answer(PermissionAnswer::Deny("no".to_owned()));
        let reply = permissions.decided(answers.recv().await.unwrap()).unwrap();
        assert_eq!(reply.body, json!({ "reply": "reject", "message": "no" }));
        for id in ["per_1", "per_2"] {
            assert_eq!(permissions.replied(&replied(id, "reject")), (false, None));
        }
        assert_eq!(other.take_withdrawn().await, Withdrawn::Gone);
    }

    #[tokio::test]
    async fn the_answer_of_the_user_withdraws_a_question() {
        for (reply, allowed) in [("once", true), ("always", true), ("reject", false)] {
            let mut permissions = Permissions::new(mpsc::unbounded_channel().0, "/p".into());
            let mut asked = question(&mut permissions, "per_1");
            let (is_rejected, line) = permissions.replied(&replied("per_1", reply));
            assert_eq!((is_rejected, line.is_some()), (!allowed, reply == "always"));
            let withdrawn = asked.take_withdrawn().await;
            assert_eq!(withdrawn, Withdrawn::Answered { allowed }, "{reply}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_allowance_without_a_keystroke_is_foreign() {
        let mut permissions = Permissions::new(mpsc::unbounded_channel().0, "/p".into());
        permissions.keystrokes.typed();
        tokio::time::advance(Duration::from_secs(10)).await;
        let _open = question(&mut permissions, "per_1");
        assert!(matches!(
            permissions.asked(&asked("per_2"), None),
            Ok(Asked::Later)
        ));
        for id in ["per_1", "per_2"] {
            for reply in ["once", "always"] {
                assert!(permissions.is_foreign(&replied(id, reply)), "{id} {reply}");
            }
            assert!(!permissions.is_foreign(&replied(id, "reject")));
        }
        permissions.keystrokes.typed();
        assert!(!permissions.is_foreign(&replied("per_1", "once")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_the_input_of_its_call() {
        let mut permissions = Permissions::new(mpsc::unbounded_channel().0, "/p".into());
        for id in ["per_1", "per_2"] {
            let asked = permissions.asked(&asked(id), None);
            assert!(matches!(asked, Ok(Asked::Later)));
        }
        let input = json!({ "command": "ls", "workdir": "/elsewhere" });
        let known = permissions.input_known("call_per_1", &input);
        let known: Vec<_> = known.iter().map(|it| it.call.raw_input.clone()).collect();
        assert_eq!(known, [Some(input)]);
        assert!(permissions.overdue().is_empty());
        tokio::time::advance(INPUT_LIMIT).await;
        assert_eq!(permissions.overdue().len(), 1);
        let replies = permissions.clear();
        assert_eq!(replies.len(), 2);
    }
}
