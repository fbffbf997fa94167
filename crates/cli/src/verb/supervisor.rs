//! `supervisor …`: shows, stops, restarts and runs the supervisor, and prints its log.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use agent_team_client::{Session, SessionError};
use agent_team_protocol::method::{DownAnswer, Nothing, SupervisorRestart, SupervisorStatus};
use agent_team_protocol::text::{age, duration};
use agent_team_protocol::view::{DriverView, SupervisorView};
use agent_team_system::clock::wall_ms;
use agent_team_system::directories::Directories;
use agent_team_system::sibling_binary::sibling_binary;
use serde::Serialize;

use crate::args::SupervisorCommand;
use crate::error::Failure;
use crate::log::Log;
use crate::output::{Output, member, receipt, text, time};

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

/// Prints the log. Needs no running supervisor: the log is most useful after the supervisor failed.
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
    let program = sibling_binary(BINARY).map_err(|error| failed(&error))?;
    Err(failed(&Command::new(program).arg("--foreground").exec()))
}

fn details(status: &SupervisorView) -> String {
    let since = wall_ms().saturating_sub(status.up_ms);
    let teams: Vec<String> = status.teams.iter().map(|it| it.team.to_string()).collect();
    let teams = match teams.as_slice() {
        [] => "none".to_owned(),
        teams => teams.join(", "),
    };
    let mut text = fields(
        "",
        &[
            ("pid", status.pid.to_string()),
            (
                "since",
                format!("{} ({})", time::utc(since), duration(status.up_ms)),
            ),
            (
                "version",
                format!("{}, protocol {}", status.build, status.protocol),
            ),
            ("socket", status.socket.display().to_string()),
            ("log", status.log.display().to_string()),
            ("memory", format!("{} KiB", status.resident_bytes / 1024)),
            ("connections", status.connections.to_string()),
            (
                "descriptors",
                format!("{} of {}", status.descriptors, status.descriptors_max),
            ),
            ("teams", teams),
        ],
    );
    text.extend(status.teams.iter().map(driver));
    text
}

fn driver(team: &DriverView) -> String {
    let commit = match team.last_commit {
        Some(commit) => format!(
            "{} ago: {} in {} µs",
            age(commit.ago_ms),
            text::count(commit.records.into(), "record"),
            commit.took_us,
        ),
        None => "none yet".into(),
    };
    let queues = format!(
        "{} waiting, {} being stored",
        text::count(team.inputs.into(), "input"),
        text::count(team.committing.into(), "record"),
    );
    let fields = fields(
        "  ",
        &[
            ("project", team.project.display().to_string()),
            ("revision", team.revision.0.to_string()),
            ("storage", team.storage.clone()),
            ("last commit", commit),
            ("queues", queues),
            ("subscribers", team.subscribers.to_string()),
        ],
    );
    format!("\n{}\n{fields}{}", team.team, member::table(&team.members))
}

/// A line for each field, with aligned values.
fn fields(indent: &str, fields: &[(&str, String)]) -> String {
    let lines = fields.iter().map(|(name, value)| {
        let value = text::line(value);
        format!("{indent}{name:<11}  {value}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_is_aligned_fields() {
        let status = json!({
            "pid": 4711, "build": "0.1.0", "protocol": 1, "socket": "/run/s", "log": "/l", "up_ms": 61_000,
            "resident_bytes": 2048, "connections": 1, "descriptors": 9, "descriptors_max": 64,
            "teams": [{
                "team": "demo-01234567", "project": "/p", "revision": 12, "inputs": 0, "committing": 1,
                "subscribers": 0, "storage": "stored", "members": [],
                "last_commit": {"revision": 12, "records": 2, "took_us": 90, "ago_ms": 3_000},
            }],
        });
        let text = details(&serde_json::from_value(status).expect("a status"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "pid          4711");
        assert!(
            lines[1].starts_with("since        2") && lines[1].ends_with("Z (1 min 1 s)"),
            "{text}"
        );
        assert_eq!(lines[2], "version      0.1.0, protocol 1");
        assert_eq!(lines[3], "socket       /run/s");
        assert_eq!(
            lines[8..16],
            [
                "teams        demo-01234567",
                "",
                "demo-01234567",
                "  project      /p",
                "  revision     12",
                "  storage      stored",
                "  last commit  3.0 s ago: 2 records in 90 µs",
                "  queues       0 inputs waiting, 1 record being stored",
            ]
        );
    }
}
