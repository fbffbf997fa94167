//! The server-sent events of a session: each is a NexAU response with an envelope, and the last event reports that the
//! run is complete or has failed. Only events of NexAU's vocabulary are sent, with NexAU's names of fields.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_client::{Envelopes, Notice, SessionError, Subscription};
use agent_team_protocol::envelope::{AgUi, Envelope};
use agent_team_protocol::method::{
    MessageSend, Nothing, RunAnswer, RunStart, SendMessage, StartRun, TeamShow,
};
use agent_team_protocol::view::TeamView;
use agent_team_protocol::{ErrorCode, MemberName, Recipient, Refusal, Revision, RunId};
use axum::body::Bytes;
use axum::http::StatusCode;
use futures_util::{Stream, stream};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::session::{LEADER, NexauSession, agent_id, lead};
use crate::Service;
use crate::follow::Follower;
use crate::problem::Problem;
use crate::sse::{self, COMMENT, KEEP_ALIVE};

/// How a run ends for its client.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The run was answered; contains the answer of the lead.
    Answered(String),
    Cancelled,
    Failed(String),
}

/// When the frames end.
#[derive(Debug)]
enum Until {
    /// The frames end with this run.
    Run(RunId),
    /// The frames end after the stored events up to this revision: no run is under way.
    Revision(Revision),
    Ended,
}

/// The frames of one request.
pub(super) struct Frames {
    session_id: String,
    follower: Follower,
    envelopes: Envelopes,
    lead: Option<MemberName>,
    until: Until,
    outcome: Option<Outcome>,
    /// The client has the frames up to this revision.
    after: Revision,
    /// The number of frames of stored events that the client already has.
    skip: u64,
    /// The newest envelope of each member, except the lead, that has worked. Clients show the member as active until
    /// its run ends.
    active: BTreeMap<String, Value>,
    _permit: OwnedSemaphorePermit,
}

pub(super) fn permit(service: &Service) -> Result<OwnedSemaphorePermit, Problem> {
    let permit = Arc::clone(&service.runs).try_acquire_owned();
    permit.map_err(|_full| {
        let detail = "too many clients follow runs";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", detail)
    })
}

/// The frames of a session without a team.
pub(super) fn complete(session_id: String) -> impl Stream<Item = Bytes> {
    stream::iter([end_frame(&session_id, None).into()])
}

impl Frames {
    /// Gives the lead a goal, or a message if a run is under way, and follows the run.
    pub(super) async fn of_goal(
        service: &Service,
        permit: OwnedSemaphorePermit,
        session: &NexauSession,
        team: TeamView,
        text: String,
        memory: BTreeMap<String, Box<RawValue>>,
        key: String,
    ) -> Result<Self, Problem> {
        // Subscribe before the run starts, so that the stream misses no output of the run.
        let envelopes = Envelopes::from_views(&team, &session.board(service).await?)
            .in_run(session.run_under_way(service).await?);
        let after = team.revision;
        let mut frames = Self::open(service, permit, session, &team, after, envelopes).await?;
        let start = StartRun {
            goal: text.clone(),
            then_down: true,
            anew: false,
            memory,
            effort: None,
            attach_outside: false,
        };
        let started: Result<RunAnswer, _> = service
            .change::<RunStart>(&session.team, format!("run:{key}"), &start)
            .await;
        let run = match started {
            Ok(answer) => answer.run,
            Err(problem) if problem.has_code(ErrorCode::RunUnderWay) => {
                let send = SendMessage {
                    to: Recipient::Lead,
                    text,
                    urgent: false,
                    reply_to: None,
                    summary: None,
                    wants_reply: false,
                    attach_outside: false,
                };
                let run = session.run_under_way(service).await?.ok_or(problem)?;
                service
                    .change::<MessageSend>(&session.team, format!("say:{key}"), &send)
                    .await?;
                run
            }
            Err(problem) => return Err(problem),
        };
        frames.until = Until::Run(run);
        Ok(frames)
    }

    /// The stored events that the client lacks, and the events of the run under way.
    pub(super) async fn of_session(
        service: &Service,
        permit: OwnedSemaphorePermit,
        session: &NexauSession,
        team: TeamView,
        resume: Option<Revision>,
        skip: u64,
    ) -> Result<Self, Problem> {
        let after = resume.unwrap_or(Revision(0));
        if after > team.revision {
            let text = format!(
                "revision {} does not exist: the newest is {}",
                after.0, team.revision.0
            );
            return Err(Refusal::new(ErrorCode::WrongState, text).into());
        }
        // The roles and the run of an event follow from earlier events, so the subscription starts with the first
        // event.
        let (first, envelopes) = (Revision(0), Envelopes::new(team.team.clone()));
        let mut frames = Self::open(service, permit, session, &team, first, envelopes).await?;
        frames.after = after;
        if resume.is_none() {
            frames.skip = skip;
        }
        frames.until = match session.run_under_way(service).await? {
            Some(run) => Until::Run(run),
            None => {
                // A run may have ended since the subscription began.
                let team = service
                    .query::<TeamShow>(&session.team, &Nothing {})
                    .await?;
                Until::Revision(team.revision)
            }
        };
        if matches!(frames.until, Until::Revision(last) if last <= after) {
            frames.until = Until::Ended;
        }
        Ok(frames)
    }

