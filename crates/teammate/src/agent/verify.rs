//! Runs a task's `verify` line for an agent. Called by the tool `complete_task`, and by `custom`.
//!
//! The user has written the line, or a member has obtained permission for the line when it created the task. But the
//! agent can change the files that the line runs: a script, a Makefile, the tests themselves. The line therefore runs
//! in the sandbox of the agent's commands; without a sandbox, the line needs permission like any command.

use std::path::PathBuf;
use std::sync::Arc;

use agent_team_protocol::TaskId;
use agent_team_terminal_ui::Tone;
use agent_team_tools::Permission;
use agent_team_tools::confine::Confinement;
use agent_team_tools::program::{Program, ProgramEnd};
use agent_team_tools::tail::Tail;
use agent_team_tools::team::{Verify, Verifying};
use agent_team_tools::vt::Plain;

use super::output_sink::OutputSink;
use crate::engine::{ProgramContext, TAIL_BYTES};
use crate::pane::paint;

#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) program_context: Arc<ProgramContext>,
    pub(super) project: PathBuf,
    pub(super) sink: OutputSink,
    /// `None`: the member's programs run without a sandbox.
    pub(super) confinement: Option<Arc<Confinement>>,
    pub(super) permission: Permission,
}

impl Verify for Verifier {
    fn verify<'a>(&'a self, _task: TaskId, line: &'a str) -> Verifying<'a> {
        Box::pin(self.run(line))
    }
}

impl Verifier {
    /// Runs the line. Dropping the future terminates the line and all processes that it started.
    async fn run(&self, line: &str) -> Result<(), String> {
        self.sink.lines(Tone::Runtime, &paint::verifying(line));
        let output = self.sink.tool_output(None);
        let sandbox = match &self.confinement {
            Some(confinement) => confinement.sandbox().await.ok(),
            None => None,
        };
        let _permit = match &sandbox {
            Some(_) => None,
            None => {
                let shown = |text: &str| output.push(text);
                let permit = self
                    .permission
                    .ask_for_task_line(line, &self.project, &shown);
                Some(permit.await.map_err(|error| error.to_string())?)
            }
        };
        let (env, cwd) = (
            self.program_context.env.clone(),
            self.program_context.cwd.clone(),
        );
        let args = vec!["-c".into(), line.into()];
        let mut program = Program::start(sandbox, "/bin/sh".into(), args, env, cwd)
            .await
            .map_err(|error| format!("cannot start /bin/sh: {error}"))?;
        let mut plain = Plain::default();
        let mut redactor = self.program_context.secrets.stream();
        let mut tail = Tail::new(TAIL_BYTES);
        let mut show = |text: &str| {
            tail.push(text);
            output.push(text);
        };
        let ended = program
            .finish(None, std::future::pending(), |bytes| {
                let mut text = String::with_capacity(bytes.len());
                plain.feed(bytes, &mut text);
                show(&redactor.text(&text));
            })
            .await
            .map_err(|error| format!("cannot wait for /bin/sh: {error}"))?;
        show(&redactor.rest_of_text());
        if matches!(ended, ProgramEnd::Exited(status) if status.success()) {
            return Ok(());
        }
        match tail.text() {
            output if output.is_empty() => Err(ended.to_string()),
            output => Err(format!("{ended}:\n{output}")),
        }
    }
}
