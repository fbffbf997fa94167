//! Converts permission requests, rules and decisions between the types of the policy, the core and the wire. Called by
//! the driver.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_team_core::request::{Grant, Request, RequestState};
use agent_team_policy::{
    CallPath, CallPaths, Digest, Judgement, Offer, Rule, RuleBook, RuleContext, RuleError,
    RuleKind, Ruling, Source, ToolCall,
};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::method::TEXT_MAX;
use agent_team_protocol::permissions::Permissions;
use agent_team_protocol::request::{
    self as wire, AskRequest, Containment, OfferView, PROPOSE_PLAN, ProposePlan, RequestView, Scope,
};
use agent_team_protocol::rule::{JudgementView, PartView, RuleView, RulingView};
use agent_team_protocol::spec::{KeptPath, TeamSpec};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::{ErrorCode, Refusal};

use crate::settings::TeamSettings;

/// Maximum width, in columns, of the line that reports a request.
const NOTICE_WIDTH: usize = 240;

/// The inputs that are the same for every judgement. `protected` contains the trusted scripts and the paths that git's
/// configuration names. The home directory is that of the user who runs the supervisor.
pub(crate) fn rule_context(project: &Path, protected: Vec<PathBuf>) -> RuleContext {
    RuleContext {
        project: project.to_owned(),
        protected,
        home: std::env::home_dir().and_then(|home| home.canonicalize().ok()),
    }
}

/// A member's call as the policy judges it.
pub(crate) fn call(ask: &AskRequest) -> Result<ToolCall, Refusal> {
    let arguments = serde_json::from_str(ask.arguments.get())
        .map_err(|error| Refusal::new(ErrorCode::InvalidParams, error.to_string()))?;
    let paths = ask.paths.iter().map(|path| CallPath {
        given: path.given.clone(),
        path: path.path.clone(),
        resolved: path.resolved.clone(),
    });
    Ok(ToolCall {
        tool: ask.tool.clone(),
        arguments,
        directory: CallPath {
            given: ".".to_owned(),
            path: ask.directory.clone(),
            resolved: ask.directory.clone(),
        },
        confined: ask.confined,
        containment: ask.containment,
        environment: Default::default(),
        paths: CallPaths(paths.collect()),
    })
}

/// Converts a plan into a call, so that it is stored, bound to a digest and shown like other requests. Returns the
/// digest and the call as JSON.
pub(crate) fn plan(plan: ProposePlan, project: &Path) -> Result<(Arc<str>, Arc<str>), Refusal> {
    if plan.text.trim().is_empty() {
        return Err(Refusal::new(ErrorCode::Invalid, "the plan is empty"));
    }
    let (bytes, limit) = (plan.text.len(), TEXT_MAX);
    if bytes > limit {
        let text = format!("the plan has {bytes} bytes; the limit is {limit}");
        return Err(Refusal::new(ErrorCode::Invalid, text));
    }
    let arguments = serde_json::value::to_raw_value(&serde_json::json!({ "text": plan.text }))
        .map_err(|error| Refusal::internal(error.to_string()))?;
    let ask = AskRequest {
        tool: PROPOSE_PLAN.to_owned(),
        arguments,
        directory: project.to_owned(),
        confined: false,
        containment: Containment::Unknown,
        paths: Vec::new(),
        hook: None,
    };
    let digest = Digest::of(&call(&ask)?).to_string();
    let ask = serde_json::to_string(&ask).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok((digest.into(), ask.into()))
}

/// Parses a call that the core has stored.
pub(crate) fn stored_call(call: &str) -> Result<AskRequest, Refusal> {
    serde_json::from_str(call).map_err(|error| Refusal::internal(error.to_string()))
}

/// Adds a grant to the rule book.
pub(crate) fn add(book: &mut RuleBook, grant: &Grant) {
    let source = Source::Grant(grant.request.0);
    if grant.rules.is_empty() {
        match grant.digest.parse::<Digest>() {
            Ok(digest) => book.grant(digest, source),
            Err(error) => {
                tracing::error!(request = %grant.request, %error, "ignoring a grant: invalid digest")
            }
        }
    }
    for rule in &grant.rules {
        // An invalid rule, for example one of a newer version, allows nothing.
        if let Err(error) = book.add(RuleKind::Allow, rule, source) {
            tracing::warn!(request = %grant.request, %error, "ignoring a rule of a grant: invalid rule");
        }
    }
}

/// The rules of the team file and of the user's settings.
pub(crate) fn book(settings: &TeamSettings) -> Result<RuleBook, RuleError> {
    let mut book = RuleBook::new();
    add_all(&mut book, &settings.permissions, &settings.own_permissions)?;
    Ok(book)
}

/// Adds all rules of the team file and of the user's settings. Fails at the first invalid rule: without an invalid deny
/// rule, the other rules would allow more.
fn add_all(book: &mut RuleBook, file: &Permissions, own: &[Permissions]) -> Result<(), RuleError> {
    for (source, permissions) in sources(file, own) {
        for (kind, rules) in rules_by_kind(permissions) {
            for rule in rules {
                book.add(kind, rule, source)?;
            }
        }
    }
    Ok(())
}

