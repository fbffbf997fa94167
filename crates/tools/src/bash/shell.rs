//! Starts the shell of a command. Called by `bash`, for the foreground and for jobs.

use std::path::PathBuf;

use super::line::Line;
use crate::confine::ActiveSandbox;
use crate::context::ToolContext;
use crate::program::{Program, find_outside};
use crate::tool::ToolError;

/// Starts a command in its own session.
pub(super) async fn shell(
    context: &ToolContext,
    line: Line,
    sandbox: Option<ActiveSandbox>,
) -> Result<Program, ToolError> {
    let shell = find_bash(context);
    let directory = line.directory.unwrap_or_else(|| context.cwd.clone());
    Program::start(sandbox, shell.clone(), line.args, line.env, directory)
        .await
        .map_err(|error| ToolError::Failed(format!("cannot start {}: {error}", shell.display())))
}

/// Finds bash on `PATH`, never in the project, which can contain a program of this name. Falls back to `/bin/sh`, which
/// every system has.
fn find_bash(context: &ToolContext) -> PathBuf {
    let path = context.env.iter().find(|(name, _)| name == "PATH");
    path.and_then(|(_, path)| find_outside(&context.project, path, "bash"))
        .unwrap_or_else(|| "/bin/sh".into())
}
