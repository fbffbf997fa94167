//! Starts the shell of a command. Called by `bash`, for the foreground and for jobs.

use std::ffi::OsString;
use std::path::PathBuf;

use super::line::Line;
use crate::confine::ActiveSandbox;
use crate::context::ToolContext;
use crate::program::Program;
use crate::tool::ToolError;

/// Starts a command in its own session.
pub(super) async fn shell(
    context: &ToolContext,
    line: Line,
    sandbox: Option<ActiveSandbox>,
) -> Result<Program, ToolError> {
    let shell = find_bash(&context.env);
    let env = line.env(&context.env, &context.project);
    let directory = line.directory.unwrap_or_else(|| context.cwd.clone());
    Program::start(sandbox, shell.clone(), line.args, env, directory)
        .await
        .map_err(|error| ToolError::Failed(format!("cannot start {}: {error}", shell.display())))
}

/// Finds bash on `PATH`, else falls back to `/bin/sh`, which every system has.
fn find_bash(env: &[(OsString, OsString)]) -> PathBuf {
    let path = env.iter().find(|(name, _)| name == "PATH");
    path.map(|(_, value)| std::env::split_paths(value))
        .into_iter()
        .flatten()
        .map(|directory| directory.join("bash"))
        .find(|bash| bash.is_absolute() && bash.is_file())
        .unwrap_or_else(|| "/bin/sh".into())
}
