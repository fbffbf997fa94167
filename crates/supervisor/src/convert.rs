//! Converts between the types of the core, the wire and the operating system. Called by the server and the drivers.
//! Contains the hints for the core's refusals.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_team_core::input::{After, SpawnSpec, TaskChanges, TurnProgress, UpSpec};
use agent_team_core::mode::Modes;
use agent_team_core::refusal::{Oversized, StateName};
use agent_team_core::round;
use agent_team_core::spec::{self as core_spec, ClaimableTasks, FileTask};
use agent_team_core::{Origin, Refused, Team};
use agent_team_protocol::command_line::{CommandLine, lead_not_agent_hint};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::external;
use agent_team_protocol::method::{self, Spawn};
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::spec::{
    self, AgentSpec, ClaimPolicy, Colour, ExternalAgent, MemberSpec, RoleSpec, Strategy, TaskSpec,
    TeamSpec,
};
use agent_team_protocol::value::ProcessStamp;
use agent_team_protocol::{ErrorCode, MemberName, Refusal, RoleName, TaskId};
use agent_team_providers::ModelName;
use agent_team_system::process::ProcessId;
use serde_json::{Map, Value};

use crate::parsed_settings::{ParsedSettings, Unreadable};
use crate::permission;
use crate::settings::{self, MemberSettings, TeamPlacement, TeamSettings, to_json};

/// The desired team for the core. A member without a colour keeps its current colour, or gets a colour that no member
/// uses; when all colours are in use, they repeat.
pub(crate) fn up_spec(spec: TeamSpec, team_placement: TeamPlacement, team: &Team) -> UpSpec {
    let mut taken: BTreeSet<Colour> = team
        .members()
        .map(|member| settings::colour(&member.spec))
        .collect();
    taken.extend(spec.members.iter().filter_map(|member| member.colour));
    let strategy = strategy(&spec.members);
    let requests_expire_ms = permission::expiry(&spec);
    let members = spec
        .members
        .into_iter()
        .map(|member| {
            let colour = member
                .colour
                .unwrap_or_else(|| match team.member(&member.name) {
                    Some(known) => settings::colour(&known.spec),
                    None => free_colour(&mut taken),
                });
            member_spec(member, colour)
        })
        .collect();
    let hooks = spec.hooks;
    UpSpec {
        team: core_spec::TeamSpec {
            teammates: spec.limits.teammates,
            starting: spec.limits.starting,
            budget: spec.limits.budget,
            asks_before_completing: hooks.task_completed.is_some(),
            asks_when_idle: hooks.teammate_idle.is_some(),
            strategy,
            modes: Modes::default(),
            requests_expire_ms,
            settings: to_json(&TeamSettings {
                team_placement,
                layout: spec.layout,
                hooks,
                notify: spec.notify,
                permissions: spec.permissions,
                own_permissions: spec.own_permissions,
                permission_defaults: spec.permission_defaults,
                roles: spec.roles,
                trusted: spec.trusted,
                protected: spec.protected,
            }),
        },
        members,
        tasks: spec.tasks.into_iter().map(file_task).collect(),
    }
}

/// The lead's strategy. With `collaborate`, the other members work in the order of the team file.
fn strategy(members: &[MemberSpec]) -> round::Strategy {
    let lead = members.iter().find(|member| member.lead);
    match lead.and_then(|lead| lead.agent.strategy.as_ref()) {
        None => round::Strategy::Lead,
        Some(Strategy::Coordinator { max_rounds, .. }) => round::Strategy::Coordinator {
            max_rounds: *max_rounds,
        },
        Some(Strategy::Collaborate) => {
            let others = members.iter().filter(|member| !member.lead);
            round::Strategy::Collaborate {
                order: others.map(|member| member.name.clone()).collect(),
            }
        }
    }
}

fn free_colour(taken: &mut BTreeSet<Colour>) -> Colour {
    let free = Colour::PALETTE
        .into_iter()
        .find(|colour| !taken.contains(colour));
    let colour = free.unwrap_or(Colour::PALETTE[taken.len() % Colour::PALETTE.len()]);
    taken.insert(colour);
    colour
}

