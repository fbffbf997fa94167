//! `POST /ag-ui`: the team as an agent of the AG-UI protocol 1.0. A `RunAgentInput` gives the lead a goal, and the
//! answer streams the events of the team until the run ends or needs a decision of the user.
//!
//! ```text
//! no run under way:  user message ─► run/start ────► events ─► RUN_FINISHED
//! run under way:     user message ─► message/send ─► events of that run
//!                    no user message ──────────────► events of that run
//! permission request or question ──────────────────► RUN_FINISHED with outcome `interrupt`
//!                    `resume` ─► request/decide for a request, message/send for a question ─► events of that run
//! ```
//! A stream only watches: when its client disconnects, the run continues. A repeated request with the same `runId` has
//! its effect once.

mod convert;
mod input;
mod recent_requests;

use std::sync::Arc;

use agent_team_client::{Envelopes, Notice, SessionError, Subscription};
use agent_team_protocol::envelope::{AgUi, Envelope};
use agent_team_protocol::goal::RunState;
use agent_team_protocol::method::{
    MessageSend, RequestDecide, RequestList, RequestShow, TaskList, TeamShow,
};
use agent_team_protocol::method::{
    Nothing, RunAnswer, RunShow, RunStart, SendMessage, StartRun, TaskListAnswer,
};
use agent_team_protocol::request::{
    Channel, DecideRequest, Decision, ListRequests, OneRequest, RequestListAnswer, RequestState,
    RequestView, Scope,
};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::{RunView, TeamView};
use agent_team_protocol::{ErrorCode, MemberName, MessageId, Recipient, RequestId, RunId};
use agent_team_system::random;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use self::convert::{Converter, End, Interrupt};
use self::input::{Answer, Input, Message, Reply};
use self::recent_requests::HandledRequest;
pub(crate) use self::recent_requests::RecentRequests;
use crate::Service;
use crate::access::{Permission, Permissions};
use crate::call::{self, Query};
use crate::follow::Follower;
use crate::problem::Problem;
use crate::sse::{self, COMMENT, KEEP_ALIVE};

/// The stream of one request.
struct Run {
    service: Arc<Service>,
    team: TeamRef,
    follower: Follower,
    envelopes: Envelopes,
    converter: Converter,
    /// The run of the team. `None`: the team has no run.
    run: Option<RunId>,
    /// Whether a needed decision ends the stream.
    interrupts: bool,
    phase: Phase,
    _permit: OwnedSemaphorePermit,
}

enum Phase {
    /// Nothing has been sent. Contains the end of a run that is not under way.
    Begin(Option<End>),
    Live,
    Ended,
}

/// Answers `POST /ag-ui`.
pub(crate) async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    match open(&service, request).await {
        Ok(run) => sse::response(stream::unfold(run, async |mut run| {
            let chunk = run.next().await?;
            Some((chunk, run))
        })),
        Err(problem) => problem.into_response(),
    }
}

