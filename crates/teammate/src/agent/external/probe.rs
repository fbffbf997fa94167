//! Starts an installed external agent for `agent-team doctor --clis`, and reads its version, its login state, and the
//! features that it supports. The agent gets no prompt, so that no model is called.
//!
//! The agent runs in an empty directory: the project's settings for the agent could run programs. The agent opens a
//! session there, because agents report a missing login only then.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_client::json_rpc::RpcError;
use agent_team_protocol::external::{EXTERNAL, KnownAgent};
use agent_team_protocol::text::visible_label;
use agent_team_tools::program::{Program, ProgramEnd, find_outside};
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
struct AgentFacts {
    word: &'static str,
    program: PathBuf,
    /// The name and version of the agent, as it reports them.
    version: Option<String>,
    login: Login,
    /// The agent declares that sessions can be continued.
    resumes: bool,
    /// The agent declares that messages can join a turn.
    steers: bool,
    /// The program of the agent's own terminal interface, if it is installed.
    own_terminal: Option<OwnProgram>,
}

#[derive(Debug, Serialize)]
struct OwnProgram {
    program: PathBuf,
    version: Option<String>,
    /// `None`: the login is that of the program that speaks the protocol.
    login: Option<Login>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Login {
    LoggedIn,
    /// Contains the ways to log in that the agent offers.
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
    let probed: Vec<AgentFacts> = probed.into_iter().map(|(_, probed)| probed).collect();
    serde_json::to_string(&probed).expect("the facts have string keys")
}

/// `program` speaks the protocol; `own` has the agent's own terminal interface. At least one of them is installed.
async fn probe_one(
    known: &'static KnownAgent,
    program: Option<PathBuf>,
    own: Option<PathBuf>,
    cwd: PathBuf,
) -> AgentFacts {
    let mut probed = AgentFacts {
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
        let login = match known.terminal_login {
            Some(args) => Some(login_of(&program, args, &env, &cwd).await),
            None => None,
        };
        probed.own_terminal = Some(OwnProgram {
            program,
            version,
            login,
        });
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
        tested: None,
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

/// Whether the user is logged in, as the program reports it.
async fn login_of(
    program: &Path,
    args: &[&str],
    env: &[(OsString, OsString)],
    cwd: &Path,
) -> Login {
    let words = args.iter().map(Into::into).collect();
    let started =
        Program::start_with_stdio(program.to_owned(), words, env.to_vec(), cwd.to_owned());
    // The short output of the program stays in the pipe.
    let (mut running, _stdin, _output) = match started {
        Ok(started) => started,
        Err(error) => return unknown(&format!("cannot start it: {error}")),
    };
    let never = std::future::pending();
    let ended = running.finish(Some(LIMIT), never, |_| {}).await;
    let code = match &ended {
        Ok(ProgramEnd::Exited(status)) => status.code(),
        Ok(ProgramEnd::TimedOut(_) | ProgramEnd::Exceeded(_) | ProgramEnd::Stopped) | Err(_) => {
            None
        }
    };
    match (code, ended) {
        (Some(0), _) => Login::LoggedIn,
        (Some(1), _) => Login::Missing { offers: Vec::new() },
        (_, Ok(ended)) => unknown(&format!("`{}`: {ended}", args.join(" "))),
        (_, Err(error)) => unknown(&error.to_string()),
    }
}

/// Opens a session. The error is the reason why the agent cannot be used.
async fn ask(
    connection: &mut Connection,
    agent: &AgentProgram,
    probed: &mut AgentFacts,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_exit_code_reports_whether_the_user_is_logged_in() {
        let login = async |code: &str| {
            let line = format!("exit {code}");
            login_of(Path::new("/bin/sh"), &["-c", &line], &[], Path::new("/")).await
        };
        assert_eq!(login("0").await, Login::LoggedIn);
        assert_eq!(login("1").await, Login::Missing { offers: Vec::new() });
        assert_eq!(login("2").await, unknown("`-c exit 2`: exit 2"));
    }
}