fn member_spec(spec: MemberSpec, colour: Colour) -> core_spec::MemberSpec {
    core_spec::MemberSpec {
        name: spec.name,
        role: spec.role,
        lead: spec.lead,
        claimable: claimable(spec.engine, spec.claim),
        foreign: spec.engine.info().is_some_and(|info| info.foreign),
        by_hand: false,
        must_plan: spec.agent.must_plan && spec.engine.uses_model(),
        settings: to_json(&MemberSettings {
            engine: spec.engine,
            cwd: spec.cwd,
            env: spec.env,
            headless: spec.placement == Some(PlacementChoice::Headless),
            hosted: spec.placement == Some(PlacementChoice::Hosted),
            agent: spec.agent,
        }),
        colour: colour.name().into(),
        budget: spec.engine.has_budget().then_some(spec.budget),
    }
}

fn claimable(engine: Engine, claim: ClaimPolicy) -> ClaimableTasks {
    ClaimableTasks {
        unassigned: claim == ClaimPolicy::Ready,
        without_run: engine.info().is_some_and(|info| !info.runs_lines),
        nothing: engine.shows_program(),
    }
}

/// Refuses engines that this version does not have, before anything is changed.
pub(crate) fn check_engines(spec: &TeamSpec) -> Result<(), Refusal> {
    let members = spec.members.iter().map(|it| (it.name.as_str(), it.engine));
    let roles = spec.roles.iter().map(|it| (it.name.as_str(), it.engine));
    members
        .chain(roles)
        .try_for_each(|(name, engine)| check_engine(name, engine))
}

fn check_engine(name: &str, engine: Engine) -> Result<(), Refusal> {
    if engine.info().is_some() {
        return Ok(());
    }
    let text = format!("cannot run {name}: this supervisor does not have its engine");
    Err(Refusal::new(ErrorCode::NotCarriedOut, text).hint(format!(
        "start the installed version with: {}",
        CommandLine::RestartSupervisor
    )))
}

/// The agent of a spawned member: the role's agent, changed by the call. The prompt of the call follows the role's
/// prompt. If the role limits the tools, the call can only remove tools from that list. A model in the call also
/// drops the role's fallbacks.
fn spawned_agent(
    role: AgentSpec,
    model: Option<String>,
    prompt: Option<String>,
    tools: Option<Vec<String>>,
) -> AgentSpec {
    let tools = match (role.tools, tools) {
        (Some(may), Some(wanted)) => Some(
            spec::with_parts(&wanted)
                .into_iter()
                .filter(|tool| may.contains(tool))
                .collect(),
        ),
        (None, Some(wanted)) => Some(spec::with_parts(&wanted)),
        (tools, None) => tools,
    };
    let prompt = match prompt {
        Some(own) if role.prompt.is_empty() => own,
        Some(own) => format!("{}\n\n{own}", role.prompt),
        None => role.prompt,
    };
    let fallbacks = match model {
        Some(_) => Vec::new(),
        None => role.fallbacks,
    };
    AgentSpec {
        model: model.or(role.model),
        fallbacks,
        prompt,
        tools,
        ..role
    }
}

/// Checks `may_spawn` of the spawning member.
pub(crate) fn check_may_spawn(
    member: &MemberName,
    role: &RoleName,
    settings: &ParsedSettings,
) -> Result<(), Refusal> {
    let settings = settings.member(member);
    let settings = settings.map_err(|unreadable| unreadable.refusal())?;
    let Some(may) = &settings.agent.may_spawn else {
        return Ok(());
    };
    if may.contains(role) {
        return Ok(());
    }
    let text = if may.is_empty() {
        format!("{member} may not spawn members")
    } else {
        let names: Vec<_> = may.iter().map(RoleName::as_str).collect();
        format!(
            "{member} may not spawn the role {role}, only {}",
            names.join(", ")
        )
    };
    Err(Refusal::new(ErrorCode::NotPermitted, text)
        .hint("change `may_spawn` in the team file, or let the user spawn the member"))
}

/// The role that a spawned member has by default. A team need not define it.
const DEFAULT_ROLE: &str = "worker";

/// Refuses a role unless the team defines it, a member has it, or it is [`DEFAULT_ROLE`].
pub(crate) fn check_known_role(
    role: &RoleName,
    team: &Team,
    settings: &ParsedSettings,
) -> Result<(), Refusal> {
    let rules = settings.rules().map_err(Unreadable::refusal)?;
    let roles = rules.map_or(&[][..], |rules| &rules.settings.roles);
    let mut known: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    known.extend(team.members().map(|member| member.spec.role.as_str()));
    known.push(DEFAULT_ROLE);
    if known.contains(&role.as_str()) {
        return Ok(());
    }
    known.sort_unstable();
    known.dedup();
    Err(unknown_role(role, &known))
}

