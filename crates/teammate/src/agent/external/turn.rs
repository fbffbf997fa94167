//! One turn of an external agent: its prompt, if it begins with one, its updates and permission questions, and the
//! messages that arrive meanwhile. Called by the loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::channel::{Began, Event, SideChannel, TurnError};
use super::inputs::Prompt;
use super::permission::{PermissionOutcome, decide};
use super::updates::Updates;
use super::wire::StopReason;
use super::{CANCEL_LIMIT, Entry, ExchangeEnd, External, Start};
use crate::agent::conversation::End;
use crate::timer::sleep_until;

const INTERRUPTED: &str = "A message interrupted your turn. Handle it first, then continue.";

/// The largest number of open permission questions. Further questions are answered as cancelled.
const QUESTIONS_MAX: usize = 32;

/// How long to wait for the answers to withdrawn questions at the end of a turn.
const WITHDRAWN_LIMIT: Duration = Duration::from_millis(500);

/// How long to wait for the end of a connection that has failed.
const CLOSED_LIMIT: Duration = Duration::from_secs(2);

impl External {
    /// Sends a prompt, if the turn begins with one, and follows the turn to its end. Returns the agent's text.
    pub(super) async fn exchange(
        &mut self,
        channel: &mut dyn SideChannel,
        start: Start,
    ) -> Result<(ExchangeEnd, String), End> {
        let sink = self.team.sink.clone();
        let name = self.external.name.clone();
        let context = Arc::clone(&self.context);
        let mut updates = Updates::new(&sink, &name, &context.secrets);
        let ended = self.follow(channel, start, &mut updates).await;
        let report = updates.finish();
        Ok((ended?, report))
    }

