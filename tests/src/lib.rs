//! The rig of the end-to-end tests in `e2e/`: the real binaries in a world of their own, which ends with the test.
//!
//! A reader who looks for …
//! - the world itself, its places and how a verb is run in it: [`rig`]
//! - what a verb printed, and verbs that go on while the test does: [`verb`]
//! - asking the supervisor as a client does, and waiting for events: [`user`]
//! - a terminal with a person at it: [`screen`]
//! - tmux, as the person's own and as the team's: [`tmux`]
//! - iTerm2, as the person's own: [`fake_iterm2`]
//! - a worker whose words are the test's: [`stub`]
//! - a provider of models whose words are the test's: [`fake_model_server`]
//! - a disk that can be filled: [`small_disk`]; other faults of the machine: [`shim`]
//! - random faults and the checks of every promise: [`torture`]
//! - which processes belong to a world: [`processes`]
//! - where the binaries come from: [`binaries`]
//!
//! It asks the binaries by their public faces only: command line, socket, terminal, files. It must never end or touch
//! what no test of it started, so that it can run beside a person's real team and beside itself.
//! Everything in it panics with what went wrong: it serves tests alone.

#![expect(
    clippy::print_stderr,
    reason = "a test that fails or is skipped says so there"
)]

pub mod binaries;
pub mod fake_iterm2;
pub mod fake_model_server;
mod logs;
pub mod processes;
pub mod rig;
pub mod screen;
pub mod shim;
pub mod simulation;
pub mod small_disk;
pub mod stub;
pub mod tmux;
pub mod torture;
pub mod user;
pub mod verb;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

pub use rig::Rig;
pub use screen::Screen;
pub use user::{Event, Events, User};
pub use verb::{Output, Running};

/// Nothing that is waited for takes this long: who waits longer waits for what will not come.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How often [`until`] looks. Only what tells nobody that it changed is looked at: files, panes, processes.
const LOOK: Duration = Duration::from_millis(10);

/// The future's value.
///
/// # Panics
/// When it has none within [`LIMIT`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Looks again and again, until there is something to be seen.
///
/// # Panics
/// When there is nothing within [`LIMIT`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    };
    within(what, looking).await
}

/// Runs futures side by side; what each of them comes to, in their order.
pub async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut open: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    poll_fn(|context| {
        let mut all = Poll::Ready(());
        for (future, output) in &mut open {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => all = Poll::Pending,
                }
            }
        }
        all
    })
    .await;
    open.into_iter().filter_map(|(_, output)| output).collect()
}
