//! The supervisor's own log: a file that rotates, or stderr in the foreground. `RUST_LOG` is respected, as far as it
//! names targets and levels: the rest of its syntax would make every supervisor carry a regular expression engine.

use agent_team_system::directories::Directories;
use agent_team_system::log_file::LogFile;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that wait for the disk, at most: room for them is allocated at once.
const LINES_WAITING: usize = 1_000;

/// Starts logging. What is logged is written until the guard is dropped; a log that cannot be written (full disk) stops
/// nothing.
pub(crate) fn start(directories: &Directories, foreground: bool) -> Option<WorkerGuard> {
    let wanted = std::env::var("RUST_LOG").ok();
    let filter = wanted
        .and_then(|wanted| wanted.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let subscriber = tracing_subscriber::registry().with(filter);
    if foreground {
        subscriber
            .with(fmt::layer().with_writer(std::io::stderr))
            .init();
        return None;
    }
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING)
        .finish(LogFile::new(directories.supervisor_log()));
    subscriber
        .with(fmt::layer().with_ansi(false).with_writer(writer))
        .init();
    Some(guard)
}
