//! The agents of other vendors that are installed. Called by `doctor`. With `--clis`, the program of native workers
//! starts them and reads their reports.

use std::path::{Path, PathBuf};

use agent_team_protocol::engine::Engine;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::external::{
    EXTERNAL, KnownAgent, ReportedUsage, known, reported_usage, unasked,
};
use agent_team_protocol::spec::{ExternalAgent, Steering};
use agent_team_system::directories::Directories;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::check::Check;
use crate::caller;
use crate::error::Failure;
use crate::verb::native_worker;

const NAME: &str = "agents";

/// An installed agent of another vendor.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Cli {
    /// The word for `engine`.
    engine: &'static str,
    program: PathBuf,
    /// Its name and version, as it reports them.
    version: Option<String>,
    /// The version that agent-team is tested with.
    tested: Option<&'static str>,
    login: Login,
    /// The content of the member's pane.
    pane: &'static str,
    /// The program of its own terminal interface, which the pane shows with another word for `engine`.
    own_terminal: Option<OwnInterface>,
    /// When the agent receives a message that arrives during its turn.
    message: &'static str,
    /// The permission requests of the agent.
    requests: String,
    /// Whether a restarted member continues its session.
    resumes: bool,
    /// The calls that the agent makes without asking.
    unasked: &'static str,
    /// The usage that the agent reports.
    reports: &'static str,
}

/// The own terminal interface of an agent.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct OwnInterface {
    /// The word for `engine`.
    engine: &'static str,
    program: PathBuf,
    version: Option<String>,
    /// The first and the last version that agent-team is tested with.
    tested: Option<[&'static str; 2]>,
    /// Null if the agent's login applies.
    login: Option<Login>,
    /// When the agent receives a message that arrives during its turn.
    message: &'static str,
    /// The permission requests of the agent.
    requests: &'static str,
    /// Whether a restarted member continues its session.
    resumes: bool,
    /// The calls that the agent makes without asking.
    unasked: &'static str,
    /// The usage that the agent reports.
    reports: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Login {
    LoggedIn,
    Missing {
        /// The ways to log in.
        offers: Vec<String>,
    },
    Unknown {
        /// Why the agent did not open a session.
        why: String,
    },
}

/// The output of the worker's program about an agent.
#[derive(Debug, Deserialize)]
struct AgentFacts {
    word: String,
    program: PathBuf,
    version: Option<String>,
    login: Login,
    resumes: bool,
    steers: bool,
    own_terminal: Option<OwnTerminalFacts>,
}

#[derive(Debug, Deserialize)]
struct OwnTerminalFacts {
    program: PathBuf,
    version: Option<String>,
    login: Option<Login>,
}

/// The names of the installed agents. Starts nothing.
pub(super) fn installed() -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let is_in = |known: &KnownAgent, directory: &Path| {
        let own = known.terminal.and_then(|(command, _)| command.first());
        let mut programs = known.command.first().into_iter().chain(own);
        programs.any(|program| directory.join(program).is_file())
    };
    let found = EXTERNAL.iter().filter(|known| {
        let mut directories = directories.iter();
        directories.any(|directory| is_in(known, directory))
    });
    let found: Vec<_> = found.map(|known| known.word).collect();
    match found.as_slice() {
        [] => Check::neutral(NAME, "no agent of another vendor is installed"),
        found => Check::neutral(NAME, format!("installed: {}", found.join(", ")))
            .hint("show versions and logins with: agent-team doctor --clis"),
    }
}

/// Starts the installed agents; returns their reports.
pub(super) fn probe() -> Result<Vec<Cli>, Failure> {
    let failed =
        |error: std::io::Error| Failure::io("cannot prepare the agents' directory", &error);
    let directories = Directories::from_environment()?;
    directories.prepare()?;
    let directory = directories.state.join("probe");
    std::fs::create_dir_all(&directory).map_err(failed)?;
    let arguments = json!({ "project": caller::current_directory()?, "directory": directory });
    let asked = native_worker::ask(
        "--probe",
        arguments.to_string().as_bytes(),
        &Default::default(),
    );
    // Remove the files that the agents have written there: an agent of the next probe could read them as its settings.
    let removed = std::fs::remove_dir_all(&directory);
    let probed: Vec<AgentFacts> = asked.map_err(|why| {
        let text = format!("cannot ask the agents: {why}");
        Failure::new("no_answer", ExitCode::Failed, text)
    })?;
    removed.map_err(failed)?;
    let clis = probed.into_iter();
    Ok(clis
        .filter_map(|probed| Some(Cli::of(known(&probed.word)?, probed)))
        .collect())
}

