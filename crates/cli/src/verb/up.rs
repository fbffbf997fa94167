//! `up`: starts the team of this project, or applies changes of its team file. `run`, `config` and `role` call
//! its functions that load and check a team.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use agent_team_client::Session;
use agent_team_file::{Loaded, Reading, Variables};
use agent_team_protocol::command_line::{CommandLine, LEAD_NOT_AGENT, lead_not_agent_hint};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::goal::GoalView;
use agent_team_protocol::method::{
    Change, ChangeKind, Nothing, RunStart, SECRET_MIN, StartRun, TeamList, TeamShow, TeamUp,
    TeamWait, Up, UpAnswer, WaitResult,
};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::result::RunResult;
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::spec::{CommandFile, MemberSpec, TeamSpec};
use agent_team_protocol::text::duration;
use agent_team_protocol::view::{RunState, TeamEntry, Usage};
use agent_team_protocol::{ErrorCode, Revision, RunId, TeamId, exit};
use agent_team_system::directories::Directories;
use agent_team_system::private_file;
use agent_team_terminal_ui::is_prompt_verb;
use agent_team_terminal_ui::style::{Style, THEME, Theme};

use super::doctor::model;
use super::text_argument::{is_typed, text_or_stdin};
use super::waiting::{self, WaitOutcome};
use super::{attach, audit, goal, mode, prices, spawn, trust};
use crate::args::{self, Global};
use crate::caller;
use crate::error::{self, Failure};
use crate::output::style::{BUSY, GOOD, paint};
use crate::output::{Output, style, task, text, usage};
use crate::{single_terminal, terminal};

/// Number of workers of a team without a team file, unless given with `-n`.
pub(super) const DEFAULT_WORKERS: u32 = 3;

pub(super) async fn run(
    global: &Global,
    output: Output,
    mut args: args::Up,
    open_page: impl AsyncFnOnce(TeamId, Session) -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let attach_outside = args.goal.as_deref().is_some_and(is_typed);
    let goal = args
        .goal
        .map(|goal| text_or_stdin(goal, ErrorCode::MessageTooLarge))
        .transpose()?;
    // The effort of a goal is a property of its run: it changes no member.
    let effort = args.start.effort.take_if(|_| goal.is_some());
    let (mut environment, named) = environment(output, &args.start.env)?;
    if args.web && output.is_json() {
        // Each verb prints one document.
        return Err(Failure::usage("cannot use --web with --json")
            .hint("run agent-team up --json, then agent-team serve --json"));
    }
    let stays = args.wait || args.detach || args.dry_run || args.web;
    let attaches = !stays && !output.is_json();
    if attaches
        && caller::is_terminal()
        && style::named_theme().is_none()
        && !named.contains(THEME)
        && terminal::theme_of_background().await == Some(Theme::Light)
    {
        // Pass the theme to the members: tmux does not forward a pane's query for the background to the terminal.
        environment.insert(THEME.to_owned(), "light".to_owned());
    }
    let secrets = secrets(&args.start.secret)?;
    let mut spec = load_spec(global, output, &args.start, goal.is_some()).await?;
    mode::check_sandbox(spec.permission_defaults.mode).await?;
    prices::check(&spec, &environment)?;
    if let Some(placement) = args.panes {
        spec.placement = placement;
    }
    let mut session = Session::to_create(TeamRef::Id(TeamId::new(&spec.name, &spec.project)));
    let up = Up {
        spec,
        environment,
        named,
        secrets,
        terminal: caller::terminal(),
        dry_run: args.dry_run,
        fresh: args.start.fresh,
    };
    if args.panes.is_some() && !args.dry_run {
        check_placement(&mut session, &up).await?;
    }
    if goal.is_some() {
        check_models(&mut session, &up).await?;
    }
    // `up` moves into the call.
    let (spec, environment) = (up.spec.clone(), up.environment.clone());
    let answer = output
        .waiting_for("the members to be ready", session.call::<TeamUp>(up))
        .await?;
    let began = Instant::now();
    let mut run = None;
    let mut before = None;
    if let Some(goal) = goal.filter(|_| !args.dry_run) {
        before = session.query::<TeamShow>(Nothing {}).await?.goal;
        let start = StartRun {
            goal,
            then_down: false,
            anew: false,
            memory: BTreeMap::new(),
            effort,
            attach_outside,
        };
        let started = session.call::<RunStart>(start).await;
        if started.is_err() && !output.is_json() {
            // The changes of the team stay even if the goal is refused.
            output.write(&text_of(&answer, false))?;
        }
        run = Some(started?.run);
    }
    if run.is_none() && !args.dry_run {
        for (names, why) in unusable_models(&spec, &environment, &answer.changes) {
            let why = why.lines().next().unwrap_or_default();
            output.note(&format!(
                "note: {names} cannot start: {}; see agent-team doctor",
                text::line(why)
            ));
        }
    }
    if args.wait {
        if !output.is_json() {
            let of_goal = run.map(|run| text_of_goal(run, before.as_ref()));
            output.write(&(text_of(&answer, false) + &of_goal.unwrap_or_default()))?;
        }
        return match run {
            Some(run) => wait_for_answer(session, output, run, answer.revision, began).await,
            None => wait(session, output, answer.revision).await,
        };
    }
    output.show(&answer, || {
        let mut text = text_of(&answer, args.dry_run);
        if let Some(run) = run {
            text.push_str(&text_of_goal(run, before.as_ref()));
            for (what, command) in [
                ("watch it", CommandLine::AttachAny),
                ("read its answer", CommandLine::ShowGoal),
                ("cancel it", CommandLine::Cancel),
            ] {
                text.push_str(&format!("    {what:<16} {command}\n"));
            }
        }
        text
    })?;
    if args.web {
        return open_page(answer.team, session).await;
    }
    if !attaches || !caller::is_terminal() {
        return Ok(ExitCode::SUCCESS);
    }
    if answer.placement == Placement::Hosted {
        return single_terminal::run(session, output, None, false).await;
    }
    if !answer.placement.has_panes() {
        return Ok(ExitCode::SUCCESS);
    }
    match attach::whole_team(session, output).await {
        // tmux has no client, or the tab was closed. The team still runs.
        Err(Failure::Reported(report))
            if report.has_code(ErrorCode::NoPane) && caller::terminal().shows_panes() =>
        {
            output.note("the team runs in a separate window; show it with: agent-team attach");
            Ok(ExitCode::SUCCESS)
        }
        attached => attached,
    }
}

