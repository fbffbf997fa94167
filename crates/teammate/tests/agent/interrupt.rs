//! Tests of interruptions of a step: by an urgent message, by the user, by the loss of a task, and by a stop.

use agent_team_llm::Item;
use agent_team_protocol::MessageId;
use agent_team_protocol::notification::{Abandon, InterruptTurn, StopMember};
use agent_team_teammate::RunOutcome;

use crate::scene::{Scene, items, task};

#[tokio::test]
async fn an_urgent_message_drops_the_current_answer() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "write a novel", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    scene.deliver(2, "stop, a poem", true).await;
    asked.dropped().await;
    let append = scene.stores().await;
    assert_eq!(append.read, [MessageId(2)]);
    let asked = scene.asked().await;
    assert_eq!(asked.items.len(), 3);
    assert!(asked.input().contains("urgent"));
}

#[tokio::test]
async fn an_urgent_message_interrupts_running_calls() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    let calls = [("look", "{}"), ("look", "{}"), ("change", "{}")];
    scene.asked().await.call(&calls);
    scene.stores().await;
    let (first, second) = (scene.called().await, scene.called().await);
    first.returns("seen");
    scene.deliver(2, "stop that", true).await;
    second.ended().await;
    let [Item::Returned { results }] = &items(&scene.stores().await)[..] else {
        panic!("not the results");
    };
    assert_eq!(results[0].text, "seen");
    assert!(results[1].text.starts_with("interrupted"), "{results:?}");
    assert!(results[2].text.starts_with("not executed"), "{results:?}");
    scene.nothing_is_called();
    assert_eq!(scene.stores().await.read, [MessageId(2)]);
    assert!(scene.asked().await.input().contains("stop that"));
}

#[tokio::test]
async fn an_interruption_by_the_user_waits_for_the_user() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    scene.asked().await.call(&[("change", "{}")]);
    scene.stores().await;
    let called = scene.called().await;
    scene.member.notify(&InterruptTurn {}).await;
    called.ended().await;
    let [Item::Returned { results }] = &items(&scene.stores().await)[..] else {
        panic!("not the results");
    };
    assert!(results[0].text.starts_with("interrupted"), "{results:?}");
    let note = format!("{:?}", scene.stores().await);
    assert!(note.contains("The user interrupted you"), "{note}");
    scene.logs("interrupted by you").await;
    // The member keeps the task; the next message of the user continues the same turn.
    scene.deliver(2, "use the other file", false).await;
    assert_eq!(scene.stores().await.read, [MessageId(2)]);
    let asked = scene.asked().await;
    assert!(asked.input().contains("use the other file"));
    // An interruption also ends a request to the model.
    scene.member.notify(&InterruptTurn {}).await;
    asked.dropped().await;
    scene.stores().await;
}

#[tokio::test]
async fn losing_a_task_terminates_its_calls() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    scene.asked().await.call(&[("change", "{}")]);
    scene.stores().await;
    let called = scene.called().await;
    let abandon = Abandon {
        task: task().task,
        generation: task().generation,
        reason: "cancelled by user".into(),
    };
    scene.member.notify(&abandon).await;
    called.ended().await;
    scene.stores().await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(asked.input().contains("no longer yours: cancelled by user"));
    asked.answer_text("Fine.");
    assert_eq!(scene.rests().await, "Fine.");
}

fn stop(grace_ms: u64) -> StopMember {
    StopMember {
        grace_ms,
        reason: "asked by user".into(),
    }
}

#[tokio::test]
async fn a_call_within_the_grace_period_is_stored_before_exit() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    scene
        .asked()
        .await
        .call(&[("change", "{}"), ("change", "{}")]);
    scene.stores().await;
    let called = scene.called().await;
    scene.member.notify(&stop(60_000)).await;
    scene.logs("stopping: asked by user").await;
    called.returns("changed");
    let returned = scene.stores().await;
    let text = format!("{returned:?}");
    assert!(
        text.contains("changed") && text.contains("not executed"),
        "{text}"
    );
    assert!(returned.read.is_empty());
    scene.nothing_is_called();
    let (report, ran) = scene.exits().await;
    assert_eq!((report.code, report.hold), (0, false));
    assert_eq!(report.reason, "asked by user");
    assert_eq!(ran, RunOutcome::Exited(0));
}

#[tokio::test]
async fn a_call_beyond_the_grace_period_is_terminated() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    scene.asked().await.call(&[("change", "{}")]);
    scene.stores().await;
    let called = scene.called().await;
    scene.member.notify(&stop(200)).await;
    called.ended().await;
    let append = scene.append().await;
    assert!(format!("{:?}", append.args()).contains("interrupted"));
    scene.accept(append).await;
    scene.exits().await;
}

#[tokio::test]
async fn an_idle_member_stops_at_once() {
    let mut scene = Scene::new().await;
    scene.member.notify(&stop(60_000)).await;
    let (report, _) = scene.exits().await;
    assert_eq!(report.reason, "asked by user");
}
