//! Waiting for a team, with progress on stderr, and what came of its work. Called by `up --wait` and `run`.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use agent_team_protocol::method::{Nothing, OneTask, TaskShow, TeamShow};
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::result::RunResult;
use agent_team_protocol::view::{MemberState, MemberView, TaskState, TaskView, Usage, Waiting};
use agent_team_protocol::{MemberName, Party, Revision, TaskId};
use serde::Deserialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Failure;
use crate::output::status_line::StatusLine;
use crate::output::{Output, task, text, time, usage};
use crate::session::{Notice, Session, Subscription};

/// How a shell counts the end by an interrupt.
pub(super) const INTERRUPTED: u8 = 130;

/// What members wait for is no event: it is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What waiting came to.
pub(super) enum Waited<T> {
    /// With the board as it was then.
    Ended { answer: T, tasks: Vec<TaskView> },
    /// The person did not want to wait any more; the team goes on.
    Interrupted,
}

/// Waits for `ended`, and tells of the tasks that end after the revision `after`, unless JSON is wanted.
pub(super) async fn until<T>(
    session: &Session,
    output: Output,
    after: Revision,
    ended: impl Future<Output = Result<T, Failure>>,
) -> Result<Waited<T>, Failure> {
    let mut progress = if output.is_json() {
        None
    } else {
        Some(Progress::new(session, after).await?)
    };
    let mut interrupt = interrupt()?;
    // What passes at once is not worth a line.
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    let mut ended = pin!(ended);
    let answer = loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {
                clear(&mut progress);
                return Ok(Waited::Interrupted);
            }
            answer = &mut ended => break answer,
            _ = look.tick(), if progress.is_some() => {
                if let Some(shown) = &mut progress
                    && shown.look(output).await.is_err()
                {
                    progress = None;
                }
            }
            heard = listen(&mut progress) => {
                // Without progress the wait is as good; why there is none, its own answer says.
                let shown = match (&mut progress, heard) {
                    (Some(progress), Ok(notice)) => progress.show(output, &notice).await,
                    (_, heard) => heard.map(drop),
                };
                if shown.is_err() {
                    progress = None;
                }
            }
        }
    };
    clear(&mut progress);
    let answer = answer?;
    let tasks = session.another().board().await?;
    if let Some(progress) = &progress {
        progress.catch_up(output, &tasks);
    }
    Ok(Waited::Ended { answer, tasks })
}

/// One listener for a whole wait: an interrupt that comes while something is shown is not lost.
pub(super) fn interrupt() -> Result<Signal, Failure> {
    signal(SignalKind::interrupt())
        .map_err(|error| Failure::io("interrupts cannot be heard", &error))
}

/// `demo: 3 completed in 2 s`, and what models cost if any was asked.
pub(super) fn summary<O>(result: &RunResult<O>) -> String {
    let counts = task::counts(task::count(&result.tasks));
    let took = time::duration(result.durations.total_ms);
    let usage: Usage = result.members.iter().map(|member| member.usage).sum();
    let spent = usage::sentence(&usage).map(|spent| format!(", {spent}"));
    let spent = spent.unwrap_or_default();
    format!("{}: {counts} in {took}{spent}", result.team)
}

/// Since then, in milliseconds.
pub(super) fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn listen(progress: &mut Option<Progress>) -> Result<Notice, Failure> {
    match progress {
        Some(progress) => progress.events.next().await,
        None => std::future::pending().await,
    }
}

fn clear(progress: &mut Option<Progress>) {
    if let Some(progress) = progress {
        progress.line.clear();
    }
}

/// What is told while waiting: a line for each task that ended, and on a terminal what is going on.
struct Progress {
    events: Subscription,
    /// Asks for what the events name.
    session: Session,
    line: StatusLine,
    /// The last event that was heard.
    last: Revision,
    /// Who was told of as waiting for a model.
    waiting: BTreeSet<MemberName>,
}

