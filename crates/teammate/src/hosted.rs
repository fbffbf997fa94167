//! A member's worker within a process that also does other work. Called once per launch by the embedding library, by
//! the host process of hosted members and by tests.
//!
//! The worker uses no terminal, handles no signals, and changes no process-wide state such as the current directory.
//! Dropping the future kills the member; the supervisor then terminates the processes that the member left behind.

pub(crate) mod engine;
pub(crate) mod team_handle;
pub(crate) mod team_tools;
pub mod thread;

use std::io;
use std::path::Path;
use std::sync::Arc;

use agent_team_llm::Model;
use agent_team_protocol::engine::Engine as ProtocolEngine;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::{LaunchId, MemberName, RoleName};
use agent_team_system::directories::Directories;
use agent_team_tools::Tool;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::Shared;

pub use agent_team_tools::ToolError;
pub use agent_team_tools::custom::{self, CustomCall, CustomTool};
pub use engine::{Engine, EngineFuture, TaskResult};
pub use team_handle::TeamHandle;
pub use team_tools::TeamTools;

use crate::agent::{Agent, deps};
use crate::engine::task_engine;
use crate::launch::{self, TakeLaunchError};
use crate::link::{Link, WhenAbsent};
use crate::pane::Surface;
use crate::worker::{Worker, WorkerConfig};
use crate::{
    RunError, agent_pane, config, confinement, introduction, models_of, run_agent_loop,
    run_chat_session, run_external, team_tool_context, work_dir, work_on_tasks, worker_config,
};

/// A launch that this process has taken: no other process can become its worker.
#[expect(missing_debug_implementations, reason = "the launch contains secrets")]
pub struct HostedLaunch {
    launch: LaunchFile,
    directories: Directories,
    when_absent: WhenAbsent,
    custom_tools: Vec<CustomTool>,
}

