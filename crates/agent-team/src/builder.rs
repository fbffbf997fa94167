//! The builder of a team: receives the settings from the caller, and starts the team.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent_team_protocol::TeamId;
use agent_team_protocol::hook::HookEvent;
use agent_team_protocol::method::TeamUp;
use agent_team_protocol::permissions::Mode as PermissionMode;
use agent_team_protocol::request::{Decision, RequestView, UserQuestionView};
use agent_team_protocol::spec::Budget;
use agent_team_supervisor::embed::Durability;
use agent_team_teammate::hosted::{CustomTool, Engine, custom};

use crate::access::{AgentHook, McpServer};
use crate::decisions::DecisionCallbacks;
use crate::member::{Member, ModelChoice, Role};
use crate::member_threads::{Engines, IsOffered, MakeEngine, MemberInfo};
use crate::settings::{BuildError, Mode, TeamSettings};
use crate::subscription::{EnvelopeCallback, Subscription};
use crate::team::Team;
use crate::team_dirs::{StoredSession, TeamDirs};
use crate::team_thread::{TeamCallError, TeamThread};

/// The settings of a team. Created by [`Team::builder`].
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct TeamBuilder {
    settings: TeamSettings,
    engine: Option<MakeEngine>,
    tools: Vec<(CustomTool, IsOffered)>,
    store: Option<PathBuf>,
    session: Option<StoredSession>,
    fresh: bool,
    callback: Option<EnvelopeCallback>,
    decisions: DecisionCallbacks,
}

