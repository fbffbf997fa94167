//! A running team: goals, the board, messages, members, memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_team_protocol::method::{
    AddTask, AssignTask, ClaimTask, EndTask, GetMemory, ListMessages, MemberKill, MemberRestart,
    MemberSpawn, MemberStop, MemoryGet, MessageList, MessageSend, Method, Nothing, OneMember,
    OneTask, RunStart, SendAnswer, SendMessage, SetBudget, Spawn, StartRun, Stop, TaskAdd,
    TaskAnswer, TaskAssign, TaskCancel, TaskChanges, TaskClaim, TaskComplete, TaskFail,
    TaskRelease, TaskRetry, TaskShow, TaskUpdate, TeamBudget, TeamShow, TeamUp, UpdateTask,
};
use agent_team_protocol::result::RunResult;
use agent_team_protocol::spec::{Budget, TaskSpec};
use agent_team_protocol::view::{MemberView, MessageView, Receipt, RunState, TaskView};
use agent_team_protocol::{
    ErrorCode, MemberName, Party, Recipient, Refusal, RoleName, RunId, TaskId, TeamId,
};
use serde_json::Value;
use serde_json::value::to_raw_value;
use tokio::sync::Mutex;

use crate::goal::Goal;
use crate::result;
use crate::settings::{BuildError, TeamSettings};
use crate::stream::RunStream;
use crate::subscription::Subscription;
use crate::team_thread::{SupervisorClient, TeamCallError, TeamThread};

/// Maximum number of messages that [`Messages::list`] returns.
const MESSAGES: u32 = 1_000;

/// Why a run was refused or interrupted.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A run is under way: a team works on one goal at a time.
    #[error("a run is under way already")]
    UnderWay,
    /// The team has no lead, or refuses the goal for another reason.
    #[error(transparent)]
    Refused(Refusal),
    /// The team was shut down, or its journal could not be stored.
    #[error("the team has ended")]
    Ended,
    /// The variables of the goal cannot be used.
    #[error("cannot use the variables of the goal: {0}")]
    Variables(#[source] BuildError),
    /// The answer does not have the form that this build expects.
    #[error(transparent)]
    Answer(TeamCallError),
}

impl From<TeamCallError> for RunError {
    fn from(failed: TeamCallError) -> Self {
        match failed {
            TeamCallError::Refused(refusal) if refusal.code == ErrorCode::RunUnderWay => {
                Self::UnderWay
            }
            TeamCallError::Refused(refusal) => Self::Refused(refusal),
            TeamCallError::Ended => Self::Ended,
            other @ TeamCallError::Answer(_) => Self::Answer(other),
        }
    }
}

/// A running team. Dropping this value stops the members immediately, and waits at most about 15 s until their threads
/// have exited. [`Team::shutdown`] gives the members time to finish.
#[derive(Debug)]
pub struct Team {
    thread: TeamThread,
    /// Whether the team was given a goal since it was built. A run that is under way before the first goal belongs to
    /// an earlier process, which has ended, so the first goal replaces it.
    begun: AtomicBool,
    settings: Mutex<AppliedSettings>,
}

/// The settings of the team, and the variables of the run for which they were last applied.
#[derive(Debug)]
struct AppliedSettings {
    settings: TeamSettings,
    variables: BTreeMap<String, String>,
}

impl Team {
    pub(crate) fn new(thread: TeamThread, settings: TeamSettings) -> Self {
        let variables = BTreeMap::new();
        Self {
            thread,
            begun: AtomicBool::new(false),
            settings: Mutex::new(AppliedSettings {
                settings,
                variables,
            }),
        }
    }

    /// The team's id: its name, and a hash of the project's path.
    pub fn id(&self) -> &TeamId {
        &self.thread.supervisor().team
    }

