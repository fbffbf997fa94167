//! Signals to this process as one typed stream. Called by the main loops of the three binaries.
//!
//! From [`Signals::install`] on none of these signals has its default effect in this process, also
//! after the stream is dropped. Children get the defaults back ([`crate::spawn`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::libc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit status of what an interrupt ended, as shells count it.
const INTERRUPTED: i32 = 128 + libc::SIGINT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// SIGTERM.
    Shutdown,
    /// SIGINT.
    Interrupt,
    /// SIGHUP: the terminal has gone.
    Hangup,
    /// SIGWINCH: the terminal has another size.
    WindowChanged,
    /// SIGUSR1: tell what you are doing.
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

/// SIGQUIT, which a terminal makes of `^\`. From [`QuitKey::listen`] on it ends this process no more.
#[derive(Debug)]
pub struct QuitKey(Signal);

impl QuitKey {
    /// Must be called within a tokio runtime.
    pub fn listen() -> io::Result<QuitKey> {
        signal(SignalKind::quit()).map(QuitKey)
    }

    /// Returns when it was pressed. Safe to cancel.
    pub async fn pressed(&mut self) {
        self.0.recv().await;
    }
}

/// From now on a second SIGINT ends this process at once, whatever it is busy with, with exit
/// status 130. The first one still arrives as [`SignalEvent::Interrupt`].
pub fn second_interrupt_exits() -> io::Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    // In this order: the first interrupt finds the flag unset, then sets it.
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
    async fn each_signal_arrives_as_what_it_means() {
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
    fn the_second_interrupt_ends_even_what_does_not_listen() {
        const CHILD: &str = "AGENT_TEAM_TEST_SECOND_INTERRUPT";
        let name = "signals::tests::the_second_interrupt_ends_even_what_does_not_listen";
        if std::env::var_os(CHILD).is_some() {
            second_interrupt_exits().unwrap();
            // Runs after the hooks that it tells about: they are called in the order of registering.
            let handled = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(libc::SIGINT, Arc::clone(&handled)).unwrap();
            let own = ProcessId::current().unwrap();
            own.signal(Sent::SIGINT).unwrap();
            while !handled.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            println!("the first one was survived");
            own.signal(Sent::SIGINT).unwrap();
            // Another thread may be the one to handle it. Only a failing test waits this long.
            std::thread::sleep(std::time::Duration::from_secs(20));
            panic!("the second one was survived");
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.code(), Some(INTERRUPTED));
        assert!(String::from_utf8_lossy(&child.stdout).contains("the first one was survived"));
    }
}
