//! The team of a session: its name follows from the user id and the session id, so it is the same after a restart of
//! the service, and two sessions never share a board, messages or conversations. All sessions work in the project of
//! the service.

use agent_team_protocol::goal::RunState;
use agent_team_protocol::method::{
    Nothing, RunShow, TaskList, TaskListAnswer, TeamList, TeamShow, TeamUp, Up,
};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::text::hex;
use agent_team_protocol::view::{TaskView, TeamState, TeamView};
use agent_team_protocol::{ErrorCode, MemberName, Party, RunId, TeamId, TeamName};
use agent_team_system::random;
use axum::http::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::body::{Failure, Fields};
use crate::Service;
use crate::problem::Problem;

/// The id of the lead in NexAU.
pub(super) const LEADER: &str = "leader";

/// Maximum length of a user id and of a session id, in bytes.
const ID_MAX: usize = 256;

/// Maximum number of session teams that are up.
const UP_MAX: usize = 32;

/// Maximum length of the service team's name within the name of a session team, which has at most 32 characters.
const NAME_MAX: usize = 15;

/// Starts the teams of sessions, all from one template.
pub(crate) struct Sessions {
    /// The arguments of `team/up` for the team of the service, from the start of the service. Contains the environment
    /// of the members.
    template: Up,
    /// Held while a team starts, so that the limit is exact.
    starting: Mutex<()>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    pub(crate) fn new(template: Up) -> Self {
        Self {
            template,
            starting: Mutex::default(),
        }
    }

    /// The prefix of the names of all session teams. A digest follows it.
    fn prefix(&self) -> String {
        let name = self.template.spec.name.as_str();
        let end = name.len().min(NAME_MAX);
        format!("{}-", name[..end].trim_end_matches('-'))
    }

    fn name(&self, user: &str, session: &str) -> TeamName {
        let mut digest = Sha256::new();
        digest.update(user.len().to_be_bytes());
        digest.update(user);
        digest.update(session);
        let name = format!("{}{}", self.prefix(), hex(&digest.finalize()[..8]));
        name.parse()
            .expect("a name's prefix, `-` and hexadecimal digits are a valid name")
    }

    fn is_session(&self, name: &TeamName) -> bool {
        let digest = name.as_str().strip_prefix(&self.prefix());
        digest.is_some_and(|digest| {
            digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }
}

/// A session and its team, which may not exist.
#[derive(Debug)]
pub(super) struct NexauSession {
    /// The id that the client sent.
    pub(super) id: String,
    pub(super) team: TeamRef,
    name: TeamName,
}

/// The session that the fields `user_id` and `session_id` name. The caller reports the faults of the fields before the
/// error of this function.
pub(super) fn of(service: &Service, fields: &mut Fields) -> Result<NexauSession, Problem> {
    let [user, id] = ["user_id", "session_id"].map(|name| {
        let text = fields.text(name);
        if text.len() > ID_MAX {
            let fault = format!("String should have at most {ID_MAX} characters");
            fields.fault(name, "string_too_long", &fault, Value::Null);
        }
        text
    });
    let sessions = service.sessions.as_ref().ok_or_else(|| {
        let detail = "this service has no sessions";
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
            .hint("start the service with: agent-team serve --sessions")
    })?;
    let name = sessions.name(&user, &id);
    let team = TeamRef::Id(TeamId::new(&name, &sessions.template.spec.project));
    Ok(NexauSession { id, team, name })
}

impl NexauSession {
    /// The team, if it exists.
    pub(super) async fn find(&self, service: &Service) -> Result<Option<TeamView>, Problem> {
        known(
            service.query::<TeamShow>(&self.team, &Nothing {}).await,
            ErrorCode::UnknownTeam,
        )
    }

    async fn find_up(&self, service: &Service) -> Result<Option<TeamView>, Problem> {
        let team = self.find(service).await?;
        Ok(team.filter(|team| team.state == TeamState::Up))
    }

    /// The team, which is started if it is down.
    pub(super) async fn ensure_up(&self, service: &Service) -> Result<TeamView, Failure> {
        if let Some(team) = self.find_up(service).await? {
            return Ok(team);
        }
        let sessions = service
            .sessions
            .as_ref()
            .expect("a session exists only in a service with sessions");
        let _starting = sessions.starting.lock().await;
        // Another request of the session may have started the team.
        if let Some(team) = self.find_up(service).await? {
            return Ok(team);
        }
        let teams = service
            .query::<TeamList>(&self.team, &Nothing {})
            .await?
            .teams;
        let up = teams.iter().filter(|team| {
            team.state == TeamState::Up
                && team.project == sessions.template.spec.project
                && sessions.is_session(&team.name)
        });
        if up.count() >= UP_MAX {
            let detail = format!("the teams of {UP_MAX} sessions are up");
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(Problem::new(status, "too_many_calls", detail).into());
        }
        let mut up = sessions.template.clone();
        up.spec.name = self.name.clone();
        service
            .change::<TeamUp>(&self.team, random::id(), &up)
            .await?;
        Ok(service.query::<TeamShow>(&self.team, &Nothing {}).await?)
    }

    /// The run of the team, if one is under way.
    pub(super) async fn run_under_way(&self, service: &Service) -> Result<Option<RunId>, Problem> {
        let shown = service.query::<RunShow>(&self.team, &Nothing {}).await;
        let shown = match shown {
            Err(problem) if problem.has_code(ErrorCode::UnknownTeam) => return Ok(None),
            shown => known(shown, ErrorCode::UnknownRun)?,
        };
        let run = shown.filter(|run| run.state == RunState::UnderWay);
        Ok(run.map(|run| run.run))
    }

    /// All tasks of the board.
    pub(super) async fn board(&self, service: &Service) -> Result<Vec<TaskView>, Problem> {
        let read = |page| async move { service.query::<TaskList>(&self.team, &page).await };
        TaskListAnswer::read_all(read).await
    }
}

/// `None` for a refusal with this code.
fn known<T>(answer: Result<T, Problem>, absent: ErrorCode) -> Result<Option<T>, Problem> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(problem) if problem.has_code(absent) => Ok(None),
        Err(problem) => Err(problem),
    }
}

pub(super) fn lead(team: &TeamView) -> Option<MemberName> {
    let lead = team.members.iter().find(|member| member.lead);
    lead.map(|member| member.name.clone())
}

/// The member with this id of NexAU.
pub(super) fn member(team: &TeamView, agent: &str) -> Option<MemberName> {
    let mut members = team.members.iter();
    let member = members.find(|member| match agent {
        LEADER => member.lead,
        name => member.name.as_str() == name,
    })?;
    Some(member.name.clone())
}

/// The id of a party in NexAU.
pub(super) fn agent_id(party: &Party, lead: Option<&MemberName>) -> String {
    match party {
        Party::Member(name) if Some(name) == lead => LEADER.to_owned(),
        Party::Member(_) | Party::User | Party::System => party.to_string(),
    }
}
