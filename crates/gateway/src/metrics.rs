//! `GET /metrics`: the teams and the service in the text format of Prometheus. Needs a token, like the routes of the
//! API.
//!
//! Teams are read from the supervisor for each scrape, so nothing is counted twice after a restart of the service. Only
//! the requests to the service are counted here, in [`Requests`]. Labels have few values: names of teams and members,
//! states, and routes as the table writes them, never text of requests.

mod exposition;
mod requests;

use std::sync::Arc;

use agent_team_protocol::method::{
    Method, Nothing, SupervisorStatus, TeamList, TeamListAnswer, TeamShow,
};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::{MemberView, SupervisorView, TeamState, TeamView, Waiting};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::de::DeserializeOwned;
use serde_json::value::to_raw_value;

use self::exposition::{Counter, Exposition, Gauge};
pub(crate) use self::requests::{Requests, count};
use crate::call::Query;
use crate::problem::Problem;
use crate::{RUNS_MAX, STREAMS_MAX, Service};

/// Maximum number of teams with details. Further teams are only counted.
const TEAMS_MAX: usize = 64;

const STATES: [&str; 11] = [
    "planned",
    "launching",
    "idle",
    "working",
    "waiting",
    "unresponsive",
    "draining",
    "cooling",
    "held",
    "stopped",
    "unknown",
];

/// Adds the route.
pub(crate) fn add_to(
    router: Router<Arc<Service>>,
    requests: &Arc<Requests>,
) -> Router<Arc<Service>> {
    let requests = Arc::clone(requests);
    let answer = move |State(service): State<Arc<Service>>, RawQuery(query): RawQuery| {
        let requests = Arc::clone(&requests);
        async move {
            match answer(&service, &requests, query.as_deref()).await {
                Ok(response) => response,
                Err(problem) => problem.into_response(),
            }
        }
    };
    router.route("/metrics", get(answer))
}

async fn answer(
    service: &Service,
    requests: &Requests,
    query: Option<&str>,
) -> Result<Response, Problem> {
    Query::parse(query)?.end()?;
    let _running = service.calls.try_acquire().map_err(|_busy| {
        let detail = "too many requests are in progress";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", detail)
    })?;
    let mut text = Exposition::default();
    text.gauge(
        &BUILD,
        [(&[("version", env!("CARGO_PKG_VERSION"))][..], 1.0)],
    );
    // Without a supervisor, the service still reports itself.
    let supervisor = read_supervisor(service).await;
    text.gauge(
        &SUPERVISOR_UP,
        [(&[][..], f64::from(u8::from(supervisor.is_some())))],
    );
    if let Some((supervisor, teams, shown)) = supervisor {
        write_supervisor(&mut text, &supervisor);
        write_teams(&mut text, &teams, &shown);
    }
    write_service(&mut text, service);
    requests.write(&mut text);
    let mut response = Response::new(text.finish().into());
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(response)
}

/// The supervisor, the teams, and the details of the teams that are up and of the team of the service.
async fn read_supervisor(
    service: &Service,
) -> Option<(SupervisorView, TeamListAnswer, Vec<TeamView>)> {
    let supervisor: SupervisorView = read::<SupervisorStatus>(service, None).await?;
    let teams: TeamListAnswer = read::<TeamList>(service, None).await?;
    let mut shown = Vec::new();
    shown.extend(read::<TeamShow>(service, Some(service.team.clone())).await);
    for entry in &teams.teams {
        let is_shown = shown.iter().any(|team: &TeamView| team.team == entry.team);
        if entry.state == TeamState::Up && !is_shown && shown.len() < TEAMS_MAX {
            let team = TeamRef::Id(entry.team.clone());
            shown.extend(read::<TeamShow>(service, Some(team)).await);
        }
    }
    shown.sort_by(|one, other| one.team.cmp(&other.team));
    Some((supervisor, teams, shown))
}

async fn read<M: Method<Args = Nothing>>(
    service: &Service,
    team: Option<TeamRef>,
) -> Option<M::Answer>
where
    M::Answer: DeserializeOwned,
{
    let nothing = to_raw_value(&Nothing {}).expect("bare data has a JSON form");
    let answer = service.session.call(M::NAME, team, None, &nothing).await;
    serde_json::from_str(answer.ok()?.get()).ok()
}

