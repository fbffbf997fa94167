//! The settings of a team, and the team file that corresponds to them. Used by the builder, and by the team when the
//! variables of a run change.
//!
//! The settings are written as a team file and read by the team file's parser, so that the builder and team files have
//! the same rules and the same error messages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_team_file::{Fault, LoadTeamError, Reading, RequiredTrust};
use agent_team_llm::Model;
use agent_team_protocol::Refusal;
use agent_team_protocol::method::Up;
use agent_team_protocol::permissions::Mode as PermissionMode;
use agent_team_protocol::placement::CallerTerminal;
use agent_team_protocol::spec::{AgentSpec, TeamSpec};
use agent_team_supervisor::embed::ServeError;
use serde::Serialize;

use crate::access::{HooksTable, McpServer, RulesTable};
use crate::member::{BudgetTable, Member, ModelChoice, Role};
use crate::team_thread::StartError;

/// Why a team cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The settings are invalid; one message per fault.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    #[error("cannot use the team file")]
    File(#[source] LoadTeamError),
    #[error("cannot use {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The team file contains settings that a project may not have without the user's trust.
    #[error("the team file needs trust for:\n{}\nto trust it, pass its digest: {digest}", lines.join("\n"))]
    Untrusted { lines: Vec<String>, digest: String },
    /// Another team uses this session, in this process or in another process.
    #[error("the session is in use by another team, here or in another process")]
    InUse,
    /// The supervisor refused the team.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("cannot start the team")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How a team divides its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// The lead is an agent: it plans, and manages the board with its tools.
    Lead,
    /// In each round the lead's model names the next member, or gives the answer.
    Coordinator,
    /// The members work on the goal one after another, each once. Then the lead's model writes a synthesis.
    Collaborate,
    /// The caller manages the board.
    Manual,
}

/// The settings of a team that are applied again when the variables of a run change.
#[derive(Default)]
pub(crate) struct TeamSettings {
    pub(crate) table: TeamFileTable,
    pub(crate) file: Option<PathBuf>,
    /// The directory that the caller chose; after [`TeamSettings::prepare`], the canonical path of the project.
    pub(crate) project: Option<PathBuf>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) clears_env: bool,
    pub(crate) model: Option<ModelChoice>,
    pub(crate) permissions: Option<PermissionMode>,
    /// The program has a callback that acts as the user.
    pub(crate) attended: bool,
    pub(crate) trust: Option<String>,
}

/// The team file that corresponds to the builder's settings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct TeamFileTable {
    pub(crate) name: Option<String>,
    pub(crate) mode: Option<Mode>,
    pub(crate) max_rounds: Option<u32>,
    pub(crate) coordinator_prompt: Option<String>,
    pub(crate) limits: LimitsTable,
    pub(crate) lead: Option<Member>,
    pub(crate) member: Vec<Member>,
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) defaults: Defaults,
    pub(crate) permissions: RulesTable,
    pub(crate) hooks: HooksTable,
    pub(crate) mcp: BTreeMap<String, McpServer>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct LimitsTable {
    pub(crate) teammates: Option<u32>,
    #[serde(flatten)]
    pub(crate) budget: BudgetTable,
}

#[derive(Debug, Serialize)]
pub(crate) struct Defaults {
    engine: &'static str,
    model: Option<String>,
    pub(crate) instructions: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            engine: "native",
            model: None,
            instructions: false,
        }
    }
}

impl std::fmt::Debug for TeamSettings {
    /// Omits the environment, the secrets and everything else that may contain a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeamSettings")
            .field("table", &self.table)
            .field("file", &self.file)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

impl TeamSettings {
    /// Completes the settings before the team starts. `project`: the canonical path.
    pub(crate) fn prepare(&mut self, project: PathBuf, attended: bool) -> Result<(), BuildError> {
        if self.file.is_some() {
            self.check_file_settings()?;
        } else {
            self.table.name.get_or_insert_with(|| "team".to_owned());
            self.table.defaults.model = self.model.as_ref().and_then(ModelChoice::name);
        }
        self.project = Some(project);
        self.attended = attended;
        Ok(())
    }

    /// The arguments of `team/up`. `variables` take precedence over the builder's variables.
    pub(crate) fn up(
        &self,
        variables: &BTreeMap<String, String>,
        fresh: bool,
    ) -> Result<Up, BuildError> {
        let mut all = self.variables.clone();
        all.extend(variables.clone());
        Ok(Up {
            named: self.environment.keys().cloned().collect(),
            environment: self.members_environment(),
            secrets: self.secrets.clone(),
            spec: self.spec(&all)?,
            terminal: CallerTerminal::default(),
            dry_run: false,
            fresh,
        })
    }