fn sources<'a>(
    file: &'a Permissions,
    own: &'a [Permissions],
) -> impl Iterator<Item = (Source, &'a Permissions)> {
    let own = own.iter().map(|own| (Source::UserSettings, own));
    own.chain([(Source::TeamFile, file)])
}

fn rules_by_kind(permissions: &Permissions) -> [(RuleKind, &[String]); 3] {
    [
        (RuleKind::Deny, &permissions.deny),
        (RuleKind::Ask, &permissions.ask),
        (RuleKind::Allow, &permissions.allow),
    ]
}

/// `book` with the rules for calls that the user delegated to the lead. Deny and ask rules still take precedence.
pub(crate) fn delegated(book: &RuleBook, settings: &TeamSettings) -> Result<RuleBook, RuleError> {
    let mut book = book.clone();
    for (_, permissions) in sources(&settings.permissions, &settings.own_permissions) {
        for rule in &permissions.approve {
            book.add(RuleKind::Allow, rule, Source::Delegation)?;
        }
    }
    Ok(book)
}

/// Whether the lead may approve plans of other members.
pub(crate) fn lead_approves_plans(delegated: &RuleBook) -> bool {
    let mut entries = delegated.entries().iter();
    entries.any(|entry| entry.source == Source::Delegation && entry.rule.is_about_plans())
}

/// Refuses rules that do not parse. Refuses `--bypass` for a team with deny or ask rules: the flag would disable them.
pub(crate) fn check(spec: &TeamSpec) -> Result<(), Refusal> {
    let sources = || sources(&spec.permissions, &spec.own_permissions);
    for (_, permissions) in sources() {
        let delegated = [(RuleKind::Allow, permissions.approve.as_slice())];
        for (kind, rules) in rules_by_kind(permissions).into_iter().chain(delegated) {
            for rule in rules {
                Rule::parse(rule, kind)
                    .map_err(|error| Refusal::new(ErrorCode::Invalid, error.to_string()))?;
            }
        }
    }
    let of_members = spec.members.iter().map(|member| &member.agent);
    let mut agents = of_members.chain(spec.roles.iter().map(|role| &role.agent));
    let restricting = sources().find(|(_, permissions)| permissions.restricts());
    if let (Some((_, restricting)), true) = (restricting, agents.any(|agent| agent.bypass)) {
        let text = format!(
            "--bypass would disable the deny and ask rules of [permissions] in {}",
            restricting.from
        );
        return Err(Refusal::new(ErrorCode::Invalid, text)
            .hint("omit --bypass, or remove the deny and ask rules"));
    }
    Ok(())
}

/// Derives from the rules the facts that workers need, and stores them in the settings of each agent.
pub(crate) fn inform_agents(spec: &mut TeamSpec) -> Result<(), Refusal> {
    let mut book = RuleBook::new();
    add_all(&mut book, &spec.permissions, &spec.own_permissions)
        .map_err(|error| Refusal::new(ErrorCode::Invalid, error.to_string()))?;
    let project = CallPath {
        given: ".".to_owned(),
        path: spec.project.clone(),
        resolved: spec.project.clone(),
    };
    let search = ToolCall {
        tool: "web_search".to_owned(),
        arguments: serde_json::json!({}),
        directory: project,
        confined: false,
        containment: Containment::Unknown,
        environment: Default::default(),
        paths: CallPaths::default(),
    };
    let context = rule_context(&spec.project, Vec::new());
    let judgement = book.judge(&search, &context, spec.permission_defaults.mode);
    let delegates = sources(&spec.permissions, &spec.own_permissions)
        .any(|(_, permissions)| !permissions.approve.is_empty());
    let guarded: Vec<String> = book
        .entries()
        .iter()
        .filter(|entry| entry.kind != RuleKind::Allow && entry.rule.is_about_reading())
        .map(|entry| entry.rule.to_string())
        .collect();
    let existing = spec.protected.iter().filter(|path| !path.is_absent);
    let existing: Vec<KeptPath> = existing.cloned().collect();
    let members = spec.members.iter_mut().map(|member| &mut member.agent);
    for agent in members.chain(spec.roles.iter_mut().map(|role| &mut role.agent)) {
        agent.provider_may_search = judgement.ruling == Ruling::Allow;
        agent.guarded.clone_from(&guarded);
        agent.kept.clone_from(&existing);
        agent.may_allow = delegates;
    }
    // A joined member may not allow requests, even if the rules delegate requests to the lead.
    let members = spec.members.iter_mut();
    for member in members.filter(|member| member.engine == Engine::Joined) {
        member.agent.may_allow = false;
    }
    Ok(())
}

