//! Tests of the user's terminal: raw mode, cooked mode, and the restored modes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use agent_team_system::terminal::{RawMode, Tty, is_terminal, size};
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::rig::LIMIT;

/// A terminal that is not the controlling terminal of a process: its master side, the terminal itself, and its name.
fn terminal() -> (File, OwnedFd, PathBuf) {
    let window = nix::pty::Winsize {
        ws_row: 31,
        ws_col: 97,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pair = nix::pty::openpty(&window, None).unwrap();
    let name = nix::unistd::ttyname(&pair.slave).unwrap();
    (File::from(pair.master), pair.slave, name)
}

fn echoes(terminal: &OwnedFd) -> bool {
    tcgetattr(terminal)
        .unwrap()
        .local_flags
        .contains(LocalFlags::ECHO)
}

#[test]
fn dropping_raw_mode_restores_the_modes() {
    let (_keyboard, terminal, _name) = terminal();
    let raw = RawMode::enter(&terminal).unwrap();
    assert!(!echoes(&terminal));
    drop(raw);
    assert!(echoes(&terminal));
}

#[test]
fn a_non_terminal_has_no_size() {
    let (_keyboard, terminal, _name) = terminal();
    assert!(is_terminal(&terminal));
    assert_eq!(size(&terminal), Some((97, 31)));
    let file = tempfile::tempfile().unwrap();
    assert!(!is_terminal(&file));
    assert_eq!(size(&file), None);
}

#[tokio::test]
async fn raw_mode_reads_single_keys_and_keeps_output() {
    let (mut keyboard, terminal, name) = terminal();
    let mut tty = Tty::open_path(&name).unwrap();
    assert_eq!(tty.size(), Some((97, 31)));
    tty.enter_raw_mode().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    let mut buffer = [0; 16];
    let read = tokio::time::timeout(LIMIT, tty.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&buffer[..read], b"\x03");
    tty.write_all(b"a\nb").await.unwrap();
    let mut shown = [0; 3];
    keyboard.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"a\nb");
    tty.leave_raw_mode();
    assert!(echoes(&terminal));
    tty.enter_raw_mode().unwrap();
    drop(tty);
    assert!(echoes(&terminal));
}

#[tokio::test]
async fn closing_the_terminal_ends_input() {
    let (keyboard, _terminal, name) = terminal();
    let tty = Tty::open_path(&name).unwrap();
    let mut buffer = [0; 16];
    let (read, ()) = tokio::join!(tty.read(&mut buffer), async { drop(keyboard) });
    assert_eq!(read.unwrap(), 0);
    assert!(tty.write_all(b"x").await.is_err());
}

#[tokio::test]
async fn a_regular_file_is_refused_as_a_terminal() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Tty::open_path(file.path()).unwrap_err();
    assert!(error.to_string().contains("is not a terminal"), "{error}");
}
