//! `run --events`: the run as it happens, an envelope a line on stdout. Called by `run`.

use std::pin::pin;

use agent_team_protocol::envelope::{AgUi, Envelope, Envelopes};
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::result::RunResult;
use agent_team_protocol::view::RunView;
use agent_team_protocol::{Revision, RunId, TeamId};

use crate::error::Failure;
use crate::output::Output;
use crate::session::{Notice, Session, Subscription};
use crate::verb::waiting::{self, Waited};

/// What of a run is told from its beginning to its end, and nothing after it.
#[derive(Debug)]
pub(super) struct Stream {
    events: Subscription,
    /// The run's last event, which is not told before all else.
    end: Option<Envelope>,
}

impl Stream {
    /// Listens from before the run begins, so that nothing of it is missed.
    pub(super) async fn new(session: &Session, after: Revision) -> Result<Self, Failure> {
        Ok(Self {
            events: Subscription::new(session.another(), after, true).await?,
            end: None,
        })
    }

    /// Tells of the run until it has ended, and waits for what came of it.
    pub(super) async fn until(
        &mut self,
        session: &Session,
        run: RunId,
        ended: impl Future<Output = Result<RunView, Failure>>,
    ) -> Result<Waited<RunView>, Failure> {
        let mut interrupt = waiting::interrupt()?;
        let mut session = session.another();
        let team = session.ask::<TeamShow>(Nothing {}).await?;
        let tasks = session.board().await?;
        let envelopes = Envelopes::standing(&team, &tasks);
        let mut ended = pin!(ended);
        let mut telling = pin!(self.tell(envelopes, run));
        let mut told = false;
        let answer = loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(Waited::Interrupted),
                end = &mut telling, if !told => {
                    end?;
                    told = true;
                }
                answer = &mut ended => break answer?,
            }
        };
        if !told {
            telling.await?;
        }
        let tasks = session.board().await?;
        Ok(Waited::Ended { answer, tasks })
    }

    async fn tell(&mut self, mut envelopes: Envelopes, run: RunId) -> Result<(), Failure> {
        let mut begun = false;
        loop {
            let told = match self.events.next().await? {
                Notice::Event(event) => envelopes.event(&event),
                Notice::Transient(transient) => envelopes.transient(&transient),
            };
            for envelope in told {
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

    /// Tells the end, with what came of the run.
    pub(super) fn end(self, result: &RunResult) -> Result<(), Failure> {
        let Some(mut end) = self.end else {
            return Ok(());
        };
        if let AgUi::RunFinished { result: told, .. } = &mut end.event {
            *told = serde_json::to_value(result).expect("views have a JSON form");
        }
        print(&end)
    }
}

/// The last line of a run that came to nothing.
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
