//! The workers of members: a process per member, or a thread per member in a process that hosts several.
//!
//! ```text
//!  supervisor ◄── socket ──► link (own thread) ◄─ events ─► worker ◄─► engine ── task's pty ── /bin/sh -c LINE
//!                                                             │ ▲
//!                                                        log ◄┘ └─► pane ── the user's terminal
//! ```
//! Where to look:
//! - the launch file that configures the process: `launch`
//! - the event loop of a worker, and its exit: `worker`
//! - the work in this loop: `tasks` (tasks one at a time) or `agent`
//! - the program of a member with the terminal engine: `terminal_program`; its pty and its screen: `inner_pty`
//! - output for connected clients: `live_output`
//! - pings, reconnects and repeated requests: `link`
//! - engines that work on one task at a time, such as `command`: `engine`
//! - workers in a shared process, and engines that an embedding program implements: `hosted`
//! - the process of hosted members: `host`; the process of the team's shared MCP servers: `mcp_host`
//! - the pane's output and input: `pane`, `typed`
//! - the attach helper, which lends a terminal to a worker: `attach_helper`
//! - the tools of a model, its system prompt, and the redaction of secrets: the crate `tools`
//!
//! A worker starts no task before the supervisor has accepted its connection. When a task ends or is taken away, the
//! command engine terminates the processes of the task's lines. Background jobs of an agent last at most as long as the
//! agent's worker.

mod agent;
pub mod attach_helper;
mod engine;
mod env_allowlist;
pub mod host;
pub mod hosted;
mod inner_pty;
mod launch;
mod link;
mod live_output;
mod log;
pub mod mcp_host;
mod pane;
pub mod program;
mod tasks;
mod terminal_program;
mod timer;
mod typed;
mod worker;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_team_llm::MediaSupport;
use agent_team_llm::catalogue::{self, Catalogue};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::with_causes;
use agent_team_system::cgroup::{self, Group};
use agent_team_system::directories::Directories;
use agent_team_system::history::History;
use agent_team_system::notes::Notes;
use agent_team_system::process::ProcessId;
use agent_team_system::sandbox::Network;
use agent_team_system::signals::Signals;
use agent_team_system::spawn;
use agent_team_system::tree::Tree;
use agent_team_terminal_ui::notifications::UserNotifications;
use agent_team_terminal_ui::style::Theme;
use agent_team_tools::confine::{Confinement, Settings, User};
use agent_team_tools::custom::CustomTool;
use agent_team_tools::guard::Guard;
use agent_team_tools::secret::Secrets;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::Shared;
use agent_team_tools::{SeenFiles, ToolContext};
use signal_hook::consts::{SIGQUIT, SIGTSTP};
use tokio::task::LocalSet;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::agent::deps::{self, Models};
use crate::agent::external::{self, Sockets, hook_socket, probe, team_mcp};
use crate::agent::{Agent, AgentConfig};
use crate::engine::{ProgramContext, TaskEngine, task_engine};
use crate::launch::TakeLaunchError;
use crate::link::{Link, WhenAbsent};
use crate::live_output::LiveOutput;
use crate::log::MemberLog;
use crate::pane::{AgentPane, Pane, ProgramPane, Surface};
use crate::tasks::Tasks;
use crate::terminal_program::TerminalProgram;
use crate::typed::PaneActions;
use crate::worker::{ExitReport, Worker, WorkerConfig};

/// The largest size of a tool result for the model, in bytes.
const OUTPUT_MAX: usize = 30_000;

/// The time limit for terminating the processes that the tools left behind.
const END_LIMIT: Duration = Duration::from_secs(2);

/// Why this process cannot become a worker.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot use this launch file")]
    Launch(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("this launch needs the program {}", .0.worker())]
    Engine(Engine),
    #[error("cannot start the worker")]
    System(#[from] io::Error),
}

/// The outcome of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunOutcome {
    /// Another process has taken the launch, or the supervisor has withdrawn the launch; this process did nothing.
    NotOurs,
    /// The worker ran and ended with this exit code.
    Exited(u8),
}

