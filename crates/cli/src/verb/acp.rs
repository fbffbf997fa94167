//! `acp`: serves the Agent Client Protocol, version 1, on stdin and stdout for an editor. A session of the editor talks
//! to the lead of a team. `--how` prints the settings of editors.
//!
//! ```text
//!   server.rs         the requests of the editor; one task for each session
//!   opening.rs        the team of a directory: found, or started after the check of trust
//!   conversation.rs   one session; its prompts and events are in conversation/
//!   board.rs          the board as a plan, and the members' tasks as tool calls
//!   dialogs.rs        permission requests as dialogs of the editor
//!   diffs.rs          unified diffs as diffs of the protocol
//!   lead_output.rs    the lead's text, thoughts and own calls
//!   history.rs        the conversation so far, for `session/load`
//!   modes.rs          the permission modes as modes of a session
//!   content.rs        the content of a prompt as text
//!   setup.rs          the settings of editors, for `--how`
//!   wire.rs           the messages of the protocol
//! ```
//! The server is a client of the supervisor and acts for the user. The team continues when the editor ends the server.

mod board;
mod content;
mod conversation;
mod dialogs;
mod diffs;
mod history;
mod lead_output;
mod modes;
mod opening;
mod server;
pub(crate) mod setup;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use agent_team_client::json_rpc::Rpc;
use agent_team_protocol::launch::LAUNCH_MARKER;

use self::server::Server;
use crate::args::{Acp, Global};
use crate::error::Failure;
use crate::output::Output;

/// The time limit for writing the last messages after the editor has closed the input of the server.
const WRITE_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn run(global: &Global, output: Output, args: Acp) -> Result<ExitCode, Failure> {
    if let Some(editor) = args.how {
        let setup = setup::setup(editor);
        output.show(&setup, || setup::text(&setup))?;
        return Ok(ExitCode::SUCCESS);
    }
    // The server starts teams and decides requests for the user. A member must not do this.
    if std::env::var_os(LAUNCH_MARKER).is_some() {
        return Err(Failure::usage(
            "cannot serve ACP: this process is a program of a member",
        ));
    }
    let (input, output) = rmcp::transport::stdio_pipes();
    let (rpc, incoming, tasks) = Rpc::serve(output, input);
    Server::new(rpc, global.team.clone()).run(incoming).await;
    tasks.finish(WRITE_LIMIT).await;
    Ok(ExitCode::SUCCESS)
}