fn unknown_role(role: &RoleName, known: &[&str]) -> Refusal {
    let similar = did_you_mean(role.as_str(), known.iter().copied());
    Refusal::new(ErrorCode::UnknownRole, format!("there is no role {role}"))
        .hint(similar.unwrap_or_else(|| format!("roles of this team: {}", known.join(", "))))
}

/// A hint that names the known name with the smallest edit distance, if that distance is small: at most a third of the
/// known name's length, but 1 for a name of two to five bytes.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = |known: &str| 1.max(known.len() / 3).min(known.len().saturating_sub(1));
    known
        .filter(|known| known.len().abs_diff(name.len()) <= limit(known))
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= limit(known))
        .min()
        .map(|(_, similar)| format!("did you mean `{similar}`?"))
}

/// The desired state of a spawned member, built from its role and the call.
pub(crate) fn spawn_spec(
    spawn: Spawn,
    by: &Origin,
    project: &Path,
    team: &Team,
    settings: &ParsedSettings,
) -> Result<SpawnSpec, Refusal> {
    let rules = settings.rules().map_err(Unreadable::refusal)?;
    let roles = rules.map_or(&[][..], |rules| &rules.settings.roles);
    let role = match roles.iter().find(|role| role.name == spawn.role) {
        Some(role) => role.clone(),
        None if spawn.role.as_str() == DEFAULT_ROLE => RoleSpec {
            name: spawn.role.clone(),
            description: String::new(),
            engine: Engine::Command,
            colour: None,
            agent: AgentSpec::default(),
        },
        None => {
            let mut names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
            if names.is_empty() {
                names.push(DEFAULT_ROLE);
            }
            return Err(unknown_role(&spawn.role, &names));
        }
    };
    let model = spawn.model.as_deref().map(str::parse::<ModelName>);
    let model = model.transpose().map_err(|error| {
        let text = format!("{error}");
        Refusal::new(ErrorCode::Invalid, text)
    })?;
    let model = model.map(|model| model.to_string());
    let mut taken = team
        .members()
        .map(|member| settings::colour(&member.spec))
        .collect();
    let external = spawn.external.as_deref();
    let external = external.map(|word| external_agent(word, by)).transpose()?;
    let engine = match external {
        Some(_) => Engine::External,
        None => spawn.engine.unwrap_or(role.engine),
    };
    check_engine(spawn.role.as_str(), engine)?;
    if engine.is_external() {
        check_native_arguments(&spawn)?;
    }
    if spawn.must_plan && !engine.is_agent() {
        let text = format!("a member with the {} engine cannot plan", engine.name());
        return Err(
            Refusal::new(ErrorCode::Invalid, text).hint("spawn a role with the native engine")
        );
    }
    if let Some(tools) = &spawn.tools {
        check_tools(tools, engine)?;
    }
    let cwd = match &spawn.cwd {
        Some(cwd) => working_directory(project, cwd, by)?,
        None => project.to_owned(),
    };
    let colour = role.colour.unwrap_or_else(|| free_colour(&mut taken));
    let spec = MemberSpec {
        // The core does not use this name: see `SpawnSpec`.
        name: "unnamed".parse().expect("a plain word is a name"),
        role: role.name.clone(),
        lead: false,
        engine,
        colour: Some(colour),
        cwd,
        env: Default::default(),
        claim: ClaimPolicy::default_of(engine, false),
        placement: spawn.placement,
        budget: spec::Budget::default(),
        agent: AgentSpec {
            must_plan: role.agent.must_plan || spawn.must_plan,
            effort: spawn.effort.or(role.agent.effort),
            external: external.or_else(|| role.agent.external.clone()),
            ..spawned_agent(role.agent, model, spawn.prompt, spawn.tools)
        },
    };
    Ok(SpawnSpec {
        name: spawn.name,
        role: role.name,
        like: member_spec(spec, colour),
    })
}

/// The known external agent that the user has named.
fn external_agent(word: &str, by: &Origin) -> Result<ExternalAgent, Refusal> {
    if let Origin::Member { .. } = by {
        let text = "only the user can choose the agent of a spawned member";
        return Err(Refusal::new(ErrorCode::NotPermitted, text));
    }
    external::selected(word).ok_or_else(|| {
        let words: Vec<_> = external::engine_words().collect();
        Refusal::new(
            ErrorCode::Invalid,
            format!("unknown external agent {word:?}"),
        )
        .hint(format!("known agents: {}", words.join(", ")))
    })
}

