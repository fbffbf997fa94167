//! Converts the agents and teams of Claude Code, Qwen Code, nyzhi and Codex into the text of a team file. Called for
//! `init --from`.
//!
//! - `files`: finds and reads the files of the other program
//! - `found`: the agents that were found, and the changes and losses of the conversion
//! - `origin`: the program, and the paths of its files
//! - `markdown`: agent files with front matter
//! - `tables`: agents in TOML files
//! - `team`: the team configurations in JSON
//! - `write`: the text of the team file
//!
//! The formats are those of Claude Code 2.1, Qwen Code 0.24, nyzhi 3.0 and Codex 0.158. The conversion writes no file.
//! An imported agent never has more rights than in the other program.

mod files;
mod found;
mod markdown;
mod origin;
mod tables;
mod team;
mod write;

use std::path::PathBuf;

use agent_team_protocol::spec::{Limits, TeamSpec};

use super::agent::Reader;
use super::open::FILE_MAX;
use super::role::{Layer, RoleDefinition};
use super::source::Fault;
use files::Files;
use found::{Agent, FilePosition, Found};
use team::{Team, TeamMember};

pub use origin::{Origin, OtherProgram};

/// A converted team.
#[derive(Debug)]
pub struct Converted {
    /// The text of the team file.
    pub text: String,
    pub members: Vec<String>,
    /// The roles that the text contains.
    pub roles: Vec<String>,
    /// The files that were converted, and the files whose roles agent-team reads directly.
    pub sources: Vec<String>,
    /// The changes and omissions of the conversion, each with its position if it has a position.
    pub notes: Vec<String>,
    agents: Vec<Agent>,
}

impl Converted {
    /// A fault for each written agent whose role is missing or different when the text is read back.
    pub(super) fn differences(&self, spec: &TeamSpec) -> Vec<Fault> {
        let written = self.agents.iter().filter(|agent| !agent.in_place);
        let differs = |agent: &&Agent| {
            let read = spec.roles.iter().find(|role| role.name == agent.name);
            !read.is_some_and(|read| write::is_same(agent, &read.agent))
        };
        let fault = |agent: &Agent| {
            let message = format!("role {} cannot be written without a change", agent.name);
            agent.position.fault(message)
        };
        written.filter(differs).map(fault).collect()
    }
}

/// Converts the files of the other program. `known` are the roles that the project has without the conversion.
pub(super) fn convert(
    origin: &Origin<'_>,
    known: &[RoleDefinition],
    reader: Reader<'_>,
) -> Result<Converted, Vec<Fault>> {
    let files = Files::new(origin.project, origin.home);
    let mut found = Found::default();
    find_agents(origin, &files, reader, &mut found);
    let team = match origin.teams() {
        Some(directory) => {
            let teams = team::find(&directory, origin.team, &files, &mut found);
            team::choose(teams, origin, &directory, &files, &mut found)
        }
        None => None,
    };
    found.settle(known);
    if !found.faults.is_empty() {
        return Err(found.faults);
    }
    if found.agents.is_empty() && team.is_none() {
        return Err(vec![nothing(origin, &files)]);
    }
    found.agents.iter_mut().for_each(Agent::escape);
    for agent in &mut found.agents {
        agent.notes.sort_by_key(|note| (note.line, note.column));
        found.notes.extend(agent.notes.iter().cloned());
    }
    let team = match team {
        Some(team) => team::convert(team, origin, &mut found, known),
        None => each_agent(&mut found),
    };
    if !found.faults.is_empty() {
        return Err(found.faults);
    }
    let mut notes: Vec<_> = found.notes.iter().map(ToString::to_string).collect();
    notes.extend(mailboxes(origin, &files));
    let text = write::text(origin.program, &team, &found, &notes);
    if text.len() as u64 > FILE_MAX {
        let position = FilePosition::start_of(found.sources.first().cloned().unwrap_or_default());
        let message = "the team file would be larger than 1 MiB: move some agents away first";
        return Err(vec![position.fault(message.to_owned())]);
    }
    let in_text = found.agents.iter().filter(|agent| !agent.in_place);
    Ok(Converted {
        text,
        members: names(team.members.iter().map(|member| member.name.as_str())),
        roles: names(in_text.map(|agent| agent.name.as_str())),
        sources: found.sources,
        notes,
        agents: found.agents,
    })
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

/// Reads the agents of project and user, in the order of precedence of the other program.
fn find_agents(origin: &Origin<'_>, files: &Files<'_>, reader: Reader<'_>, found: &mut Found) {
    let (project, user) = (origin.project, origin.user());
    let own = project.join(origin.program.directory());
    // If the project is the home directory, both have the same directory.
    let user = (user != own).then_some(user);
    match origin.program {
        OtherProgram::Claude => {
            let of_project = markdown::Directory {
                path: own.join("agents"),
                deep: true,
                layer: Some(Layer::Claude),
            };
            markdown::read(&of_project, files, reader, found);
        }
        OtherProgram::Qwen => {
            markdown::read(&plain(own.join("agents")), files, reader, found);
        }
        OtherProgram::Nyzhi => {
            for (directory, layer) in [(".nyzhi", Layer::Nyzhi), (".claude", Layer::Claude)] {
                let directory = markdown::Directory {
                    path: project.join(directory).join("agents"),
                    deep: false,
                    layer: Some(layer),
                };
                markdown::read(&directory, files, reader, found);
            }
            tables::nyzhi(&own.join("config.toml"), files, found);
            let of_user = origin.home.join(".config/nyzhi/config.toml");
            tables::nyzhi(&of_user, files, found);
            return;
        }
        OtherProgram::Codex => {
            let directories: Vec<_> = [Some(own), user].into_iter().flatten().collect();
            tables::codex(&directories, files, found);
            return;
        }
    }
    if let Some(user) = user {
        let directory = markdown::Directory {
            deep: origin.program == OtherProgram::Claude,
            ..plain(user.join("agents"))
        };
        markdown::read(&directory, files, reader, found);
    }
}

fn plain(path: PathBuf) -> markdown::Directory {
    markdown::Directory {
        path,
        deep: false,
        layer: None,
    }
}

/// A member for each agent, unless there are more agents than a team has teammates by default.
fn each_agent(found: &mut Found) -> Team {
    let most = Limits::default().teammates as usize;
    let count = found.agents.len();
    if count > most {
        let message = format!(
            "{count} agents are roles without members, because a team starts at most {most} teammates by default: \
             let the lead spawn members in these roles, or add members to the file"
        );
        let position = found.agents[0].position.clone();
        found.notes.push(position.fault(message));
        return Team::default();
    }
    let member = |agent: &Agent| TeamMember::of_role(&agent.name);
    Team {
        members: found.agents.iter().map(member).collect(),
        ..Team::default()
    }
}

fn nothing(origin: &Origin<'_>, files: &Files<'_>) -> Fault {
    let directory = origin.program.directory();
    let position = FilePosition::start_of(files.shown(&origin.project.join(directory)));
    let title = origin.program.title();
    let user = files.shown(&origin.user());
    Fault {
        hint: Some(
            "run the command in the project's directory, or use a template: agent-team init".into(),
        ),
        ..position.fault(format!(
            "there is no agent or team of {title} to import, neither here nor in {user}"
        ))
    }
}

/// States that mailboxes are not imported.
fn mailboxes(origin: &Origin<'_>, files: &Files<'_>) -> Option<String> {
    let directory = files.shown(&origin.teams()?);
    Some(format!(
        "the mailboxes and tasks in {directory} are not imported, and no message is exchanged with them"
    ))
}
