//! Waits with a timeout, and waits for a team with progress on stderr. Called by the verbs that wait.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_team_client::{Notice, Session, SessionError, Subscription};
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{Nothing, OneTask, TaskShow, TeamShow};
use agent_team_protocol::view::{MemberState, MemberView, TaskState, TaskView, Waiting};
use agent_team_protocol::{MemberName, Party, Revision};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::asking::{Asker, AskerEvent};
use crate::error::Failure;
use crate::output::status_line::StatusLine;
use crate::output::style::paint;
use crate::output::{Output, member, task, text};

/// Exit code after SIGINT: 128 + 2, as shells report it.
pub(super) const INTERRUPTED: u8 = 130;

/// Interval for reading why members wait, which no event reports.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Time limit for reading the events that stayed unread while a dialog was open.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of a wait.
pub(super) enum WaitOutcome<T> {
    /// The awaited answer, with the board at that time.
    Ended { answer: T, tasks: Vec<TaskView> },
    /// The user pressed `^C`; the team keeps running.
    Interrupted,
}

/// Runs `wait` with a timeout; `what` names the awaited event in the error.
pub(super) async fn within<T>(
    seconds: Option<u64>,
    what: &str,
    wait: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(seconds) = seconds else {
        return wait.await;
    };
    let timeout = tokio::time::timeout(Duration::from_secs(seconds), wait);
    timeout.await.unwrap_or_else(|_elapsed| {
        let exit = agent_team_protocol::exit::ExitCode::Failed;
        let text = format!("timed out after {seconds} s waiting for {what}");
        Err(Failure::new("timeout", exit, text))
    })
}

/// Waits for `ended`. Unless the output is JSON, reports progress from the revision `after` on.
pub(super) async fn until<T>(
    session: &Session,
    output: Output,
    after: Revision,
    ended: impl Future<Output = Result<T, SessionError>>,
) -> Result<WaitOutcome<T>, Failure> {
    let mut progress = if output.is_json() {
        None
    } else {
        Some(Progress::new(session, after).await?)
    };
    clear(&mut progress);
    let mut asker = Asker::new(session, output, after).await?;
    let mut interrupt = interrupt()?;
    // The first poll comes after a full interval: shorter waits are not reported.
    let start = tokio::time::Instant::now() + POLL_INTERVAL;
    let mut poll = tokio::time::interval_at(start, POLL_INTERVAL);
    let mut ended = pin!(ended);
    let answer = loop {
        // The interrupt and the answer come before progress, so that a flood of events cannot delay them.
        tokio::select! {
            biased;
            _ = interrupt.recv() => {
                clear(&mut progress);
                leave(&mut asker);
                return Ok(WaitOutcome::Interrupted);
            }
            answer = &mut ended => break answer,
            event = next_of(&mut asker) => {
                clear(&mut progress);
                if let Some(asking) = &mut asker
                    && let Err(failure) = asking.handle(event).await
                {
                    asking.leave();
                    output.note(&format!("no more questions: {}", failure.one_line()));
                    asker = None;
                }
            }
            _ = poll.tick(), if progress.is_some() && !is_asking(asker.as_ref()) => {
                let asks = asker.as_ref().is_some_and(Asker::can_ask);
                if let Some(shown) = &mut progress
                    && shown.poll(output, asks).await.is_err()
                {
                    progress = None;
                }
            }
            // While a dialog is open, events stay unread: they would write into the line of the answer. The queue of
            // the connection is bounded. When it is full, the supervisor closes the connection, and the subscription
            // continues after the last event that was read.
            received = listen(&mut progress), if !is_asking(asker.as_ref()) => {
                let asks = asker.as_ref().is_some_and(Asker::can_ask);
                show(&mut progress, output, received, asks).await;
            }
        }
    };
    clear(&mut progress);
    let was_asking = is_asking(asker.as_ref());
    leave(&mut asker);
    let answer = answer?;
    if was_asking {
        show_unread(&mut progress, session, output).await;
    }
    let tasks = session.separate().board().await?;
    if let Some(progress) = &progress {
        progress.catch_up(output, &tasks);
    }
    Ok(WaitOutcome::Ended { answer, tasks })
}

/// Installs the SIGINT listener. One listener must serve the whole wait: a new listener in each loop iteration would
/// lose a signal that arrives while the loop handles something else.
pub(super) fn interrupt() -> Result<Signal, Failure> {
    signal(SignalKind::interrupt()).map_err(|error| Failure::io("cannot listen for SIGINT", &error))
}

