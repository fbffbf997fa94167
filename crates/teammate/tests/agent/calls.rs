//! Execution of the tool calls of an answer, and their results for the model.

use crate::scene::Scene;

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