/// Refuses arguments that an external agent would ignore.
fn check_native_arguments(spawn: &Spawn) -> Result<(), Refusal> {
    let native = [
        ("a plan", spawn.must_plan),
        ("tools", spawn.tools.is_some()),
        ("a model", spawn.model.is_some()),
        ("an effort", spawn.effort.is_some()),
    ];
    let Some((what, _)) = native.iter().find(|(_, is_set)| *is_set) else {
        return Ok(());
    };
    let text = format!(
        "cannot set {what} for an agent of another vendor: it applies to native agents only"
    );
    Err(Refusal::new(ErrorCode::Invalid, text).hint("spawn a role with the native engine"))
}

fn check_tools(tools: &[String], engine: Engine) -> Result<(), Refusal> {
    if !engine.is_agent() {
        let text = format!("a member with the {} engine has no tools", engine.name());
        return Err(
            Refusal::new(ErrorCode::Invalid, text).hint("spawn a role with the native engine")
        );
    }
    let Some(unknown) = tools.iter().find(|tool| !spec::is_tool(tool)) else {
        return Ok(());
    };
    Err(
        Refusal::new(ErrorCode::Invalid, format!("unknown tool {unknown:?}"))
            .hint(format!("known tools: {}", spec::TOOLS.join(", "))),
    )
}

/// The working directory of a spawned member. A member can spawn members only inside the project.
fn working_directory(project: &Path, cwd: &Path, by: &Origin) -> Result<PathBuf, Refusal> {
    let path = project.join(cwd);
    let invalid = |why: String| {
        let text = format!(
            "cannot use {} as a working directory: {why}",
            path.display()
        );
        Refusal::new(ErrorCode::Invalid, text)
    };
    let found = path
        .canonicalize()
        .map_err(|error| invalid(error.to_string()))?;
    if !found.is_dir() {
        return Err(invalid("not a directory".to_owned()));
    }
    match by {
        Origin::Member { .. } if !found.starts_with(project) => {
            Err(invalid("it is outside the project directory".to_owned()))
        }
        Origin::Member { .. } | Origin::User => Ok(found),
    }
}

fn file_task(spec: TaskSpec) -> FileTask {
    let after = spec.after.iter().map(|key| key.as_str().into()).collect();
    FileTask {
        spec: core_spec::TaskSpec {
            from_file: true,
            ..task_spec(spec)
        },
        after,
    }
}

/// Converts a task except its dependencies, which [`after`] converts.
pub(crate) fn task_spec(spec: TaskSpec) -> core_spec::TaskSpec {
    let key = if spec.key.is_empty() {
        spec.title.as_str().into()
    } else {
        spec.key.into()
    };
    core_spec::TaskSpec {
        key,
        title: spec.title.into(),
        description: spec.description.into(),
        priority: spec.priority,
        labels: texts(spec.labels),
        after: Vec::new(),
        role: spec.role,
        assignee: spec.assignee,
        files: texts(spec.files),
        run: spec.run.map(Into::into),
        verify: spec.verify.map(Into::into),
        rerun: spec.rerun,
        active_form: spec.active_form.map(Into::into),
        metadata: spec.metadata.map(object),
        from_file: false,
    }
}

/// Converts the dependencies of a task: ids of tasks, and keys of tasks in the team file.
pub(crate) fn after(after: &[String]) -> Vec<After> {
    let dependency = |text: &String| match text.parse::<TaskId>() {
        Ok(id) => After::Task(id),
        Err(_) => After::Key(text.as_str().into()),
    };
    after.iter().map(dependency).collect()
}

pub(crate) fn task_changes(changes: method::TaskChanges) -> TaskChanges {
    let clears = |field| changes.clear.contains(&field);
    TaskChanges {
        title: changes.title.map(Into::into),
        description: changes.description.map(Into::into),
        priority: changes.priority,
        labels: changes.labels.map(texts),
        after: changes.after.as_deref().map(after),
        role: change(changes.role, clears(method::ClearField::Role)),
        assignee: change(changes.assignee, clears(method::ClearField::For)),
        files: changes.files.map(texts),
        run: change(changes.run.map(Into::into), clears(method::ClearField::Run)),
        verify: change(
            changes.verify.map(Into::into),
            clears(method::ClearField::Verify),
        ),
        rerun: changes.rerun,
        active_form: changes.active_form.map(Into::into),
        metadata: changes.metadata.map(object),
    }
}

