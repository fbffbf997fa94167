//! Permission requests: calls that a member may not make on its own, and the decisions about them.
//!
//! ```text
//!            ┌─ allow ──► Allowed ── begin ──► Begun ── end ────────────► Ended
//! Pending ───┼─ deny ───► Denied                 └── its launch died ───► Unknown
//!            └─ the member stops waiting ──► Withdrawn ◄── Allowed, never begun
//! ```
//! A plan that needs approval is also a request; its state is final as soon as it is decided: see
//! [`crate::team::plan_lock`].
//!
//! Only a decision leads to `Allowed`; a timeout can only deny. The first decision wins. A permission is consumed
//! before the call runs (`Begun`), so a call that a crash interrupted is not run again.
//!
//! The core reads neither calls nor rules: with each decision the driver names the other requests that the decision
//! covers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{LaunchId, MemberName, Party, RequestId, TaskId};
use agent_team_protocol::value::{ProposedPlan, Scope};

use crate::team::member::Next;
use crate::time::Tick;
use crate::timer::Timer;

/// Maximum number of pending requests of one member.
pub(crate) const PENDING_MAX: usize = 64;

/// Finished requests kept in memory. The journal has all of them.
const FINISHED_KEPT: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    pub member: MemberName,
    /// Digest of the call as it was shown. A decision without rules allows only calls with this digest.
    pub digest: Arc<str>,
    /// The call as JSON, which the core never reads.
    pub call: Arc<str>,
    /// Set if the request is a plan and not a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<ProposedPlan>,
    /// Unix time in milliseconds.
    pub asked_at: u64,
    /// When an undecided request is denied. The tick belongs to this boot: no pending request survives a reboot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Tick>,
    pub state: RequestState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    Pending,
    Allowed {
        scope: Scope,
        by: Party,
        /// The request whose grant covers this request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<RequestId>,
    },
    /// The call is running.
    Begun {
        launch: LaunchId,
    },
    Ended,
    /// The call began, and its result is unknown.
    Unknown,
    Denied {
        by: Party,
        reason: Arc<str>,
    },
    /// The member no longer waits for the decision.
    Withdrawn,
}

/// A lasting permission that a decision created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The request that was decided.
    pub request: RequestId,
    /// `None`: all members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberName>,
    /// The grant is valid only while the member works on this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The grant is also stored in the user's settings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always: bool,
    /// Without rules the grant covers exactly the calls with this digest.
    pub digest: Arc<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Arc<str>>,
}

impl Grant {
    /// The grant that a decision about this request creates.
    pub fn of(request: &Request, scope: Scope, task: Option<TaskId>, rules: Vec<Arc<str>>) -> Self {
        Self {
            request: request.id,
            member: match scope {
                Scope::Once | Scope::Task | Scope::Member => Some(request.member.clone()),
                Scope::Team | Scope::Always => None,
            },
            task,
            always: scope == Scope::Always,
            digest: request.digest.clone(),
            rules,
        }
    }

    pub fn is_for(&self, member: &MemberName) -> bool {
        self.member.as_ref().is_none_or(|name| name == member)
    }
}

impl Request {
    pub fn is_pending(&self) -> bool {
        self.state == RequestState::Pending
    }

    /// Whether the request is pending, or allowed and not begun.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_over() && !matches!(self.state, RequestState::Begun { .. })
    }

    /// Whether the request has reached a final state.
    pub(crate) fn is_over(&self) -> bool {
        match self.state {
            RequestState::Allowed { .. } => self.plan.is_some(),
            RequestState::Pending | RequestState::Begun { .. } => false,
            RequestState::Ended
            | RequestState::Unknown
            | RequestState::Denied { .. }
            | RequestState::Withdrawn => true,
        }
    }
}

/// A team's requests and grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    pub(crate) last: u64,
    all: BTreeMap<RequestId, Request>,
    grants: Vec<Grant>,
}

impl Requests {
    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Request> {
        self.all.values()
    }

    pub fn get(&self, id: RequestId) -> Option<&Request> {
        self.all.get(&id)
    }

    pub fn pending(&self) -> impl Iterator<Item = &Request> {
        self.iter().filter(|request| request.is_pending())
    }

    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The member's pending plan.
    pub fn pending_plan(&self, member: &MemberName) -> Option<&Request> {
        self.pending()
            .find(|request| request.plan.is_some() && request.member == *member)
    }

