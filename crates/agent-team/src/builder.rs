//! Builds a team: turns the builder's settings into a running team.
//!
//! The settings are written as a team file and read by the team file's parser, so that both have the same rules and the
//! same error messages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_file::{Fault, LoadTeamError, Reading, RequiredTrust};
use agent_team_protocol::method::{TeamUp, Up};
use agent_team_protocol::permissions::Mode as PermissionMode;
use agent_team_protocol::placement::CallerTerminal;
use agent_team_protocol::spec::{AgentSpec, Budget, TeamSpec};
use agent_team_protocol::{Refusal, TeamId};
use agent_team_supervisor::embed::{Durability, ServeError};
use agent_team_teammate::hosted::Engine;
use serde::Serialize;

use crate::member::{BudgetTable, Member, ModelChoice, Role};
use crate::member_threads::{Engines, MakeEngine, MemberInfo};
use crate::subscription::{Callback, Subscription};
use crate::team::Team;
use crate::team_dirs::{Session, TeamDirs};
use crate::team_thread::{CallFailed, StartError, TeamThread};

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
    /// Another team uses this session, in this process or in another one.
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

/// The settings of a team. Made by [`Team::builder`].
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct TeamBuilder {
    table: TeamFileTable,
    file: Option<PathBuf>,
    project: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    clears_env: bool,
    model: Option<ModelChoice>,
    engine: Option<MakeEngine>,
    permissions: Option<PermissionMode>,
    trust: Option<String>,
    store: Option<PathBuf>,
    session: Option<Session>,
    fresh: bool,
    callback: Option<Callback>,
}

/// The team file that corresponds to the builder's settings.
#[derive(Debug, Default, Serialize)]
struct TeamFileTable {
    name: Option<String>,
    mode: Option<Mode>,
    max_rounds: Option<u32>,
    coordinator_prompt: Option<String>,
    limits: LimitsTable,
    lead: Option<Member>,
    member: Vec<Member>,
    roles: BTreeMap<String, Role>,
    defaults: Defaults,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct LimitsTable {
    teammates: Option<u32>,
    #[serde(flatten)]
    budget: BudgetTable,
}

#[derive(Debug, Serialize)]
struct Defaults {
    engine: &'static str,
    model: Option<String>,
    instructions: bool,
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

impl std::fmt::Debug for TeamBuilder {
    /// Leaves out everything that may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeamBuilder")
            .field("table", &self.table)
            .field("file", &self.file)
            .field("project", &self.project)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Team {
    /// A team to configure; [`TeamBuilder::build`] starts it.
    pub fn builder() -> TeamBuilder {
        TeamBuilder::default()
    }
}

impl TeamBuilder {
    /// The team's name: `[a-z][a-z0-9-]{0,31}`. Default: `team`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.table.name = Some(name.into());
        self
    }

    /// How the team divides its work. Default: [`Mode::Lead`], or [`Mode::Manual`] for a team without members that use
    /// a model.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.table.mode = Some(mode);
        self
    }

    /// For [`Mode::Coordinator`]: the number of rounds after which a run ends without an answer. Default: 5.
    pub fn max_rounds(mut self, rounds: u32) -> Self {
        self.table.max_rounds = Some(rounds);
        self
    }

    /// For [`Mode::Coordinator`]: the template of the question to the lead's model, with the placeholders
    /// `{worker_descriptions}`, `{task}` and `{prior_outputs}`.
    pub fn coordinator_prompt(mut self, template: impl Into<String>) -> Self {
        self.table.coordinator_prompt = Some(template.into());
        self
    }

    /// Replaces the default lead.
    pub fn lead(mut self, lead: Member) -> Self {
        self.table.lead = Some(lead);
        self
    }

    /// Adds a member.
    pub fn member(mut self, member: Member) -> Self {
        self.table.member.push(member);
        self
    }

    /// Adds a role, which takes precedence over a built-in role of the same name.
    pub fn role(mut self, role: Role) -> Self {
        self.table.roles.insert(role.name.clone(), role);
        self
    }

    /// Maximum number of teammates that are not stopped; the lead does not count. Default: 10.
    pub fn max_teammates(mut self, teammates: u32) -> Self {
        self.table.limits.teammates = Some(teammates);
        self
    }

    /// Sets limits on the total spending of all members on one goal. The lead and the user are warned at 80 %. At 100 %
    /// the members wait for [`Team::set_budget`], and so does the run.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.table.limits.budget = budget.into();
        self
    }

