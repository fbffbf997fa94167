//! The running helpers of a member: the names of their recordings, and whether all of them wait for their model's server.
//! Called by the tool `delegate` and by the conversation of each helper.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_team_llm::recording::helper_name;
use agent_team_protocol::view::Waiting;

use crate::agent::output_sink::OutputSink;

#[derive(Debug, Clone)]
pub(super) struct RunningHelpers {
    sink: OutputSink,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeSet<String>,
    waiting: usize,
    /// The member is shown as waiting.
    is_shown: bool,
}

/// A running helper. Dropping it ends the helper.
#[derive(Debug)]
pub(super) struct RunningHelper {
    helpers: RunningHelpers,
    /// The name under which the exchanges of the helper are recorded.
    pub(super) name: String,
}

/// A helper that waits for its model's server. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct WaitingHelper(RunningHelpers);

impl RunningHelpers {
    pub(super) fn new(sink: OutputSink) -> Self {
        Self {
            sink,
            state: Arc::default(),
        }
    }

    /// Begins a helper of this member. Running helpers with the same question get different names.
    pub(super) fn begin(&self, member: &str, question: &str) -> RunningHelper {
        let mut state = self.state();
        let first = helper_name(member, question);
        let mut name = first.clone();
        let mut number = 1;
        while !state.names.insert(name.clone()) {
            number += 1;
            name = format!("{first}-{number}");
        }
        self.show(&mut state, None);
        RunningHelper {
            helpers: self.clone(),
            name,
        }
    }

    /// Shows the member as waiting if no helper works, and as working otherwise. `on`: what the newest helper waits for.
    fn show(&self, state: &mut State, on: Option<Waiting>) {
        let all_wait = state.waiting > 0 && state.waiting == state.names.len();
        match (all_wait, on) {
            (true, Some(on)) => {
                self.sink.set_waiting(Some(on));
                state.is_shown = true;
            }
            (false, _) if state.is_shown => {
                self.sink.set_waiting(None);
                state.is_shown = false;
            }
            (true, None) | (false, _) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningHelper {
    /// Begins a wait for the model's server.
    pub(super) fn wait(&self, on: Waiting) -> WaitingHelper {
        let mut state = self.helpers.state();
        state.waiting += 1;
        self.helpers.show(&mut state, Some(on));
        WaitingHelper(self.helpers.clone())
    }
}

impl Drop for RunningHelper {
    fn drop(&mut self) {
        let mut state = self.helpers.state();
        state.names.remove(&self.name);
        self.helpers.show(&mut state, None);
    }
}

impl Drop for WaitingHelper {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting -= 1;
        self.0.show(&mut state, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::output_sink::OutputEvent;
    use crate::live_output::LiveOutput;

    fn wait(why: &str) -> Waiting {
        Waiting::RateLimit {
            until: 0,
            why: why.to_owned(),
        }
    }

    #[test]
    fn equal_questions_at_the_same_time_have_different_names() {
        let (sink, _shown) = OutputSink::new(LiveOutput::new("0123456789"));
        let helpers = RunningHelpers::new(sink);
        let first = helpers.begin("ada", "Why?");
        let second = helpers.begin("ada", "Why?");
        assert_eq!(second.name, format!("{}-2", first.name));
        let name = first.name.clone();
        drop(first);
        assert_eq!(helpers.begin("ada", "Why?").name, name);
    }

    #[test]
    fn the_member_waits_while_all_of_its_helpers_wait() {
        let (sink, mut shown) = OutputSink::new(LiveOutput::new("0123456789"));
        let helpers = RunningHelpers::new(sink);
        let mut taken = || match shown.try_recv() {
            Ok(OutputEvent::Waiting(on)) => Some(on),
            _ => None,
        };
        let one = helpers.begin("ada", "One?");
        let two = helpers.begin("ada", "Two?");
        let _one_waits = one.wait(wait("busy"));
        assert_eq!(taken(), None);
        let two_waits = two.wait(wait("busy too"));
        assert_eq!(taken(), Some(Some(wait("busy too"))));
        drop(two_waits);
        assert_eq!(taken(), Some(None));
    }
}
