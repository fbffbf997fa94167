//! A member's worker inside a process that does other things too. Called by the embedding library, once per launch, and
//! by tests.
//!
//! Without a terminal, without signals, in no directory of its own, and with nothing that belongs to the process as a
//! whole. Dropping its future is the member's sudden death; what its programs left behind is ended by the supervisor.

mod seat;
pub mod thread;

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::notification::{Assignment, DeliveredMessage};
use agent_team_protocol::spec;
use agent_team_protocol::{LaunchId, MemberName, RoleName};
use agent_team_system::directories::Directories;

pub use seat::Seat;

use crate::agent::Agent;
use crate::desk::Desk;
use crate::launch::{self, TakeLaunchError};
use crate::link::{Link, Reach};
use crate::model::Model;
use crate::pane::{Pane, Surface};
use crate::team_tool::Shared;
use crate::tool::Tool;
use crate::worker::{Parts, Worker};
use crate::{
    RunError, agent_pane, confinement, introduction, makings, model_of, parts, think, workplace,
};

/// What does a member's work in place of a model. Made anew for each of the member's launches.
///
/// One call is under way at a time. Its future is dropped where it stands when the task is taken away, the member is
/// killed, or its grace is over: what must be cleaned up belongs into a `Drop`. A panic is the member's death alone: it
/// is started again as after any crash.
pub trait Engine: Send {
    /// Does a task that the member owns. `Ok` completes it with this result, after its `verify` line if it has one; `Err`
    /// fails it for this reason.
    fn work<'a>(&'a mut self, task: &'a Assignment, seat: &'a Seat) -> Working<'a, Worked>;

    /// Hears messages that came while there was no task, in order; the lead hears the goal of a run this way, from the
    /// user. They are read when this returns, and are heard again by the next launch if it does not.
    fn hear<'a>(&'a mut self, messages: &'a [DeliveredMessage], seat: &'a Seat) -> Working<'a, ()> {
        let _nothing_to_do = (messages, seat);
        Box::pin(async {})
    }
}

/// A task's result, or why it failed.
pub type Worked = Result<String, String>;

/// A future that may be sent to another thread.
pub type Working<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A launch that this process has taken: from here on nobody else is its worker.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct HostedLaunch {
    launch: LaunchFile,
    directories: Directories,
    reach: Reach,
}

impl HostedLaunch {
    /// For a program that embeds us. `None`: another took it, or the supervisor withdrew it.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn take(launch_file: &Path) -> Result<Option<Self>, RunError> {
        Ok(Self::take_here(launch_file)?.map(|mut taken| {
            // What the user has set for the installation is not set for a program that embeds us.
            taken.directories.config = taken.directories.run.join("config");
            // Where there is no supervisor any more, the team is over.
            taken.reach = Reach::There;
            taken
        }))
    }

    /// The same for a process of this installation.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn take_here(launch_file: &Path) -> Result<Option<Self>, RunError> {
        let launch = match launch::take(launch_file) {
            Ok(launch) => launch,
            Err(TakeLaunchError::Taken(_)) => return Ok(None),
            Err(error) => return Err(RunError::Launch(Box::new(error))),
        };
        let directories = launch::directories(launch_file, &launch)?;
        Ok(Some(Self {
            launch,
            directories,
            reach: Reach::Start,
        }))
    }

    pub fn launch(&self) -> &LaunchId {
        &self.launch.launch
    }

    /// Where what the member prints is kept.
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

    /// The model that it is to think with, as somebody wrote it.
    pub fn model(&self) -> Option<&str> {
        self.launch.agent.model.as_deref()
    }

    pub fn engine(&self) -> spec::Engine {
        self.launch.engine
    }

    /// Thinks with the tools that the launch names, and with this model or the one that it names. Gives the exit code.
    ///
    /// # Errors
    /// When the system gives no thread or no directory.
    pub async fn think(self, model: Option<Arc<dyn Model>>) -> Result<u8, RunError> {
        let parts = self.parts().await?;
        let model = match (workplace(&self.launch), model) {
            (Err(words), _) => Err(words),
            (Ok(_), Some(model)) => Ok(model),
            (Ok(_), None) => model_of(&self.launch, &parts.directories.settings_file()).await,
        };
        Ok(think(&self.launch, parts, Surface::none(), model).await)
    }

    /// Thinks with this model and these tools. Gives the exit code.
    ///
    /// # Errors
    /// As [`HostedLaunch::think`].
    pub async fn think_with<T>(self, model: Arc<dyn Model>, tools: T) -> Result<u8, RunError>
    where
        T: FnOnce(&Desk, &Shared) -> Vec<Box<dyn Tool>>,
    {
        let parts = self.parts().await?;
        let confinement = confinement(&self.launch, &parts)?;
        let makings = makings(&self.launch, &parts.place, model, confinement, tools)?;
        let pane = agent_pane(&self.launch, &parts, Surface::none());
        Ok(Agent::new(parts, pane, makings).run().await)
    }

    /// Works with this engine. Gives the exit code.
    ///
    /// # Errors
    /// As [`HostedLaunch::think`].
    pub async fn work(self, engine: Box<dyn Engine>) -> Result<u8, RunError> {
        let parts = self.parts().await?;
        let pane = agent_pane(&self.launch, &parts, Surface::none());
        let LaunchFile {
            member, role, lead, ..
        } = self.launch;
        let (desk, calls) = Desk::new(member, role, lead);
        Ok(Agent::with_engine(parts, pane, desk, calls, engine)
            .run()
            .await)
    }

    /// Runs the lines of tasks. Gives the exit code.
    ///
    /// # Errors
    /// As [`HostedLaunch::think`].
    pub async fn run_commands(self) -> Result<u8, RunError> {
        let parts = self.parts().await?;
        let unfit = workplace(&self.launch).err();
        let pane = Pane::on(Surface::none(), self.launch.member);
        Ok(Worker::new(parts, pane, unfit).run().await)
    }

    async fn parts(&self) -> Result<Parts, RunError> {
        let (at, initialize) = (self.directories.clone(), introduction(&self.launch));
        let reach = self.reach;
        // It blocks on a runtime of its own, which this one does not allow here.
        let link = tokio::task::spawn_blocking(move || Link::start(at, initialize, reach));
        let link = link.await.map_err(io::Error::other)??;
        Ok(parts(
            &self.launch,
            self.directories.clone(),
            link,
            None,
            None,
        ))
    }
}
