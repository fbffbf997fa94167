//! `run --events`: prints the events of one run as envelopes, one per line. Called by `run`.

use std::pin::pin;

use agent_team_client::{Envelopes, Session, SessionError, Subscription};
use agent_team_protocol::envelope::{AgUi, Envelope};
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::result::RunResult;
use agent_team_protocol::view::RunView;
use agent_team_protocol::{Revision, RunId, TeamId};

use crate::error::Failure;
use crate::output::Output;
use crate::verb::waiting::{self, WaitOutcome};

/// The events of one run, from its start event to its end event.
#[derive(Debug)]
pub(super) struct Stream {
    events: Subscription,
    /// The end event of the run. It is printed last, with the result of the run.
    end: Option<Envelope>,
}

impl Stream {
    /// Subscribes before the run starts, so that none of its events is missed.
    pub(super) async fn new(session: &Session, after: Revision) -> Result<Self, Failure> {
        Ok(Self {
            events: Subscription::new(session.separate(), after, true).await?,
            end: None,
        })
    }

    /// Prints the events of the run until its end and waits for the result.
    pub(super) async fn until(
        &mut self,
        session: &Session,
        run: RunId,
        ended: impl Future<Output = Result<RunView, SessionError>>,
    ) -> Result<WaitOutcome<RunView>, Failure> {
        let mut interrupt = waiting::interrupt()?;
        let mut session = session.separate();
        let team = session.query::<TeamShow>(Nothing {}).await?;
        let tasks = session.board().await?;
        let envelopes = Envelopes::from_views(&team, &tasks);
        let mut ended = pin!(ended);
        let mut printing = pin!(self.print_run(envelopes, run));
        let mut printed = false;
        let answer = loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(WaitOutcome::Interrupted),
                end = &mut printing, if !printed => {
                    end?;
                    printed = true;
                }
                answer = &mut ended => break answer?,
            }
        };
        if !printed {
            printing.await?;
        }
        let tasks = session.board().await?;
        Ok(WaitOutcome::Ended { answer, tasks })
    }

    async fn print_run(&mut self, mut envelopes: Envelopes, run: RunId) -> Result<(), Failure> {
        let mut begun = false;
        loop {
            for envelope in envelopes.notice(&self.events.next().await?) {
                let is_start =
                    matches!(&envelope.event, AgUi::RunStarted { run_id, .. } if *run_id == run);
                let is_end = matches!(
                    &envelope.event,
                    AgUi::RunFinished { .. } | AgUi::RunError { .. }
                );
                if begun && is_end {
                    self.end = Some(envelope);
                    return Ok(());
                }
                begun |= is_start;
                if begun {
                    print(&envelope)?;
                }
                if is_start {
                    print(&envelopes.snapshot())?;
                }
            }
        }
    }

    /// Prints the end event with the result of the run.
    pub(super) fn end(self, result: &RunResult) -> Result<(), Failure> {
        let Some(mut end) = self.end else {
            return Ok(());
        };
        if let AgUi::RunFinished {
            result: in_event, ..
        } = &mut end.event
        {
            *in_event = serde_json::to_value(result).expect("views have a JSON form");
        }
        print(&end)
    }
}

/// Prints an error event, for a command that fails or is interrupted before the end event of its run.
pub(super) fn fail(team: &TeamId, code: &str, message: &str) -> Result<(), Failure> {
    print(&Envelope {
        team_id: team.clone(),
        agent_id: None,
        role_name: None,
        run_id: None,
        event: AgUi::RunError {
            message: message.to_owned(),
            code: Some(code.to_owned()),
            timestamp: None,
        },
        revision: None,
    })
}

fn print(envelope: &Envelope) -> Result<(), Failure> {
    Output::new(true).item(envelope, String::new)
}