/// The rules in evaluation order: deny, ask and allow rules, then the rules by which the lead may allow requests.
pub(crate) fn rules(settings: &TeamSettings, grants: &[Grant]) -> Vec<RuleView> {
    let mut views = Vec::new();
    for (source, permissions) in sources(&settings.permissions, &settings.own_permissions) {
        let from = match permissions.from.as_str() {
            "" => source.to_string(),
            from => from.to_owned(),
        };
        let delegated = permissions.approve.as_slice();
        let of_lead = (RulingView::Approve, delegated);
        let all = rules_by_kind(permissions).map(|(kind, rules)| (ruling(kind), rules));
        for (effect, rules) in all.into_iter().chain([of_lead]) {
            views.extend(rules.iter().map(|rule| RuleView {
                effect,
                rule: Some(rule.clone()),
                request: None,
                scope: None,
                member: None,
                from: Some(from.clone()),
            }));
        }
    }
    for grant in grants {
        let view = |rule: Option<&Arc<str>>| RuleView {
            effect: RulingView::Allow,
            rule: rule.map(|rule| rule.to_string()),
            request: Some(grant.request),
            scope: Some(grant_scope(grant)),
            member: grant.member.clone(),
            from: None,
        };
        if grant.rules.is_empty() {
            views.push(view(None));
        }
        views.extend(grant.rules.iter().map(|rule| view(Some(rule))));
    }
    views.sort_by_key(|view| match view.effect {
        RulingView::Deny => 0,
        RulingView::Ask => 1,
        RulingView::Allow => 2,
        RulingView::Approve | RulingView::Unknown => 3,
    });
    views
}

/// The time after which an unanswered request is denied: the user's setting, otherwise the setting of the team file.
pub(crate) fn expiry(spec: &TeamSpec) -> Option<u64> {
    let own = spec.own_permissions.iter().rev();
    own.chain([&spec.permissions])
        .find_map(|permissions| permissions.expire_ms)
}

fn ruling(kind: RuleKind) -> RulingView {
    match kind {
        RuleKind::Allow => RulingView::Allow,
        RuleKind::Ask => RulingView::Ask,
        RuleKind::Deny => RulingView::Deny,
    }
}

pub(crate) fn judgement(judged: &Judgement) -> JudgementView {
    let view = |ruling: Ruling| match ruling {
        Ruling::Allow => RulingView::Allow,
        Ruling::Ask => RulingView::Ask,
        Ruling::Deny => RulingView::Deny,
    };
    let parts = judged.parts.iter().map(|part| PartView {
        what: part.action.to_string(),
        decision: view(part.ruling),
        why: part.why.to_string(),
    });
    JudgementView {
        decision: view(judged.ruling),
        parts: parts.collect(),
    }
}

/// The error of the first invalid rule, if there is one.
pub(crate) fn first_invalid(rules: &[Arc<str>]) -> Option<RuleError> {
    rules
        .iter()
        .find_map(|rule| Rule::parse(rule, RuleKind::Allow).err())
}

fn grant_scope(grant: &Grant) -> Scope {
    match (&grant.member, grant.task) {
        _ if grant.always => Scope::Always,
        (None, _) => Scope::Team,
        (Some(_), Some(_)) => Scope::Task,
        (Some(_), None) => Scope::Member,
    }
}

/// The line that reports the state of a member's request to the lead. `None` once the allowed call has begun.
pub(crate) fn lead_notice(request: &Request) -> Option<String> {
    let Request { id, member, .. } = request;
    let state_text = match &request.state {
        RequestState::Pending => {
            let ask = stored_call(&request.call).ok()?;
            let input: serde_json::Value = serde_json::from_str(ask.arguments.get()).ok()?;
            match request.plan {
                Some(plan) => {
                    let text = input["text"].as_str().unwrap_or_default();
                    format!("{member} proposes plan {}: {text}", plan.number)
                }
                None => format!(
                    "{member} asks for permission: {}",
                    wire::summary(&ask.tool, &input)
                ),
            }
        }
        RequestState::Allowed { by, .. } => format!("of {member} was allowed by {by}"),
        RequestState::Denied { by, reason } if reason.is_empty() => {
            format!("of {member} was denied by {by}")
        }
        RequestState::Denied { by, reason } => format!("of {member} was denied by {by}: {reason}"),
        RequestState::Withdrawn => format!("of {member} was withdrawn"),
        RequestState::Begun { .. } | RequestState::Ended | RequestState::Unknown => return None,
    };
    Some(visible_label(&format!("{id} {state_text}"), NOTICE_WIDTH))
}

/// The policy's remarks for the user about a request. Empty for a plan.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    pub(crate) why: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) offers: Vec<Offer>,
}

pub(crate) fn view(
    request: &Request,
    ask: AskRequest,
    remarks: Remarks,
    default_scope: Scope,
) -> RequestView {
    let (state, scope, by, reason) = match &request.state {
        RequestState::Pending => (wire::RequestState::Pending, None, None, None),
        RequestState::Allowed { scope, by, .. } => (
            wire::RequestState::Allowed,
            Some(*scope),
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
        why: remarks.why,
        warnings: remarks.warnings,
        offers: remarks
            .offers
            .into_iter()
            .map(|offer| OfferView {
                rules: offer.rules,
                covers: offer.covers,
            })
            .collect(),
        default_scope,
    }
}