/// Refuses a goal for a team whose lead is absent or is not an agent. `members`: for each member, whether it is the
/// lead, and its engine.
pub(super) fn check_lead(members: impl Iterator<Item = (bool, Engine)>) -> Result<(), Failure> {
    let members: Vec<_> = members.collect();
    if let Some((_, engine)) = members.iter().find(|(leads, _)| *leads) {
        if engine.info().is_none_or(|info| info.may_lead) {
            return Ok(());
        }
        return Err(Failure::usage(LEAD_NOT_AGENT).hint(lead_not_agent_hint()));
    }
    let only_lines = members.iter().all(|(_, engine)| engine.runs_lines());
    let run = if only_lines { " --run \"…\"" } else { "" };
    let (up, add) = (CommandLine::Up, CommandLine::AddTask);
    Err(
        Failure::usage("cannot give a goal: the team has no lead").hint(format!(
            "run {up}, then add a task with {add}{run}; or add a [lead] table to the team file"
        )),
    )
}

/// The argument of [`check_lead`] for the members of a file.
pub(super) fn leads(spec: &TeamSpec) -> impl Iterator<Item = (bool, Engine)> {
    spec.members
        .iter()
        .map(|member| (member.lead, member.engine))
}

/// Refuses `--panes` with a placement that differs from the placement of a running team: `up` does not move members.
async fn check_placement(session: &mut Session, up: &Up) -> Result<(), Failure> {
    let would_be = Up {
        dry_run: true,
        ..up.clone()
    };
    let current = session.call::<TeamUp>(would_be).await?.placement;
    let wanted = up.spec.placement.info().placement;
    if wanted.is_none_or(|wanted| wanted == current) {
        return Ok(());
    }
    let text = format!(
        "cannot honour --panes: {} is already up, and its members run {}",
        up.spec.name,
        current.name()
    );
    Err(Failure::of(ErrorCode::TeamRunning, text)
        .hint("omit --panes, or stop the team first: agent-team down"))
}

