//! Tests of the room in the window: pruned results, summaries and their defects, and compaction at the user's request.

use agent_team_llm::{Answer, Stop};
use agent_team_protocol::ErrorCode;
use agent_team_protocol::Refusal;
use agent_team_protocol::hook::{HOOK_SECONDS, HookEvent};
use agent_team_protocol::method::TeamShow;
use agent_team_protocol::notification::CompactConversation;
use agent_team_protocol::spec::{AgentSpec, HookSpec};

use crate::scene::{Opening, Scene, task};
use crate::scripted::text_answer;

async fn scene(window: u64) -> Scene {
    Scene::open(Opening {
        window,
        ..Opening::default()
    })
    .await
}

/// The model calls `look` four times in one answer; each result is long.
async fn looks(scene: &mut Scene) {
    scene.asked().await.call(&[("look", "{}"); 4]);
    scene.stores().await;
    for _ in 0..4 {
        scene.called().await.returns(&"words ".repeat(2000));
    }
    scene.stores().await;
}

#[tokio::test]
async fn old_results_are_removed_without_a_model() {
    let mut scene = scene(30_000).await;
    scene.assign(&task()).await;
    looks(&mut scene).await;
    looks(&mut scene).await;
    let mark = scene.stores().await;
    assert!(mark.items[0].get().starts_with(r#"{"kind":"pruned""#));
    let asked = scene.asked().await;
    assert!(!asked.tools.is_empty(), "no summary is requested");
    let texts = format!("{:?}", asked.items);
    assert_eq!(texts.matches("Removed to make room").count(), 4);
    assert_eq!(asked.results()[0].len(), 12_000, "the newest results stay");
    let mut scene = scene.restart(Some(task())).await;
    scene.stores().await;
    scene.stores().await;
    let again = scene.asked().await;
    assert_eq!(again.items[..asked.items.len()], asked.items);
}

/// The supervisor refuses the member's call of `team/show`, so that the state of the work contains no board.
async fn has_no_board(scene: &mut Scene) {
    let call = scene.member.asked::<TeamShow>().await;
    let refusal = Refusal::new(ErrorCode::UnknownTeam, "gone");
    scene.member.refuse(&call, refusal).await;
}

#[tokio::test]
async fn without_a_usable_summary_the_work_continues() {
    let mut scene = scene(10_000).await;
    scene.assign(&task()).await;
    looks(&mut scene).await;
    let stops = |text, stop| Answer {
        stop,
        ..text_answer(text)
    };
    for answer in [
        text_answer("<think>What was it?</think>"),
        stops("So f", Stop::Length),
        stops("I cannot.", Stop::Refused),
    ] {
        let summary = scene.asked().await;
        assert!(summary.tools.is_empty());
        summary.answer(answer);
    }
    has_no_board(&mut scene).await;
    let mark = scene.stores().await;
    assert_eq!(mark.usage.input, 30, "each answer counts");
    let asked = scene.asked().await;
    let input = asked.input();
    for part in [
        "shortened",
        "[call look]",
        "Removed to make room",
        "Every endpoint.",
    ] {
        assert!(input.contains(part), "{part} is not in {input}");
    }
    assert!(!input.contains("So f") && !input.contains("I cannot."));
    assert!(input.len() < 10_000, "{}", input.len());
}

#[tokio::test]
async fn during_a_turn_compaction_waits_for_the_step() {
    let mut scene = scene(100_000).await;
    scene.assign(&task()).await;
    scene.asked().await.call(&[("look", "{}")]);
    scene.stores().await;
    let call = scene.called().await;
    scene.member.notify(&CompactConversation {}).await;
    call.returns("The door is open.");
    scene.stores().await;
    scene.asked().await.answer_text("Nothing yet.");
    has_no_board(&mut scene).await;
    let mark = scene.stores().await;
    assert!(mark.turn_end.is_none(), "the turn continues");
    let asked = scene.asked().await;
    assert!(asked.input().contains("Nothing yet."));
    assert_eq!(
        asked.results(),
        ["The door is open."],
        "a result that the model has not answered is kept"
    );
}

#[tokio::test]
async fn between_turns_compaction_starts_no_turn() {
    let mut scene = scene(100_000).await;
    scene.deliver(1, "hello", false).await;
    scene.stores().await;
    scene.asked().await.answer_text("Hello.");
    scene.rests().await;
    scene.member.notify(&CompactConversation {}).await;
    scene.asked().await.answer_text("The user said hello.");
    has_no_board(&mut scene).await;
    let mark = scene.stores().await;
    assert!(mark.turn_end.is_some());
    scene.nothing_is_asked();
    scene.deliver(2, "and now?", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(asked.input().contains("The user said hello."));
}

#[tokio::test]
async fn pre_compact_runs_only_before_a_compaction() {
    let hook = HookSpec {
        event: HookEvent::PreCompact,
        run: "echo >> compactions".to_owned(),
        matcher: String::new(),
        timeout_seconds: HOOK_SECONDS,
        files: Vec::new(),
    };
    let agent = AgentSpec {
        // This prompt fills the window, so that each step looks for items to compact.
        prompt: "words ".repeat(60_000),
        hooks: vec![hook],
        ..AgentSpec::default()
    };
    let mut scene = Scene::open(Opening {
        agent,
        window: 100_000,
        ..Opening::default()
    })
    .await;
    let compactions = scene.supervisor.path("project").join("compactions");
    let count = || std::fs::read_to_string(&compactions).map_or(0, |text| text.lines().count());
    scene.deliver(1, "hello", false).await;
    scene.stores().await;
    for _ in 0..2 {
        let asked = scene.asked().await;
        assert!(!asked.tools.is_empty(), "no summary is requested");
        asked.call(&[("look", "{}")]);
        scene.stores().await;
        scene.called().await.returns("a door");
        scene.stores().await;
    }
    scene.asked().await.answer_text("Hello.");
    scene.rests().await;
    assert_eq!(count(), 0);

    scene.member.notify(&CompactConversation {}).await;
    scene.asked().await.answer_text("The user said hello.");
    has_no_board(&mut scene).await;
    scene.stores().await;
    assert_eq!(count(), 1);
    // A second compaction has nothing to replace.
    scene.member.notify(&CompactConversation {}).await;
    scene.deliver(2, "and now?", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(!asked.tools.is_empty(), "no summary is requested");
    assert_eq!(count(), 1);
}
