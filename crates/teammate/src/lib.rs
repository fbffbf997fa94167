//! The worker process of one member.
//!
//! ```text
//!  supervisor ◄── socket ──► link (own thread) ◄─ events ─► worker ◄─► engine ── task's pty ── /bin/sh -c LINE
//!                                                             │ ▲
//!                                                        log ◄┘ └─► pane ── the person's terminal
//! ```
//! A reader who looks for …
//! - what the process is told at its start: `launch`
//! - what it is doing, and why it ends: `worker` where it runs commands, `agent` where it thinks
//! - pings, reconnecting, repeating what was not answered: `link`
//! - how a task's line is run and ended: `engine`
//! - what a model can do in its team, and what it is told of it: `team_tool`
//! - the same inside another program, and work that is that program's own: `hosted`; several in one process: `host`
//! - what stands in the pane, and what is typed there: `pane`, `typed`
//! - how it comes by a terminal again: `hold`
//! - what its programs are given and nobody is shown: `secret`
//!
//! Nothing runs before the supervisor has answered; nothing that runs outlives its claim.

mod agent;
pub mod desk;
mod engine;
pub mod hold;
pub mod host;
pub mod hosted;
mod http;
mod launch;
mod link;
mod log;
pub mod model;
mod pane;
pub mod program;
pub mod secret;
pub mod team_tool;
pub mod tool;
mod typed;
mod usual;
mod vt;
mod worker;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::spec::{AgentSpec, Engine};
use agent_team_protocol::text::visible_line;
use agent_team_system::cgroup::{self, Group};
use agent_team_system::directories::Directories;
use agent_team_system::history::History;
use agent_team_system::process::ProcessId;
use agent_team_system::sandbox::Network;
use agent_team_system::signals::Signals;
use agent_team_system::spawn;
use agent_team_system::tree::Tree;
use signal_hook::consts::{SIGQUIT, SIGTSTP};
use tokio::task::LocalSet;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::agent::{Agent, Makings, seam};
use crate::desk::Desk;
use crate::engine::Place;
use crate::launch::TakeLaunchError;
use crate::link::{Link, Reach};
use crate::log::MemberLog;
use crate::model::Model;
use crate::pane::{AgentPane, Pane, Surface};
use crate::secret::Secrets;
use crate::team_tool::Shared;
use crate::tool::Bench;
use crate::tool::confine::{Confinement, Settings, User};
use crate::tool::guard::Guard;
use crate::typed::Typed;
use crate::worker::{LastWords, Parts, Worker};

/// Bytes of a tool's output that a model is shown at most.
const OUTPUT_MAX: usize = 30_000;

/// How long what the tools left running may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Why this process cannot be a worker.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot use this launch file")]
    Launch(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("this launch is one of {}, which is another program", .0.worker())]
    Engine(Engine),
    #[error("cannot start working")]
    System(#[from] io::Error),
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// Another process is this launch's worker: there was nothing to do.
    NotOurs,
    /// It worked, and this is its exit code.
    Exited(u8),
}

/// Takes the launch of a member that runs commands, and works until it is over. Called once, by a process that does
/// nothing else.
///
/// # Errors
/// When the file cannot be used, or the system gives no threads, signals or directories.
pub fn run_commands(launch_file: &Path) -> Result<Ran, RunError> {
    run(
        launch_file,
        Engine::Command,
        async |launch, parts, surface, unfit| {
            let pane = Pane::on(surface, launch.member.clone());
            Worker::new(parts, pane, unfit).run().await
        },
    )
}

/// The same for a member that thinks.
///
/// # Errors
/// As [`run_commands`].
pub fn run_agent(launch_file: &Path) -> Result<Ran, RunError> {
    run(
        launch_file,
        Engine::Native,
        async |launch, parts, surface, unfit| {
            let place = Arc::clone(&parts.place);
            let model = match unfit {
                Some(words) => Err(words),
                None => model_of(launch, &parts.directories.settings_file()).await,
            };
            let code = think(launch, parts, surface, model).await;
            end_tree(&place).await;
            code
        },
    )
}