impl std::fmt::Debug for TeamBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TeamBuilder")
            .field("settings", &self.settings)
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
        self.settings.table.name = Some(name.into());
        self
    }

    /// How the team divides its work. Default: [`Mode::Lead`], or [`Mode::Manual`] for a team without members that use
    /// a model.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.settings.table.mode = Some(mode);
        self
    }

    /// Sets the number of rounds after which a run in [`Mode::Coordinator`] ends without an answer. Default: 5.
    pub fn max_rounds(mut self, rounds: u32) -> Self {
        self.settings.table.max_rounds = Some(rounds);
        self
    }

    /// Sets the template of the round prompts in [`Mode::Coordinator`], with the placeholders `{worker_descriptions}`,
    /// `{task}` and `{prior_outputs}`.
    pub fn coordinator_prompt(mut self, template: impl Into<String>) -> Self {
        self.settings.table.coordinator_prompt = Some(template.into());
        self
    }

    /// Replaces the default lead.
    pub fn lead(mut self, lead: Member) -> Self {
        self.settings.table.lead = Some(lead);
        self
    }

    /// Adds a member.
    pub fn member(mut self, member: Member) -> Self {
        self.settings.table.member.push(member);
        self
    }

    /// Adds a role, which takes precedence over a built-in role of the same name.
    pub fn role(mut self, role: Role) -> Self {
        self.settings.table.roles.insert(role.name.clone(), role);
        self
    }

    /// Maximum number of teammates that are not stopped; the lead does not count. Default: 10.
    pub fn max_teammates(mut self, teammates: u32) -> Self {
        self.settings.table.limits.teammates = Some(teammates);
        self
    }

    /// Sets limits on the total spending of all members on one goal. The lead and the user are warned at 80 %. At 100 %
    /// the members wait for [`Team::set_budget`], and so does the run.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.table.limits.budget = budget.into();
        self
    }

    /// Reads the team from this file. The build fails if the builder also sets a name, mode, number of rounds,
    /// coordinator prompt, limits, lead, members, roles, rules, hooks, MCP servers or project.
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.settings.file = Some(file.into());
        self
    }

    /// The project: the working directory of the members' tools, and the source of role files. Default: a private
    /// directory of the team, or with [`TeamBuilder::store`] a directory of the session in the store.
    pub fn project(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.project = Some(directory.into());
        self
    }

    /// Offers the project's skills to the members, and adds its instruction files (`AGENTS.md`, `CLAUDE.md` and
    /// `GEMINI.md`) to their system prompts. Default: `false`, because the program that builds the team need not trust
    /// the project. Has no effect with [`TeamBuilder::file`]: the team file decides.
    pub fn instructions(mut self, on: bool) -> Self {
        self.settings.table.defaults.instructions = on;
        self
    }

    /// Sets the value of `{{name}}` in prompts and role files.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.variables.insert(name.into(), value.into());
        self
    }

    /// Adds a variable to the members' environment: for their tools, and for the keys and base URLs of models. The
    /// tools of agents inherit only some variables of the program's environment, such as `PATH`, `HOME`, and the
    /// settings of compilers and build tools.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.environment.insert(name.into(), value.into());
        self
    }

    /// Gives the members an environment that contains only the variables of [`TeamBuilder::env`], and none of the
    /// program's environment.
    pub fn clear_env(mut self) -> Self {
        self.settings.clears_env = true;
        self
    }

    /// Adds a variable for programs that the tools run. Its value is redacted for models, the journal and logs. The
    /// value must have at least 6 bytes.
    pub fn secret(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.secrets.insert(name.into(), value.into());
        self
    }

    /// The default model of members: a name such as `"anthropic/claude-sonnet-5-5"`, or a [`Model`] in an
    /// `Arc`. Default: the first provider for which the environment has a key or a server.
    ///
    /// [`Model`]: crate::Model
    pub fn model(mut self, model: impl Into<ModelChoice>) -> Self {
        self.settings.model = Some(model.into());
        self
    }

    /// Offers a tool of the caller to the model of every member. [`Member::tools`] and [`Member::deny_tools`] do not
    /// apply to it.
    pub fn tool(self, tool: CustomTool) -> Self {
        self.tool_for(tool, |_| true)
    }

    /// Offers a tool of the caller to the model of each member for which `is_offered` returns true.
    pub fn tool_for<F>(mut self, tool: CustomTool, is_offered: F) -> Self
    where
        F: Fn(&MemberInfo) -> bool + Send + Sync + 'static,
    {
        self.tools.push((tool, Box::new(is_offered)));
        self
    }

    /// Offers the tools of an MCP server to the agents; [`Member::mcp`] and [`Role::mcp`] choose servers. Each call of
    /// such a tool needs permission, by a rule, the mode or a decision.
    pub fn mcp(mut self, server: McpServer) -> Self {
        self.settings.table.mcp.insert(server.name.clone(), server);
        self
    }

    /// Sets the hook `task_completed` or `teammate_idle` of a team file: a shell line that the supervisor runs in the
    /// project directory.
    pub fn hook(mut self, name: impl Into<String>, line: impl Into<String>) -> Self {
        let hooks = &mut self.settings.table.hooks.of_board;
        hooks.insert(name.into(), line.into());
        self
    }

    /// Adds a hook of the agents: a shell line that runs at this event with the rights of the program, outside the
    /// sandbox. It receives JSON on stdin, and its exit code or answer can block a call. `matcher` selects tools, such
    /// as `Edit|Write`, or another subject of the event; an empty matcher selects all. Hooks of one event run in the
    /// order in which they were added.
    pub fn agent_hook(
        mut self,
        event: HookEvent,
        matcher: impl Into<String>,
        line: impl Into<String>,
    ) -> Self {
        let hook = AgentHook {
            run: line.into(),
            matcher: matcher.into(),
        };
        let hooks = &mut self.settings.table.hooks.of_agents;
        hooks.entry(event.name()).or_default().push(hook);
        self
    }

    /// Denies the calls that match a rule, such as `Bash(git push:*)`, `Edit(src/**)` or `mcp__github`. A deny rule
    /// takes precedence over every other rule.
    pub fn deny(mut self, rule: impl Into<String>) -> Self {
        self.settings.table.permissions.deny.push(rule.into());
        self
    }

    /// Requires a decision for the calls that match a rule, even if another rule allows them.
    pub fn ask(mut self, rule: impl Into<String>) -> Self {
        self.settings.table.permissions.ask.push(rule.into());
        self
    }

    /// Allows the calls that match a rule. Rules that deny or ask, and the mode `plan`, take precedence.
    pub fn allow(mut self, rule: impl Into<String>) -> Self {
        self.settings.table.permissions.allow.push(rule.into());
        self
    }

    /// Decides the permission requests and the plans of members as the user. Without this callback, requests to the
    /// user are denied. `decide` is called once for each request. The member waits without a time limit. If the
    /// decision does not fit the request, or `decide` panics, the request is denied.
    ///
    /// A separate thread with a Tokio runtime runs the callbacks for all requests and questions of the team.
    pub fn on_permission<F, D>(mut self, decide: D) -> Self
    where
        D: Fn(RequestView) -> F + Send + Sync + 'static,
        F: Future<Output = Decision> + Send + 'static,
    {
        self.decisions.permission = Some(Arc::new(move |request| Box::pin(decide(request))));
        self
    }

    /// Answers the questions that members ask the user. Without this callback and [`TeamBuilder::on_permission`], no
    /// member can ask the user. With only `on_permission`, members can ask, and receive the reply that no user can
    /// answer. `answer` runs on the same thread as the callback of `on_permission`.
    pub fn on_question<F, A>(mut self, answer: A) -> Self
    where
        A: Fn(UserQuestionView) -> F + Send + Sync + 'static,
        F: Future<Output = String> + Send + 'static,
    {
        self.decisions.question = Some(Arc::new(move |question| Box::pin(answer(question))));
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

    /// Sets the permission mode of the members. Without [`TeamBuilder::on_permission`], calls that need a decision are
    /// denied, unless the team file lets the lead decide about them. Default: the mode of the team file; without a team
    /// file, [`PermissionMode::AcceptEdits`]: members may edit files of the project, and run only commands that read
    /// it.
    pub fn permission_mode(mut self, mode: PermissionMode) -> Self {
        self.settings.permissions = Some(mode);
        self
    }

    /// Trusts the settings of the team file that need trust, by the digest in [`BuildError::Untrusted`].
    pub fn trust(mut self, digest: impl Into<String>) -> Self {
        self.settings.trust = Some(digest.into());
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
        self.session = Some(StoredSession {
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
        let faults = custom::faults(self.tools.iter().map(|(tool, _)| tool));
        if !faults.is_empty() {
            return Err(BuildError::Invalid(faults));
        }
        let dirs = self.dirs()?;
        let project = dirs.project(self.settings.project.as_deref());
        let project = project.map_err(|source| BuildError::Directory {
            path: self.settings.project.clone().unwrap_or_default(),
            source,
        })?;
        self.settings
            .prepare(project, self.decisions.has_callback())?;
        let up = self.settings.up(&BTreeMap::new(), self.fresh)?;
        let engines = Engines {
            engine: self.engine.take(),
            models: self.settings.own_models()?,
            tools: std::mem::take(&mut self.tools),
        };
        let team = TeamId::new(&up.spec.name, &up.spec.project);
        let durability = match self.store {
            Some(_) => Durability::Power,
            None => Durability::Process,
        };
        let thread = TeamThread::new(team, dirs, durability, engines).await?;
        thread
            .supervisor()
            .call::<TeamUp>(up)
            .await
            .map_err(|error| match error {
                TeamCallError::Refused(refusal) => BuildError::Refused(refusal),
                other @ (TeamCallError::Ended | TeamCallError::Answer(_)) => {
                    BuildError::Start(Box::new(other))
                }
            })?;
        // Start the callbacks only after `team/up`: before that call, the supervisor refuses calls about this team.
        if self.decisions.has_callback() {
            let started = self.decisions.start(thread.supervisor().clone());
            started.map_err(|error| BuildError::Start(Box::new(error)))?;
        }
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
        Ok(Team::new(thread, self.settings))
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
}
