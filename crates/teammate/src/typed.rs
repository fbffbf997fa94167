//! What the person types at the prompt: for a member that runs commands a task of the board, for one that thinks a
//! message. Called by the worker.
//!
//! It travels over connections of its own, as a client: a member's connection never carries the user's words.

use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::{AddTask, MessageSend, Method, SendMessage, TaskAdd};
use agent_team_protocol::rpc::{Call, TeamRef};
use agent_team_protocol::spec::{Engine, TaskSpec};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::{MemberName, Recipient, Refusal, TaskId, TeamId};
use agent_team_system::client::CallError;
use agent_team_system::daemon;
use agent_team_system::directories::Directories;
use tokio::sync::mpsc;

/// Longest title of a typed task, in characters.
const TITLE: usize = 60;

/// Connections that one line is tried over: its key makes that safe.
const ATTEMPTS: u32 = 2;

/// What became of a line: the task that it was made, or nothing more to say of it.
pub(crate) type Added = Result<Option<TaskId>, Refusal>;

/// The worker's side.
#[derive(Debug)]
pub(crate) struct Typed {
    // Unbounded both: a person types the lines.
    pub(crate) lines: mpsc::UnboundedSender<String>,
    pub(crate) added: mpsc::UnboundedReceiver<Added>,
}

impl Typed {
    /// Must be called within the worker's runtime.
    pub(crate) fn start(directories: Directories, launch: &LaunchFile) -> Self {
        let (lines, worker) = mpsc::unbounded_channel();
        let (to_worker, added) = mpsc::unbounded_channel();
        let client = Client {
            directories,
            // Random, and this worker's alone, as the launch is.
            id: format!("{}-pane", launch.launch),
            team: launch.team.clone(),
            member: launch.member.clone(),
            engine: launch.engine,
        };
        tokio::spawn(client.run(worker, to_worker));
        Self { lines, added }
    }
}

struct Client {
    directories: Directories,
    id: String,
    team: TeamId,
    member: MemberName,
    engine: Engine,
}

impl Client {
    async fn run(
        self,
        mut lines: mpsc::UnboundedReceiver<String>,
        added: mpsc::UnboundedSender<Added>,
    ) {
        let mut count: u64 = 0;
        while let Some(line) = lines.recv().await {
            count += 1;
            let key = count.to_string();
            let outcome = match self.engine {
                Engine::Command => {
                    let spec = task(&line, self.member.clone());
                    let added = self.call::<TaskAdd>(key, AddTask { spec }).await;
                    added.map(|added| Some(added.task))
                }
                Engine::Native => {
                    let message = SendMessage {
                        to: Recipient::Member(self.member.clone()),
                        text: line,
                        urgent: false,
                        reply_to: None,
                    };
                    let sent = self.call::<MessageSend>(key, message).await;
                    sent.map(|_arrives_by_itself| None)
                }
            };
            let _worker_gone = added.send(outcome);
        }
    }

    async fn call<M: Method>(&self, key: String, args: M::Args) -> Result<M::Answer, Refusal> {
        let call = Call {
            team: Some(TeamRef::Id(self.team.clone())),
            key: Some(key),
            args,
        };
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            let initialize = Initialize::client(self.id.clone());
            let connected = daemon::connect_or_start(&self.directories, &initialize).await;
            // What the supervisor says of its own accord is not for us, and drops with the connection.
            let (client, _incoming) =
                connected.map_err(|error| Refusal::internal(error.to_string()))?;
            match client.call::<M>(&call).await {
                Ok(answer) => return Ok(answer),
                Err(CallError::Refused(refusal)) => return Err(refusal),
                Err(CallError::Disconnected) if attempts > 0 => {}
                Err(error @ (CallError::Disconnected | CallError::Answer { .. })) => {
                    return Err(Refusal::internal(error.to_string()));
                }
            }
        }
    }
}

/// A task of the person's own, for this member, that is not repeated when its run is lost.
fn task(line: &str, member: MemberName) -> TaskSpec {
    let title = visible_label(line, TITLE);
    TaskSpec {
        key: title.clone(),
        title,
        run: Some(line.to_owned()),
        assignee: Some(member),
        rerun: false,
        ..TaskSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_is_a_task_for_this_member_that_never_runs_twice() {
        let line = "for i in $(seq 1 100); do echo a rather long line of shell; done; true";
        let spec = task(line, "ada".parse().unwrap());
        assert_eq!(spec.run.as_deref(), Some(line));
        assert_eq!(spec.title.chars().count(), TITLE);
        assert_eq!(spec.assignee, Some("ada".parse().unwrap()));
        assert!(!spec.rerun);
    }
}
