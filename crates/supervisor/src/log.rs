//! The supervisor's own log: a file that rotates, or stderr in the foreground. `agent-team supervisor logs` prints it.
//!
//! `AGENT_TEAM_LOG` filters it by targets and levels, such as `debug` or `agent_team_supervisor::launch=debug`.
//! `RUST_LOG` belongs to the programs that the user develops, and changes nothing here.

use agent_team_system::directories::Directories;
use agent_team_system::log_file::LogFile;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const FILTER: &str = "AGENT_TEAM_LOG";

/// Maximum number of lines that wait for the disk. The buffer is allocated at the start.
const LINES_WAITING: usize = 1_000;

/// Starts logging. Lines are written until the guard is dropped. The supervisor continues if the log cannot be written,
/// for example on a full disk.
pub(crate) fn start(directories: &Directories, foreground: bool) -> Option<WorkerGuard> {
    let variable = std::env::var(FILTER).ok();
    let filter = variable.as_deref().map(str::parse::<Targets>).transpose();
    let filter_error = filter.as_ref().err().map(ToString::to_string);
    let default_filter = || Targets::new().with_default(LevelFilter::INFO);
    let filter = filter.ok().flatten().unwrap_or_else(default_filter);
    let subscriber = tracing_subscriber::registry().with(filter);
    let guard = if foreground {
        subscriber
            .with(fmt::layer().with_writer(std::io::stderr))
            .init();
        None
    } else {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(LINES_WAITING)
            .finish(LogFile::new(directories.supervisor_log()));
        subscriber
            .with(fmt::layer().with_ansi(false).with_writer(writer))
            .init();
        Some(guard)
    };
    if let Some(error) = filter_error {
        tracing::warn!(%error, "cannot read {FILTER}: logging at the level info");
    }
    guard
}
