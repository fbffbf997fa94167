//! The arguments of `serve`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use agent_team_gateway::{Listen, RATE_DEFAULT};
use clap::Args;

/// Serve the team over HTTP: its documents, its events, and all verbs that change it
///
/// Prints the URL with a new token in its fragment, and runs until it is interrupted. Requests send the token as
/// `Authorization: Bearer TOKEN`. A Unix socket needs no token: it accepts only processes of your user.
#[derive(Debug, Args)]
#[command(after_help = "\
A line of a token file is a token of at least 32 letters, digits, `-` or `_`, optionally followed by its
permissions: `view` reads, `decide` also answers permission requests, `steer` also changes members and tasks.

The variables OTEL_* of OpenTelemetry export traces and metrics, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

Examples:
  agent-team serve --listen unix:/tmp/team.sock
  curl --unix-socket /tmp/team.sock http://localhost/api/v1/team")]
pub(crate) struct Serve {
    /// Address: 127.0.0.1:PORT, where port 0 is a free port, or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: Listen,
    /// Open the URL in the browser
    #[arg(long)]
    pub(crate) open: bool,
    /// Accept the tokens in this file, which only you may access; needed for addresses that other machines can reach
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Encrypt the connections with this certificate, in a PEM file with those of its issuers
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate, in a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Accept clients of NexAU at /team: each user and session has a team of its own, from this project's team file
    #[arg(long)]
    pub(crate) sessions: bool,
    /// Requests of one client per second; more are refused with 429
    #[arg(long, value_name = "N", default_value_t = RATE_DEFAULT)]
    pub(crate) rate_limit: NonZeroU32,
    /// Refuse all requests that change something
    #[arg(long)]
    pub(crate) read_only: bool,
}