    async fn open(
        service: &Service,
        permit: OwnedSemaphorePermit,
        session: &NexauSession,
        team: &TeamView,
        after: Revision,
        envelopes: Envelopes,
    ) -> Result<Self, Problem> {
        let separate = service.session.separate(session.team.clone()).await;
        Ok(Self {
            session_id: session.id.clone(),
            follower: Follower::new(Subscription::new(separate, after, true).await?),
            envelopes,
            lead: lead(team),
            until: Until::Ended,
            outcome: None,
            after,
            skip: 0,
            active: BTreeMap::new(),
            _permit: permit,
        })
    }

    pub(super) fn chunks(self) -> impl Stream<Item = Bytes> {
        stream::unfold(Some(self), async |frames| {
            let mut frames = frames?;
            let chunk = frames.next().await;
            match chunk {
                Some(chunk) => Some((chunk, Some(frames))),
                None => Some((frames.end(), None)),
            }
        })
    }

    /// Follows the run to its end.
    pub(super) async fn outcome(mut self) -> Outcome {
        while self.next().await.is_some() {}
        self.outcome.unwrap_or(Outcome::Cancelled)
    }

    /// The next frames, or a comment; `None`: the last frame follows.
    async fn next(&mut self) -> Option<Bytes> {
        let keep_alive = Instant::now() + KEEP_ALIVE;
        loop {
            if matches!(self.until, Until::Ended) {
                return None;
            }
            let notice = match timeout_at(keep_alive, self.follower.next()).await {
                Ok(Ok(notice)) => notice,
                Ok(Err(error)) => {
                    self.fail(&error);
                    continue;
                }
                Err(_elapsed) => return Some(COMMENT),
            };
            let frames = self.notice(&notice);
            if !frames.is_empty() {
                return Some(frames.into());
            }
        }
    }

    fn notice(&mut self, notice: &Notice) -> String {
        let revision = match notice {
            Notice::Event(event) => Some(event.revision),
            Notice::Transient(_) => None,
        };
        let is_old = revision.is_some_and(|revision| revision <= self.after);
        let mut frames = Vec::new();
        for envelope in self.envelopes.notice(notice) {
            if is_old {
                continue;
            }
            for envelope in convert(&envelope, self.lead.as_ref()) {
                if revision.is_some() && self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                frames.push(frame("team_event", &envelope, &self.session_id, None));
                if let (Some(agent), true) = (envelope["agent_id"].as_str(), is_work(&envelope)) {
                    self.active.insert(agent.to_owned(), envelope);
                }
            }
            self.follow(&envelope);
        }
        if let (Until::Revision(last), Some(revision)) = (&self.until, revision)
            && revision >= *last
        {
            self.until = Until::Ended;
        }
        match frames.is_empty() {
            true => String::new(),
            false => sse::with_id(revision, frames),
        }
    }

    /// Sets the outcome and ends the frames if this envelope ends the run.
    fn follow(&mut self, envelope: &Envelope) {
        let is_own = matches!(self.until, Until::Run(run) if envelope.run_id == Some(run));
        if !is_own {
            return;
        }
        let outcome = if let AgUi::RunFinished { result, .. } = &envelope.event {
            let answer = result["final_answer"].as_str().unwrap_or_default();
            Outcome::Answered(answer.to_owned())
        } else if let AgUi::RunError { message, code, .. } = &envelope.event {
            match code.as_deref() {
                Some("cancelled" | "abandoned") => Outcome::Cancelled,
                _ => Outcome::Failed(message.clone()),
            }
        } else {
            return;
        };
        self.outcome = Some(outcome);
        self.until = Until::Ended;
    }

    fn fail(&mut self, error: &SessionError) {
        self.outcome = Some(Outcome::Failed(error.to_string()));
        self.until = Until::Ended;
    }

    /// The `RUN_FINISHED` of each active member, because the team goes down when its goal ends; then the last frame.
    fn end(&self) -> Bytes {
        let ends = self.active.values().map(|newest| {
            let mut envelope = newest.clone();
            envelope["event"] = json!({
                "type": "RUN_FINISHED", "timestamp": newest["event"]["timestamp"], "thread_id": newest["team_id"],
                "run_id": newest["run_id"], "result": null,
            });
            frame("team_event", &envelope, &self.session_id, None)
        });
        let error = match &self.outcome {
            Some(Outcome::Failed(why)) => Some(why.as_str()),
            Some(Outcome::Answered(_) | Outcome::Cancelled) | None => None,
        };
        let last = end_frame(&self.session_id, error);
        ends.chain([last]).collect::<String>().into()
    }
}

