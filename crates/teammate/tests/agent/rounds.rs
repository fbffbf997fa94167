//! A lead without tools: what its model is asked round by round, and what is not asked twice.

use agent_team_protocol::method::{
    ReplyToRun, RoundListAnswer, RunAnswer, RunQuestion, RunReply, RunRounds, TeamShow,
};
use agent_team_protocol::spec::{AgentSpec, Strategy};
use agent_team_protocol::view::{QuestionView, RoundState, RoundView, Wants};
use agent_team_protocol::{ErrorCode, MessageId, Refusal, RunId, TaskId};
use agent_team_teammate::model::{Item, ModelError};
use serde_json::value::RawValue;

use crate::rig::ScriptedSupervisor;
use crate::scene::{Opening, Scene, items};

async fn coordinator(supervisor: ScriptedSupervisor, stored: Vec<Box<RawValue>>) -> Scene {
    let strategy = Strategy::Coordinator {
        max_rounds: 5,
        prompt: None,
    };
    let agent = AgentSpec {
        strategy: Some(strategy),
        ..AgentSpec::default()
    };
    let opening = Opening {
        agent,
        stored,
        ..Opening::default()
    };
    Scene::begin(supervisor, opening).await
}

/// The run asks for this round; what the rounds before came to is listed.
async fn asks(scene: &mut Scene, round: u32, before: &[RoundView]) {
    waits_for(scene, round).await;
    let listed = scene.member.asked::<RunRounds>().await;
    let answer = RoundListAnswer {
        rounds: before.to_vec(),
        more: false,
    };
    scene.member.answer(&listed, &answer).await;
    let shown = scene.member.asked::<TeamShow>().await;
    let view = scene.team_view();
    scene.member.answer(&shown, &view).await;
}

async fn waits_for(scene: &mut Scene, round: u32) {
    let asked = scene.member.asked::<RunQuestion>().await;
    let question = QuestionView {
        run: RunId(1),
        goal: "Greet the world".into(),
        round,
        wants: Wants::Decision { max_rounds: 5 },
    };
    scene.member.answer(&asked, &question).await;
}

async fn replies(scene: &mut Scene) -> ReplyToRun {
    let reply = scene.member.asked::<RunReply>().await;
    let answer = RunAnswer { run: RunId(1) };
    scene.member.answer(&reply, &answer).await;
    reply.call.args
}

fn worked(round: u32, output: &str) -> RoundView {
    RoundView {
        round,
        state: RoundState::Completed,
        member: Some("ben".parse().unwrap()),
        task: Some(TaskId(1)),
        output: Some(output.into()),
    }
}

#[tokio::test]
async fn a_question_and_its_answer_are_stored_before_the_reply_is_passed_on() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert_eq!(asked.tools, [""; 0]);
    assert!(asked.told().contains("Greet the world"), "{}", asked.told());
    asked.say("ROUTE: ben");
    let answered = scene.append().await;
    scene.member.nothing_was::<RunReply>();
    let answered = scene.accept(answered).await;
    assert!(answered.rests.is_some() && answered.usage.output == 5);
    let reply = replies(&mut scene).await;
    assert_eq!((reply.round, reply.text.as_str()), (1, "ROUTE: ben"));

    asks(&mut scene, 2, &[worked(1, "hello said")]).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert_eq!(asked.items.len(), 3, "{:?}", asked.items);
    let told = asked.told();
    assert!(told.contains("hello said"), "{told}");
    assert_eq!(told.matches("Greet the world").count(), 1, "{told}");
    asked.say("Ben, I think.");
    scene.stores().await;
    replies(&mut scene).await;

    let unclear = RoundView {
        round: 2,
        state: RoundState::Unclear,
        member: None,
        task: None,
        output: Some("it does not begin with ROUTE: or DONE:".into()),
    };
    asks(&mut scene, 3, &[worked(1, "hello said"), unclear]).await;
    scene.stores().await;
    scene.asked().await;
    let shown = [
        "✉ user: Greet the world",
        "── R-1 round 1 of 5",
        "ROUTE: ben",
        "◀ ben: hello said",
        "── R-1 round 2 of 5",
        "Ben, I think.",
        "✗ nobody was given that round: it does not begin with ROUTE: or DONE:",
        "── R-1 round 3 of 5",
    ];
    let log = scene.supervisor.log();
    assert_eq!(log.lines().collect::<Vec<_>>(), shown);
}

#[tokio::test]
async fn what_was_answered_before_a_restart_is_passed_on_and_not_asked_again() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    scene.asked().await.say("ROUTE: ben");
    scene.stores().await;
    let (supervisor, stored) = scene.dies().await;
    let mut scene = coordinator(supervisor, stored).await;
    waits_for(&mut scene, 1).await;
    assert_eq!(replies(&mut scene).await.text, "ROUTE: ben");
    scene.nothing_is_asked();
}

#[tokio::test]
async fn a_reply_that_was_followed_before_is_no_fault() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    scene.asked().await.say("ROUTE: ben");
    scene.stores().await;
    let reply = scene.member.asked::<RunReply>().await;
    let refusal = Refusal::new(ErrorCode::WrongState, "it waits for round 2");
    scene.member.refuse(&reply, refusal).await;
    asks(&mut scene, 2, &[worked(1, "hello said")]).await;
    scene.stores().await;
    scene.asked().await;
}

#[tokio::test]
async fn a_message_is_heard_with_the_next_question_and_an_urgent_one_asks_anew() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    scene.deliver(1, "mind the moon", false).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    assert_eq!(scene.stores().await.read, [MessageId(1)]);
    let asked = scene.asked().await;
    assert!(asked.told().contains("mind the moon"));
    scene.deliver(2, "and the sun", true).await;
    asked.dropped().await;
    let heard = scene.stores().await;
    assert!(matches!(&items(&heard)[..], [Item::Said { .. }]));
    let asked = scene.asked().await;
    assert!(asked.told().contains("and the sun"));
    asked.say("DONE: hello");
    scene.stores().await;
    assert_eq!(replies(&mut scene).await.text, "DONE: hello");
}

#[tokio::test]
async fn a_lead_whose_model_cannot_be_asked_is_held_with_the_reason() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    let refused = ModelError::Refused {
        provider: "Test".into(),
        status: 400,
        message: "not today".into(),
    };
    scene.asked().await.fail(refused);
    let (words, _) = scene.exits().await;
    assert!(
        words.hold && words.reason.contains("not today"),
        "{words:?}"
    );
}