/// `work` is given rather than chosen, so that a program holds the code of its own engine alone.
fn run<W>(launch_file: &Path, engine: Engine, work: W) -> Result<Ran, RunError>
where
    W: AsyncFnOnce(&LaunchFile, Parts, Surface, Option<LastWords>) -> u8,
{
    let launch = match launch::take(launch_file) {
        Ok(launch) => launch,
        Err(TakeLaunchError::Taken(_)) => return Ok(Ran::NotOurs),
        Err(error) => return Err(RunError::Launch(Box::new(error))),
    };
    if launch.engine != engine {
        return Err(RunError::Engine(launch.engine));
    }
    log_panics(&launch);
    start_tracing(&launch);
    let directories = launch::directories(launch_file, &launch)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Whoever is known to be there ends in order when it is told to.
    let signals = {
        let _within = runtime.enter();
        listen()?
    };
    // Before anything that can be built while the supervisor answers.
    let link = Link::start(directories.clone(), introduction(&launch), Reach::Start)?;
    // Local, because a terminal's saved modes do not go from thread to thread.
    LocalSet::new().block_on(&runtime, async {
        let (parts, surface) = prepare(&launch, directories, link, signals)?;
        let unfit = go_to_work(&launch).err();
        Ok(Ran::Exited(work(&launch, parts, surface, unfit).await))
    })
}

fn introduction(launch: &LaunchFile) -> Initialize {
    Initialize::member(
        launch.team.clone(),
        launch.launch.clone(),
        launch.token.clone(),
    )
}

/// The model that the launch names.
async fn model_of(launch: &LaunchFile, settings: &Path) -> Result<Arc<dyn Model>, LastWords> {
    let member = launch.member.as_str();
    let secrets = launch.secrets.values().cloned().collect();
    seam::model_of(
        &launch.agent,
        member,
        &launch.environment,
        secrets,
        settings,
    )
    .await
}

/// Which model an agent with this process's environment would ask, and why, as a JSON object; `asks` is an `AgentSpec`
/// as JSON. Of a key only the name of its variable is told.
///
/// # Errors
/// Why there is none, for a person.
pub fn explain_model(asks: &str) -> Result<String, String> {
    let agent: AgentSpec = serde_json::from_str(asks).map_err(|error| error.to_string())?;
    let directories = Directories::from_environment().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = directories.settings_file();
    let explained = seam::explain(&agent, environment.collect(), &settings);
    let (model, why) = runtime.block_on(explained)?;
    Ok(serde_json::json!({ "model": model, "why": why }).to_string())
}

/// Thinks with this model and the tools that the launch names, or says why it cannot. Gives the exit code.
async fn think(
    launch: &LaunchFile,
    parts: Parts,
    surface: Surface,
    model: Result<Arc<dyn Model>, LastWords>,
) -> u8 {
    let unusable = |error: io::Error| LastWords {
        code: ExitCode::Failed as u8,
        reason: format!("cannot prepare the directory of its outputs: {error}"),
        hold: true,
    };
    let no_sandbox = |error: io::Error| LastWords {
        code: ExitCode::Failed as u8,
        reason: format!("cannot prepare the sandbox: {error}"),
        hold: true,
    };
    let makings = model.and_then(|model| {
        let confinement = confinement(launch, &parts).map_err(no_sandbox)?;
        let held = confinement.clone();
        let tools =
            |desk: &Desk, shared: &Shared| seam::tools_of(&launch.agent, desk, shared, confinement);
        makings(launch, &parts.place, model, held, tools).map_err(unusable)
    });
    match makings {
        Ok(makings) => {
            let pane = agent_pane(launch, &parts, surface);
            Agent::new(parts, pane, makings).run().await
        }
        Err(words) => {
            let pane = Pane::on(surface, launch.member.clone());
            Worker::new(parts, pane, Some(words)).run().await
        }
    }
}

