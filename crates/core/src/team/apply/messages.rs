//! Events about messages: inboxes of members, and the unread messages and open questions of the user.

use std::collections::BTreeMap;

use agent_team_protocol::id::{MessageId, Party};

use crate::team::Team;
use crate::team::event::{Event, MessageEvent};
use crate::team::mail::{Lane, Unread};
use crate::team::run::TranscriptSummary;
use crate::team::user_mail::UserQuestion;

impl Team {
    pub(super) fn apply_messages(&mut self, event: MessageEvent<'_>, at: u64) {
        match event {
            MessageEvent::MessageAccepted {
                message,
                from,
                to,
                text,
                urgent,
                reply_to,
                note,
            } => {
                self.last_message = self.last_message.max(message.0);
                let lane = self.lane(from, *urgent);
                // A command member has no turns, so a report has no turn to attach to.
                if let Party::Member(name) = from
                    && self
                        .member(name)
                        .is_some_and(|it| it.transcript != TranscriptSummary::default())
                    && self.reaches_lead(to)
                    && let Some(member) = self.members.get_mut(name)
                {
                    member.transcript.report();
                }
                if let (Party::User, [Party::Member(name)]) = (from, to.as_slice()) {
                    self.user_mail.answer(name);
                }
                if to.contains(&Party::User) {
                    self.user_mail.receive(*message, from.clone());
                }
                if let (Party::Member(name), [Party::User]) = (from, to.as_slice())
                    && note.wants_reply
                {
                    self.user_mail.ask(UserQuestion {
                        message: *message,
                        member: name.clone(),
                        text: text.clone(),
                        asked_at: at,
                    });
                }
                for party in to {
                    if let Party::Member(name) = party
                        && let Some(member) = self.members.get_mut(name)
                    {
                        let unread = Unread {
                            from: from.clone(),
                            text: text.clone(),
                            urgent: *urgent,
                            reply_to: *reply_to,
                            note: note.clone(),
                        };
                        member.inbox.insert(*message, lane, unread);
                    }
                }
            }
            MessageEvent::MessagesRead { member, messages } => {
                if let Some(member) = self.members.get_mut(member) {
                    for message in messages {
                        member.inbox.remove(*message);
                    }
                }
            }

            MessageEvent::UserRead { messages } => self.user_mail.read(messages),
        }
    }

    fn reaches_lead(&self, to: &[Party]) -> bool {
        self.lead()
            .is_some_and(|lead| to.contains(&Party::Member(lead.spec.name.clone())))
    }
}

impl Team {
    pub(in crate::team) fn message_events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (message, (unread, lane, to)) in self.unread() {
            let (from, text, urgent) = (unread.from.clone(), unread.text.clone(), unread.urgent);
            let (reply_to, note) = (unread.reply_to, unread.note.clone());
            let derived = self.lane(&from, urgent);
            events.push(Event::MessageAccepted {
                message,
                from,
                to,
                text,
                urgent,
                reply_to,
                note,
            });
            if lane != derived {
                events.push(Event::MessageKept { message, lane });
            }
        }
        let questions: Vec<_> = self.user_mail.questions().cloned().collect();
        if !self.user_mail.is_empty() || !questions.is_empty() {
            let unread = self.user_mail.iter();
            let unread = unread.map(|(message, from)| (message, from.clone()));
            let unread = unread.collect();
            // Add this event after the messages that the user sent: replaying such a message marks the unread messages
            // from its recipient to the user as read.
            events.push(Event::UserMailKept { unread, questions });
        }
        events
    }

    fn unread(&self) -> BTreeMap<MessageId, (&Unread, Lane, Vec<Party>)> {
        let mut unread: BTreeMap<MessageId, (&Unread, Lane, Vec<Party>)> = BTreeMap::new();
        for (name, member) in &self.members {
            for (message, lane, entry) in member.inbox.with_lanes() {
                let (_, _, to) = unread
                    .entry(message)
                    .or_insert_with(|| (entry, lane, Vec::new()));
                to.push(Party::Member(name.clone()));
            }
        }
        unread
    }
}