/// Takes the launch of a member whose engine runs one task at a time or shows a program, and runs until the launch is
/// over. Called once, by a process that does nothing else.
///
/// # Errors
/// If the launch file cannot be used, if the launch's engine belongs to another program, or if threads, signals or
/// directories cannot be set up.
pub fn run_tasks(launch_file: &Path) -> Result<RunOutcome, RunError> {
    run(
        launch_file,
        |engine| match engine.shows_program() {
            true => Some(None),
            false => task_engine(engine).map(Some),
        },
        async |launch, engine, worker_config, surface, unfit| match engine {
            Some(engine) => work_on_tasks(launch, engine, worker_config, surface, unfit).await,
            None => show_program(launch, worker_config, surface, unfit).await,
        },
    )
}

/// Like [`run_tasks`], for an agent.
///
/// # Errors
/// As [`run_tasks`].
pub fn run_agent(launch_file: &Path) -> Result<RunOutcome, RunError> {
    run(
        launch_file,
        |engine| {
            let is_ours = engine.uses_model() || engine.is_external() || engine == Engine::Joined;
            is_ours.then_some(())
        },
        async |launch, (), worker_config, surface, unfit| {
            let program_context = Arc::clone(&worker_config.program_context);
            if launch.engine.is_external() {
                let code = run_external(launch, worker_config, surface, unfit).await;
                end_tree(&program_context).await;
                return code;
            }
            if launch.engine == Engine::Joined {
                let code = run_chat_session(launch, worker_config, surface).await;
                end_tree(&program_context).await;
                return code;
            }
            let models = match unfit {
                Some(report) => Err(report),
                None => models_of(launch, &worker_config.directories.settings_file()).await,
            };
            let code = run_agent_loop(launch, worker_config, surface, models, &[]).await;
            end_tree(&program_context).await;
            code
        },
    )
}

/// Takes a launch and runs its worker. `engine_of` returns `None` for an engine that this program does not contain.
/// `engine_of` and `work` are parameters, so that a program links only its own engines.
fn run<E, W>(
    launch_file: &Path,
    engine_of: impl FnOnce(Engine) -> Option<E>,
    work: W,
) -> Result<RunOutcome, RunError>
where
    W: AsyncFnOnce(&LaunchFile, E, WorkerConfig, Surface, Option<ExitReport>) -> u8,
{
    let launch = match launch::take(launch_file) {
        Ok(launch) => launch,
        Err(TakeLaunchError::Taken(_)) => return Ok(RunOutcome::NotOurs),
        Err(error) => return Err(RunError::Launch(Box::new(error))),
    };
    let Some(engine) = engine_of(launch.engine) else {
        return Err(RunError::Engine(launch.engine));
    };
    log_panics(&launch);
    start_tracing(&launch);
    let directories = launch::directories(launch_file, &launch)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Install signal handlers before the connection: once the supervisor knows this worker, it may send a signal to
    // stop the worker.
    let signals = {
        let _within = runtime.enter();
        install_signal_handlers()?
    };
    // Connect first: while the supervisor handles `initialize`, this process builds the rest of the worker.
    let link = Link::start(
        directories.clone(),
        introduction(&launch),
        WhenAbsent::Start,
    )?;
    // A `LocalSet` is needed because a terminal's saved modes are not `Send`.
    LocalSet::new().block_on(&runtime, async {
        let (worker_config, surface) = prepare(&launch, directories, link, signals)?;
        let unfit = enter_work_dir(&launch).err();
        Ok(RunOutcome::Exited(
            work(&launch, engine, worker_config, surface, unfit).await,
        ))
    })
}

fn introduction(launch: &LaunchFile) -> Initialize {
    Initialize::member(
        launch.team.clone(),
        launch.launch.clone(),
        launch.token.clone(),
    )
}

async fn models_of(launch: &LaunchFile, settings: &Path) -> Result<Models, ExitReport> {
    let member = launch.member.as_str();
    let secrets = launch.secrets.values().cloned().collect();
    deps::models_of(
        &launch.agent,
        member,
        &launch.environment,
        secrets,
        settings,
        launch.usd_limit,
    )
    .await
}

/// Returns, as JSON, the model that an agent would use with this process's environment, the reason for the choice, and
/// the agent's models whose price is unknown. `agent` is an `AgentSpec` as JSON. The reason can name the variable of a
/// key, but never contains the key.
///
/// # Errors
/// If `agent` is invalid, or no model can be used. The reason is a text for the user.
pub fn explain_model(agent: &str) -> Result<String, String> {
    let agent: AgentSpec = serde_json::from_str(agent).map_err(|error| error.to_string())?;
    let settings = settings_file()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let explained = deps::explain(&agent, environment.collect(), &settings);
    let explained = runtime.block_on(explained)?;
    Ok(serde_json::to_string(&explained).expect("the answer has string keys"))
}

