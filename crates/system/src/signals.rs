//! Signals to this process as one typed stream. Called by the main loops of the three binaries.
//!
//! After [`Signals::install`] none of these signals has its default effect in this process, even after the stream is
//! dropped. Children get the default dispositions back ([`crate::spawn`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::libc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit status of a process that SIGINT terminated, by the convention of shells.
const INTERRUPTED: i32 = 128 + libc::SIGINT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// SIGTERM.
    Shutdown,
    /// SIGINT.
    Interrupt,
    /// SIGHUP: the terminal was closed.
    Hangup,
    /// SIGWINCH: the terminal was resized.
    WindowChanged,
    /// SIGUSR1: log the current state.
    Info,
}

#[derive(Debug)]
pub struct Signals {
    shutdown: Signal,
    interrupt: Signal,
    hangup: Signal,
    window_changed: Signal,
    info: Signal,
}

impl Signals {
    /// Must be called within a tokio runtime.
    pub fn install() -> io::Result<Signals> {
        Ok(Signals {
            shutdown: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            window_changed: signal(SignalKind::window_change())?,
            info: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal; several of one kind may arrive as one. Safe to cancel.
    pub async fn next(&mut self) -> SignalEvent {
        // `recv` never ends: the handlers stay for the life of the process.
        tokio::select! {
            biased;
            _ = self.shutdown.recv() => SignalEvent::Shutdown,
            _ = self.interrupt.recv() => SignalEvent::Interrupt,
            _ = self.hangup.recv() => SignalEvent::Hangup,
            _ = self.window_changed.recv() => SignalEvent::WindowChanged,
            _ = self.info.recv() => SignalEvent::Info,
        }
    }
}

/// SIGQUIT, which a terminal sends for `^\`. After [`QuitKey::listen`] it no longer terminates this process.
#[derive(Debug)]
pub struct QuitKey(Signal);

impl QuitKey {
    /// Must be called within a tokio runtime.
    pub fn listen() -> io::Result<QuitKey> {
        signal(SignalKind::quit()).map(QuitKey)
    }

    /// Returns when the key was pressed. Safe to cancel.
    pub async fn pressed(&mut self) {
        self.0.recv().await;
    }
}

/// From now on a second SIGINT terminates this process at once with exit status 130, even if it is busy. The first one
/// still arrives as [`SignalEvent::Interrupt`].
pub fn second_interrupt_exits() -> io::Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // The handlers run in the order of registration: the first interrupt finds the flag unset and then sets it. In the
    // other order it would terminate the process at once.
    signal_hook::flag::register_conditional_shutdown(
        libc::SIGINT,
        INTERRUPTED,
        Arc::clone(&interrupted),
    )?;
    signal_hook::flag::register(libc::SIGINT, interrupted)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::process::{ProcessId, Signal as Sent};

    #[tokio::test]
    async fn each_signal_maps_to_its_event() {
        let mut signals = Signals::install().unwrap();
        let own = ProcessId::current().unwrap();
        for (sent, event) in [
            (Sent::SIGTERM, SignalEvent::Shutdown),
            (Sent::SIGINT, SignalEvent::Interrupt),
            (Sent::SIGHUP, SignalEvent::Hangup),
            (Sent::SIGWINCH, SignalEvent::WindowChanged),
            (Sent::SIGUSR1, SignalEvent::Info),
        ] {
            assert!(own.signal(sent).unwrap());
            assert_eq!(signals.next().await, event);
        }
    }

    #[test]
    fn second_sigint_exits_a_busy_process() {
        const CHILD: &str = "AGENT_TEAM_TEST_SECOND_INTERRUPT";
        let name = "signals::tests::second_sigint_exits_a_busy_process";
        if std::env::var_os(CHILD).is_some() {
            second_interrupt_exits().unwrap();
            // Registered last, so it runs after the handlers under test.
            let handled = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(libc::SIGINT, Arc::clone(&handled)).unwrap();
            let own = ProcessId::current().unwrap();
            own.signal(Sent::SIGINT).unwrap();
            while !handled.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            println!("survived the first interrupt");
            own.signal(Sent::SIGINT).unwrap();
            // Another thread may handle the signal. Only a failing test waits this long.
            std::thread::sleep(std::time::Duration::from_secs(20));
            panic!("survived the second interrupt");
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.code(), Some(INTERRUPTED));
        assert!(String::from_utf8_lossy(&child.stdout).contains("survived the first interrupt"));
    }
}
