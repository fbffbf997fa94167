//! The supervisor's own log: a file that rotates, or stderr in the foreground. `RUST_LOG` is respected.

use agent_team_system::directories::Directories;
use anyhow::Context;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Days whose logs are kept.
const DAYS_KEPT: usize = 7;

/// Lines that wait for the disk, at most: room for them is allocated at once.
const LINES_WAITING: usize = 1_000;

/// Starts logging. What is logged is written until the guard is dropped.
pub(crate) fn start(
    directories: &Directories,
    foreground: bool,
) -> anyhow::Result<Option<WorkerGuard>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE);
    if foreground {
        subscriber.with_writer(std::io::stderr).init();
        return Ok(None);
    }
    let newest = directories.supervisor_log();
    let parts = (newest.parent(), newest.file_stem(), newest.file_name());
    let (Some(directory), Some(stem), Some(name)) = parts else {
        anyhow::bail!("{} is not a place for a log", newest.display());
    };
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(stem.to_string_lossy())
        .filename_suffix("log")
        .latest_symlink(name.to_string_lossy())
        .max_log_files(DAYS_KEPT)
        .build(directory)
        .with_context(|| format!("cannot log to {}", directory.display()))?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_WAITING)
        .finish(appender);
    subscriber.with_ansi(false).with_writer(writer).init();
    Ok(Some(guard))
}
