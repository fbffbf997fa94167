//! The supervisor's own log: a file that rotates, or stderr in the foreground. `RUST_LOG` is respected.

use agent_team_system::directories::Directories;
use anyhow::Context;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Days whose logs are kept.
const DAYS_KEPT: usize = 7;

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
    let path = directories.supervisor_log();
    let (Some(directory), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        anyhow::bail!("{} is not a place for a log", path.display());
    };
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name)
        .max_log_files(DAYS_KEPT)
        .build(directory)
        .with_context(|| format!("cannot log to {}", directory.display()))?;
    let (writer, guard) = tracing_appender::non_blocking(appender);
    subscriber.with_ansi(false).with_writer(writer).init();
    Ok(Some(guard))
}
