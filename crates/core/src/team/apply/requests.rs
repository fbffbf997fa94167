//! Events about permission requests, plans and grants.

use crate::team::Team;
use crate::team::event::{Event, Record};
use crate::team::request::{Request, RequestState};

impl Team {
    /// Requests, the decisions about them, and the plans that they approve.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`apply_event` passes only events of this family"
    )]
    pub(super) fn apply_requests(&mut self, record: &Record) {
        match &record.event {
            Event::RequestAsked {
                request,
                member,
                digest,
                call,
                plan,
                expires_at,
            } => {
                if let (Some(plan), Some(member)) = (plan, self.members.get_mut(member)) {
                    member.lock.propose(*plan);
                }
                self.requests.insert(Request {
                    id: *request,
                    member: member.clone(),
                    digest: digest.clone(),
                    call: call.clone(),
                    plan: *plan,
                    expires_at: *expires_at,
                    asked_at: record.at,
                    state: RequestState::Pending,
                });
            }
            Event::RequestAllowed {
                request,
                scope,
                by,
                rules,
                through,
                task,
                via: _,
            } => {
                if let Some(request) = self.requests.get(*request)
                    && let Some(plan) = request.plan
                    && let Some(member) = self.members.get_mut(&request.member)
                {
                    member.lock.approve(plan);
                }
                let (by, rules) = (by.clone(), rules.clone());
                self.requests
                    .allow(*request, *scope, by, *through, *task, rules);
            }
            Event::RequestDenied {
                request,
                by,
                reason,
                via: _,
            } => {
                let (by, reason) = (by.clone(), reason.clone());
                self.requests
                    .set(*request, RequestState::Denied { by, reason });
            }
            Event::RequestWithdrawn { request } => {
                self.requests.set(*request, RequestState::Withdrawn);
            }
            Event::RequestBegun { request, launch } => {
                let launch = launch.clone();
                self.requests.set(*request, RequestState::Begun { launch });
            }
            Event::RequestEnded { request } => self.requests.set(*request, RequestState::Ended),
            Event::GrantRevoked { request } => self.requests.revoke(*request),
            Event::GrantsEnded {} => self.requests.end_grants(),
            other => debug_assert!(false, "no effect on the state: {other:?}"),
        }
    }
}

impl Team {
    pub(in crate::team) fn request_events(&self) -> impl Iterator<Item = Event> {
        let requests = self.requests.iter();
        let requests = requests.map(|request| Event::RequestKept {
            request: request.clone(),
        });
        let grants = self.requests.grants().iter();
        requests.chain(grants.map(|grant| Event::GrantKept {
            grant: grant.clone(),
        }))
    }
}