const BUILD: Gauge = Gauge(
    "agent_team_build_info",
    "The version of the service; always 1.",
);
const SUPERVISOR_UP: Gauge = Gauge(
    "agent_team_supervisor_up",
    "Whether the supervisor answers.",
);
const SUPERVISOR_MEMORY: Gauge = Gauge(
    "agent_team_supervisor_resident_memory_bytes",
    "The resident memory of the supervisor.",
);
const SUPERVISOR_OPEN: Gauge = Gauge(
    "agent_team_supervisor_open_fds",
    "The open file descriptors of the supervisor.",
);
const SUPERVISOR_CONNECTIONS: Gauge = Gauge(
    "agent_team_supervisor_connections",
    "The connections of members and clients to the supervisor.",
);
const TEAMS: Gauge = Gauge("agent_team_teams", "The teams on this machine, by state.");
const MEMBERS: Gauge = Gauge("agent_team_members", "The members of a team, by state.");
const WAITING: Gauge = Gauge(
    "agent_team_members_waiting",
    "The members that wait, by what they wait for.",
);
const TASKS: Gauge = Gauge(
    "agent_team_tasks",
    "The tasks on the board of a team, by state.",
);
const REQUESTS: Gauge = Gauge(
    "agent_team_permission_requests_waiting",
    "The permission requests and plans that wait for a decision.",
);
const UNREAD: Gauge = Gauge(
    "agent_team_unread_messages",
    "The messages to the user that are not read.",
);
const CONTEXT: Gauge = Gauge(
    "agent_team_member_context_ratio",
    "The used part of the window of a member's model.",
);
const EVENTS: Counter = Counter("agent_team_events_total", "The stored events of a team.");
const TOKENS: Counter = Counter(
    "agent_team_tokens_total",
    "The tokens of a member's models, by direction.",
);
const CACHED: Counter = Counter(
    "agent_team_cached_input_tokens_total",
    "The part of the input tokens that the provider had cached.",
);
const UNPRICED: Counter = Counter(
    "agent_team_unpriced_tokens_total",
    "The tokens without a known price; the cost does not contain them.",
);
const COST: Counter = Counter(
    "agent_team_cost_usd_total",
    "The cost of a member's models in US dollars.",
);
const WORKED: Counter = Counter(
    "agent_team_member_working_seconds_total",
    "The time of a member in a turn or on a task.",
);
const UP: Counter = Counter(
    "agent_team_member_up_seconds_total",
    "The time of a member with a ready worker.",
);
const COMPLETED: Counter = Counter(
    "agent_team_member_tasks_completed_total",
    "The tasks that a member has completed.",
);
const SSE: Gauge = Gauge("agent_team_sse_clients", "The clients that follow events.");
const AG_UI: Gauge = Gauge(
    "agent_team_ag_ui_clients",
    "The clients that follow an AG-UI run.",
);

fn write_supervisor(text: &mut Exposition, supervisor: &SupervisorView) {
    let one = |value: f64| [(&[][..], value)];
    text.gauge(&SUPERVISOR_MEMORY, one(supervisor.resident_bytes as f64));
    text.gauge(&SUPERVISOR_OPEN, one(f64::from(supervisor.descriptors)));
    text.gauge(
        &SUPERVISOR_CONNECTIONS,
        one(f64::from(supervisor.connections)),
    );
}

