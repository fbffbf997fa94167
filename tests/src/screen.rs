//! A program on a terminal: its output, and the input that a user types. Created by the rig.

use agent_team_system::process::Signal;
use agent_team_system::pty::Pty;
use agent_team_system::spawn::{Child, ProgramSpec};

use crate::within;

/// A program on its own terminal. Killed on drop.
#[derive(Debug)]
pub struct Screen {
    pty: Pty,
    child: Child,
    seen: Vec<u8>,
    /// The length of the output that earlier waits have matched.
    matched: usize,
}

impl Screen {
    pub(crate) fn start(spec: &ProgramSpec, (columns, rows): (u16, u16)) -> Self {
        let pty = Pty::open(columns, rows).expect("there are terminals");
        let child = pty.spawn(spec).expect("the binary runs");
        Self {
            pty,
            child,
            seen: Vec::new(),
            matched: 0,
        }
    }

    /// Types text unchanged; a line ends with `\r`.
    pub async fn type_in(&mut self, text: &str) {
        within("the terminal", self.pty.write_all(text.as_bytes()))
            .await
            .expect("the terminal is open");
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) {
        assert!(self.child.signal(signal).expect("the program is a child"));
    }

    /// Waits until this text is printed after the text of the previous wait.
    ///
    /// # Panics
    /// When the program ends first, or does not print the text in time.
    pub async fn until(&mut self, text: &str) {
        let printed = async {
            loop {
                let found = find(&self.seen[self.matched..], text.as_bytes());
                if let Some(at) = found {
                    self.matched += at + text.len();
                    return true;
                }
                if !self.more().await {
                    return false;
                }
            }
        };
        let printed = tokio::time::timeout(crate::LIMIT, printed).await;
        assert!(
            printed.unwrap_or(false),
            "{text:?} is not shown; the output is: {}",
            self.seen()
        );
    }

    /// Waits for the program's exit; returns its exit code and its whole output.
    pub async fn end(mut self) -> (i32, String) {
        within("the end of the program", async {
            while self.more().await {}
        })
        .await;
        let status = within("the end of the program", self.child.wait())
            .await
            .expect("an exit status");
        (status.code().unwrap_or(-1), self.seen())
    }

    /// The whole output, including escape sequences.
    pub fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.pty.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.seen.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _already_gone = self.child.signal(Signal::SIGKILL);
    }
}
