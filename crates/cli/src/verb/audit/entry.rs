//! One line of `audit`, translated from an event: a request, a decision, the outcome of a decision, the end of grants, or
//! a change of the mode.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_policy::call_line;
use agent_team_protocol::event::ClientEvent as E;
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::value::Scope;
use agent_team_protocol::{MemberName, Party, RequestId, Revision};
use serde::Serialize;
use serde_json::Value;

use crate::output::request::plan_line;
use crate::output::time;

/// A request, a decision, the outcome of a decision, the end of grants, or a change of the mode.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AuditEntry {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<Revision>"))]
    pub(super) revision: Revision,
    /// Unix time in milliseconds.
    pub(super) at: u64,
    /// `allowed`, `denied`, `asked`, `withdrawn`, `begun`, `ended`, `revoked`, `grants_ended` or `mode_changed`.
    pub(super) what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        test,
        schemars(with = "Option<crate::reference::json::Wire<RequestId>>")
    )]
    pub(super) request: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Subject>,
    /// The new permission mode; `None`: the mode was not changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::reference::json::Wire<Mode>>"))]
    pub(super) mode: Option<Mode>,
    /// The member whose mode was changed; `None`: the whole team, if the mode was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        test,
        schemars(with = "Option<crate::reference::json::Wire<MemberName>>")
    )]
    pub(super) member: Option<MemberName>,
    /// The user, the member or the system that decided; `None` when rules or the mode decided, and in entries that are
    /// not decisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::reference::json::Wire<Party>>"))]
    pub(super) by: Option<Party>,
    /// The channel through which the user decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) via: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::reference::json::Wire<Scope>>"))]
    pub(super) scope: Option<Scope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(super) rules: Vec<Arc<str>>,
    /// The request whose grant covered this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        test,
        schemars(with = "Option<crate::reference::json::Wire<RequestId>>")
    )]
    pub(super) through: Option<RequestId>,
    /// The reason of the decision, or the rules or the mode that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) why: Option<Arc<str>>,
}

/// The call that a request or a decision is about.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Subject {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberName>"))]
    pub(super) member: MemberName,
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) digest: Arc<str>,
    /// Tool, arguments and directory.
    pub(super) call: Value,
    /// The number of the member's plan; `None`: not a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<u64>,
}

impl Subject {
    fn new(member: &MemberName, digest: &Arc<str>, call: &str) -> Self {
        Self {
            member: member.clone(),
            digest: digest.clone(),
            call: serde_json::from_str(call).unwrap_or_default(),
            plan: None,
        }
    }
}

/// Translates an event; `None` for events that `audit` does not print. `subjects` collects the call of each request.
pub(super) fn entry(
    notice: &EventNotice,
    subjects: &mut BTreeMap<RequestId, Subject>,
) -> Option<AuditEntry> {
    let mut entry = AuditEntry {
        revision: notice.revision,
        at: notice.at,
        what: "",
        request: None,
        subject: None,
        mode: None,
        member: None,
        by: None,
        via: None,
        scope: None,
        rules: Vec::new(),
        through: None,
        why: None,
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other events are not about permission"
    )]
    match &notice.event {
        E::CallAllowed {
            member,
            digest,
            call,
            why,
        } => {
            entry.what = "allowed";
            entry.subject = Some(Subject::new(member, digest, call));
            entry.why = Some(why.clone());
        }
        E::CallDenied {
            member,
            digest,
            call,
            why,
        } => {
            entry.what = "denied";
            entry.subject = Some(Subject::new(member, digest, call));
            entry.why = Some(why.clone());
        }
        E::RequestAsked {
            request,
            member,
            digest,
            call,
            plan,
        } => {
            entry.what = "asked";
            entry.request = Some(*request);
            let subject = Subject {
                plan: plan.as_ref().map(|plan| plan.number),
                ..Subject::new(member, digest, call)
            };
            subjects.insert(*request, subject);
        }
        E::RequestAllowed {
            request,
            scope,
            by,
            rules,
            through,
            task: _,
            via,
        } => {
            entry.what = "allowed";
            entry.request = Some(*request);
            entry.by = Some(by.clone());
            entry.via = via.clone();
            entry.scope = Some(*scope);
            entry.rules = rules.clone();
            entry.through = *through;
        }
        E::RequestDenied {
            request,
            by,
            reason,
            via,
        } => {
            entry.what = "denied";
            entry.request = Some(*request);
            entry.by = Some(by.clone());
            entry.via = via.clone();
            entry.why = Some(reason.clone());
        }
        E::RequestWithdrawn {
            request,
            allowed_in_agent,
        } => {
            entry.what = "withdrawn";
            entry.request = Some(*request);
            if let Some(allowed) = allowed_in_agent {
                // Several agents do not report whether the user or a hook of their settings has answered.
                let what = if *allowed { "allowed" } else { "denied" };
                let why = format!(
                    "the agent reports: {what} in its own terminal interface, or by its hooks"
                );
                entry.why = Some(why.into());
            }
        }
        E::RequestBegun { request, .. } => {
            entry.what = "begun";
            entry.request = Some(*request);
        }
        E::RequestEnded { request } => {
            entry.what = "ended";
            entry.request = Some(*request);
        }
        E::GrantRevoked { request } => {
            entry.what = "revoked";
            entry.request = Some(*request);
        }
        E::ModeChanged { member, mode } => {
            entry.what = "mode_changed";
            entry.mode = Some(*mode);
            entry.member = member.clone();
            entry.by = Some(Party::User);
        }
        E::GrantsEnded {} => entry.what = "grants_ended",
        _ => return None,
    }
    if let Some(request) = &entry.request {
        entry.subject = subjects.get(request).cloned();
    }
    Some(entry)
}

