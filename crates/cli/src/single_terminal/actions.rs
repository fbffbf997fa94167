//! The calls of the single-terminal view to the supervisor, and the verbs that it runs for slash commands. Called by
//! [`super`].

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use agent_team_client::{Session, command_file, names};
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AddTask, CommandsAnswer, MemberCommands, MemberInterrupt, MemberLog, MemberPrompt,
    MemberRunLine, MessageSend, OneMember, RequestDecide, RequestShow, RunLine, SendMessage,
    TaskAdd,
};
use agent_team_protocol::request::{OneRequest, RequestView};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::{MemberName, Recipient, RequestId, TeamId};
use agent_team_system::sibling_binary::sibling_binary;
use agent_team_terminal_ui::{COLUMNS, Candidate, Names, columns_of_output};
use tokio::process::Command;

use super::state::Action;
use crate::error::Failure;
use crate::log::Log;

/// Lines of a member's log to show at the start, and bytes to read for them.
const RECENT_LINES: usize = 12;
const RECENT_BYTES: u64 = 8 << 10;

/// File systems take their times from a clock that advances in steps. The comparison of two times tolerates one step.
const CLOCK_STEP: Duration = Duration::from_millis(20);

const PROGRAM: &str = "agent-team";

/// Timeout of a slash command: verbs such as `events -f` do not end by themselves.
const VERB_TIMEOUT: Duration = Duration::from_secs(60);

/// The last lines of a member's log, and whether the log was written since `since`.
pub(super) async fn recent_output(
    session: &mut Session,
    member: MemberName,
    since: SystemTime,
) -> Result<(String, bool), Failure> {
    let path = session.query::<MemberLog>(OneMember { member }).await?.path;
    let (_, text) = Log::tail(path.clone(), RECENT_BYTES)?;
    let written = path.metadata().and_then(|log| log.modified());
    let is_new = written.is_ok_and(|written| written + CLOCK_STEP >= since);
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let newest = lines.len().saturating_sub(RECENT_LINES);
    Ok((lines[newest..].concat(), is_new))
}

/// The slash commands of a member. Empty if the call fails, for example because the supervisor is of an earlier
/// version.
pub(super) async fn commands(session: &mut Session, member: MemberName) -> CommandsAnswer {
    let listed = session.query::<MemberCommands>(OneMember { member }).await;
    listed.unwrap_or_else(|_| CommandsAnswer {
        commands: Vec::new(),
        prompts: Vec::new(),
    })
}

pub(super) async fn read_request(
    mut session: Session,
    request: RequestId,
) -> Result<RequestView, Failure> {
    Ok(session.query::<RequestShow>(OneRequest { request }).await?)
}

/// The completion candidates for a prompt.
pub(super) async fn candidates(
    session: Session,
    project: PathBuf,
    names: &Names,
) -> Vec<Candidate> {
    let found = match names {
        Names::Members => names::members(session).await,
        Names::Tasks => names::tasks(session).await,
        Names::Files { directory } => names::files(project, directory.into()).await,
    };
    let found = found.into_iter();
    found
        .map(|found| Candidate::new(found.name, found.description))
        .collect()
}

/// Carries out an action; returns the text to show on a terminal with these columns.
pub(super) async fn perform(
    mut session: Session,
    team: &TeamId,
    action: Action,
    columns: u16,
) -> Result<String, Failure> {
    match action {
        Action::Send { to, text } => send(&mut session, to, text, true).await,
        Action::RunLine { member, line } => {
            session
                .call_once::<MemberRunLine>(RunLine { member, line })
                .await?;
            Ok(String::new())
        }
        Action::EndLine(member) => {
            // `^C` sends this action. The same key clears the prompt and, pressed twice, leaves the view: the user must
            // not see an error because no worker is connected.
            let _not_connected = session.call::<MemberInterrupt>(OneMember { member }).await;
            Ok(String::new())
        }
        Action::Task { member, line } => {
            let spec = TaskSpec::typed(&line, member);
            let added = session.call::<TaskAdd>(AddTask { spec }).await?;
            Ok(format!("{} added", added.task))
        }
        Action::Decide(decide) => {
            session.call::<RequestDecide>(decide).await?;
            Ok(String::new())
        }
        Action::Interrupt(member) => {
            session
                .call::<MemberInterrupt>(OneMember { member })
                .await?;
            Ok(String::new())
        }
        Action::Command { to, file, called } => {
            let text = command_file::message(*file, called).await.map_err(|why| {
                let text = format!("cannot use the command: {why}");
                Failure::new("failed", ExitCode::Failed, text)
            })?;
            send(&mut session, to, text, false).await
        }
        Action::Prompt(prompt) => {
            session.call::<MemberPrompt>(prompt).await?;
            Ok(String::new())
        }
        // The event loop looks names up itself: the result is not a text.
        Action::Complete(_) => Ok(String::new()),
        Action::Verb(words) => run_verb(team, words, columns).await,
    }
}

async fn send(
    session: &mut Session,
    to: MemberName,
    text: String,
    attach_outside: bool,
) -> Result<String, Failure> {
    let message = SendMessage {
        to: Recipient::Member(to),
        text,
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside,
    };
    let sent = session.call::<MessageSend>(message).await?;
    Ok(sent.shown_not_delivered().unwrap_or_default())
}

/// Runs `agent-team` with these arguments as a child process; returns its output.
async fn run_verb(team: &TeamId, words: Vec<String>, columns: u16) -> Result<String, Failure> {
    let cannot_run = |error: &std::io::Error| Failure::io("cannot run agent-team", error);
    // `current_exe` is not used: after an update it would name a deleted file.
    let program = sibling_binary(PROGRAM)
        .map_err(|error| Failure::new("failed", ExitCode::Failed, error.to_string()))?;
    let mut command = Command::new(program);
    if words.first().is_none_or(|verb| verb != "up") {
        command.args(["--team", team.as_str()]);
    }
    // `kill_on_drop`: leaving the view drops the future and must end the child process.
    let output = command
        .args(words)
        .env("NO_COLOR", "1")
        .env(COLUMNS, columns_of_output(columns))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(output) = tokio::time::timeout(VERB_TIMEOUT, output).await else {
        let text = format!("the command was stopped after {} s", VERB_TIMEOUT.as_secs());
        return Err(Failure::new("failed", ExitCode::Failed, text));
    };
    let output = output.map_err(|error| cannot_run(&error))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}
