//! Runs a task's `verify` line with the machinery of the command engine. Called by the tool that
//! completes a task.

use std::sync::Arc;

use agent_team_face::Tone;
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::{Generation, TaskId};

use super::screen::Screen;
use crate::engine::{Event, HEADLESS_SIZE, Outcome, Place, command};
use crate::pane::paint;
use crate::team_tool::{Verify, Verifying};

#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) place: Arc<Place>,
    pub(super) screen: Screen,
}

impl Verify for Verifier {
    fn verify<'a>(&'a self, task: TaskId, line: &'a str) -> Verifying<'a> {
        Box::pin(self.run(task, line))
    }
}

impl Verifier {
    /// Dropping it ends the line with everything that it started.
    async fn run(&self, task: TaskId, line: &str) -> Result<(), String> {
        self.screen.lines(Tone::Accent, &paint::verifying(line));
        let assignment = Assignment {
            task,
            generation: Generation(0),
            title: String::new(),
            description: String::new(),
            run: Some(line.to_owned()),
            verify: None,
            attempt: 1,
        };
        let mut run = command::start(Arc::clone(&self.place), assignment, HEADLESS_SIZE);
        let watch = self.screen.watch(None);
        loop {
            match run.events.recv().await {
                Some(Event::Session(leader)) => self.screen.session(task, leader),
                Some(Event::Output { text, .. }) => watch.push(&text),
                Some(Event::Verifying(_)) => {}
                Some(Event::Ended(Outcome::Completed { .. })) => return Ok(()),
                Some(Event::Ended(Outcome::Failed { reason, detail })) if detail.is_empty() => {
                    return Err(reason);
                }
                Some(Event::Ended(Outcome::Failed { reason, detail })) => {
                    return Err(format!("{reason}:\n{detail}"));
                }
                Some(Event::Ended(Outcome::Abandoned)) | None => {
                    return Err("it was ended before it was done".into());
                }
            }
        }
    }
}