/// Starts the installed agents of other vendors, and returns their reports as JSON. `arguments`: `ProbeArguments` as
/// JSON. No model is called.
///
/// # Errors
/// If the arguments are invalid, or the process cannot be prepared. The reason is a text for the user.
pub fn probe_agents(arguments: &str) -> Result<String, String> {
    let arguments = serde_json::from_str(arguments).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    Ok(runtime.block_on(probe::probe(arguments)))
}

/// Connects stdin and stdout to the team's tools of a member: an MCP server for the member's external agent.
///
/// # Errors
/// If the socket cannot be used. The reason is a text for the user.
pub fn connect_team_tools(socket: &Path) -> Result<(), String> {
    team_mcp::connect(socket).map_err(|error| error.to_string())
}

/// Passes a hook call of a member's external agent to its worker, and returns the exit code for the agent. `purpose` is a
/// word of the settings that the worker gave to the agent.
pub fn pass_hook_call(socket: &Path, purpose: &str) -> std::process::ExitCode {
    hook_socket::call(socket, purpose)
}

/// The known models as JSON.
///
/// # Errors
/// If a file with data about models is invalid. The reason is a text for the user.
pub fn list_models() -> Result<String, String> {
    let catalogue = Catalogue::with(&settings_file()?).map_err(|error| with_causes(&error))?;
    Ok(serde_json::to_string(&catalogue.list()).expect("the answer has string keys"))
}

/// Adds a list in the form of models.dev's `api.json` to the user's catalogue of models. Returns the result as JSON.
///
/// # Errors
/// If the list is invalid, or the catalogue cannot be written. The reason is a text for the user.
pub fn import_models(list: &str) -> Result<String, String> {
    let imported =
        catalogue::import(list, &settings_file()?).map_err(|error| with_causes(&error))?;
    Ok(serde_json::to_string(&imported).expect("the answer has string keys"))
}

fn settings_file() -> Result<PathBuf, String> {
    let directories = Directories::from_environment().map_err(|error| error.to_string())?;
    Ok(directories.settings_file())
}

/// Runs the agent loop with these models and the tools of the launch, or reports why the loop cannot run. Returns the
/// exit code.
async fn run_agent_loop(
    launch: &LaunchFile,
    worker_config: WorkerConfig,
    surface: Surface,
    models: Result<Models, ExitReport>,
    custom_tools: &[CustomTool],
) -> u8 {
    let unusable = |error: io::Error| ExitReport {
        code: ExitCode::Failed as u8,
        reason: format!("cannot prepare the member's directories: {error}"),
        hold: true,
    };
    let no_sandbox = |error: io::Error| ExitReport {
        code: ExitCode::Failed as u8,
        reason: format!("cannot prepare the sandbox: {error}"),
        hold: true,
    };
    let config = models.and_then(|models| {
        let confinement = confinement(launch, &worker_config).map_err(no_sandbox)?;
        let agent_confinement = confinement.clone();
        let window = models.main.window();
        let tools = move |client: &SupervisorClient, shared: &Shared| {
            deps::tools_of(
                &launch.agent,
                client,
                shared,
                confinement,
                custom_tools,
                window,
            )
        };
        config(launch, &worker_config, models, agent_confinement, tools).map_err(unusable)
    });
    match config {
        Ok(config) => {
            let pane = agent_pane(launch, &worker_config, surface);
            let agent = Agent::new(&worker_config, config);
            Worker::new(worker_config, pane, agent).run().await
        }
        Err(report) => report_unfit(launch, worker_config, surface, report).await,
    }
}

