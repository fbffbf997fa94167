//! The arguments of `report`.

use std::path::PathBuf;

use agent_team_protocol::RunId;
use clap::Args;

use super::id;

/// Write a report of the team's work: a page, a picture or a trace
///
/// Without a file, prints the time and cost of each member. Reads the stored events, so it also works for a team that is
/// down. A file contains goals, messages, commands and results; only you may read it. Secrets of a running team are
/// redacted. An existing file is replaced only if it is a report of the same kind.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agent-team report --html report.html
  agent-team report R-2 --svg run.svg --trace run.json    open run.json in https://ui.perfetto.dev")]
pub(crate) struct Report {
    /// The run, such as R-2: the work on one goal [default: the whole history]
    #[arg(value_parser = id::<RunId>)]
    pub(crate) run: Option<RunId>,
    /// Write one HTML page without scripts
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write a timeline of the members as an SVG picture
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write a trace for Perfetto, in the trace event format of Chrome
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}
