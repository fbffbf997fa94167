//! The tools with which a lead shows and allows teammates' requests. The tools are offered only if the user permits
//! this. `deny_request` is in `members`.

use std::sync::Arc;

use agent_team_protocol::RequestId;
use agent_team_protocol::method::{RequestDecide, RequestShow};
use agent_team_protocol::request::{DecideRequest, Decision, OneRequest, RequestView, Scope};
use schemars::JsonSchema;
use serde::Deserialize;

use super::context::{TeamContext, changing, reading};
use crate::tool::{Tool, ToolError};

pub(super) fn tools(team_context: &Arc<TeamContext>) -> [Box<dyn Tool>; 2] {
    [
        reading(
            team_context,
            "show_request",
            "Show a teammate's permission request in full.",
            show,
        ),
        changing(
            team_context,
            "allow_request",
            "Allow a teammate's permission request once. You can allow only what the user permits you to: for any \
             other request this call fails, and the request waits for the user. You cannot allow your own requests.",
            allow,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RequestArgs {
    /// The request, such as P-4.
    #[schemars(with = "String")]
    id: RequestId,
}

async fn view(team_context: &TeamContext, request: RequestId) -> Result<RequestView, ToolError> {
    team_context
        .call::<RequestShow>(OneRequest { request })
        .await
}

async fn show(team_context: Arc<TeamContext>, args: RequestArgs) -> Result<String, ToolError> {
    let view = view(&team_context, args.id).await?;
    Ok(format!("{} of {}: {}", args.id, view.member, view.whole()))
}

/// Sends the digest of the request as it is now, so that a request that changed meanwhile is not allowed.
async fn allow(team_context: Arc<TeamContext>, args: RequestArgs) -> Result<String, ToolError> {
    let decide = DecideRequest {
        request: args.id,
        digest: Some(view(&team_context, args.id).await?.digest),
        decision: Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        },
        via: None,
    };
    team_context.call::<RequestDecide>(decide).await?;
    Ok(format!("{} is allowed once.", args.id))
}
