//! Events about permission requests, plans and grants.

use crate::team::Team;
use crate::team::event::{Event, Record, RequestEvent};
use crate::team::request::{Request, RequestState};

impl Team {
    pub(super) fn apply_requests(&mut self, event: RequestEvent<'_>, record: &Record) {
        let asking = match &event {
            RequestEvent::RequestAllowed { request, .. }
            | RequestEvent::RequestDenied { request, .. }
            | RequestEvent::RequestWithdrawn { request, .. } => {
                let decided = self.requests.get(**request);
                decided.map(|request| request.member.clone())
            }
            RequestEvent::RequestAsked { member, .. } => Some((*member).clone()),
            RequestEvent::RequestBegun { .. }
            | RequestEvent::RequestEnded { .. }
            | RequestEvent::GrantRevoked { .. }
            | RequestEvent::GrantsEnded {} => None,
        };
        self.apply_request(event, record);
        if let Some(member) = asking {
            self.update_clocks(&member, record.tick);
        }
    }

    fn apply_request(&mut self, event: RequestEvent<'_>, record: &Record) {
        match event {
            RequestEvent::RequestAsked {
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
            RequestEvent::RequestAllowed {
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
            RequestEvent::RequestDenied {
                request,
                by,
                reason,
                via: _,
            } => {
                let (by, reason) = (by.clone(), reason.clone());
                self.requests
                    .set(*request, RequestState::Denied { by, reason });
            }
            RequestEvent::RequestWithdrawn { request, .. } => {
                self.requests.set(*request, RequestState::Withdrawn);
            }
            RequestEvent::RequestBegun { request, launch } => {
                let launch = launch.clone();
                self.requests.set(*request, RequestState::Begun { launch });
            }
            RequestEvent::RequestEnded { request } => {
                self.requests.set(*request, RequestState::Ended)
            }
            RequestEvent::GrantRevoked { request } => self.requests.revoke(*request),
            RequestEvent::GrantsEnded {} => self.requests.end_grants(),
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
