//! `cancel` and `goal cancel`: cancels the current goal and the open tasks that members added for it.

use std::process::ExitCode;

use agent_team_protocol::method::{CancelRun, RunCancel};
use agent_team_protocol::{ErrorCode, TaskId};

use super::text_argument::text_or_stdin;
use crate::args::Global;
use crate::error::Failure;
use crate::output::Output;

pub(super) async fn run(
    global: &Global,
    output: Output,
    reason: String,
) -> Result<ExitCode, Failure> {
    let reason = text_or_stdin(reason, ErrorCode::MessageTooLarge)?;
    let mut session = global.session()?;
    let answer = session.call::<RunCancel>(CancelRun { reason }).await?;
    output.show(&answer, || {
        let ids: Vec<_> = answer.tasks.iter().map(TaskId::to_string).collect();
        match ids.as_slice() {
            [] => format!("{} is cancelled\n", answer.run),
            ids => format!("{} is cancelled, with {}\n", answer.run, ids.join(", ")),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
