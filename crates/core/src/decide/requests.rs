//! Permission requests: a member asks; the policy, the member's lock or the user decides. The lead may deny requests of
//! other members, and allow a request that the user delegated to it. An allowed request is carried out at most once.

use std::sync::Arc;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::id::{LaunchId, MemberName, Party, RequestId};
use agent_team_protocol::value::{MessageNote, Mode, ProposedPlan, Scope};

use super::{CallResult, Decider, TEXT_MAX, check_size, party};
use crate::effect::Effect;
use crate::input::{Origin, RequestDecision, Ruling};
use crate::refusal::{PLAN_FIRST, Refused};
use crate::team::answers::Answer;
use crate::team::event::Event;
use crate::team::request::{PENDING_MAX, Request, RequestState};
use crate::team::spec::TeamSpec;

/// Maximum length of a call, in bytes.
pub(super) const CALL_MAX: usize = 256 << 10;

/// Why an expired request is denied.
const NOT_ANSWERED: &str = "not answered in time";

impl Decider<'_> {
    /// Records the call as allowed or denied if the ruling or the member's lock decides it; otherwise adds a pending
    /// request. A repeated call returns its open request.
    pub(super) fn ask(
        &mut self,
        by: &Origin,
        digest: Arc<str>,
        call: Arc<str>,
        changes: bool,
        ruling: Ruling,
    ) -> CallResult {
        let (name, _) = by.member()?;
        check_size("the call", &call, CALL_MAX)?;
        let member = name.clone();
        // A ruling that denies takes precedence over the lock, so that the member receives the reason of the ruling.
        let is_denied = matches!(ruling, Ruling::Deny { .. });
        if changes && !is_denied && self.member(name)?.is_locked() {
            let why = PLAN_FIRST.into();
            self.record(Event::CallDenied {
                member,
                digest,
                call,
                why,
            });
            return Ok(Answer::PlanFirst.into());
        }
        match ruling {
            Ruling::Allow { why } => {
                self.record(Event::CallAllowed {
                    member,
                    digest,
                    call,
                    why,
                });
                return Ok(Answer::CallAllowed.into());
            }
            Ruling::Deny { why } => {
                self.record(Event::CallDenied {
                    member,
                    digest,
                    call,
                    why,
                });
                return Ok(Answer::CallDenied.into());
            }
            Ruling::Ask => {}
        }
        if let Some(open) = self.team.requests.open(name, &digest) {
            let request = open.id;
            return Ok(Answer::Request { request }.into());
        }
        self.check_pending(name)?;
        let request = self.record_asked(member, digest, call, None);
        let show = CommandLine::ShowRequest(request);
        let text = format!("{name} asks for permission: {show}");
        self.announce(request, text);
        Ok(Answer::Request { request }.into())
    }

    /// Notifies the user of a new request.
    pub(super) fn announce(&mut self, request: RequestId, text: String) {
        let note = MessageNote {
            announces: Some(request),
            ..MessageNote::default()
        };
        self.notify_with([Party::User], text, note);
    }

    fn check_pending(&self, name: &MemberName) -> Result<(), Refused> {
        let pending = self.team.requests.pending();
        let waiting = pending.filter(|request| request.member == *name).count();
        if waiting >= PENDING_MAX {
            return Err(Refused::TooManyRequests(waiting));
        }
        Ok(())
    }

    pub(super) fn record_asked(
        &mut self,
        member: MemberName,
        digest: Arc<str>,
        call: Arc<str>,
        plan: Option<ProposedPlan>,
    ) -> RequestId {
        let request = RequestId(self.team.requests.last + 1);
        let expire_ms = self.team.spec.requests_expire_ms;
        let expires_at = expire_ms.map(|ms| self.context.now.after_ms(ms));
        self.record(Event::RequestAsked {
            request,
            member,
            digest,
            call,
            plan,
            expires_at,
        });
        self.inform_lead(request, None);
        request
    }

    /// Informs the lead that the state of a teammate's request changed, unless the lead itself changed it.
    fn inform_lead(&mut self, id: RequestId, by: Option<&Party>) {
        let Some(lead) = self.team.lead().map(|lead| lead.spec.name.clone()) else {
            return;
        };
        let request = self.team.requests.get(id);
        let is_news = request.is_some_and(|request| request.member != lead)
            && by != Some(&Party::Member(lead.clone()));
        if is_news {
            self.effect(Effect::Inform {
                member: lead,
                request: id,
            });
        }
    }

    /// Denies expired requests. A timeout never approves.
    pub(super) fn deny_unanswered(&mut self) {
        let now = self.context.now;
        let due = self.team.requests.pending();
        let due: Vec<(RequestId, MemberName)> = due
            .filter(|request| request.expires_at.is_some_and(|at| at <= now))
            .map(|request| (request.id, request.member.clone()))
            .collect();
        for (request, member) in due {
            self.record(Event::RequestDenied {
                request,
                by: Party::System,
                reason: NOT_ANSWERED.into(),
                via: None,
            });
            self.inform_lead(request, None);
            let text = format!("{request} of {member} is denied: {NOT_ANSWERED}");
            self.notify([Party::User], text);
        }
    }

    /// Records a decision. `covers`: the other pending requests that the grant of this decision allows.
    pub(super) fn decide(
        &mut self,
        by: &Origin,
        id: RequestId,
        decision: RequestDecision,
        covers: &[RequestId],
        via: Option<Arc<str>>,
    ) -> CallResult {
        let request = self.request(id)?;
        match (by, &decision) {
            (Origin::User, _) => {}
            // The lead may allow a request of another member if the user delegated the decision, but only with scope
            // `once` and without rules.
            (
                Origin::Member { name, .. },
                RequestDecision::Allow {
                    scope: Scope::Once,
                    rules,
                    delegated: true,
                },
            ) if rules.is_empty() && self.member(name)?.spec.lead && request.member != *name => {}
            // Without a delegation the lead may only deny, and only requests of other members.
            (Origin::Member { name, .. }, RequestDecision::Deny { .. })
                if self.member(name)?.spec.lead && request.member != *name => {}
            (Origin::Member { .. }, _) => return Err(Refused::NotPermitted("make this decision")),
        }
        if !request.is_pending() {
            return Err(Refused::Decided {
                request: id,
                how: how(request),
            });
        }
        let member = request.member.clone();
        let is_plan = request.plan.is_some();
        let by = party(by);
        match decision {
            RequestDecision::Deny { reason } => {
                check_size("the reason", &reason, TEXT_MAX)?;
                self.record(Event::RequestDenied {
                    request: id,
                    by: by.clone(),
                    reason,
                    via,
                });
            }
            RequestDecision::Allow { scope, rules, .. } => {
                if is_plan && (scope != Scope::Once || !rules.is_empty()) {
                    return Err(Refused::ApprovedOnce);
                }
                if scope == Scope::Once && !rules.is_empty() {
                    return Err(Refused::RulesForOnce);
                }
                if scope == Scope::Always && rules.is_empty() {
                    return Err(Refused::AlwaysWithoutRules);
                }
                let task = self.team.task_of(&member).map(|task| task.id);
                let task = match (scope, task) {
                    (Scope::Task, None) => return Err(Refused::NoTask(member)),
                    (Scope::Task, task) => task,
                    (Scope::Once | Scope::Member | Scope::Team | Scope::Always, _) => None,
                };
                self.record(Event::RequestAllowed {
                    request: id,
                    scope,
                    by: by.clone(),
                    rules,
                    through: None,
                    task,
                    via: via.clone(),
                });
                if scope != Scope::Once {
                    self.settle_covered(id, scope, (&by, via), covers);
                }
            }
        }
        self.inform_lead(id, Some(&by));
        Ok(Answer::Done.into())
    }

    fn settle_covered(
        &mut self,
        granted: RequestId,
        scope: Scope,
        (by, via): (&Party, Option<Arc<str>>),
        covers: &[RequestId],
    ) {
        let member = self
            .team
            .requests
            .get(granted)
            .map(|request| request.member.clone());
        for id in covers {
            let request = self.team.requests.get(*id);
            let Some(request) = request.filter(|it| it.is_pending() && it.plan.is_none()) else {
                continue;
            };
            let is_for_one_member = matches!(scope, Scope::Task | Scope::Member);
            if is_for_one_member && Some(&request.member) != member.as_ref() {
                continue;
            }
            self.record(Event::RequestAllowed {
                request: *id,
                scope,
                by: by.clone(),
                rules: Vec::new(),
                through: Some(granted),
                task: None,
                via: via.clone(),
            });
            self.inform_lead(*id, Some(by));
        }
    }

    /// Uses the permission up before the call runs, so that a call that a crash interrupted is not run again.
    pub(super) fn begin_request(&mut self, by: &Origin, id: RequestId) -> CallResult {
        let (request, launch) = self.own_request(by, id)?;
        if request.plan.is_some() || !matches!(request.state, RequestState::Allowed { .. }) {
            return Err(Refused::NotAllowed {
                request: id,
                how: how(request),
            });
        }
        self.record(Event::RequestBegun {
            request: id,
            launch,
        });
        Ok(Answer::Done.into())
    }

    pub(super) fn end_request(&mut self, by: &Origin, id: RequestId) -> CallResult {
        let (request, launch) = self.own_request(by, id)?;
        if request.state == (RequestState::Begun { launch }) {
            self.record(Event::RequestEnded { request: id });
        }
        Ok(Answer::Done.into())
    }

    pub(super) fn revoke_grant(&mut self, id: RequestId) -> CallResult {
        let mut grants = self.team.requests.grants().iter();
        if !grants.any(|grant| grant.request == id) {
            return Err(Refused::UnknownGrant(id));
        }
        self.record(Event::GrantRevoked { request: id });
        Ok(Answer::Done.into())
    }

    pub(super) fn replace_settings(&mut self, settings: Arc<str>) -> CallResult {
        if self.team.spec.settings != settings {
            let spec = TeamSpec {
                settings,
                ..self.team.spec.clone()
            };
            self.record(Event::TeamPlanned { spec });
        }
        Ok(Answer::Done.into())
    }

    /// Changes the permission mode. The driver has checked that a running team can change to this mode.
    pub(super) fn set_mode(
        &mut self,
        by: &Origin,
        member: Option<MemberName>,
        mode: Mode,
    ) -> CallResult {
        if let Origin::Member { .. } = by {
            return Err(Refused::UserOnly("change the permission mode"));
        }
        if let Some(name) = &member {
            self.member(name)?;
        }
        // The mode of the lead limits the modes of teammates.
        let lead = self.team.lead().map(|lead| lead.spec.name.clone());
        let informed = match &member {
            Some(name) if lead.as_ref() != Some(name) => vec![name.clone()],
            Some(_) | None => self.names(|_| true),
        };
        self.record(Event::ModeChanged { member, mode });
        for member in informed {
            self.effect(Effect::InformOfMode { member });
        }
        Ok(Answer::Done.into())
    }

    /// The member no longer waits for the decision. `allowed_in_agent`: the decision of the user in the agent's own
    /// terminal interface, if there was one.
    pub(super) fn withdraw_request(
        &mut self,
        by: &Origin,
        id: RequestId,
        allowed_in_agent: Option<bool>,
    ) -> CallResult {
        let (request, _) = self.own_request(by, id)?;
        if request.is_open() {
            let was_pending = request.is_pending();
            self.withdraw(id, was_pending, allowed_in_agent);
        }
        Ok(Answer::Done.into())
    }

    /// Withdraws the member's open requests, for example at the end of its turn: the member no longer waits for
    /// decisions, and must not use a permission from that turn later.
    pub(super) fn withdraw_open_requests(&mut self, name: &MemberName) {
        for (request, was_pending) in self.open_requests_of(name) {
            self.withdraw(request, was_pending, None);
        }
    }

    /// Withdraws a request. Informs the lead only if the request was still pending: otherwise the lead was informed
    /// when the request was decided.
    fn withdraw(&mut self, request: RequestId, was_pending: bool, allowed_in_agent: Option<bool>) {
        self.record(Event::RequestWithdrawn {
            request,
            allowed_in_agent,
        });
        if was_pending {
            self.inform_lead(request, None);
        }
    }

    /// Records an event that ends a member's launch or parks the member. The event withdraws the member's open requests
    /// unless the member continues; the lead is informed of those that were pending.
    pub(super) fn record_end(&mut self, name: &MemberName, event: Event) {
        let open = self.open_requests_of(name);
        self.record(event);
        for (id, was_pending) in open {
            let request = self.team.requests.get(id);
            let is_withdrawn = request.is_some_and(|it| it.state == RequestState::Withdrawn);
            if was_pending && is_withdrawn {
                self.inform_lead(id, None);
            }
        }
    }

    /// The member's open requests, each with whether it is still pending.
    fn open_requests_of(&self, name: &MemberName) -> Vec<(RequestId, bool)> {
        let requests = self.team.requests.iter();
        requests
            .filter(|request| request.is_open() && request.member == *name)
            .map(|request| (request.id, request.is_pending()))
            .collect()
    }

    fn request(&self, id: RequestId) -> Result<&Request, Refused> {
        self.team
            .requests
            .get(id)
            .ok_or(Refused::UnknownRequest(id))
    }

    fn own_request(&self, by: &Origin, id: RequestId) -> Result<(&Request, LaunchId), Refused> {
        let (name, launch) = by.member()?;
        let request = self.request(id)?;
        if request.member != *name {
            // Requests of other members are refused like unknown requests: a member must not learn about them.
            return Err(Refused::UnknownRequest(id));
        }
        Ok((request, launch.clone()))
    }
}

/// The state of a request, as text after its id.
fn how(request: &Request) -> String {
    match &request.state {
        RequestState::Pending => "waits for a decision".to_owned(),
        RequestState::Allowed { by, .. } => format!("was allowed by {by}"),
        RequestState::Begun { .. } => "was allowed, and is being carried out".to_owned(),
        RequestState::Ended => "was allowed and carried out".to_owned(),
        RequestState::Unknown => "was allowed; whether it was carried out is unknown".to_owned(),
        RequestState::Denied { by, .. } => format!("was denied by {by}"),
        RequestState::Withdrawn => "was withdrawn: its member no longer waits for it".to_owned(),
    }
}
