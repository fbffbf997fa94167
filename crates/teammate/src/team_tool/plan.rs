//! The plan of who must have one approved before she changes anything: the tool that proposes it, and how it stands.

use std::sync::Arc;

use agent_team_protocol::method::PlanPropose;
use agent_team_protocol::request::{Decided, PROPOSE_PLAN, ProposePlan};
use agent_team_protocol::view::PlanView;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Seat, Shared, changing, refused};
use crate::desk::Desk;
use crate::tool::{Open, Tool, ToolError};

/// How to go on, behind every sentence that says that there is no plan to follow.
const PROPOSE: &str = "Look at what you need to know, then call propose_plan. Until it is approved you may read, search, \
                       talk and use the board, and change nothing.";

/// Offered to those alone who must plan first.
pub(crate) fn plan_tool(desk: &Desk, shared: &Shared) -> Box<dyn Tool> {
    let seat = Arc::new(Seat {
        desk: desk.clone(),
        shared: shared.clone(),
    });
    changing(
        &seat,
        PROPOSE_PLAN,
        "Proposes what you are going to do, and waits until somebody has approved it or sent it back. Before that, and \
         again with every new task, you change nothing. A new plan takes the place of the one before, approved or not.",
        propose,
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// For the person who approves it: what you will change and where, in which order, how you will check it, and what
    /// you leave alone. In Markdown.
    text: String,
}

async fn propose(seat: Arc<Seat>, args: Plan) -> Result<String, ToolError> {
    let propose = ProposePlan { text: args.text };
    let request = seat.call::<PlanPropose>(propose).await?.request;
    let open = Open::new(seat.desk.clone(), request);
    match open.decided().await.map_err(|refusal| refused(&refusal))? {
        Decided::Allowed => Ok(format!(
            "Your plan ({request}) is approved: carry it out. If it turns out to be wrong, propose another one first."
        )),
        Decided::Denied { by, reason } => Err(ToolError::Failed(format!(
            "Your plan ({request}) was sent back by {by}{}. Change it and propose it again.",
            why(&reason)
        ))),
        Decided::Over | Decided::Unknown => Err(ToolError::Failed(format!(
            "Your plan ({request}) is no longer to be decided: something else came first. {PROPOSE}"
        ))),
    }
}

/// What its member's model is told about a plan when it has not just asked.
pub(crate) fn plan_standing(plan: &PlanView) -> String {
    match plan {
        PlanView::Missing { .. } => format!("no plan of yours is approved for this. {PROPOSE}"),
        PlanView::Waiting { number, request } => format!(
            "your plan {number} ({request}) waits for a decision. Call propose_plan with the same words to wait for it."
        ),
        PlanView::SentBack { number, by, reason } => {
            let why = why(reason);
            format!("your plan {number} was sent back by {by}{why}. {PROPOSE}")
        }
        PlanView::Approved { number } => format!("your plan {number} is approved: carry it out."),
        PlanView::Unknown => format!("what became of your plan is not known here. {PROPOSE}"),
    }
}

fn why(reason: &str) -> String {
    match reason.trim() {
        "" => ", without a reason".to_owned(),
        reason => format!(": {reason}"),
    }
}
