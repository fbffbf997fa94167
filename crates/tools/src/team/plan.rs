//! The plan of a member that must plan first: the tool that proposes the plan, and the status of the plan as the model
//! reads it.

use std::sync::Arc;

use agent_team_protocol::method::PlanPropose;
use agent_team_protocol::request::{Decided, PROPOSE_PLAN, ProposePlan};
use agent_team_protocol::view::PlanView;
use schemars::JsonSchema;
use serde::Deserialize;

use super::context::{Shared, TeamContext, changing, refused};
use crate::permission::OpenRequest;
use crate::supervisor_client::SupervisorClient;
use crate::tool::{Tool, ToolError};

/// The next steps of the member. Appended to the texts about a plan that is missing, sent back, withdrawn or replaced.
const PROPOSE: &str = "Read what you need to know, then call propose_plan. Until it is approved you may read, search, send \
                       messages and use the board, but change nothing.";

/// Creates `propose_plan`. It is offered only to members that must plan first.
pub fn plan_tool(client: &SupervisorClient, shared: &Shared) -> Box<dyn Tool> {
    changing(
        &TeamContext::new(client, shared, None),
        PROPOSE_PLAN,
        "Propose a plan and wait until it is approved or sent back. Change nothing before it is approved; every new \
         task needs a new plan. A new plan replaces the previous one, approved or not.",
        propose,
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Proposal {
    /// For the user who approves it: what you will change and where, in which order, how you will check it, and what
    /// you will not change. In Markdown.
    text: String,
}

async fn propose(team_context: Arc<TeamContext>, args: Proposal) -> Result<String, ToolError> {
    let propose = ProposePlan { text: args.text };
    let request = team_context.call::<PlanPropose>(propose).await?.request;
    let open = OpenRequest::new(team_context.client.clone(), request);
    match open.decided().await.map_err(|refusal| refused(&refusal))? {
        Decided::Allowed { .. } => Ok(format!(
            "Your plan ({request}) is approved: carry it out. If it turns out to be wrong, propose a new one before you deviate."
        )),
        Decided::Denied { by, reason } => Err(ToolError::Failed(format!(
            "Your plan ({request}) was sent back by {by}{}. Change it and propose it again.",
            why(&reason)
        ))),
        Decided::Over | Decided::Unknown => Err(ToolError::Failed(format!(
            "Your plan ({request}) can no longer be decided: it was withdrawn or replaced. {PROPOSE}"
        ))),
    }
}

/// The status of a plan, for its member's model.
pub fn plan_status(plan: &PlanView) -> String {
    match plan {
        PlanView::Missing { .. } => format!("you have no approved plan for this. {PROPOSE}"),
        PlanView::Waiting { number, request } => format!(
            "your plan {number} ({request}) is waiting for a decision. Call wait with for: requests."
        ),
        PlanView::SentBack { number, by, reason } => {
            let why = why(reason);
            format!("your plan {number} was sent back by {by}{why}. {PROPOSE}")
        }
        PlanView::Approved { number } => format!("your plan {number} is approved: carry it out."),
        PlanView::Unknown => {
            format!("the state of your plan is unknown to this version. {PROPOSE}")
        }
    }
}

fn why(reason: &str) -> String {
    match reason.trim() {
        "" => ", without a reason".to_owned(),
        reason => format!(": {reason}"),
    }
}
