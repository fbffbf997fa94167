//! Detects a model that repeats itself: the same call with the same result, or the same error. Pure. Called by the
//! agent loop after the calls of each answer.
//!
//! ```text
//! 5 equal calls, or 3 equal errors ──► note to the model ── again ──► the loop ends the turn
//! ```
//! Eight calls with the same arguments are a repetition even if their results differ: the output of a test run contains
//! its duration.
//!
//! Waiting is not repetition: a call of `wait` or `ask` blocks until something happens, and `bash_output` polls a job.
//! Only errors of these tools count. A command, or another call that changes state, is progress if it is new in this
//! turn.

use std::collections::{HashSet, VecDeque};

use agent_team_llm::{ToolCall, ToolResult};
use agent_team_tools::team::{ASK, WAIT};

/// This many calls with the same name, arguments and result among the last [`RECENT`] calls are repetition.
const EQUAL_CALLS: usize = 5;

/// This many calls with the same name and arguments among the last [`RECENT`] calls are repetition, even if their
/// results differ.
const SAME_ARGUMENTS: usize = 8;

/// This many errors of one tool with the same text, without a successful call between them, are repetition.
const EQUAL_ERRORS: usize = 3;

/// The number of latest calls that are compared. It is large enough to detect calls that alternate, such as two reads.
const RECENT: usize = 10;

/// The number of answers without repetition after which the note no longer counts.
const QUIET_ANSWERS: usize = 10;

/// Tools that wait for an event.
const WAITING: [&str; 3] = [WAIT, ASK, "bash_output"];

/// A call with its result.
#[derive(Debug, PartialEq, Eq)]
struct RecordedCall {
    name: String,
    input: String,
    result: String,
}

/// The latest calls of a turn.
#[derive(Debug, Default)]
pub(super) struct Repetition {
    calls: VecDeque<RecordedCall>,
    /// The tool and the text of the last error.
    error: Option<(String, String)>,
    /// The number of consecutive occurrences of this error.
    errors: usize,
    /// The names and arguments of the successful calls of this turn that change state.
    changing_calls: HashSet<(String, String)>,
    is_noted: bool,
    /// The answers without repetition since the note.
    quiet: usize,
}

/// The first repetition of a turn, or a later one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    /// The text names the repetition. The model gets a note.
    First(String),
    /// The model has repeated itself again after the note.
    Again(String),
}

impl Repetition {
    /// Records the calls of one answer. Equal calls, and equal errors, of one answer count once: the model has not seen
    /// their results. `changed`: the calls have changed files, which is progress. `reads_only`: the call changes no
    /// state.
    pub(super) fn record(
        &mut self,
        calls: &[ToolCall],
        results: &[ToolResult],
        changed: bool,
        reads_only: impl Fn(&ToolCall) -> bool,
    ) -> Option<Repeated> {
        let repeated = if changed {
            self.forget();
            None
        } else {
            self.find(calls, results, reads_only)
        };
        let Some(what) = repeated else {
            self.quiet += 1;
            if self.quiet >= QUIET_ANSWERS {
                self.is_noted = false;
            }
            return None;
        };
        self.forget();
        self.quiet = 0;
        Some(match std::mem::replace(&mut self.is_noted, true) {
            false => Repeated::First(what),
            true => Repeated::Again(what),
        })
    }

    /// Records the calls, and names the first repetition among them.
    fn find(
        &mut self,
        calls: &[ToolCall],
        results: &[ToolResult],
        reads_only: impl Fn(&ToolCall) -> bool,
    ) -> Option<String> {
        let mut repeated = None;
        let mut seen: Vec<RecordedCall> = Vec::new();
        let mut errors = HashSet::new();
        for (call, result) in calls.iter().zip(results) {
            let done = RecordedCall {
                name: call.name.clone(),
                input: call.input.clone(),
                result: result.text.clone(),
            };
            if seen.contains(&done) {
                continue;
            }
            if !result.failed {
                (self.error, self.errors) = (None, 0);
                self.note_progress(call, &reads_only);
            } else if errors.insert((&call.name, &result.text)) {
                let what = self.count_error(call, result);
                repeated = repeated.or(what);
            }
            seen.push(done);
        }
        for done in seen {
            if WAITING.contains(&done.name.as_str()) {
                continue;
            }
            let equal = 1 + self.calls.iter().filter(|it| **it == done).count();
            let is_similar = |it: &&RecordedCall| it.name == done.name && it.input == done.input;
            let similar = 1 + self.calls.iter().filter(is_similar).count();
            if equal >= EQUAL_CALLS {
                let what = format!("called {} {equal} times with the same result", done.name);
                repeated = repeated.or(Some(what));
            } else if similar >= SAME_ARGUMENTS {
                let what = format!(
                    "called {} {similar} times with the same arguments",
                    done.name
                );
                repeated = repeated.or(Some(what));
            }
            self.calls.push_back(done);
        }
        while self.calls.len() > RECENT {
            self.calls.pop_front();
        }
        repeated
    }

    /// Forgets the earlier calls if this successful call changes state and is new in this turn. The names and arguments
    /// of such calls are kept during the whole turn, so that alternating commands count as repetition.
    fn note_progress(&mut self, call: &ToolCall, reads_only: impl Fn(&ToolCall) -> bool) {
        if WAITING.contains(&call.name.as_str()) || reads_only(call) {
            return;
        }
        if self
            .changing_calls
            .insert((call.name.clone(), call.input.clone()))
        {
            self.calls.clear();
        }
    }

