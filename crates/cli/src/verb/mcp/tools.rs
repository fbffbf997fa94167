//! The tools of `mcp` that need no team, and their arguments.

use std::sync::Arc;

use agent_team_protocol::joined::JoinedTool;
use agent_team_protocol::{RoleName, TeamName};
use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const LIST: &str = "list_teams";
pub(super) const CREATE: &str = "create_team";
pub(super) const JOIN: &str = "join_team";
pub(super) const DELETE: &str = "delete_team";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTeam {
    pub(super) name: Option<TeamName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinTeam {
    pub(super) team: Option<String>,
    pub(super) name: Option<String>,
    pub(super) role: Option<RoleName>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteTeam {
    pub(super) team: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoArguments {}

/// The tools of a session that has not joined a team.
pub(super) fn unjoined() -> Vec<Tool> {
    vec![list(), create(), join(), delete()]
}

/// The tools of a session that has joined a team.
pub(super) fn joined(team_tools: &[JoinedTool]) -> Vec<Tool> {
    let team_tools = team_tools.iter().map(|offered| {
        tool(
            &offered.name,
            &offered.description,
            serde_json::from_str(offered.input.get()).unwrap_or_default(),
            offered.reads,
        )
    });
    team_tools.chain([list(), delete()]).collect()
}

fn list() -> Tool {
    tool(
        LIST,
        "List the teams of the user on this machine.",
        object(json!({}), &[]),
        true,
    )
}

fn create() -> Tool {
    tool(
        CREATE,
        "Create a team in this directory and lead it: you add members, tasks and messages with the tools that you \
         receive. The user is asked first. Only for a directory without a team file.",
        object(
            json!({"name": {"type": "string", "description": "Default: the name of the directory."}}),
            &[],
        ),
        false,
    )
}

fn join() -> Tool {
    tool(
        JOIN,
        "Join a team that is up, and receive its tools: board, messages, wait, ask, memory. You become a new member, or \
         the member with this name if an earlier chat session had it.",
        object(
            json!({
                "team": {"type": "string", "description": "A name or id of list_teams. Default: the team of this directory."},
                "name": {"type": "string", "description": "Your name in the team; `lead` if the team waits for a chat session to lead it. Default: chosen by the team."},
                "role": {"type": "string", "description": "The role of a new member. Default: worker."},
            }),
            &[],
        ),
        false,
    )
}

fn delete() -> Tool {
    let mut delete = tool(
        DELETE,
        "Stop a team and delete it with its board and history. The user is asked first.",
        object(
            json!({"team": {"type": "string", "description": "A name or id of list_teams."}}),
            &["team"],
        ),
        false,
    );
    delete.annotations = Some(ToolAnnotations::new().destructive(true).open_world(false));
    delete
}

fn object(properties: Value, required: &[&str]) -> JsonObject {
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    schema.as_object().cloned().unwrap_or_default()
}

fn tool(name: &str, description: &str, input: JsonObject, reads: bool) -> Tool {
    let mut tool = Tool::new(name.to_owned(), description.to_owned(), Arc::new(input));
    // Agents ask about each call of a tool if its annotations permit destructive effects or an open world.
    tool.annotations = Some(
        ToolAnnotations::new()
            .read_only(reads)
            .destructive(false)
            .open_world(false),
    );
    // Claude Code loads other tools only after a search.
    let mut meta = MetaObject::default();
    meta.0
        .insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
    tool.meta = Some(meta);
    tool
}
