//! The windows that local servers report, their silence limit, and their price.
//!
//! The fakes answer in the form that llama.cpp's tools/server/README.md, Ollama's docs/api.md, LM Studio's REST API v0 and
//! vLLM's OpenAI-compatible server document, read in November 2026.

use std::time::Duration;

use agent_team_llm::open::{OpenConfig, open};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};
use agent_team_tests::within;
use serde_json::{Value, json};

use crate::{config, first_answer};

/// Opens the model at the server as a launch does: asks for its window first.
async fn window_of(name: &str, config: &mut OpenConfig) -> u64 {
    let name = name.parse().expect("a model's name");
    within("the server's answer", config.ask_window(&name)).await;
    open(&name, "ada", config)
        .expect("nothing is missing")
        .window()
}

/// Serves one document at this path.
fn serving(path: &'static str, document: Value) -> impl FnMut(&Request) -> Reply + Send {
    move |request: &Request| match request.path == path {
        true => Reply::json(200, &document),
        false => Reply::error(404, "not found"),
    }
}

fn fake_llama_cpp() -> impl FnMut(&Request) -> Reply + Send {
    let settings = json!({ "id": 0, "n_ctx": 8_192, "params": {} });
    serving(
        "/props",
        json!({ "default_generation_settings": settings, "total_slots": 1, "model_path": "m.gguf" }),
    )
}

fn fake_vllm() -> impl FnMut(&Request) -> Reply + Send {
    let models = [
        json!({ "id": "other", "max_model_len": 1_000 }),
        json!({ "id": "m", "max_model_len": 40_960 }),
    ];
    serving("/v1/models", json!({ "object": "list", "data": models }))
}

fn fake_lm_studio() -> impl FnMut(&Request) -> Reply + Send {
    let model = json!({
        "id": "m", "object": "model", "type": "llm", "state": "loaded",
        "max_context_length": 131_072, "loaded_context_length": 4_096,
    });
    serving(
        "/api/v0/models",
        json!({ "object": "list", "data": [model] }),
    )
}

/// `loaded`: the model is loaded with this window. `num_ctx`: its Modelfile sets this window.
fn fake_ollama(loaded: Option<u64>, num_ctx: Option<u64>) -> impl FnMut(&Request) -> Reply + Send {
    move |request: &Request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/api/ps") => {
            let model = |window| json!({ "name": "m:latest", "model": "m:latest", "context_length": window });
            let models: Vec<_> = loaded.map(model).into_iter().collect();
            Reply::json(200, &json!({ "models": models }))
        }
        ("POST", "/api/show") if request.body["model"] == "m" => {
            let num_ctx = num_ctx.map_or(String::new(), |number| {
                format!("num_ctx                        {number}\n")
            });
            Reply::json(
                200,
                &json!({
                    "parameters": format!("{num_ctx}stop                           \"<|im_end|>\""),
                    "model_info": { "general.architecture": "qwen3", "qwen3.context_length": 262_144 },
                }),
            )
        }
        _ => Reply::error(404, "not found"),
    }
}

#[tokio::test]
async fn each_local_server_reports_its_window() {
    type Script = Box<dyn FnMut(&Request) -> Reply + Send>;
    let cases: [(&str, Script, u64); 9] = [
        ("llamacpp/m", Box::new(fake_llama_cpp()), 8_192),
        ("vllm/m", Box::new(fake_vllm()), 40_960),
        ("lmstudio/m", Box::new(fake_lm_studio()), 4_096),
        (
            "ollama/m",
            Box::new(fake_ollama(Some(4_096), Some(8_192))),
            4_096,
        ),
        ("ollama/m", Box::new(fake_ollama(None, Some(8_192))), 8_192),
        // Ollama runs a model without num_ctx with a smaller window than the window of the model.
        ("ollama/m", Box::new(fake_ollama(None, None)), 4_096),
        ("openai-compatible/m", Box::new(fake_vllm()), 40_960),
        ("openai-compatible/m", Box::new(fake_llama_cpp()), 8_192),
        ("openai-compatible/absent", Box::new(fake_vllm()), 32_768),
    ];
    for (name, script, window) in cases {
        let server = FakeModelServer::start(script).await;
        let mut config = config(&server.base_url());
        assert_eq!(window_of(name, &mut config).await, window, "{name}");
    }
}

#[tokio::test]
async fn ollama_loads_a_model_to_report_its_window() {
    let mut fake = fake_ollama(None, None);
    let mut fake_loaded = fake_ollama(Some(32_768), None);
    let mut is_loaded = false;
    let server = FakeModelServer::start(move |request: &Request| {
        let loads = request.path == "/api/generate" && request.body["model"] == "m";
        if loads && request.body.get("prompt").is_none() {
            is_loaded = true;
            let reply =
                json!({ "model": "m", "response": "", "done": true, "done_reason": "load" });
            return Reply::json(200, &reply);
        }
        match is_loaded {
            true => fake_loaded(request),
            false => fake(request),
        }
    })
    .await;
    let mut config = config(&server.base_url());
    assert_eq!(window_of("ollama/m", &mut config).await, 32_768);
}

#[tokio::test]
async fn a_window_that_cannot_be_read_is_assumed() {
    let wrong = json!({ "default_generation_settings": { "n_ctx": -1 } });
    let huge = json!({ "default_generation_settings": { "n_ctx": 1_u64 << 60 } });
    for reply in [
        Reply::json(200, &wrong),
        Reply::json(200, &huge),
        Reply::json(200, &json!([])),
        Reply::html(200, "<html>"),
        Reply::error(500, "broken"),
        Reply::hang(),
    ] {
        let server = FakeModelServer::start(move |_: &Request| reply.clone()).await;
        let mut config = config(&server.base_url());
        assert_eq!(window_of("llamacpp/m", &mut config).await, 32_768);
    }
    let mut config = config("http://127.0.0.1:9/v1");
    assert_eq!(window_of("llamacpp/m", &mut config).await, 32_768);
}

#[tokio::test]
async fn a_service_on_the_internet_is_not_asked_for_a_window() {
    let server = FakeModelServer::start(fake_vllm()).await;
    let mut config = config(&server.base_url());
    window_of("openai/m", &mut config).await;
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_server_on_this_machine_is_free_and_may_be_silent() {
    let replies = |request: &Request| match request.path.as_str() {
        "/v1/chat/completions" => Reply::hang(),
        _ => Reply::error(404, "not found"),
    };
    let server = FakeModelServer::start(replies).await;
    let mut config = config(&server.base_url());
    let name = "openai-compatible/m".parse().expect("a model's name");
    let model = open(&name, "ada", &config).expect("nothing is missing");
    assert_eq!(model.price(), Some(agent_team_llm::Price::FREE));
    let spec = config.providers.get_mut("openai-compatible");
    spec.expect("its settings").silence_seconds = Some(1);
    config.retry_limit = Some(Duration::ZERO);
    let model = open(&name, "ada", &config).expect("nothing is missing");
    let failed = first_answer(&*model)
        .await
        .expect_err("the server is silent");
    let failed = agent_team_protocol::with_causes(&failed);
    assert!(failed.contains("no data for 1s"), "{failed}");
}
