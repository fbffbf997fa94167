//! A blocking client of the supervisor. It makes one call at a time, so that the cost of the client itself is small and
//! predictable.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_team_protocol::TeamId;
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::method::{EventSubscribe, Method, Subscribe};
use agent_team_protocol::notification::{EventNotice, Notification};
use agent_team_protocol::rpc::{self, Call, Frame, FrameKind, TeamRef};
use anyhow::{Context as _, Result, bail};

/// Read timeout; longer than any measured time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) struct Wire {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
    next_id: u64,
    client: String,
    events: VecDeque<Event>,
}

/// A stored event and its time of arrival.
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) kind: String,
}

impl Wire {
    /// Opens a connection with its own client identity.
    pub(super) fn connect(socket: &Path, client: &str) -> Result<Self> {
        let mut writer = UnixStream::connect(socket).context("cannot connect to the supervisor")?;
        writer.set_read_timeout(Some(LONGEST_WAIT))?;
        writer.write_all(rpc::initialize(0, &Initialize::client(client)).as_bytes())?;
        let mut reader = BufReader::with_capacity(64 * 1024, writer.try_clone()?);
        let mut answer = String::new();
        reader.read_line(&mut answer)?;
        if !answer.contains("\"result\"") {
            bail!("the supervisor refused initialize: {answer:?}");
        }
        Ok(Self {
            writer,
            reader,
            next_id: 0,
            client: client.to_owned(),
            events: VecDeque::new(),
        })
    }

    /// Makes a call and waits for the answer; keeps events that arrive before the answer.
    pub(super) fn call<M: Method>(
        &mut self,
        team: Option<&TeamId>,
        args: M::Args,
    ) -> Result<M::Answer> {
        self.next_id += 1;
        let call = Call {
            team: team.cloned().map(TeamRef::Id),
            key: Some(format!("{}-{}", self.client, self.next_id)),
            args,
        };
        self.writer
            .write_all(rpc::request::<M>(self.next_id, &call).as_bytes())?;
        loop {
            let frame = self.frame()?;
            match Frame::parse(&frame).and_then(Frame::kind)? {
                // Ignore the answer to an earlier call that timed out.
                FrameKind::Response { id, .. } if id.get() != self.next_id.to_string() => {}
                FrameKind::Response {
                    outcome: Ok(result),
                    ..
                } => return Ok(serde_json::from_str(result.get())?),
                FrameKind::Response {
                    outcome: Err(error),
                    ..
                } => bail!("{}: {}", M::NAME, error.message),
                FrameKind::Notification { method, params } if method == EventNotice::NAME => {
                    self.keep(params.get())?
                }
                FrameKind::Notification { .. } | FrameKind::Request { .. } => {}
            }
        }
    }

    /// Subscribes to events; required before [`next_event`](Self::next_event).
    pub(super) fn subscribe(&mut self, team: &TeamId) -> Result<()> {
        let show = self.call::<agent_team_protocol::method::TeamShow>(
            Some(team),
            agent_team_protocol::method::Nothing {},
        )?;
        let after = show.revision;
        self.call::<EventSubscribe>(
            Some(team),
            Subscribe {
                after,
                transient: false,
            },
        )?;
        Ok(())
    }

    pub(super) fn next_event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let frame = self.frame()?;
            if let FrameKind::Notification { method, params } =
                Frame::parse(&frame).and_then(Frame::kind)?
                && method == EventNotice::NAME
            {
                self.keep(params.get())?;
            }
        }
    }

    /// Takes events until `count` of them are of this kind, including events that arrived during earlier calls. Returns
    /// the time at which the last of them arrived.
    pub(super) fn wait_for(&mut self, kind: &str, count: usize) -> Result<Instant> {
        let mut seen = 0;
        loop {
            let event = self
                .next_event()
                .with_context(|| format!("received {seen} of {count} events {kind}"))?;
            seen += usize::from(event.kind == kind);
            if seen >= count {
                return Ok(event.at);
            }
        }
    }

    fn keep(&mut self, params: &str) -> Result<()> {
        let at = Instant::now();
        let notice: EventNotice = serde_json::from_str(params)?;
        let event = serde_json::to_value(notice.event)?;
        let kind = event["kind"].as_str().unwrap_or_default().to_owned();
        self.events.push_back(Event { at, kind });
        Ok(())
    }

    fn frame(&mut self) -> Result<String> {
        let mut frame = String::new();
        if self.reader.read_line(&mut frame)? == 0 {
            bail!("the supervisor closed the connection");
        }
        Ok(frame)
    }
}