    /// The caller's models, by their names.
    pub(crate) fn own_models(&self) -> Result<BTreeMap<String, Arc<dyn Model>>, BuildError> {
        let members = self.table.lead.iter().chain(&self.table.member);
        let choices = members.map(|member| &member.model);
        let choices = choices.chain(self.table.roles.values().map(|role| &role.model));
        let choices = choices.chain([&self.model]);
        let chosen = choices.filter_map(|choice| choice.as_ref()?.own());
        let mut models: BTreeMap<String, Arc<dyn Model>> = BTreeMap::new();
        for model in chosen {
            let earlier = models.insert(model.name().to_owned(), Arc::clone(model));
            let is_same = |earlier| std::ptr::addr_eq(Arc::as_ptr(earlier), Arc::as_ptr(model));
            if !earlier.as_ref().is_none_or(is_same) {
                return Err(BuildError::Invalid(vec![format!(
                    "two models have the name {:?}: return another name from `Model::name` of one of them",
                    model.name()
                )]));
            }
        }
        Ok(models)
    }

    /// The desired state with these variables.
    fn spec(&self, variables: &BTreeMap<String, String>) -> Result<TeamSpec, BuildError> {
        let project = self.project.as_deref().expect("`prepare` sets the project");
        let reading = Reading {
            here: project,
            settings: None,
            variables: Some(variables),
            overrides: None,
        };
        let mut spec = match &self.file {
            Some(file) => self.of_file(file, reading)?,
            None => {
                let text = toml::to_string(&self.table)
                    .map_err(|error| BuildError::Invalid(vec![error.to_string()]))?;
                let loaded = agent_team_file::of_text(&text, project, reading);
                let mut spec = loaded.map_err(invalid)?;
                spec.permission_defaults.mode = PermissionMode::AcceptEdits;
                if !self.table.defaults.instructions {
                    remove_instructions(&mut spec);
                }
                spec
            }
        };
        refuse_shared_servers(&mut spec)?;
        self.set_own_models(&mut spec);
        spec.permission_defaults.unattended = !self.attended;
        if let Some(mode) = self.permissions {
            spec.permission_defaults.mode = mode;
        }
        let bypass = spec.permission_defaults.mode == PermissionMode::Bypass;
        for agent in agents(&mut spec) {
            agent.bypass = bypass;
        }
        Ok(spec)
    }

    /// Sets the names of the caller's models, which no team file can contain.
    fn set_own_models(&self, spec: &mut TeamSpec) {
        let of_role = |role: &str| self.table.roles.get(role)?.model.as_ref()?.own();
        let members = self.table.lead.iter().chain(&self.table.member);
        let of_members: BTreeMap<&str, &ModelChoice> = members
            .filter_map(|member| Some((member.name.as_str(), member.model.as_ref()?)))
            .collect();
        for member in &mut spec.members {
            let own = match of_members.get(member.name.as_str()) {
                Some(choice) => choice.own(),
                None => of_role(member.role.as_str()),
            };
            if let Some(model) = own {
                member.agent.model = Some(model.name().to_owned());
            }
        }
        for role in &mut spec.roles {
            if let Some(model) = of_role(role.name.as_str()) {
                role.agent.model = Some(model.name().to_owned());
            }
        }
        if let Some(ModelChoice::Own(model)) = &self.model {
            for agent in agents(spec) {
                agent.model.get_or_insert_with(|| model.name().to_owned());
            }
        }
    }

    /// Refuses settings that a team file determines.
    fn check_file_settings(&self) -> Result<(), BuildError> {
        let TeamFileTable {
            name,
            mode,
            max_rounds,
            coordinator_prompt,
            limits,
            lead,
            member,
            roles,
            defaults: _,
            permissions,
            hooks,
            mcp,
        } = &self.table;
        let has_settings = name.is_some()
            || mode.is_some()
            || max_rounds.is_some()
            || coordinator_prompt.is_some()
            || *limits != LimitsTable::default()
            || lead.is_some()
            || !member.is_empty()
            || !roles.is_empty()
            || *permissions != RulesTable::default()
            || *hooks != HooksTable::default()
            || !mcp.is_empty();
        if has_settings || self.project.is_some() {
            let sentence = "cannot combine a team file with a name, mode, number of rounds, coordinator prompt, \
                            project, limits, lead, members, roles, rules, hooks or MCP servers: the file determines \
                            them";
            return Err(BuildError::Invalid(vec![sentence.to_owned()]));
        }
        Ok(())
    }

