//! A thread for one hosted member, with a runtime of its own. Called by the embedding library, and by the process that
//! hosts members.
//!
//! What a member does to its thread, blocking it or panicking, is done to nobody else.

use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// How long what a member's tools have going on in other threads may take to end.
const LEFT_LIMIT: Duration = Duration::from_secs(2);

/// Does `work` on a thread of its own, until it ends or `ending` comes to an end, whichever: where it stands, that is
/// what a kill is. Then `over` hears what came of it; nothing of the member runs any more.
///
/// # Errors
/// When there is no thread to be had.
pub fn start<F>(
    name: String,
    ending: oneshot::Receiver<()>,
    work: impl FnOnce() -> F + Send + 'static,
    over: impl FnOnce(Result<(), String>) + Send + 'static,
) -> io::Result<JoinHandle<()>>
where
    F: Future<Output = Result<(), String>>,
{
    let thread = std::thread::Builder::new().name(name);
    thread.spawn(move || over(live(work, ending)))
}

fn live<F: Future<Output = Result<(), String>>>(
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
            _told = ending => Ok(()),
            worked = work() => worked,
        }
    };
    let worked = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(work)));
    runtime.shutdown_timeout(LEFT_LIMIT);
    worked.unwrap_or_else(|panic| Err(format!("it panicked: {}", panicked(&*panic))))
}

fn panicked(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<&str>() {
        Some(text) => text,
        None => panic.downcast_ref::<String>().map_or("?", String::as_str),
    }
}
