//! Between the policy's types, the core's and the wire's, which know nothing of each other.

use std::path::Path;
use std::sync::Arc;

use agent_team_core::request::{self, Grant, Request, RequestState};
use agent_team_policy::shell::{Join, Target};
use agent_team_policy::{
    Call, Decision, Digest, Effect, Offer, Place, Places, Rule, RuleBook, RuleError, Ruling,
    Runnable, Source,
};
use agent_team_protocol::method::TEXT_MAX;
use agent_team_protocol::request::{
    self as wire, AskRequest, OfferView, PROPOSE_PLAN, ProposePlan, RequestView, RunnableCommand,
    RunnableJoin, RunnableRedirect, RunnableStep, RunnableTarget, RunnableView, Scope,
};
use agent_team_protocol::rule::{JudgementView, PartView, RuleView, RulingView};
use agent_team_protocol::spec::{Permissions, TeamSpec};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::{ErrorCode, Refusal};

/// Columns of what the lead is told of a request.
const NEWS: usize = 240;

/// What a member wants to do, for the policy.
pub(crate) fn call(ask: &AskRequest) -> Result<Call, Refusal> {
    let arguments = serde_json::from_str(ask.arguments.get())
        .map_err(|error| Refusal::new(ErrorCode::InvalidParams, error.to_string()))?;
    let places = ask.places.iter().map(|place| Place {
        given: place.given.clone(),
        path: place.path.clone(),
        resolved: place.resolved.clone(),
    });
    Ok(Call {
        tool: ask.tool.clone(),
        arguments,
        directory: Place {
            given: ".".to_owned(),
            path: ask.directory.clone(),
            resolved: ask.directory.clone(),
        },
        confined: ask.confined,
        environment: Default::default(),
        places: Places(places.collect()),
    })
}

/// A plan as a call that nobody makes, so that it is kept, bound and shown like one: its digest, and what the core
/// keeps.
pub(crate) fn plan(plan: ProposePlan, project: &Path) -> Result<(Arc<str>, Arc<str>), Refusal> {
    if plan.text.trim().is_empty() {
        return Err(Refusal::new(ErrorCode::Invalid, "the plan is empty"));
    }
    let (bytes, limit) = (plan.text.len(), TEXT_MAX);
    if bytes > limit {
        let text = format!("the plan is {bytes} bytes long, and the limit is {limit}");
        return Err(Refusal::new(ErrorCode::Invalid, text));
    }
    let arguments = serde_json::value::to_raw_value(&serde_json::json!({ "text": plan.text }))
        .map_err(|error| Refusal::internal(error.to_string()))?;
    let ask = AskRequest {
        tool: PROPOSE_PLAN.to_owned(),
        arguments,
        directory: project.to_owned(),
        confined: false,
        places: Vec::new(),
    };
    let digest = Digest::of(&call(&ask)?).to_string();
    let ask = serde_json::to_string(&ask).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok((digest.into(), ask.into()))
}

/// The same as the core keeps it.
pub(crate) fn stored(call: &str) -> Result<AskRequest, Refusal> {
    serde_json::from_str(call).map_err(|error| Refusal::internal(error.to_string()))
}

/// What a decision lets pass, for the policy.
pub(crate) fn add(book: &mut RuleBook, grant: &Grant) {
    let source = Source::Grant(grant.request.0);
    if grant.rules.is_empty() {
        match grant.digest.parse::<Digest>() {
            Ok(digest) => book.grant(digest, source),
            Err(error) => {
                tracing::error!(request = %grant.request, %error, "a grant covers nothing")
            }
        }
    }
    for rule in &grant.rules {
        // A rule of a build that knew more covers nothing in this one.
        if let Err(error) = book.add(Effect::Allow, rule, source) {
            tracing::warn!(request = %grant.request, %error, "a grant covers nothing");
        }
    }
}

/// The rules of the team's own file.
pub(crate) fn add_own(book: &mut RuleBook, permissions: &Permissions) {
    for (effect, rules) in effects(permissions) {
        for rule in rules {
            if let Err(error) = book.add(effect, rule, Source::TeamFile) {
                tracing::error!(%error, "a rule of the team file holds nobody back");
            }
        }
    }
}

fn effects(permissions: &Permissions) -> [(Effect, &[String]); 2] {
    [
        (Effect::Deny, &permissions.deny),
        (Effect::Ask, &permissions.ask),
    ]
}

/// Whether the rules of this team can hold whom they are for.
pub(crate) fn check(spec: &TeamSpec) -> Result<(), Refusal> {
    for (effect, rules) in effects(&spec.permissions) {
        for rule in rules {
            Rule::parse(rule, effect)
                .map_err(|error| Refusal::new(ErrorCode::Invalid, error.to_string()))?;
        }
    }
    let of_members = spec.members.iter().map(|member| &member.agent);
    let mut agents = of_members.chain(spec.roles.iter().map(|role| &role.agent));
    let has_rules = effects(&spec.permissions)
        .iter()
        .any(|(_, rules)| !rules.is_empty());
    if has_rules && agents.any(|agent| agent.bypass) {
        let text = "with --bypass nobody is asked, and the rules of [permissions] would not hold";
        return Err(Refusal::new(ErrorCode::Invalid, text)
            .hint("leave out --bypass, or the rules in the team file"));
    }
    Ok(())
}

