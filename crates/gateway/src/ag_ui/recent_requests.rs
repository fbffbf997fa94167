//! Recent requests that gave the lead a goal or a message. A repeated request has its effect once, even if its client
//! has lost the first answer. Called by `ag_ui`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use agent_team_protocol::{Revision, RunId, TeamId};

use super::input::{Input, Message};

/// Maximum number of requests that are kept; the oldest are dropped.
const REQUESTS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct RecentRequests(Mutex<VecDeque<HandledRequest>>);

/// A request that gave the lead a goal or a message, and its effect.
#[derive(Debug, Clone)]
pub(super) struct HandledRequest {
    pub(super) team: TeamId,
    /// The ids that the client chose.
    pub(super) run_id: String,
    pub(super) thread_id: String,
    pub(super) message: Message,
    pub(super) run: RunId,
    /// The revision before the effect.
    pub(super) after: Revision,
}

impl RecentRequests {
    /// The earlier request with the same run id, or with the same message in the same thread. The id of a message alone
    /// does not identify it: some clients count messages from 1 in each thread, or after a reload of their page.
    pub(super) fn find(&self, team: &TeamId, input: &Input) -> Option<HandledRequest> {
        let message = input.message.as_ref()?;
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_team = requests.iter().filter(|request| request.team == *team);
        of_team
            .find(|request| {
                let is_repeated =
                    request.thread_id == input.thread_id && request.message == *message;
                request.run_id == input.run_id || is_repeated
            })
            .cloned()
    }

    pub(super) fn insert(&self, request: HandledRequest) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() >= REQUESTS_MAX {
            requests.pop_front();
        }
        requests.push_back(request);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn input(thread: &str, run: &str, message: &str, text: &str) -> Input {
        let message = json!({"id": message, "role": "user", "content": text});
        let body = json!({"threadId": thread, "runId": run, "messages": [message]});
        Input::parse(body).expect("a RunAgentInput")
    }

    #[test]
    fn only_a_repeated_message_is_found() {
        let name = "demo".parse().expect("a name");
        let team = TeamId::new(&name, Path::new("/p"));
        let first = input("t", "r1", "m1", "Greet the world");
        let requests = RecentRequests::default();
        requests.insert(HandledRequest {
            team: team.clone(),
            run_id: first.run_id,
            thread_id: first.thread_id,
            message: first.message.expect("a message"),
            run: "R-1".parse().expect("a run"),
            after: Revision(1),
        });
        for (thread, run, message, text, is_repeated) in [
            ("t", "r1", "m1", "Greet the world", true),
            ("t", "r2", "m1", "Greet the world", true),
            ("t", "r2", "m1", "Delete the greeting", false),
            ("u", "r2", "m1", "Greet the world", false),
            ("t", "r2", "m2", "Greet the world", false),
        ] {
            let input = input(thread, run, message, text);
            let found = requests.find(&team, &input).is_some();
            assert_eq!(found, is_repeated, "{thread} {run} {message} {text}");
        }
    }
}
