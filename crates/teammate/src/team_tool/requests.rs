//! What a lead may allow of what others ask, where the person lets her. What she may deny is with the other tools of a
//! lead.

use std::sync::Arc;

use agent_team_protocol::RequestId;
use agent_team_protocol::method::{RequestDecide, RequestShow};
use agent_team_protocol::request::{DecideRequest, Decision, OneRequest, RequestView, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Seat, changing, reading};
use crate::tool::{Tool, ToolError};

pub(super) fn tools(seat: &Arc<Seat>) -> [Box<dyn Tool>; 2] {
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
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct One {
    /// The request, such as P-4.
    #[schemars(with = "String")]
    id: RequestId,
}

async fn view(seat: &Seat, request: RequestId) -> Result<RequestView, ToolError> {
    seat.call::<RequestShow>(OneRequest { request }).await
}

async fn show(seat: Arc<Seat>, args: One) -> Result<String, ToolError> {
    let view = view(&seat, args.id).await?;
    Ok(format!("{} of {}: {}", args.id, view.member, view.whole()))
}

/// About what it is now: its digest goes along.
async fn allow(seat: Arc<Seat>, args: One) -> Result<String, ToolError> {
    let decide = DecideRequest {
        request: args.id,
        digest: Some(view(&seat, args.id).await?.digest),
        decision: Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        },
        via: None,
    };
    seat.call::<RequestDecide>(decide).await?;
    Ok(format!("{} is allowed, this once.", args.id))
}