/// The part of an event that progress goes by. Kinds that are not known here are passed over.
#[derive(Deserialize)]
struct Event {
    kind: String,
    #[serde(default)]
    data: EventData,
}

#[derive(Default, Deserialize)]
struct EventData {
    #[serde(default)]
    task: Option<TaskId>,
    /// Of a message.
    #[serde(default)]
    from: Option<Party>,
    #[serde(default)]
    to: Vec<Party>,
    #[serde(default)]
    text: String,
}

impl Progress {
    async fn new(session: &Session, after: Revision) -> Result<Self, Failure> {
        let mut progress = Self {
            events: Subscription::new(session.another(), after, false).await?,
            session: session.another(),
            line: StatusLine::new(),
            last: after,
            waiting: BTreeSet::new(),
        };
        progress.paint().await?;
        Ok(progress)
    }

    async fn show(&mut self, output: Output, notice: &Notice) -> Result<(), Failure> {
        let Notice::Event(EventNotice {
            event, revision, ..
        }) = notice
        else {
            return Ok(());
        };
        self.last = *revision;
        let Ok(event) = serde_json::from_str::<Event>(event.get()) else {
            return Ok(());
        };
        // Whoever waits is the one who is told: that a budget is used up, that a member is held, what one asks.
        if let Some(from) = event.data.from
            && event.data.to.contains(&Party::User)
        {
            let told = match from {
                Party::System => event.data.text,
                from @ (Party::User | Party::Member(_)) => format!("{from}: {}", event.data.text),
            };
            self.line.clear();
            output.note(&text::line(&told));
        }
        if let ("task_completed" | "task_failed", Some(task)) =
            (event.kind.as_str(), event.data.task)
        {
            let task = self.session.ask::<TaskShow>(OneTask { task }).await?;
            self.line.clear();
            output.note(&task::line(&task));
        }
        self.paint().await
    }

    /// Tells of the tasks that ended after the last event that was heard: the answer to the wait overtook theirs.
    fn catch_up(&self, output: Output, tasks: &[TaskView]) {
        let ended =
            |task: &&TaskView| matches!(task.state, TaskState::Completed | TaskState::Failed);
        let mut unheard: Vec<_> = tasks
            .iter()
            .filter(ended)
            .filter(|task| task.revision > self.last)
            .collect();
        unheard.sort_by_key(|task| task.revision);
        for task in unheard {
            output.note(&task::line(task));
        }
    }

    /// Prints why a member waits for its model or for a decision, once until it no longer does.
    async fn look(&mut self, output: Output) -> Result<(), Failure> {
        let team = self.session.ask::<TeamShow>(Nothing {}).await?;
        for member in team.members {
            match member.waiting {
                Some(
                    Waiting::RateLimit { .. } | Waiting::Permission { .. } | Waiting::Plan { .. },
                ) => {
                    if self.waiting.insert(member.name) {
                        self.line.clear();
                        output.note(&text::line(&member.why));
                    }
                }
                Some(Waiting::Reply { .. } | Waiting::Budget { .. } | Waiting::Unknown) | None => {
                    self.waiting.remove(&member.name);
                }
            }
        }
        self.paint().await
    }

    /// `3 completed, 1 in progress · ada T-4, bob T-5`
    async fn paint(&mut self) -> Result<(), Failure> {
        if !self.line.is_shown() {
            return Ok(());
        }
        let team = self.session.ask::<TeamShow>(Nothing {}).await?;
        let working = team
            .members
            .iter()
            .filter(|member| member.state == MemberState::Working);
        let at_work = |member: &MemberView| Some(format!("{} {}", member.name, member.task?));
        let working: Vec<_> = working.filter_map(at_work).collect();
        let mut status = task::counts(team.tasks);
        if !working.is_empty() {
            status.push_str(&format!(" · {}", working.join(", ")));
        }
        self.line.set(&text::line(&status));
        Ok(())
    }
}