/// Runs another vendor's agent, or reports why the worker is unfit. Returns the exit code.
async fn run_external(
    launch: &LaunchFile,
    worker_config: WorkerConfig,
    surface: Surface,
    unfit: Option<ExitReport>,
) -> u8 {
    let prepared = match unfit {
        Some(report) => Err(report),
        None => tool_context(launch, &worker_config).map_err(|error| ExitReport {
            code: ExitCode::Failed as u8,
            reason: format!("cannot prepare the member's directories: {error}"),
            hold: true,
        }),
    };
    let context = match prepared {
        Ok(context) => context,
        Err(report) => return report_unfit(launch, worker_config, surface, report).await,
    };
    let (client, calls) =
        SupervisorClient::new(launch.member.clone(), launch.role.clone(), launch.lead);
    let sockets = Sockets {
        tools: worker_config
            .directories
            .member_socket(launch.launch.as_str()),
        hooks: worker_config
            .directories
            .hook_socket(launch.launch.as_str()),
        files: worker_config
            .directories
            .agent_files(launch.launch.as_str()),
    };
    let in_terminal = external::runs_in_terminal(&launch.agent);
    let agent = Agent::with_external(
        &worker_config,
        launch.agent.clone(),
        context,
        (client, calls),
        sockets,
        in_terminal,
    );
    let pane = agent_pane(launch, &worker_config, surface);
    Worker::new(worker_config, pane, agent).run().await
}

/// The context of an agent's tools. Creates the directory for long outputs.
fn tool_context(launch: &LaunchFile, worker_config: &WorkerConfig) -> io::Result<ToolContext> {
    let context = team_tool_context(launch, worker_config);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&context.outputs)?;
    Ok(ToolContext {
        cwd: work_dir(launch).map_err(|report| io::Error::other(report.reason))?,
        outputs: context.outputs.canonicalize()?,
        ..context
    })
}

/// Serves the chat session of a joined member. Returns the exit code.
async fn run_chat_session(
    launch: &LaunchFile,
    worker_config: WorkerConfig,
    surface: Surface,
) -> u8 {
    let context = team_tool_context(launch, &worker_config);
    let (client, calls) =
        SupervisorClient::new(launch.member.clone(), launch.role.clone(), launch.lead);
    let socket = worker_config
        .directories
        .joined_socket(launch.launch.as_str());
    let pane = agent_pane(launch, &worker_config, surface);
    let agent = Agent::with_chat_session(
        &worker_config,
        &launch.agent,
        context,
        client,
        calls,
        socket,
    );
    Worker::new(worker_config, pane, agent).run().await
}

/// The context of team tools that code outside of the agent loop calls. These tools use no file, so no directory is
/// created.
fn team_tool_context(launch: &LaunchFile, worker_config: &WorkerConfig) -> ToolContext {
    let program_context = &worker_config.program_context;
    ToolContext {
        project: launch.project.clone(),
        cwd: launch.project.clone(),
        env: program_context.env.clone(),
        secrets: program_context.secrets.clone(),
        outputs: launch.log.with_extension("outputs"),
        output_max: OUTPUT_MAX,
        seen: SeenFiles::default(),
        guard: guard(launch, program_context),
        notes: notes(launch, &worker_config.directories),
        // The team tools show no images.
        model: String::new(),
        media: MediaSupport::default(),
    }
}

/// Works on tasks with this engine, or reports why the worker is unfit. Returns the exit code.
async fn work_on_tasks(
    launch: &LaunchFile,
    engine: Box<dyn TaskEngine>,
    worker_config: WorkerConfig,
    surface: Surface,
    unfit: Option<ExitReport>,
) -> u8 {
    if let Some(report) = unfit {
        return report_unfit(launch, worker_config, surface, report).await;
    }
    let history = worker_config
        .directories
        .typed_lines_file(launch.team.as_str());
    let context = Arc::clone(&worker_config.program_context);
    let pane = Pane::on(surface, launch.member.clone(), worker_config.theme)
        .with_history(History::new(history), context);
    Worker::new(worker_config, pane, Tasks::new(engine))
        .run()
        .await
}

/// Runs the program of the member on a pty of this worker, or reports why the worker is unfit. Returns the exit code.
async fn show_program(
    launch: &LaunchFile,
    worker_config: WorkerConfig,
    surface: Surface,
    unfit: Option<ExitReport>,
) -> u8 {
    if let Some(report) = unfit {
        return report_unfit(launch, worker_config, surface, report).await;
    }
    let external = launch.agent.external.clone().unwrap_or_default();
    let program = TerminalProgram::new(&external, launch.member.as_str(), &launch.project);
    let pane = ProgramPane::on(surface, launch.member.clone(), worker_config.theme);
    Worker::new(worker_config, pane, program).run().await
}