    fn of_file(&self, file: &Path, reading: Reading<'_>) -> Result<TeamSpec, BuildError> {
        let loaded = agent_team_file::load(file, reading).map_err(invalid_file)?;
        if let Some(RequiredTrust { lines, digest }) = loaded.required_trust
            && self.trust.as_ref() != Some(&digest)
        {
            return Err(BuildError::Untrusted { lines, digest });
        }
        let mut spec = loaded.spec;
        if let Some(ModelChoice::Named(name)) = &self.model {
            for member in &mut spec.members {
                member.agent.model.get_or_insert_with(|| name.clone());
            }
        }
        Ok(spec)
    }

    /// The environment of the program, unless [`TeamBuilder::clear_env`] was called, and the variables of the builder.
    fn members_environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        if !self.clears_env {
            // A variable that is not valid UTF-8 cannot be passed on in JSON.
            let inherited = std::env::vars_os();
            let inherited = inherited.filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            });
            environment.extend(inherited);
        }
        environment.extend(self.environment.clone());
        environment
    }
}

/// The settings of all members and roles.
fn agents(spec: &mut TeamSpec) -> impl Iterator<Item = &mut AgentSpec> {
    let members = spec.members.iter_mut().map(|member| &mut member.agent);
    members.chain(spec.roles.iter_mut().map(|role| &mut role.agent))
}

/// Refuses MCP servers that members share: only the supervisor of `agent-team` starts a process that hosts them.
fn refuse_shared_servers(spec: &mut TeamSpec) -> Result<(), BuildError> {
    let servers = agents(spec).flat_map(|agent| agent.mcp.iter());
    let shared = servers.filter(|server| server.shared);
    let names: BTreeSet<String> = shared.map(|server| server.name.clone()).collect();
    let sentence = |name: &String| {
        format!(
            "cannot share the MCP server {name}: a program that embeds a team has no process that hosts shared servers \
             (remove `shared` from [mcp.{name}], or share it as a server with a `url`)"
        )
    };
    match names.is_empty() {
        true => Ok(()),
        false => Err(BuildError::Invalid(names.iter().map(sentence).collect())),
    }
}

/// Removes the instructions, skills and command files of the project. A role file of the project can turn them on, and
/// the builder requires no trust for role files.
fn remove_instructions(spec: &mut TeamSpec) {
    for agent in agents(spec) {
        agent.instructions.clear();
        agent.skills.clear();
        agent.commands.clear();
    }
}

/// Formats the faults of the generated team file. Omits their positions, because the caller never sees that file.
fn invalid(faults: Vec<Fault>) -> BuildError {
    let sentence = |fault: Fault| match fault.hint {
        Some(hint) => format!("{} ({hint})", fault.message),
        None => fault.message,
    };
    BuildError::Invalid(faults.into_iter().map(sentence).collect())
}

/// Formats the faults of the caller's team file, with their positions.
fn invalid_file(error: LoadTeamError) -> BuildError {
    match error {
        LoadTeamError::Faults(faults) => {
            let sentence = |fault: Fault| match &fault.hint {
                Some(hint) => format!("{fault} ({hint})"),
                None => fault.to_string(),
            };
            BuildError::Invalid(faults.into_iter().map(sentence).collect())
        }
        other @ (LoadTeamError::Missing(_)
        | LoadTeamError::Unreadable(..)
        | LoadTeamError::Project { .. }) => BuildError::File(other),
    }
}

impl From<StartError> for BuildError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Serve(ServeError::InUse(_)) => Self::InUse,
            other @ (StartError::Serve(_) | StartError::Connect(_) | StartError::Thread(_)) => {
                Self::Start(Box::new(other))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_file_cannot_turn_instructions_on() {
        let directory = tempfile::tempdir().unwrap();
        let project = directory.path().canonicalize().unwrap();
        let roles = project.join(".agent-team/roles");
        std::fs::create_dir_all(&roles).unwrap();
        let role = "---\ninstructions: true\n---\nBe brief.\n";
        std::fs::write(roles.join("terse.md"), role).unwrap();
        std::fs::write(project.join("AGENTS.md"), "Use tabs.").unwrap();
        let reading = Reading {
            here: &project,
            settings: None,
            variables: None,
            overrides: None,
        };
        let text = "name = \"t\"\n[defaults]\ninstructions = false\n[[member]]\nname = \"ada\"\n\
                    engine = \"native\"\nrole = \"terse\"\n";
        let mut spec = agent_team_file::of_text(text, &project, reading).unwrap();
        assert!(agents(&mut spec).any(|agent| !agent.instructions.is_empty()));
        remove_instructions(&mut spec);
        assert!(agents(&mut spec).all(|agent| agent.instructions.is_empty()));
    }
}