impl Cli {
    fn of(known: &'static KnownAgent, probed: AgentFacts) -> Self {
        let message = match known.steering {
            Steering::Prompt => "joins the turn",
            Steering::Drain => "joins the turn when the agent asks for messages",
            Steering::Declared if probed.steers => "joins the turn",
            Steering::Declared | Steering::AfterTurn => "waits for the end of the turn",
        };
        let requests = match (known.mode, known.env) {
            (Some(mode), _) => format!("in its mode {mode}, which agent-team sets and keeps"),
            (None, [(name, value), ..]) => format!("with {name}={value}, which agent-team sets"),
            (None, []) => "in its own mode".to_owned(),
        };
        Self {
            engine: known.word_over_acp(),
            program: probed.program,
            version: probed.version,
            tested: known.tested,
            login: probed.login,
            pane: "its text and calls, drawn by agent-team",
            own_terminal: probed.own_terminal.map(|own| OwnInterface::of(known, own)),
            message,
            requests,
            resumes: probed.resumes,
            unasked: known.unasked,
            reports: reports(&known.over_acp()),
        }
    }

    /// The lines for the user.
    pub(super) fn check(&self) -> Check {
        let version = self.version.as_deref().unwrap_or("version unknown");
        let tested = match self.tested {
            Some(tested) => format!("tested: {tested}"),
            None => "not tested".to_owned(),
        };
        let (ok, login, hint) = match &self.login {
            Login::LoggedIn => {
                let login = "logged in, or needs no login: opens a session";
                (Some(true), login.to_owned(), None)
            }
            Login::Missing { offers } => {
                let hint = match known(self.engine).and_then(|known| known.login) {
                    Some(login) => format!("log in with: {login}"),
                    None => format!("start {} in a terminal to log in", self.program.display()),
                };
                (
                    None,
                    format!("needs a login: {}", offers.join(", ")),
                    Some(hint),
                )
            }
            Login::Unknown { why } => (None, format!("opens no session: {why}"), None),
        };
        let own = self.own_terminal.as_ref();
        let own = own.map(|own| format!("\n{}", own.lines()));
        let detail = format!(
            "{version} at {} ({tested})\n{login}\npane: {}\na message during a turn {}\nasks {}\nruns without asking: \
             {}\n{}\nreports {}{}",
            self.program.display(),
            self.pane,
            self.message,
            self.requests,
            self.unasked,
            continues(self.resumes),
            self.reports,
            own.unwrap_or_default(),
        );
        Check {
            ok,
            hint,
            ..Check::neutral(self.engine, detail)
        }
    }
}

fn continues(resumes: bool) -> &'static str {
    match resumes {
        true => "continues its session after a restart",
        false => "begins a new session after a restart",
    }
}

/// The usage that an agent reports.
fn reports(agent: &ExternalAgent) -> &'static str {
    let ReportedUsage { tokens, cost } = reported_usage(agent);
    match (tokens, cost) {
        (true, true) => "tokens and cost",
        (true, false) => "tokens",
        (false, true) => "cost",
        (false, false) => "no tokens and no cost, as far as tested",
    }
}

impl OwnInterface {
    fn of(known: &'static KnownAgent, facts: OwnTerminalFacts) -> Self {
        let own = known.in_own_terminal();
        Self {
            engine: known.word,
            program: facts.program,
            version: facts.version,
            tested: known.terminal_tested,
            login: facts.login,
            message: "joins the turn",
            requests: "in its own dialog and in agent-team at the same time",
            resumes: true,
            unasked: unasked(Engine::External, own.as_ref()).unwrap_or(known.unasked),
            reports: own.as_ref().map_or("", reports),
        }
    }

    /// The lines for the user.
    fn lines(&self) -> String {
        let version = self.version.as_deref().unwrap_or("version unknown");
        let tested = match self.tested {
            Some([first, last]) if first == last => format!("tested: {first}"),
            Some([first, last]) => format!("tested: {first} to {last}"),
            None => "not tested".to_owned(),
        };
        let login = match &self.login {
            None => String::new(),
            Some(Login::LoggedIn) => "it is logged in\n".to_owned(),
            Some(Login::Missing { .. }) => {
                let login = known(self.engine).and_then(|known| known.login);
                let login = login.map(|login| format!("; log in with: {login}"));
                format!("it needs a login{}\n", login.unwrap_or_default())
            }
            Some(Login::Unknown { why }) => format!("its login is unknown: {why}\n"),
        };
        format!(
            "its own terminal interface with engine = {:?}: {version} at {} ({tested})\n{login}a message during a turn {}\n\
             asks {}\nruns without asking: {}\n{}\nreports {}",
            self.engine,
            self.program.display(),
            self.message,
            self.requests,
            self.unasked,
            continues(self.resumes),
            self.reports,
        )
    }
}
