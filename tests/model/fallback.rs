//! A list of models: which errors replace a model by the next one.

use agent_team_llm::fallback::FallbackModel;
use agent_team_llm::{Delta, Model};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};
use serde_json::json;

use crate::{answer, input, model_at};

/// A server that refuses the first model with this reply; the second model answers.
async fn refusing(reply: Reply) -> FakeModelServer {
    let script = move |request: &Request| match request.model() {
        "first" => reply.clone(),
        _ => Reply::text("ok"),
    };
    FakeModelServer::start(script).await
}

fn both(server: &FakeModelServer) -> FallbackModel {
    let names = ["openai/first", "openai/second"];
    FallbackModel::new(names.map(|name| model_at(name, server)).into())
}

#[tokio::test]
async fn an_unusable_model_is_replaced_by_the_next_one() {
    let no_budget = json!({ "error": { "code": "insufficient_quota", "message": "pay" } });
    for reply in [
        Reply::error(401, "wrong key"),
        Reply::error(402, "pay"),
        Reply::json(429, &no_budget),
        Reply::error(404, "no such model"),
        Reply::error(529, "overloaded").header("retry-after", "7200"),
    ] {
        let server = refusing(reply).await;
        let model = both(&server);
        let (answered, deltas) = answer(&model, &[input("Hello")], &[]).await;
        assert_eq!(answered.expect("an answer").text, "ok");
        let replaced = |delta: &Delta| match delta {
            Delta::Replaced { by, .. } => by == "openai/second",
            _ => false,
        };
        assert!(deltas.iter().any(replaced), "{deltas:?}");
        // The next request goes to the second model at once.
        assert_eq!(model.name(), "openai/second");
        answer(&model, &[input("Hello")], &[])
            .await
            .0
            .expect("an answer");
        let requests = server.requests();
        let asked: Vec<_> = requests.iter().map(Request::model).collect();
        assert_eq!(asked, ["first", "second", "second"]);
    }
}

#[tokio::test]
async fn an_invalid_request_does_not_replace_the_model() {
    let server = refusing(Reply::error(400, "bad schema")).await;
    let model = both(&server);
    let (answered, _) = answer(&model, &[input("Hello")], &[]).await;
    answered.expect_err("the request is refused");
    assert_eq!(model.name(), "openai/first");
}
