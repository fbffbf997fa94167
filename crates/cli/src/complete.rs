//! The candidates for values of arguments when a shell completes them: members, tasks, requests, roles and teams of the
//! running supervisor. Used by the clap definition; `verb/completions.rs` answers the shell.
//!
//! Completion must change nothing and must not block the shell: without a running supervisor these candidates are
//! missing, an error prints nothing, and a slow query is abandoned.

use std::time::Duration;

use agent_team_client::{Session, SessionError};
use agent_team_protocol::method::{Nothing, RequestList, TeamList, TeamShow};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::ListRequests;
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::text::visible_label;
use agent_team_protocol::view::{MemberView, TaskState};
use agent_team_system::directories::Directories;
use agent_team_system::notes::Notes;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::output::request::action_line;

/// Timeout of a completion query.
const TIMEOUT: Duration = Duration::from_millis(300);

/// The name by which each lead receives messages.
const LEAD: &str = "lead";

/// Maximum length of a description, in characters.
const HELP_WIDTH: usize = 60;

pub(crate) fn members() -> ArgValueCandidates {
    members_and(&[])
}

/// Members, `lead` in a team that has a lead, and `all`.
pub(crate) fn recipients() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let members = team_members();
        let lead = members.iter().find(|member| member.lead);
        let lead = lead.filter(|lead| lead.name.as_str() != LEAD).map(|_| LEAD);
        let mut candidates: Vec<_> = members.into_iter().map(of_member).collect();
        let special = lead.into_iter().chain(["all"]);
        candidates.extend(special.map(CompletionCandidate::new));
        candidates
    })
}

/// Members, and names with a special meaning.
pub(crate) fn members_and(special: &'static [&'static str]) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let mut candidates = member_candidates();
        candidates.extend(special.iter().map(CompletionCandidate::new));
        candidates
    })
}

/// Tasks in these states.
pub(crate) fn tasks(wanted: fn(TaskState) -> bool) -> ArgValueCandidates {
    ArgValueCandidates::new(move || task_candidates(wanted))
}

pub(crate) fn members_and_tasks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let mut candidates = member_candidates();
        candidates.extend(task_candidates(|_| true));
        candidates
    })
}

fn member_candidates() -> Vec<CompletionCandidate> {
    team_members().into_iter().map(of_member).collect()
}

fn team_members() -> Vec<MemberView> {
    let team = answer_of(async |session| session.query::<TeamShow>(Nothing {}).await);
    team.map(|team| team.members).unwrap_or_default()
}

fn of_member(member: MemberView) -> CompletionCandidate {
    candidate(member.name, member.role.as_str())
}

fn task_candidates(wanted: fn(TaskState) -> bool) -> Vec<CompletionCandidate> {
    let board = answer_of(async |session| session.board().await);
    let tasks = board
        .into_iter()
        .flatten()
        .filter(|task| wanted(task.state));
    tasks.map(|task| candidate(task.id, &task.title)).collect()
}

/// Pending requests.
pub(crate) fn requests() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let list = ListRequests { all: false };
        let pending = answer_of(async |session| session.query::<RequestList>(list).await);
        let requests = pending.into_iter().flat_map(|answer| answer.requests);
        requests
            .map(|request| {
                candidate(
                    request.id,
                    &format!("{}: {}", request.member, action_line(&request)),
                )
            })
            .collect()
    })
}

pub(crate) fn roles() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let team = answer_of(async |session| session.query::<TeamShow>(Nothing {}).await);
        let roles = team.into_iter().flat_map(|team| team.roles);
        roles
            .map(|role| candidate(role.name, &role.description))
            .collect()
    })
}

pub(crate) fn teams() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let answer = answer_of(async |session| session.query::<TeamList>(Nothing {}).await);
        let teams = answer.into_iter().flat_map(|answer| answer.teams);
        teams
            .map(|team| candidate(team.name, &team.project.to_string_lossy()))
            .collect()
    })
}

/// The user's notes, and the notes of the project of the current directory.
pub(crate) fn notes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let here = std::env::current_dir().and_then(|here| here.canonicalize());
        let (Ok(here), Ok(directories)) = (here, Directories::from_environment()) else {
            return Vec::new();
        };
        let mut above = here.ancestors();
        let project = above.find(|directory| directory.join(agent_team_file::DIRECTORY).is_dir());
        let notes = Notes::new(&directories, None, project.unwrap_or(&here));
        let names = notes.all_names().into_iter();
        names
            .map(|name| CompletionCandidate::new(name.to_string()))
            .collect()
    })
}

pub(crate) fn modes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = Mode::NAMES.iter().map(|(name, _)| *name);
        names.map(CompletionCandidate::new).collect()
    })
}

fn candidate(value: impl ToString, help: &str) -> CompletionCandidate {
    let help = visible_label(help, HELP_WIDTH);
    CompletionCandidate::new(value.to_string()).help((!help.is_empty()).then(|| help.into()))
}

/// The answer of the running supervisor; `None` when no supervisor runs, when it refuses the query, or after
/// [`TIMEOUT`].
fn answer_of<T>(query: impl AsyncFnOnce(&mut Session) -> Result<T, SessionError>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.ok()?.block_on(async {
        let answer = async {
            let mut session = Session::of_running(Some(team()?)).await.ok()??;
            query(&mut session).await.ok()
        };
        tokio::time::timeout(TIMEOUT, answer).await.ok()?
    })
}

/// The team of the command line that is being completed: the team that `--team` names, or else the team of the current
/// directory.
fn team() -> Option<TeamRef> {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let mut words = words.skip_while(|word| word != "--").skip(1);
    while let Some(word) = words.next() {
        let name = match word.as_str() {
            "-t" | "--team" => words.next(),
            _ => word.strip_prefix("--team=").map(str::to_owned),
        };
        if let Some(name) = name {
            return Some(TeamRef::Name(name));
        }
    }
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.ok().map(TeamRef::Directory)
}
