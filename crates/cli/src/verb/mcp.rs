//! `mcp`: serves MCP on stdin and stdout for a chat session of another program. `--how` prints how to add the server to
//! a program, and `--create` starts a team that a chat session can lead. `serve` serves the same over HTTP.

mod member;
mod server;
pub(crate) mod setup;
pub(super) mod teams;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use agent_team_protocol::launch::LAUNCH_MARKER;
use rmcp::ServiceExt;
use rmcp::handler::server::ServerHandler;
use rmcp::model::ProtocolVersion;

use self::server::Server;
use crate::args::{Global, Mcp};
use crate::caller;
use crate::error::Failure;
use crate::output::Output;

/// The server of one session over HTTP, for the team of the service. Since revision 2026-07-28, MCP has no sessions
/// over HTTP: each request would reach a new server, which does not know the member that the session has joined as.
/// Clients of this server therefore use the previous revision.
pub(super) fn of_http(here: PathBuf, team: String) -> impl ServerHandler {
    Server::new(here, Some(team), ProtocolVersion::V_2025_11_25)
}

pub(super) async fn run(global: &Global, output: Output, args: Mcp) -> Result<ExitCode, Failure> {
    if let Some(program) = args.how {
        let setup = setup::setup(program);
        output.show(&setup, || setup::text(&setup))?;
        return Ok(ExitCode::SUCCESS);
    }
    // The server acts for the user when it creates a team. A member must not do this.
    if std::env::var_os(LAUNCH_MARKER).is_some() {
        return Err(Failure::usage(
            "cannot serve MCP: this process is a program of a member",
        ));
    }
    let here = caller::current_directory()?;
    if args.create {
        let answer = teams::create(teams::planned(&here, None).await?).await?;
        let text = format!(
            "{} waits 60 s for its lead: let the chat session call join_team with name lead\n",
            answer.team
        );
        output.show(&answer, || text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let newest = ProtocolVersion::V_2026_07_28;
    let server = Server::new(here, global.team.clone(), newest);
    let served = server.serve(rmcp::transport::stdio_pipes()).await;
    let running = served.map_err(|error| {
        Failure::usage("cannot serve MCP: the handshake failed").because(&error)
    })?;
    running
        .waiting()
        .await
        .map_err(|error| Failure::bug(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}