/// A JSON object as text, the form that the core stores.
fn object(object: Map<String, Value>) -> Arc<str> {
    Value::Object(object).to_string().into()
}

/// The change of an optional field: `Some(None)` clears the field, `None` changes nothing.
fn change<T>(value: Option<T>, clears: bool) -> Option<Option<T>> {
    if clears { Some(None) } else { value.map(Some) }
}

/// Converts an addition to a member's transcript: the items, the messages read, the usage and the end of the turn.
pub(crate) fn turn_progress(append: method::AppendTranscript) -> Result<TurnProgress, Refusal> {
    let items: Vec<Arc<str>> = append.items.iter().map(|item| item.get().into()).collect();
    if let Some(long) = items.iter().find(|item| item.len() > method::ITEM_MAX) {
        let (bytes, limit) = (long.len(), method::ITEM_MAX);
        return Err(Refusal::new(
            ErrorCode::Invalid,
            format!("a transcript item has {bytes} bytes; the limit is {limit}"),
        ));
    }
    Ok(TurnProgress {
        items,
        read: append.read,
        spent: append.usage,
        changed: append.changed.into_iter().map(Into::into).collect(),
        failure: append
            .turn_end
            .as_ref()
            .and_then(|end| end.failure.as_deref().map(Into::into)),
        turn_end: append.turn_end.map(|end| end.report.into()),
    })
}

/// The form in which the journal stores a process.
pub(crate) fn stamp(process: ProcessId) -> ProcessStamp {
    let ProcessId { pid, start_time } = process;
    ProcessStamp { pid, start_time }
}

pub(crate) fn process(stamp: ProcessStamp) -> ProcessId {
    let ProcessStamp { pid, start_time } = stamp;
    ProcessId { pid, start_time }
}

fn texts(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Into::into).collect()
}

/// A refusal of the core for the wire, with its code and a hint.
pub(crate) fn refusal(refused: &Refused) -> Refusal {
    let code = match refused {
        Refused::UnknownMember(_) | Refused::NoLead => ErrorCode::UnknownMember,
        Refused::UnknownMessage(_) => ErrorCode::UnknownMessage,
        Refused::UnknownTask(_) => ErrorCode::UnknownTask,
        Refused::UnknownDependency { .. } => ErrorCode::UnknownDependency,
        Refused::Cycle(_) => ErrorCode::DependencyCycle,
        Refused::Duplicate { .. }
        | Refused::ReservedName(_)
        | Refused::LeadNotAgent
        | Refused::TwoLeads
        | Refused::NoTitle => ErrorCode::Invalid,
        Refused::TooLarge { what, .. } => match what {
            Oversized::Message | Oversized::MessageSummary => ErrorCode::MessageTooLarge,
            Oversized::Result => ErrorCode::ResultTooLarge,
            Oversized::Other(_) => ErrorCode::Invalid,
        },
        Refused::NoRecipient | Refused::WrongState { .. } | Refused::NotAsked(..) => {
            ErrorCode::WrongState
        }
        Refused::NameTaken(_) => ErrorCode::NameTaken,
        Refused::InTeamFile(_) => ErrorCode::WrongState,
        Refused::TooManyMembers { .. } => ErrorCode::TooManyMembers,
        Refused::InboxFull(_) => ErrorCode::InboxFull,
        Refused::AlreadyClaimed { .. } | Refused::HasClaim { .. } => ErrorCode::AlreadyClaimed,
        Refused::Blocked { .. } => ErrorCode::Blocked,
        Refused::StaleClaim { .. } => ErrorCode::StaleClaim,
        Refused::NotOwner { .. } => ErrorCode::NotOwner,
        Refused::NotClaimable { .. } | Refused::TakesNoTasks(_) => ErrorCode::NotClaimable,
        Refused::NothingToClaim => ErrorCode::NothingToClaim,
        Refused::CompletionRefused { .. } => ErrorCode::CompletionRefused,
        Refused::KeyReused(_) => ErrorCode::KeyReused,
        Refused::RunUnderWay { .. } => ErrorCode::RunUnderWay,
        Refused::NoRun => ErrorCode::NoRun,
        Refused::TasksOpen { .. } => ErrorCode::TasksOpen,
        Refused::MemoryFull(_) => ErrorCode::MemoryFull,
        Refused::NoBudget(_) => ErrorCode::WrongState,
        Refused::NotPermitted(_)
        | Refused::MemberOnly
        | Refused::LeadOnly(_)
        | Refused::UserOnly(_)
        | Refused::LineNotAllowed(_) => ErrorCode::NotPermitted,
        Refused::UnknownRequest(_) => ErrorCode::UnknownRequest,
        Refused::UnknownGrant(_) => ErrorCode::UnknownGrant,
        Refused::Decided { .. } => ErrorCode::AlreadyDecided,
        Refused::NotAllowed { .. } => ErrorCode::NotAllowed,
        Refused::RulesForOnce | Refused::ApprovedOnce | Refused::AlwaysWithoutRules => {
            ErrorCode::Invalid
        }
        Refused::PlanFirst => ErrorCode::PlanFirst,
        Refused::NeedsNoPlan(_) | Refused::NoTask(_) | Refused::NoStopRequest => {
            ErrorCode::WrongState
        }
        Refused::TooManyRequests(_) => ErrorCode::WrongState,
        Refused::StaleLaunch => ErrorCode::Unauthenticated,
        Refused::TeamStopping | Refused::MemberStopping(_) => ErrorCode::WrongState,
    };
    let refusal = Refusal::new(code, refused.to_string());
    match hint(refused) {
        Some(hint) => refusal.hint(hint),
        None => refusal,
    }
}

