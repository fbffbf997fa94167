//! Tests of a turn from its input to its report: everything is stored before it takes effect.

use agent_team_llm::{Answer, Item, ModelError, Stop};
use agent_team_protocol::method::{TaskComplete, TaskList, TaskListAnswer, TaskRelease, TeamShow};
use agent_team_protocol::notification::RequestNotice;
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::{MessageId, RequestId, Revision};

use crate::scene::{Opening, Scene, changed, items, task};
use crate::scripted::{calls_for, text_answer};

#[tokio::test]
async fn a_message_is_read_once_it_is_in_the_transcript() {
    let mut scene = Scene::new().await;
    scene.deliver(7, "Look at main.rs", false).await;
    let append = scene.append().await;
    assert_eq!(append.args().read, [MessageId(7)]);
    let [Item::Input { text: situation }, Item::Input { text }] = &items(append.args())[..] else {
        panic!("not the input: {:?}", append.args());
    };
    assert!(situation.contains("Date: "), "{situation}");
    assert!(
        text.contains("user") && text.contains("Look at main.rs"),
        "{text}"
    );
    scene.nothing_is_asked();
    scene.accept(append).await;
    assert!(scene.asked().await.input().contains("Look at main.rs"));
}

#[tokio::test]
async fn an_answer_without_calls_ends_the_turn() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "hello", false).await;
    scene.stores().await;
    scene.asked().await.answer_text("Hello, user.");
    let answered = scene.stores().await;
    assert_eq!((answered.usage.input, answered.usage.output), (10, 5));
    assert_eq!(scene.rests().await, "Hello, user.");
    assert!(scene.supervisor.log().contains("✉ you: hello"));
    assert!(scene.supervisor.log().contains("Hello, user."));
    scene.deliver(2, "again", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert_eq!(asked.items.len(), 4, "{:?}", asked.items);
}

#[tokio::test]
async fn a_message_during_a_step_joins_the_next_step() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "begin", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    scene.deliver(2, "and mind the tests", false).await;
    asked.call(&[("look", "{}")]);
    scene.stores().await;
    scene.called().await.returns("seen");
    scene.stores().await;
    let append = scene.stores().await;
    assert_eq!(append.read, [MessageId(2)]);
    assert!(scene.asked().await.input().contains("mind the tests"));
}

#[tokio::test]
async fn an_owner_is_reminded_before_its_task_is_released() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    let asked = scene.asked().await;
    assert!(asked.input().contains("T-3") && asked.input().contains("call complete_task"));
    asked.answer_text("Shall I use tabs? I wait for the lead's answer.");
    scene.stores().await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(
        asked.input().contains("You still own T-3"),
        "{}",
        asked.input()
    );
    asked.answer_text("Shall I use tabs? I wait for the lead's answer.");
    scene.stores().await;
    releases_the_task(&mut scene, "without complete_task").await;
    scene.member.assert_not_called::<TaskComplete>();
}

/// The member releases `T-3`, and notifies the user and the lead of this reason.
async fn releases_the_task(scene: &mut Scene, why: &str) {
    let release = scene.member.asked::<TaskRelease>().await;
    assert!(release.args().text.contains(why), "{:?}", release.args());
    assert_eq!(release.args().generation, Some(task().generation));
    scene.member.answer(&release, &changed()).await;
    assert!(scene.messages_the_user().await.contains(why));
    assert!(scene.rests().await.contains(why));
}

