//! Streams and callbacks during a run.

use std::sync::{Arc, Mutex};

use agent_team::{AgUi, Envelope, Team};

use crate::scripted::{ScriptedModel, within};

async fn shouting() -> Team {
    let team = Team::builder().model(ScriptedModel::shouting()).build();
    within("the team", team).await.expect("a team")
}

#[tokio::test]
async fn a_stream_covers_a_run_from_start_to_result() {
    let team = shouting().await;
    for goal in ["one", "two"] {
        let stream = team.run_streaming(format!("goal {goal}")).await;
        let mut stream = stream.unwrap();
        let mut envelopes: Vec<Envelope> = Vec::new();
        while let Some(envelope) = within("an envelope", stream.next()).await {
            envelopes.push(envelope);
        }
        let events: Vec<_> = envelopes.iter().map(|envelope| &envelope.event).collect();
        let (Some(AgUi::RunStarted { run_id, .. }), Some(AgUi::StateSnapshot { .. })) =
            (events.first(), events.get(1))
        else {
            panic!("{events:?}")
        };
        assert_eq!(*run_id, stream.run_id());
        let Some(AgUi::RunFinished { result, .. }) = events.last() else {
            panic!("{events:?}")
        };
        assert_eq!(result["final_answer"], goal.to_uppercase());
        assert_eq!(result["outcome"], "finished");
        let revisions: Vec<_> = envelopes
            .iter()
            .filter_map(|envelope| envelope.revision)
            .collect();
        assert!(revisions.is_sorted(), "{revisions:?}");
        assert!(
            envelopes
                .iter()
                .all(|envelope| envelope.team_id == *team.id())
        );
    }
}

#[tokio::test]
async fn dropping_a_stream_does_not_stop_the_run() {
    let team = shouting().await;
    let stream = team.run_streaming("goal unseen").await.unwrap();
    drop(stream);
    // The lead accepts the next goal once it has answered the current goal.
    let next = async {
        loop {
            match team.run("goal next").await {
                Err(agent_team::RunError::UnderWay) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    };
    let next = within("the next answer", next).await.unwrap();
    assert_eq!(next.final_answer.as_deref(), Some("NEXT"));
    let messages = team.messages().list(None).await.unwrap();
    assert!(messages.iter().any(|message| message.text == "goal unseen"));
}

#[tokio::test]
async fn a_callback_receives_the_envelopes_of_a_run() {
    let received: Arc<Mutex<Vec<Envelope>>> = Arc::default();
    let (listener, finished) = (Arc::clone(&received), Arc::new(tokio::sync::Notify::new()));
    let notify = Arc::clone(&finished);
    let team = Team::builder()
        .model(ScriptedModel::shouting())
        .on_envelope(move |envelope| {
            listener.lock().unwrap().push(envelope.clone());
            if matches!(envelope.event, AgUi::RunFinished { .. }) {
                notify.notify_one();
            }
        })
        .build();
    let team = within("the team", team).await.unwrap();
    within("the answer", team.run("goal three")).await.unwrap();
    within("the end of the run", finished.notified()).await;
    let received = received.lock().unwrap();
    let started = |envelope: &Envelope| matches!(envelope.event, AgUi::RunStarted { .. });
    assert!(received.iter().any(started), "{received:?}");
}
