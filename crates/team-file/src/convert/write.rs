//! Writes the text of the team file. Called when all agents and members are converted.

use agent_team_protocol::spec::{AgentSpec, Limits, with_parts};
use agent_team_protocol::text::{is_deceptive, visible_line};

use super::found::{Agent, Found};
use super::origin::OtherProgram;
use super::team::{Team, TeamMember};

/// The text of the team file.
pub(super) fn text(program: OtherProgram, team: &Team, found: &Found, notes: &[String]) -> String {
    let mut text = format!(
        "# Imported from {} by `agent-team init --from {}`.\n\
         # Check it, then start the team: agent-team up \"the goal\"\n",
        program.title(),
        program.name()
    );
    comments(&mut text, "Files:", &found.sources);
    comments(&mut text, "Changed, or not imported:", notes);
    text.push('\n');
    if let Some(name) = &team.name {
        text.push_str(&format!("name = {}\n", line(name.as_str())));
    }
    text.push_str("mode = \"lead\"\n\n[defaults]\nengine = \"native\"\n");
    if let Some(model) = &team.model {
        text.push_str(&format!("model = {}\n", line(model)));
    }
    if let Some(steps) = team.max_steps {
        text.push_str(&format!("max_steps = {steps}\n"));
    }
    let count = team.members.len();
    if count > Limits::default().teammates as usize {
        text.push_str(&format!("\n[limits]\nteammates = {count}\n"));
    }
    if let Some(lead) = &team.lead {
        text.push_str("\n[lead]\n");
        member(&mut text, lead);
    }
    for one in &team.members {
        text.push_str("\n[[member]]\n");
        member(&mut text, one);
    }
    for agent in found.agents.iter().filter(|agent| !agent.in_place) {
        role(&mut text, agent);
    }
    text
}

/// Whether the role that was read back has the texts and the rights of the agent.
pub(super) fn is_same(agent: &Agent, read: &AgentSpec) -> bool {
    let keys = &agent.role.agent_keys;
    let mut denied = keys.deny_tools.clone();
    denied.sort();
    denied.dedup();
    read.description == agent.role.description
        && read.prompt == keys.prompt
        && read.tools == keys.tools.as_deref().map(with_parts)
        && read.deny_tools == with_parts(&denied)
}

fn comments(text: &mut String, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("#\n# {heading}\n"));
    for line in lines {
        text.push_str(&format!("# - {}\n", visible_line(line)));
    }
}

fn member(text: &mut String, member: &TeamMember) {
    let TeamMember {
        name,
        role,
        model,
        prompt,
        colour,
        cwd,
        must_plan,
        tools,
    } = member;
    text.push_str(&format!("name = {}\n", line(name.as_str())));
    if let Some(role) = role {
        text.push_str(&format!("role = {}\n", line(role.as_str())));
    }
    if let Some(model) = model {
        text.push_str(&format!("model = {}\n", line(model)));
    }
    if let Some(colour) = colour {
        text.push_str(&format!("colour = {}\n", line(colour.name())));
    }
    if let Some(cwd) = cwd {
        text.push_str(&format!("cwd = {}\n", line(cwd)));
    }
    if *must_plan {
        text.push_str("plan = \"required\"\n");
    }
    if let Some(tools) = tools {
        text.push_str(&format!("tools = {}\n", list(tools)));
    }
    if !prompt.is_empty() {
        text.push_str(&format!("prompt = {}\n", lines(prompt)));
    }
}

fn role(text: &mut String, agent: &Agent) {
    let role = &agent.role;
    let keys = &role.agent_keys;
    let file = visible_line(&agent.position.file);
    text.push_str(&format!("\n# From {file}\n[roles.{}]\n", agent.name));
    text.push_str("engine = \"native\"\n");
    if !role.description.is_empty() {
        text.push_str(&format!("description = {}\n", line(&role.description)));
    }
    if let Some(model) = &keys.model {
        text.push_str(&format!("model = {}\n", line(model)));
    }
    if let Some(effort) = keys.effort {
        text.push_str(&format!("effort = {}\n", line(effort.name())));
    }
    if let Some(steps) = keys.max_steps {
        text.push_str(&format!("max_steps = {steps}\n"));
    }
    if let Some(colour) = role.colour {
        text.push_str(&format!("colour = {}\n", line(colour.name())));
    }
    if let Some(tools) = &keys.tools {
        text.push_str(&format!("tools = {}\n", list(tools)));
    }
    if !keys.deny_tools.is_empty() {
        text.push_str(&format!("deny_tools = {}\n", list(&keys.deny_tools)));
    }
    if !keys.prompt.is_empty() {
        text.push_str(&format!("prompt = {}\n", lines(&keys.prompt)));
    }
}

fn list(items: &[String]) -> String {
    let items: Vec<_> = items.iter().map(|item| line(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string of TOML.
fn line(text: &str) -> String {
    format!("\"{}\"", escaped(text, false))
}

/// A multi-line basic string of TOML, or a basic string for a text of one line.
fn lines(text: &str) -> String {
    match text.contains('\n') {
        true => format!("\"\"\"\n{}\"\"\"", escaped(text, true)),
        false => line(text),
    }
}

/// Escapes a text for a basic string. In a multi-line string, newlines, tabs and single quotation marks are unchanged,
/// except a quotation mark at the end. Characters that can mislead the reader of the file are written as escapes.
fn escaped(text: &str, is_multiline: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' if is_multiline
                && !escaped.ends_with('"')
                && characters.peek().is_some_and(|next| *next != '"') =>
            {
                escaped.push('"');
            }
            '"' => escaped.push_str("\\\""),
            '\n' | '\t' if is_multiline => escaped.push(c),
            c if is_deceptive(c) => escaped.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_is_read_back_as_it_was_written(text in "(?s)[\"\\\\\n\r\t\u{7f}\u{0}a{é😀 ]{0,40}|(?s).{0,40}") {
            for written in [line(&text), lines(&text)] {
                let document: toml::Table = format!("a = {written}\n").parse().unwrap();
                prop_assert_eq!(document["a"].as_str(), Some(text.as_str()), "{}", written);
            }
        }
    }
}
