//! The member that a chat session has joined as: its launch, the connection to its worker, and calls of team tools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_client::Session;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::joined::{JoinAnswer, JoinedFrame, JoinedTool, LINE_MAX, ToolAnswer};
use agent_team_protocol::method::{
    MemberRestart, MemberShow, MemberSpawn, Nothing, OneMember, Spawn, TeamShow,
};
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::{MemberState, MemberView, TeamEntry, TeamState, TeamView};
use agent_team_protocol::{ErrorCode, MemberName, RoleName, TeamId};
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::directories::Directories;
use agent_team_system::socket::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::error::Failure;

/// How long a member's worker may take to start.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The interval between two attempts to reach a worker that starts.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

const DEFAULT_ROLE: &str = "worker";

/// The alias of the lead, which can have any name.
const LEAD: &str = "lead";

/// A member whose launch lasts as long as `connection`.
pub(super) struct JoinedMember {
    pub(super) team: TeamId,
    pub(super) name: MemberName,
    pub(super) lead: bool,
    pub(super) tools: Vec<JoinedTool>,
    pub(super) unread: usize,
    pub(super) socket: PathBuf,
    pub(super) connection: Connection,
}

/// A connection to a member's worker.
pub(super) struct Connection {
    reader: FrameReader,
    writer: FrameWriter,
}

impl Connection {
    async fn open(socket: &Path) -> std::io::Result<Self> {
        let (read, write) = Stream::connect(socket).await?.into_halves();
        Ok(Self {
            reader: FrameReader::new(read, LINE_MAX),
            writer: FrameWriter::new(write),
        })
    }

    async fn ask<A: DeserializeOwned>(&mut self, frame: &impl Serialize) -> Result<A, String> {
        let frame = serde_json::to_string(frame).map_err(|error| error.to_string())?;
        if frame.len() >= LINE_MAX {
            return Err("the arguments are larger than 1 MiB".to_owned());
        }
        self.writer.queue(&format!("{frame}\n"));
        // A worker that refuses a connection answers and closes it without reading the frame. The write can then fail,
        // but the answer can still be read.
        let flushed = self.writer.flush().await;
        let answer = match (self.reader.next().await, flushed) {
            (Ok(Some(answer)), _) => answer,
            (_, Err(error)) => return Err(error.to_string()),
            (Err(error), Ok(())) => return Err(error.to_string()),
            (Ok(None), Ok(())) => return Err("the member has ended".to_owned()),
        };
        serde_json::from_str(&answer).map_err(|error| error.to_string())
    }

    /// Confirms an answer. If the worker has gone, its messages arrive again in the next launch.
    async fn confirm(&mut self) {
        let received =
            serde_json::to_string(&JoinedFrame::Received {}).expect("the frame has string keys");
        self.writer.queue(&format!("{received}\n"));
        let _gone = self.writer.flush().await;
    }

    /// Completes when the worker has closed the connection.
    pub(super) async fn closed(&mut self) {
        let _ended = self.reader.next().await;
    }
}

/// Calls a team tool. Dropping the future cancels the call: the messages of its answer stay unread.
pub(super) async fn call(
    socket: &Path,
    tool: &str,
    input: Box<RawValue>,
) -> Result<ToolAnswer, String> {
    let mut connection = Connection::open(socket)
        .await
        .map_err(|error| error.to_string())?;
    let tool = tool.to_owned();
    let call = JoinedFrame::Call {
        tool,
        input,
        confirms: true,
    };
    let answer = connection.ask(&call).await?;
    connection.confirm().await;
    Ok(answer)
}

/// Joins a team: as the member with this name if the team has it, or else as a new member.
pub(super) async fn join(
    team: &TeamEntry,
    name: Option<&str>,
    role: Option<RoleName>,
) -> Result<JoinedMember, Failure> {
    if team.state == TeamState::Down {
        return Err(Failure::of(
            ErrorCode::WrongState,
            format!("cannot join {}: it is down", team.team),
        )
        .hint("let the user start it with: agent-team up"));
    }
    let mut session = Session::of_team(TeamRef::Id(team.team.clone()));
    let view = session.query::<TeamShow>(Nothing {}).await?;
    let known = name.and_then(|name| member_of(&view, name));
    let member = match known {
        Some(member) if member.engine != Engine::Joined => {
            let (name, engine) = (&member.name, member.engine.name());
            return Err(Failure::of(
                ErrorCode::WrongState,
                format!("cannot join as {name}: this member has the engine {engine}"),
            )
            .hint("choose another name, or omit it"));
        }
        Some(member) => {
            if let MemberState::Held | MemberState::Stopped | MemberState::Planned = member.state {
                let member = member.name.clone();
                session.call::<MemberRestart>(OneMember { member }).await?;
            }
            member.name.clone()
        }
        None => {
            let name = name.map(str::parse).transpose().map_err(|error| {
                Failure::usage(format!("cannot join: the name is invalid: {error}"))
            })?;
            let role = role.unwrap_or_else(|| DEFAULT_ROLE.parse().expect("a role name"));
            let spawn = Spawn {
                engine: Some(Engine::Joined),
                placement: Some(PlacementChoice::Headless),
                ..Spawn::of(role, name)
            };
            let spawned = session.call::<MemberSpawn>(spawn).await?;
            spawned.member.name
        }
    };
    connect(&mut session, team, member).await
}

fn member_of<'a>(team: &'a TeamView, name: &str) -> Option<&'a MemberView> {
    let mut members = team.members.iter();
    members.find(|member| member.name.as_str() == name || (name == LEAD && member.lead))
}

/// Connects to the worker of the member's launch as soon as it listens.
async fn connect(
    session: &mut Session,
    team: &TeamEntry,
    name: MemberName,
) -> Result<JoinedMember, Failure> {
    let directories = Directories::from_environment()?;
    let until = Instant::now() + START_LIMIT;
    loop {
        let one = OneMember {
            member: name.clone(),
        };
        let view = session.query::<MemberShow>(one).await?.member;
        if view.state == MemberState::Held {
            return Err(cannot_join(&name, &view.why));
        }
        if let Some(launch) = &view.launch {
            let socket = directories.joined_socket(launch.as_str());
            if let Ok(mut connection) = Connection::open(&socket).await {
                let answer: JoinAnswer = connection
                    .ask(&JoinedFrame::Join {})
                    .await
                    .map_err(|error| cannot_join(&name, &error))?;
                if let Some(why) = answer.refused {
                    return Err(cannot_join(&name, &why));
                }
                return Ok(JoinedMember {
                    team: team.team.clone(),
                    name,
                    lead: view.lead,
                    tools: answer.tools,
                    unread: answer.unread,
                    socket,
                    connection,
                });
            }
        }
        if Instant::now() >= until {
            return Err(cannot_join(&name, &view.why));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn cannot_join(name: &MemberName, why: &str) -> Failure {
    Failure::of(
        ErrorCode::WrongState,
        format!("cannot join as {name}: {why}"),
    )
}
