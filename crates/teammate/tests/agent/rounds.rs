//! Tests of a lead without tools: the questions to its model, and the answers.

use agent_team_llm::{Item, ModelError};
use agent_team_protocol::method::{
    ReplyToRun, RoundListAnswer, RunAnswer, RunQuestion, RunReply, RunRounds, TeamShow,
};
use agent_team_protocol::spec::{AgentSpec, Strategy};
use agent_team_protocol::view::{ExpectedReply, QuestionView, RoundState, RoundView};
use agent_team_protocol::{ErrorCode, MessageId, Refusal, RunId, TaskId};
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

/// Answers the member's calls until its model is asked about this round. `before` contains the previous rounds.
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

/// Answers the member's wait for a question with the question of this round.
async fn waits_for(scene: &mut Scene, round: u32) {
    let asked = scene.member.asked::<RunQuestion>().await;
    let question = QuestionView {
        run: RunId(1),
        goal: "Greet the world".into(),
        round,
        expected_reply: ExpectedReply::Decision { max_rounds: 5 },
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
async fn question_and_answer_are_stored_before_the_reply() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert_eq!(asked.tools, [""; 0]);
    assert!(
        asked.input().contains("Greet the world"),
        "{}",
        asked.input()
    );
    asked.answer_text("ROUTE: ben");
    let answered = scene.append().await;
    scene.member.assert_not_called::<RunReply>();
    let answered = scene.accept(answered).await;
    assert!(answered.turn_end.is_some() && answered.usage.output == 5);
    let reply = replies(&mut scene).await;
    assert_eq!((reply.round, reply.text.as_str()), (1, "ROUTE: ben"));

    asks(&mut scene, 2, &[worked(1, "hello said")]).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert_eq!(asked.items.len(), 3, "{:?}", asked.items);
    let input = asked.input();
    assert!(input.contains("hello said"), "{input}");
    assert_eq!(input.matches("Greet the world").count(), 1, "{input}");
    asked.answer_text("Ben, I think.");
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
        "✉ you: Greet the world",
        "── R-1 round 1 of 5",
        "ROUTE: ben",
        "◀ ben: hello said",
        "── R-1 round 2 of 5",
        "Ben, I think.",
        "✗ the round had no member: it does not begin with ROUTE: or DONE:",
        "── R-1 round 3 of 5",
    ];
    let log = scene.supervisor.log();
    assert_eq!(log.lines().collect::<Vec<_>>(), shown);
}

#[tokio::test]
async fn a_question_answered_before_a_restart_is_not_repeated() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    scene.asked().await.answer_text("ROUTE: ben");
    scene.stores().await;
    let (supervisor, stored) = scene.dies().await;
    let mut scene = coordinator(supervisor, stored).await;
    waits_for(&mut scene, 1).await;
    assert_eq!(replies(&mut scene).await.text, "ROUTE: ben");
    scene.nothing_is_asked();
}

#[tokio::test]
async fn a_repeated_reply_is_not_an_error() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    scene.asked().await.answer_text("ROUTE: ben");
    scene.stores().await;
    let reply = scene.member.asked::<RunReply>().await;
    let refusal = Refusal::new(ErrorCode::WrongState, "it waits for round 2");
    scene.member.refuse(&reply, refusal).await;
    asks(&mut scene, 2, &[worked(1, "hello said")]).await;
    scene.stores().await;
    scene.asked().await;
}

#[tokio::test]
async fn messages_join_a_question_and_urgent_ones_repeat_it() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    scene.deliver(1, "mind the moon", false).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    assert_eq!(scene.stores().await.read, [MessageId(1)]);
    let asked = scene.asked().await;
    assert!(asked.input().contains("mind the moon"));
    scene.deliver(2, "and the sun", true).await;
    asked.dropped().await;
    let append = scene.stores().await;
    assert!(matches!(&items(&append)[..], [Item::Input { .. }]));
    let asked = scene.asked().await;
    assert!(asked.input().contains("and the sun"));
    asked.answer_text("DONE: hello");
    scene.stores().await;
    assert_eq!(replies(&mut scene).await.text, "DONE: hello");
}

#[tokio::test]
async fn a_failing_model_holds_the_lead_with_the_reason() {
    let mut scene = coordinator(ScriptedSupervisor::new(), Vec::new()).await;
    asks(&mut scene, 1, &[]).await;
    scene.stores().await;
    let refused = ModelError::Refused {
        provider: "Test".into(),
        status: 400,
        message: "not today".into(),
    };
    scene.asked().await.fail(refused);
    let (report, _) = scene.exits().await;
    assert!(
        report.hold && report.reason.contains("not today"),
        "{report:?}"
    );
}
