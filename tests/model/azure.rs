//! Azure OpenAI's classic API: a deployment in the path, and the version in the query.
//!
//! Rules from Microsoft's REST reference of Azure OpenAI (data plane, inference), read in November 2026: the URL is
//! `/openai/deployments/{id}/chat/completions?api-version={version}`, and a key is sent in the header `api-key`.

use agent_team_protocol::spec::BaseUrl;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};

use crate::{KEY, config, first_answer, model_of};

/// Azure's answer to a request.
fn azure(request: &Request) -> Reply {
    if request.path != "/openai/deployments/d/chat/completions?api-version=2024-10-21" {
        return Reply::error(404, "Resource not found");
    }
    let has_key = request.headers.get("api-key").map(String::as_str) == Some(KEY);
    if !has_key || request.headers.contains_key("authorization") {
        return Reply::error(401, "Access denied due to invalid subscription key");
    }
    Reply::text("ok")
}

#[tokio::test]
async fn azures_classic_api_gets_version_and_key() {
    let server = FakeModelServer::start(azure).await;
    let root = server.base_url();
    let root = root.strip_suffix("/v1").unwrap_or(&root);
    let mut config = config(root);
    let spec = config.providers.get_mut("openai").expect("its settings");
    let url = format!("{root}/openai/deployments/d?api-version=2024-10-21");
    spec.base_url = Some(BaseUrl::Own(url));
    // The classic API has no Responses path, which gpt-5.4 would use elsewhere.
    for name in ["openai/gpt-4.1", "openai/gpt-5.4"] {
        let model = model_of(name, &config);
        let answer = first_answer(&*model).await.expect("an answer");
        assert_eq!(answer.text, "ok", "{name}");
        assert!(
            !format!("{model:?}").contains("api-version"),
            "no query is shown"
        );
    }
}