#[tokio::test]
async fn after_unusable_answers_the_model_is_asked_twice_more() {
    let with_stop = |stop, text| Answer {
        stop,
        ..text_answer(text)
    };
    let cases = [
        (text_answer(""), "was empty", "empty answer"),
        (
            with_stop(Stop::Refused, ""),
            "by a filter",
            "refused to answer",
        ),
        (with_stop(Stop::Length, "Once"), "truncated", "length limit"),
        (
            text_answer("I read it.\n<tool_call>{\"name\": \"look\"}</tool_call>"),
            "was not executed",
            "wrote a tool call as text",
        ),
        (
            text_answer("<think>I am not sure"),
            "was empty",
            "empty answer",
        ),
    ];
    for (answer, note, why) in cases {
        let mut scene = Scene::new().await;
        scene.assign(&task()).await;
        scene.asked().await.answer(answer.clone());
        for _ in 0..2 {
            scene.stores().await;
            scene.stores().await;
            let asked = scene.asked().await;
            assert!(asked.input().contains(note), "{note}: {}", asked.input());
            asked.answer(answer.clone());
        }
        scene.stores().await;
        scene.nothing_is_called();
        releases_the_task(&mut scene, why).await;
        scene.member.assert_not_called::<TaskComplete>();
    }
}

#[tokio::test]
async fn an_empty_answer_may_end_a_turn_without_a_task() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "look", false).await;
    scene.stores().await;
    scene.asked().await.call(&[("look", "{}")]);
    scene.stores().await;
    scene.called().await.returns("seen");
    scene.stores().await;
    scene.asked().await.answer_text("");
    assert_eq!(scene.rests().await, "");
}

#[tokio::test]
async fn a_text_of_tool_calls_is_executed() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    let text = "<think>I look.</think>\n<tool_call>\n{\"name\": \"look\", \"arguments\": {}}\n</tool_call>";
    scene.asked().await.answer_text(text);
    scene.stores().await;
    scene.called().await.returns("seen");
    scene.stores().await;
    assert_eq!(scene.asked().await.results(), ["seen"]);
}

#[tokio::test]
async fn a_model_that_repeats_itself_loses_its_task() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    for call in 0..10 {
        let asked = scene.asked().await;
        let is_noted = asked.input().contains("Do not make that call again");
        assert_eq!(is_noted, call >= 5, "{call}");
        asked.call(&[("look", "{}")]);
        scene.stores().await;
        scene.called().await.returns("seen");
        scene.stores().await;
        if call == 4 {
            scene.stores().await;
        }
    }
    releases_the_task(&mut scene, "called look 5 times").await;
}

#[tokio::test]
async fn work_after_a_reminder_resets_it() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    for _ in 0..2 {
        scene.asked().await.answer_text("Next I look at main.rs.");
        scene.stores().await;
        scene.stores().await;
        let asked = scene.asked().await;
        assert!(asked.input().contains("You still own T-3"));
        asked.call(&[("look", "{}")]);
        scene.stores().await;
        scene.called().await.returns("seen");
        scene.stores().await;
    }
    scene.asked().await.answer_text("And now?");
    scene.stores().await;
    scene.stores().await;
    scene.asked().await;
    scene.member.assert_not_called::<TaskRelease>();
}

#[tokio::test]
async fn a_message_of_the_user_resets_the_reminder() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    let asked = scene.asked().await;
    scene.deliver(1, "Tabs.", false).await;
    asked.answer_text("Tabs or spaces?");
    scene.stores().await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(asked.input().contains("Tabs."), "{}", asked.input());
    asked.answer_text("And which width?");
    scene.stores().await;
    let reminded = scene.stores().await;
    assert!(format!("{:?}", items(&reminded)).contains("You still own T-3"));
    scene.asked().await;
    scene.member.assert_not_called::<TaskRelease>();
}

fn calls_with_stop(stop: Stop) -> Answer {
    Answer {
        stop,
        ..calls_for(&[("change", "{}")])
    }
}

#[tokio::test]
async fn calls_of_an_incomplete_answer_are_not_executed() {
    for (stop, text_answer) in [
        (Stop::Length, "truncated"),
        (Stop::Refused, "the provider's filter"),
    ] {
        let mut scene = Scene::new().await;
        scene.assign(&task()).await;
        scene.asked().await.answer(calls_with_stop(stop));
        scene.stores().await;
        scene.stores().await;
        let asked = scene.asked().await;
        assert!(asked.results()[0].contains(text_answer), "{stop:?}");
        scene.nothing_is_called();
    }
}

