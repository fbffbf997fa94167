//! `GET /events`: the events of a team as server-sent events, each an envelope as `events --json` prints it. `id:` is
//! the revision; a client that sends it as `Last-Event-ID` continues after that revision without a gap.
//!
//! ```text
//! supervisor ─► Feed: one subscription per team ─► ring of frames ─► each client, at its own position
//! supervisor ─► a subscription for a client that resumes before the ring, until it reaches the ring
//! ```
//! The ring has a limit, and each client holds only a position in it. A client that falls behind the ring is cut off and
//! resumes by itself, so a slow client delays no other and costs no memory.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_team_client::{Envelopes, Notice, SessionError, Subscription};
use agent_team_protocol::method::{Method, Nothing, TeamShow};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::TeamView;
use agent_team_protocol::{ErrorCode, Refusal, Revision, TeamId};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::value::to_raw_value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Service;
use crate::call::Query;
use crate::problem::Problem;

/// Limits of the ring. The newest frame always fits.
const RING_FRAMES: usize = 8192;
const RING_BYTES: usize = 4 << 20;

/// How long a client may read stored events after the first one that it lacks. Then it is cut off and resumes: a client
/// that reads slowly must not keep its place from others.
const REPLAY_LIMIT: Duration = Duration::from_secs(60);

/// How long a client waits for such a place.
const REPLAY_WAIT: Duration = Duration::from_secs(15);

/// A client receives at most about this many bytes at once.
const CHUNK_BYTES: usize = 32 << 10;

/// A comment is sent after this time without an event, so that both sides notice a lost connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a feed waits for the next supervisor: a worker starts one within seconds.
const SUCCESSOR_LIMIT: Duration = Duration::from_secs(10);
const SUCCESSOR_PAUSE: Duration = Duration::from_millis(50);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The feeds by team.
pub(crate) type Feeds = Mutex<BTreeMap<TeamId, Arc<Feed>>>;

/// The newest events of a team, for all its clients.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    /// Changes with each frame.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The number of the first frame; frames are numbered from 0.
    first: u64,
    /// All stored events after this revision, up to the newest one, are in the ring.
    complete_after: Revision,
    /// The subscription has ended; the next client opens a new feed.
    has_ended: bool,
}

/// The server-sent events of one notice.
#[derive(Debug)]
struct Frame {
    text: Bytes,
    /// `None`: not stored; sent only to clients that are connected when it occurs.
    revision: Option<Revision>,
}

/// The event stream of a client.
struct Reader {
    feed: Arc<Feed>,
    changed: watch::Receiver<u64>,
    position: Position,
    /// The last revision that the client has.
    after: Revision,
    /// Sent before the first event.
    greeting: Option<Bytes>,
    _stream: OwnedSemaphorePermit,
}

enum Position {
    /// Reads its own subscription.
    Before(Box<Replay>),
    /// The number of the next frame; frames that are not stored count from `joined` on.
    In { next: u64, joined: u64 },
}

struct Replay {
    subscription: Subscription,
    envelopes: Envelopes,
    /// The end of [`REPLAY_LIMIT`]; `None` before the first event that the client lacks.
    deadline: Option<Instant>,
    _replay: OwnedSemaphorePermit,
}

