//! Runs a task's `verify` line for an agent. Called by the tool that completes a task.
//!
//! The line is the user's, but the agent can change what it starts: a script, a Makefile, the tests themselves. So it
//! runs in the sandbox of the agent's commands; where there is no sandbox, it is asked about as a command is.

use std::path::PathBuf;
use std::sync::Arc;

use agent_team_protocol::TaskId;
use agent_team_terminal_ui::Tone;

use super::screen::Screen;
use crate::engine::output::Tail;
use crate::engine::{Place, TAIL_BYTES};
use crate::pane::paint;
use crate::team_tool::{Verify, Verifying};
use crate::tool::Permission;
use crate::tool::confine::Confinement;
use crate::tool::program::{Ended, Program};
use crate::vt::Plain;

#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) place: Arc<Place>,
    pub(super) project: PathBuf,
    pub(super) screen: Screen,
    /// `None`: nothing holds the member's programs.
    pub(super) confinement: Option<Arc<Confinement>>,
    pub(super) permission: Permission,
}

impl Verify for Verifier {
    fn verify<'a>(&'a self, _task: TaskId, line: &'a str) -> Verifying<'a> {
        Box::pin(self.run(line))
    }
}

impl Verifier {
    /// Dropping it ends the line with everything that it started.
    async fn run(&self, line: &str) -> Result<(), String> {
        self.screen.lines(Tone::Accent, &paint::verifying(line));
        let watch = self.screen.watch(None);
        let held = match &self.confinement {
            Some(confinement) => confinement.held().await.ok(),
            None => None,
        };
        let _permit = match &held {
            Some(_) => None,
            None => {
                let shown = |text: &str| watch.push(text);
                let asked = self
                    .permission
                    .ask_for_task_line(line, &self.project, &shown);
                Some(asked.await.map_err(|error| error.to_string())?)
            }
        };
        let (env, cwd) = (self.place.env.clone(), self.place.cwd.clone());
        let args = vec!["-c".into(), line.into()];
        let mut program = Program::start(held, "/bin/sh".into(), args, env, cwd)
            .await
            .map_err(|error| format!("cannot start /bin/sh: {error}"))?;
        let mut plain = Plain::default();
        let mut hiding = self.place.secrets.hiding();
        let mut tail = Tail::new(TAIL_BYTES);
        let mut show = |text: &str| {
            tail.push(text);
            watch.push(text);
        };
        let ended = program
            .finish(None, std::future::pending(), |bytes| {
                let mut text = String::with_capacity(bytes.len());
                plain.feed(bytes, &mut text);
                show(&hiding.text(&text));
            })
            .await
            .map_err(|error| format!("cannot wait for /bin/sh: {error}"))?;
        show(&hiding.rest_of_text());
        if matches!(ended, Ended::Exited(status) if status.success()) {
            return Ok(());
        }
        match tail.text() {
            output if output.is_empty() => Err(ended.to_string()),
            output => Err(format!("{ended}:\n{output}")),
        }
    }
}
