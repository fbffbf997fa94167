//! Measurements beside the workload: the supervisor's answers, events, memory and descriptors, and the times in which
//! the machine was too busy to run the torture itself.

use std::time::Duration;

use agent_team_client::CallError;
use agent_team_protocol::Revision;
use agent_team_protocol::method::{EventSubscribe, Nothing, Subscribe, TeamShow};
use tokio::time::{sleep, timeout};

use super::caller::{Phase, Target};
use super::history::{Probe, Recorder, Stall};
use super::world::{Role, World, size_of};
use crate::Event;

/// Pause between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// The time limit of a probe. A probe without an answer is recorded with this duration.
const PROBE_LIMIT: Duration = Duration::from_secs(15);

/// A sleep that exceeds its requested length by this much is a stall.
const STALL: Duration = Duration::from_millis(50);

/// Requests the team's state after each pause and records the latency.
pub(crate) async fn probe(mut target: Target, recorder: Recorder, pause: Duration) {
    while target.phase() == Phase::Torture {
        let Some((client, _incoming)) = target.connect("probe").await else {
            target.pause(CONNECT_PAUSE).await;
            continue;
        };
        let supervisor = client.initialized().pid;
        loop {
            let began = recorder.now();
            let call = target.call(None, Nothing {});
            let answer = timeout(PROBE_LIMIT, client.call::<TeamShow>(&call)).await;
            let longest = match answer {
                Ok(Err(CallError::Disconnected | CallError::Refused(_))) => break,
                Ok(Ok(team)) => team.members.iter().map(|member| member.for_ms).max(),
                Ok(Err(CallError::Answer { .. })) | Err(_) => None,
            };
            let probe = Probe {
                began,
                ended: recorder.now(),
                supervisor,
                longest: Duration::from_millis(longest.unwrap_or_default()),
            };
            recorder.add(|evidence| evidence.probes.push(probe));
            if !target.pause(pause).await {
                return;
            }
        }
    }
}

/// Receives every event, over any number of connections.
pub(crate) async fn subscriber(mut target: Target, recorder: Recorder) {
    let mut last = 0;
    while target.phase() == Phase::Torture {
        target.pause(CONNECT_PAUSE).await;
        let Some((client, mut incoming)) = target.connect("subscriber").await else {
            continue;
        };
        let subscribe = Subscribe {
            after: Revision(last),
            transient: false,
        };
        let call = target.call(None, subscribe);
        if !matches!(
            timeout(PROBE_LIMIT, client.call::<EventSubscribe>(&call)).await,
            Ok(Ok(_))
        ) {
            continue;
        }
        let mut phase = target.phase.clone();
        let calm = phase.wait_for(|phase| *phase != Phase::Torture);
        tokio::pin!(calm);
        loop {
            let arrival = tokio::select! {
                biased;
                _ = &mut calm => return,
                arrival = incoming.next() => arrival,
            };
            let Some(arrival) = arrival else { break };
            if let Some(event) = Event::of(&arrival) {
                last = event.revision;
                recorder.add(|evidence| evidence.published.push(event));
            }
        }
    }
}

/// Records the largest memory use and descriptor count of a supervisor.
pub(crate) async fn size(world: &World, recorder: Recorder) {
    let mut target = world.target();
    while target.pause(Duration::from_millis(500)).await {
        for found in world.processes(&[Role::Supervisor]) {
            let (memory, descriptors) = size_of(found.process);
            recorder.add(|evidence| {
                evidence.memory = evidence.memory.max(memory);
                evidence.descriptors = evidence.descriptors.max(descriptors);
            });
        }
    }
}

/// Records stalls: times in which a sleep of the torture took longer than requested.
pub(crate) async fn stalls(target: Target, recorder: Recorder) {
    const NAP: Duration = Duration::from_millis(20);
    while target.phase() != Phase::Over {
        let at = recorder.now();
        sleep(NAP).await;
        let lasted = (recorder.now() - at).saturating_sub(NAP);
        if lasted > STALL {
            recorder.add(|evidence| evidence.stalls.push(Stall { at, lasted }));
        }
    }
}