    /// Gives the lead a goal, and waits for the result. Dropping the future does not stop the run.
    ///
    /// # Errors
    /// When a run is under way, the team has no lead, no member can continue the run, the goal's memory or variables
    /// cannot be used, or the team has ended.
    pub async fn run(&self, goal: impl Into<Goal>) -> Result<RunResult, RunError> {
        let (supervisor, goal) = (self.thread.supervisor(), goal.into());
        self.apply_variables(&goal.variables).await?;
        let before = supervisor.ask::<TeamShow>(Nothing {}).await?.revision;
        let run = self.start(goal).await?;
        Ok(result::wait_for_result(supervisor, run, before).await?)
    }

    /// Gives the lead a goal, and streams the events of the team until the run ends. Dropping the stream does not stop
    /// the run.
    ///
    /// # Errors
    /// When a run is under way, the team has no lead, the goal's memory or variables cannot be used, or the team has
    /// ended.
    pub async fn run_streaming(&self, goal: impl Into<Goal>) -> Result<RunStream, RunError> {
        let goal = goal.into();
        self.apply_variables(&goal.variables).await?;
        let subscription = Subscription::start(self.thread.supervisor()).await?;
        let run = self.start(goal).await?;
        Ok(RunStream::new(run, subscription))
    }

    /// Applies the variables of a goal. Members whose prompts change are launched again.
    async fn apply_variables(&self, variables: &BTreeMap<String, String>) -> Result<(), RunError> {
        let mut applied = self.settings.lock().await;
        if applied.variables == *variables {
            return Ok(());
        }
        let supervisor = self.thread.supervisor();
        let goal = supervisor.ask::<TeamShow>(Nothing {}).await?.goal;
        let is_running = goal.is_some_and(|goal| goal.state == RunState::UnderWay);
        if is_running && self.begun.load(Ordering::Relaxed) {
            return Err(RunError::UnderWay);
        }
        let up = applied.settings.up(variables, false);
        supervisor
            .call::<TeamUp>(up.map_err(RunError::Variables)?)
            .await?;
        applied.variables.clone_from(variables);
        Ok(())
    }

    async fn start(&self, goal: Goal) -> Result<RunId, TeamCallError> {
        let memory = goal.memory.into_iter();
        let memory = memory.map(|(key, value)| Ok((key, to_raw_value(&value)?)));
        let memory: Result<_, serde_json::Error> = memory.collect();
        let start = StartRun {
            goal: goal.text,
            then_down: false,
            anew: !self.begun.swap(true, Ordering::Relaxed),
            memory: memory.map_err(|error| Refusal::internal(error.to_string()))?,
            effort: goal.effort,
            attach_outside: false,
        };
        Ok(self.thread.supervisor().call::<RunStart>(start).await?.run)
    }

    /// The board, with the permissions of the user. A team without members has a board as well.
    pub fn board(&self) -> Board<'_> {
        Board(self.thread.supervisor())
    }

    /// The team's messages; messages are sent as the user. A recipient need not be running.
    pub fn messages(&self) -> Messages<'_> {
        Messages(self.thread.supervisor())
    }

    /// The members, with the permissions of the user.
    pub fn members(&self) -> Members<'_> {
        Members(self.thread.supervisor())
    }

    /// The shared memory of the team: JSON values by key, written by members and by the memory of a goal.
    ///
    /// # Errors
    /// When the team has ended.
    pub async fn memory(&self) -> Result<BTreeMap<String, Value>, TeamCallError> {
        let all = GetMemory { key: None };
        let memory = self.thread.supervisor().ask::<MemoryGet>(all).await?;
        let values = memory.values.into_iter();
        let parsed = values.map(|(key, value)| Ok((key, serde_json::from_str(value.get())?)));
        parsed
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| TeamCallError::Answer(error.to_string()))
    }

    /// Replaces the limits of [`TeamBuilder::budget`](crate::TeamBuilder::budget) on the total spending of all members
    /// on one goal. Members blocked by the old limits continue if the new limits allow it.
    ///
    /// # Errors
    /// When the team has ended.
    pub async fn set_budget(&self, budget: Budget) -> Result<(), TeamCallError> {
        let member = None;
        let set = SetBudget { member, budget };
        self.thread.supervisor().call::<TeamBudget>(set).await?;
        Ok(())
    }

    /// Stops the team: its members finish within a grace period, then its threads end. Returns a receipt for each
    /// object that was stopped, removed or kept, or that survived.
    ///
    /// # Errors
    /// When the team had already ended.
    pub async fn shutdown(self) -> Result<Vec<Receipt>, TeamCallError> {
        Ok(self.thread.shut_down().await?.receipts)
    }
}