/// Milliseconds since `began`.
pub(super) fn elapsed_ms(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Shows one notice. An error ends only the progress display: the awaited call reports its own error.
async fn show(
    progress: &mut Option<Progress>,
    output: Output,
    received: Result<Notice, Failure>,
    asks: bool,
) {
    let shown = match (&mut *progress, received) {
        (Some(progress), Ok(notice)) => progress.show(output, &notice, asks).await,
        (_, received) => received.map(drop),
    };
    if shown.is_err() {
        *progress = None;
    }
}

/// Shows the events that were not read because a dialog was open when the wait ended.
async fn show_unread(progress: &mut Option<Progress>, session: &Session, output: Output) {
    let show_all = async {
        let team = session.separate().query::<TeamShow>(Nothing {}).await;
        let head = team.map_or(Revision(0), |team| team.revision);
        while progress.as_ref().is_some_and(|shown| shown.last < head) {
            let received = listen(progress).await;
            show(progress, output, received, true).await;
        }
    };
    // The result must not be lost if the events cannot be read.
    let _elapsed = tokio::time::timeout(UNREAD_TIMEOUT, show_all).await;
    clear(progress);
}

async fn next_of(asker: &mut Option<Asker>) -> AskerEvent {
    match asker {
        Some(asker) => asker.next().await,
        None => std::future::pending().await,
    }
}

fn is_asking(asker: Option<&Asker>) -> bool {
    asker.is_some_and(Asker::is_open)
}

/// Ends the line of the open dialog; its request stays pending.
fn leave(asker: &mut Option<Asker>) {
    if let Some(asker) = asker {
        asker.leave();
    }
}

async fn listen(progress: &mut Option<Progress>) -> Result<Notice, Failure> {
    match progress {
        Some(progress) => Ok(progress.events.next().await?),
        None => std::future::pending().await,
    }
}

fn clear(progress: &mut Option<Progress>) {
    if let Some(progress) = progress {
        progress.line.clear();
    }
}

/// The progress display: a line for each task that ended, for each message to the user and for each member that waits;
/// on a terminal also a status line.
struct Progress {
    events: Subscription,
    /// Connection for reading the objects that events name.
    session: Session,
    line: StatusLine,
    /// Revision of the last received event.
    last: Revision,
    /// Members whose wait was already reported.
    waiting: BTreeSet<MemberName>,
    /// The ends of tasks that were printed, such as `T-3 Build failed`. The system's message about an end begins with
    /// this text.
    ended: Vec<String>,
    /// The answer to the goal. The command prints it, so the system's message with the same text is not shown.
    answer: Option<Arc<str>>,
}

impl Progress {
    async fn new(session: &Session, after: Revision) -> Result<Self, Failure> {
        let mut progress = Self {
            events: Subscription::new(session.separate(), after, false).await?,
            session: session.separate(),
            line: StatusLine::new(),
            last: after,
            waiting: BTreeSet::new(),
            ended: Vec::new(),
            answer: None,
        };
        progress.paint().await?;
        Ok(progress)
    }

    /// `asks`: whether requests and questions are shown with a prompt.
    async fn show(&mut self, output: Output, notice: &Notice, asks: bool) -> Result<(), Failure> {
        let Notice::Event(notice) = notice else {
            return Ok(());
        };
        self.last = notice.revision;
        if let ClientEvent::RunFinished { answer, .. } = &notice.event {
            self.answer = Some(answer.clone());
        }
        // Messages to the user: a budget is used up, a member is held, a member asks a question.
        if let ClientEvent::MessageAccepted {
            from,
            to,
            text,
            note,
            ..
        } = &notice.event
            && to.contains(&Party::User)
        {
            let is_answer = self.answer.as_ref() == Some(text);
            let text = text::first_line(text);
            let line = match from {
                Party::System if is_answer => None,
                Party::System if self.ended.iter().any(|end| text.starts_with(end)) => None,
                Party::System if asks && note.announces.is_some() => None,
                Party::System => Some(text),
                Party::Member(_) if asks && note.wants_reply => None,
                from @ (Party::User | Party::Member(_)) => Some(format!("{from}: {text}")),
            };
            if let Some(line) = line {
                self.line.clear();
                output.note(&line);
            }
        }
        if let ClientEvent::TaskCompleted { task, .. } | ClientEvent::TaskFailed { task, .. } =
            &notice.event
        {
            let one = OneTask { task: *task };
            let task = self.session.query::<TaskShow>(one).await?;
            self.line.clear();
            output.note(&task::line(&task));
            let (_, state) = task::state(&task);
            self.ended.push(format!(
                "{} {} {state}",
                task.id,
                text::first_line(&task.title)
            ));
        }
        self.paint().await
    }

    /// Reports tasks that ended after the last received event. The answer to the wait comes over another connection and
    /// can overtake their events.
    fn catch_up(&self, output: Output, tasks: &[TaskView]) {
        let ended =
            |task: &&TaskView| matches!(task.state, TaskState::Completed | TaskState::Failed);
        let mut unreported: Vec<_> = tasks
            .iter()
            .filter(ended)
            .filter(|task| task.revision > self.last)
            .collect();
        unreported.sort_by_key(|task| task.revision);
        for task in unreported {
            output.note(&task::line(task));
        }
    }

    /// Prints why a member waits for its model or for a decision, once per wait. `asks`: whether the requests and the
    /// questions themselves are shown.
    async fn poll(&mut self, output: Output, asks: bool) -> Result<(), Failure> {
        let team = self.session.query::<TeamShow>(Nothing {}).await?;
        for shown in team.members {
            match shown.waiting {
                Some(
                    Waiting::Permission { .. } | Waiting::Plan { .. } | Waiting::Answer { .. },
                ) if asks => {}
                Some(
                    Waiting::RateLimit { .. }
                    | Waiting::Permission { .. }
                    | Waiting::Plan { .. }
                    | Waiting::Answer { .. }
                    | Waiting::Dialog { .. },
                ) => {
                    if self.waiting.insert(shown.name.clone()) {
                        self.line.clear();
                        let sign = paint(member::state_style(&shown), member::sign(&shown));
                        output.note(&format!("{sign} {}", text::line(&shown.why)));
                    }
                }
                Some(Waiting::Reply { .. } | Waiting::Budget { .. } | Waiting::Unknown) | None => {
                    self.waiting.remove(&shown.name);
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
        let team = self.session.query::<TeamShow>(Nothing {}).await?;
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
