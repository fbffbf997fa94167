//! Connects to the supervisor, and starts it if none runs. Called by commands, workers and the library.
//!
//! Several processes may start supervisors at the same time: only one supervisor acquires the lock, and all callers
//! connect to that supervisor.

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::time::Duration;

use agent_team_protocol::Refusal;
use agent_team_protocol::initialize::Initialize;
use agent_team_system::announcement::{self, Announced};
use agent_team_system::backoff::Backoff;
use agent_team_system::directories::Directories;
use agent_team_system::inherited_env::is_inherited;
use agent_team_system::lock::FileLock;
use agent_team_system::sibling_binary::{FindBinaryError, sibling_binary};
use agent_team_system::spawn::{Detached, ProgramSpec, StartError};
use tokio::time::Instant;

use crate::client::{Client, ConnectError, Incoming};

/// Limit for a whole start. A supervisor restores the largest teams in two seconds, or in several times as long on a
/// busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Pauses between attempts while a supervisor holds the lock but does not listen, because it is starting or exiting.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(5),
    longest: Duration::from_millis(500),
};

/// How many started supervisors may exit before they are ready. The next such exit is returned as an error.
const EXITS_MAX: u32 = 3;

/// How long a supervisor may take to bind its socket again after SIGHUP.
const REBIND_LIMIT: Duration = Duration::from_secs(1);

/// After this time without an answer, check whether the supervisor's process is suspended (SIGSTOP).
const STOPPED_AFTER: Duration = Duration::from_secs(1);

const SUPERVISOR: &str = "agent-teamd";

/// Why [`connect_or_start`] or [`connect`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectOrStartError {
    #[error(transparent)]
    Binary(#[from] FindBinaryError),
    #[error("cannot start the supervisor")]
    Start(#[from] StartError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The user's settings are invalid; the supervisor's refusal contains the position.
    #[error("{0}")]
    Settings(Refusal),
    #[error("cannot read the supervisor's lock file")]
    Lock(#[from] io::Error),
}

/// Connects to a supervisor whose socket file may have been removed, and whose process may be suspended (SIGSTOP). If
/// the socket is unreachable, asks the supervisor to bind it again and retries for [`REBIND_LIMIT`].
async fn connect_to(
    announced: &Announced,
    directories: &Directories,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectError> {
    let mut result = connect_at(announced, initialize).await;
    if matches!(result, Err(ConnectError::Unreachable { .. })) && announced.request_rebind() {
        let deadline = Instant::now() + REBIND_LIMIT;
        // Stop retrying when another supervisor has taken the lock meanwhile.
        while matches!(result, Err(ConnectError::Unreachable { .. }))
            && Instant::now() < deadline
            && announcement::announced(directories).is_ok_and(|now| now.as_ref() == Some(announced))
        {
            tokio::time::sleep(BACKOFF.first).await;
            result = connect_at(announced, initialize).await;
        }
        if let (Err(_), Some(stopped)) = (&result, stopped(announced)) {
            return Err(stopped);
        }
    }
    result
}

async fn connect_at(
    announced: &Announced,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectError> {
    let mut connecting = pin!(Client::connect(&announced.socket, initialize));
    loop {
        // The kernel accepts connections on behalf of a suspended process, which does not answer.
        match tokio::time::timeout(STOPPED_AFTER, &mut connecting).await {
            Ok(result) => return result,
            Err(_elapsed) => {
                if let Some(stopped) = stopped(announced) {
                    return Err(stopped);
                }
            }
        }
    }
}

fn stopped(announced: &Announced) -> Option<ConnectError> {
    let process = announced.process?;
    let stopped = process.is_stopped().unwrap_or(false);
    stopped.then_some(ConnectError::Stopped { pid: process.pid })
}

/// Connects to the supervisor, and starts it first if none runs. The directories must be prepared.
///
/// # Errors
/// The supervisor cannot be started or reached or refuses the connection, or its lock file cannot be read.
pub async fn connect_or_start(
    directories: &Directories,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectOrStartError> {
    let deadline = Instant::now() + START_LIMIT;
    let mut waits = 0;
    let mut exits = 0;
    loop {
        // Each round reads the lock file again, even after a successful start: several clients can start supervisors at
        // once, and the supervisor that this call started may have lost the lock to another supervisor or may have
        // exited.
        let unreachable = match announcement::announced(directories)? {
            None => None,
            Some(announced) => match connect_to(&announced, directories, initialize).await {
                Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Ended)) => {
                    Some(error)
                }
                result => return Ok(result?),
            },
        };
        let started = match start(directories).await {
            Ok(started) => started,
            // Another process started a supervisor first: connect to that supervisor.
            Err(ConnectOrStartError::Start(StartError::Refused(_) | StartError::Exited))
                if FileLock::is_held(&directories.supervisor_lock())? =>
            {
                Started::Another
            }
            // Most likely the supervisor was killed during its start: a supervisor that cannot start reports the
            // reason.
            Err(ConnectOrStartError::Start(StartError::Exited)) if exits < EXITS_MAX => {
                exits += 1;
                Started::Another
            }
            Err(error) => return Err(error),
        };
        if Instant::now() >= deadline {
            return Err(match unreachable {
                Some(error) => error.into(),
                None => StartError::TimedOut(START_LIMIT).into(),
            });
        }
        if started == Started::Another {
            waits += 1;
            tokio::time::sleep(BACKOFF.after(waits)).await;
        }
    }
}

/// Connects to the running supervisor; never starts a supervisor.
///
/// # Errors
/// No supervisor runs, the supervisor cannot be reached or refuses the connection, or its lock file cannot be read.
pub async fn connect(
    directories: &Directories,
    initialize: &Initialize,
) -> Result<(Client, Incoming), ConnectOrStartError> {
    let Some(announced) = announcement::announced(directories)? else {
        let path = directories.socket();
        let source = io::ErrorKind::NotFound.into();
        return Err(ConnectError::Unreachable { path, source }.into());
    };
    Ok(connect_to(&announced, directories, initialize).await?)
}

/// The result of starting a supervisor.
#[derive(PartialEq, Eq)]
enum Started {
    /// The started supervisor is ready.
    Ready,
    /// Another supervisor held the lock, or the started supervisor exited.
    Another,
}

/// Starts a supervisor and waits until it is ready.
async fn start(directories: &Directories) -> Result<Started, ConnectOrStartError> {
    let spec = ProgramSpec {
        program: sibling_binary(SUPERVISOR)?,
        args: Vec::new(),
        env: environment(directories),
        cwd: "/".into(),
    };
    let report = Detached::new(spec).start(START_LIMIT).await?;
    if report == announcement::LOCK_TAKEN_LINE {
        return Ok(Started::Another);
    }
    match report.strip_prefix(announcement::SETTINGS_PREFIX) {
        None => Ok(Started::Ready),
        Some(refusal) => Err(match serde_json::from_str(refusal) {
            Ok(refusal) => ConnectOrStartError::Settings(refusal),
            // The supervisor is from another build, so this build cannot decode its refusal.
            Err(_) => StartError::Refused(refusal.to_owned()).into(),
        }),
    }
}

/// The environment of a new supervisor: the variables that [`is_inherited`] accepts, and the variables that name
/// `directories`.
fn environment(directories: &Directories) -> Vec<(OsString, OsString)> {
    let variables = directories.variables();
    std::env::vars_os()
        .filter(|(name, _)| is_inherited(name))
        .filter(|(name, _)| !variables.iter().any(|(variable, _)| name == variable))
        .chain(
            variables
                .iter()
                .filter_map(|(name, value)| Some((name.into(), value.clone()?))),
        )
        .collect()
}