/// The tasks of a team.
#[derive(Debug, Clone, Copy)]
pub struct Board<'a>(&'a SupervisorClient);

/// Changes return the task's id, its generation, and the tasks in progress that declare overlapping files. Every call
/// fails when the supervisor refuses it, and when the team has ended. The error of a refusal contains the reason.
impl Board<'_> {
    /// All tasks, in the order of their ids.
    pub async fn list(&self) -> Result<Vec<TaskView>, TeamCallError> {
        self.0.tasks().await
    }

    /// One task.
    pub async fn show(&self, task: TaskId) -> Result<TaskView, TeamCallError> {
        self.0.ask::<TaskShow>(OneTask { task }).await
    }

    /// Adds a task. If its `key` is empty, the title is the key.
    pub async fn add(&self, mut spec: TaskSpec) -> Result<TaskAnswer, TeamCallError> {
        if spec.key.is_empty() {
            spec.key.clone_from(&spec.title);
        }
        self.0.call::<TaskAdd>(AddTask { spec }).await
    }

    /// Changes the given fields of a task.
    pub async fn update(
        &self,
        task: TaskId,
        changes: TaskChanges,
    ) -> Result<TaskAnswer, TeamCallError> {
        self.0
            .call::<TaskUpdate>(UpdateTask { task, changes })
            .await
    }

    /// Claims a task for the user. The claim lasts until the task ends or is released.
    pub async fn claim(&self, task: TaskId) -> Result<TaskAnswer, TeamCallError> {
        let task = Some(task);
        self.0.call::<TaskClaim>(ClaimTask { task }).await
    }

    /// Restricts a pending task to one member.
    pub async fn assign(
        &self,
        task: TaskId,
        member: MemberName,
    ) -> Result<TaskAnswer, TeamCallError> {
        self.0.call::<TaskAssign>(AssignTask { task, member }).await
    }

    /// Completes a task in progress; the user may complete the claim of any owner.
    pub async fn complete(&self, task: TaskId, result: &str) -> Result<TaskAnswer, TeamCallError> {
        self.end::<TaskComplete>(task, result).await
    }

    /// Marks a task in progress as failed.
    pub async fn fail(&self, task: TaskId, reason: &str) -> Result<TaskAnswer, TeamCallError> {
        self.end::<TaskFail>(task, reason).await
    }

    /// Makes a task in progress pending again, with a note for the next owner.
    pub async fn release(&self, task: TaskId, note: &str) -> Result<TaskAnswer, TeamCallError> {
        self.end::<TaskRelease>(task, note).await
    }

    /// Makes a failed or cancelled task pending again.
    pub async fn retry(&self, task: TaskId) -> Result<TaskAnswer, TeamCallError> {
        self.0.call::<TaskRetry>(OneTask { task }).await
    }

    /// Cancels a task that is not completed. A member that works on the task abandons it.
    pub async fn cancel(&self, task: TaskId) -> Result<TaskAnswer, TeamCallError> {
        self.0.call::<TaskCancel>(OneTask { task }).await
    }

    async fn end<M: Method<Args = EndTask>>(
        &self,
        task: TaskId,
        text: &str,
    ) -> Result<M::Answer, TeamCallError> {
        let end = EndTask {
            task,
            generation: None,
            text: text.to_owned(),
        };
        self.0.call::<M>(end).await
    }
}

/// The messages of a team.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a>(&'a SupervisorClient);

