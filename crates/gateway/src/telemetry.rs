//! OpenTelemetry: exports what the team does as traces and metrics, if the environment names a collector. Called by
//! `agent-team serve`.
//!
//! ```text
//! events ─► client::spans ─► ended spans ──────────────► trace.rs ─► sender.rs ─► collector
//!              └─ ended turn ─► its transcript items ─► steps.rs ──┘
//! TeamShow, steps ─► measures.rs ─────────────────────────────────────┘
//! ```
//! A span is made from stored events when it ends, so no member and no supervisor waits for the collector. Ids follow
//! from the history: a span that is exported twice has the same ids.
//!
//! No text of users, models, tools or members is exported: only names, ids, states, times, tokens and costs.

mod environment;
mod measures;
mod otlp;
mod sender;
mod steps;
mod trace;

use std::collections::BTreeMap;
use std::time::Duration;

use agent_team_client::spans::{Span, Spans, Work};
use agent_team_client::{Notice, Session, SessionError, Subscription};
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{
    MemberShow, OneMember, ReadTranscript, TeamShow, TranscriptRead,
};
use agent_team_protocol::method::{Nothing, TranscriptPage};
use agent_team_protocol::notification::EventNotice;
use agent_team_protocol::{MemberName, Revision, TeamId};
use agent_team_system::clock::wall_ms;
use tokio::time::{MissedTickBehavior, interval, sleep};

pub use self::environment::{InvalidVariable, TelemetrySettings};

use self::measures::Measures;
use self::sender::Sender;
use self::steps::Steps;
use self::trace::Trace;

/// Pause before the events of the team are followed again, after the supervisor was stopped.
const PAUSE: Duration = Duration::from_secs(5);

/// How long the last export may take when the service ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// Maximum number of transcript items that are read for one turn.
const ITEMS_MAX: u64 = 2_000;

/// Exports the spans and the metrics of one team.
#[derive(Debug)]
pub struct Telemetry {
    team: TeamId,
    /// Each subscription to the events uses a separate connection of this session.
    session: Session,
    /// Makes the calls.
    calls: Session,
    spans: Spans,
    trace: Trace,
    measures: Measures,
    sender: Sender,
    settings: TelemetrySettings,
    /// The last revision that was read.
    last: Revision,
    /// Spans that end at or before this revision are not exported: an earlier service may have exported them.
    after: Option<Revision>,
    /// For each event that stored items of a member's turn: the length of the transcript after the event, and the time
    /// of the event.
    stored: BTreeMap<MemberName, Vec<(u64, u64)>>,
    /// The models of the members, as `provider/model`.
    models: BTreeMap<MemberName, String>,
}

