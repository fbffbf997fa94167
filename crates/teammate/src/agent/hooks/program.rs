//! Runs the program of one hook with JSON on stdin, bounded output and a time limit. Terminates the processes that the
//! hook leaves behind. Called by `hooks`.

use std::ffi::OsString;
use std::time::Duration;

use agent_team_protocol::spec::HookSpec;
use agent_team_system::trusted;
use agent_team_tools::ToolContext;
use agent_team_tools::program::{Program, ProgramEnd};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// The variable in which hooks for Claude Code find the project's directory.
const PROJECT_VARIABLE: &str = "CLAUDE_PROJECT_DIR";

/// The largest number of bytes of stdout that are kept. The program's further output is read and dropped: a closed pipe
/// could kill the hook.
const STDOUT_MAX: usize = 64 << 10;

/// The largest number of bytes of stderr that are kept.
const STDERR_MAX: usize = 16 << 10;

/// How long to read stdout after the hook has exited. A process that has left the process tree can keep the pipe open.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// How a hook ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HookExit {
    Exited {
        code: i32,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    },
    /// The hook gave no answer, for this reason.
    Failed(String),
}

/// Runs the hook in the project's directory. Dropping the future terminates the hook.
pub(super) async fn run(hook: &HookSpec, context: &ToolContext, input: &Value) -> HookExit {
    // Check the scripts before each run: agents can write the project's files.
    if let Err(untrusted) = trusted::check(&hook.files) {
        return HookExit::Failed(untrusted.to_string());
    }
    let mut env = context.env.clone();
    env.push((PROJECT_VARIABLE.into(), context.project.clone().into()));
    let args: Vec<OsString> = vec!["-c".into(), hook.run.clone().into()];
    let started = Program::start_with_stdio("/bin/sh".into(), args, env, context.project.clone());
    let (mut program, mut stdin, stdout) = match started {
        Ok(started) => started,
        Err(error) => return HookExit::Failed(format!("cannot start /bin/sh: {error}")),
    };
    let mut text = input.to_string();
    text.push('\n');
    let (mut printed, mut errors) = (Vec::new(), Vec::new());
    let write = async move {
        // A hook may exit without reading its input: ignore EPIPE.
        let _unread = stdin.write_all(text.as_bytes()).await;
    };
    // Write stdin and read stdout and stderr concurrently. A hook that prints much before it reads its input would
    // otherwise block on its full pipe, while this function blocks on the full pipe of its input.
    let mut streams = Box::pin(async {
        tokio::join!(write, read_head(stdout, &mut printed));
    });
    let limit = Duration::from_secs(hook.timeout_seconds.into());
    let finish = program.finish(Some(limit), std::future::pending(), |bytes| {
        keep_head(&mut errors, bytes, STDERR_MAX);
    });
    let mut finish = Box::pin(finish);
    let mut is_open = true;
    let ended = loop {
        tokio::select! {
            ended = &mut finish => break ended,
            () = &mut streams, if is_open => is_open = false,
        }
    };
    if is_open {
        let _escaped = tokio::time::timeout(DRAIN_LIMIT, &mut streams).await;
    }
    drop((streams, finish));
    match ended {
        Ok(ProgramEnd::Exited(status)) => match status.code() {
            Some(code) => HookExit::Exited {
                code,
                stdout: printed,
                stderr: errors,
            },
            None => HookExit::Failed("it was killed by a signal".to_owned()),
        },
        Ok(ProgramEnd::TimedOut(limit)) => {
            HookExit::Failed(format!("it was terminated after {} s", limit.as_secs()))
        }
        Ok(ended @ (ProgramEnd::Exceeded(_) | ProgramEnd::Stopped)) => {
            HookExit::Failed(ended.to_string())
        }
        Err(error) => HookExit::Failed(format!("cannot wait for it: {error}")),
    }
}

/// Reads to the end, and keeps the first bytes.
async fn read_head(mut from: impl AsyncRead + Unpin, head: &mut Vec<u8>) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        keep_head(head, &buffer[..read], STDOUT_MAX);
    }
}

fn keep_head(head: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let room = max.saturating_sub(head.len());
    head.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
