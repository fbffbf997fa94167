//! Handles requests and notifications of the supervisor. Called by the link's thread.

use agent_team_client::{Arrival, Client};
use agent_team_protocol::method::{MemberPing, Method, Nothing};
use agent_team_protocol::notification::{
    Abandon, Allowance, Assignment, CompactConversation, Deliver, GoalEnded, Goodbye,
    GoodbyeReason, InterruptTurn, Notification, NotifyUser, RequestNotice, SendPrompt, ShowPane,
    StopMember, TypedShellLine,
};
use agent_team_protocol::{ErrorCode, Refusal};
use serde_json::value::RawValue;

use super::event::{ConnectionEnd, LinkEnd, LinkEvent};

/// The effect of a frame on the link.
pub(super) enum FrameEffect {
    Event(LinkEvent),
    Goodbye(Goodbye),
    Nothing,
}

/// Answers requests of the supervisor, and classifies its notifications.
pub(super) async fn arrived(client: &Client, arrival: Arrival) -> FrameEffect {
    match arrival {
        Arrival::Request { id, method, .. } => {
            let answered = if method == MemberPing::NAME {
                client.answer(&id, &Nothing {}).await
            } else {
                let text = format!("unknown method {method} for a worker");
                client
                    .refuse(&id, Refusal::new(ErrorCode::MethodNotFound, text))
                    .await
            };
            if answered.is_err() {
                tracing::debug!(method, "an answer was lost with its connection");
            }
            FrameEffect::Nothing
        }
        Arrival::Notification { method, params } => {
            notified(&method, &params).unwrap_or_else(|error| {
                tracing::warn!(method, %error, "skipped an invalid notification");
                FrameEffect::Nothing
            })
        }
    }
}

fn notified(method: &str, params: &RawValue) -> serde_json::Result<FrameEffect> {
    let params = params.get();
    Ok(match method {
        Assignment::NAME => FrameEffect::Event(LinkEvent::Start(serde_json::from_str(params)?)),
        Abandon::NAME => FrameEffect::Event(LinkEvent::Abandon(serde_json::from_str(params)?)),
        Deliver::NAME => FrameEffect::Event(LinkEvent::Deliver(serde_json::from_str(params)?)),
        StopMember::NAME => FrameEffect::Event(LinkEvent::Stop(serde_json::from_str(params)?)),
        InterruptTurn::NAME => FrameEffect::Event(LinkEvent::Interrupt),
        CompactConversation::NAME => FrameEffect::Event(LinkEvent::Compact),
        TypedShellLine::NAME => {
            let typed: TypedShellLine = serde_json::from_str(params)?;
            FrameEffect::Event(LinkEvent::RunLine(typed.line))
        }
        SendPrompt::NAME => {
            FrameEffect::Event(LinkEvent::SendPrompt(serde_json::from_str(params)?))
        }
        RequestNotice::NAME => {
            FrameEffect::Event(LinkEvent::RequestNotice(serde_json::from_str(params)?))
        }
        GoalEnded::NAME => FrameEffect::Event(LinkEvent::GoalEnded(serde_json::from_str(params)?)),
        NotifyUser::NAME => {
            FrameEffect::Event(LinkEvent::NotifyUser(serde_json::from_str(params)?))
        }
        Allowance::NAME => FrameEffect::Event(LinkEvent::Allowance(serde_json::from_str(params)?)),
        ShowPane::NAME => FrameEffect::Event(LinkEvent::Show(serde_json::from_str(params)?)),
        Goodbye::NAME => FrameEffect::Goodbye(serde_json::from_str(params)?),
        _ => {
            tracing::debug!(method, "unknown notification");
            FrameEffect::Nothing
        }
    })
}

/// Classifies the end of a connection that the supervisor closed deliberately.
pub(super) fn connection_end(goodbye: Goodbye) -> ConnectionEnd {
    match goodbye.reason {
        GoodbyeReason::Restarting => ConnectionEnd::Restarting,
        GoodbyeReason::Stopped => ConnectionEnd::Over(LinkEnd::Stopped),
        GoodbyeReason::Closed | GoodbyeReason::Unknown => match goodbye.error {
            None => ConnectionEnd::Over(LinkEnd::Retired(
                "the supervisor closed the connection".into(),
            )),
            Some(error) if error.code == ErrorCode::Unauthenticated => {
                ConnectionEnd::Over(LinkEnd::Retired(error.message))
            }
            // The error concerns only the connection, for example a slow consumer. The launch is still valid.
            Some(error) => {
                tracing::warn!(%error, "the supervisor closed the connection");
                ConnectionEnd::Lost
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(error: Option<Refusal>) -> ConnectionEnd {
        let reason = GoodbyeReason::Closed;
        connection_end(Goodbye { reason, error })
    }

    #[test]
    fn a_slow_connection_does_not_retire_the_launch() {
        let slow = Refusal::new(ErrorCode::SlowConsumer, "too slow");
        assert!(matches!(closed(Some(slow)), ConnectionEnd::Lost));
        let stale = Refusal::new(ErrorCode::Unauthenticated, "no such launch");
        assert!(matches!(
            closed(Some(stale)),
            ConnectionEnd::Over(LinkEnd::Retired(_))
        ));
        assert!(matches!(
            closed(None),
            ConnectionEnd::Over(LinkEnd::Retired(_))
        ));
    }
}