async fn report_unfit(
    launch: &LaunchFile,
    worker_config: WorkerConfig,
    surface: Surface,
    report: ExitReport,
) -> u8 {
    let pane = Pane::on(surface, launch.member.clone(), worker_config.theme);
    let worker = Worker::new(worker_config, pane, Tasks::none());
    worker.report_unfit(report).await
}

fn agent_pane(launch: &LaunchFile, worker_config: &WorkerConfig, surface: Surface) -> AgentPane {
    let history = History::new(worker_config.directories.typed_file(launch.team.as_str()));
    let program_context = Arc::clone(&worker_config.program_context);
    AgentPane::on(
        surface,
        launch.member.clone(),
        worker_config.theme,
        history,
        program_context,
    )
}

/// The sandbox of the agent's commands. `None`: the commands run without a sandbox and without permission requests.
fn confinement(
    launch: &LaunchFile,
    worker_config: &WorkerConfig,
) -> io::Result<Option<Arc<Confinement>>> {
    if launch.agent.bypass {
        return Ok(None);
    }
    // An earlier launch of this member may have left files in this directory.
    let temporary = launch.log.with_extension("tmp");
    match fs::remove_dir_all(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&temporary)?;
    let (temporary, directories) = (temporary.canonicalize()?, &worker_config.directories);
    let network = match launch.agent.network {
        true => Network::Host,
        false => Network::None,
    };
    let settings = Settings::read(&directories.settings_file()).map_err(io::Error::other)?;
    // Leave out all variables that were named explicitly: the team file may have named some of them, and a project must
    // not be able to open the sandbox with such variables.
    let environment = launch.environment.iter();
    let environment = environment.filter(|(name, _)| !launch.named.contains(*name));
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    let user = User::new(environment.collect(), &settings);
    let name = launch.launch.as_str();
    let group = cgroup::delegated().map(|unit| Group::make(&unit, name, settings.of_group()));
    let confinement = Confinement::new(&launch.project, temporary, user, directories, network);
    let confinement = confinement
        .guarded_by(guard(launch, &worker_config.program_context))
        .keeping(launch.agent.kept.clone());
    let confinement = match group {
        Some(Ok(group)) => confinement.grouped(group),
        Some(Err(error)) => {
            tracing::warn!(%error, "cannot use the delegated control group");
            confinement
        }
        None => confinement,
    };
    Ok(Some(Arc::new(confinement)))
}

/// The guard for files to which `Read` rules apply that deny or ask.
fn guard(launch: &LaunchFile, program_context: &ProgramContext) -> Guard {
    let home = program_context.env.iter().find(|(name, _)| name == "HOME");
    let home = home.and_then(|(_, home)| Path::new(home).canonicalize().ok());
    Guard::new(&launch.agent.guarded, launch.project.clone(), home)
}

/// The notes of the member's team, project and user.
fn notes(launch: &LaunchFile, directories: &Directories) -> Notes {
    let mut notes = Notes::new(directories, Some(launch.team.as_str()), &launch.project);
    // A member of an embedding program has no settings of the user: see `HostedLaunch::take`.
    if directories.config.starts_with(&directories.run) {
        notes.user = None;
    }
    notes
}

/// The configuration of the agent. Creates the directory for long outputs of tools.
fn config<T>(
    launch: &LaunchFile,
    worker_config: &WorkerConfig,
    models: Models,
    confinement: Option<Arc<Confinement>>,
    tools: T,
) -> io::Result<AgentConfig<T>> {
    let (client, calls) =
        SupervisorClient::new(launch.member.clone(), launch.role.clone(), launch.lead);
    let context = ToolContext {
        model: models.main.name().to_owned(),
        media: models.main.media_support(),
        ..tool_context(launch, worker_config)?
    };
    Ok(AgentConfig {
        agent: launch.agent.clone(),
        models,
        client,
        calls,
        context,
        confinement,
        tools,
    })
}

/// Terminates the processes that the tools left behind.
async fn end_tree(program_context: &ProgramContext) {
    let tree = Tree {
        root: ProcessId::current().ok(),
        sessions: Vec::new(),
        marker: program_context.marker.clone(),
    };
    if let Err(error) = tree.end(END_LIMIT).await {
        // The supervisor terminates processes with the launch's marker before the next launch of this member.
        tracing::warn!(%error, "some processes of the member remain");
    }
}

