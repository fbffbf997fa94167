//! The files that the rules check, and their findings. [`super::run`] reads the files once; tests construct them.

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::code::code_only;
use crate::run::output;

/// The text files that git tracks, or does not track and does not ignore.
#[derive(Debug)]
pub(super) struct Tree {
    files: Vec<File>,
}

#[derive(Debug)]
pub(super) struct File {
    /// Relative to the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// The text of a Rust file with comments and literals blanked, line for line; empty for other files.
    pub(super) code: String,
}

impl Tree {
    /// Reads all files that git tracks or would add; skips binary files.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let listed = output(
            Command::new("git")
                .args([
                    "ls-files",
                    "-z",
                    "--cached",
                    "--others",
                    "--exclude-standard",
                ])
                .current_dir(root),
        )?;
        let files = listed
            .split_terminator('\0')
            .filter_map(|path| {
                Some(File::new(
                    path,
                    std::fs::read_to_string(root.join(path)).ok()?,
                ))
            })
            .collect();
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| File::new(path, (*text).to_owned()))
                .collect(),
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.path.ends_with(".rs"))
    }

    pub(super) fn find(&self, path: &str) -> Option<&File> {
        self.files().find(|file| file.path == path)
    }
}

impl File {
    pub(super) fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") {
            code_only(&text)
        } else {
            String::new()
        };
        Self {
            path: path.to_owned(),
            text,
            code,
        }
    }

    /// A violation on a line, counted from 1.
    pub(super) fn finding(&self, line: usize, sentence: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            sentence: sentence.into(),
            severity: Severity::Error,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) sentence: String,
    pub(super) severity: Severity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Warning,
    Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "",
        };
        write!(f, "{}:{}: {warning}{}", self.path, self.line, self.sentence)
    }
}
