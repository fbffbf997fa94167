//! What the lead says to the requests of others: yes only where the person lets her, no to any.

use std::sync::Arc;

use agent_team_protocol::RequestId;
use agent_team_protocol::method::{RequestDecide, RequestShow};
use agent_team_protocol::request::{DecideRequest, Decision, OneRequest, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Seat, changing, reading};
use crate::tool::{Tool, ToolError};

pub(super) fn tools(seat: &Arc<Seat>) -> [Box<dyn Tool>; 3] {
    [
        reading(
            seat,
            "show_request",
            "Shows what a teammate asks permission for, whole.",
            show,
        ),
        changing(
            seat,
            "allow_request",
            "Allows, this once, what a teammate asks permission for. Only what the person lets you: anything else is \
             refused and waits for them. What you ask yourself you cannot allow.",
            allow,
        ),
        changing(
            seat,
            "deny_request",
            "Denies what a teammate asks permission for. She is told why.",
            deny,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct One {
    /// Such as P-3.
    #[schemars(with = "String")]
    request: RequestId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Denied {
    /// Such as P-3.
    #[schemars(with = "String")]
    request: RequestId,
    /// What she should do instead.
    reason: String,
}

async fn show(seat: Arc<Seat>, args: One) -> Result<String, ToolError> {
    let request = args.request;
    let view = seat.call::<RequestShow>(OneRequest { request }).await?;
    Ok(format!("{request} of {}: {}", view.member, view.whole()))
}

/// About what it is now: its digest goes along.
async fn allow(seat: Arc<Seat>, args: One) -> Result<String, ToolError> {
    let request = args.request;
    let view = seat.call::<RequestShow>(OneRequest { request }).await?;
    let decision = Decision::Allow {
        scope: Scope::Once,
        rules: Vec::new(),
    };
    decide(&seat, request, Some(view.digest), decision).await?;
    Ok(format!("{request} is allowed, this once."))
}

async fn deny(seat: Arc<Seat>, args: Denied) -> Result<String, ToolError> {
    let decision = Decision::Deny {
        reason: args.reason,
    };
    decide(&seat, args.request, None, decision).await?;
    Ok(format!("{} is denied.", args.request))
}

async fn decide(
    seat: &Seat,
    request: RequestId,
    digest: Option<String>,
    decision: Decision,
) -> Result<(), ToolError> {
    let decide = DecideRequest {
        request,
        digest,
        decision,
        via: None,
    };
    seat.call::<RequestDecide>(decide).await?;
    Ok(())
}
