//! Permissions of one team: judges calls by rules, grants and modes, and finds the requests that a decision covers.
//! [`Permissions`] changes nothing: the driver passes the results to the core, which keeps the requests.

use std::path::Path;

use agent_team_core::input::{self, RequestDecision, TaskLine};
use agent_team_core::request::{self, Grant};
use agent_team_core::{Call, Origin, Team};
use agent_team_policy::{Action, Judgement, PartAction, Reason, RuleBook, RuleContext, Ruling};
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::hook::HookDecision;
use agent_team_protocol::method::SetMode;
use agent_team_protocol::notification::RequestNotice;
use agent_team_protocol::permissions::{Mode, PermissionDefaults};
use agent_team_protocol::request::{
    AskRequest, DecideRequest, Decision, ListRequests, Permission, ProposePlan, RequestListAnswer,
    RequestView, Scope,
};
use agent_team_protocol::rule::{CheckRules, JudgementView, RuleListAnswer};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, RequestId};
use agent_team_system::planted::{self, Plant};

use super::replies::ReplyShape;
use super::views::mode_of;
use crate::parsed_settings::{ParsedSettings, TeamRules};
use crate::view;
use crate::{convert, permission};

/// Maximum characters of a command in the reasons of a request.
const COMMAND_CHARACTERS: usize = 80;

/// The inputs of a judgement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permissions<'a> {
    pub(super) team: &'a Team,
    pub(super) settings: &'a ParsedSettings,
    pub(super) project: &'a Path,
}