#[tokio::test]
async fn three_unusable_answers_with_calls_release_the_task() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    for stop in [Stop::Refused, Stop::Length, Stop::Refused] {
        scene.asked().await.answer(calls_with_stop(stop));
        scene.stores().await;
        scene.stores().await;
    }
    scene.nothing_is_called();
    releases_the_task(&mut scene, "filter").await;
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_shown_once() {
    let mut scene = Scene::new().await;
    let inform = |pending| RequestNotice {
        text: match pending {
            true => "P-1 ada asks for permission: bash".into(),
            false => "P-1 of ada was denied by user".into(),
        },
        request: Some(RequestId(1)),
        pending,
        decide: None,
        mode: None,
    };
    scene.member.notify(&inform(true)).await;
    scene.member.notify(&inform(true)).await;
    scene.deliver(1, "hello", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert_eq!(asked.input().matches("P-1 ada asks").count(), 1);
    assert!(asked.input().contains("Only the user may allow it"));
    asked.answer_text("Hello.");
    scene.rests().await;
    let log = scene.supervisor.log();
    assert_eq!(log.matches("P-1 ada asks").count(), 1, "{log}");
    // A request that ends before the model has seen it is not shown to the model.
    let other = RequestNotice {
        text: "P-2 ada asks for permission: bash".into(),
        request: Some(RequestId(2)),
        ..inform(true)
    };
    scene.member.notify(&other).await;
    let over = RequestNotice {
        text: "P-2 of ada was withdrawn".into(),
        request: Some(RequestId(2)),
        ..inform(false)
    };
    scene.member.notify(&over).await;
    scene.deliver(2, "again", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(!asked.input().contains("P-2 ada asks"), "{}", asked.input());
    assert!(asked.input().contains("P-2 of ada was withdrawn"));
}

#[tokio::test]
async fn the_step_limit_releases_the_task_with_a_report() {
    let agent = AgentSpec {
        max_steps: Some(2),
        ..AgentSpec::default()
    };
    let mut scene = Scene::open(Opening {
        agent,
        ..Opening::default()
    })
    .await;
    scene.assign(&task()).await;
    scene.asked().await.call(&[("look", "{}")]);
    scene.stores().await;
    scene.called().await.returns("seen");
    scene.stores().await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(
        asked.input().contains("last of your 2 steps"),
        "{}",
        asked.input()
    );
    let mut answer = text_answer("Half of it is done.");
    answer.calls = calls_for(&[("change", "{}")]).calls;
    asked.answer(answer);
    scene.stores().await;
    let refused = scene.stores().await;
    assert!(format!("{:?}", items(&refused)).contains("not executed"));
    scene.nothing_is_called();
    let release = scene.member.asked::<TaskRelease>().await;
    assert!(release.args().text.contains("Half of it is done."));
    scene.member.answer(&release, &changed()).await;
    let message = scene.messages_the_user().await;
    assert!(
        message.contains("2 steps") && message.contains("T-3"),
        "{message}"
    );
    let report = scene.rests().await;
    assert!(
        report.contains("2 steps") && report.contains("T-3"),
        "{report}"
    );
}

#[tokio::test]
async fn a_truncated_answer_is_continued() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "tell", false).await;
    scene.stores().await;
    scene.asked().await.answer(Answer {
        stop: Stop::Length,
        ..text_answer("Once upon")
    });
    scene.stores().await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(asked.input().contains("truncated"));
    asked.answer_text("the end.");
    assert_eq!(scene.rests().await, "the end.");
}

