//! Reads the team configurations of Claude Code, Qwen Code and nyzhi, `teams/<name>/config.json`, and converts the
//! members of one of them. Does not read the inboxes and tasks in the same directory.

use std::collections::BTreeMap;
use std::path::Path;

use agent_team_protocol::id::RESERVED_NAMES;
use agent_team_protocol::spec::{Colour, reading_tools};
use agent_team_protocol::{MemberName, RoleName, TeamName};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::role::{Layer, RoleDefinition, import};
use super::super::source::{Fault, Source};
use super::super::table::At;
use super::super::variables;
use super::files::Files;
use super::found::{FilePosition, Found, name_of};
use super::origin::{Origin, OtherProgram};

/// The members of the team file.
#[derive(Debug, Default)]
pub(super) struct Team {
    pub(super) name: Option<TeamName>,
    pub(super) lead: Option<TeamMember>,
    pub(super) members: Vec<TeamMember>,
    pub(super) model: Option<String>,
    pub(super) max_steps: Option<u32>,
}

#[derive(Debug)]
pub(super) struct TeamMember {
    pub(super) name: MemberName,
    /// `None`: the lead's default role.
    pub(super) role: Option<RoleName>,
    pub(super) model: Option<String>,
    pub(super) prompt: String,
    pub(super) colour: Option<Colour>,
    /// The working directory, relative to the project.
    pub(super) cwd: Option<String>,
    pub(super) must_plan: bool,
    pub(super) tools: Option<Vec<String>>,
}

impl TeamMember {
    /// A member with the name of its role.
    pub(super) fn of_role(role: &RoleName) -> Self {
        let name = role.as_str().parse();
        Self::new(
            name.expect("members and roles follow one rule"),
            Some(role.clone()),
        )
    }

    fn new(name: MemberName, role: Option<RoleName>) -> Self {
        Self {
            name,
            role,
            model: None,
            prompt: String::new(),
            colour: None,
            cwd: None,
            must_plan: false,
            tools: None,
        }
    }
}

/// A configuration as it is stored. Qwen Code and Claude Code use camel case; nyzhi uses both cases.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    name: Option<String>,
    lead_agent_id: Option<String>,
    #[serde(default)]
    members: Vec<ConfigMember>,
    #[serde(alias = "default_model")]
    default_model: Option<String>,
    #[serde(alias = "default_role")]
    default_role: Option<String>,
    #[serde(alias = "max_steps")]
    max_steps: Option<u32>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigMember {
    name: String,
    agent_id: Option<String>,
    agent_type: Option<String>,
    role: Option<String>,
    model: Option<String>,
    prompt: Option<String>,
    color: Option<String>,
    cwd: Option<String>,
    #[serde(default)]
    plan_mode_required: bool,
    #[serde(default)]
    read_only: bool,
    mode: Option<String>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Keys that describe a running team. Their values are useless after an import.
const STATE: &[&str] = &[
    "backendType",
    "createdAt",
    "created_at",
    "hiddenPaneIds",
    "isActive",
    "joinedAt",
    "leadPid",
    "leadSessionId",
    "sessionId",
    "subscriptions",
    "tmuxPaneId",
];

/// Agent types that the other programs contain, and the built-in roles that correspond to them.
const BUILT_IN: &[(&str, &str)] = &[
    ("Explore", "explorer"),
    ("Plan", "planner"),
    ("general-purpose", "worker"),
    ("teammate", "worker"),
];

/// Agent types of leads.
const LEADS: [&str; 2] = ["leader", "team-lead"];

/// The role of members whose agent type is unknown: it has only tools that read.
const UNKNOWN: &str = "explorer";

/// A configuration that was found.
#[derive(Debug)]
pub(super) struct FoundTeam {
    /// The name of the configuration's directory.
    name: String,
    shown: String,
    text: String,
    config: Config,
}

/// Reads the configuration of the team `only`, or else all configurations.
pub(super) fn find(
    directory: &Path,
    only: Option<&str>,
    files: &Files<'_>,
    found: &mut Found,
) -> Vec<FoundTeam> {
    let directories = match files.directories(directory) {
        Ok(directories) => directories,
        Err(fault) => {
            found.faults.push(fault);
            return Vec::new();
        }
    };
    let mut teams = Vec::new();
    for directory in directories {
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let path = directory.join("config.json");
        let shown = files.shown(&path);
        let text = match files.text(&path) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(fault) => {
                found.faults.push(fault);
                continue;
            }
        };
        match serde_json::from_str(&text) {
            Ok(config) => teams.push(FoundTeam {
                name: name.into_owned(),
                shown,
                text,
                config,
            }),
            Err(error) => {
                let position = FilePosition {
                    file: shown,
                    line: error.line().max(1),
                    column: error.column().max(1),
                };
                let text = error.to_string();
                // The position is already in front of the message.
                let message = text.split(" at line ").next().unwrap_or(&text);
                let fault = position.fault(format!("cannot read the team: {message}"));
                found.faults.push(Fault {
                    hint: Some(
                        "repair or remove the file, or name another team with --from-team"
                            .to_owned(),
                    ),
                    ..fault
                });
            }
        }
    }
    teams
}

