//! The user's editor on a private copy of a note. The note itself can be a file of a hostile repository, so the editor
//! never opens it. Called by `notes edit`.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use agent_team_protocol::note::{NOTE_MAX, NoteName};
use agent_team_system::directories::Directories;
use agent_team_system::{private_file, random};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::Failure;
use crate::output::{Output, text};

/// A copy of a note. Dropping this value removes the copy, unless `is_kept` is set.
pub(super) struct NoteCopy {
    directory: PathBuf,
    file: PathBuf,
    text: String,
    is_kept: Cell<bool>,
}

impl NoteCopy {
    /// Writes the copy into a directory of its own, so that the editor sees the note's file name.
    pub(super) fn of(text: &str, name: &NoteName) -> Result<Self, Failure> {
        let directories = Directories::from_environment()?;
        directories.prepare()?;
        let directory = directories.run.join(format!("note-{}", random::id()));
        let copy = Self {
            file: directory.join(name.file()),
            directory,
            text: text.to_owned(),
            is_kept: Cell::new(false),
        };
        let made = DirBuilder::new().mode(0o700).create(&copy.directory);
        made.and_then(|()| private_file::create(&copy.file, text.as_bytes()))
            .map_err(|error| Failure::io("cannot copy the note for the editor", &error))?;
        Ok(copy)
    }

    /// Runs the editor and returns the new text.
    pub(super) fn edit(&self, output: Output) -> Result<String, Failure> {
        let editor = editor();
        // The variables contain a shell command, such as `code --wait`. Ctrl-C also sends SIGINT to the shell and to
        // `agent-team`. Editors such as `ed` continue, so both must wait for the editor. The trap does not reach the
        // editor: a program starts with the default effect of a trapped signal.
        let _interrupt = signal(SignalKind::interrupt())
            .map_err(|error| Failure::io("cannot listen for signals", &error))?;
        let mut line = OsString::from("trap : INT; ");
        line.push(&editor);
        line.push(" \"$@\"");
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).arg(&editor).arg(&self.file);
        if output.is_json() {
            // Stdout is for the document.
            command.stdout(Stdio::from(std::io::stderr()));
        }
        let editor = text::line(&editor.to_string_lossy());
        let status = command
            .status()
            .map_err(|error| Failure::io(format!("cannot run the editor {editor}"), &error))?;
        let new = self.read()?;
        if status.success() {
            return Ok(new);
        }
        let failure = Failure::usage(format!("the editor {editor} failed: {status}"));
        Err(match new == self.text {
            true => failure.hint("set VISUAL or EDITOR to the command of your editor"),
            false => self.keep(failure),
        })
    }

    /// Reads at most one byte more than a note may have, and refuses a longer text: it would be cut, possibly within a
    /// character.
    fn read(&self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let read = File::open(&self.file)
            .and_then(|file| file.take(NOTE_MAX as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| Failure::io("cannot read the edited note", &error))?;
        if bytes.len() > NOTE_MAX {
            let limit = NOTE_MAX >> 10;
            let text = format!("cannot save the note: it is larger than {limit} KiB");
            return Err(self.keep(Failure::usage(text)));
        }
        String::from_utf8(bytes)
            .map_err(|_| self.keep(Failure::usage("cannot save the note: it is not UTF-8 text")))
    }

    /// Keeps the copy; returns the failure with a hint that names the copy.
    pub(super) fn keep(&self, failure: Failure) -> Failure {
        self.is_kept.set(true);
        failure.hint(format!(
            "your text is in {}",
            text::line(&self.file.to_string_lossy())
        ))
    }
}

impl Drop for NoteCopy {
    fn drop(&mut self) {
        if !self.is_kept.get() {
            // The editor may have left a backup beside the copy.
            let _removed = fs::remove_dir_all(&self.directory);
        }
    }
}

/// The shell command of the user's editor.
fn editor() -> OsString {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    of("VISUAL")
        .or_else(|| of("EDITOR"))
        .unwrap_or_else(|| "vi".into())
}
