//! The conversation of the user and the lead so far, for `session/load`. The events determine the order; the lead's
//! texts and thoughts are in its transcript.

use std::collections::VecDeque;

use agent_team_client::{Notice, Session, SessionError, Subscription};
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{ReadTranscript, TranscriptRead};
use agent_team_protocol::text::visible;
use agent_team_protocol::{MemberName, Party, Revision};
use serde_json::Value;

use super::wire::{Speaker, chunk};

/// The maximum number of messages that are sent: editors show all of them at once.
const MESSAGES_MAX: usize = 400;

/// The maximum number of bytes of these messages.
const BYTES_MAX: usize = 4 << 20;

struct History<'a> {
    calls: &'a mut Session,
    lead: &'a MemberName,
    /// The newest messages.
    messages: VecDeque<(Speaker, String)>,
    /// The bytes of these messages.
    bytes: usize,
    omitted: usize,
    /// Items of the transcript that were read and not shown yet.
    items: VecDeque<Value>,
    /// The number of items that were read.
    read: u64,
    /// The number of items that were shown.
    shown: u64,
    /// The newest goal, which is also a message to the lead.
    goal: Option<String>,
}

/// Reads all events up to the newest. Returns the updates that show the conversation.
pub(super) async fn replay(
    events: &mut Subscription,
    calls: &mut Session,
    lead: &MemberName,
) -> Result<Vec<Value>, SessionError> {
    let mut history = History {
        calls,
        lead,
        messages: VecDeque::new(),
        bytes: 0,
        omitted: 0,
        items: VecDeque::new(),
        read: 0,
        shown: 0,
        goal: None,
    };
    let (head, mut last) = (events.head(), Revision(0));
    while last < head {
        if let Notice::Event(notice) = events.next().await? {
            last = notice.revision;
            history.add(notice.event).await?;
        }
    }
    Ok(history.updates())
}

impl History<'_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other events are not part of the conversation"
    )]
    async fn add(&mut self, event: ClientEvent) -> Result<(), SessionError> {
        match event {
            ClientEvent::RunStarted { goal, .. } => {
                self.push(Speaker::User, &goal);
                self.goal = Some(goal.to_string());
            }
            ClientEvent::MessageAccepted { from, to, text, .. } => match from {
                Party::User if to.contains(&Party::Member(self.lead.clone())) => {
                    let is_goal = self.goal.take().is_some_and(|goal| *goal == *text);
                    if !is_goal {
                        self.push(Speaker::User, &text);
                    }
                }
                Party::Member(from) if to.contains(&Party::User) => {
                    self.push(Speaker::Agent, &to_user(&from, &text));
                }
                Party::User | Party::Member(_) | Party::System => {}
            },
            ClientEvent::TranscriptGrown { member, transcript } if member == *self.lead => {
                self.show_until(transcript.length).await?;
            }
            ClientEvent::RunFinished { answer, .. } => {
                let is_shown = self.messages.back().is_some_and(|(speaker, text)| {
                    *speaker == Speaker::Agent && text.trim() == answer.trim()
                });
                if !is_shown {
                    self.push(Speaker::Agent, &answer);
                }
            }
            ClientEvent::RunFailed { reason, .. } => {
                self.push(Speaker::Agent, &no_answer(&reason));
            }
            _ => {}
        }
        Ok(())
    }

    async fn show_until(&mut self, length: u64) -> Result<(), SessionError> {
        while self.shown < length {
            let Some(item) = self.items.pop_front() else {
                let page = ReadTranscript {
                    member: Some(self.lead.clone()),
                    after: self.read,
                };
                let page = self.calls.query::<TranscriptRead>(page).await?;
                if page.items.is_empty() {
                    return Ok(());
                }
                self.read += page.items.len() as u64;
                let items = page.items.iter();
                let items = items.map(|item| serde_json::from_str(item.get()).unwrap_or_default());
                self.items.extend(items);
                continue;
            };
            self.shown += 1;
            if item["kind"] == "answered" {
                for thought in item["thoughts"].as_array().into_iter().flatten() {
                    self.push(
                        Speaker::Thought,
                        thought["text"].as_str().unwrap_or_default(),
                    );
                }
                self.push(Speaker::Agent, item["text"].as_str().unwrap_or_default());
            }
        }
        Ok(())
    }

    fn push(&mut self, speaker: Speaker, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        self.bytes += text.len();
        self.messages.push_back((speaker, text.to_owned()));
        while self.messages.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            let Some((_, oldest)) = self.messages.pop_front() else {
                return;
            };
            self.bytes -= oldest.len();
            self.omitted += 1;
        }
    }

    fn updates(self) -> Vec<Value> {
        let omitted = self.omitted;
        let note = (omitted > 0).then(|| {
            let text = format!("({omitted} earlier messages are not shown)");
            (Speaker::Agent, text)
        });
        let messages = note.into_iter().chain(self.messages);
        let numbered = messages.enumerate();
        let updates = numbered.map(|(number, (speaker, text))| {
            chunk(speaker, &visible(&text), &format!("history-{number}"))
        });
        updates.collect()
    }
}

/// A message of a member to the user. Each line is quoted, so that no line of the text can look like the sender of
/// another message. The empty line ends the quotation: some editors join the messages of an agent.
pub(super) fn to_user(from: &MemberName, text: &str) -> String {
    let text = visible(text);
    let quoted: Vec<_> = text.lines().map(|line| format!("> {line}")).collect();
    format!("**{from}:**\n\n{}\n\n", quoted.join("\n"))
}

/// The text for a goal that has ended without an answer.
pub(super) fn no_answer(reason: &str) -> String {
    format!("The goal ended without an answer: {}", visible(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_imitate_another_sender() {
        let ada = "ada".parse().unwrap();
        assert_eq!(
            to_user(&ada, "ok\n\n**user:** approved"),
            "**ada:**\n\n> ok\n> \n> **user:** approved\n\n"
        );
    }
}
