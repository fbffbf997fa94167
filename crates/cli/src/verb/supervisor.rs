//! `supervisor …`: shows, stops, restarts and runs the supervisor, and prints its log.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use agent_team_client::{Session, SessionError};
use agent_team_protocol::method::{DownAnswer, Nothing, SupervisorRestart, SupervisorStatus};
use agent_team_protocol::text::{age, duration};
use agent_team_protocol::view::{DriverView, SupervisorView};
use agent_team_system::daemon;
use agent_team_system::directories::Directories;
use serde::Serialize;

use crate::args::SupervisorCommand;
use crate::error::Failure;
use crate::log::Log;
use crate::output::{Output, member, receipt, text};

/// The supervisor's binary.
pub(super) const BINARY: &str = "agent-teamd";

pub(super) async fn run(output: Output, command: SupervisorCommand) -> Result<ExitCode, Failure> {
    match command {
        SupervisorCommand::Status => status(output).await,
        SupervisorCommand::Stop => stop(output).await,
        SupervisorCommand::Restart => restart(output).await,
        SupervisorCommand::Run => run_in_foreground(),
        SupervisorCommand::Logs { follow } => logs(output, follow).await,
    }
}

/// Interval at which `logs --follow` reads the log file. The file is polled: a failed supervisor could not send
/// notifications of new lines.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LogText<'a> {
    text: &'a str,
}

/// Needs no running supervisor: the log is most useful after the supervisor failed.
async fn logs(output: Output, follow: bool) -> Result<ExitCode, Failure> {
    let path = Directories::from_environment()?.supervisor_log();
    let (mut log, mut text) = Log::whole(path)?;
    if !follow {
        output.show(&LogText { text: &text }, || text::of_program(&text))?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        if !text.is_empty() {
            output.item(&LogText { text: &text }, || text::of_program(&text))?;
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        text = log.read()?;
    }
}

async fn status(output: Output) -> Result<ExitCode, Failure> {
    let mut session = Session::of_running(None)
        .await?
        .ok_or(SessionError::NotRunning)?;
    let status = session.query::<SupervisorStatus>(Nothing {}).await?;
    output.show(&status, || details(&status))?;
    Ok(ExitCode::SUCCESS)
}

async fn stop(output: Output) -> Result<ExitCode, Failure> {
    let nothing = DownAnswer {
        receipts: Vec::new(),
    };
    if let Some(session) = Session::of_supervisor_to_stop().await? {
        let stopped = session.stop_supervisor();
        match output.waiting_for("all teams to stop", stopped).await {
            Ok(answer) => return receipt::show(output, &answer).map(ExitCode::from),
            // The supervisor exited by itself, as it does after its last team is down.
            Err(_) if Session::of_supervisor_to_stop().await?.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    output.show(&nothing, || "no supervisor is running\n".into())?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Restarted {
    /// The process id of the previous supervisor; `None` when none was running.
    before: Option<u32>,
    pid: Option<u32>,
}

async fn restart(output: Output) -> Result<ExitCode, Failure> {
    let Some(mut session) = Session::of_running(None).await? else {
        let nothing = Restarted {
            before: None,
            pid: None,
        };
        output.show(&nothing, || {
            "no supervisor is running; the next command starts one\n".into()
        })?;
        return Ok(ExitCode::SUCCESS);
    };
    let before = session.supervisor().await?.pid;
    session.call::<SupervisorRestart>(Nothing {}).await?;
    let next = async {
        session.closed().await;
        Session::of_next_supervisor()
            .query::<SupervisorStatus>(Nothing {})
            .await
    };
    let status = output
        .waiting_for("the next supervisor to be ready", next)
        .await?;
    let document = Restarted {
        before: Some(before),
        pid: Some(status.pid),
    };
    output.show(&document, || {
        format!(
            "{}: process {} replaces {before}\n",
            text::line(&status.build),
            status.pid
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn run_in_foreground() -> Result<ExitCode, Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        crate::error::unreachable("cannot run the supervisor").because(error)
    };
    let program = daemon::sibling_binary(BINARY).map_err(|error| failed(&error))?;
    Err(failed(&Command::new(program).arg("--foreground").exec()))
}

fn details(status: &SupervisorView) -> String {
    let mut text = format!(
        "{}, process {}, protocol {}, up {}\n  socket       {}\n  log          {}\n  memory       {} KiB\n  connections  {}\n  descriptors  {} of {}\n",
        text::line(&status.build),
        status.pid,
        status.protocol,
        duration(status.up_ms),
        text::line(&status.socket.to_string_lossy()),
        text::line(&status.log.to_string_lossy()),
        status.resident_bytes / 1024,
        status.connections,
        status.descriptors,
        status.descriptors_max,
    );
    if status.teams.is_empty() {
        text.push_str("no teams\n");
    }
    text.extend(status.teams.iter().map(driver));
    text
}

fn driver(team: &DriverView) -> String {
    let commit = match team.last_commit {
        Some(commit) => format!(
            "last commit {} ago: {} in {} µs",
            age(commit.ago_ms),
            text::count(commit.records.into(), "record"),
            commit.took_us,
        ),
        None => "no commit yet".into(),
    };
    format!(
        "\n{} at revision {} in {}\n  {}; {} waiting, {} being stored, {}; {commit}\n{}",
        team.team,
        team.revision.0,
        text::line(&team.project.to_string_lossy()),
        text::line(&team.storage),
        text::count(team.inputs.into(), "input"),
        text::count(team.committing.into(), "record"),
        text::count(team.subscribers.into(), "subscriber"),
        member::table(&team.members),
    )
}
