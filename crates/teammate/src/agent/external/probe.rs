//! Starts an installed external agent for `agent-team doctor --clis`, and reads its version, whether it is logged in,
//! and what it supports. The agent gets no prompt, so that no model is called.
//!
//! The agent runs in an empty directory: the project's settings for it could run programs. It opens a session there,
//! because agents report a missing login only then.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use agent_team_client::json_rpc::RpcError;
use agent_team_protocol::external::{EXTERNAL, KnownAgent};
use agent_team_protocol::text::visible_label;
use agent_team_tools::program::find_outside;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use super::acp::{LOGIN_REQUIRED, initialize_params};
use super::channel::AgentProgram;
use super::connection::{Connection, parse};
use super::version::version_of;
use super::wire::Handshake;
use crate::launch::variables_of_agent;

/// The time limit of one agent.
const LIMIT: Duration = Duration::from_secs(30);

/// The largest text of an agent that is shown, in characters.
const TEXT_MAX: usize = 200;

/// The input of `--probe`.
#[derive(Debug, Deserialize)]
pub(crate) struct ProbeArguments {
    /// Programs in this directory are not started.
    project: PathBuf,
    /// The empty directory in which the agents run.
    directory: PathBuf,
}

/// Facts about an installed agent.
#[derive(Debug, Serialize)]
struct Probed {
    word: &'static str,
    program: PathBuf,
    /// Its name and version, as it reports them.
    version: Option<String>,
    login: Login,
    /// It declares that sessions can be continued.
    resumes: bool,
    /// It declares that messages can join a turn.
    steers: bool,
    /// The program of its own terminal interface, if it is installed.
    own_terminal: Option<OwnProgram>,
}

#[derive(Debug, Serialize)]
struct OwnProgram {
    program: PathBuf,
    version: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Login {
    LoggedIn,
    /// The ways to log in that it offers.
    Missing {
        offers: Vec<String>,
    },
    /// Why the agent cannot be used.
    Unknown {
        why: String,
    },
}

/// Probes all known agents that are installed, at the same time. Returns JSON.
pub(crate) async fn probe(arguments: ProbeArguments) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut probes = JoinSet::new();
    for (at, known) in EXTERNAL.iter().enumerate() {
        let find = |command: &[&str]| find_outside(&arguments.project, &path, command.first()?);
        let program = find(known.command);
        let own = known.terminal.and_then(|(command, _)| find(command));
        if program.is_none() && own.is_none() {
            continue;
        }
        let directory = arguments.directory.clone();
        probes.spawn(async move { (at, probe_one(known, program, own, directory).await) });
    }
    let mut probed = probes.join_all().await;
    probed.sort_by_key(|(at, _)| *at);
    let probed: Vec<Probed> = probed.into_iter().map(|(_, probed)| probed).collect();
    serde_json::to_string(&probed).expect("it has string keys")
}

/// `program`: the one that speaks the protocol; `own`: the one of its own terminal interface. At least one is installed.
async fn probe_one(
    known: &'static KnownAgent,
    program: Option<PathBuf>,
    own: Option<PathBuf>,
    cwd: PathBuf,
) -> Probed {
    let mut probed = Probed {
        word: known.word,
        program: program.clone().or_else(|| own.clone()).unwrap_or_default(),
        version: None,
        login: Login::Unknown { why: String::new() },
        resumes: false,
        steers: false,
        own_terminal: None,
    };
    let mut env: Vec<(OsString, OsString)> = variables_of_agent(known, std::env::vars_os());
    let of_agent = known.env.iter();
    env.extend(of_agent.map(|(name, value)| (name.into(), value.into())));
    if let Some(program) = own {
        let version = version_of(program.clone(), env.clone(), cwd.clone()).await;
        let version = version.map(|version| shown(&version));
        probed.own_terminal = Some(OwnProgram { program, version });
    }
    let Some(program) = program else {
        let missing = known.command.first().copied().unwrap_or_default();
        probed.login = unknown(&format!("{missing} is not installed"));
        return probed;
    };
    let args = known.command.iter().skip(1);
    let agent = AgentProgram {
        program,
        args: args.map(|&arg| arg.to_owned()).collect(),
        env,
        cwd,
        team_tools: Vec::new(),
        mode: None,
        team_titles: known.team_titles,
        steering: known.steering,
        rules: String::new(),
    };
    let mut connection = match Connection::start(&agent) {
        Ok(connection) => connection,
        Err(error) => {
            probed.login = unknown(&format!("cannot start it: {error}"));
            return probed;
        }
    };
    let asked = tokio::time::timeout(LIMIT, ask(&mut connection, &agent, &mut probed)).await;
    let limit = LIMIT.as_secs();
    let login = asked.unwrap_or_else(|_| Err(format!("it does not answer within {limit} s")));
    let last = connection.stop().await;
    probed.login = login.unwrap_or_else(|why| match last {
        Some(last) => unknown(&format!("{why}: {last}")),
        None => unknown(&why),
    });
    probed
}

/// Opens a session. The error is the reason why the agent cannot be used.
async fn ask(
    connection: &mut Connection,
    agent: &AgentProgram,
    probed: &mut Probed,
) -> Result<Login, String> {
    let answer = connection.request("initialize", initialize_params()).await;
    let handshake: Handshake = parse(answer.map_err(|error| error.to_string())?)?;
    let info = handshake.agent_info.as_ref();
    probed.version = info.map(|info| shown(&format!("{} {}", info.name, info.version)));
    let capabilities = &handshake.agent_capabilities;
    probed.resumes =
        capabilities.session_capabilities.resume.is_some() || capabilities.load_session;
    probed.steers = handshake.declares_steering();
    let params = json!({ "cwd": agent.cwd, "mcpServers": [] });
    match connection.request("session/new", params).await {
        Ok(_) => Ok(Login::LoggedIn),
        Err(RpcError::Refused { code, .. }) if code == LOGIN_REQUIRED => {
            let methods = handshake.auth_methods.iter();
            let offers = methods.map(|method| shown(&method.offer())).collect();
            Ok(Login::Missing { offers })
        }
        Err(error) => Err(error.to_string()),
    }
}

fn unknown(why: &str) -> Login {
    Login::Unknown { why: shown(why) }
}

fn shown(text: &str) -> String {
    visible_label(text, TEXT_MAX)
}
