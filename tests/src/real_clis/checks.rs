//! The checks of one agent, in the order of a member's life. Each check returns a note about what it has shown, or the
//! reason of its failure; both are cells of the table.

use std::time::Duration;

use agent_team_protocol::method::{Nothing, OneTask, TaskShow, TeamShow};
use agent_team_protocol::view::{MemberState, MemberView, TaskState};

use super::cli::Cli;
use super::playbook::{MAIL, Playbook, Seen};
use super::table::Row;
use crate::Rig;
use crate::processes::{self, Found};

/// The time limit of one step of a check: a slow machine starts five agents at the same time.
const STEP_LIMIT: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A note about what a check has shown, or the reason of its failure.
type Checked = Result<String, String>;

pub(super) struct Checks<'a> {
    pub(super) rig: &'a Rig,
    pub(super) playbook: &'a Playbook,
    pub(super) cli: &'static Cli,
}

impl Checks<'_> {
    pub(super) async fn run(&self) -> Row {
        let start = match self.start().await {
            Ok(_) => None,
            Err(why) => Some(format!("does not start: {why}")),
        };
        if let Some(why) = start {
            return Row::new(self.cli, vec![Err(why)]);
        }
        let checks = vec![
            self.task().await,
            self.allowed().await,
            self.denied().await,
            self.mail().await,
            self.wake().await,
            self.resume().await,
        ];
        Row::new(self.cli, checks)
    }

    /// The agent opens a session.
    async fn start(&self) -> Checked {
        self.until_member("idle", |member| member.state == MemberState::Idle)
            .await?;
        Ok(String::new())
    }

    /// The agent completes a task with the team's tools, and asks for no permission to call them.
    async fn task(&self) -> Checked {
        let task = self.add("DONE{}").await?;
        self.until_task(&task, TaskState::Completed).await?;
        self.is_idle().await
    }

    /// A shell line waits for permission, and runs once it is allowed.
    async fn allowed(&self) -> Checked {
        let (task, file) = self.asks("RUN").await?;
        if self.rig.read(&file).is_some() {
            return Err("ran before it was allowed".to_owned());
        }
        self.decide("allow").await?;
        self.until_task(&task, TaskState::Completed).await?;
        match self.rig.read(&file) {
            Some(_) => self.is_idle().await,
            None => Err("did not run although it was allowed".to_owned()),
        }
    }

    /// A denied shell line does not run, and the agent continues.
    async fn denied(&self) -> Checked {
        let (task, file) = self.asks("TRY").await?;
        self.decide("deny").await?;
        self.until_task(&task, TaskState::Failed).await?;
        match self.rig.read(&file) {
            Some(_) => Err("ran although it was denied".to_owned()),
            None => self.is_idle().await,
        }
    }

    /// A message during a turn reaches the agent in the same turn, if the agent supports messages during a turn;
    /// otherwise after the turn.
    async fn mail(&self) -> Checked {
        self.send("LOOP{}").await?;
        self.until("a turn", |seen| (seen.loops > 0).then_some(()))
            .await?;
        self.send(MAIL).await?;
        let joined = self
            .until("the end of the turn", |seen| seen.joined)
            .await?;
        self.is_idle().await?;
        match (joined, self.cli.joins) {
            (true, true) => Ok("in the turn".to_owned()),
            (false, false) => Ok("after the turn".to_owned()),
            (true, false) => Err("joined the turn, unexpectedly".to_owned()),
            (false, true) => Err("did not join the turn".to_owned()),
        }
    }

    /// A message wakes the idle agent, which reads it.
    async fn wake(&self) -> Checked {
        self.send("ANSWER{awake}").await?;
        self.until_answered("awake").await?;
        self.is_idle().await
    }

    /// After the exit of its worker, no process of the agent is left, and the next launch continues the conversation.
    async fn resume(&self) -> Checked {
        let worker = self.rig.worker(self.cli.word).await;
        let agents = self.agents();
        if agents.is_empty() {
            return Err("its processes cannot be found".to_owned());
        }
        processes::kill(worker).await;
        self.until_member("restarted", |member| {
            member.restarts > 0 && member.state == MemberState::Idle
        })
        .await?;
        let left = self
            .agents()
            .into_iter()
            .find(|agent| agents.contains(agent));
        if let Some(left) = left {
            return Err(format!("its process {} outlives the worker", left.program));
        }
        self.send("ANSWER{back}").await?;
        let has_earlier = self.until_answered("back").await?;
        self.is_idle().await?;
        match has_earlier {
            true => Ok("works".to_owned()),
            false => Err("begins a new conversation".to_owned()),
        }
    }

    /// The processes of the agent, without the worker.
    fn agents(&self) -> Vec<Found> {
        let member = format!("AGENT_TEAM_MEMBER={}\0", self.cli.word);
        let mut found = self.rig.processes();
        found.retain(|found| {
            let environment = std::fs::read(format!("/proc/{}/environ", found.process.pid));
            let environment = environment.unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment);
            environment.contains(&member) && !found.is_ours()
        });
        found
    }

    /// Adds a task whose line makes a file, and waits for the request. Returns the task and the file.
    async fn asks(&self, order: &str) -> Result<(String, String), String> {
        let file = format!("{}-{}.txt", order.to_lowercase(), self.cli.word);
        let task = self.add(&format!("{order}{{echo made > {file}}}")).await?;
        self.until_member("waiting for a permission", |member| member.requests > 0)
            .await?;
        Ok((task, file))
    }

    /// Decides the member's request.
    async fn decide(&self, verb: &str) -> Result<(), String> {
        let requests = self.rig.json(["requests"]).await;
        let requests = requests["requests"].as_array().cloned().unwrap_or_default();
        let of_member = requests
            .iter()
            .find(|request| request["member"] == self.cli.word);
        let Some(id) = of_member.and_then(|request| request["id"].as_str()) else {
            return Err("its request is gone".to_owned());
        };
        self.verb(["requests", verb, id]).await
    }

    async fn add(&self, title: &str) -> Result<String, String> {
        let added = self
            .rig
            .json(["task", "add", title, "--for", self.cli.word])
            .await;
        let id = added["task"].as_str();
        id.map(str::to_owned)
            .ok_or_else(|| format!("no task: {added}"))
    }

    async fn send(&self, text: &str) -> Result<(), String> {
        self.verb(["send", self.cli.word, text]).await
    }

    async fn verb<const N: usize>(&self, arguments: [&str; N]) -> Result<(), String> {
        let output = self.rig.run(arguments).await;
        match output.code {
            0 => Ok(()),
            _ => Err(output.stderr),
        }
    }

    /// The member has no work, and has read everything.
    async fn is_idle(&self) -> Checked {
        self.until_member("idle", |member| {
            member.state == MemberState::Idle && member.unread == 0
        })
        .await?;
        Ok("works".to_owned())
    }

    /// Waits for an answer. Returns whether the model saw the earlier conversation.
    async fn until_answered(&self, text: &str) -> Result<bool, String> {
        let what = format!("the answer {text:?}");
        self.until(&what, |seen| seen.answered.get(text).copied())
            .await
    }

    async fn until_task(&self, id: &str, state: TaskState) -> Result<(), String> {
        let mut last = None;
        let task = id.parse().expect("a task's id");
        self.poll(async || {
            let task = self.rig.ask::<TaskShow>(OneTask { task }).await;
            last = Some(task.state);
            Ok((task.state == state).then_some(()))
        })
        .await?
        .ok_or_else(|| {
            let last = last.map_or_else(String::new, |last| format!("{last:?}"));
            format!("{id} is {last}, not {state:?}")
        })
    }

    async fn until_member(
        &self,
        what: &str,
        is: impl Fn(&MemberView) -> bool,
    ) -> Result<(), String> {
        let mut last = String::new();
        self.poll(async || {
            let members = self.rig.ask::<TeamShow>(Nothing {}).await.members;
            let mut members = members.into_iter();
            let member = members.find(|member| member.name.as_str() == self.cli.word);
            let Some(member) = member else {
                return Ok(None);
            };
            if member.state == MemberState::Held && what != "held" {
                return Err(member.why);
            }
            last = format!("{:?} {}", member.state, member.why);
            Ok(is(&member).then_some(()))
        })
        .await?
        .ok_or_else(|| format!("is not {what} but {last}"))
    }

    /// Waits until the model has seen something for which `is` returns a value.
    async fn until<T>(&self, what: &str, is: impl Fn(&Seen) -> Option<T>) -> Result<T, String> {
        let found = self
            .poll(async || Ok(is(&self.playbook.seen(self.cli.word))))
            .await?;
        found.ok_or_else(|| format!("the model has not seen {what}"))
    }

    /// Polls until a value or a failure. `None`: no value and no failure within the limit.
    async fn poll<T>(
        &self,
        mut poll: impl AsyncFnMut() -> Result<Option<T>, String>,
    ) -> Result<Option<T>, String> {
        let polling = async {
            let mut ticks = tokio::time::interval(POLL_INTERVAL);
            loop {
                ticks.tick().await;
                if let Some(found) = poll().await? {
                    return Ok(Some(found));
                }
            }
        };
        tokio::time::timeout(STEP_LIMIT, polling)
            .await
            .unwrap_or(Ok(None))
    }
}
