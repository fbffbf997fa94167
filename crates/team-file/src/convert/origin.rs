//! The program whose agents and teams are converted, and the paths of its files. Chosen by the caller of the
//! conversion.

use std::path::{Path, PathBuf};

/// A program whose agents and teams can be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherProgram {
    Claude,
    Qwen,
    Nyzhi,
    Codex,
}

impl OtherProgram {
    /// The name of each program in arguments.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("claude", Self::Claude),
        ("qwen", Self::Qwen),
        ("nyzhi", Self::Nyzhi),
        ("codex", Self::Codex),
    ];

    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, program)| *program == self);
        named.map_or("", |(name, _)| name)
    }

    /// The name of the product.
    pub fn title(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code",
            Self::Qwen => "Qwen Code",
            Self::Nyzhi => "nyzhi",
            Self::Codex => "Codex",
        }
    }

    /// The environment variable that replaces the program's directory in the home directory.
    pub fn variable(self) -> Option<&'static str> {
        match self {
            Self::Claude => Some("CLAUDE_CONFIG_DIR"),
            Self::Codex => Some("CODEX_HOME"),
            Self::Qwen | Self::Nyzhi => None,
        }
    }

    /// The program's directory in a project and in the home directory.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Claude => ".claude",
            Self::Qwen => ".qwen",
            Self::Nyzhi => ".nyzhi",
            Self::Codex => ".codex",
        }
    }
}

/// The program and the paths of its files.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    pub program: OtherProgram,
    /// The canonical directory of the project.
    pub project: &'a Path,
    /// The user's home directory.
    pub home: &'a Path,
    /// The value of [`OtherProgram::variable`].
    pub user: Option<PathBuf>,
    /// The team whose members are converted. `None`: the only team of the project, or else all agents.
    pub team: Option<&'a str>,
}

impl Origin<'_> {
    /// The directory of the user's own files.
    pub(super) fn user(&self) -> PathBuf {
        let user = self.user.clone();
        user.unwrap_or_else(|| self.home.join(self.program.directory()))
    }

    /// The directory of the team configurations, if the program has teams.
    pub(super) fn teams(&self) -> Option<PathBuf> {
        match self.program {
            OtherProgram::Codex => None,
            OtherProgram::Claude | OtherProgram::Qwen | OtherProgram::Nyzhi => {
                Some(self.user().join("teams"))
            }
        }
    }
}