/// Refuses to start members without a usable model, before anything is started.
pub(super) async fn check_models(session: &mut Session, up: &Up) -> Result<(), Failure> {
    let mut members = up.spec.members.iter();
    if !members.any(|member| member.engine.uses_model()) {
        return Ok(());
    }
    let would_be = Up {
        dry_run: true,
        ..up.clone()
    };
    let changes = session.call::<TeamUp>(would_be).await?.changes;
    let unusable = unusable_models(&up.spec, &up.environment, &changes);
    let Some((names, why)) = unusable.into_iter().next() else {
        return Ok(());
    };
    let mut lines = why.lines();
    let first = lines.next().unwrap_or_default();
    let message = format!("cannot start {names}: {first}");
    Err(Failure::new("no_model", exit::ExitCode::NotFound, message)
        .details(lines)
        .hint(
            "nothing was started; choose a model with: agent-team config set model PROVIDER/MODEL",
        ))
}

/// The members that start without a usable model: their names, and the reason for a display with several lines.
fn unusable_models(
    spec: &TeamSpec,
    environment: &BTreeMap<String, String>,
    changes: &[Change],
) -> Vec<(String, String)> {
    let starts = |member: &&MemberSpec| {
        let what = format!("member {}", member.name);
        changes.iter().any(|change| {
            let is_start = matches!(change.change, ChangeKind::Started | ChangeKind::Restarted);
            is_start && change.what == what
        })
    };
    let groups = model::Alike::groups(spec.members.iter().filter(starts)).into_iter();
    let unusable = groups.filter_map(|group| {
        let why = group.explain(environment.clone()).err()?;
        Some((group.names(), why))
    });
    unusable.collect()
}

/// Waits until the run of the goal ends. The team stays up.
async fn wait_for_answer(
    mut session: Session,
    output: Output,
    run: RunId,
    after: Revision,
    began: Instant,
) -> Result<ExitCode, Failure> {
    let Some(mut ended) = goal::wait(&mut session, output, run, after, began).await? else {
        return Ok(interrupted(output));
    };
    audit::fill_denied(&mut ended.result, &session, output, after).await;
    goal::mark_answer_read(&mut session, &ended.result).await;
    goal::show(&ended, output)?;
    Ok(match goal::is_answered(&ended.result) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn interrupted(output: Output) -> ExitCode {
    output.note("stopped waiting; the team keeps running. Stop it with: agent-team down");
    ExitCode::from(waiting::INTERRUPTED)
}

/// Waits until no task is runnable. `after` is the revision after `up`.
async fn wait(mut session: Session, output: Output, after: Revision) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let waiter = session.separate();
    let quiet = session.wait_for::<TeamWait>(Nothing {});
    let (answer, tasks) = match waiting::until(&waiter, output, after, quiet).await? {
        WaitOutcome::Ended { answer, tasks } => (answer, tasks),
        WaitOutcome::Interrupted => return Ok(interrupted(output)),
    };
    let (team, members) = (answer.team, answer.members);
    let total_ms = waiting::elapsed_ms(began);
    let mut result = RunResult::of_board(team, answer.outcome, members, tasks, total_ms);
    audit::fill_denied(&mut result, &session, output, after).await;
    output.show(&result, || {
        let table = if result.tasks.is_empty() {
            String::new()
        } else {
            task::table(&result.tasks)
        };
        format!("{table}{}\n", summary(&result))
    })?;
    if let Some(denied) = goal::denied(&result.denied) {
        output.note(&denied);
    }
    for task in &result.tasks {
        if let Some(why) = task::unclaimable(task, &result.members) {
            output.note(&text::line(&why));
        }
    }
    Ok(match result.outcome {
        WaitResult::Completed => ExitCode::SUCCESS,
        WaitResult::Failed => ExitCode::FAILURE,
    })
}

/// `3 completed, 1200 tokens; waited 2 s`: the whole board, and the duration of the wait.
fn summary(result: &RunResult<WaitResult>) -> String {
    let counts = task::counts(task::count(&result.tasks));
    let waited = duration(result.durations.total_ms);
    let usage: Usage = result.members.iter().map(|member| member.usage).sum();
    let spent = usage::sentence(&usage).map(|spent| format!(", {spent}"));
    format!("{counts}{}; waited {waited}", spent.unwrap_or_default())
}

/// The environment of the members: the environment of the command, with the variables of `--env` added. Also returns
/// the names of these variables.
pub(super) fn environment(
    output: Output,
    typed: &[String],
) -> Result<(BTreeMap<String, String>, BTreeSet<String>), Failure> {
    let (mut environment, lost) = caller::environment();
    if !lost.is_empty() {
        let names: Vec<_> = lost.iter().map(|name| text::line(name)).collect();
        output.note(&format!(
            "note: not passed to the members, because they are not UTF-8: {}",
            names.join(", ")
        ));
    }
    let mut named = BTreeSet::new();
    for typed in typed {
        let name = match typed.split_once('=') {
            Some((name, value)) => {
                agent_team_file::check_variable(name, value).map_err(Failure::usage)?;
                environment.insert(name.to_owned(), value.to_owned());
                name
            }
            None if environment.contains_key(typed) => typed,
            None => {
                return Err(
                    Failure::usage(format!("environment variable {typed:?} is not set"))
                        .hint("write --env NAME=VALUE, or set the variable"),
                );
            }
        };
        named.insert(name.to_owned());
    }
    Ok((environment, named))
}

/// The secrets of `--secret`, from the environment or from files.
pub(super) fn secrets(typed: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    typed
        .iter()
        .map(|typed| {
            let (name, value) = match typed.split_once('=') {
                Some((name, file)) => (name, secret_from_file(name, file)?),
                None => (typed.as_str(), secret_from_environment(typed)?),
            };
            agent_team_file::check_variable(name, &value).map_err(Failure::usage)?;
            if value.len() < SECRET_MIN {
                return Err(Failure::usage(format!(
                    "cannot hide secret {name}: it is shorter than {SECRET_MIN} bytes"
                ))
                .hint("pass it with --env if models and logs may see it"));
            }
            Ok((name.to_owned(), value))
        })
        .collect()
}

fn secret_from_environment(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|error| {
        Failure::usage(format!("cannot read secret {name} from the environment"))
            .because(&error)
            .hint("set the variable, or write --secret NAME=FILE")
    })
}

