//! Runs one hosted member on its own thread with its own runtime. Called by the embedding library and by the host
//! process.
//!
//! A member that blocks or panics affects only its own thread.

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// The time limit for blocking work of a member's tools when its runtime shuts down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);

/// Runs `work` on a new thread until the work returns or `ending` completes. If `ending` completes first, the work is
/// dropped, as by a kill. Then shuts down the runtime, waiting a limited time for tools that block, and calls `on_exit`
/// with the result.
///
/// # Errors
/// If the thread cannot be started.
pub fn start<F>(
    name: String,
    ending: oneshot::Receiver<()>,
    work: impl FnOnce() -> F + Send + 'static,
    on_exit: impl FnOnce(Result<(), String>) + Send + 'static,
) -> io::Result<JoinHandle<()>>
where
    F: Future<Output = Result<(), String>>,
{
    let thread = std::thread::Builder::new().name(name);
    thread.spawn(move || on_exit(run(work, ending)))
}

fn run<F: Future<Output = Result<(), String>>>(
    work: impl FnOnce() -> F,
    ending: oneshot::Receiver<()>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let work = async {
        tokio::select! {
            biased;
            _end_requested = ending => Ok(()),
            worked = work() => worked,
        }
    };
    let worked = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
    // Dropping a runtime waits without a limit for blocking work that has started, such as a tool that reads from a file
    // system that does not answer.
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    worked.unwrap_or_else(|panic| Err(format!("the worker panicked: {}", panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<&str>() {
        Some(text) => text,
        None => panic.downcast_ref::<String>().map_or("?", String::as_str),
    }
}
