//! `run`: gives the lead a goal, waits for the answer and prints it to stdout; with `--events` prints all events.
//!
//! A team that is not up is started headless and stopped afterwards. A team that is up keeps running; flags that would
//! change it are refused.

mod stream;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use agent_team_client::Session;
use agent_team_file::Loaded;
use agent_team_protocol::exit::ExitCode as Exit;
use agent_team_protocol::method::{
    Down, Nothing, RunStart, RunWait, StartRun, TeamDown, TeamList, TeamShow, TeamUp, Up, WaitRun,
};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::spec::TeamSpec;
use agent_team_protocol::value::Effort;
use agent_team_protocol::view::{TeamEntry, TeamState};
use agent_team_protocol::{ErrorCode, Revision, TeamId};
use agent_team_system::terminal;
use serde_json::value::RawValue;

use self::stream::Stream;
use super::text_argument::{is_typed, text_or_stdin};
use super::waiting::{self, WaitOutcome};
use super::{asking, audit, goal, mode, prices, up};
use crate::args::{self, Global};
use crate::caller;
use crate::error::Failure;
use crate::output::{Output, receipt};

/// Printed when the team is already up and no terminal can show a dialog.
const DECIDE: &str = "permission requests wait for agent-team requests";

/// Printed when requests are denied because stderr is not a terminal.
const UNATTENDED: &str = "note: without a terminal, permission requests are denied: \
    edits, commands and pages need allow rules, --mode accept-edits (edits) or --mode sandboxed (commands, too)";

pub(super) async fn run(
    global: &Global,
    output: Output,
    mut args: args::Run,
) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let goal_args = GoalArgs {
        attach_outside: is_typed(&args.goal),
        goal: text_or_stdin(args.goal.clone(), ErrorCode::MessageTooLarge)?,
        memory: memory(&args.memory)?,
        // The effort is a property of the run: it changes no member.
        effort: args.start.effort.take(),
    };
    let target = target(global, &args).await?;
    let team = target.team().clone();
    let outcome = run_goal(output, &args, goal_args, target, began).await;
    if args.events
        && let Err(Failure::Reported(report)) = &outcome
    {
        stream::fail(&team, &report.code, &report.message)?;
    }
    outcome
}

/// The goal and the settings that apply to it alone.
struct GoalArgs {
    goal: String,
    /// Images and PDFs that the goal names may be outside the project.
    attach_outside: bool,
    memory: BTreeMap<String, Box<RawValue>>,
    effort: Option<Effort>,
}

/// Gives the goal to the lead and prints the result of the run; starts and stops the team if it was not up.
async fn run_goal(
    output: Output,
    args: &args::Run,
    goal_args: GoalArgs,
    target: Target,
    began: Instant,
) -> Result<ExitCode, Failure> {
    let team = &target.team().clone();
    let mut session = Session::to_create(TeamRef::Id(team.clone()));
    let (started_here, after) = match target {
        Target::Up(team) => {
            refuse_flags(&args.start, &team)?;
            let shown = session.query::<TeamShow>(Nothing {}).await?;
            let members = shown.members.iter();
            up::check_lead(members.map(|member| (member.lead, member.engine)))?;
            let decide = match !args.events && asking::may_ask(output) {
                true => String::new(),
                false => format!(": {DECIDE}"),
            };
            output.note(&format!("note: {} is already up{decide}", team.name));
            (false, shown.revision)
        }
        Target::Down(_, loaded) => {
            up::check_lead(up::leads(&loaded.spec))?;
            let spec = up::trusted_spec(output, *loaded, &args.start)?;
            mode::check_sandbox(spec.permission_defaults.mode).await?;
            (true, start(&mut session, output, args, spec).await?)
        }
    };
    let mut stream = match args.events {
        true => Some(Stream::new(&session, after).await?),
        false => None,
    };
    let start = StartRun {
        goal: goal_args.goal,
        then_down: started_here,
        anew: started_here,
        memory: goal_args.memory,
        effort: goal_args.effort,
        attach_outside: goal_args.attach_outside,
    };
    let run = match session.call::<RunStart>(start).await {
        Ok(answer) => answer.run,
        Err(error) => {
            if started_here {
                stop_team(session, output).await?;
            }
            return Err(error.into());
        }
    };
    let waiter = session.separate();
    let finished = session.wait_for::<RunWait>(WaitRun { run });
    let waited = match &mut stream {
        Some(stream) => stream.until(&waiter, run, finished).await,
        None => waiting::until(&waiter, output, after, finished).await,
    };
    let (view, tasks) = match waited {
        Ok(WaitOutcome::Ended { answer, tasks }) => (answer, tasks),
        Err(failure) => {
            if !started_here {
                return Err(failure);
            }
            stop_team(session, output).await?;
            return Err(failure);
        }
        Ok(WaitOutcome::Interrupted) => {
            if started_here {
                output.note("stopping the team");
                stop_team(session, output).await?;
            } else {
                output.note("stopped waiting; the lead keeps working on the goal");
            }
            if stream.is_some() {
                stream::fail(team, "interrupted", "the wait was interrupted")?;
            }
            return Ok(ExitCode::from(waiting::INTERRUPTED));
        }
    };
    let mut ended = goal::result_of(&mut session, view, tasks, began).await?;
    audit::fill_denied(&mut ended.result, &session, output, after).await;
    goal::mark_answer_read(&mut session, &ended.result).await;
    let exit = if started_here {
        stop_team(session, output).await?
    } else {
        Exit::Done
    };
    match stream {
        Some(stream) => {
            goal::note(&ended, output);
            stream.end(&ended.result)?;
        }
        None => goal::show(&ended, output)?,
    }
    Ok(match goal::is_answered(&ended.result) {
        true => exit.into(),
        false => ExitCode::FAILURE,
    })
}