/// Reads a secret from a private file, without the newline at its end, which editors add.
fn secret_from_file(name: &str, file: &str) -> Result<String, Failure> {
    let refused = || Failure::usage(format!("cannot read secret {name} from its file"));
    let bytes = private_file::read(file.as_ref()).map_err(|error| {
        refused()
            .because(&error)
            .hint(format!("make the file private: chmod 600 {file}"))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| refused().hint(format!("{file} is not UTF-8 text")))?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
}

/// The `--var` arguments: values of `{{name}}` in prompts.
fn variables(typed: &[String]) -> Result<Variables, Failure> {
    let pair = |pair: &String| match pair.split_once('=') {
        Some((name, value)) if agent_team_file::is_variable(name) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        Some(_) | None => Err(
            Failure::usage(format!("cannot read --var {pair:?}: it is not K=V"))
                .hint("write --var NAME=VALUE; a name has letters, digits, - and _"),
        ),
    };
    typed.iter().map(pair).collect()
}

/// The desired state of the team: from its file, or the default team for a goal without a file.
async fn load_spec(
    global: &Global,
    output: Output,
    args: &args::Start,
    for_goal: bool,
) -> Result<TeamSpec, Failure> {
    let loaded = load(global, args, for_goal).await?;
    if for_goal {
        check_lead(leads(&loaded.spec))?;
    }
    trusted_spec(output, loaded, args)
}

/// Reads the team file, or builds the default team. Does not check trust.
pub(super) async fn load(
    global: &Global,
    args: &args::Start,
    for_goal: bool,
) -> Result<Loaded, Failure> {
    let variables = variables(&args.var)?;
    load_with(global, args, for_goal, &variables).await
}

/// The desired state of a loaded team. Prints the warnings, checks the user's trust, and applies the flags that
/// override the team file.
pub(super) fn trusted_spec(
    output: Output,
    loaded: Loaded,
    args: &args::Start,
) -> Result<TeamSpec, Failure> {
    let Loaded {
        mut spec,
        warnings,
        required_trust,
        ..
    } = loaded;
    for warning in &warnings {
        output.note(&text::line(&format!("warning: {warning}")));
    }
    for warning in unused_commands(&spec) {
        output.note(&text::line(&warning));
    }
    let team = TeamId::new(&spec.name, &spec.project);
    trust::check(
        output,
        required_trust.as_ref(),
        &team,
        args.trust.as_deref(),
    )?;
    if let Some(mode) = args.mode() {
        spec.permission_defaults.mode = mode;
    }
    let record = args.record.as_ref().map(std::path::absolute).transpose();
    let record = record.map_err(|error| Failure::io("cannot use the file of --record", &error))?;
    let bypass = spec.permission_defaults.mode == Mode::Bypass;
    let members = spec.members.iter_mut().map(|member| &mut member.agent);
    for agent in members.chain(spec.roles.iter_mut().map(|role| &mut role.agent)) {
        agent.bypass = bypass;
        agent.record = record.clone();
        agent.effort = args.effort.or(agent.effort);
    }
    Ok(spec)
}

/// Warnings about command files that have the name of a verb.
fn unused_commands(spec: &TeamSpec) -> BTreeSet<String> {
    let of_members = spec.members.iter().map(|member| &member.agent);
    let of_roles = spec.roles.iter().map(|role| &role.agent);
    let commands = of_members.chain(of_roles).flat_map(|agent| &agent.commands);
    let unused = commands.filter(|command| is_prompt_verb(&command.name));
    let warning = |command: &CommandFile| {
        let path = &command.file.path;
        let path = path.strip_prefix(&spec.project).unwrap_or(path);
        let name = &command.name;
        format!(
            "warning: {}: cannot use the command: /{name} is a command of agent-team; rename the file",
            path.display()
        )
    };
    unused.map(warning).collect()
}

async fn load_with(
    global: &Global,
    args: &args::Start,
    for_goal: bool,
    variables: &Variables,
) -> Result<Loaded, Failure> {
    let here = caller::current_directory()?;
    let directories = Directories::from_environment()?;
    let reading = Reading {
        here: &here,
        settings: Some(&directories.config),
        variables: Some(variables),
        overrides: None,
    };
    let named = args.file.as_deref().map(|file| here.join(file));
    let file = named.or_else(|| agent_team_file::find(&here));
    let engine = args.engine.as_deref().map(leading_engine).transpose()?;
    if file.is_none() && for_goal && global.team.is_none() {
        let workers = args.number.unwrap_or(DEFAULT_WORKERS);
        return Ok(agent_team_file::of_workers(workers, engine, reading)?);
    }
    if engine.is_some() {
        return Err(Failure::usage(
            "cannot use --engine: it needs a goal and a project without a team file",
        )
        .hint(
            "set `engine` in the team file, or add a member with: agent-team spawn worker --engine",
        ));
    }
    if args.number.is_some() {
        return Err(Failure::usage(
            "cannot use -n: it needs a goal and a project without a team file",
        )
        .hint("add or remove members in the team file"));
    }
    let Some(name) = &global.team else {
        let file = file.ok_or_else(no_file_here)?;
        return Ok(agent_team_file::load(&file, reading)?);
    };
    if let Some(file) = &file {
        let loaded = agent_team_file::load(file, reading)?;
        let spec = &loaded.spec;
        let id = TeamId::new(&spec.name, &spec.project);
        if [spec.name.as_str(), id.as_str()].contains(&name.as_str()) {
            return Ok(loaded);
        }
    }
    // A team of another project: the supervisor knows it if it was up before.
    let file = known_file(global, name).await?;
    Ok(agent_team_file::load(&file, reading)?)
}

/// The call that starts a team for another program, which gives no options: the members get the environment of the
/// command.
pub(super) async fn of_spec(spec: TeamSpec) -> Result<Up, Failure> {
    mode::check_sandbox(spec.permission_defaults.mode).await?;
    let environment = caller::environment_of_program();
    prices::check(&spec, &environment)?;
    Ok(Up {
        spec,
        environment,
        named: BTreeSet::new(),
        secrets: BTreeMap::new(),
        terminal: caller::terminal(),
        dry_run: false,
        fresh: false,
    })
}

/// The engine of a generated team, in which one member leads.
fn leading_engine(word: &str) -> Result<&str, Failure> {
    let engine = spawn::known_engine(word)?;
    let leads = engine.info().is_some_and(|info| info.may_lead) && engine != Engine::Joined;
    match leads {
        true => Ok(word),
        false => Err(Failure::usage(format!(
            "cannot use --engine {word}: a member with this engine cannot lead a team"
        ))
        .hint("use native or the agent of a vendor, such as claude; or write a team file with: agent-team init")),
    }
}

fn no_file_here() -> Failure {
    error::no_team_file("no .agent-team/team.toml in this directory or a parent")
}

/// The team file of the team with this name or id, in any project.
pub(super) async fn known_file(global: &Global, name: &str) -> Result<PathBuf, Failure> {
    let directory = known_team(global, name)
        .await?
        .project
        .join(agent_team_file::DIRECTORY);
    Ok(directory.join(agent_team_file::FILE))
}

/// The team with this name or id, in any project.
pub(super) async fn known_team(global: &Global, name: &str) -> Result<TeamEntry, Failure> {
    let teams = global.session()?.query::<TeamList>(Nothing {}).await?.teams;
    let is_meant = |team: &&TeamEntry| [team.name.as_str(), team.team.as_str()].contains(&name);
    let meant: Vec<_> = teams.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [team] => Ok((*team).clone()),
        [] => Err(
            Failure::of(ErrorCode::UnknownTeam, format!("unknown team {name:?}"))
                .hint("run agent-team team list, or change to the directory of its project"),
        ),
        several => {
            let ids: Vec<_> = several.iter().map(|team| team.team.as_str()).collect();
            Err(Failure::of(
                ErrorCode::AmbiguousTeam,
                format!("ambiguous team {name:?}: several projects have a team with this name"),
            )
            .hint(format!("choose one with -t: {}", ids.join(", "))))
        }
    }
}

