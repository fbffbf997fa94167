//! The findings of a conversion: agents, faults, notes and the names of the files. Filled by the modules that read the
//! files of the other program.

use std::str::FromStr;

use agent_team_protocol::RoleName;
use agent_team_protocol::id::{NAME_MAX, RESERVED_NAMES};

use super::super::names::slug;
use super::super::role::{Layer, Role, RoleDefinition};
use super::super::source::{Fault, Source};
use super::super::variables;

/// A position in a file of the other program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePosition {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl FilePosition {
    pub(super) fn start_of(file: String) -> Self {
        Self {
            file,
            line: 1,
            column: 1,
        }
    }

    /// The position of a byte offset.
    pub(super) fn at(source: &Source<'_>, at: usize) -> Self {
        let Fault {
            file, line, column, ..
        } = source.warning(at, String::new());
        Self { file, line, column }
    }

    pub(super) fn fault(&self, message: String) -> Fault {
        Fault {
            file: self.file.clone(),
            line: self.line,
            column: self.column,
            message,
            hint: None,
        }
    }
}

/// An agent of the other program as a role.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: RoleName,
    pub(super) role: Role,
    /// The position of the agent's name.
    pub(super) position: FilePosition,
    /// The number of the agent's directory or file, in the order of precedence.
    pub(super) rank: usize,
    /// Whether agent-team reads the role from the agent's file, so that the team file does not contain the role.
    pub(super) in_place: bool,
    pub(super) notes: Vec<Fault>,
}

impl Agent {
    /// Replaces the parts of the texts that a team file would change: variables, and control characters and line breaks
    /// in the description.
    pub(super) fn escape(&mut self) {
        if self.in_place {
            return;
        }
        let prompt = self.escaped(&self.role.agent_keys.prompt.clone());
        self.role.agent_keys.prompt = prompt;
        let words: Vec<_> = self.role.description.split_whitespace().collect();
        let description = words.join(" ").replace(char::is_control, " ");
        self.role.description = self.escaped(&description);
    }

    fn escaped(&mut self, text: &str) -> String {
        let (escaped, names) = variables::escape(text);
        for name in names {
            let message = format!(
                "`{{{{{name}}}}}` is written as `{{ {{{name}}}}}`: double braces mark variables in a team file"
            );
            self.notes.push(self.position.fault(message));
        }
        escaped
    }
}

#[derive(Debug, Default)]
pub(super) struct Found {
    /// The agents in the order of precedence. After [`Found::settle`], each name occurs once.
    pub(super) agents: Vec<Agent>,
    pub(super) notes: Vec<Fault>,
    pub(super) faults: Vec<Fault>,
    /// The files that contain something to convert.
    pub(super) sources: Vec<String>,
    rank: usize,
}

impl Found {
    /// Starts the next directory or file, which has a lower precedence than all earlier ones. Returns its number.
    pub(super) fn next_rank(&mut self) -> usize {
        self.rank += 1;
        self.rank
    }

    pub(super) fn get(&self, name: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.name.as_str() == name)
    }

    /// Adds an agent, unless an agent with a higher precedence has the same name. Two agents with one name in one
    /// directory are a fault.
    pub(super) fn add(&mut self, agent: Agent) {
        let name = agent.name.as_str();
        if RESERVED_NAMES.contains(&name) {
            let fault = agent.position.fault(format!("{name:?} is a reserved name"));
            self.faults.push(Fault {
                hint: Some(format!(
                    "give the agent a name other than {}",
                    RESERVED_NAMES.join(", ")
                )),
                ..fault
            });
            return;
        }
        let Some(first) = self.get(name) else {
            return self.agents.push(agent);
        };
        let FilePosition { file, line, .. } = &first.position;
        if first.rank == agent.rank {
            let message = format!("name {name:?} is already used by the agent in {file}:{line}");
            self.faults.push(agent.position.fault(message));
        } else {
            let message = format!("agent {name} is not imported: {file} defines the same name");
            self.notes.push(agent.position.fault(message));
        }
    }

    /// Determines the agents whose files agent-team itself reads, so that they need no role in the team file. An agent
    /// that a role of the project hides is a fault.
    pub(super) fn settle(&mut self, known: &[RoleDefinition]) {
        for agent in &mut self.agents {
            let same = known.iter().find(|role| role.name == agent.name);
            let Some(same) = same else {
                agent.in_place = false;
                continue;
            };
            agent.in_place &= same.place == agent.position.file;
            match same.from {
                Layer::Project => {
                    let message = format!(
                        "role {} already exists in {}, which is not changed",
                        agent.name, same.place
                    );
                    self.faults.push(Fault {
                        hint: Some(
                            "move one of the two files away, then repeat the command".to_owned(),
                        ),
                        ..agent.position.fault(message)
                    });
                }
                Layer::BuiltIn | Layer::User if !agent.in_place => {
                    let message =
                        format!("role {} replaces the role of {}", agent.name, same.place);
                    agent.notes.push(agent.position.fault(message));
                }
                Layer::TeamFile | Layer::Claude | Layer::Nyzhi | Layer::BuiltIn | Layer::User => {}
            }
        }
    }
}

/// The name of a role or a member made from a name of the other program, and whether it differs. `None`: the text
/// contains no letter from a to z.
pub(super) fn name_of<T: FromStr>(text: &str) -> Option<(T, bool)> {
    if let Ok(name) = text.parse() {
        return Some((name, false));
    }
    let has_letter = text.chars().any(|c| c.is_ascii_alphabetic());
    let slug = slug(text.get(..NAME_MAX * 4).unwrap_or(text));
    let name = has_letter.then(|| slug.as_str().parse().ok()).flatten()?;
    Some((name, true))
}
