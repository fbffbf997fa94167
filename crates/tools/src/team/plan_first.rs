//! Wraps the tools of a member that must plan first: calls that change something are refused until its plan is
//! approved.
//!
//! Each such call asks the supervisor for the plan's state, because a stored copy could be outdated.

use agent_team_llm::ToolSpec;
use agent_team_policy::Action;
use agent_team_protocol::method::{MemberShow, OneMember};
use agent_team_protocol::view::PlanView;
use serde_json::Value;

use super::plan::plan_status;
use crate::context::ToolContext;
use crate::supervisor_client::SupervisorClient;
use crate::tool::{Tool, ToolError, ToolFuture};

#[derive(Debug)]
struct PlanFirst {
    tool: Box<dyn Tool>,
    client: SupervisorClient,
}

/// Wraps all these tools. Calls that only read, or that affect only the member's own state, pass without a plan.
pub fn plan_first(tools: Vec<Box<dyn Tool>>, client: &SupervisorClient) -> Vec<Box<dyn Tool>> {
    let wrap = |tool| -> Box<dyn Tool> {
        Box::new(PlanFirst {
            tool,
            client: client.clone(),
        })
    };
    tools.into_iter().map(wrap).collect()
}

impl PlanFirst {
    async fn check(&self) -> Result<(), ToolError> {
        let one = OneMember {
            member: self.client.member.clone(),
        };
        let shown = self.client.call::<MemberShow>(&one).await;
        let shown = shown.map_err(|refusal| ToolError::Failed(refusal.message))?;
        match shown.member.plan {
            Some(PlanView::Approved { .. }) => Ok(()),
            Some(plan) => Err(held_back(&plan_status(&plan))),
            // The supervisor has another version than this worker.
            None => Err(held_back("the supervisor reports no plan state for you")),
        }
    }
}

fn held_back(why: &str) -> ToolError {
    ToolError::Failed(format!("Not executed: {why}"))
}

impl Tool for PlanFirst {
    fn spec(&self) -> &ToolSpec {
        self.tool.spec()
    }

    fn reads_only(&self) -> bool {
        self.tool.reads_only()
    }

    fn run<'a>(
        &'a self,
        input: Value,
        context: &'a ToolContext,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> ToolFuture<'a> {
        Box::pin(async move {
            match Action::of(&self.spec().name, &input) {
                Action::Read(_) | Action::Own => {}
                Action::Run(_)
                | Action::Edit(_)
                | Action::Fetch(_)
                | Action::Search
                | Action::Mcp(_)
                | Action::Unknown => self.check().await?,
            }
            self.tool.run(input, context, progress).await
        })
    }
}
