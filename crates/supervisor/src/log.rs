//! The supervisor's own log: a file that rotates, or stderr in the foreground. `RUST_LOG` is respected.

use agent_team_system::directories::Directories;
use agent_team_system::log_file::LogFile;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Lines that wait for the disk, at most: room for them is allocated at once.
const LINES_WAITING: usize = 1_000;

/// Starts logging. What is logged is written until the guard is dropped; a log that cannot be written (full disk) stops
/// nothing.
pub(crate) fn start(directories: &Directories, foreground: bool) -> Option<WorkerGuard> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE);
    if foreground {
        subscriber.with_writer(std::io::stderr).init();
        return None;
    }
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING)
        .finish(LogFile::new(directories.supervisor_log()));
    subscriber.with_ansi(false).with_writer(writer).init();
    Some(guard)
}
