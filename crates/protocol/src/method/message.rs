//! Arguments and answers of `message/*`.

use serde::{Deserialize, Serialize};

use crate::id::{MessageId, Party, Recipient};
use crate::view::MessageView;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendMessage {
    pub to: Recipient,
    pub text: String,
    #[serde(default)]
    pub urgent: bool,
    /// The message that this message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// A short summary of the text, for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The sender waits for a reply: an agent is asked to send a reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_reply: bool,
    /// Images and PDFs that the text names may be outside the project: the user typed the text on this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attach_outside: bool,
}

/// Maximum length of a message or of a task's result, in bytes.
pub const TEXT_MAX: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendAnswer {
    pub id: MessageId,
    /// The recipients.
    pub to: Vec<Party>,
    /// The recipients whose pane shows the message to the user, and whose program does not receive it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_shown: Vec<Party>,
    /// The agents that were in a turn when the message arrived, and that receive messages during a turn. The message
    /// joins the turn, or interrupts the turn if the message is urgent. The message wakes all agents that are in no
    /// turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_turn: Vec<Party>,
    /// The agents that were in a turn when the message arrived, and that receive messages after a turn. An urgent
    /// message interrupts the turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_turn: Vec<Party>,
    /// The agents that were in a turn when the message arrived, and of which agent-team does not know whether they
    /// receive messages during a turn. An urgent message interrupts the turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_or_after_turn: Vec<Party>,
}

impl SendAnswer {
    /// A predicate with the recipients that are in a turn: the message joins the turn, waits for its end or, if it is
    /// urgent, interrupts the turn. `None` without such recipients.
    pub fn reaches_turn(&self, urgent: bool) -> Option<String> {
        let groups = [&self.in_turn, &self.after_turn, &self.in_or_after_turn];
        let clause = |what: &str, parties: &[&Party]| {
            let names: Vec<_> = parties.iter().map(ToString::to_string).collect();
            (!names.is_empty()).then(|| format!("{what} the turn of {}", names.join(", ")))
        };
        if urgent {
            let interrupted: Vec<_> = groups.into_iter().flatten().collect();
            return clause("interrupts", &interrupted);
        }
        let predicates = ["joins", "waits for the end of", "joins or follows"];
        let clauses: Vec<_> = predicates
            .into_iter()
            .zip(groups)
            .filter_map(|(what, parties)| clause(what, &parties.iter().collect::<Vec<_>>()))
            .collect();
        (!clauses.is_empty()).then(|| clauses.join(", and "))
    }

    /// A sentence about the recipients whose program does not receive the message. `None` without such recipients.
    pub fn shown_not_delivered(&self) -> Option<String> {
        let names: Vec<_> = self.only_shown.iter().map(Party::to_string).collect();
        (!names.is_empty()).then(|| {
            format!(
                "shown, not delivered: only the user sees it in the pane of {}",
                names.join(", ")
            )
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadMessages {
    pub messages: Vec<MessageId>,
}

/// Arguments of `message/list`: the newest `limit` messages, oldest first; fewer if they do not fit into one frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListMessages {
    /// Only messages from or to this party. A member may list only its own messages.
    #[serde(default)]
    pub of: Option<Party>,
    pub limit: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageListAnswer {
    pub messages: Vec<MessageView>,
}
