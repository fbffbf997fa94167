//! Tools of a member that must plan first: what changes something waits until a plan of hers is approved. Put around
//! the tools when they are made.
//!
//! Whether that is so the supervisor says, each time anew: nothing that was remembered here could be out of date.

use agent_team_policy::Action;
use agent_team_protocol::method::{MemberShow, OneMember};
use agent_team_protocol::view::PlanView;
use serde_json::Value;

use super::{Bench, Running, Tool, ToolError};
use crate::desk::Desk;
use crate::model::ToolSpec;
use crate::team_tool::plan_standing;

#[derive(Debug)]
struct PlanFirst {
    tool: Box<dyn Tool>,
    desk: Desk,
}

/// The same tools, of which those that change something are held back.
pub(crate) fn plan_first(tools: Vec<Box<dyn Tool>>, desk: &Desk) -> Vec<Box<dyn Tool>> {
    let around = |tool| -> Box<dyn Tool> {
        Box::new(PlanFirst {
            tool,
            desk: desk.clone(),
        })
    };
    tools.into_iter().map(around).collect()
}

impl PlanFirst {
    async fn check(&self) -> Result<(), ToolError> {
        let one = OneMember {
            member: self.desk.member.clone(),
        };
        let shown = self.desk.call::<MemberShow>(&one).await;
        let shown = shown.map_err(|refusal| ToolError::Failed(refusal.message))?;
        match shown.member.plan {
            Some(PlanView::Approved { .. }) => Ok(()),
            Some(plan) => Err(held_back(&plan_standing(&plan))),
            // Not the supervisor that this member was started by.
            None => Err(held_back("the supervisor does not know of your plans")),
        }
    }
}

fn held_back(why: &str) -> ToolError {
    ToolError::Failed(format!("Not carried out: {why}"))
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
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
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
            self.tool.run(input, bench, shown).await
        })
    }
}
