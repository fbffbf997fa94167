//! Tests of restarts of the member and of the supervisor.

use agent_team_llm::Item;
use agent_team_protocol::method::{MemberExit, Nothing, TranscriptAppend};
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::{Generation, MessageId};

use crate::rig::ScriptedSupervisor;
use crate::scene::{Opening, Scene, entries, items, launch_file, task};
use crate::scripted::calls_for;

#[tokio::test]
async fn an_interrupted_turn_continues() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    scene.asked().await.call(&[("look", "{}")]);
    scene.stores().await;
    scene.called().await.returns("seen");
    scene.stores().await;
    scene.asked().await;
    let again = Assignment {
        generation: Generation(2),
        attempt: 2,
        ..task()
    };
    let mut scene = scene.restart(Some(again)).await;
    scene.stores().await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert_eq!(asked.items.len(), 6, "{:?}", asked.items);
    assert!(matches!(&asked.items[3], Item::Returned { results } if results[0].text == "seen"));
    let input = asked.input();
    assert!(
        input.contains("restarted") && input.contains("You own T-3"),
        "{input}"
    );
    assert!(input.contains("attempt 2"), "{input}");
}

#[tokio::test]
async fn a_finished_turn_is_not_repeated() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "hello", false).await;
    scene.stores().await;
    scene.asked().await.answer_text("Hello.");
    scene.rests().await;
    let mut scene = scene.restart(None).await;
    scene.deliver(2, "still there?", false).await;
    let append = scene.stores().await;
    assert_eq!((append.read, append.items.len()), (vec![MessageId(2)], 1));
    let asked = scene.asked().await;
    assert_eq!(asked.items.len(), 4);
    assert!(!asked.input().contains("restarted"));
}

#[tokio::test]
async fn a_call_in_flight_is_not_repeated() {
    let input = Item::Input { text: "go".into() };
    let answered = Item::Answered(calls_for(&[("change", "{}")]));
    let mut scene = Scene::open(Opening {
        stored: entries(&[input, answered]),
        ..Opening::default()
    })
    .await;
    let lost = scene.stores().await;
    let [Item::Returned { results }] = &items(&lost)[..] else {
        panic!("not the results: {lost:?}");
    };
    assert_eq!(results[0].id, "c0");
    assert!(
        results[0]
            .text
            .contains("unknown whether the call took effect")
    );
    scene.stores().await;
    let asked = scene.asked().await;
    scene.nothing_is_called();
    assert!(
        asked.input().contains("You own no task"),
        "{}",
        asked.input()
    );
}

#[tokio::test]
async fn a_reconnect_repeats_an_append_with_its_key() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "hello", false).await;
    let first = scene.append().await;
    // The supervisor dies before it has stored the append. The next supervisor delivers the message again.
    scene.member = {
        let old = scene.member;
        drop(old);
        scene.supervisor.member(None).await
    };
    scene.deliver(1, "hello", false).await;
    let second = scene.member.asked::<TranscriptAppend>().await;
    assert_eq!(second.key, first.key);
    assert_eq!(second.args().read, [MessageId(1)]);
    scene.accept(second).await;
    let asked = scene.asked().await;
    assert_eq!(asked.items.len(), 2);
    asked.answer_text("Hello.");
    let answered = scene.stores().await;
    assert!(answered.read.is_empty());
}

#[tokio::test]
async fn a_transcript_of_a_newer_version_holds_the_member() {
    let newer = serde_json::value::to_raw_value(&serde_json::json!({"kind": "dreamt"})).unwrap();
    let supervisor = ScriptedSupervisor::new();
    let opening = Opening {
        stored: vec![newer],
        ..Opening::default()
    };
    let (report, _) = Scene::refusing(supervisor, opening).await;
    assert!(
        report.hold && report.reason.contains("entry 1"),
        "{report:?}"
    );
}

#[tokio::test]
async fn an_unknown_model_holds_the_member() {
    let supervisor = ScriptedSupervisor::new();
    let agent = AgentSpec {
        model: Some("absent/model".into()),
        ..AgentSpec::default()
    };
    let mut worker = supervisor.spawn_for(&launch_file(&supervisor, agent));
    let mut member = supervisor.member(None).await;
    let report = member.asked::<MemberExit>().await;
    assert!(report.args().hold && report.args().reason.contains("absent"));
    member.answer(&report, &Nothing {}).await;
    assert_ne!(worker.exit_code().await, Some(0));
}
