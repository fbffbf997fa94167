//! Model selection: the default if no model is named, and the URL, key and proxy of a provider.

use agent_team_llm::Model;
use agent_team_llm::choose::choose;
use agent_team_llm::open::OpenConfig;
use agent_team_protocol::spec::Wire;
use agent_team_providers::PROVIDERS;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use agent_team_tests::within;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use crate::{KEY, first_answer, model_of};

fn config(vars: &[(&str, &str)]) -> OpenConfig {
    let vars = vars
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    OpenConfig {
        environment: vars.collect(),
        ..OpenConfig::default()
    }
}

async fn chosen(vars: &[(&str, &str)]) -> Result<(String, String), String> {
    match within("a choice", choose(&config(vars))).await {
        Ok(choice) => Ok((choice.name.to_string(), choice.why)),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn the_first_provider_with_a_key_is_chosen() {
    let (name, why) = chosen(&[("GROQ_API_KEY", KEY), ("OPENAI_API_KEY", KEY)])
        .await
        .expect("there are keys");
    assert_eq!(why, "OPENAI_API_KEY is set");
    assert!(name.starts_with("openai/"), "{name}");
}

#[tokio::test]
async fn without_a_key_a_local_servers_model_is_used() {
    let models = Reply::models(&["nomic-embed-text", "qwen3:8b"]);
    let server = FakeModelServer::start(in_turn([models])).await;
    let base_url = server.base_url();
    let (name, why) = chosen(&[("OPENAI_COMPATIBLE_BASE_URL", &base_url)])
        .await
        .expect("there is a server");
    assert_eq!(name, "openai-compatible/qwen3:8b");
    assert_eq!(why, format!("openai-compatible responds at {base_url}"));
    assert_eq!(server.requests()[0].path, "/v1/models");
}

#[tokio::test]
async fn without_any_model_the_error_lists_the_options() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener
        .local_addr()
        .expect("the listener is bound")
        .to_string();
    drop(listener);
    let server = FakeModelServer::start(in_turn([Reply::models(&[])])).await;
    let url = server.base_url();
    let vars = [
        ("OLLAMA_HOST", closed.as_str()),
        ("LLAMACPP_BASE_URL", &url),
        ("VLLM_BASE_URL", &closed),
    ];
    let error = chosen(&vars).await.expect_err("no model is available");
    for expected in [
        "ANTHROPIC_API_KEY",
        "ollama at http://127.0.0.1:11434/v1",
        "; teams of command members need no model; ",
        "; ollama does not respond with a list of models",
        &format!("; llamacpp at {url} has no model"),
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn an_unusable_key_is_reported_and_not_replaced() {
    let vars = [
        ("ANTHROPIC_API_KEY_FILE", "/nowhere/key"),
        ("OPENAI_API_KEY", KEY),
    ];
    let error = chosen(&vars).await.expect_err("the key file is missing");
    assert_eq!(
        error,
        "cannot read the key file that ANTHROPIC_API_KEY_FILE names"
    );
}

#[tokio::test]
async fn each_provider_uses_the_url_and_key_of_its_variables() {
    for provider in PROVIDERS {
        let name = provider.name;
        let server = FakeModelServer::start(in_turn([Reply::text("here")])).await;
        let of_others = ("SOME_API_KEY", "sk-of-others");
        let (url_var, key_var) = (provider.base_url_vars[0], provider.key_vars[0]);
        let vars = [(url_var, &*server.base_url()), (key_var, KEY), of_others];
        let model = model_of(&format!("{name}:m"), &config(&vars));
        assert_eq!(model.name(), format!("{name}/m"));
        let answered = first_answer(&*model).await.expect("an answer");
        assert_eq!(answered.text, "here", "{name}");
        let asked = &server.requests()[0];
        let (path, header, key) = match provider.wire {
            Wire::Messages => ("/v1/messages", "x-api-key", KEY.to_owned()),
            Wire::ChatCompletions | Wire::Responses => (
                "/v1/chat/completions",
                "authorization",
                format!("Bearer {KEY}"),
            ),
        };
        assert_eq!((asked.path.as_str(), asked.model()), (path, "m"), "{name}");
        assert_eq!(asked.headers[header], key, "{name}");
    }
}

#[tokio::test]
async fn tls_connections_use_the_proxy_except_for_excluded_hosts() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = proxy
        .local_addr()
        .expect("the listener is bound")
        .to_string();
    let vars = [
        ("HTTPS_PROXY", address.as_str()),
        ("OPENAI_API_KEY", KEY),
        ("OPENAI_BASE_URL", "https://models.example/v1"),
    ];
    let model = model_of("gpt-5.1", &config(&vars));
    assert_eq!(tunnel(&*model, &proxy).await, "CONNECT models.example:443");

    // Every address of 127.0.0.0/8 is this machine on Linux, and only 127.0.0.1 bypasses the proxy by default.
    if cfg!(target_os = "linux") {
        let own = TcpListener::bind("127.0.0.2:0").await.expect("a port");
        let base_url = format!(
            "http://{}/v1",
            own.local_addr().expect("the listener is bound")
        );
        let vars = [
            ("HTTP_PROXY", address.as_str()),
            ("OPENAI_COMPATIBLE_BASE_URL", &base_url),
            ("NO_PROXY", "models.example, 127.0.0.2"),
        ];
        let model = model_of("compatible/m", &config(&vars));
        assert_eq!(tunnel(&*model, &own).await, "POST /v1/chat/completions");
    }
}

/// The method and target of the model's first request to this listener.
async fn tunnel(model: &dyn Model, listener: &TcpListener) -> String {
    let connection = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut line = String::new();
        let read = BufReader::new(stream).read_line(&mut line).await;
        read.expect("the model sends a request");
        line
    };
    let line = tokio::select! {
        line = within("a connection", connection) => line,
        answer = first_answer(model) => panic!("the answer came before the connection: {answer:?}"),
    };
    let request = line.trim_end().rsplit_once(' ');
    request.expect("a request line").0.to_owned()
}

#[tokio::test]
async fn the_members_proxy_is_used_except_for_excluded_hosts() {
    let proxy = FakeModelServer::start(|request| match request.path.as_str() {
        "http://models.example/v1/chat/completions" => Reply::text("through the proxy"),
        _ => Reply::error(400, "not that way"),
    })
    .await;
    let address = proxy.base_url();
    let address = address.strip_suffix("/v1").expect("the URL ends with /v1");
    let own = FakeModelServer::start(in_turn([Reply::text("directly")])).await;
    for (base_url, text) in [
        ("http://models.example/v1", "through the proxy"),
        (&own.base_url(), "directly"),
    ] {
        let vars = [
            ("HTTP_PROXY", address),
            ("OPENAI_COMPATIBLE_BASE_URL", base_url),
        ];
        let model = model_of("openai-compatible/m", &config(&vars));
        let answered = first_answer(&*model).await.expect("an answer");
        assert_eq!(answered.text, text);
    }
}