fn hint(refused: &Refused) -> Option<String> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most refusals need no hint")]
    Some(match refused {
        Refused::UnknownMember(_) => format!("list the members with: {}", CommandLine::Ps),
        Refused::NoLead => format!(
            "add a task with {}, or add a [lead] table to the team file and run: {}",
            CommandLine::AddTask,
            CommandLine::Up
        ),
        Refused::LeadNotAgent => lead_not_agent_hint(),
        Refused::UnknownMessage(_) => format!("list the messages with: {}", CommandLine::Messages),
        Refused::UnknownRequest(_) => format!("list pending requests with: {}", CommandLine::Requests),
        Refused::UnknownGrant(_) => format!("list the grants with: {}", CommandLine::ListRules),
        Refused::RulesForOnce => "use --for member or --for team, or omit --as".to_owned(),
        Refused::AlwaysWithoutRules => {
            format!("pass a rule with --as; see suggested rules with: {}", CommandLine::ShowAnyRequest)
        }
        Refused::LineNotAllowed(_) => {
            "use create_task, which requests permission; only the user may set a shell line without it".to_owned()
        }
        Refused::TakesNoTasks(_) => {
            "name a member with another engine, or omit the member".to_owned()
        }
        Refused::NoTask(_) => "use --for member, which is valid until the team goes down".to_owned(),
        Refused::ApprovedOnce => {
            "omit --for and --as: they do not apply to a plan, and later calls of the member still need permission"
                .to_owned()
        }
        Refused::UnknownTask(_) => format!("list the tasks with: {}", CommandLine::ListTasks),
        Refused::TooManyMembers { .. } => {
            "stop or remove a member, or raise limits.teammates in the team file".to_owned()
        }
        Refused::NameTaken(name) => format!(
            "start it again with {}; free the name of a spawned member with {}",
            CommandLine::Restart(name),
            CommandLine::RemoveMember(name)
        ),
        Refused::InTeamFile(name) => {
            format!("remove {name} from the team file and run: {}", CommandLine::Up)
        }
        Refused::InboxFull(name) => format!("try again when {name} has read some messages"),
        Refused::WrongState {
            task,
            state: StateName::InProgress,
            ..
        } => {
            format!("release it first with: {}", CommandLine::ReleaseTask(*task))
        }
        Refused::WrongState {
            task,
            state: StateName::Failed | StateName::Cancelled,
            ..
        } => {
            format!("retry it first with: {}", CommandLine::RetryTask(*task))
        }
        Refused::RunUnderWay { .. } => {
            format!(
                "read its state with {}, send a message with {}, or end it with {}",
                CommandLine::ShowGoal,
                CommandLine::SendLead,
                CommandLine::Cancel
            )
        }
        Refused::TasksOpen { .. } => {
            "wait for them, cancel them, or finish with `force` and report what is left open"
                .to_owned()
        }
        Refused::NoRecipient => format!("start the members with: {}", CommandLine::Up),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_role_needs_no_definition() {
        let (team, settings) = (Team::default(), ParsedSettings::default());
        let check = |role: &str| check_known_role(&role.parse().unwrap(), &team, &settings);
        check("worker").unwrap();
        assert_eq!(check("reviewer").unwrap_err().code, ErrorCode::UnknownRole);
    }
}