fn agent_pane(launch: &LaunchFile, parts: &Parts, surface: Surface) -> AgentPane {
    let history = History::new(parts.directories.typed_file(launch.team.as_str()));
    let place = Arc::clone(&parts.place);
    AgentPane::on(
        surface,
        launch.member.clone(),
        parts.coloured,
        history,
        place,
    )
}

/// What its commands are held to, unless nobody is asked about them either.
fn confinement(launch: &LaunchFile, parts: &Parts) -> io::Result<Option<Arc<Confinement>>> {
    if launch.agent.bypass {
        return Ok(None);
    }
    let temporary = launch.log.with_extension("tmp");
    match fs::remove_dir_all(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&temporary)?;
    let (temporary, ours) = (temporary.canonicalize()?, &parts.directories);
    let network = match launch.agent.network {
        true => Network::Host,
        false => Network::None,
    };
    let settings = Settings::read(&ours.settings_file()).map_err(io::Error::other)?;
    // The team file may name variables, too, and opens nothing by them.
    let environment = launch.environment.iter();
    let environment = environment.filter(|(name, _)| !launch.named.contains(*name));
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    let user = User::new(environment.collect(), &settings);
    let name = launch.launch.as_str();
    let group = cgroup::delegated().map(|unit| Group::make(&unit, name, settings.of_group()));
    let confinement = Confinement::new(&launch.project, temporary, user, ours, network);
    let confinement = confinement
        .guarded_by(guard(launch, &parts.place))
        .keeping(launch.agent.kept.clone());
    let confinement = match group {
        Some(Ok(group)) => confinement.grouped(group),
        Some(Err(error)) => {
            tracing::warn!(%error, "cannot use the control group that is delegated");
            confinement
        }
        None => confinement,
    };
    Ok(Some(Arc::new(confinement)))
}

/// The files that rules hold back from being read.
fn guard(launch: &LaunchFile, place: &Place) -> Guard {
    let home = place.env.iter().find(|(name, _)| name == "HOME");
    let home = home.and_then(|(_, home)| Path::new(home).canonicalize().ok());
    Guard::new(&launch.agent.guarded, launch.project.clone(), home)
}

fn makings<T>(
    launch: &LaunchFile,
    place: &Place,
    model: Arc<dyn Model>,
    confinement: Option<Arc<Confinement>>,
    tools: T,
) -> io::Result<Makings<T>> {
    let outputs = launch.log.with_extension("outputs");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&outputs)?;
    let (desk, calls) = Desk::new(launch.member.clone(), launch.role.clone(), launch.lead);
    let bench = Bench {
        project: launch.project.clone(),
        cwd: workplace(launch).map_err(|words| io::Error::other(words.reason))?,
        env: place.env.clone(),
        secrets: place.secrets.clone(),
        outputs: outputs.canonicalize()?,
        output_max: OUTPUT_MAX,
        seen: Mutex::new(HashMap::new()),
        guard: guard(launch, place),
    };
    Ok(Makings {
        agent: launch.agent.clone(),
        model,
        desk,
        calls,
        bench,
        confinement,
        tools,
    })
}

/// What the tools left running ends with the member.
async fn end_tree(place: &Place) {
    let tree = Tree {
        root: ProcessId::current().ok(),
        sessions: Vec::new(),
        marker: place.marker.clone(),
    };
    if let Err(error) = tree.end(END_LIMIT).await {
        // The supervisor looks at the whole launch again before it starts a successor.
        tracing::warn!(%error, "something of the member is left");
    }
}