async fn open(service: &Arc<Service>, request: Request) -> Result<Run, Problem> {
    let permit = Arc::clone(&service.runs).try_acquire_owned();
    let permit = permit.map_err(|_full| {
        let detail = "too many clients follow runs";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", detail)
    })?;
    let mut query = Query::parse(request.uri().query())?;
    let team = service.team_of(&mut query);
    query.end()?;
    let (parts, content) = request.into_parts();
    let permissions = call::permissions(&parts.extensions);
    let resume = sse::resume_after(&parts.headers, None)?;
    let body = call::read_body(&parts.headers, content).await?;
    let input = Input::parse(body.unwrap_or_default())?;
    for (needs, permission) in [
        (input.message.is_some(), Permission::Steer),
        (!input.answers.is_empty(), Permission::Decide),
    ] {
        if needs {
            call::check_permission(permissions, permission)?;
        }
    }
    let view = service.query::<TeamShow>(&team, &Nothing {}).await?;
    let view: TeamView = view;
    let team = TeamRef::Id(view.team.clone());
    let tasks = TaskListAnswer::read_all(|page| {
        let team = &team;
        async move { service.query::<TaskList>(team, &page).await }
    });
    let tasks = tasks.await?;
    let earlier = service.recent_requests.find(&view.team, &input);
    let after = resume.or(earlier.as_ref().map(|earlier| earlier.after));
    let after = after.unwrap_or(view.revision).min(view.revision);
    // Subscribe before the run starts, so that the stream misses no output of the run.
    let session = service.session.separate(team.clone()).await;
    let subscription = Subscription::new(session, after, true).await?;
    let run = match (&earlier, &input.message) {
        (Some(earlier), _) => Some(earlier.run),
        (None, Some(message)) => {
            let run = give(service, &team, &input.run_id, message).await?;
            let handled = HandledRequest {
                team: view.team.clone(),
                run_id: input.run_id.clone(),
                thread_id: input.thread_id.clone(),
                message: message.clone(),
                run,
                after: view.revision,
            };
            service.recent_requests.insert(handled);
            Some(run)
        }
        (None, None) => {
            decide(service, &team, permissions, &input.answers).await?;
            None
        }
    };
    let shown = match service.query::<RunShow>(&team, &Nothing {}).await {
        Ok(shown) => Some(shown),
        Err(problem) if problem.has_code(ErrorCode::UnknownRun) => None,
        Err(problem) => return Err(problem),
    };
    let (run, end) = end_of(run, shown);
    let lead = view.members.iter().find(|member| member.lead);
    let lead: Option<MemberName> = lead.map(|member| member.name.clone());
    Ok(Run {
        service: Arc::clone(service),
        team,
        follower: Follower::new(subscription),
        envelopes: Envelopes::from_views(&view, &tasks),
        converter: Converter::new(input.thread_id, input.run_id, run, lead),
        run,
        interrupts: input.interrupts && permissions.allow(Permission::Decide),
        phase: Phase::Begin(end),
        _permit: permit,
    })
}

/// The run to follow, and its end if it is not under way. `wanted`: the run to which the request, or the earlier
/// request that it repeats, gave its message.
fn end_of(wanted: Option<RunId>, newest: Option<RunView>) -> (Option<RunId>, Option<End>) {
    let Some(newest) = newest else {
        return (None, Some(End::Idle));
    };
    let run = Some(newest.run);
    if wanted.is_some_and(|wanted| wanted != newest.run) {
        return (wanted, Some(End::Cancelled));
    }
    let end = match newest.state {
        RunState::UnderWay => None,
        // A request without a message does not repeat the answer of an earlier run.
        _ if wanted.is_none() => Some(End::Idle),
        RunState::Finished => Some(End::Answered(newest.answer.unwrap_or_default())),
        RunState::Cancelled | RunState::Abandoned => Some(End::Cancelled),
        RunState::MaxRounds | RunState::Failed | RunState::Unknown => Some(End::Failed {
            message: newest.reason.unwrap_or_default(),
            code: "failed".to_owned(),
        }),
    };
    (run, end)
}