/// Answers `GET /events`.
pub(crate) async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    match open(&service, request).await {
        Ok(reader) => {
            let chunks = stream::unfold(reader, async |mut reader| {
                let chunk = reader.next().await?;
                Some((Ok::<_, Infallible>(chunk), reader))
            });
            let mut response = Response::new(Body::from_stream(chunks));
            let headers = response.headers_mut();
            let media_type = HeaderValue::from_static("text/event-stream");
            headers.insert(CONTENT_TYPE, media_type);
            // Proxies must not collect the events.
            let accel = HeaderName::from_static("x-accel-buffering");
            headers.insert(accel, HeaderValue::from_static("no"));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn open(service: &Service, request: Request) -> Result<Reader, Problem> {
    let permit = Arc::clone(&service.streams).try_acquire_owned();
    let permit = permit.map_err(|_full| {
        let detail = "too many clients follow events";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", detail)
    })?;
    let mut query = Query::parse(request.uri().query())?;
    let team = service.team_of(&mut query);
    let after = resume_after(request.headers(), &mut query)?;
    query.end()?;
    let nothing = to_raw_value(&Nothing {}).expect("bare data has a JSON form");
    let shown = service
        .session
        .call(TeamShow::NAME, Some(team), None, &nothing)
        .await?;
    let team: TeamView = serde_json::from_str(shown.get())?;
    if after > team.revision {
        let text = format!(
            "revision {} does not exist: the newest is {}",
            after.0, team.revision.0
        );
        let refusal = Refusal::new(ErrorCode::WrongState, text);
        return Err(Problem::from(refusal).hint("read the team again, and follow its revision"));
    }
    let feed = Feed::of(service, &team.team).await?;
    let mut greeting = String::from("retry: 1000\n\n");
    if after == Revision(0) {
        let snapshot = Envelopes::new(team.team.clone()).snapshot();
        greeting.push_str(&data(&snapshot));
    }
    let complete_after = feed.ring().complete_after;
    let position = if after < complete_after {
        let replays = Arc::clone(&service.replays).acquire_owned();
        let replays = timeout(REPLAY_WAIT, replays).await.map_err(|_elapsed| {
            let detail = "too many clients read stored events";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", detail)
        })?;
        let session = service
            .session
            .separate(TeamRef::Id(team.team.clone()))
            .await;
        Position::Before(Box::new(Replay {
            subscription: Subscription::new(session, Revision(0), false).await?,
            envelopes: Envelopes::new(team.team),
            deadline: None,
            _replay: replays.expect("the semaphore is never closed"),
        }))
    } else {
        feed.ring().join()
    };
    Ok(Reader {
        changed: feed.changed.subscribe(),
        feed,
        position,
        after,
        greeting: Some(greeting.into()),
        _stream: permit,
    })
}

/// The revision in `Last-Event-ID`, else in the query, else 0.
fn resume_after(headers: &HeaderMap, query: &mut Query) -> Result<Revision, Problem> {
    let asked = query.take("after");
    let header = headers.get(LAST_EVENT_ID);
    let text = match header {
        Some(header) => header.to_str().unwrap_or("?").to_owned(),
        None => asked.unwrap_or_default(),
    };
    // A client without an event sends an empty header.
    if text.is_empty() {
        return Ok(Revision(0));
    }
    let revision = text.parse().map_err(|_error| {
        let detail = format!("{text:?} is not a revision");
        Problem::invalid(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(Revision(revision))
}

impl Feed {
    /// The feed of a team; opens one if there is none.
    async fn of(service: &Service, team: &TeamId) -> Result<Arc<Self>, Problem> {
        if let Some(feed) = find(&service.feeds, team) {
            return Ok(feed);
        }
        // After a stop of the supervisor, all clients return at once. Without the lock each of them would open a
        // connection and read all events before the first one inserts its feed.
        let _opening = service.opening.lock().await;
        if let Some(feed) = find(&service.feeds, team) {
            return Ok(feed);
        }
        // The roles and the run of an event follow from earlier events, so the subscription starts with the first.
        let session = service.session.separate(TeamRef::Id(team.clone())).await;
        let subscription = Subscription::new(session, Revision(0), true).await?;
        let feed = Arc::new(Self {
            ring: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        lock(&service.feeds).insert(team.clone(), Arc::clone(&feed));
        tokio::spawn(fill(
            Arc::clone(&feed),
            subscription,
            Envelopes::new(team.clone()),
        ));
        Ok(feed)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        lock(&self.ring)
    }
}

fn find(feeds: &Feeds, team: &TeamId) -> Option<Arc<Feed>> {
    let feed = lock(feeds).get(team).cloned();
    feed.filter(|feed| !feed.ring().has_ended)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves the maps and rings consistent: each is changed by one operation at a time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills the ring until the user stops the supervisor. After a restart or a crash, waits for the next supervisor.
async fn fill(feed: Arc<Feed>, mut subscription: Subscription, mut envelopes: Envelopes) {
    let mut lost: Option<Instant> = None;
    loop {
        match subscription.next().await {
            Ok(notice) => {
                lost = None;
                let Some(frame) = frame(&notice, &mut envelopes) else {
                    continue;
                };
                feed.ring().push(frame);
                feed.changed.send_modify(|frames| *frames += 1);
            }
            Err(SessionError::NotRunning | SessionError::Connect(_))
                if lost.get_or_insert_with(Instant::now).elapsed() < SUCCESSOR_LIMIT =>
            {
                tokio::time::sleep(SUCCESSOR_PAUSE).await;
            }
            Err(error) => {
                tracing::info!(%error, "the events of a team ended");
                feed.ring().has_ended = true;
                feed.changed.send_modify(|frames| *frames += 1);
                return;
            }
        }
    }
}

/// The text of a notice. Only its last event has the id: a client that is cut off within the notice receives the whole
/// notice again.
fn frame(notice: &Notice, envelopes: &mut Envelopes) -> Option<Frame> {
    let mut events: Vec<String> = envelopes.notice(notice).iter().map(data).collect();
    let revision = match notice {
        Notice::Event(event) => Some(event.revision),
        Notice::Transient(_) => None,
    };
    if let Some(Revision(revision)) = revision {
        let last = events.pop().unwrap_or_else(|| "\n".to_owned());
        events.push(format!("id: {revision}\n{last}"));
    }
    let text = events.concat();
    (!text.is_empty()).then(|| Frame {
        text: text.into(),
        revision,
    })
}

fn data(envelope: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(envelope).expect("an envelope has a JSON form");
    format!("data: {text}\n\n")
}

impl Ring {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.text.len();
        self.frames.push_back(frame);
        while self.frames.len() > RING_FRAMES || (self.bytes > RING_BYTES && self.frames.len() > 1)
        {
            let Some(removed) = self.frames.pop_front() else {
                return;
            };
            self.bytes -= removed.text.len();
            self.first += 1;
            self.complete_after = removed.revision.unwrap_or(self.complete_after);
        }
    }

    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    fn join(&self) -> Position {
        Position::In {
            next: self.first,
            joined: self.end(),
        }
    }
}

impl Reader {
    /// The next events, or a comment; `None`: the stream ends, and the client resumes.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        let keep_alive = Instant::now() + KEEP_ALIVE;
        loop {
            self.join_if_complete();
            if let Position::Before(replay) = &mut self.position {
                if replay
                    .deadline
                    .is_some_and(|deadline| Instant::now() >= deadline)
                {
                    return None;
                }
                let notice = match timeout_at(keep_alive, replay.subscription.next()).await {
                    Ok(notice) => notice.ok()?,
                    Err(_elapsed) => return Some(COMMENT),
                };
                let frame = frame(&notice, &mut replay.envelopes);
                let Some((frame, revision)) = frame.and_then(|frame| {
                    let revision = frame.revision.filter(|revision| *revision > self.after)?;
                    Some((frame, revision))
                }) else {
                    continue;
                };
                replay
                    .deadline
                    .get_or_insert_with(|| Instant::now() + REPLAY_LIMIT);
                self.after = revision;
                return Some(frame.text);
            }
            self.changed.borrow_and_update();
            let chunk = self.take()?;
            if !chunk.is_empty() {
                return Some(chunk.into());
            }
            if timeout_at(keep_alive, self.changed.changed())
                .await
                .is_err()
            {
                return Some(COMMENT);
            }
        }
    }

    /// Moves into the ring once the ring has all events that follow.
    fn join_if_complete(&mut self) {
        if let Position::Before(_) = self.position {
            let ring = lock(&self.feed.ring);
            if self.after >= ring.complete_after {
                self.position = ring.join();
            }
        }
    }

    /// The frames from the position on, possibly none; `None` if the ring no longer has them.
    fn take(&mut self) -> Option<Vec<u8>> {
        let Position::In { next, joined } = &mut self.position else {
            return Some(Vec::new());
        };
        let ring = lock(&self.feed.ring);
        let skip = usize::try_from(next.checked_sub(ring.first)?).ok()?;
        let mut chunk = Vec::new();
        for frame in ring.frames.iter().skip(skip) {
            if chunk.len() >= CHUNK_BYTES {
                break;
            }
            let is_new = match frame.revision {
                Some(revision) => revision > self.after,
                None => *next >= *joined,
            };
            if is_new {
                chunk.extend_from_slice(&frame.text);
                self.after = frame.revision.unwrap_or(self.after);
            }
            *next += 1;
        }
        (!chunk.is_empty() || !ring.has_ended).then_some(chunk)
    }
}

const COMMENT: Bytes = Bytes::from_static(b":\n\n");
