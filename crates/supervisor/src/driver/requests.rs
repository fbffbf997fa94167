//! Calls about permission requests and rules: judged by `permissions`, then passed to the core or answered. Called by
//! the driver.

use agent_team_core::{CallKey, Origin, Refused};
use agent_team_protocol::method::Nothing;
use agent_team_protocol::request::{AskRequest, DecideRequest, ListRequests, ProposePlan};
use agent_team_protocol::rule::CheckRules;
use agent_team_protocol::{MemberName, RequestId};

use super::Driver;
use super::permissions::{Permissions, unknown_request};
use super::replies::ReplyShape;
use super::waiters::Condition;
use crate::convert;
use crate::outbox::Reply;

impl Driver {
    pub(super) fn permissions(&self) -> Permissions<'_> {
        Permissions {
            team: &self.team,
            settings: &self.settings,
            project: &self.identity.project,
        }
    }

    pub(super) fn ask_permission(
        &mut self,
        by: Origin,
        key: Option<CallKey>,
        reply: Reply,
        ask: &AskRequest,
    ) {
        let Origin::Member { name, .. } = &by else {
            return reply.refuse(convert::refusal(&Refused::MemberOnly));
        };
        match self.permissions().ask(name, ask) {
            Ok((call, shape)) => self.call(by, key, reply, shape, call),
            Err(refusal) => reply.refuse(refusal),
        }
    }

    pub(super) fn propose_plan(
        &mut self,
        by: Origin,
        key: Option<CallKey>,
        reply: Reply,
        plan: ProposePlan,
    ) {
        match self.permissions().propose(plan) {
            Ok(call) => self.call(by, key, reply, ReplyShape::Plan, call),
            Err(refusal) => reply.refuse(refusal),
        }
    }

    pub(super) fn decide(
        &mut self,
        by: Origin,
        key: Option<CallKey>,
        reply: Reply,
        decide: DecideRequest,
    ) {
        match self.permissions().decide(&by, decide) {
            Ok(call) => self.call(by, key, reply, ReplyShape::Plain, call),
            Err(refusal) => reply.refuse(refusal),
        }
    }

    pub(super) fn forget_rule(
        &mut self,
        by: Origin,
        key: Option<CallKey>,
        reply: Reply,
        rule: &str,
    ) {
        match self.permissions().forget_rule(rule) {
            Ok(Some(call)) => self.call(by, key, reply, ReplyShape::Plain, call),
            Ok(None) => reply.ok(&Nothing {}),
            Err(refusal) => reply.refuse(refusal),
        }
    }

    pub(crate) fn list_rules(&self, reply: Reply) {
        reply.send(self.permissions().rules());
    }

    pub(crate) fn check_rules(&self, reply: Reply, check: &CheckRules) {
        reply.send(self.permissions().check(check));
    }

    pub(crate) fn wait_for_request(&mut self, reply: Reply, by: &Origin, id: RequestId) {
        match (by, self.permissions().find(id)) {
            (Origin::Member { name, .. }, Ok(request)) if request.member == *name => {
                self.waiters.wait(Condition::Request(id), reply);
            }
            (Origin::Member { .. } | Origin::User, _) => reply.refuse(unknown_request(id)),
        }
    }

    pub(crate) fn list_requests(&self, reply: Reply, list: &ListRequests) {
        reply.send(self.permissions().list(list));
    }

    pub(crate) fn show_request(&self, reply: Reply, id: RequestId) {
        reply.send(self.permissions().show(id));
    }

    /// Sends the lead the state of a teammate's request.
    pub(super) fn inform(&mut self, lead: &MemberName, request: RequestId) {
        if let Some(inform) = self.permissions().inform(request) {
            self.notify(lead, &inform);
        }
    }

    /// Reports pending requests to a lead that connects: its last connection may have ended before they were
    /// reported.
    pub(super) fn inform_of_pending(&mut self, name: &MemberName) {
        for request in self.permissions().pending_for(name) {
            self.inform(name, request);
        }
    }
}
