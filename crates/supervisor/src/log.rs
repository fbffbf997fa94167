//! The supervisor's own log: a file that rotates, or stderr in the foreground. `RUST_LOG` is respected, as far as it
//! names targets and levels: the rest of its syntax would make every supervisor carry a regular expression engine.

use agent_team_system::directories::Directories;
use anyhow::Context;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Days whose logs are kept.
const DAYS_KEPT: usize = 7;

/// Lines that wait for the disk, at most: room for them is allocated at once.
const LINES_WAITING: usize = 1_000;

/// Starts logging. What is logged is written until the guard is dropped.
pub(crate) fn start(
    directories: &Directories,
    foreground: bool,
) -> anyhow::Result<Option<WorkerGuard>> {
    let wanted = std::env::var("RUST_LOG").ok();
    let filter = wanted
        .and_then(|wanted| wanted.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let subscriber = tracing_subscriber::registry().with(filter);
    if foreground {
        let layer = fmt::layer().with_writer(std::io::stderr);
        subscriber.with(layer).init();
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
    let layer = fmt::layer().with_ansi(false).with_writer(writer);
    subscriber.with(layer).init();
    Ok(Some(guard))
}