impl Telemetry {
    /// Exports nothing before [`Telemetry::run`]. `report` receives one line when the collector cannot be reached, and
    /// when it can be reached again.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(
        settings: TelemetrySettings,
        team: TeamId,
        session: &Session,
        report: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let sender = Sender::start(&settings, Box::new(report))?;
        Ok(Self {
            trace: Trace::new(team.clone()),
            measures: Measures::new(wall_ms()),
            team,
            session: session.separate(),
            calls: session.separate(),
            spans: Spans::default(),
            sender,
            settings,
            last: Revision(0),
            after: None,
            stored: BTreeMap::new(),
            models: BTreeMap::new(),
        })
    }

    /// Follows the team until the future is dropped. Then call [`Telemetry::finish`].
    pub async fn run(&mut self) {
        loop {
            // The user stopped the supervisor, or it does not run. The service must not start it.
            let _ended = self.follow().await;
            sleep(PAUSE).await;
        }
    }

    async fn follow(&mut self) -> Result<(), SessionError> {
        let session = self.session.separate();
        let mut events = Subscription::new(session, self.last, false).await?;
        let after = *self.after.get_or_insert(events.head());
        let mut flush = interval(self.settings.span_delay);
        let mut measure = interval(self.settings.metric_interval);
        for timer in [&mut flush, &mut measure] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer.reset();
        }
        loop {
            tokio::select! {
                notice = events.next() => {
                    if let Notice::Event(event) = notice? {
                        self.event(&event, event.revision > after).await;
                    }
                }
                _ = flush.tick() => self.flush().await,
                _ = measure.tick() => self.measure().await,
            }
        }
    }

    async fn event(&mut self, event: &EventNotice, is_new: bool) {
        self.last = event.revision;
        let ended = self.spans.add(event);
        if let ClientEvent::TranscriptGrown { member, transcript } = &event.event {
            let stored = self.stored.entry(member.clone()).or_default();
            stored.push((transcript.length, event.at));
        }
        for span in ended {
            if is_new {
                self.export(&span).await;
            }
            if let (Work::Turn { .. }, Some(member)) = (&span.work, &span.member) {
                // The entries of the next turn may already be stored.
                if self.spans.turn(member).is_none() {
                    self.stored.remove(member);
                }
            }
        }
    }

    /// Sends the spans that have ended.
    async fn flush(&mut self) {
        if let Some(turn) = self.spans.take_ended() {
            self.export(&turn).await;
            if let Some(member) = &turn.member {
                self.stored.remove(member);
            }
        }
        self.sender.spans(self.trace.take(), &self.resource());
    }

    async fn export(&mut self, span: &Span) {
        if !self.settings.traces.is_enabled() && !self.settings.metrics.is_enabled() {
            return;
        }
        if let (Work::Turn { first, length }, Some(member)) = (&span.work, &span.member) {
            let (first, length, member) = (*first, *length, member.clone());
            self.read_model(&member).await;
            let model = self.models.get(&member).map(String::as_str);
            let stored = self.stored.get(&member).map_or(&[][..], Vec::as_slice);
            let mut steps = Steps::new(span, first, stored);
            let end = length.min(first + ITEMS_MAX);
            let mut after = first;
            while after < end {
                // The page cannot be read, for example because the transcript was discarded: export the turn with the
                // steps so far.
                let Some(page) = read_items(&mut self.calls, &member, after).await else {
                    break;
                };
                after += page.items.len() as u64;
                let more = page.more && !page.items.is_empty();
                steps.add(&page.items, end);
                if !more {
                    break;
                }
            }
            let steps = steps.finish();
            self.measures.add(&steps, model);
            self.trace.turn(span, &steps, model);
        } else {
            self.trace.add(span);
        }
        if self.trace.is_full() {
            self.sender.spans(self.trace.take(), &self.resource());
        }
    }

    /// Reads the model of a member, which can change between two turns.
    async fn read_model(&mut self, member: &MemberName) {
        let args = OneMember {
            member: member.clone(),
        };
        if let Ok(shown) = self.calls.query::<MemberShow>(args).await
            && let Some(model) = shown.member.model
        {
            self.models.insert(member.clone(), model);
        }
    }

    async fn measure(&mut self) {
        if !self.settings.metrics.is_enabled() {
            return;
        }
        if let Ok(team) = self.calls.query::<TeamShow>(Nothing {}).await {
            let metrics = self.measures.document(&team, wall_ms());
            self.sender.metrics(metrics, &self.resource());
        }
    }

    fn resource(&self) -> serde_json::Value {
        otlp::resource(&self.settings, &self.team)
    }

    /// Sends the ended spans and the metrics, for at most three seconds.
    pub async fn finish(mut self) {
        let last = async {
            self.flush().await;
            self.measure().await;
            self.sender.finish().await;
        };
        // The collector may not answer.
        let _elapsed = tokio::time::timeout(FLUSH_LIMIT, last).await;
    }
}

async fn read_items(
    calls: &mut Session,
    member: &MemberName,
    after: u64,
) -> Option<TranscriptPage> {
    let read = ReadTranscript {
        member: Some(member.clone()),
        after,
    };
    calls.query::<TranscriptRead>(read).await.ok()
}
