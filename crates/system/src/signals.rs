//! Signals to this process as one typed stream. Called by the main loops of the supervisor, the workers, `top`, the
//! single-terminal view, and the attach helper, which lends its terminal to a member.
//!
//! After [`Signals::install`] none of these signals has its default effect in this process, even after the stream is
//! dropped. Children get the default dispositions back ([`crate::spawn`]).

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// SIGTERM.
    Shutdown,
    /// SIGINT.
    Interrupt,
    /// SIGHUP: the terminal was closed. The supervisor, which has no terminal, binds its socket again.
    Hangup,
    /// SIGWINCH: the terminal was resized.
    WindowChanged,
    /// SIGUSR1: a worker logs its state; the other processes ignore the signal.
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
    /// Installs the handlers. Must be called within a tokio runtime.
    pub fn install() -> io::Result<Signals> {
        Ok(Signals {
            shutdown: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            window_changed: signal(SignalKind::window_change())?,
            info: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal; several of one kind may arrive as one. Cancel-safe.
    pub async fn next(&mut self) -> SignalEvent {
        // `recv` never returns `None`: the handlers stay for the life of the process.
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
    /// Installs the handler. Must be called within a tokio runtime.
    pub fn listen() -> io::Result<QuitKey> {
        signal(SignalKind::quit()).map(QuitKey)
    }

    /// Returns when the key was pressed. Cancel-safe.
    pub async fn pressed(&mut self) {
        self.0.recv().await;
    }
}

#[cfg(test)]
mod tests {
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
}