impl Permissions<'_> {
    /// Judges a member's call. The core records a call that is allowed or denied, and turns any other call into a
    /// request.
    pub(super) fn ask(
        &self,
        name: &MemberName,
        ask: &AskRequest,
    ) -> Result<(Call, ReplyShape), Refusal> {
        let call = permission::call(ask)?;
        let judgement = self.judge_with_hook(name, &call, ask.hook.as_ref());
        let why = judgement.to_string();
        let (ruling, shape) = match judgement.ruling {
            Ruling::Allow => {
                let run = judgement.run;
                let why = why.into();
                let shape = ReplyShape::Permit(Permission::Allowed { run });
                (input::Ruling::Allow { why }, shape)
            }
            Ruling::Deny => {
                let shape = ReplyShape::Permit(Permission::Denied { why: why.clone() });
                (input::Ruling::Deny { why: why.into() }, shape)
            }
            Ruling::Ask if planted::strikes(Plant::UnaskedRun, 1) => {
                let shape = ReplyShape::Permit(Permission::Allowed { run: None });
                (input::Ruling::Allow { why: why.into() }, shape)
            }
            Ruling::Ask => (input::Ruling::Ask, ReplyShape::Plain),
        };
        let call = Call::Ask {
            digest: agent_team_policy::Digest::of(&call).to_string().into(),
            call: serde_json::to_string(ask)
                .expect("a call has a JSON form")
                .into(),
            changes: !matches!(call.action(), Action::Read(_) | Action::Own),
            ruling,
        };
        Ok((call, shape))
    }

    /// Adds the rules' verdict on each shell line that a member writes into a task.
    pub(super) fn judge_task_lines(&self, name: &MemberName, call: &mut Call) {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only these two write shell lines"
        )]
        let (written, lines) = match call {
            Call::AddTask { spec, lines, .. } => ([spec.run.as_ref(), spec.verify.as_ref()], lines),
            Call::UpdateTask { changes, lines, .. } => {
                let written = [&changes.run, &changes.verify];
                (written.map(|line| line.as_ref()?.as_ref()), lines)
            }
            _ => return,
        };
        let written = written.into_iter().flatten();
        // A line that cannot be judged is not allowed: it gets no entry.
        *lines = written
            .filter_map(|line| {
                let ask = AskRequest::for_task_line(line, self.project.to_owned());
                let call = permission::call(&ask).ok()?;
                Some(TaskLine {
                    line: line.clone(),
                    digest: agent_team_policy::Digest::of(&call).to_string().into(),
                    allowed: self.judge(Some(name), &call, None).ruling == Ruling::Allow,
                })
            })
            .collect();
    }

    /// A plan is always a request: the rules do not decide it.
    pub(super) fn propose(&self, plan: ProposePlan) -> Result<Call, Refusal> {
        let (digest, call) = permission::plan(plan, self.project)?;
        Ok(Call::Propose { digest, call })
    }

    pub(super) fn decide(&self, by: &Origin, decide: DecideRequest) -> Result<Call, Refusal> {
        let request = decide.request;
        // `via` names the user interface of a decision; a member's decision has none.
        let via = decide.via.filter(|_| matches!(by, Origin::User));
        let (decision, covers) = self.decision(by, decide)?;
        Ok(Call::Decide {
            request,
            decision,
            covers,
            via: via.map(|via| via.name().into()),
        })
    }

    /// Converts a decision for the core, and finds the other pending requests that it covers.
    fn decision(
        &self,
        by: &Origin,
        decide: DecideRequest,
    ) -> Result<(RequestDecision, Vec<RequestId>), Refusal> {
        let request = self.find(decide.request)?;
        if decide
            .digest
            .is_some_and(|digest| *digest != *request.digest)
        {
            let text = format!(
                "{} has changed since it was shown: review it again",
                request.id
            );
            return Err(Refusal::new(ErrorCode::WrongState, text));
        }
        let (scope, rules) = match decide.decision {
            Decision::Allow { scope, rules } => (scope, rules),
            Decision::Deny { reason } => {
                let reason = reason.into();
                return Ok((RequestDecision::Deny { reason }, Vec::new()));
            }
            Decision::Unknown => {
                let reason = "the decision is unknown to this version".into();
                return Ok((RequestDecision::Deny { reason }, Vec::new()));
            }
        };
        let rules = rules.into_iter().map(Into::into).collect();
        let delegated = match by {
            Origin::User => false,
            Origin::Member { .. } => self.check_delegated(request)?,
        };
        if request.plan.is_some() {
            let decision = RequestDecision::Allow {
                scope,
                rules,
                delegated,
            };
            return Ok((decision, Vec::new()));
        }
        let grant = Grant::of(request, scope, None, rules);
        self.check_covers(request, &grant)?;
        let others = self
            .team
            .requests()
            .pending()
            .filter(|other| other.id != request.id && other.plan.is_none())
            .filter(|other| grant.is_for(&other.member));
        let covered = others.filter(|other| {
            // If a hook requires a decision about the call, rules cannot cover it.
            let by_rules = |ask: &AskRequest| !matches!(ask.hook, Some(HookDecision::Ask { .. }));
            let ask = permission::stored_call(&other.call).ok().filter(by_rules);
            ask.and_then(|ask| permission::call(&ask).ok())
                .is_some_and(|call| {
                    let judgement = self.judge_by_rules(&other.member, &call, &grant);
                    judgement.ruling == Ruling::Allow
                })
        });
        let covers = covered.map(|other| other.id).collect();
        let rules = grant.rules;
        let decision = RequestDecision::Allow {
            scope,
            rules,
            delegated,
        };
        Ok((decision, covers))
    }

    /// The notification that reports the state of a teammate's request to the lead. A request that the lead may allow
    /// also wakes an idle lead.
    pub(super) fn inform(&self, request: RequestId) -> Option<RequestNotice> {
        let request = self.team.requests().get(request)?;
        let text = permission::lead_notice(request)?;
        let (id, pending) = (request.id, request.is_pending());
        let may_allow = pending && self.check_delegated(request).is_ok();
        Some(RequestNotice {
            text,
            request: Some(id),
            pending,
            decide: may_allow.then_some(id),
            mode: None,
        })
    }

    /// The notification of the permission mode, for a member of the engine `native`. `None`: the member has another
    /// engine, or the settings of the team or of the member are missing or invalid.
    pub(super) fn mode_notice(&self, member: &MemberName) -> Option<RequestNotice> {
        let rules = self.settings.rules().ok()??;
        let settings = self.settings.member(member).ok()?;
        if settings.engine != Engine::Native {
            return None;
        }
        let mode = self.mode_of(member, rules);
        Some(RequestNotice {
            text: format!("your permission mode is now {mode}: {}", mode.for_model()),
            request: None,
            pending: false,
            decide: None,
            mode: Some(mode),
        })
    }

    /// The pending requests that are reported to this member: for the lead, the requests of all other members; for a
    /// teammate, none.
    pub(super) fn pending_for(&self, name: &MemberName) -> Vec<RequestId> {
        if self.team.lead().is_none_or(|lead| lead.spec.name != *name) {
            return Vec::new();
        }
        let pending = self.team.requests().pending();
        let others = pending.filter(|request| request.member != *name);
        others.map(|request| request.id).collect()
    }

    /// Returns true if the lead may allow this request. Otherwise, returns a refusal, never false.
    fn check_delegated(&self, request: &request::Request) -> Result<bool, Refusal> {
        let is_delegated = match request.plan {
            _ if self.is_led_by_chat() => false,
            Some(_) => {
                let rules = self.settings.rules().ok().flatten();
                rules.is_some_and(|rules| permission::lead_approves_plans(&rules.delegated))
            }
            None => {
                let call = permission::call(&permission::stored_call(&request.call)?)?;
                self.is_delegated(&request.member, &call)
            }
        };
        if is_delegated {
            return Ok(true);
        }
        if self.is_led_by_chat() {
            let text = format!(
                "the lead may not allow {}: a lead in a chat session allows no requests",
                request.id
            );
            return Err(Refusal::new(ErrorCode::NotPermitted, text).hint("leave it to the user"));
        }
        let text = format!("the lead may not allow {}: it is not delegated", request.id);
        Err(Refusal::new(ErrorCode::NotPermitted, text).hint(
            "leave it to the user, who can delegate such requests with `approve` in the rules",
        ))
    }

    /// Whether the user delegated approval of this call to the lead. Never true for the lead's own calls.
    fn is_delegated(&self, member: &MemberName, call: &agent_team_policy::ToolCall) -> bool {
        let lead = self.team.lead().map(|lead| &lead.spec.name);
        if lead.is_none_or(|lead| lead == member) || self.is_led_by_chat() {
            return false;
        }
        let Ok(Some(rules)) = self.settings.rules() else {
            return false;
        };
        // A mode wider than `Default` delegates nothing: only rules delegate.
        let mode = self.mode_of(member, rules).min(Mode::Default);
        let decision = rules.delegated.judge(call, &self.rule_context(), mode);
        decision.ruling == Ruling::Allow
    }

    /// Whether the lead is a joined member. Such a lead may not allow requests, even if the rules delegate them.
    fn is_led_by_chat(&self) -> bool {
        let lead = self.team.lead();
        let settings = lead.and_then(|lead| self.settings.member(&lead.spec.name).ok());
        settings.is_some_and(|settings| settings.engine == Engine::Joined)
    }

    /// The fixed inputs of every judgement: project and protected paths.
    fn rule_context(&self) -> RuleContext {
        let protected = self.settings.team().map(|team| team.protected.iter());
        let protected = protected.into_iter().flatten();
        let paths = protected.map(|protected| protected.path.clone()).collect();
        permission::rule_context(self.project, paths)
    }

    /// The change that removes a rule from the team's copy of the `allow` lists in the user's settings. `None`: the
    /// team was never brought up.
    pub(super) fn forget_rule(&self, rule: &str) -> Result<Option<Call>, Refusal> {
        let rules = self.settings.rules();
        let Some(rules) = rules.map_err(|unreadable| unreadable.refusal())? else {
            return Ok(None);
        };
        let mut settings = rules.settings.clone();
        for own in &mut settings.own_permissions {
            own.allow.retain(|allowed| allowed != rule);
        }
        let settings = crate::settings::to_json(&settings);
        Ok(Some(Call::ReplaceSettings { settings }))
    }

    fn mode_of(&self, member: &MemberName, rules: &TeamRules) -> Mode {
        mode_of(self.team, member, rules.settings.permission_defaults.mode)
    }

    pub(super) fn set_mode(&self, set: SetMode) -> Result<Call, Refusal> {
        let SetMode { member, mode } = set;
        let wrong = |text: String, hint: &str| {
            Err(Refusal::new(ErrorCode::WrongState, text).hint(hint.to_owned()))
        };
        let rules = self.settings.rules();
        let rules = rules.map_err(|unreadable| unreadable.refusal())?;
        let up = format!("{} --mode {mode}", CommandLine::Up);
        let Some(rules) = rules.filter(|_| !self.team.is_down()) else {
            return wrong("cannot change the mode: the team is down".to_owned(), &up);
        };
        if mode == Mode::Bypass {
            let text = "cannot choose mode bypass while the team runs: only agents that start in this mode bypass \
                        permissions and the sandbox";
            return wrong(text.to_owned(), &up);
        }
        if rules.settings.permission_defaults.mode == Mode::Bypass {
            let text = format!(
                "cannot choose mode {mode} while the team runs in mode bypass: its agents do not ask for decisions"
            );
            return wrong(text, &up);
        }
        Ok(Call::SetMode { member, mode })
    }

    /// Refuses rules that do not cover the request. Otherwise the user would believe that the rules cover it.
    fn check_covers(&self, request: &request::Request, grant: &Grant) -> Result<(), Refusal> {
        if grant.rules.is_empty() {
            return Ok(());
        }
        if let Some(error) = permission::first_invalid(&grant.rules) {
            return Err(Refusal::new(ErrorCode::Invalid, error.to_string()));
        }
        let call = permission::call(&permission::stored_call(&request.call)?)?;
        let judgement = self.judge_by_rules(&request.member, &call, grant);
        if judgement.ruling == Ruling::Allow {
            return Ok(());
        }
        let rules: Vec<&str> = grant.rules.iter().map(|rule| &**rule).collect();
        let text = format!("{} does not cover {}", rules.join(", "), request.id);
        Err(Refusal::new(ErrorCode::NotCovered, text).hint(format!(
            "with these rules the decision would be: {judgement}"
        )))
    }

    pub(super) fn rules(&self) -> Result<RuleListAnswer, Refusal> {
        let rules = match self.settings.rules() {
            Ok(Some(rules)) => permission::rules(&rules.settings, self.team.requests().grants()),
            Ok(None) => Vec::new(),
            Err(unreadable) => return Err(unreadable.refusal()),
        };
        let mode = self
            .settings
            .team()
            .map(|settings| settings.permission_defaults.mode);
        Ok(RuleListAnswer {
            rules,
            reading_commands: agent_team_policy::reading_commands(),
            mode: mode.map(|mode| self.team.spec().modes.of_team(mode)),
        })
    }

    pub(super) fn check(&self, check: &CheckRules) -> Result<JudgementView, Refusal> {
        let call = permission::call(&check.call)?;
        let judgement = self.judge(check.member.as_ref(), &call, None);
        Ok(permission::judgement(&judgement))
    }

    /// Judges a pending call as if this grant applied. A mode that is wider than `Default` does not count: the rules
    /// must cover the call.
    fn judge_by_rules(
        &self,
        member: &MemberName,
        call: &agent_team_policy::ToolCall,
        grant: &Grant,
    ) -> Judgement {
        self.judge_within(Mode::Default, Some(member), call, Some(grant), None)
    }

    /// Judges a call by the rules, the mode, the grants and optionally one more grant. Without a member, only the mode
    /// of the team and grants to the whole team count.
    fn judge(
        &self,
        member: Option<&MemberName>,
        call: &agent_team_policy::ToolCall,
        extra_grant: Option<&Grant>,
    ) -> Judgement {
        self.judge_within(Mode::Bypass, member, call, extra_grant, None)
    }

    /// Judges a call like [`Self::judge`], and takes the decision of the member's hooks into account.
    fn judge_with_hook(
        &self,
        member: &MemberName,
        call: &agent_team_policy::ToolCall,
        hook: Option<&HookDecision>,
    ) -> Judgement {
        self.judge_within(Mode::Bypass, Some(member), call, None, hook)
    }

    /// `widest`: the widest mode that counts.
    fn judge_within(
        &self,
        widest: Mode,
        member: Option<&MemberName>,
        call: &agent_team_policy::ToolCall,
        extra_grant: Option<&Grant>,
        hook: Option<&HookDecision>,
    ) -> Judgement {
        let (mut book, defaults) = match self.settings.rules() {
            Ok(Some(rules)) => (rules.book.clone(), rules.settings.permission_defaults),
            Ok(None) => (RuleBook::new(), PermissionDefaults::default()),
            Err(_) => {
                return Judgement::denied(call, "the settings of the team cannot be read");
            }
        };
        let grants = self.team.requests().grants().iter().chain(extra_grant);
        for grant in grants.filter(|grant| is_for(grant, member)) {
            permission::add(&mut book, grant);
        }
        let mode = match member {
            Some(member) => mode_of(self.team, member, defaults.mode),
            None => self.team.spec().modes.of_team(defaults.mode),
        };
        let mode = mode.min(widest);
        let mut judgement = book.judge(call, &self.rule_context(), mode);
        if let Some(hook) = hook {
            judgement = judgement.with_hook(hook);
            if mode == Mode::DontAsk {
                judgement = judgement.without_asking(&Reason::Mode(mode));
            }
        }
        let lead_may = || member.is_some_and(|member| self.is_delegated(member, call));
        match defaults.unattended && judgement.ruling == Ruling::Ask && !lead_may() {
            true => judgement.without_asking(&Reason::BuiltIn("unattended: no user to ask")),
            false => judgement,
        }
    }

    /// Whether no user can answer, because the team was started without a terminal.
    pub(super) fn is_unattended(&self) -> bool {
        let rules = self.settings.rules().ok().flatten();
        rules.is_some_and(|rules| rules.settings.permission_defaults.unattended)
    }

    pub(super) fn find(&self, id: RequestId) -> Result<&request::Request, Refusal> {
        let request = self.team.requests().get(id);
        request.ok_or_else(|| unknown_request(id))
    }

    pub(super) fn list(&self, list: &ListRequests) -> Result<RequestListAnswer, Refusal> {
        let requests = self.team.requests().iter();
        let shown = requests.filter(|request| list.all || request.is_pending());
        let requests: Result<_, _> = shown.map(|request| self.view(request)).collect();
        let mut questions: Vec<_> = self
            .team
            .user_questions()
            .map(view::question_to_user)
            .collect();
        questions.sort_by_key(|question| question.id);
        Ok(RequestListAnswer {
            requests: requests?,
            questions,
        })
    }

    pub(super) fn show(&self, id: RequestId) -> Result<RequestView, Refusal> {
        self.view(self.find(id)?)
    }

    fn view(&self, request: &request::Request) -> Result<RequestView, Refusal> {
        let ask = permission::stored_call(&request.call)?;
        if request.plan.is_some() {
            let judged = permission::Remarks::default();
            return Ok(permission::view(request, ask, judged, Scope::Once));
        }
        let call = permission::call(&ask)?;
        let judgement = self.judge_with_hook(&request.member, &call, ask.hook.as_ref());
        let asking = judgement.parts.iter();
        let asking = asking.filter(|part| part.ruling != Ruling::Allow);
        let why = asking.map(|part| {
            let mut what = part.action.to_string();
            if matches!(part.action, PartAction::Text(_)) {
                // The request itself shows the full text.
                what = visible_label(&what, COMMAND_CHARACTERS);
            }
            format!("{what}: {}", part.why)
        });
        let context = self.rule_context();
        let judged = permission::Remarks {
            why: why.collect(),
            warnings: agent_team_policy::warnings(&call, &context),
            offers: agent_team_policy::offers(&call, &context),
        };
        let settings = self.settings.team();
        let scope = settings.map(|settings| settings.permission_defaults.default_scope);
        let scope = scope.unwrap_or_default();
        let scope = match scope {
            Scope::Task if self.team.task_of(&request.member).is_none() => Scope::Once,
            Scope::Once | Scope::Task | Scope::Member | Scope::Team | Scope::Always => scope,
        };
        Ok(permission::view(request, ask, judged, scope))
    }
}

fn is_for(grant: &Grant, member: Option<&MemberName>) -> bool {
    match member {
        Some(member) => grant.is_for(member),
        None => grant.member.is_none(),
    }
}

pub(super) fn unknown_request(id: RequestId) -> Refusal {
    convert::refusal(&agent_team_core::Refused::UnknownRequest(id))
}

#[cfg(test)]
mod tests;