/// The run that has started, and the run before it.
fn text_of_goal(run: RunId, before: Option<&GoalView>) -> String {
    let started = format!("  {run}: the lead has the goal\n");
    let Some(before) = before else { return started };
    let goal = text::line(&before.goal);
    match before.state {
        RunState::UnderWay => format!(
            "  {} is abandoned, because no member worked on it: {goal}\n{started}",
            before.run
        ),
        RunState::Finished
        | RunState::MaxRounds
        | RunState::Failed
        | RunState::Cancelled
        | RunState::Abandoned
        | RunState::Unknown => format!(
            "  {} has ended ({}): {goal}\n{started}",
            before.run,
            before.headline()
        ),
    }
}

/// The placement with its reason, and the changes that `up` made or would make.
fn text_of(answer: &UpAnswer, dry_run: bool) -> String {
    let verb = if dry_run { "would run" } else { "runs" };
    let (placement, reason) = (
        answer.placement.name(),
        text::line(&answer.placement_reason),
    );
    let mut text = format!("{} {verb} {placement}: {reason}\n", answer.team);
    if answer.changes.is_empty() {
        text.push_str("  no changes: the team matches its file\n");
    }
    for change in &answer.changes {
        let (done, infinitive, style) = match change.change {
            ChangeKind::Started => ("started", "start", GOOD),
            ChangeKind::Restarted => ("restarted", "restart", BUSY),
            ChangeKind::Stopped => ("stopped", "stop", BUSY),
            ChangeKind::Added => ("added", "add", GOOD),
            ChangeKind::Updated => ("updated", "update", BUSY),
            ChangeKind::Retried => ("retried", "retry", GOOD),
            ChangeKind::Cancelled => ("cancelled", "cancel", BUSY),
            ChangeKind::Left => ("left", "leave", Style::DIM),
            ChangeKind::Unknown => ("changed", "change", Style::PLAIN),
        };
        let word = match dry_run {
            true => format!("{:<13}", format!("would {infinitive}")),
            false => format!("{done:<9}"),
        };
        let note = change
            .note
            .as_deref()
            .map(|note| format!(": {}", text::line(note)))
            .unwrap_or_default();
        text.push_str(&format!(
            "  {} {}{note}\n",
            paint(style, word),
            text::line(&change.what)
        ));
    }
    text
}
