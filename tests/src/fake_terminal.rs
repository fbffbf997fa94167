//! The terminal of fakes of agents with a terminal interface: keys, and lines on the screen.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// The key that closes a dialog, or ends a turn.
pub const ESCAPE: u8 = 0x1b;

/// Passes the keys to `key`, until `key` returns `false`. The end of the terminal ends the fake.
///
/// # Panics
/// When stdin is not a terminal.
#[expect(
    clippy::exit,
    reason = "a fake ends with its terminal, from any thread"
)]
pub fn read_keys(mut key: impl FnMut(u8) -> bool + Send + 'static) {
    let raw = Command::new("stty")
        .args(["raw", "-echo"])
        .stdin(Stdio::inherit())
        .status();
    assert!(raw.is_ok_and(|status| status.success()));
    std::thread::spawn(move || {
        for typed in std::io::stdin().lock().bytes().map_while(Result::ok) {
            if !key(typed) {
                return;
            }
        }
        std::process::exit(0);
    });
}

/// Shows the text of this variable as a dialog that Enter closes. Returns false if the variable is not set.
pub fn show_dialog(variable: &str) -> bool {
    let text = std::env::var(variable);
    text.inspect(|text| show(&format!("{text} (Enter)")))
        .is_ok()
}

/// # Panics
/// When stdout is closed.
#[expect(clippy::print_stdout, reason = "the fake draws on its terminal")]
pub fn show(line: &str) {
    print!("{line}\r\n");
    std::io::stdout().flush().expect("a terminal");
}