/// `2026-11-21T03:42:19Z  P-1  ada  allowed by user for team as Bash(cargo test:*)  bash: cargo test`
pub(super) fn line(entry: &AuditEntry) -> String {
    let mut parts = vec![time::utc(entry.at)];
    parts.extend(entry.request.map(|request| request.to_string()));
    let subject = entry.subject.as_ref();
    let member = subject.map(|subject| &subject.member);
    parts.extend(member.or(entry.member.as_ref()).map(ToString::to_string));
    parts.push(decision_text(entry));
    parts.extend(call_text(entry));
    parts.extend(reason_text(entry));
    format!("{}\n", parts.join("  "))
}

/// `allowed by user for team as Bash(cargo test:*)`, without control characters.
pub(super) fn decision_text(entry: &AuditEntry) -> String {
    let mut text = entry.what.replace('_', " ");
    if let Some(mode) = entry.mode {
        text.push_str(&format!(" to {mode}"));
    }
    match &entry.by {
        Some(by) => text.push_str(&format!(" by {by}")),
        None if entry.request.is_none() && entry.subject.is_some() => {
            let why = entry.why.as_deref().unwrap_or_default();
            let is_by_mode = parts(why).any(|part| part.contains(": in mode "));
            text.push_str(if is_by_mode { " by mode" } else { " by rule" });
        }
        None => {}
    }
    if let Some(scope) = &entry.scope {
        text.push_str(&format!(" for {}", scope.name()));
    }
    if let Some(through) = entry.through {
        text.push_str(&format!(" through {through}"));
    }
    if !entry.rules.is_empty() {
        text.push_str(&format!(" as {}", entry.rules.join(" ")));
    }
    visible_line(&text).into_owned()
}

/// `(tests first)`, on one line, without control characters.
pub(super) fn reason_text(entry: &AuditEntry) -> Option<String> {
    let why = entry.why.as_deref()?;
    let parts: Vec<_> = parts(why).collect();
    (!parts.is_empty()).then(|| format!("({})", visible_line(&parts.join("; "))))
}

/// The lines of a reason. A reason given by rules begins with the decision and continues with a line for each part of
/// the call. The decision is skipped, because [`decision_text`] contains it.
fn parts(why: &str) -> impl Iterator<Item = &str> {
    let lines = why.lines().map(str::trim).filter(|line| !line.is_empty());
    let skipped = usize::from(why.contains("\n  "));
    lines.skip(skipped)
}

/// `bash: cargo test` or `plan 1: …`, without control characters; `None` for an entry without a call.
pub(super) fn call_text(entry: &AuditEntry) -> Option<String> {
    let subject = entry.subject.as_ref()?;
    let (tool, input) = (&subject.call["tool"], &subject.call["arguments"]);
    Some(match subject.plan {
        Some(number) => plan_line(number, input),
        None => call_line(tool.as_str().unwrap_or("?"), input),
    })
}
