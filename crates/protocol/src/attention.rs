//! Which members need the user, why, and in which order. Called by the verbs `next`, `ps` and `top`, and by the
//! supervisor for tmux's status line. Pure.

use crate::MemberName;
use crate::request::RequestView;
use crate::view::{MemberState, MemberView, Waiting};

/// Maximum number of members that [`summary`] names. [`summary`] only counts the rest.
const NAMED: usize = 3;

/// The action that a member needs from the user, the most urgent first: members that cannot work come before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A decision about a permission request or a plan.
    Decision,
    /// An answer to a question.
    Answer,
    /// An answer to a dialog in the member's terminal, if it shows one.
    Dialog,
    /// A restart, after the user has removed the cause of the hold.
    Restart,
    /// A higher limit.
    Limit,
    /// The reading of an unread message.
    Reading,
}

impl Need {
    /// `None`: the member needs nothing from the user.
    pub fn of(member: &MemberView) -> Option<Self> {
        if member.requests > 0 {
            return Some(Self::Decision);
        }
        match (member.state, &member.waiting) {
            (MemberState::Held, _) => Some(Self::Restart),
            (_, Some(Waiting::Permission { .. } | Waiting::Plan { .. })) => Some(Self::Decision),
            (_, Some(Waiting::Budget { .. })) => Some(Self::Limit),
            (_, Some(Waiting::Answer { .. })) => Some(Self::Answer),
            (_, Some(Waiting::Dialog { .. })) => Some(Self::Dialog),
            (
                _,
                Some(Waiting::RateLimit { .. } | Waiting::Reply { .. } | Waiting::Unknown) | None,
            ) => match (member.asks_user, member.wrote_user) {
                (Some(_), _) => Some(Self::Answer),
                (None, Some(_)) => Some(Self::Reading),
                (None, None) => None,
            },
        }
    }

    /// The text after the member's name: `ada asks`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Decision => "asks",
            Self::Answer => "asks you",
            Self::Reading => "wrote to you",
            Self::Dialog => "may show a dialog",
            Self::Limit => "is at a limit",
            Self::Restart => "is held",
        }
    }
}

/// The member that the user should turn to next: the member of the oldest pending request. Otherwise, of the members
/// that need the user, the member that has been in its state for the longest time.
pub fn next<'a>(members: &'a [MemberView], pending: &[RequestView]) -> Option<&'a MemberView> {
    let named = |name: &MemberName| members.iter().find(|member| member.name == *name);
    let oldest = pending.iter().min_by_key(|request| request.asked_at);
    oldest
        .and_then(|request| named(&request.member))
        .or_else(|| {
            let waiting = members.iter().filter(|member| Need::of(member).is_some());
            waiting.max_by_key(|member| member.for_ms)
        })
}

/// The members that need the user, such as `ada asks · ben is held`, for a status line, which has room for few members;
/// empty if no member needs the user. The most urgent need is first. The text contains only names and fixed words, so
/// it needs no escaping.
pub fn summary<'a>(members: impl IntoIterator<Item = &'a MemberView>) -> String {
    let needs = members.into_iter();
    let needs = needs.filter_map(|member| Some((Need::of(member)?, &member.name)));
    let mut needs: Vec<_> = needs.collect();
    needs.sort_by_key(|(need, _)| *need);
    let causes = needs.iter();
    let mut causes: Vec<_> = causes
        .map(|(need, name)| format!("{name} {}", need.verb()))
        .collect();
    let more = causes.len().saturating_sub(NAMED);
    causes.truncate(NAMED);
    if more > 0 {
        causes.push(format!("{more} more"));
    }
    causes.join(" · ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(name: &str, state: &str, for_ms: u64, requests: u32) -> MemberView {
        let waiting = match state {
            "waiting" => json!({"kind": "budget", "why": "it is spent"}),
            _ => json!(null),
        };
        serde_json::from_value(json!({
            "name": name, "role": "worker", "lead": false, "engine": "native", "model": null,
            "colour": "blue", "placement": "headless", "state": state, "waiting": waiting,
            "why": "", "for_ms": for_ms, "pid": null, "launch": null, "task": null, "pane": null,
            "unread": 0, "requests": requests, "restarts": 0, "last_result": null,
        }))
        .unwrap()
    }

    fn request(id: u64, member: &str, asked_at: u64) -> RequestView {
        serde_json::from_value(json!({
            "id": format!("P-{id}"), "member": member, "tool": "bash", "input": {}, "directory": "/",
            "state": "pending", "digest": "", "asked_at": asked_at, "why": [], "offers": [],
        }))
        .unwrap()
    }

    #[test]
    fn oldest_requests_first_then_longest_blocked() {
        let members = [
            member("ada", "idle", 900, 0),
            member("ben", "held", 500, 0),
            member("cleo", "waiting", 700, 0),
            member("dora", "working", 1, 1),
        ];
        let next_of =
            |pending: &[RequestView]| next(&members, pending).map(|it| it.name.to_string());
        let pending = [request(2, "ada", 20), request(1, "dora", 10)];
        assert_eq!(next_of(&pending).as_deref(), Some("dora"));
        // The member of the oldest request has left the team, so the member that has been blocked for the longest time
        // is next.
        assert_eq!(next_of(&[request(3, "eve", 1)]).as_deref(), Some("cleo"));
        assert_eq!(next_of(&[]).as_deref(), Some("cleo"));
        assert_eq!(next(&members[..1], &[]), None);
    }

    #[test]
    fn an_unread_message_needs_the_user() {
        let mut ada = member("ada", "working", 5, 0);
        assert_eq!(Need::of(&ada), None);
        ada.asks_user = Some(crate::MessageId(3));
        assert_eq!(Need::of(&ada), Some(Need::Answer));
        assert_eq!(summary([&ada]), "ada asks you");
        ada.asks_user = None;
        ada.wrote_user = Some(crate::MessageId(4));
        assert_eq!(summary([&ada]), "ada wrote to you");
        assert_eq!(next(&[ada.clone()], &[]), Some(&ada));
        ada.requests = 1;
        assert_eq!(
            Need::of(&ada),
            Some(Need::Decision),
            "a request does not take precedence"
        );
    }

    #[test]
    fn a_summary_names_blocked_members_before_messages() {
        let mut ada = member("ada", "idle", 0, 0);
        ada.wrote_user = Some(crate::MessageId(4));
        let ben = member("ben", "working", 0, 1);
        assert_eq!(summary([&ada, &ben]), "ben asks · ada wrote to you");
    }

    #[test]
    fn a_summary_names_the_first_and_counts_the_rest() {
        assert_eq!(summary([&member("ada", "working", 0, 0)]), "");
        let two = [member("ada", "working", 0, 2), member("ben", "held", 0, 0)];
        assert_eq!(summary(&two), "ada asks · ben is held");
        let five = ["a", "b", "c", "d", "e"].map(|name| member(name, "waiting", 0, 0));
        assert_eq!(
            summary(&five),
            "a is at a limit · b is at a limit · c is at a limit · 2 more"
        );
    }
}