/// Installs handlers for the signals that would terminate or suspend this process. Must be called within a runtime.
fn install_signal_handlers() -> io::Result<Signals> {
    let signals = Signals::install()?;
    // Install handlers that do nothing. Ignored signals would be inherited by children, and then keystrokes could not
    // stop a task's program.
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
) -> Result<(WorkerConfig, Surface), RunError> {
    spawn::become_subreaper()?;
    let surface = Surface::open();
    reap();
    let term = std::env::var_os("TERM").filter(|_| surface.is_open());
    let worker_config = worker_config(launch, directories, link, term, Some(signals));
    Ok((worker_config, surface))
}

fn worker_config(
    launch: &LaunchFile,
    directories: Directories,
    link: Link,
    term: Option<OsString>,
    signals: Option<Signals>,
) -> WorkerConfig {
    let term = match launch.engine.shows_program() {
        true => Some(inner_pty::TERM.into()),
        false => term,
    };
    let program_context = Arc::new(ProgramContext {
        env: launch::child_environment(launch, term),
        cwd: launch.cwd.clone(),
        secrets: Secrets::new(&launch.secrets),
        marker: launch.launch.to_string(),
        // Only a hosted member has no `signals`: programs of other members are then descendants of the same process.
        alone: launch.engine.runs_lines() && signals.is_some(),
    });
    WorkerConfig {
        directories: directories.clone(),
        log: MemberLog::new(launch.log.clone()),
        live: LiveOutput::new(&program_context.marker),
        link,
        typed: PaneActions::start(directories, launch),
        // The CLI refuses an unknown theme before it starts a team.
        theme: Theme::of_environment(|name| launch.environment.get(name).cloned())
            .unwrap_or_default()
            .unwrap_or_default(),
        notifications: UserNotifications::of_environment(|name| {
            launch.environment.get(name).cloned()
        }),
        program_context,
        signals,
        relaunched: launch.relaunched.clone(),
    }
}

fn enter_work_dir(launch: &LaunchFile) -> Result<(), ExitReport> {
    let cwd = work_dir(launch)?;
    std::env::set_current_dir(&cwd).map_err(|error| work_dir_error(&launch.cwd, &error))
}

/// The canonical working directory of the member. The supervisor has checked this path when the member was added. A
/// component may have become a symbolic link out of the project since then, so every launch checks the path again.
fn work_dir(launch: &LaunchFile) -> Result<PathBuf, ExitReport> {
    let cannot = |error: io::Error| work_dir_error(&launch.cwd, &error);
    let found = launch.cwd.canonicalize().map_err(cannot)?;
    if !found.is_dir() {
        return Err(cannot(io::ErrorKind::NotADirectory.into()));
    }
    if launch.cwd.starts_with(&launch.project) && !found.starts_with(&launch.project) {
        let text = format!("it resolves to {}, outside the project", found.display());
        return Err(cannot(io::Error::other(text)));
    }
    Ok(found)
}

fn work_dir_error(cwd: &Path, error: &io::Error) -> ExitReport {
    let cwd = cwd.display().to_string();
    let cwd = visible_line(&cwd);
    let reason = if error.kind() == io::ErrorKind::NotFound {
        format!("cwd {cwd} does not exist")
    } else {
        let error = error.to_string();
        format!("cannot use cwd {cwd}: {}", visible_line(&error))
    };
    ExitReport {
        code: ExitCode::NotFound as u8,
        reason,
        hold: true,
    }
}

/// Starts reaping orphans: the kernel makes them children of this process when their parents exit.
pub(crate) fn reap() {
    tokio::spawn(async {
        let error = spawn::reap_orphans().await;
        tracing::warn!(%error, "cannot reap orphans");
    });
}

/// Writes a trace beside the member's log if `AGENT_TEAM_LOG` of this process or of the member requests one. Only
/// targets and levels are supported: the full syntax would link a regular expression engine into every worker.
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

/// Writes panics to the log. The panic itself unwinds, which restores the terminal; the process then exits abnormally.
fn log_panics(launch: &LaunchFile) {
    let (log, worker) = (launch.log.clone(), launch.engine.worker());
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut file) = OpenOptions::new().append(true).open(&log) {
            // An error here cannot be reported anywhere.
            let _written = writeln!(file, "\na bug in {worker}: {panic}");
        }
        print(panic);
    }));
}
