//! Tests of the execution of an answer's tool calls, and of their results for the model.

use agent_team_llm::{Item, Media, MediaKind};
use agent_team_tools::Output;

use crate::scene::{Scene, items};

async fn begun(calls: &[(&str, &str)]) -> Scene {
    let mut scene = Scene::new().await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    scene.asked().await.call(calls);
    scene
}

#[tokio::test]
async fn calls_and_results_are_stored_before_they_take_effect() {
    let mut scene = begun(&[("change", r#"{"what": "it"}"#)]).await;
    let answered = scene.append().await;
    scene.nothing_is_called();
    scene.accept(answered).await;
    let called = scene.called().await;
    assert_eq!(
        (called.tool, &called.input["what"]),
        ("change", &"it".into())
    );
    called.returns("changed");
    let returned = scene.append().await;
    scene.nothing_is_asked();
    scene.accept(returned).await;
    assert_eq!(scene.asked().await.results(), ["changed"]);
    assert!(scene.supervisor.log().contains("● change(what: it)"));
    assert!(scene.supervisor.log().contains("⎿ changed"));
}

#[tokio::test]
async fn reads_run_concurrently_and_changes_in_order() {
    let calls = [
        ("look", r#"{"n": 0}"#),
        ("look", r#"{"n": 1}"#),
        ("change", r#"{"n": 2}"#),
        ("change", r#"{"n": 3}"#),
        ("look", r#"{"n": 4}"#),
    ];
    let mut scene = begun(&calls).await;
    scene.stores().await;
    let first = scene.called().await;
    let second = scene.called().await;
    assert_eq!(
        (&first.input["n"], &second.input["n"]),
        (&0.into(), &1.into())
    );
    scene.nothing_is_called();
    second.returns("b");
    first.returns("a");
    for text in ["c", "d", "e"] {
        let called = scene.called().await;
        scene.nothing_is_called();
        called.returns(text);
    }
    scene.stores().await;
    assert_eq!(scene.asked().await.results(), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn an_invalid_call_is_an_error_for_the_model() {
    let calls = [("fly", "{}"), ("look", "{\"path\": "), ("change", "7")];
    let mut scene = begun(&calls).await;
    scene.stores().await;
    scene.stores().await;
    let results = scene.asked().await.results();
    assert!(results[0].contains("no tool fly") && results[0].contains("change, look"));
    assert!(results[1].contains("not JSON"), "{results:?}");
    assert!(results[2].contains("not a JSON object"), "{results:?}");
    scene.nothing_is_called();
}

#[tokio::test]
async fn a_tool_that_panics_is_an_error_for_the_model() {
    let mut scene = begun(&[("look", "{}"), ("look", "{}")]).await;
    scene.stores().await;
    scene.called().await.breaks();
    scene.called().await.returns("fine");
    scene.stores().await;
    let results = scene.asked().await.results();
    assert!(results[0].contains("panicked"), "{results:?}");
    assert_eq!(results[1], "fine");
}

#[tokio::test]
async fn an_image_of_a_result_is_stored_as_a_reference() {
    let mut scene = begun(&[("look", "{}")]).await;
    scene.stores().await;
    let image = Media {
        kind: MediaKind::Png,
        name: "shot.png".into(),
        file: "/outputs/media-1".into(),
        bytes: 3_000_000,
        sha256: "1".into(),
    };
    scene.called().await.returns_output(Output {
        text: "shot.png".into(),
        media: vec![image.clone()],
        ..Output::default()
    });
    let stored = items(&scene.stores().await);
    let asked = scene.asked().await;
    for item in [stored.last(), asked.items.last()] {
        let Some(Item::Returned { results }) = item else {
            panic!("{item:?}");
        };
        assert_eq!(results[0].media, std::slice::from_ref(&image));
    }
}

#[tokio::test]
async fn an_image_named_by_the_user_is_attached() {
    let mut scene = Scene::new().await;
    let project = scene.supervisor.path("project");
    std::fs::write(project.join("shot.png"), b"\x89PNG\r\n\x1a\n image").unwrap();
    std::fs::write(project.join("false.png"), b"no image").unwrap();
    let text = "Compare @shot.png, @false.png, @missing.png and @/etc/passwd.";
    scene.deliver(1, text, false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    let [.., Item::Input { .. }, Item::Shown { media }] = &asked.items[..] else {
        panic!("{:?}", asked.items);
    };
    let names: Vec<&str> = media.iter().map(|media| media.name.as_str()).collect();
    assert_eq!(names, ["shot.png"]);
}
