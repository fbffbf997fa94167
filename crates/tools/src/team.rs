//! The team tools of a member's model, and its system prompt. Called by the native engine.
//!
//! Each tool makes one or a few requests over the member's [`SupervisorClient`]. The supervisor makes all decisions; a
//! refusal is returned as text that the model can act on. A tool that the role does not permit is not offered.
//!
//! Where to look:
//! - the list of tools: [`team_tools`]; all names: [`tool_names`]
//! - members and the end of the run: `members`; tasks: `board`; messages: `messages`, `ask`; shared memory: `memory`
//! - plans that need approval: `plan`, `plan_first`; requests that the lead may allow: `requests`
//! - the context of all team tools and their constructors: `context`
//! - the conditions that end a `wait`: `wait`
//! - state shared by the engine and the tools: [`Claims`], [`Arrivals`], [`Verify`]
//! - the profile of models with a small window: `small_window`
//! - the system prompt, the situation, and the digest after a cut: [`system_prompt`], [`situation`], [`digest`]

mod arrivals;
mod ask;
mod board;
mod claims;
mod context;
mod lines;
mod members;
mod memory;
mod messages;
mod plan;
mod plan_first;
mod requests;
pub mod small_window;
mod step_rules;
mod system_prompt;
mod wait;

use std::sync::Arc;

use agent_team_protocol::{RoleName, TaskId};

use self::context::TeamContext;
use crate::permission::Permission;
use crate::supervisor_client::SupervisorClient;
use crate::tool::Tool;

pub use arrivals::{Arrivals, PendingRequest};
pub use ask::{NAME as ASK, unanswered};
pub use board::ENDS_TASK;
pub use claims::Claims;
pub use context::{Shared, Verify, Verifying};
pub use lines::{ReceivedMessage, message_line, quoted, received_message, without_middle};
pub use members::{FINISH, role_of};
pub use plan::{plan_status, plan_tool};
pub use plan_first::plan_first;
pub use system_prompt::{Briefing, digest, situation, system_prompt};
pub use wait::{IN_NEXT_STEP, NAME as WAIT};

/// Creates the team tools of this member. `may_spawn`: the roles that it may spawn; `None`: every role.
pub fn team_tools(
    client: &SupervisorClient,
    shared: &Shared,
    permission: &Permission,
    may_spawn: Option<&[RoleName]>,
) -> Vec<Box<dyn Tool>> {
    let team_context = TeamContext::new(client, shared, may_spawn);
    let mut tools = Vec::new();
    if client.lead {
        tools.extend(members::tools_of_the_lead(&team_context));
        tools.extend(board::tools_of_the_lead(&team_context, permission));
    }
    tools.extend(messages::tools(&team_context));
    tools.push(members::list(&team_context));
    tools.push(members::answer_shutdown(&team_context));
    tools.extend(board::tools(&team_context));
    tools.extend(memory::tools(&team_context));
    tools.push(ask::tool(&team_context));
    tools.push(wait::tool(&team_context));
    tools
}

/// The names of all team tools, including tools that only some members have.
pub fn tool_names() -> Vec<String> {
    let member = "lead".parse().expect("a valid name");
    let role = "lead".parse().expect("a valid name");
    let (client, _calls) = SupervisorClient::new(member, role, true);
    let shared = Shared {
        claims: Claims::default(),
        arrivals: Arrivals::default(),
        verify: Arc::new(NeverCalled),
    };
    let mut tools = team_tools(&client, &shared, &Permission::Bypass, None);
    tools.extend(request_tools(&client, &shared));
    tools.push(plan_tool(&client, &shared));
    tools.iter().map(|tool| tool.spec().name.clone()).collect()
}

/// The [`Verify`] of tools that are created only for their names.
#[derive(Debug)]
struct NeverCalled;

impl Verify for NeverCalled {
    fn verify<'a>(&'a self, _task: TaskId, _line: &'a str) -> Verifying<'a> {
        Box::pin(async { Err("not available".to_owned()) })
    }
}

/// Additional tools of a lead that the user permits to allow some of the teammates' requests.
pub fn request_tools(client: &SupervisorClient, shared: &Shared) -> [Box<dyn Tool>; 2] {
    requests::tools(&TeamContext::new(client, shared, None))
}
