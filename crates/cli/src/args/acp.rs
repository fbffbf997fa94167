//! The arguments of `acp`.

use clap::{Args, ValueEnum};

/// Serve the team of a directory to an editor, over ACP
///
/// Speaks the Agent Client Protocol on stdin and stdout. The editor starts this command; `--how` prints its settings.
/// A prompt is a goal for the lead of the team of the editor's directory. A team that is not up is started as by `up`;
/// if lines of the project need your trust, start it in a terminal first.
#[derive(Debug, Args)]
pub(crate) struct Acp {
    /// Print the settings of an editor, and exit [default: every known editor]
    #[arg(long, value_name = "EDITOR", num_args = 0..=1, require_equals = false)]
    #[expect(clippy::option_option, reason = "the flag, and its optional value")]
    pub(crate) how: Option<Option<AcpEditor>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcpEditor {
    Zed,
    Jetbrains,
    Neovim,
}
