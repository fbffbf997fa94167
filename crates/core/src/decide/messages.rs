//! Messages: their recipients, and when a message counts as read. A message from the system is called a notice.

use std::sync::Arc;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::id::{LaunchId, MemberName, MessageId, Party, Recipient};
use agent_team_protocol::value::MessageNote;

use super::{CallResult, Decider, LABEL_MAX, TEXT_MAX, check_size, party};
use crate::effect::Effect;
use crate::input::Origin;
use crate::refusal::{Oversized, Refused};
use crate::team::answers::Answer;
use crate::team::event::Event;
use crate::team::mail::INBOX_MAX;
use crate::team::run::Run;

/// If a lead has at least this number of unread messages, every notice starts a turn, so that the inbox does not fill.
const WAITING_MAX: usize = 100;

impl Decider<'_> {
    pub(super) fn send(
        &mut self,
        by: &Origin,
        to: &Recipient,
        text: Arc<str>,
        urgent: bool,
        reply_to: Option<MessageId>,
        note: MessageNote,
    ) -> CallResult {
        check_size(Oversized::Message, &text, TEXT_MAX)?;
        if let Some(summary) = &note.summary {
            check_size(Oversized::MessageSummary, summary, LABEL_MAX)?;
        }
        if let Some(message) = reply_to.filter(|message| !self.team.has_sent(*message)) {
            return Err(Refused::UnknownMessage(message));
        }
        let from = party(by);
        let to = self.recipients(&from, to)?;
        for party in &to {
            if let Party::Member(name) = party
                && self.member(name)?.inbox.len() >= INBOX_MAX
            {
                return Err(Refused::InboxFull(name.clone()));
            }
        }
        let message = self.accept(from, to.clone(), text, urgent, reply_to, note);
        Ok(Answer::Sent { message, to }.into())
    }

    fn recipients(&self, from: &Party, to: &Recipient) -> Result<Vec<Party>, Refused> {
        let to = match to {
            Recipient::User => vec![Party::User],
            Recipient::Lead => {
                vec![Party::Member(
                    self.team.lead().ok_or(Refused::NoLead)?.spec.name.clone(),
                )]
            }
            Recipient::Member(name) => vec![Party::Member(self.member(name)?.spec.name.clone())],
            Recipient::All => {
                let not_stopped = self.team.members().filter(|member| !member.is_stopped());
                not_stopped
                    .map(|member| Party::Member(member.spec.name.clone()))
                    .filter(|party| party != from)
                    .collect()
            }
        };
        if to.is_empty() {
            Err(Refused::NoRecipient)
        } else {
            Ok(to)
        }
    }

    pub(super) fn accept(
        &mut self,
        from: Party,
        to: Vec<Party>,
        text: Arc<str>,
        urgent: bool,
        reply_to: Option<MessageId>,
        note: MessageNote,
    ) -> MessageId {
        let message = self.team.next_message();
        for party in &to {
            if let Party::Member(member) = party {
                self.transition.effects.push(Effect::Deliver {
                    member: member.clone(),
                });
            }
        }
        self.record(Event::MessageAccepted {
            message,
            from,
            to,
            text,
            urgent,
            reply_to,
            note,
        });
        message
    }

    /// Sends a notice from the system. If a recipient has left the team or its inbox is full, the user receives the
    /// notice instead of the recipient, so that no notice is lost.
    pub(super) fn notify(&mut self, to: impl IntoIterator<Item = Party>, text: String) {
        self.notify_with(to, text, MessageNote::default());
    }

    /// Like [`Self::notify`]. If no run is under way and `concerns_lead` is false, the notice does not start a turn of
    /// an idle lead, because each turn costs tokens.
    pub(super) fn inform(
        &mut self,
        to: impl IntoIterator<Item = Party>,
        text: String,
        concerns_lead: bool,
    ) {
        let has_goal = self.team.run.as_ref().is_some_and(Run::is_under_way);
        let lead = self.team.lead();
        let has_room = lead.is_some_and(|lead| lead.inbox.len() < WAITING_MAX);
        let note = MessageNote {
            can_wait: !has_goal && !concerns_lead && has_room,
            ..MessageNote::default()
        };
        self.notify_with(to, text, note);
    }

    pub(super) fn notify_with(
        &mut self,
        to: impl IntoIterator<Item = Party>,
        text: String,
        note: MessageNote,
    ) {
        let mut recipients: Vec<Party> = Vec::new();
        for party in to {
            let party = match &party {
                Party::Member(name) => match self.team.member(name) {
                    Some(member) if member.inbox.len() < INBOX_MAX => party,
                    _ => Party::User,
                },
                Party::User => party,
                Party::System => continue,
            };
            if !recipients.contains(&party) {
                recipients.push(party);
            }
        }
        if !recipients.is_empty() {
            self.accept(Party::System, recipients, text.into(), false, None, note);
        }
    }

    /// The lead, or the user if the team has no lead.
    pub(super) fn lead(&self) -> Party {
        self.team
            .lead()
            .map_or(Party::User, |lead| Party::Member(lead.spec.name.clone()))
    }

    pub(super) fn read(&mut self, by: &Origin, messages: Vec<MessageId>) -> CallResult {
        match by {
            Origin::Member { name, .. } => self.acknowledge(name, messages)?,
            Origin::User => self.user_reads(messages),
        }
        Ok(Answer::Done.into())
    }

    fn user_reads(&mut self, mut messages: Vec<MessageId>) {
        messages.retain(|message| self.team.user_mail.is_unread(*message));
        messages.sort_unstable();
        messages.dedup();
        if !messages.is_empty() {
            self.record(Event::UserRead { messages });
        }
    }

    /// Marks as read those of the given messages that are in the member's inbox.
    pub(super) fn acknowledge(
        &mut self,
        name: &MemberName,
        mut messages: Vec<MessageId>,
    ) -> Result<(), Refused> {
        let inbox = &self.member(name)?.inbox;
        messages.retain(|message| inbox.get(*message).is_some());
        messages.sort_unstable();
        messages.dedup();
        if !messages.is_empty() {
            self.record(Event::MessagesRead {
                member: name.clone(),
                messages,
            });
        }
        Ok(())
    }

    pub(super) fn unresponsive(&mut self, launch: &LaunchId) {
        let Some(name) = self.current(launch) else {
            return;
        };
        let fact = format!("{name} does not respond and is still running");
        let lead = self.lead();
        if lead != Party::Member(name.clone()) && lead != Party::User {
            let text = format!(
                "{fact}. Stop it with stop_teammate, then start it again with resume_teammate"
            );
            self.notify([lead], text);
        }
        let text = format!("{fact}. Restart it with: {}", CommandLine::Restart(&name));
        self.notify([Party::User], text);
    }

    pub(super) fn idle_refused(&mut self, launch: &LaunchId, reason: &str) {
        let Some(name) = self.current(launch) else {
            return;
        };
        let reason = &reason[..reason.floor_char_boundary(TEXT_MAX)];
        self.notify([Party::Member(name)], reason.to_owned());
    }
}