/// Whether the envelope is an event of a member other than the lead, and not a message.
fn is_work(envelope: &Value) -> bool {
    let role = envelope["role_name"].as_str();
    role.is_some_and(|role| role != LEADER && role != "user")
}

fn end_frame(session_id: &str, error: Option<&str>) -> String {
    let kind = if error.is_some() { "error" } else { "complete" };
    frame(kind, &Value::Null, session_id, error)
}

fn frame(kind: &str, envelope: &Value, session_id: &str, error: Option<&str>) -> String {
    sse::data(&json!({
        "type": kind, "envelope": envelope, "session_id": session_id, "error": error,
    }))
}

/// NexAU's envelopes for an envelope, possibly none.
fn convert(envelope: &Envelope, lead: Option<&MemberName>) -> Vec<Value> {
    let member = envelope
        .agent_id
        .as_deref()
        .and_then(|id| id.split('@').next());
    let is_lead = member.is_none_or(|name| lead.is_some_and(|lead| lead.as_str() == name));
    let (agent, role) = match (is_lead, member) {
        (true, _) | (_, None) => (LEADER, Some(LEADER)),
        (false, Some(name)) => (name, envelope.role_name.as_ref().map(|role| role.as_str())),
    };
    if let AgUi::Custom {
        name,
        value,
        timestamp,
    } = &envelope.event
    {
        return match name.as_str() {
            "message" => messages(envelope, value, *timestamp, lead),
            _ => Vec::new(),
        };
    }
    event(envelope)
        .map(|event| wrap(envelope, agent, role, event))
        .into_iter()
        .collect()
}

fn wrap(envelope: &Envelope, agent: &str, role: Option<&str>, event: Value) -> Value {
    json!({
        "team_id": envelope.team_id, "agent_id": agent, "role_name": role, "run_id": envelope.run_id, "event": event,
    })
}

/// The event with NexAU's fields: in snake case, with the ids that its clients require.
fn event(envelope: &Envelope) -> Option<Value> {
    let Ok(Value::Object(fields)) = serde_json::to_value(&envelope.event) else {
        return None;
    };
    let mut event: Map<_, _> = fields
        .into_iter()
        .map(|(name, value)| (snake_case(&name), value))
        .collect();
    let run = json!(
        envelope
            .run_id
            .map_or_else(String::new, |run| run.to_string())
    );
    match &envelope.event {
        AgUi::RunStarted { .. } => {
            event.insert("agent_id".to_owned(), LEADER.into());
            event.insert("root_run_id".to_owned(), run);
        }
        AgUi::RunError { .. } | AgUi::TextMessageStart { .. } => {
            event.insert("run_id".to_owned(), run);
        }
        AgUi::ToolCallResult { .. } => {
            event.remove("message_id");
        }
        AgUi::RunFinished { .. }
        | AgUi::TextMessageContent { .. }
        | AgUi::TextMessageEnd { .. }
        | AgUi::ToolCallStart { .. }
        | AgUi::ToolCallArgs { .. }
        | AgUi::ToolCallEnd { .. } => {}
        AgUi::StepStarted { .. }
        | AgUi::StepFinished { .. }
        | AgUi::StateSnapshot { .. }
        | AgUi::StateDelta { .. }
        | AgUi::Custom { .. } => return None,
    }
    Some(event.into())
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// A message: one envelope for each recipient.
fn messages(
    envelope: &Envelope,
    message: &Value,
    timestamp: Option<u64>,
    lead: Option<&MemberName>,
) -> Vec<Value> {
    let id = |value: &Value| {
        let name = value.as_str().unwrap_or_default();
        match name.parse::<MemberName>() {
            Ok(member) => agent_id(&agent_team_protocol::Party::Member(member), lead),
            Err(_) => name.to_owned(),
        }
    };
    let (from, text) = (&message["from"], &message["text"]);
    let recipients = message["to"].as_array().into_iter().flatten();
    recipients
        .map(|to| {
            let to = id(to);
            if from == "user" {
                let event = json!({"type": "USER_MESSAGE", "timestamp": timestamp, "content": text, "to_agent_id": to});
                return wrap(envelope, &to, Some("user"), event);
            }
            let event = json!({
                "type": "TEAM_MESSAGE", "timestamp": timestamp, "content": text, "from_agent_id": id(from), "to_agent_id": to,
            });
            wrap(envelope, &to, None, event)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn fields_are_in_snake_case() {
        for (camel, snake) in [
            ("type", "type"),
            ("toolCallId", "tool_call_id"),
            ("parentMessageId", "parent_message_id"),
        ] {
            assert_eq!(snake_case(camel), snake);
        }
    }
}