fn write_teams(text: &mut Exposition, list: &TeamListAnswer, teams: &[TeamView]) {
    let in_state = |state| list.teams.iter().filter(|team| team.state == state).count() as f64;
    let states = [("up", TeamState::Up), ("down", TeamState::Down)];
    let of_state = states.map(|(word, state)| ([("state", word)], in_state(state)));
    text.gauge(
        &TEAMS,
        of_state.iter().map(|(labels, value)| (&labels[..], *value)),
    );

    let mut samples = Vec::new();
    for team in teams {
        for state in STATES {
            let is = |member: &&MemberView| word(&member.state) == state;
            let count = team.members.iter().filter(is).count();
            samples.push((
                [("team", team.team.as_str()), ("state", state)],
                count as f64,
            ));
        }
    }
    text.gauge(
        &MEMBERS,
        samples.iter().map(|(labels, value)| (&labels[..], *value)),
    );

    let mut samples = Vec::new();
    for team in teams {
        for what in [
            "budget",
            "rate_limit",
            "answer",
            "reply",
            "dialog",
            "permission",
            "plan",
        ] {
            let waits =
                |member: &&MemberView| member.waiting.as_ref().is_some_and(|it| kind(it) == what);
            let count = team.members.iter().filter(waits).count();
            samples.push(([("team", team.team.as_str()), ("for", what)], count as f64));
        }
    }
    text.gauge(
        &WAITING,
        samples.iter().map(|(labels, value)| (&labels[..], *value)),
    );

    let mut samples = Vec::new();
    for team in teams {
        let tasks = &team.tasks;
        for (state, count) in [
            ("pending", tasks.pending),
            ("in_progress", tasks.in_progress),
            ("completed", tasks.completed),
            ("failed", tasks.failed),
            ("cancelled", tasks.cancelled),
        ] {
            samples.push((
                [("team", team.team.as_str()), ("state", state)],
                count as f64,
            ));
        }
    }
    text.gauge(
        &TASKS,
        samples.iter().map(|(labels, value)| (&labels[..], *value)),
    );

    let of_teams = |value: fn(&TeamView) -> f64| {
        let samples = teams
            .iter()
            .map(move |team| ([("team", team.team.as_str())], value(team)));
        samples.collect::<Vec<_>>()
    };
    let waiting = of_teams(|team| {
        team.members
            .iter()
            .map(|member| f64::from(member.requests))
            .sum()
    });
    text.gauge(
        &REQUESTS,
        waiting.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    let unread = of_teams(|team| f64::from(team.unread));
    text.gauge(
        &UNREAD,
        unread.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    let events = of_teams(|team| team.revision.0 as f64);
    text.counter(
        &EVENTS,
        events.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    write_members(text, teams);
}

/// A value of a member; `None`: the member has no such value.
type ValueOf = fn(&MemberView) -> Option<f64>;

fn write_members(text: &mut Exposition, teams: &[TeamView]) {
    let of_members = |value: ValueOf| {
        let members = teams
            .iter()
            .flat_map(|team| team.members.iter().map(move |member| (team, member)));
        let samples = members.filter_map(move |(team, member)| {
            let labels = [
                ("team", team.team.as_str()),
                ("member", member.name.as_str()),
            ];
            Some((labels, value(member)?))
        });
        samples.collect::<Vec<_>>()
    };
    let uses_model = |member: &MemberView| member.engine.uses_model() || member.usage.tokens() > 0;
    let mut tokens = Vec::new();
    for team in teams {
        for member in team.members.iter().filter(|member| uses_model(member)) {
            for (direction, count) in [
                ("input", member.usage.input),
                ("output", member.usage.output),
            ] {
                let labels = [
                    ("team", team.team.as_str()),
                    ("member", member.name.as_str()),
                    ("direction", direction),
                ];
                tokens.push((labels, count as f64));
            }
        }
    }
    text.counter(
        &TOKENS,
        tokens.iter().map(|(labels, value)| (&labels[..], *value)),
    );
    let counters: [(&Counter, ValueOf); 6] = [
        (&CACHED, |member| {
            member
                .engine
                .uses_model()
                .then_some(member.usage.cached as f64)
        }),
        (&UNPRICED, |member| {
            member
                .engine
                .uses_model()
                .then_some(member.usage.unpriced as f64)
        }),
        (&COST, |member| {
            member
                .engine
                .uses_model()
                .then_some(member.usage.micro_usd as f64 / 1e6)
        }),
        (&WORKED, |member| Some(member.working_ms as f64 / 1e3)),
        (&UP, |member| Some(member.up_ms as f64 / 1e3)),
        (&COMPLETED, |member| Some(member.completed as f64)),
    ];
    for (counter, value) in counters {
        let samples = of_members(value);
        text.counter(
            counter,
            samples.iter().map(|(labels, value)| (&labels[..], *value)),
        );
    }
    let context = of_members(|member| {
        let context = member.context?;
        Some(context.tokens as f64 / context.window.max(1) as f64)
    });
    text.gauge(
        &CONTEXT,
        context.iter().map(|(labels, value)| (&labels[..], *value)),
    );
}

fn write_service(text: &mut Exposition, service: &Service) {
    let used = |limit: usize, free: usize| [(&[][..], limit.saturating_sub(free) as f64)];
    text.gauge(&SSE, used(STREAMS_MAX, service.streams.available_permits()));
    text.gauge(&AG_UI, used(RUNS_MAX, service.runs.available_permits()));
}

/// The name of a state in the protocol.
fn word(state: &impl serde::Serialize) -> String {
    let word = serde_json::to_value(state).unwrap_or_default();
    word.as_str().unwrap_or("unknown").to_owned()
}

fn kind(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::Budget { .. } => "budget",
        Waiting::RateLimit { .. } => "rate_limit",
        Waiting::Answer { .. } => "answer",
        Waiting::Reply { .. } => "reply",
        Waiting::Dialog { .. } => "dialog",
        Waiting::Permission { .. } => "permission",
        Waiting::Plan { .. } => "plan",
        Waiting::Unknown => "unknown",
    }
}