/// The team that the user named, or else the only team with a member that works in the project.
pub(super) fn choose(
    teams: Vec<FoundTeam>,
    origin: &Origin<'_>,
    directory: &Path,
    files: &Files<'_>,
    found: &mut Found,
) -> Option<FoundTeam> {
    let position = FilePosition::start_of(files.shown(directory));
    if let Some(name) = origin.team {
        let team = teams.into_iter().next();
        // A team with faults is reported already.
        if team.is_none() && found.faults.is_empty() {
            let message = format!("there is no team {name:?}");
            found.faults.push(position.fault(message));
        }
        return team;
    }
    let works_here = |team: &FoundTeam| {
        let directories = team.config.members.iter().flat_map(|member| &member.cwd);
        let mut directories = directories.filter_map(|cwd| Path::new(cwd).canonicalize().ok());
        directories.any(|cwd| cwd.starts_with(origin.project))
    };
    let (mut here, others): (Vec<_>, Vec<_>) = teams.into_iter().partition(works_here);
    let names = |teams: &[FoundTeam]| {
        let names: Vec<_> = teams.iter().map(|team| team.name.as_str()).collect();
        names.join(", ")
    };
    if here.len() > 1 {
        let message = format!("several teams work in this project: {}", names(&here));
        found.faults.push(Fault {
            hint: Some(format!(
                "choose one of them: agent-team init --from {} --from-team {}",
                origin.program.name(),
                here[0].name
            )),
            ..position.fault(message)
        });
        return None;
    }
    if here.is_empty() && !others.is_empty() {
        let message = format!(
            "the members of these teams are not imported, because no member works in this project: {}; \
             --from-team NAME imports one of them",
            names(&others)
        );
        found.notes.push(position.fault(message));
    }
    here.pop()
}

/// Converts the members of a team.
pub(super) fn convert(
    team: FoundTeam,
    origin: &Origin<'_>,
    found: &mut Found,
    known: &[RoleDefinition],
) -> Team {
    let FoundTeam {
        shown,
        text,
        config,
        ..
    } = team;
    found.sources.push(shown.clone());
    let reading = Conversion {
        faults: Source::new(shown.as_str(), &text),
        notes: Source::new(shown.as_str(), &text),
        origin,
        known,
        default_role: config.default_role.as_deref(),
    };
    reading.lose_keys(&config);
    let name = config.name.as_deref();
    let mut team = Team {
        name: name.and_then(|name| Some(name_of(name)?.0)),
        model: config
            .default_model
            .as_deref()
            .and_then(|model| import::model(&reading.notes, model, reading.key("default_model"))),
        max_steps: config.max_steps.filter(|steps| *steps > 0),
        ..Team::default()
    };
    let lead = config.members.iter().position(|member| {
        let is_named = member.agent_id.is_some() && member.agent_id == config.lead_agent_id;
        let of_type = member.agent_type.as_deref();
        is_named || of_type.is_some_and(|of_type| LEADS.contains(&of_type))
    });
    let mut at = reading.find(0, &["\"members\""]).unwrap_or(0);
    let mut first: BTreeMap<MemberName, usize> = BTreeMap::new();
    for (index, member) in config.members.iter().enumerate() {
        // Search for each member after the previous member, so that two members with one name have two positions.
        let quoted = Value::from(member.name.as_str()).to_string();
        at = reading
            .find(at + 1, &["\"name\"", ":", &quoted])
            .unwrap_or(at);
        let is_lead = lead == Some(index);
        let Some(member) = reading.member(member, At { value: is_lead, at }, found) else {
            continue;
        };
        if let Some(before) = first.insert(member.name.clone(), at) {
            let line = reading.faults.line(before);
            let message = format!(
                "name {:?} is already used by the member on line {line}",
                member.name.as_str()
            );
            reading.faults.fault(at, message);
        }
        match is_lead {
            true => team.lead = Some(member),
            false => team.members.push(member),
        }
    }
    found.faults.extend(reading.faults.into_faults());
    found.notes.extend(reading.notes.into_faults());
    team
}

