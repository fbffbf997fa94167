//! `GET /events`: the events of a team as server-sent events, each an envelope as `events --json` prints it. `id:` is
//! the revision; a client that sends it as `Last-Event-ID` continues after that revision without a gap.
//!
//! ```text
//! supervisor ─► Feed: one subscription per team ─► ring of frames ─► each client, at its own position
//! supervisor ─► a subscription for a client that resumes before the ring, until it reaches the ring
//! ```
//! The ring has a limit, and each client holds only a position in it. A client that falls behind the ring is cut off
//! and resumes by itself, so a slow client delays no other and costs no memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_team_client::{Envelopes, Notice, Subscription};
use agent_team_protocol::method::{Method, Nothing, TeamShow};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::TeamView;
use agent_team_protocol::{ErrorCode, Refusal, Revision, TeamId};
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::value::to_raw_value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Service;
use crate::call::Query;
use crate::follow::Follower;
use crate::problem::Problem;
use crate::sse::{self, COMMENT, KEEP_ALIVE};

/// Limits of the ring. The newest frame always fits.
const RING_FRAMES: usize = 8192;
const RING_BYTES: usize = 4 << 20;

/// Time limit of a replay, from the first event that the client lacks. Then the client is cut off and resumes: clients
/// that read slowly must not occupy all of the [`crate::REPLAYS_MAX`] replays.
const REPLAY_LIMIT: Duration = Duration::from_secs(60);

/// How long a client waits until a replay may begin.
const REPLAY_WAIT: Duration = Duration::from_secs(15);

/// A chunk that has reached this many bytes receives no further frame.
const CHUNK_BYTES: usize = 32 << 10;

/// The feeds by team.
pub(crate) type Feeds = Mutex<BTreeMap<TeamId, Arc<Feed>>>;

/// The newest events of a team, for all its clients.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    /// Changes with each frame, and when the feed ends.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The number of the first frame; frames are numbered from 0.
    first: u64,
    /// All stored events after this revision that the feed has received are in the ring.
    complete_after: Revision,
    /// The subscription has ended; the next client opens a new feed.
    has_ended: bool,
}

/// The server-sent events of one notice.
#[derive(Debug)]
struct Frame {
    text: Bytes,
    /// `None`: the notice is not stored. Only clients that are connected when it occurs receive it.
    revision: Option<Revision>,
}

/// The event stream of a client.
struct Reader {
    feed: Arc<Feed>,
    changed: watch::Receiver<u64>,
    position: Position,
    /// The last revision that the client has.
    after: Revision,
    /// The bytes to send before the first event.
    greeting: Option<Bytes>,
    _stream: OwnedSemaphorePermit,
}

enum Position {
    /// The client resumes before the ring: it reads a subscription of its own.
    Before(Box<Replay>),
    /// `next`: the number of the next frame. Frames without a revision are sent only from the number `joined` on.
    In { next: u64, joined: u64 },
}

/// The stored events before the ring, for one client.
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
        Ok(reader) => sse::response(stream::unfold(reader, async |mut reader| {
            let chunk = reader.next().await?;
            Some((chunk, reader))
        })),
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
    let after = sse::resume_after(request.headers(), query.take("after"))?;
    let after = after.unwrap_or(Revision(0));
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
        greeting.push_str(&sse::data(&snapshot));
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

impl Feed {
    /// The feed of a team; opens one if there is none.
    async fn of(service: &Service, team: &TeamId) -> Result<Arc<Self>, Problem> {
        if let Some(feed) = find(&service.feeds, team) {
            return Ok(feed);
        }
        // After a stop of the supervisor, all clients return at once. Without the lock, each of them would open a
        // connection and read all events before the first client inserts its feed.
        let _opening = service.opening.lock().await;
        if let Some(feed) = find(&service.feeds, team) {
            return Ok(feed);
        }
        // The roles and the run of an event follow from earlier events, so the subscription starts with the first
        // event.
        let session = service.session.separate(TeamRef::Id(team.clone())).await;
        let subscription = Subscription::new(session, Revision(0), true).await?;
        let feed = Arc::new(Self {
            ring: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        lock(&service.feeds).insert(team.clone(), Arc::clone(&feed));
        let filled = fill(
            Arc::clone(&feed),
            Follower::new(subscription),
            Envelopes::new(team.clone()),
        );
        let (feeds, ended) = (Arc::clone(&service.feeds), Arc::clone(&feed));
        let team = team.clone();
        tokio::spawn(async move {
            filled.await;
            // Remove the feed. The last client that still reads the ring then frees the ring.
            let mut feeds = lock(&feeds);
            if feeds
                .get(&team)
                .is_some_and(|feed| Arc::ptr_eq(feed, &ended))
            {
                feeds.remove(&team);
            }
        });
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
    // No operation under these locks can panic between two changes, so a poisoned lock can be used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills the ring until the follower fails: see [`Follower::next`].
async fn fill(feed: Arc<Feed>, mut follower: Follower, mut envelopes: Envelopes) {
    loop {
        match follower.next().await {
            Ok(notice) => {
                let Some(frame) = frame(&notice, &mut envelopes) else {
                    continue;
                };
                feed.ring().push(frame);
                feed.changed.send_modify(|frames| *frames += 1);
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

/// The frame of a notice; `None` if the notice yields no envelope.
fn frame(notice: &Notice, envelopes: &mut Envelopes) -> Option<Frame> {
    let events = envelopes.notice(notice).iter().map(sse::data).collect();
    let revision = match notice {
        Notice::Event(event) => Some(event.revision),
        Notice::Transient(_) => None,
    };
    let text = sse::with_id(revision, events);
    (!text.is_empty()).then(|| Frame {
        text: text.into(),
        revision,
    })
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

    /// Moves into the ring once the ring has all events that the client lacks.
    fn join_if_complete(&mut self) {
        if let Position::Before(_) = self.position {
            let ring = lock(&self.feed.ring);
            if self.after >= ring.complete_after {
                self.position = ring.join();
            }
        }
    }

    /// The next chunk of frames, possibly empty. `None` if the ring has dropped the next frame, or if the feed has
    /// ended and has no new frame.
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
