//! The arguments of `doctor`.

use clap::Args;

/// Check the installation
#[derive(Debug, Args)]
#[command(arg(super::unused_team()))]
pub(crate) struct Doctor {
    /// Start the installed agents of other vendors, and show version, login and supported features of each
    ///
    /// Each agent opens a session in an empty directory, and receives no prompt. It may write its own log and session
    /// files, as at each start. Takes up to 30 seconds.
    #[arg(long)]
    pub(crate) clis: bool,
}