/// The conversion of one team.
struct Conversion<'a> {
    faults: Source<'a>,
    notes: Source<'a>,
    origin: &'a Origin<'a>,
    known: &'a [RoleDefinition],
    default_role: Option<&'a str>,
}

impl Conversion<'_> {
    fn find(&self, from: usize, parts: &[&str]) -> Option<usize> {
        self.faults.find(from, parts)
    }

    /// The first position of a key.
    fn key(&self, key: &str) -> usize {
        let quoted = Value::from(key).to_string();
        self.find(0, &[&quoted, ":"]).unwrap_or(0)
    }

    /// Reports each key without a counterpart once.
    fn lose_keys(&self, config: &Config) {
        let mut lost: BTreeMap<&str, usize> = BTreeMap::new();
        let of_members = config.members.iter().flat_map(|member| member.other.keys());
        for key in config.other.keys().chain(of_members) {
            *lost.entry(key).or_default() += 1;
        }
        for (key, count) in lost {
            let why = match key {
                key if STATE.contains(&key) => "is ignored: it describes the running team",
                "teamAllowedPaths" => "is refused: it allows calls without a decision",
                "worktreePath" | "worktree_path" => {
                    "is ignored: the member works in the directory of the project"
                }
                _ => "is ignored: agent-team has no such key",
            };
            let times = match count {
                1 => String::new(),
                count => format!(" ({count} times)"),
            };
            self.notes
                .fault(self.key(key), format!("`{key}` {why}{times}"));
        }
    }

    fn member(&self, member: &ConfigMember, lead: At<bool>, found: &Found) -> Option<TeamMember> {
        let At { value: is_lead, at } = lead;
        let Some((name, is_changed)) = name_of::<MemberName>(&member.name) else {
            let message = format!("{:?} cannot be converted to a member name", member.name);
            self.faults.fault_with_hint(
                at,
                message,
                "give the member a name of lower-case letters, digits and hyphens",
            );
            return None;
        };
        if RESERVED_NAMES.contains(&name.as_str()) && !(is_lead && name.as_str() == "lead") {
            let hint = format!(
                "rename the member: {} are reserved",
                RESERVED_NAMES.join(", ")
            );
            let message = format!("{:?} is a reserved name", name.as_str());
            self.faults.fault_with_hint(at, message, hint);
            return None;
        }
        if is_changed {
            let message = format!("member {:?} is renamed to {name}", member.name);
            self.notes.fault(at, message);
        }
        let (role, must_read) = self.role(member, lead, found);
        if must_read {
            let message = "the member gets only tools that read, like its agent type";
            self.notes.fault(at, message);
        }
        let mut converted = TeamMember::new(name, role);
        if let Some(model) = &member.model {
            converted.model = import::model(&self.notes, model, at);
            if let Some(becomes) = converted.model.as_ref().filter(|it| *it != model) {
                let message = format!("`model: {model}` becomes {becomes}");
                self.notes.fault(at, message);
            }
        }
        let prompt = member.prompt.as_deref().unwrap_or_default().trim();
        let (prompt, names) = variables::escape(prompt);
        for name in names {
            let message = format!(
                "`{{{{{name}}}}}` is written as `{{ {{{name}}}}}`: double braces mark variables in a team file"
            );
            self.notes.fault(at, message);
        }
        converted.prompt = prompt;
        if let Some(colour) = &member.color {
            converted.colour = import::colour(colour);
            if converted.colour.is_none() {
                let message =
                    format!("`color: {colour}` is ignored: agent-team has no such colour");
                self.notes.fault(at, message);
            }
        }
        converted.cwd = member.cwd.as_deref().and_then(|cwd| self.cwd(cwd, at));
        converted.must_plan = member.plan_mode_required;
        let mut read_only = member.read_only || must_read;
        if let Some(mode) = &member.mode {
            let key = At { value: "mode", at };
            read_only |= import::permission_mode(&self.notes, key, mode);
        }
        if read_only {
            converted.tools = Some(self.reading(converted.role.as_ref(), found));
        }
        Some(converted)
    }

    /// The role of a member. A member with an unknown agent type may have been limited in the other program, so it gets
    /// a role that only reads. Also returns whether the member must be limited to tools that read. This is the case if
    /// its agent type only reads, but its role may have more tools: a role of the project or an agent can replace the
    /// built-in role.
    fn role(
        &self,
        member: &ConfigMember,
        lead: At<bool>,
        found: &Found,
    ) -> (Option<RoleName>, bool) {
        let At { value: is_lead, at } = lead;
        let of_type = member.agent_type.as_deref();
        let wanted = match self.origin.program {
            OtherProgram::Nyzhi => {
                let default = self.default_role.filter(|_| !is_lead);
                member.role.as_deref().or(default)
            }
            OtherProgram::Claude | OtherProgram::Qwen | OtherProgram::Codex => of_type,
        };
        let built_in = |name: &str| self.known.iter().find(|role| role.name.as_str() == name);
        let built_in = |name: &str| built_in(name).map(|role| role.name.clone());
        let wanted = match wanted {
            Some(wanted) => wanted,
            None if is_lead => return (None, false),
            None => return (built_in("worker"), false),
        };
        let theirs = BUILT_IN.iter().find(|(theirs, _)| *theirs == wanted);
        let type_reads = theirs.is_some_and(|(_, ours)| *ours != "worker");
        if let Some((name, _)) = name_of::<RoleName>(wanted)
            && found.get(name.as_str()).is_some()
        {
            return (Some(name), type_reads);
        }
        // The built-in roles of nyzhi have the names of agent-team's built-in roles.
        let same = self.origin.program == OtherProgram::Nyzhi;
        let ours = theirs.map(|(_, ours)| *ours).or(same.then_some(wanted));
        let role = ours.and_then(built_in);
        let is_replaced =
            |role: &RoleName| role.as_str() != "worker" && self.is_replaced(role, found);
        if role.is_some() || (is_lead && LEADS.contains(&wanted)) {
            let must_read = role.as_ref().is_some_and(is_replaced) || (is_lead && type_reads);
            return (role.filter(|_| !is_lead || theirs.is_none()), must_read);
        }
        let message = format!(
            "agent type {wanted:?} is defined in none of the files: the member gets the role {UNKNOWN}, which only reads"
        );
        self.notes.fault(at, message);
        let role = built_in(UNKNOWN);
        let must_read = role.as_ref().is_some_and(is_replaced);
        (role, must_read)
    }

    /// Whether a role of a file replaces the built-in role of this name.
    fn is_replaced(&self, role: &RoleName, found: &Found) -> bool {
        let known = self.known.iter().find(|known| known.name == *role);
        found.get(role.as_str()).is_some()
            || known.is_some_and(|known| known.from != Layer::BuiltIn)
    }

    /// The tools of a role that change nothing.
    fn reading(&self, role: Option<&RoleName>, found: &Found) -> Vec<String> {
        let agent = role.and_then(|role| found.get(role.as_str()));
        let known = self.known.iter().find(|known| Some(&known.name) == role);
        let of_role = match agent {
            Some(agent) => agent.role.agent_keys.tools.as_ref(),
            None => known.and_then(|known| known.tools.as_ref()),
        };
        let mut tools = reading_tools();
        tools.retain(|tool| of_role.is_none_or(|tools| tools.contains(tool)));
        tools
    }

    /// The working directory, relative to the project. `None`: the project.
    fn cwd(&self, cwd: &str, at: usize) -> Option<String> {
        let directory = Path::new(cwd).canonicalize().ok();
        let inside = directory
            .as_deref()
            .filter(|directory| directory.is_dir())
            .and_then(|directory| directory.strip_prefix(self.origin.project).ok())
            .and_then(Path::to_str);
        if inside.is_none() {
            let message = format!(
                "`cwd: {cwd}` is ignored: it is not a directory of this project, so the member works in the project"
            );
            self.notes.fault(at, message);
        }
        inside
            .filter(|inside| !inside.is_empty())
            .map(str::to_owned)
    }
}