/// Takes over the signals that would end or stop this process. Must be called within a runtime.
fn listen() -> io::Result<Signals> {
    let signals = Signals::install()?;
    // Handled by doing nothing, rather than ignored, which children would inherit: keys at the prompt end no worker.
    for signal in [SIGQUIT, SIGTSTP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(signals)
}

fn prepare(
    launch: &LaunchFile,
    directories: Directories,
    link: Link,
    signals: Signals,
) -> Result<(Parts, Surface), RunError> {
    spawn::become_subreaper()?;
    let surface = Surface::open();
    reap();
    let term = std::env::var_os("TERM").filter(|_| surface.is_open());
    let parts = parts(launch, directories, link, term, Some(signals));
    Ok((parts, surface))
}

fn parts(
    launch: &LaunchFile,
    directories: Directories,
    link: Link,
    term: Option<OsString>,
    signals: Option<Signals>,
) -> Parts {
    let place = Arc::new(Place {
        env: launch::child_environment(launch, term),
        cwd: launch.cwd.clone(),
        secrets: Secrets::new(&launch.secrets),
        marker: launch.launch.to_string(),
        // A hosted member's programs are not all that runs below the process.
        alone: launch.engine == Engine::Command && signals.is_some(),
    });
    Parts {
        directories: directories.clone(),
        log: MemberLog::new(launch.log.clone()),
        link,
        typed: Typed::start(directories, launch),
        coloured: launch
            .environment
            .get("NO_COLOR")
            .is_none_or(String::is_empty),
        place,
        signals,
    }
}

/// Changes to the directory of the member.
fn go_to_work(launch: &LaunchFile) -> Result<(), LastWords> {
    let cwd = workplace(launch)?;
    std::env::set_current_dir(&cwd).map_err(|error| no_work_in(&launch.cwd, &error))
}

/// The canonical directory of the member. It was checked when the member was added; since then a part of it may have
/// become a symbolic link that leads out of the project, so every launch checks again.
fn workplace(launch: &LaunchFile) -> Result<PathBuf, LastWords> {
    let cannot = |error: io::Error| no_work_in(&launch.cwd, &error);
    let found = launch.cwd.canonicalize().map_err(cannot)?;
    if !found.is_dir() {
        return Err(cannot(io::ErrorKind::NotADirectory.into()));
    }
    if launch.cwd.starts_with(&launch.project) && !found.starts_with(&launch.project) {
        let text = format!("it leads to {}, outside the project", found.display());
        return Err(cannot(io::Error::other(text)));
    }
    Ok(found)
}

fn no_work_in(cwd: &Path, error: &io::Error) -> LastWords {
    let place = cwd.display().to_string();
    let place = visible_line(&place);
    let reason = if error.kind() == io::ErrorKind::NotFound {
        format!("cwd {place} is not there")
    } else {
        let error = error.to_string();
        format!("cannot use cwd {place}: {}", visible_line(&error))
    };
    LastWords {
        code: ExitCode::NotFound as u8,
        reason,
        hold: true,
    }
}

/// What tasks left behind and has ended is this process's to reap.
pub(crate) fn reap() {
    tokio::spawn(async {
        let error = spawn::reap_orphans().await;
        tracing::warn!(%error, "orphans are not reaped any more");
    });
}

/// A trace beside the member's log, when `AGENT_TEAM_LOG` asks for one, in our environment or the member's. It may name
/// targets and levels: the rest of its syntax would make every worker carry a regular expression engine.
fn start_tracing(launch: &LaunchFile) {
    let wanted = std::env::var("AGENT_TEAM_LOG").ok();
    let wanted = wanted.or_else(|| launch.environment.get("AGENT_TEAM_LOG").cloned());
    let Some(targets) = wanted.and_then(|wanted| wanted.parse::<Targets>().ok()) else {
        return;
    };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(launch.log.with_extension("trace"));
    if let Ok(file) = file {
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Mutex::new(file));
        tracing_subscriber::registry()
            .with(targets)
            .with(lines)
            .init();
    }
}

/// A panic unwinds, which restores the terminal and ends the process abnormally; what it said is kept in the log.
fn log_panics(launch: &LaunchFile) {
    let (log, worker) = (launch.log.clone(), launch.engine.worker());
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut file) = OpenOptions::new().append(true).open(&log) {
            // There is nowhere left to complain to.
            let _written = writeln!(file, "\na bug in {worker}: {panic}");
        }
        print(panic);
    }));
}

/// Returns at the deadline, or never when there is none. Safe to cancel.
pub(crate) async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