    fn count_error(&mut self, call: &ToolCall, result: &ToolResult) -> Option<String> {
        let error = (call.name.clone(), result.text.clone());
        if self.error.as_ref() == Some(&error) {
            self.errors += 1;
        } else {
            (self.error, self.errors) = (Some(error), 1);
        }
        (self.errors >= EQUAL_ERRORS)
            .then(|| format!("got the same error of {} {} times", call.name, self.errors))
    }

    fn forget(&mut self) {
        self.calls.clear();
        (self.error, self.errors) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, input: &str) -> ToolCall {
        ToolCall {
            id: "1".into(),
            name: name.into(),
            input: input.into(),
        }
    }

    fn returned(text: &str, failed: bool) -> ToolResult {
        ToolResult {
            id: "1".into(),
            text: text.into(),
            failed,
            media: Vec::new(),
        }
    }

    fn reads_only(call: &ToolCall) -> bool {
        call.name == "read"
    }

    /// The number of answers until the first repetition. The answers make the calls of `steps` in turn, one call each.
    fn answers_until(steps: &[(ToolCall, ToolResult)], most: usize) -> Option<usize> {
        let mut repetition = Repetition::default();
        let mut steps = steps.iter().cycle().take(most).enumerate();
        let found = steps.find(|(_, (call, result))| {
            let (call, result) = (std::slice::from_ref(call), std::slice::from_ref(result));
            repetition.record(call, result, false, reads_only).is_some()
        });
        found.map(|(index, _)| index + 1)
    }

    #[test]
    fn equal_calls_and_equal_errors_are_repetition() {
        let read = |path: &str| (call("read", path), returned("text", false));
        let wrong = |path: &str| (call("read", path), returned("no such file", true));
        assert_eq!(answers_until(&[read("a")], 9), Some(5));
        assert_eq!(answers_until(&[read("a"), read("b")], 20), Some(9));
        assert_eq!(answers_until(&[wrong("a"), wrong("b")], 9), Some(3));
        assert_eq!(
            answers_until(&[wrong("a"), read("b"), wrong("c"), read("d")], 8),
            None
        );
        let wait = (call(WAIT, "{}"), returned("no message", false));
        assert_eq!(answers_until(&[wait], 20), None);
    }

    #[test]
    fn other_results_and_changes_are_progress() {
        let mut repetition = Repetition::default();
        for index in 0..SAME_ARGUMENTS {
            let (read, text) = (
                call("read", "log"),
                returned(&format!("line {index}"), false),
            );
            let repeated = repetition.record(&[read], &[text], false, reads_only);
            assert_eq!(repeated.is_some(), index + 1 == SAME_ARGUMENTS, "{index}");
        }
        let (test, failed) = (call("bash", "make test"), returned("1 failed", true));
        for _ in 0..9 {
            let (test, failed) = (test.clone(), failed.clone());
            assert_eq!(
                repetition.record(&[test], &[failed], false, reads_only),
                None
            );
            let (edit, edited) = (call("edit", "a"), returned("edited", false));
            assert_eq!(
                repetition.record(&[edit], &[edited], true, reads_only),
                None
            );
        }
    }

    #[test]
    fn equal_test_runs_without_a_change_are_repetition() {
        let run = |index: usize| {
            let text = format!("1 failed; finished in {index} s");
            (call("bash", "make test"), returned(&text, true))
        };
        let runs: Vec<_> = (0..20).map(run).collect();
        assert_eq!(answers_until(&runs, 20), Some(SAME_ARGUMENTS));
    }

    #[test]
    fn a_second_repetition_follows_the_note() {
        let mut repetition = Repetition::default();
        let (calls, results) = ([call("read", "a")], [returned("text", false)]);
        let mut repeat =
            || (0..5).find_map(|_| repetition.record(&calls, &results, false, reads_only));
        assert!(matches!(repeat(), Some(Repeated::First(_))));
        assert!(matches!(repeat(), Some(Repeated::Again(what)) if what.contains("read 5 times")));
    }

    #[test]
    fn polling_a_job_is_not_repetition() {
        let poll = (
            call("bash_output", r#"{"id":1}"#),
            returned("(running)", false),
        );
        assert_eq!(answers_until(&[poll], 20), None);
    }

    #[test]
    fn new_commands_are_progress_and_alternating_ones_are_not() {
        let bash = |command: &str| (call("bash", command), returned("ok", false));
        assert_eq!(answers_until(&[bash("a"), bash("b")], 20), Some(10));
        let mut repetition = Repetition::default();
        for index in 0..20 {
            let read = (call("read", "a"), returned("text", false));
            for (call, result) in [read, bash(&index.to_string())] {
                let repeated = repetition.record(&[call], &[result], false, reads_only);
                assert_eq!(repeated, None, "{index}");
            }
        }
    }

    #[test]
    fn equal_errors_of_one_answer_count_once() {
        let calls = ["a", "b", "c"].map(|path| call("read", path));
        let results = [(); 3].map(|()| returned("not permitted", true));
        let mut repetition = Repetition::default();
        let mut record = || repetition.record(&calls, &results, false, reads_only);
        assert_eq!((record(), record()), (None, None));
        assert!(matches!(record(), Some(Repeated::First(what)) if what.contains("3 times")));
    }

    #[test]
    fn a_note_expires_after_answers_without_repetition() {
        let mut repetition = Repetition::default();
        let mut record = |path: &str| {
            let (call, text) = (call("read", path), returned("text", false));
            repetition.record(&[call], &[text], false, reads_only)
        };
        for _ in 0..2 {
            let repeated = (0..5).find_map(|_| record("a"));
            assert!(matches!(repeated, Some(Repeated::First(_))), "{repeated:?}");
            for index in 0..QUIET_ANSWERS {
                assert_eq!(record(&format!("file {index}")), None);
            }
        }
    }
}
