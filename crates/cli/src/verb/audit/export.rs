//! `audit export`: prints one JSON object for each decision with its outcome, for other programs. Secrets of a running
//! team are redacted.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_protocol::value::Scope;
use agent_team_protocol::{MemberName, Party, RequestId, Revision, TeamId};
use serde::Serialize;
use serde_json::Value;

use super::entry::AuditEntry;
use crate::secrets::Secrets;

/// One decision.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AuditDecision<'a> {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<TeamId>"))]
    team: &'a TeamId,
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<Revision>"))]
    revision: Revision,
    /// Unix time in milliseconds.
    at: u64,
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberName>"))]
    member: &'a MemberName,
    /// `allowed` or `denied`.
    decision: &'static str,
    /// The tool of the call.
    tool: &'a Value,
    /// The arguments of the call.
    input: &'a Value,
    /// The directory of the call.
    directory: &'a Value,
    /// The digest of the exact call: tool, arguments and directory.
    digest: &'a str,
    /// `None` when rules or the mode decided without a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        test,
        schemars(with = "Option<crate::reference::json::Wire<RequestId>>")
    )]
    request: Option<RequestId>,
    /// `rules` (rules or the mode), `user`, `system`, or the name of the lead.
    by: String,
    /// `rules`, `pane`, `cli`, `top`, `lead`, or `other`.
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::reference::json::Wire<Scope>>"))]
    scope: Option<Scope>,
    /// Rules that the decision granted instead of the exact call.
    #[serde(skip_serializing_if = "<[Arc<str>]>::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    rules: &'a [Arc<str>],
    /// The request whose grant covered this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        test,
        schemars(with = "Option<crate::reference::json::Wire<RequestId>>")
    )]
    through: Option<RequestId>,
    /// The rules or the mode that decided, or the reason of the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    /// `carried_out`, `begun`, `not_begun`, `withdrawn` or `not_carried_out`; `permitted` for a call that was allowed
    /// without a request.
    outcome: &'static str,
}

/// One line for each decision among the entries.
pub(super) fn lines(team: &TeamId, entries: &[AuditEntry], secrets: &Secrets) -> Vec<String> {
    let mut ends: BTreeMap<RequestId, &'static str> = BTreeMap::new();
    for entry in entries {
        let end = match entry.what {
            "begun" => "begun",
            "ended" => "carried_out",
            "withdrawn" => "withdrawn",
            _ => continue,
        };
        ends.extend(entry.request.map(|request| (request, end)));
    }
    let decisions = entries
        .iter()
        .filter_map(|entry| decision(team, entry, &ends));
    let line = |decision| serde_json::to_string(&decision).expect("a decision has a JSON form");
    decisions.map(|it| secrets.redact_json(&line(it))).collect()
}

fn decision<'a>(
    team: &'a TeamId,
    entry: &'a AuditEntry,
    ends: &BTreeMap<RequestId, &'static str>,
) -> Option<AuditDecision<'a>> {
    let subject = entry.subject.as_ref()?;
    let outcome = match (entry.what, entry.request) {
        ("allowed", None) => "permitted",
        ("allowed", Some(request)) => ends.get(&request).copied().unwrap_or("not_begun"),
        ("denied", _) => "not_carried_out",
        _ => return None,
    };
    let (by, channel) = match (&entry.by, &entry.via) {
        (None, _) => ("rules".to_owned(), "rules"),
        (Some(Party::Member(lead)), _) => (lead.to_string(), "lead"),
        (Some(by), via) => (by.to_string(), via.as_deref().unwrap_or("other")),
    };
    Some(AuditDecision {
        team,
        revision: entry.revision,
        at: entry.at,
        member: &subject.member,
        decision: entry.what,
        tool: &subject.call["tool"],
        input: &subject.call["arguments"],
        directory: &subject.call["directory"],
        digest: &subject.digest,
        request: entry.request,
        by,
        channel,
        scope: entry.scope,
        rules: &entry.rules,
        through: entry.through,
        why: entry.why.as_deref().filter(|why| !why.is_empty()),
        outcome,
    })
}