/// The team whose lead receives the goal.
enum Target {
    Up(TeamEntry),
    /// The team is not up: it is started as loaded from its file, or as the default team.
    Down(TeamId, Box<Loaded>),
}

impl Target {
    fn team(&self) -> &TeamId {
        match self {
            Self::Up(entry) => &entry.team,
            Self::Down(team, _) => team,
        }
    }
}

/// Finds the team. A team that is up and named with `-t` needs no team file.
async fn target(global: &Global, args: &args::Run) -> Result<Target, Failure> {
    let loaded = match up::load(global, &args.start, true).await {
        Ok(loaded) => loaded,
        Err(failure) => {
            return running_team_named(global)
                .await?
                .map(Target::Up)
                .ok_or(failure);
        }
    };
    let team = TeamId::new(&loaded.spec.name, &loaded.spec.project);
    let mut up = teams_up(TeamRef::Id(team.clone())).await?.into_iter();
    Ok(match up.find(|entry| entry.team == team) {
        Some(entry) => Target::Up(entry),
        None => Target::Down(team, Box::new(loaded)),
    })
}

/// The running team named with `-t`, if there is exactly one.
async fn running_team_named(global: &Global) -> Result<Option<TeamEntry>, Failure> {
    let Some(name) = &global.team else {
        return Ok(None);
    };
    let mut up = teams_up(TeamRef::Name(name.clone())).await?;
    up.retain(|entry| [entry.name.as_str(), entry.team.as_str()].contains(&&**name));
    Ok(up.pop().filter(|_| up.is_empty()))
}

async fn teams_up(team: TeamRef) -> Result<Vec<TeamEntry>, Failure> {
    let mut session = Session::to_create(team);
    let mut teams = session.query::<TeamList>(Nothing {}).await?.teams;
    teams.retain(|entry| entry.state == TeamState::Up);
    Ok(teams)
}

/// Refuses flags that would change the settings or permissions of a running team: ignoring them would be misleading.
fn refuse_flags(start: &args::Start, team: &TeamEntry) -> Result<(), Failure> {
    /// The flags that `up` applies to a team that is up.
    const OF_UP: [&str; 7] = [
        "--var", "--env", "--secret", "--mode", "--bypass", "--trust", "--record",
    ];
    let typed = start.typed();
    if typed.is_empty() {
        return Ok(());
    }
    let flags = typed.join(", ");
    let text = format!(
        "cannot honour {flags}: {} is already up, and `run` only gives its lead a goal",
        team.name
    );
    let hint = match typed.iter().all(|flag| OF_UP.contains(flag)) {
        true => {
            format!("omit {flags}, or change the team first: agent-team up --detach {flags} ...")
        }
        false => format!(
            "omit {flags} and name the team with -t {}, or stop it first: agent-team down -t {}",
            team.team, team.team
        ),
    };
    Err(Failure::of(ErrorCode::TeamRunning, text).hint(hint))
}

/// Starts the team headless; returns the revision after the start.
async fn start(
    session: &mut Session,
    output: Output,
    args: &args::Run,
    mut spec: TeamSpec,
) -> Result<Revision, Failure> {
    spec.placement = PlacementChoice::Headless;
    let asks = spec.permission_defaults.mode != Mode::Bypass;
    if asks && !terminal::is_terminal(std::io::stderr()) {
        spec.permission_defaults.unattended = true;
        output.note(UNATTENDED);
    }
    let (environment, named) = up::environment(output, &args.start.env)?;
    prices::check(&spec, &environment)?;
    let up = Up {
        environment,
        named,
        secrets: up::secrets(&args.start.secret)?,
        spec,
        terminal: caller::terminal(),
        dry_run: false,
        fresh: args.start.fresh,
    };
    up::check_models(session, &up).await?;
    let answer = output
        .waiting_for("the members to be ready", session.call::<TeamUp>(up))
        .await?;
    Ok(answer.revision)
}

/// Stops the team. The exit code is 7 if a process survived.
async fn stop_team(mut session: Session, output: Output) -> Result<Exit, Failure> {
    let down = session.call::<TeamDown>(Down { force: false });
    let mut answer = output.waiting_for("the members to stop", down).await?;
    let exited = output.waiting_for("the supervisor to exit", session.release_supervisor());
    answer.receipts.extend(exited.await?);
    Ok(receipt::exit(&answer.receipts))
}

fn memory(typed: &[String]) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
    typed
        .iter()
        .map(|pair| {
            let (key, json) = pair.split_once('=').ok_or_else(|| {
                Failure::usage(format!("cannot read --memory {pair:?}: it is not KEY=JSON"))
                    .hint("write it like --memory 'style=\"terse\"'")
            })?;
            let value = RawValue::from_string(json.to_owned()).map_err(|error| {
                Failure::usage(format!("cannot read the value of {key:?}: it is not JSON"))
                    .because(&error)
            })?;
            Ok((key.to_owned(), value))
        })
        .collect()
}
