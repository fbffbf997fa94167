//! Waits for the answer to a goal and prints the result of its run. Called by `run`, and by `up` with a goal and
//! `--wait`.

pub(super) mod show;

use std::time::Instant;

use agent_team_client::Session;
use agent_team_protocol::goal::GoalView;
use agent_team_protocol::method::{
    ListMessages, ListRounds, MessageList, Nothing, RunRounds, RunWait, TeamShow, WaitRun,
};
use agent_team_protocol::result::RunResult;
use agent_team_protocol::view::{MessageState, MessageView, RunState, RunView, TaskView};
use agent_team_protocol::{Party, Revision, RunId};

use super::messages;
use super::waiting::{self, WaitOutcome};
use crate::error::Failure;
use crate::output::{Output, text};

/// The number of newest messages to the user among which the answer is searched.
const SEARCHED: u32 = 100;

/// An ended run.
pub(super) struct EndedRun {
    pub(super) result: RunResult,
    /// Its duration, tasks, files and cost. `None`: another goal was given since.
    headline: Option<String>,
}

/// Waits until the run has ended. `None` when the user interrupted the wait. Reports progress from the revision `after`
/// on.
pub(super) async fn wait(
    session: &mut Session,
    output: Output,
    run: RunId,
    after: Revision,
    began: Instant,
) -> Result<Option<EndedRun>, Failure> {
    let waiter = session.separate();
    let finished = session.wait_for::<RunWait>(WaitRun { run });
    match waiting::until(&waiter, output, after, finished).await? {
        WaitOutcome::Ended { answer, tasks } => {
            result_of(session, answer, tasks, began).await.map(Some)
        }
        WaitOutcome::Interrupted => Ok(None),
    }
}

/// The result of an ended run; `tasks` is the board at its end.
pub(super) async fn result_of(
    session: &mut Session,
    view: RunView,
    tasks: Vec<TaskView>,
    began: Instant,
) -> Result<EndedRun, Failure> {
    let mut rounds = Vec::new();
    let mut wanted = Some(ListRounds::of(view.run));
    while let Some(list) = wanted {
        let page = session.query::<RunRounds>(list).await?;
        wanted = list.next(&page);
        rounds.extend(page.rounds);
    }
    let team = session.query::<TeamShow>(Nothing {}).await?;
    let total_ms = waiting::elapsed_ms(began);
    let goal = team.goal.as_ref().filter(|goal| goal.run == view.run);
    Ok(EndedRun {
        headline: goal.map(GoalView::headline),
        result: RunResult::of_run(view, rounds, team, tasks, total_ms),
    })
}

/// Marks the message with the answer as read. Called by commands that print the answer; they succeed even if this
/// fails.
pub(super) async fn mark_answer_read(session: &mut Session, result: &RunResult) {
    let Some(answer) = &result.final_answer else {
        return;
    };
    let list = ListMessages {
        of: Some(Party::User),
        limit: SEARCHED,
    };
    let Ok(list) = session.query::<MessageList>(list).await else {
        return;
    };
    let mut newest_first = list.messages.iter().rev();
    let is_answer = |message: &&MessageView| {
        let is_unread = message.state != MessageState::Read;
        message.from == Party::System && is_unread && message.text == *answer
    };
    if let Some(message) = newest_first.find(is_answer) {
        let _unread = messages::mark_read(session, vec![message.id]).await;
    }
}

/// Prints the answer to stdout and a summary to stderr; with `--json`, only the result, to stdout.
pub(super) fn show(ended: &EndedRun, output: Output) -> Result<(), Failure> {
    note(ended, output);
    let result = &ended.result;
    output.show(result, || match &result.final_answer {
        Some(answer) if answer.ends_with('\n') => answer.clone(),
        Some(answer) => format!("{answer}\n"),
        None => String::new(),
    })
}

/// Prints a summary of the run to stderr.
pub(super) fn note(ended: &EndedRun, output: Output) {
    if output.is_json() {
        return;
    }
    let result = &ended.result;
    if let Some(headline) = &ended.headline {
        output.note(headline);
    }
    if let Some(denied) = denied(&result.denied) {
        output.note(&denied);
    }
    if let Some(reason) = &result.reason {
        output.note(&format!("no answer: {}", text::line(reason)));
    }
    if result.outcome == RunState::Failed {
        output.note(
            "see the work of the lead with: agent-team logs lead; the next goal starts a new run in the same \
             conversation, and --fresh of up or run discards the board and the conversations",
        );
    }
}

/// `1 request was denied: bash: make`; several requests in a list.
pub(super) fn denied(calls: &[String]) -> Option<String> {
    /// Calls to name; further calls are only counted.
    const NAMED: usize = 10;
    let mut counted: Vec<(String, usize)> = Vec::new();
    for call in calls.iter().map(|call| text::first_line(call)) {
        match counted.iter_mut().find(|(counted, _)| *counted == call) {
            Some((_, times)) => *times += 1,
            None => counted.push((call, 1)),
        }
    }
    if let [(call, 1)] = counted.as_slice() {
        return Some(format!("1 request was denied: {call}"));
    }
    let more = counted.len().saturating_sub(NAMED);
    let mut list = format!("{} requests were denied:", calls.len());
    for (call, times) in counted.into_iter().take(NAMED) {
        let times = match times {
            1 => String::new(),
            times => format!(" ({times} times)"),
        };
        list.push_str(&format!("\n  {call}{times}"));
    }
    if more > 0 {
        list.push_str(&format!("\n  … {more} more: agent-team audit"));
    }
    (!calls.is_empty()).then_some(list)
}

/// Whether the run ended with an answer.
pub(super) fn is_answered(result: &RunResult) -> bool {
    result.outcome == RunState::Finished
}

#[cfg(test)]
mod tests {
    use super::denied;

    #[test]
    fn denied_calls_are_counted_and_named_once() {
        let calls =
            |calls: &[&str]| denied(&calls.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(calls(&[]), None);
        assert_eq!(
            calls(&["write: a"]).unwrap(),
            "1 request was denied: write: a"
        );
        assert_eq!(
            calls(&["write: a", "write: b", "write: a"]).unwrap(),
            "3 requests were denied:\n  write: a (2 times)\n  write: b"
        );
        let many: Vec<String> = (1..=12).map(|number| format!("call {number}")).collect();
        let many = denied(&many).unwrap();
        assert!(
            many.starts_with("12 requests were denied:\n  call 1\n"),
            "{many}"
        );
        assert!(
            many.ends_with("\n  call 10\n  … 2 more: agent-team audit"),
            "{many}"
        );
    }
}