#[tokio::test]
async fn a_summary_of_a_full_window_survives_a_restart() {
    let mut scene = Scene::open(Opening {
        window: 1000,
        ..Opening::default()
    })
    .await;
    scene.assign(&task()).await;
    scene.asked().await.call(&[("look", "{}")]);
    scene.stores().await;
    scene.called().await.returns(&"words ".repeat(1000));
    scene.stores().await;
    let summary = scene.asked().await;
    assert!(summary.tools.is_empty());
    assert!(summary.input().contains("words words"));
    summary.answer_text("I looked, and decided on plan B.");
    let shown = scene.member.asked::<TeamShow>().await;
    let view = scene.team_view();
    scene.member.answer(&shown, &view).await;
    let listed = scene.member.asked::<TaskList>().await;
    let board = TaskListAnswer {
        revision: Revision(1),
        tasks: Vec::new(),
        more: false,
    };
    scene.member.answer(&listed, &board).await;
    scene.stores().await;
    let asked = scene.asked().await;
    let input = asked.input();
    assert!(
        input.contains("plan B") && input.contains("Every endpoint."),
        "{input}"
    );
    assert!(!input.contains("words words"));
    let mut scene = scene.restart(Some(task())).await;
    scene.stores().await;
    scene.stores().await;
    let again = scene.asked().await;
    assert_eq!(again.items[..asked.items.len()], asked.items);
}

#[tokio::test]
async fn a_too_long_error_triggers_a_summary() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "a long story", false).await;
    scene.stores().await;
    scene
        .asked()
        .await
        .fail(ModelError::TooLong("200001 tokens".into()));
    scene.summarises("A story was heard.").await;
    let asked = scene.asked().await;
    assert!(asked.input().contains("A story was heard."));
    assert!(!asked.input().contains("Message M-1"));
}

fn refused() -> ModelError {
    ModelError::Refused {
        provider: "gateway".into(),
        status: 400,
        message: "no".into(),
    }
}

#[tokio::test]
async fn an_unexplained_refusal_triggers_one_summary() {
    let mut scene = Scene::open(Opening {
        window: 10_000,
        ..Opening::default()
    })
    .await;
    // Together with the system text, this text fills between 60 % and 75 % of the window.
    let text = format!("a long story {}", "x".repeat(25_500));
    scene.deliver(1, &text, false).await;
    scene.stores().await;
    scene.asked().await.fail(refused());
    scene.summarises("A story was heard.").await;
    let asked = scene.asked().await;
    assert!(asked.input().len() < 10_000, "{}", asked.input());
    asked.fail(refused());
    assert!(scene.messages_the_user().await.contains("refused"));
}

fn unauthenticated() -> ModelError {
    ModelError::Unauthenticated {
        provider: "anthropic".into(),
        status: 401,
        message: "invalid x-api-key".into(),
    }
}

#[tokio::test]
async fn a_rejected_key_holds_the_member() {
    let mut scene = Scene::new().await;
    scene.deliver(1, "hello", false).await;
    scene.stores().await;
    scene.asked().await.fail(unauthenticated());
    let (report, ran) = scene.exits().await;
    assert!(report.hold, "{report:?}");
    assert!(report.reason.contains("does not accept the key (401)"));
    assert_eq!(ran, agent_team_teammate::RunOutcome::Exited(5));
}

#[tokio::test]
async fn an_overloaded_model_releases_the_task() {
    let mut scene = Scene::new().await;
    scene.assign(&task()).await;
    scene.asked().await.fail(ModelError::Busy {
        provider: "anthropic".into(),
        status: 529,
        message: "overloaded".into(),
        after: None,
    });
    let release = scene.member.asked::<TaskRelease>().await;
    assert!(release.args().text.contains("overloaded"));
    scene.member.answer(&release, &changed()).await;
    assert!(scene.messages_the_user().await.contains("overloaded"));
    let report = scene.rests().await;
    assert!(report.contains("cannot continue") && report.contains("overloaded"));
    scene.deliver(1, "try again", false).await;
    scene.stores().await;
    scene.asked().await.answer_text("Here I am.");
    assert_eq!(scene.rests().await, "Here I am.");
}