    /// The member's open request for the call with this digest.
    pub(crate) fn open(&self, member: &MemberName, digest: &str) -> Option<&Request> {
        self.iter().find(|request| {
            request.is_open() && request.member == *member && &*request.digest == digest
        })
    }

    /// Whether this launch has begun a call with this digest and not ended it.
    pub(crate) fn is_carried_out(
        &self,
        member: &MemberName,
        launch: &LaunchId,
        digest: &str,
    ) -> bool {
        self.iter().any(|request| {
            request.member == *member
                && &*request.digest == digest
                && matches!(&request.state, RequestState::Begun { launch: by } if by == launch)
        })
    }

    /// Records that the request is allowed. A scope wider than `once` creates a grant, unless the grant of another
    /// request allowed this request.
    pub(crate) fn allow(
        &mut self,
        id: RequestId,
        scope: Scope,
        by: Party,
        through: Option<RequestId>,
        task: Option<TaskId>,
        rules: Vec<Arc<str>>,
    ) {
        if through.is_none()
            && scope != Scope::Once
            && let Some(asked) = self.all.get(&id)
        {
            self.grants.push(Grant::of(asked, scope, task, rules));
        }
        self.set(id, RequestState::Allowed { scope, by, through });
    }

    pub(crate) fn keep_grant(&mut self, grant: Grant) {
        self.grants.push(grant);
    }

    pub(crate) fn revoke(&mut self, id: RequestId) {
        self.grants.retain(|grant| grant.request != id);
    }

    pub(crate) fn end_grants(&mut self) {
        self.grants.clear();
    }

    pub(crate) fn insert(&mut self, request: Request) {
        self.last = self.last.max(request.id.0);
        self.all.insert(request.id, request);
    }

    pub(crate) fn set(&mut self, id: RequestId, state: RequestState) {
        if let Some(request) = self.all.get_mut(&id) {
            request.state = state;
        }
        self.forget_finished();
    }

    /// Drops grants whose task has ended. `works_on` returns a member's current task.
    pub(crate) fn end_with_tasks(&mut self, works_on: impl Fn(&MemberName) -> Option<TaskId>) {
        self.grants
            .retain(|grant| match (&grant.member, grant.task) {
                (Some(member), Some(task)) => works_on(member) == Some(task),
                (None, _) | (_, None) => true,
            });
    }

    /// When each pending request expires.
    pub(crate) fn timers(&self) -> impl Iterator<Item = (Tick, Timer<'_>)> {
        self.pending()
            .filter_map(|request| Some((request.expires_at?, Timer::RequestExpiry(request.id))))
    }

    /// The member's launch ended: calls that it had begun become `Unknown`. If the member continues, its open requests
    /// stay open; otherwise they are withdrawn.
    pub(crate) fn end(&mut self, member: &MemberName, next: &Next) {
        self.mark_unknown(member);
        match next {
            Next::Launch | Next::Cool { .. } => {}
            Next::Hold { .. } | Next::Stop => self.withdraw_all(member),
        }
    }

    fn mark_unknown(&mut self, member: &MemberName) {
        for request in self.all.values_mut() {
            if request.member == *member && matches!(request.state, RequestState::Begun { .. }) {
                request.state = RequestState::Unknown;
            }
        }
        self.forget_finished();
    }

    fn withdraw_all(&mut self, member: &MemberName) {
        for request in self.all.values_mut() {
            if request.is_open() && request.member == *member {
                request.state = RequestState::Withdrawn;
            }
        }
        self.forget_finished();
    }

    fn forget_finished(&mut self) {
        let finished = self.all.values().filter(|request| request.is_over());
        let finished: Vec<RequestId> = finished.map(|request| request.id).collect();
        for id in finished
            .iter()
            .take(finished.len().saturating_sub(FINISHED_KEPT))
        {
            self.all.remove(id);
        }
    }

    /// The member left the team.
    pub(crate) fn forget(&mut self, member: &MemberName) {
        self.withdraw_all(member);
        self.grants
            .retain(|grant| grant.member.as_ref() != Some(member));
    }
}
