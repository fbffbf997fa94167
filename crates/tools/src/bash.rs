//! `bash`, `bash_output` and `bash_kill`: shell commands in the foreground or the background.

mod jobs;
mod line;
mod shell;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use self::jobs::{Job, Jobs};
use self::line::Line;
use self::shell::shell;
use crate::adapter::{Access, Call, Progress, tool};
use crate::capture::Capture;
use crate::confine::{ActiveSandbox, Confinement};
use crate::permission::Permission;
use crate::tool::{Tool, ToolError};

/// The default and the largest timeout of a command, in seconds.
const TIMEOUT: u64 = 120;
const TIMEOUT_MAX: u64 = 600;

/// The largest wait for a job, in seconds.
const WAIT_MAX: u64 = 60;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BashArguments {
    /// The command, as for `bash -c`. It has no terminal and no input.
    command: String,
    /// Seconds after which the command is terminated; at most 600. Default: 120; in the background: no timeout.
    timeout_seconds: Option<u64>,
    /// Return immediately with the id of a background job. Default: false.
    #[serde(default)]
    background: bool,
    /// Run outside the sandbox, which needs permission. Default: false.
    #[serde(default)]
    outside_sandbox: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutputArguments {
    /// The job's id.
    id: u32,
    /// Seconds to wait until the job prints new output or exits. Default: 0; at most 60.
    #[serde(default)]
    wait_seconds: u64,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KillArguments {
    /// The job's id.
    id: u32,
}

/// The name of the tool that runs commands.
pub const BASH: &str = "bash";

/// Creates the three tools, which share the member's jobs.
pub(super) fn tools(
    permission: Permission,
    confinement: Option<Arc<Confinement>>,
) -> [Box<dyn Tool>; 3] {
    let jobs = Arc::new(Jobs::default());
    // Mode `bypass` has no sandbox. In the other modes, the text about the sandbox also applies where no sandbox works:
    // every command then needs permission, as it does with `outside_sandbox`.
    let sandbox = match &confinement {
        None => " Commands run without a sandbox, with the rights of the user.".to_owned(),
        Some(confinement) => {
            let network = match confinement.has_network() {
                true => "",
                false => ", and have no network",
            };
            format!(
                " In the sandbox, commands can write only to the project and to $TMPDIR{network}; set \
                 `outside_sandbox` for a command that needs other access."
            )
        }
    };
    let description = format!(
        "Run a shell command. Every call starts in the working directory. When the command exits, all processes that \
         it started are terminated; run long-lived processes such as servers with `background`. Long output is \
         truncated in the middle and stored completely in a file.{sandbox}"
    );
    let bash = Bash {
        jobs: Arc::clone(&jobs),
        permission,
        confinement,
    };
    [
        tool(BASH, &description, Access::Changes, bash, run),
        tool(
            "bash_output",
            "Show the output of a background job since the last call, and whether it is running.",
            // Each call advances the read position of the output.
            Access::Changes,
            Arc::clone(&jobs),
            output,
        ),
        tool(
            "bash_kill",
            "Terminate a background job and all processes that it started, and show its last output.",
            Access::Changes,
            jobs,
            kill,
        ),
    ]
}

struct Bash {
    jobs: Arc<Jobs>,
    permission: Permission,
    confinement: Option<Arc<Confinement>>,
}

impl Bash {
    /// Returns the sandbox for a command; `None` if the command requested to run outside, if no sandbox is configured,
    /// or if the sandbox is not available. Reports an unavailable sandbox to the user.
    async fn sandbox(&self, outside: bool, progress: Progress<'_>) -> Option<ActiveSandbox> {
        let confinement = self.confinement.as_ref().filter(|_| !outside)?;
        let sandbox = confinement.sandbox().await;
        sandbox
            .inspect_err(|why| progress(&format!("the sandbox is not available: {why}\n")))
            .ok()
    }
}

async fn run(bash: &Bash, arguments: BashArguments, call: Call<'_>) -> Result<String, ToolError> {
    let limit = match arguments.timeout_seconds {
        Some(seconds @ 1..=TIMEOUT_MAX) => Some(Duration::from_secs(seconds)),
        Some(seconds) => {
            return Err(ToolError::Input(format!(
                "`timeout_seconds`: {seconds} is not between 1 and {TIMEOUT_MAX}; run longer commands with `background`"
            )));
        }
        None if arguments.background => None,
        None => Some(Duration::from_secs(TIMEOUT)),
    };
    if arguments.command.contains('\0') {
        return Err(ToolError::Input(
            "`command` contains a NUL character".to_owned(),
        ));
    }
    let Call {
        context, progress, ..
    } = call;
    let sandbox = bash.sandbox(arguments.outside_sandbox, progress).await;
    let containment = sandbox.as_ref().map(ActiveSandbox::containment);
    let permit = bash.permission.ask(call, call.input, containment);
    let mut permit = permit.await?;
    let run = permit.run.take();
    let reads_only = run.as_ref().is_some_and(|run| run.reads_only);
    let sandbox = match reads_only {
        true => sandbox.map(ActiveSandbox::read_only),
        false => sandbox,
    };
    let line = match run {
        Some(run) => Line::words(run, &context.env, &context.project),
        None => Line::text(&arguments.command, &context.env),
    };
    if arguments.background {
        let id = bash.jobs.start(context, line, sandbox, limit).await?;
        return Ok(format!(
            "job {id} is running: call bash_output for its output, bash_kill to terminate it"
        ));
    }
    let mut program = shell(context, line, sandbox).await?;
    let mut capture = Capture::new(context);
    let ended = program
        .finish(limit, std::future::pending(), |bytes| {
            progress(&capture.push(bytes));
        })
        .await
        .map_err(|error| ToolError::Failed(format!("cannot wait for the command: {error}")))?;
    progress(&capture.end());
    Ok(format!("{}({ended})", with_newline(capture.take())))
}

async fn output(
    jobs: &Arc<Jobs>,
    arguments: OutputArguments,
    call: Call<'_>,
) -> Result<String, ToolError> {
    let wait = Duration::from_secs(arguments.wait_seconds.min(WAIT_MAX));
    let job = jobs.find(arguments.id)?;
    Ok(job_output(&job, wait, call.progress).await)
}

async fn kill(
    jobs: &Arc<Jobs>,
    arguments: KillArguments,
    call: Call<'_>,
) -> Result<String, ToolError> {
    let job = jobs.find(arguments.id)?;
    job.stop().await;
    Ok(job_output(&job, Duration::ZERO, call.progress).await)
}

/// Returns a job's output since the last call and its state, and shows the output to the user.
async fn job_output(job: &Job, wait: Duration, progress: Progress<'_>) -> String {
    let (printed, state) = job.output(wait).await;
    progress(&printed);
    format!("{}({state})", with_newline(printed))
}

fn with_newline(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
