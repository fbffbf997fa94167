//! Checks messages: each is stored once and read once, in the sender's order.

use std::collections::BTreeMap;

use super::super::history::{Call, Evidence, Outcome};
use super::{number, numbers, texts};
use crate::Event;

/// Compares the messages that clients sent, by their unique texts, with the events that stored and read them.
pub(super) fn delivery(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    let mut stored: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    let mut read: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for event in &evidence.journal {
        match event.kind.as_str() {
            "message_accepted" => stored.entry(event.text("text")).or_default().push(event),
            "messages_read" => {
                for message in numbers(event, "messages", "M-") {
                    *read.entry((event.text("member"), message)).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    let mut last: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for operation in &evidence.operations {
        let Call::Send { text, .. } = &operation.call else {
            continue;
        };
        let events = stored.remove(text.as_str()).unwrap_or_default();
        match (&operation.outcome, &events[..]) {
            (Outcome::Refused(_) | Outcome::Unknown, []) => {}
            (Outcome::Refused(code), [_, ..]) if code != "storage_failed" => {
                found.push(format!("{text:?} was refused ({code}) but stored"));
            }
            (Outcome::Done(_), []) => found.push(format!("{text:?} was accepted but is lost")),
            (_, [_, _, ..]) => found.push(format!("{text:?} is stored {} times", events.len())),
            (outcome, [event]) => {
                let recipients = texts(event, "to");
                if let Outcome::Done(answer) = outcome
                    && (answer.recipients != recipients
                        || answer.id != number(event, "message", "M-"))
                {
                    found.push(format!(
                        "{text:?} was accepted as M-{} to {:?} and is stored as {} to {recipients:?}",
                        answer.id, answer.recipients, event.data["message"],
                    ));
                }
                let before = last.insert(&operation.client, (event.revision, text));
                if let Some((revision, earlier)) = before
                    && revision > event.revision
                {
                    found.push(format!(
                        "{text:?} was sent after {earlier:?} but is stored before it"
                    ));
                }
            }
        }
    }
    for event in evidence
        .journal
        .iter()
        .filter(|event| event.kind == "message_accepted")
    {
        let message = number(event, "message", "M-");
        let from_user = event.text("from") == "user";
        if from_user && stored.contains_key(event.text("text")) {
            found.push(format!(
                "M-{message} was never sent: {:?}",
                event.text("text")
            ));
        }
        for member in texts(event, "to") {
            match read.get(&(member.as_str(), message)) {
                Some(1) => {}
                Some(times) => found.push(format!("{member} read M-{message} {times} times")),
                None if member == "user" => {}
                None => found.push(format!("{member} never read M-{message}")),
            }
        }
    }
    found
}