    /// Reads the team from this file. The build fails if the builder also sets a name, mode, number of rounds,
    /// coordinator prompt, limits, lead, members, roles or project.
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The project: the working directory of the members' tools, and the source of role files. Default: a private
    /// directory of the team, or with [`TeamBuilder::store`] a directory of the session in the store.
    pub fn project(mut self, directory: impl Into<PathBuf>) -> Self {
        self.project = Some(directory.into());
        self
    }

    /// Adds the project's `AGENTS.md`, `CLAUDE.md` and `GEMINI.md` to the members' system prompts. Default: `false`,
    /// because the program that builds the team need not trust the project. A team file decides for itself.
    pub fn instructions(mut self, on: bool) -> Self {
        self.table.defaults.instructions = on;
        self
    }

    /// Sets the value of `{{name}}` in prompts and role files.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Adds a variable to the members' environment: for their tools, and for the keys and base URLs of models. Of this
    /// process's environment, the tools of agents inherit only some variables, such as `PATH`, `HOME`, and the settings
    /// of compilers and build tools.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Gives the members an environment that contains only the variables of [`TeamBuilder::env`], and none of this
    /// process's environment.
    pub fn clear_env(mut self) -> Self {
        self.clears_env = true;
        self
    }

    /// Adds a variable for programs that the tools run. Its value is redacted for models, the journal and logs. The
    /// value must have at least 6 bytes.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.secrets.insert(name.into(), value.into());
        self
    }

    /// The default model of members: a name such as `"anthropic/claude-sonnet-4-6"`, or a [`Model`] in an
    /// `Arc`. Default: the first provider for which the environment has a key or a server.
    ///
    /// [`Model`]: crate::Model
    pub fn model(mut self, model: impl Into<ModelChoice>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sets the function that creates the engine of each launch of a member. If `make` returns `None`, the member uses
    /// its model. `make` is called on the member's thread.
    pub fn engine<F>(mut self, make: F) -> Self
    where
        F: Fn(&MemberInfo) -> Option<Box<dyn Engine>> + Send + Sync + 'static,
    {
        self.engine = Some(Box::new(make));
        self
    }

    /// Sets the permission mode of the members. No user is available to decide, so calls that need a decision are
    /// denied, unless the team file lets the lead decide about them. Default: the mode of the team file; without a team
    /// file, [`PermissionMode::AcceptEdits`]: members may edit files of the project, and run only commands that read
    /// it.
    pub fn permission_mode(mut self, mode: PermissionMode) -> Self {
        self.permissions = Some(mode);
        self
    }

    /// Trusts the settings of the team file that need trust, by the digest in [`BuildError::Untrusted`].
    pub fn trust(mut self, digest: impl Into<String>) -> Self {
        self.trust = Some(digest.into());
        self
    }

    /// Keeps the journal in this directory, safe from power cuts. By default the journal is deleted when the
    /// team ends.
    pub fn store(mut self, directory: impl Into<PathBuf>) -> Self {
        self.store = Some(directory.into());
        self
    }

    /// Identifies the team in the store: a team with the same user, session, name and project continues with the stored
    /// board, messages, memory and conversations.
    pub fn session(mut self, user: impl Into<String>, session: impl Into<String>) -> Self {
        self.session = Some(Session {
            user: user.into(),
            session: session.into(),
        });
        self
    }

    /// Discards the stored state of this session.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Calls `callback` for each envelope of the team, in order, on a thread of the team: the callback must not block.
    pub fn on_envelope<F>(mut self, callback: F) -> Self
    where
        F: Fn(&agent_team_protocol::envelope::Envelope) + Send + Sync + 'static,
    {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Starts the team. When this method returns, the members are up, or [`Team::members`] reports why they are held.
    ///
    /// # Errors
    /// When the settings are invalid or the team file is not trusted, when a directory cannot be used or is in use, or
    /// when the supervisor cannot be started or refuses the team.
    pub async fn build(mut self) -> Result<Team, BuildError> {
        let dirs = self.dirs()?;
        let mut engines = Engines {
            engine: self.engine.take(),
            ..Engines::default()
        };
        let spec = self.spec(&dirs, &mut engines)?;
        let team = TeamId::new(&spec.name, &spec.project);
        let durability = match self.store {
            Some(_) => Durability::Power,
            None => Durability::Process,
        };
        let thread = TeamThread::new(team, dirs, durability, engines).await?;
        let up = Up {
            named: self.environment.keys().cloned().collect(),
            environment: self.members_environment(),
            secrets: self.secrets,
            spec,
            terminal: CallerTerminal::default(),
            dry_run: false,
            fresh: self.fresh,
        };
        thread
            .supervisor()
            .call::<TeamUp>(up)
            .await
            .map_err(|error| match error {
                CallFailed::Refused(refusal) => BuildError::Refused(refusal),
                other @ (CallFailed::Ended | CallFailed::Answer(_)) => {
                    BuildError::Start(Box::new(other))
                }
            })?;
        if let Some(callback) = self.callback {
            let subscription = Subscription::start(thread.supervisor()).await;
            let mut subscription =
                subscription.map_err(|error| BuildError::Start(Box::new(error)))?;
            thread.supervisor().spawn(async move {
                while let Some(envelopes) = subscription.next().await {
                    envelopes.iter().for_each(&callback);
                }
            });
        }
        Ok(Team::new(thread))
    }

    fn dirs(&self) -> Result<TeamDirs, BuildError> {
        let session = self.session.clone();
        let store = match (&self.store, session) {
            (None, Some(_)) => {
                let sentence = "a session needs a store: set one with `store`";
                return Err(BuildError::Invalid(vec![sentence.to_owned()]));
            }
            (None, None) => None,
            (Some(store), session) => Some((store.as_path(), session.unwrap_or_default())),
        };
        let store = store.as_ref().map(|(path, session)| (*path, session));
        TeamDirs::new(store).map_err(|source| BuildError::Directory {
            path: std::env::temp_dir(),
            source,
        })
    }

    /// The desired state. Adds the caller's own models to `engines`, by their names.
    fn spec(&mut self, dirs: &TeamDirs, engines: &mut Engines) -> Result<TeamSpec, BuildError> {
        let project = dirs.project(self.project.as_deref());
        let project = project.map_err(|source| BuildError::Directory {
            path: self.project.clone().unwrap_or_default(),
            source,
        })?;
        let reading = Reading {
            here: &project,
            settings: None,
            variables: Some(&self.variables),
            overrides: None,
        };
        self.table.defaults.model = match &self.model {
            Some(ModelChoice::Named(name)) => Some(name.clone()),
            Some(ModelChoice::Own(_)) | None => None,
        };
        let mut spec = match &self.file {
            Some(file) => self.of_file(file, reading)?,
            None => {
                self.table.name.get_or_insert_with(|| "team".to_owned());
                let text = toml::to_string(&self.table)
                    .map_err(|error| BuildError::Invalid(vec![error.to_string()]))?;
                let loaded = agent_team_file::of_text(&text, &project, reading);
                let mut spec = loaded.map_err(invalid)?;
                spec.permission_defaults.mode = PermissionMode::AcceptEdits;
                spec
            }
        };
        let mut models = BTreeMap::new();
        let lead = self.table.lead.iter();
        for member in lead.chain(&self.table.member) {
            if let Some(ModelChoice::Own(model)) = &member.model {
                models.insert(member.name.clone(), model.name().to_owned());
                engines
                    .models
                    .insert(model.name().to_owned(), model.clone());
            }
        }
        for member in &mut spec.members {
            if let Some(name) = models.get(member.name.as_str()) {
                member.agent.model = Some(name.clone());
            }
        }
        spec.permission_defaults.unattended = true;
        if let Some(mode) = self.permissions {
            spec.permission_defaults.mode = mode;
        }
        let bypass = spec.permission_defaults.mode == PermissionMode::Bypass;
        let members = spec.members.iter_mut().map(|member| &mut member.agent);
        let agents: Vec<&mut AgentSpec> = members
            .chain(spec.roles.iter_mut().map(|role| &mut role.agent))
            .collect();
        for agent in agents {
            agent.bypass = bypass;
            if let Some(ModelChoice::Own(model)) = &self.model {
                agent.model.get_or_insert_with(|| model.name().to_owned());
                engines
                    .models
                    .insert(model.name().to_owned(), model.clone());
            }
        }
        Ok(spec)
    }

    fn of_file(&self, file: &Path, reading: Reading<'_>) -> Result<TeamSpec, BuildError> {
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
        } = &self.table;
        let has_settings = name.is_some()
            || mode.is_some()
            || max_rounds.is_some()
            || coordinator_prompt.is_some()
            || *limits != LimitsTable::default()
            || lead.is_some()
            || !member.is_empty()
            || !roles.is_empty();
        if has_settings || self.project.is_some() {
            let sentence = "cannot combine a team file with a name, mode, number of rounds, coordinator prompt, \
                            project, limits, lead, members or roles: the file determines them";
            return Err(BuildError::Invalid(vec![sentence.to_owned()]));
        }
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

    /// The environment of this process, unless [`TeamBuilder::clear_env`] was called, and the variables of the builder.
    fn members_environment(&mut self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        if !self.clears_env {
            // A variable that is not valid UTF-8 cannot be passed on in JSON.
            let inherited = std::env::vars_os();
            let inherited = inherited.filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            });
            environment.extend(inherited);
        }
        environment.append(&mut self.environment);
        environment
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
