//! Tests of programs with their own pseudo-terminals.

use std::os::unix::process::ExitStatusExt;

use agent_team_system::process::Signal;
use agent_team_system::pty::Pty;

use crate::rig::{LIMIT, shell};

/// Reads until `wanted` was printed, or until the end of output.
async fn read_until(pty: &Pty, wanted: &str) -> String {
    let mut printed = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let read = tokio::time::timeout(LIMIT, pty.read(&mut buffer)).await;
        let read = read.expect("the program prints in time").unwrap();
        printed.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&printed).into_owned();
        if read == 0 || text.contains(wanted) {
            return text;
        }
    }
}

const NEVER_PRINTED: &str = "\u{1}";

#[tokio::test]
async fn the_pty_is_the_programs_controlling_terminal() {
    let pty = Pty::open(97, 31).unwrap();
    let script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo mine >/dev/tty; exit 7";
    let mut child = pty.spawn(&shell(script, &[])).unwrap();
    assert_eq!(read_until(&pty, NEVER_PRINTED).await, "31 97\r\nmine\r\n");
    assert_eq!(child.wait().await.unwrap().code(), Some(7));
}

#[tokio::test]
async fn typed_interrupt_reaches_the_program() {
    let pty = Pty::open(80, 24).unwrap();
    let mut child = pty
        .spawn(&shell("echo started; exec sleep 600", &[]))
        .unwrap();
    read_until(&pty, "started").await;
    pty.write_all(b"\x03").await.unwrap();
    assert_eq!(
        child.wait().await.unwrap().signal(),
        Some(Signal::SIGINT as i32)
    );
}

#[tokio::test]
async fn resize_is_visible_to_the_program() {
    let pty = Pty::open(80, 24).unwrap();
    let mut child = pty
        .spawn(&shell("echo started; read line; stty size", &[]))
        .unwrap();
    read_until(&pty, "started").await;
    pty.resize(120, 40).unwrap();
    pty.write_all(b"\n").await.unwrap();
    assert!(read_until(&pty, NEVER_PRINTED).await.contains("40 120"));
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_pty_can_be_reused_after_a_program_exits() {
    let pty = Pty::open(80, 24).unwrap();
    for word in ["first", "second"] {
        let mut child = pty.spawn(&shell(&format!("echo {word}"), &[])).unwrap();
        assert_eq!(read_until(&pty, NEVER_PRINTED).await, format!("{word}\r\n"));
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn large_paste_arrives_complete() {
    let pty = Pty::open(80, 24).unwrap();
    let script = "stty raw -echo; echo started; head -c 300000 | cksum";
    let mut child = pty.spawn(&shell(script, &[])).unwrap();
    read_until(&pty, "started").await;
    let paste = vec![b'x'; 300_000];
    let (written, printed) = tokio::join!(pty.write_all(&paste), read_until(&pty, " 300000"));
    written.unwrap();
    assert!(printed.contains(" 300000"), "{printed}");
    assert!(child.wait().await.unwrap().success());
}
