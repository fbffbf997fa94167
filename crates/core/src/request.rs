//! Permission requests: what a member wants to do and may not by itself, and what somebody decided about it.
//!
//! ```text
//!            ┌─ allow ──► Allowed ── begin ──► Begun ── end ────────────► Ended
//! Pending ───┼─ deny ───► Denied                 └── its launch died ───► Unknown
//!            └─ nobody waits any more ──► Withdrawn ◄── Allowed, never begun
//! ```
//! A plan that a member must have approved is a request, too, and over as soon as it is decided: see [`crate::lock`].
//!
//! Only a decision leads to `Allowed`: there is no timer, no default and no other way. Time alone may deny. The first decision wins. What was
//! allowed is used up before it is carried out, so that after a crash in between nobody does it a second time.
//!
//! What a call is and which calls a grant covers is not known in here: both come with the decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{LaunchId, MemberName, Party, RequestId, TaskId};

use crate::event::{Event, Record};
use crate::lock::Proposed;
use crate::member::Next;
use crate::time::Tick;

/// Requests of one member that may wait at once.
pub(crate) const PENDING_MAX: usize = 64;

/// Finished requests that are remembered; all of them are in the journal.
const FINISHED_KEPT: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: RequestId,
    pub member: MemberName,
    /// Of the call, as it was shown: what is allowed is this and nothing else.
    pub digest: Arc<str>,
    /// JSON, which the core never looks into.
    pub call: Arc<str>,
    /// It is no call but a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Proposed>,
    /// Unix time in milliseconds.
    pub asked_at: u64,
    /// When it is denied unless somebody has decided it. Of this boot of the machine: none outlives it undecided.
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
        /// The request whose grant covers it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        through: Option<RequestId>,
    },
    /// It is being carried out.
    Begun {
        launch: LaunchId,
    },
    Ended,
    /// It was begun, and nobody knows how far it came.
    Unknown,
    Denied {
        by: Party,
        reason: Arc<str>,
    },
    /// Nobody waits for it any more.
    Withdrawn,
}

/// How far a decision reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Once,
    /// Every such call of this member, as long as it works on the task that it has.
    Task,
    /// Every such call of this member, until the team goes down.
    Member,
    /// Of everybody.
    Team,
    /// The same, and the person's settings keep it for the next time.
    Always,
}

/// What a decision lets pass from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Whose decision it came from.
    pub request: RequestId,
    /// `None`: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberName>,
    /// Only as long as the member works on this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The person's settings keep it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub always: bool,
    /// Without rules, exactly the calls of this digest.
    pub digest: Arc<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Arc<str>>,
}

impl Grant {
    /// What a decision about this request lets pass.
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

    /// It may yet be decided, or carried out.
    pub(crate) fn is_open(&self) -> bool {
        !self.is_over() && !matches!(self.state, RequestState::Begun { .. })
    }

    /// Nothing changes about it any more.
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

    /// The plan of hers that nobody has decided yet.
    pub fn pending_plan(&self, member: &MemberName) -> Option<&Request> {
        self.pending()
            .find(|request| request.plan.is_some() && request.member == *member)
    }

    /// What the member asked before with the same call, as long as it may still be carried out.
    pub(crate) fn open(&self, member: &MemberName, digest: &str) -> Option<&Request> {
        self.iter().find(|request| {
            request.is_open() && request.member == *member && &*request.digest == digest
        })
    }

    /// Whether this launch has begun such a call and not ended it.
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

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the team hands over what is about requests"
    )]
    pub(crate) fn apply(&mut self, record: &Record) {
        match record.event.clone() {
            Event::RequestAsked {
                request,
                member,
                digest,
                call,
                plan,
                expires_at,
            } => self.insert(Request {
                id: request,
                member,
                digest,
                call,
                plan,
                expires_at,
                asked_at: record.at,
                state: RequestState::Pending,
            }),
            Event::RequestAllowed {
                request,
                scope,
                by,
                rules,
                through,
                task,
                via: _,
            } => {
                if through.is_none()
                    && scope != Scope::Once
                    && let Some(asked) = self.all.get(&request)
                {
                    self.grants.push(Grant::of(asked, scope, task, rules));
                }
                let allowed = RequestState::Allowed { scope, by, through };
                self.set(request, allowed);
            }
            Event::RequestDenied {
                request,
                by,
                reason,
                via: _,
            } => self.set(request, RequestState::Denied { by, reason }),
            Event::RequestWithdrawn { request } => self.set(request, RequestState::Withdrawn),
            Event::RequestBegun { request, launch } => {
                self.set(request, RequestState::Begun { launch });
            }
            Event::RequestEnded { request } => self.set(request, RequestState::Ended),
            Event::GrantRevoked { request } => {
                self.grants.retain(|grant| grant.request != request);
            }
            Event::GrantsEnded {} => self.grants.clear(),
            Event::RequestKept { request } => self.insert(request),
            Event::GrantKept { grant } => self.grants.push(grant),
            _ => {}
        }
    }

    fn insert(&mut self, request: Request) {
        self.last = self.last.max(request.id.0);
        self.all.insert(request.id, request);
    }

    fn set(&mut self, id: RequestId, state: RequestState) {
        if let Some(request) = self.all.get_mut(&id) {
            request.state = state;
        }
        self.forget_finished();
    }

    /// What was granted for a task ends with it. `works_on`: the task that a member has.
    pub(crate) fn end_with_tasks(&mut self, works_on: impl Fn(&MemberName) -> Option<TaskId>) {
        self.grants
            .retain(|grant| match (&grant.member, grant.task) {
                (Some(member), Some(task)) => works_on(member) == Some(task),
                (None, _) | (_, None) => true,
            });
    }

    /// When the next one is denied by time alone.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        self.pending()
            .filter_map(|request| request.expires_at)
            .min()
    }

    /// What she had begun is lost with her launch. Who goes on may ask again, and has what was decided meanwhile.
    pub(crate) fn end(&mut self, member: &MemberName, next: &Next) {
        self.lose(member);
        match next {
            Next::Launch | Next::Cool { .. } => {}
            Next::Hold { .. } | Next::Stop => self.withdraw_all(member),
        }
    }

    /// What a member had begun, nobody can tell of any more.
    fn lose(&mut self, member: &MemberName) {
        for request in self.all.values_mut() {
            if request.member == *member && matches!(request.state, RequestState::Begun { .. }) {
                request.state = RequestState::Unknown;
            }
        }
        self.forget_finished();
    }

    /// A member that does not go on waits for nothing.
    fn withdraw_all(&mut self, member: &MemberName) {
        for request in self.all.values_mut() {
            if request.is_open() && request.member == *member {
                request.state = RequestState::Withdrawn;
            }
        }
        self.forget_finished();
    }

    fn forget_finished(&mut self) {
        let over = self.all.values().filter(|request| request.is_over());
        let over: Vec<RequestId> = over.map(|request| request.id).collect();
        for id in over.iter().take(over.len().saturating_sub(FINISHED_KEPT)) {
            self.all.remove(id);
        }
    }

    /// She left the team.
    pub(crate) fn forget(&mut self, member: &MemberName) {
        self.withdraw_all(member);
        self.grants
            .retain(|grant| grant.member.as_ref() != Some(member));
    }
}