/// Gives the lead the goal; sends it as a message if a run is under way.
async fn give(
    service: &Service,
    team: &TeamRef,
    run_id: &str,
    message: &Message,
) -> Result<RunId, Problem> {
    let start = StartRun {
        goal: message.text.clone(),
        then_down: false,
        anew: false,
        memory: Default::default(),
        effort: None,
        attach_outside: false,
    };
    let key = format!("ag-ui:{run_id}");
    let started: Result<RunAnswer, _> = service.change::<RunStart>(team, key, &start).await;
    match started {
        Ok(answer) => return Ok(answer.run),
        Err(problem) if problem.has_code(ErrorCode::RunUnderWay) => {}
        Err(problem) => return Err(problem),
    }
    let under_way = service.query::<RunShow>(team, &Nothing {}).await?;
    let send = SendMessage {
        to: Recipient::Lead,
        text: message.text.clone(),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    service
        .change::<MessageSend>(team, format!("ag-ui+{run_id}"), &send)
        .await?;
    Ok(under_way.run)
}

/// Carries out the answers to interrupts, after a check of all of them: an invalid answer changes nothing. A permission
/// request that was decided elsewhere in the meantime keeps its decision. The answer to a closed question is refused,
/// because its text would be lost.
async fn decide(
    service: &Service,
    team: &TeamRef,
    permissions: Permissions,
    answers: &[Answer],
) -> Result<(), Problem> {
    if answers.is_empty() {
        return Ok(());
    }
    let list = ListRequests { all: false };
    let waiting = service.query::<RequestList>(team, &list).await?;
    let mut replies = Vec::new();
    let mut decisions = Vec::new();
    for Answer { interrupt, reply } in answers {
        if let Ok(message) = interrupt.parse::<MessageId>() {
            call::check_permission(permissions, Permission::Steer)?;
            let text = match reply {
                Reply::Text(text) => text.clone(),
                Reply::Deny { reason } => reason.clone(),
                Reply::Approve => return Err(unfit(interrupt)),
            };
            let question = waiting.questions.iter().find(|open| open.id == message);
            let question = question.ok_or_else(|| {
                let detail = format!("no question {interrupt:?} is open");
                Problem::new(StatusCode::CONFLICT, "already_decided", detail)
                    .hint("send the text as a message of the user")
            })?;
            replies.push((question.member.clone(), message, text));
            continue;
        }
        let request: RequestId = interrupt.parse().map_err(|_error| {
            let detail = format!("no interrupt has the id {interrupt:?}");
            Problem::new(StatusCode::NOT_FOUND, "unknown_request", detail)
        })?;
        let decision = match reply {
            Reply::Approve => Decision::Allow {
                scope: Scope::Once,
                rules: Vec::new(),
            },
            Reply::Deny { reason } => Decision::Deny {
                reason: reason.clone(),
            },
            Reply::Text(_) => return Err(unfit(interrupt)),
        };
        let shown = service
            .query::<RequestShow>(team, &OneRequest { request })
            .await?;
        if shown.state == RequestState::Pending {
            decisions.push((shown, decision));
        }
    }
    for (RequestView { id, digest, .. }, decision) in decisions {
        let decide = DecideRequest {
            request: id,
            digest: Some(digest),
            decision,
            via: Some(Channel::Other),
        };
        match service
            .change::<RequestDecide>(team, random::id(), &decide)
            .await
        {
            Err(problem) if !problem.has_code(ErrorCode::AlreadyDecided) => return Err(problem),
            Ok(_) | Err(_) => {}
        }
    }
    for (member, question, text) in replies {
        let send = SendMessage {
            to: Recipient::Member(member),
            text,
            urgent: false,
            reply_to: Some(question),
            summary: None,
            wants_reply: false,
            attach_outside: false,
        };
        service
            .change::<MessageSend>(team, random::id(), &send)
            .await?;
    }
    Ok(())
}

fn unfit(interrupt: &str) -> Problem {
    let detail = format!("the payload does not answer {interrupt:?}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_params", detail)
        .hint("send a payload that fits the responseSchema of the interrupt")
}

impl Run {
    /// The next events, or a comment; `None`: the stream ends.
    async fn next(&mut self) -> Option<Bytes> {
        let keep_alive = Instant::now() + KEEP_ALIVE;
        loop {
            let (revision, events) = match &mut self.phase {
                Phase::Ended => return None,
                Phase::Begin(end) => {
                    let end = end.take();
                    (None, self.begin(end).await)
                }
                Phase::Live => match timeout_at(keep_alive, self.follower.next()).await {
                    Ok(Ok(notice)) => {
                        let revision = match &notice {
                            Notice::Event(event) => Some(event.revision),
                            Notice::Transient(_) => None,
                        };
                        (revision, self.notice(&notice).await)
                    }
                    Ok(Err(error)) => (None, self.fail(&error)),
                    Err(_elapsed) => return Some(COMMENT),
                },
            };
            if !events.is_empty() {
                let events = events.iter().map(sse::data).collect();
                return Some(sse::with_id(revision, events).into());
            }
        }
    }

    async fn begin(&mut self, end: Option<End>) -> Vec<Value> {
        let mut events = vec![self.converter.start()];
        let snapshot = self.envelopes.snapshot();
        events.extend(self.converter.event(&snapshot));
        self.phase = Phase::Live;
        match end {
            Some(end) => events.extend(self.end(end)),
            None => events.extend(self.interrupt().await),
        }
        events
    }

    async fn notice(&mut self, notice: &Notice) -> Vec<Value> {
        let mut events = Vec::new();
        for envelope in self.envelopes.notice(notice) {
            if let Some(end) = self.end_in(&envelope) {
                events.extend(self.end(end));
                return events;
            }
            events.extend(self.converter.event(&envelope));
            if is_question(&envelope) {
                events.extend(self.interrupt().await);
            }
            if matches!(self.phase, Phase::Ended) {
                return events;
            }
        }
        events
    }

    /// The end of the run, if this envelope contains it.
    fn end_in(&self, envelope: &Envelope) -> Option<End> {
        if envelope.run_id != self.run {
            return None;
        }
        if let AgUi::RunFinished { result, .. } = &envelope.event {
            let answer = result["final_answer"].as_str().unwrap_or_default();
            return Some(End::Answered(answer.to_owned()));
        }
        let AgUi::RunError { message, code, .. } = &envelope.event else {
            return None;
        };
        Some(match code.as_deref() {
            Some("cancelled" | "abandoned") => End::Cancelled,
            code => End::Failed {
                message: message.clone(),
                code: code.unwrap_or("failed").to_owned(),
            },
        })
    }

    fn fail(&mut self, error: &SessionError) -> Vec<Value> {
        self.end(End::Failed {
            message: error.to_string(),
            code: "unreachable".to_owned(),
        })
    }

    fn end(&mut self, end: End) -> Vec<Value> {
        self.phase = Phase::Ended;
        self.converter.end(end)
    }

    /// Ends the stream if a decision of the user is needed.
    async fn interrupt(&mut self) -> Vec<Value> {
        if !self.interrupts {
            return Vec::new();
        }
        let list = ListRequests { all: false };
        let waiting = self.service.query::<RequestList>(&self.team, &list).await;
        // The subscription reports a lost supervisor.
        let Ok(waiting) = waiting else {
            return Vec::new();
        };
        let interrupts = interrupts(waiting);
        match interrupts.is_empty() {
            true => Vec::new(),
            false => self.end(End::Interrupted(interrupts)),
        }
    }
}

/// Whether this event may require a decision of the user.
fn is_question(envelope: &Envelope) -> bool {
    let AgUi::Custom { name, value, .. } = &envelope.event else {
        return false;
    };
    match name.as_str() {
        "permission" => value["state"] == "pending",
        "message" => {
            let to = value["to"].as_array();
            to.is_some_and(|to| to.iter().any(|party| party == "user"))
        }
        _ => false,
    }
}

fn interrupts(waiting: RequestListAnswer) -> Vec<Interrupt> {
    let requests = waiting.requests.into_iter();
    let requests = requests.filter(|request| request.state == RequestState::Pending);
    let requests = requests.map(|request| Interrupt {
        id: request.id.to_string(),
        reason: match request.plan {
            Some(_) => "confirmation",
            None => "tool_call",
        },
        message: request.whole(),
        member: request.member,
        response_schema: json!({
            "type": "object", "required": ["approved"],
            "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
        }),
    });
    let questions = waiting.questions.into_iter().map(|question| Interrupt {
        id: question.id.to_string(),
        reason: "input_required",
        message: question.text,
        member: question.member,
        response_schema: json!({
            "type": "object", "required": ["answer"], "properties": {"answer": {"type": "string"}},
        }),
    });
    requests.chain(questions).collect()
}
