//! `logs`: what a member printed, and with `-f` what it prints.
//!
//! The log is a file that the member's worker appends to and moves to `.1` when it is long. Following reads on
//! whenever the supervisor tells of the member; no clock is involved.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_team_protocol::method::{MemberLog, MemberShow, OneMember};
use agent_team_protocol::{MemberName, Revision};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text};
use crate::session::{Notice, Session, Subscription};

#[derive(Serialize)]
struct Document<'a> {
    member: &'a MemberName,
    text: &'a str,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    member: MemberName,
    follow: bool,
) -> Result<ExitCode, Failure> {
    let mut session = Session::of_team(global)?;
    let path = session
        .ask::<MemberLog>(OneMember {
            member: member.clone(),
        })
        .await?
        .path;
    // Resolves `lead`, which events never say.
    let shown = session.ask::<MemberShow>(OneMember { member }).await?;
    let member = shown.member.name;
    let listen = async |after: Revision| Subscription::new(session.another(), after, true).await;
    // Listening comes before reading, so that nothing falls between the two.
    let mut events = if follow {
        Some(listen(shown.revision).await?)
    } else {
        None
    };

    let mut text = Log::rotated(&path)?.read()?;
    let mut log = Log::new(path);
    text.push_str(&log.read()?);
    if let Some(events) = &mut events {
        print(output, &member, &text)?;
        loop {
            if concerns(&events.next().await?, &member) {
                print(output, &member, &log.read()?)?;
            }
        }
    }
    let document = Document {
        member: &member,
        text: &text,
    };
    output.show(&document, || text::of_program(&text))?;
    Ok(ExitCode::SUCCESS)
}

fn print(output: Output, member: &MemberName, text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Ok(());
    }
    output.item(&Document { member, text }, || text::of_program(text))
}

fn concerns(notice: &Notice, member: &MemberName) -> bool {
    match notice {
        Notice::Transient(transient) => transient.member == *member,
        // Which of them come with output is the worker's affair; a look in vain costs little.
        Notice::Event(_) => true,
    }
}

/// A log being read, from where the last reading ended.
struct Log {
    path: PathBuf,
    file: Option<File>,
    /// Bytes at the end of the last reading that are only the beginning of a character.
    partial: Vec<u8>,
}

impl Log {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            partial: Vec::new(),
        }
    }

    /// The part that was moved away when the log was long.
    fn rotated(path: &Path) -> Result<Self, Failure> {
        let mut rotated = path.as_os_str().to_owned();
        rotated.push(".1");
        Ok(Self::new(rotated.into()))
    }

    /// What was appended since the last call. Nothing, when there is no such file yet.
    fn read(&mut self) -> Result<String, Failure> {
        let failed = |error| Failure::io("the log cannot be read", &error);
        let mut bytes = std::mem::take(&mut self.partial);
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes).map_err(failed)?;
        }
        if self.was_replaced().map_err(failed)? {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(failed(error)),
            };
            if let Some(file) = &mut self.file {
                file.read_to_end(&mut bytes).map_err(failed)?;
            }
        }
        let whole = whole_characters(&bytes);
        self.partial = bytes.split_off(whole);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether the path leads to another file than the one that is open, or to a first one.
    fn was_replaced(&self) -> std::io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(true);
        };
        let open = file.metadata()?;
        Ok(match self.path.metadata() {
            Ok(now) => (now.dev(), now.ino()) != (open.dev(), open.ino()),
            // Moved away, and the next one not begun: what is open is still all there is.
            Err(_) => false,
        })
    }
}

/// How many of the bytes do not end in the middle of a character.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) => bytes.len(),
        // Something in it is no text at all; then only the last bytes can be an unfinished character.
        Err(_) => {
            let tail = bytes.len().saturating_sub(3);
            let begun = |from: &usize| {
                std::str::from_utf8(&bytes[*from..])
                    .is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0)
            };
            (tail..bytes.len()).find(begun).unwrap_or(bytes.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_is_read_on_from_where_reading_ended_also_when_it_was_rotated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let mut log = Log::new(path.clone());
        assert_eq!(log.read().unwrap(), "");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\n").unwrap();
        assert_eq!(log.read().unwrap(), "one\n");
        file.write_all(b"two\n").unwrap();
        std::fs::rename(&path, directory.path().join("ada.log.1")).unwrap();
        std::fs::write(&path, "three\n").unwrap();
        assert_eq!(log.read().unwrap(), "two\nthree\n");
        assert_eq!(Log::rotated(&path).unwrap().read().unwrap(), "one\ntwo\n");
        assert_eq!(log.read().unwrap(), "");
    }

    #[test]
    fn a_character_is_not_torn_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        let (mut log, mut file) = (Log::new(path.clone()), File::create(&path).unwrap());
        let text = "\u{ff}é🙂".as_bytes();
        file.write_all(b"\xff").unwrap();
        let mut read = String::new();
        for byte in text {
            file.write_all(&[*byte]).unwrap();
            read.push_str(&log.read().unwrap());
        }
        assert_eq!(read, "\u{fffd}\u{ff}é🙂");
    }
}