/// Every call fails when the supervisor refuses it, and when the team has ended. The error of a refusal contains the
/// reason.
impl Messages<'_> {
    /// Sends a message as the user. When this method returns, the message is in the inbox of every recipient in the
    /// answer.
    pub async fn send(
        &self,
        to: Recipient,
        text: impl Into<String>,
    ) -> Result<SendAnswer, TeamCallError> {
        self.send_with(to, text.into(), false).await
    }

    /// Like `send`, and interrupts the recipients' turns.
    pub async fn send_urgent(
        &self,
        to: Recipient,
        text: impl Into<String>,
    ) -> Result<SendAnswer, TeamCallError> {
        self.send_with(to, text.into(), true).await
    }

    /// The newest 1,000 messages, oldest first; fewer if they do not fit into one answer. `of`: only messages from or
    /// to this party.
    pub async fn list(&self, of: Option<Party>) -> Result<Vec<MessageView>, TeamCallError> {
        let limit = MESSAGES;
        let list = self.0.ask::<MessageList>(ListMessages { of, limit });
        Ok(list.await?.messages)
    }

    async fn send_with(
        &self,
        to: Recipient,
        text: String,
        urgent: bool,
    ) -> Result<SendAnswer, TeamCallError> {
        let message = SendMessage {
            to,
            text,
            urgent,
            reply_to: None,
            summary: None,
            wants_reply: false,
            attach_outside: false,
        };
        self.0.call::<MessageSend>(message).await
    }
}

/// The members of a team.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a>(&'a SupervisorClient);

/// Every call fails when the supervisor refuses it, and when the team has ended. The error of a refusal contains the
/// reason.
impl Members<'_> {
    /// All members, the lead first.
    pub async fn list(&self) -> Result<Vec<MemberView>, TeamCallError> {
        Ok(self.0.ask::<TeamShow>(Nothing {}).await?.members)
    }

    /// Adds a member of a role; the default name is `<role>-<n>`.
    pub async fn spawn(
        &self,
        role: RoleName,
        name: Option<MemberName>,
    ) -> Result<MemberView, TeamCallError> {
        self.spawn_with(Spawn::of(role, name)).await
    }

    /// Adds a member with settings of its own, such as a prompt, an effort or a working directory. `model` is a name
    /// such as `openai/gpt-5`. For a model of the caller, spawn a role that has this model: see [`Role::model`].
    ///
    /// ```no_run
    /// # async fn spawn(team: &agent_team::Team) -> Result<(), Box<dyn std::error::Error>> {
    /// use agent_team::Spawn;
    ///
    /// let reviewer = Spawn {
    ///     prompt: Some("Review only the tests.".to_owned()),
    ///     cwd: Some("crates/api".into()),
    ///     ..Spawn::of("reviewer".parse()?, None)
    /// };
    /// team.members().spawn_with(reviewer).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Role::model`]: crate::Role::model
    pub async fn spawn_with(&self, spawn: Spawn) -> Result<MemberView, TeamCallError> {
        Ok(self.0.call::<MemberSpawn>(spawn).await?.member)
    }

    /// Asks a member to stop, terminates it after a grace period, and keeps it stopped.
    pub async fn stop(&self, member: MemberName) -> Result<MemberView, TeamCallError> {
        let stopped = self.0.call::<MemberStop>(Stop {
            member,
            force: false,
        });
        Ok(stopped.await?.member)
    }

    /// Kills a member and all of its processes immediately, and keeps it stopped.
    pub async fn kill(&self, member: MemberName) -> Result<MemberView, TeamCallError> {
        let killed = self.0.call::<MemberKill>(OneMember { member });
        Ok(killed.await?.member)
    }

    /// Replaces the limits of [`Member::budget`]. A blocked member continues if the new limits allow it.
    ///
    /// [`Member::budget`]: crate::Member::budget
    pub async fn set_budget(
        &self,
        member: MemberName,
        budget: Budget,
    ) -> Result<(), TeamCallError> {
        let member = Some(member);
        self.0
            .call::<TeamBudget>(SetBudget { member, budget })
            .await?;
        Ok(())
    }

    /// Starts a new launch, which continues the member's conversation.
    pub async fn restart(&self, member: MemberName) -> Result<MemberView, TeamCallError> {
        let restarted = self.0.call::<MemberRestart>(OneMember { member });
        Ok(restarted.await?.member)
    }
}