    /// Sends a prompt, if the turn begins with one, and passes the updates of the turn to `updates`.
    async fn follow(
        &mut self,
        channel: &mut dyn SideChannel,
        start: Start,
        updates: &mut Updates<'_>,
    ) -> Result<ExchangeEnd, End> {
        let sink = self.team.sink.clone();
        let _working = sink.show_thinking();
        let mut steered: JoinSet<(Prompt, bool)> = JoinSet::new();
        let mut questions: JoinSet<PermissionOutcome> = JoinSet::new();
        let mut permits = BTreeMap::new();
        self.meter.begin_turn();
        let (mut response, mut unaccepted) = match start {
            Start::Prompt(prompt) => (channel.prompt(&prompt.full_text()), Some(prompt)),
            Start::Began(Began { text, end }) => {
                self.append(vec![Entry::Sent(text)], Vec::new(), None)
                    .await?;
                (end, None)
            }
        };
        let reports_acceptance = channel.reports_acceptance();
        // The time at which a cancelled turn must have ended.
        let mut ends_before = None;
        let mut over = None;
        let mut prompt_end = None;
        let ended = loop {
            // A message that was offered to the agent can begin another turn, in which the agent asks for permissions:
            // handle its events until that turn has ended, too.
            if steered.is_empty()
                && let Some(ended) = over.take()
            {
                break ended;
            }
            let finish_at = self.inputs.finish_at;
            // Poll inputs before events: otherwise, an agent that sends events without pause could not be interrupted
            // or stopped.
            tokio::select! {
                biased;
                () = sleep_until(finish_at) => return Err(End::Stopped),
                () = sleep_until(ends_before) => break ExchangeEnd::Unresponsive,
                // A limit can be reached during the turn.
                () = sleep_until(self.meter.due()), if unaccepted.is_none() => {
                    self.store_usage().await?;
                }
                () = self.inputs.receive() => {
                    let steers = channel.steers();
                    let must_cancel = self.inputs.is_interrupted
                        || self.inputs.is_abandoned
                        || self.inputs.finish_at.is_some()
                        || self.inputs.allowances.waits().is_some()
                        || self.inputs.is_urgent;
                    if must_cancel && ends_before.is_none() {
                        ends_before = Some(Instant::now() + CANCEL_LIMIT);
                        channel.cancel();
                        // The protocol requires an answer to each open question of a cancelled turn. The agent may wait
                        // for this answer before it ends the turn.
                        questions.abort_all();
                        if self.inputs.is_urgent {
                            self.inputs.notes.push(INTERRUPTED.to_owned());
                        }
                    } else if steers && ends_before.is_none() {
                        let messages = self.steerable();
                        if !messages.read.is_empty() {
                            let sent = channel.steer(&messages.text);
                            steered.spawn(async move { (messages, sent.await) });
                        }
                    }
                }
                response = &mut response, if over.is_none() => {
                    over = Some(match response {
                        Ok(end) => {
                            let reason = end.stop_reason;
                            prompt_end = Some(end);
                            ExchangeEnd::Turn(reason)
                        }
                        Err(TurnError::Closed) => {
                            let (why, has_begun) = closed(channel, updates).await;
                            if has_begun && !reports_acceptance {
                                self.accepted(unaccepted.take()).await?;
                            }
                            return Err(self.exited(&why));
                        }
                        // Some agents answer a cancelled prompt with an error.
                        Err(_) if ends_before.is_some() => {
                            self.inputs.keep(unaccepted.take());
                            ExchangeEnd::Turn(StopReason::Cancelled)
                        }
                        Err(TurnError::Failed(why)) => ExchangeEnd::Failed(why),
                    });
                },
                event = channel.next() => {
                    let shows_acceptance = match &event {
                        Event::Closed(_) | Event::Unusable(_) => false,
                        Event::Accepted => true,
                        Event::Update(_)
                        | Event::Began(_)
                        | Event::Session(_)
                        | Event::Notice(_)
                        | Event::Permission(_)
                        | Event::Drain(_) => !reports_acceptance,
                    };
                    if shows_acceptance {
                        self.accepted(unaccepted.take()).await?;
                    }
                    match event {
                        Event::Accepted => {}
                        // If the turn has ended, a message that was offered to the agent has begun another turn.
                        // Otherwise, a turn of the user precedes the prompt.
                        Event::Began(began) => if over.take().is_some() {
                            response = began.end;
                        },
                        Event::Session(id) => self.session_changed(id),
                        Event::Notice(line) => self.notice(&line),
                        Event::Update(update) => {
                            self.meter.read(&update);
                            if let Some(call) = updates.show(update) {
                                permits.remove(&call);
                            }
                        }
                        Event::Permission(question)
                            if ends_before.is_some() || questions.len() >= QUESTIONS_MAX =>
                        {
                            drop(question);
                        }
                        Event::Permission(question) => {
                            questions.spawn(decide(
                                question,
                                self.external.name.clone(),
                                self.permission.clone(),
                                Arc::clone(&self.context),
                                sink.clone(),
                            ));
                        }
                        Event::Drain(answer) => {
                            let messages = self.steerable();
                            let texts = (!messages.read.is_empty()).then(|| messages.text.clone());
                            answer(texts.as_slice());
                            self.steered(messages, true).await?;
                        }
                        Event::Unusable(why) => return Err(self.unusable(&why)),
                        Event::Closed(why) => return Err(self.exited(&why)),
                    }
                }
                Some(decided) = questions.join_next() => if let Ok(decided) = decided {
                    if let Some(reason) = decided.denied {
                        self.inputs.notes.push(reason);
                    }
                    permits.extend(decided.permit.map(|permit| (decided.call, permit)));
                },
                Some(sent) = steered.join_next() => if let Ok((prompt, is_accepted)) = sent {
                    self.steered(prompt, is_accepted).await?;
                },
            }
        };
        // The channel has withdrawn the questions that the user has answered in the terminal: report these answers.
        if self.terminal.is_some() {
            let withdrawn = async {
                while let Some(decided) = questions.join_next().await {
                    let denied = decided.ok().and_then(|decided| decided.denied);
                    self.inputs.notes.extend(denied);
                }
            };
            let _open = tokio::time::timeout(WITHDRAWN_LIMIT, withdrawn).await;
            // A dropped request reports the answer in a separate tokio task, which must run first: the end of the turn
            // would withdraw the request without the answer.
            tokio::task::yield_now().await;
        }
        // Handle the updates that arrived before the response.
        while let Some(event) = channel.try_next() {
            match event {
                Event::Update(update) => {
                    if !reports_acceptance {
                        self.accepted(unaccepted.take()).await?;
                    }
                    self.meter.read(&update);
                    updates.show(update);
                }
                Event::Accepted => self.accepted(unaccepted.take()).await?,
                Event::Session(id) => self.session_changed(id),
                Event::Notice(line) => self.notice(&line),
                Event::Unusable(why) => return Err(self.unusable(&why)),
                // Dropping a question answers it. `next` reports the end of the connection again, and only `next`
                // reports the beginning of a turn.
                Event::Permission(_) | Event::Drain(_) | Event::Closed(_) | Event::Began(_) => {}
            }
        }
        if let Some(end) = prompt_end {
            self.meter.end_turn(&end.usage, &end.meta);
        }
        match &ended {
            ExchangeEnd::Turn(_) => self.accepted(unaccepted).await?,
            ExchangeEnd::Failed(_) => self.inputs.keep(unaccepted),
            ExchangeEnd::Unresponsive => {
                self.inputs.keep(unaccepted);
                channel.stop().await;
                // Each message that was offered during the turn fails now, and is kept.
                while let Some(Ok((prompt, is_accepted))) = steered.join_next().await {
                    self.steered(prompt, is_accepted).await?;
                }
            }
        }
        Ok(ended)
    }
}

/// Why the connection has ended, and whether an update arrived before.
async fn closed(channel: &mut dyn SideChannel, updates: &mut Updates<'_>) -> (String, bool) {
    let mut has_begun = false;
    let closed = async {
        loop {
            match channel.next().await {
                Event::Closed(why) => return why,
                Event::Update(update) => {
                    has_begun = true;
                    updates.show(update);
                }
                // Dropping a question answers it.
                Event::Permission(_)
                | Event::Drain(_)
                | Event::Unusable(_)
                | Event::Accepted
                | Event::Began(_)
                | Event::Session(_)
                | Event::Notice(_) => {}
            }
        }
    };
    let why = tokio::time::timeout(CLOSED_LIMIT, closed).await;
    let why = why.unwrap_or_else(|_| "it does not read its messages".to_owned());
    (why, has_begun)
}
