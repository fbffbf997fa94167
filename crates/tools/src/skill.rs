//! `skill`: reads the text of a skill, or another file of it. A skill can be outside the project, where `read` refuses
//! files.

use std::fmt::Display;
use std::sync::Arc;

use agent_team_protocol::spec::Skill;
use agent_team_protocol::text::{visible, visible_line};
use agent_team_system::regular_file::read_beginning;
use agent_team_system::skill_files;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::adapter::{Access, Call, tool};
use crate::tool::{Tool, ToolError, off_thread};

/// The name of the tool.
pub const NAME: &str = "skill";

/// The file with the instructions of a skill.
const FILE: &str = "SKILL.md";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A name from the list of skills.
    name: String,
    /// A file of the skill. Default: its instructions.
    file: Option<String>,
}

/// The tool for these skills.
pub fn tool_for(skills: Vec<Skill>) -> Box<dyn Tool> {
    let description = "Read the instructions of a skill, or another of its text files.";
    tool(
        NAME,
        description,
        Access::Reads,
        Arc::<[Skill]>::from(skills),
        run,
    )
}

async fn run(
    skills: &Arc<[Skill]>,
    arguments: Arguments,
    call: Call<'_>,
) -> Result<String, ToolError> {
    let Arguments { name, file } = arguments;
    let Some(skill) = skills.iter().find(|skill| skill.name == name) else {
        let names: Vec<_> = skills.iter().map(|skill| skill.name.as_str()).collect();
        let names = names.join(", ");
        return Err(ToolError::Failed(format!(
            "there is no skill {name}; the skills are: {names}"
        )));
    };
    let file = file.unwrap_or_else(|| FILE.to_owned());
    let max = call.context.output_max as u64;
    let path = skill.directory.join(&file);
    let cannot =
        |why: &dyn Display| ToolError::Failed(format!("cannot read {file} of {name}: {why}"));
    let resolved = off_thread(move || Ok(path.canonicalize())).await?;
    let resolved = resolved.map_err(|error| cannot(&error))?;
    if !resolved.starts_with(&skill.directory) {
        return Err(cannot(&"it is not a file of the skill"));
    }
    if call.context.guard.covers(&resolved) {
        return Err(cannot(&"a rule denies it or asks about it; call read"));
    }
    let checked = skill.clone();
    let checked = off_thread(move || Ok(skill_files::check(&checked))).await?;
    checked.map_err(|changed| cannot(&changed))?;
    let beginning = off_thread(move || Ok(read_beginning(&resolved, max))).await?;
    let beginning = beginning.map_err(|error| cannot(&error))?;
    let text = String::from_utf8_lossy(&beginning.bytes).replace("\r\n", "\n");
    let mut text = visible(&text).into_owned();
    if beginning.is_cut {
        text.push_str(&format!("\n(cut after {max} bytes)"));
    }
    let directory = skill.directory.to_string_lossy();
    let directory = visible_line(&directory);
    Ok(format!("Directory of the skill: {directory}\n{text}"))
}