/// Deny, then ask, then allow, as they are looked at.
pub(crate) fn rules(own: &Permissions, grants: &[Grant]) -> Vec<RuleView> {
    let mut views = Vec::new();
    for (effect, rules) in effects(own) {
        views.extend(rules.iter().map(|rule| RuleView {
            effect: ruling(effect),
            rule: Some(rule.clone()),
            request: None,
            member: None,
        }));
    }
    for grant in grants {
        let view = |rule: Option<&Arc<str>>| RuleView {
            effect: RulingView::Allow,
            rule: rule.map(|rule| rule.to_string()),
            request: Some(grant.request),
            member: grant.member.clone(),
        };
        if grant.rules.is_empty() {
            views.push(view(None));
        }
        views.extend(grant.rules.iter().map(|rule| view(Some(rule))));
    }
    views
}

fn ruling(effect: Effect) -> RulingView {
    match effect {
        Effect::Allow => RulingView::Allow,
        Effect::Ask => RulingView::Ask,
        Effect::Deny => RulingView::Deny,
    }
}

pub(crate) fn judgement(judged: &Decision) -> JudgementView {
    let view = |ruling: Ruling| match ruling {
        Ruling::Allow => RulingView::Allow,
        Ruling::Ask => RulingView::Ask,
        Ruling::Deny => RulingView::Deny,
    };
    let parts = judged.parts.iter().map(|part| PartView {
        what: part.what.to_string(),
        decision: view(part.ruling),
        why: part.why.to_string(),
    });
    JudgementView {
        decision: view(judged.ruling),
        parts: parts.collect(),
    }
}

/// What is wrong with the first of these that is no rule.
pub(crate) fn fault(rules: &[Arc<str>]) -> Option<RuleError> {
    rules
        .iter()
        .find_map(|rule| Rule::parse(rule, Effect::Allow).err())
}

pub(crate) fn scope(scope: Scope) -> request::Scope {
    match scope {
        Scope::Once => request::Scope::Once,
        Scope::Member => request::Scope::Member,
        Scope::Team => request::Scope::Team,
    }
}

pub(crate) fn runnable(run: Runnable) -> RunnableView {
    let redirect = |redirect: agent_team_policy::shell::Redirect| RunnableRedirect {
        fd: redirect.fd,
        to: match redirect.to {
            Target::Read(path) => RunnableTarget::Read(path),
            Target::Write(path) => RunnableTarget::Write(path),
            Target::Append(path) => RunnableTarget::Append(path),
            Target::Fd(fd) => RunnableTarget::Fd(fd),
        },
    };
    let command = |command: agent_team_policy::shell::Command| RunnableCommand {
        argv: command.argv,
        redirects: command.redirects.into_iter().map(redirect).collect(),
    };
    let steps = run.line.steps.into_iter().map(|step| RunnableStep {
        join: match step.join {
            Join::Then => RunnableJoin::Then,
            Join::And => RunnableJoin::And,
            Join::Or => RunnableJoin::Or,
        },
        pipeline: step.pipeline.into_iter().map(command).collect(),
    });
    RunnableView {
        directory: run.directory,
        steps: steps.collect(),
    }
}

/// What the lead is told of a teammate's request as it is now, in one line.
pub(crate) fn news(request: &Request) -> Option<String> {
    let Request { id, member, .. } = request;
    let told = match &request.state {
        RequestState::Pending => {
            let ask = stored(&request.call).ok()?;
            let input: serde_json::Value = serde_json::from_str(ask.arguments.get()).ok()?;
            let (asks, what) = match request.plan {
                Some(plan) => (format!("proposes plan {}", plan.number), &input["text"]),
                None => (
                    format!("asks for permission: {}", ask.tool),
                    &input["command"],
                ),
            };
            let what = match what.as_str() {
                Some(text) => text.to_owned(),
                None => input.to_string(),
            };
            format!("{member} {asks}: {what}")
        }
        RequestState::Allowed { by, .. } => format!("of {member} was allowed by {by}"),
        RequestState::Denied { by, reason } if reason.is_empty() => {
            format!("of {member} was denied by {by}")
        }
        RequestState::Denied { by, reason } => format!("of {member} was denied by {by}: {reason}"),
        RequestState::Begun { .. }
        | RequestState::Ended
        | RequestState::Unknown
        | RequestState::Withdrawn => return None,
    };
    Some(visible_label(&format!("{id} {told}"), NEWS))
}

pub(crate) fn view(
    request: &Request,
    ask: AskRequest,
    why: Vec<String>,
    offers: Vec<Offer>,
) -> RequestView {
    let wire_scope = |scope: request::Scope| match scope {
        request::Scope::Once => Scope::Once,
        request::Scope::Member => Scope::Member,
        request::Scope::Team => Scope::Team,
    };
    let (state, scope, by, reason) = match &request.state {
        RequestState::Pending => (wire::RequestState::Pending, None, None, None),
        RequestState::Allowed { scope, by, .. } => (
            wire::RequestState::Allowed,
            Some(wire_scope(*scope)),
            Some(by.clone()),
            None,
        ),
        RequestState::Begun { .. } => (wire::RequestState::Begun, None, None, None),
        RequestState::Ended => (wire::RequestState::Ended, None, None, None),
        RequestState::Unknown => (wire::RequestState::Lost, None, None, None),
        RequestState::Denied { by, reason } => (
            wire::RequestState::Denied,
            None,
            Some(by.clone()),
            Some(reason.to_string()),
        ),
        RequestState::Withdrawn => (wire::RequestState::Withdrawn, None, None, None),
    };
    RequestView {
        id: request.id,
        member: request.member.clone(),
        tool: ask.tool,
        input: ask.arguments,
        directory: ask.directory,
        plan: request.plan.map(|plan| plan.number),
        state,
        digest: request.digest.to_string(),
        scope,
        decided_by: by,
        reason,
        asked_at: request.asked_at,
        why,
        offers: offers
            .into_iter()
            .map(|offer| OfferView {
                rules: offer.rules,
                covers: offer.covers,
            })
            .collect(),
    }
}