impl HostedLaunch {
    /// Takes a launch in an embedding program. `None`: another process has taken the launch, or the supervisor has
    /// withdrawn it.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn take(launch_file: &Path) -> Result<Option<Self>, RunError> {
        Ok(Self::take_in_host_process(launch_file)?.map(|mut taken| {
            // A member of an embedding program must not read the user's settings: this directory contains none.
            taken.directories.config = taken.directories.run.join("config");
            // Without a supervisor, the team is over: do not start another supervisor.
            taken.when_absent = WhenAbsent::Wait;
            taken
        }))
    }

    /// Takes a launch in the host process of this installation. Returns `None` in the same cases as
    /// [`HostedLaunch::take`].
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn take_in_host_process(launch_file: &Path) -> Result<Option<Self>, RunError> {
        let launch = match launch::take(launch_file) {
            Ok(launch) => launch,
            Err(TakeLaunchError::Taken(_)) => return Ok(None),
            Err(error) => return Err(RunError::Launch(Box::new(error))),
        };
        let directories = launch::directories(launch_file, &launch)?;
        Ok(Some(Self {
            launch,
            directories,
            when_absent: WhenAbsent::Start,
            custom_tools: Vec::new(),
        }))
    }

    /// Offers these tools of the embedding program to the member's model.
    #[must_use]
    pub fn with_custom_tools(mut self, tools: Vec<CustomTool>) -> Self {
        self.custom_tools = tools;
        self
    }

    pub fn launch(&self) -> &LaunchId {
        &self.launch.launch
    }

    /// The file with the member's output.
    pub fn log(&self) -> &Path {
        &self.launch.log
    }

    pub fn member(&self) -> &MemberName {
        &self.launch.member
    }

    pub fn role(&self) -> &RoleName {
        &self.launch.role
    }

    pub fn is_lead(&self) -> bool {
        self.launch.lead
    }

    /// The name of the model as written in the configuration, if any.
    pub fn model(&self) -> Option<&str> {
        self.launch.agent.model.as_deref()
    }

    /// Runs the member's engine. An agent uses `model`, or the configured model if `model` is `None`. Returns the exit
    /// code.
    ///
    /// # Errors
    /// If the thread of the connection cannot be started, a directory of the member cannot be created or used, the
    /// user's settings are invalid, or this version does not have the engine.
    pub async fn run(self, model: Option<Arc<dyn Model>>) -> Result<u8, RunError> {
        if self.launch.engine.uses_model() {
            return self.run_agent(model).await;
        }
        if self.launch.engine == ProtocolEngine::Joined {
            let worker_config = self.worker_config().await?;
            return Ok(run_chat_session(&self.launch, worker_config, Surface::none()).await);
        }
        if self.launch.engine.is_external() {
            let worker_config = self.worker_config().await?;
            let unfit = work_dir(&self.launch).err();
            return Ok(run_external(&self.launch, worker_config, Surface::none(), unfit).await);
        }
        let Some(engine) = task_engine(self.launch.engine) else {
            return Err(RunError::Engine(self.launch.engine));
        };
        let worker_config = self.worker_config().await?;
        let unfit = work_dir(&self.launch).err();
        Ok(work_on_tasks(&self.launch, engine, worker_config, Surface::none(), unfit).await)
    }

    async fn run_agent(self, model: Option<Arc<dyn Model>>) -> Result<u8, RunError> {
        let worker_config = self.worker_config().await?;
        let settings = worker_config.directories.settings_file();
        let LaunchFile {
            agent,
            member,
            environment,
            ..
        } = &self.launch;
        let models = match (work_dir(&self.launch), model) {
            (Err(report), _) => Err(report),
            (Ok(_), Some(model)) => {
                deps::models_around(model, agent, member.as_str(), environment, &settings).await
            }
            (Ok(_), None) => models_of(&self.launch, &settings).await,
        };
        let (surface, tools) = (Surface::none(), &self.custom_tools);
        Ok(run_agent_loop(&self.launch, worker_config, surface, models, tools).await)
    }

    /// Runs the agent loop with this model and these tools. Returns the exit code.
    ///
    /// # Errors
    /// As [`HostedLaunch::run`].
    pub async fn run_with_tools<T>(self, model: Arc<dyn Model>, tools: T) -> Result<u8, RunError>
    where
        T: FnOnce(&SupervisorClient, &Shared) -> Vec<Box<dyn Tool>>,
    {
        let worker_config = self.worker_config().await?;
        let confinement = confinement(&self.launch, &worker_config)?;
        let config = config(
            &self.launch,
            &worker_config,
            model.into(),
            confinement,
            tools,
        )?;
        let pane = agent_pane(&self.launch, &worker_config, Surface::none());
        let agent = Agent::new(&worker_config, config);
        Ok(Worker::new(worker_config, pane, agent).run().await)
    }

    /// Runs this engine. Returns the exit code.
    ///
    /// # Errors
    /// As [`HostedLaunch::run`].
    pub async fn work(self, engine: Box<dyn Engine>) -> Result<u8, RunError> {
        let worker_config = self.worker_config().await?;
        let pane = agent_pane(&self.launch, &worker_config, Surface::none());
        let context = team_tool_context(&self.launch, &worker_config);
        let LaunchFile {
            member,
            role,
            lead,
            agent,
            ..
        } = self.launch;
        let (client, calls) = SupervisorClient::new(member, role, lead);
        let agent = Agent::with_engine(&worker_config, &agent, context, client, calls, engine);
        Ok(Worker::new(worker_config, pane, agent).run().await)
    }

    async fn worker_config(&self) -> Result<WorkerConfig, RunError> {
        let (directories, initialize) = (self.directories.clone(), introduction(&self.launch));
        let when_absent = self.when_absent;
        // `Link::start` blocks on its own runtime, which is not permitted on a thread of this runtime.
        let link =
            tokio::task::spawn_blocking(move || Link::start(directories, initialize, when_absent));
        let link = link.await.map_err(io::Error::other)??;
        Ok(worker_config(
            &self.launch,
            self.directories.clone(),
            link,
            None,
            None,
        ))
    }
}
