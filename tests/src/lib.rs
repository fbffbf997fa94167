//! Helpers of the tests in `e2e/`, `model/`, `simulation/` and `torture/`. End-to-end tests run the real binaries in an
//! isolated world that ends with the test.
//!
//! Where to look:
//! - the world, its directories and running a verb in it: [`rig`]
//! - the output of a verb, and verbs in the background: [`verb`]
//! - calls to the supervisor as a client, and waiting for events: [`user`]
//! - a program on a terminal, and typed input: [`screen`]
//! - tmux servers, the user's and the team's: [`tmux`]
//! - the user's iTerm2: [`fake_iterm2`]
//! - a worker that the test scripts: [`stub`]
//! - a model provider that the test scripts: [`fake_model_server`]
//! - the parts that fakes of agents share: [`team_tools`], [`fake_terminal`], [`fake_hooks`], [`fake_calls`],
//!   [`pinned_schema`]
//! - a disk that can be filled: [`small_disk`]; other faults of the machine: [`shim`]
//! - random faults and the checks of every guarantee: [`torture`]; faults in virtual time, with these checks:
//!   [`simulation`]
//! - real agents of other vendors with scripted models: [`real_clis`]
//! - finding the processes of a world: [`processes`]
//! - finding and building the binaries: [`binaries`]
//!
//! End-to-end tests use only public interfaces of the binaries: command line, socket, terminal, files. They must never
//! end a process or change a file of another world, so that they can run beside a user's real team and beside each
//! other. Helpers panic with the cause when they fail.

#![expect(
    clippy::print_stderr,
    reason = "failed and skipped tests print the reason"
)]

pub mod binaries;
pub mod fake_anthropic;
pub mod fake_calls;
pub mod fake_hooks;
pub mod fake_iterm2;
pub mod fake_media;
pub mod fake_model_server;
pub mod fake_responses;
pub mod fake_terminal;
mod logs;
pub mod pinned_schema;
pub mod processes;
pub mod real_clis;
pub mod rig;
pub mod screen;
pub mod shim;
pub mod simulation;
pub mod small_disk;
pub mod stub;
pub mod team_tools;
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

/// Timeout of [`within`] and [`until`], long enough for a slow machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Interval between two polls of [`until`].
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Prints why a test ends without asserting anything.
pub fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Waits for the future's value; `what` names the value in the panic message.
///
/// # Panics
/// When the future is not ready within [`LIMIT`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("timed out waiting for {what}"),
    }
}

/// Calls `poll` until it returns a value; `what` names the value in the panic message.
///
/// # Panics
/// When `poll` returns no value within [`LIMIT`].
pub async fn until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        loop {
            ticks.tick().await;
            if let Some(value) = poll().await {
                return value;
            }
        }
    };
    within(what, polling).await
}

/// Runs futures concurrently; returns their results in order.
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
