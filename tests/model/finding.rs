//! How a model is found: which one when none is named, and through which proxy.

use agent_team_teammate::model::choose::choose;
use agent_team_teammate::model::open::Surroundings;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use agent_team_tests::within;
use tokio::net::TcpListener;

use crate::{KEY, first_answer, model_of};

fn surroundings(vars: &[(&str, &str)]) -> Surroundings {
    let vars = vars
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Surroundings {
        environment: vars.collect(),
        ..Surroundings::default()
    }
}

async fn chosen(vars: &[(&str, &str)]) -> Result<(String, String), String> {
    match within("a choice", choose(&surroundings(vars))).await {
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
async fn without_a_key_a_server_that_answers_is_asked_what_it_has() {
    let models = Reply::models(&["nomic-embed-text", "qwen3:8b"]);
    let server = FakeModelServer::start(in_turn([models])).await;
    let base_url = server.base_url();
    let (name, why) = chosen(&[("OPENAI_COMPATIBLE_BASE_URL", &base_url)])
        .await
        .expect("there is a server");
    assert_eq!(name, "openai-compatible/qwen3:8b");
    assert_eq!(why, format!("openai-compatible answers at {base_url}"));
    assert_eq!(server.requests()[0].path, "/v1/models");
}

#[tokio::test]
async fn when_there_is_nothing_the_ways_out_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let server = FakeModelServer::start(in_turn([Reply::models(&[])])).await;
    let url = server.base_url();
    let vars = [
        ("OLLAMA_HOST", closed.as_str()),
        ("LLAMACPP_BASE_URL", &url),
        ("VLLM_BASE_URL", &closed),
    ];
    let error = chosen(&vars).await.expect_err("there is nothing");
    for says in [
        "ANTHROPIC_API_KEY",
        "ollama at http://127.0.0.1:11434/v1",
        "Teams of commands need none.",
        " ollama does not answer.",
        &format!(" llamacpp at {url} has no model."),
    ] {
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_said_and_no_other_takes_its_place() {
    let vars = [
        ("ANTHROPIC_API_KEY_FILE", "/nowhere/key"),
        ("OPENAI_API_KEY", KEY),
    ];
    let error = chosen(&vars).await.expect_err("it is not there");
    assert_eq!(
        error,
        "cannot read the key that ANTHROPIC_API_KEY_FILE names"
    );
}

#[tokio::test]
async fn the_members_proxy_is_used_but_for_what_it_excepts() {
    let proxy = FakeModelServer::start(|request| match request.path.as_str() {
        "http://models.example/v1/chat/completions" => Reply::text("through the proxy"),
        _ => Reply::error(400, "not that way"),
    })
    .await;
    let address = proxy.base_url();
    let address = address.strip_suffix("/v1").expect("it ends so");
    let own = FakeModelServer::start(in_turn([Reply::text("directly")])).await;
    for (base_url, text) in [
        ("http://models.example/v1", "through the proxy"),
        (&own.base_url(), "directly"),
    ] {
        let vars = [
            ("HTTP_PROXY", address),
            ("OPENAI_COMPATIBLE_BASE_URL", base_url),
        ];
        let model = model_of("openai-compatible/m", &surroundings(&vars));
        let answered = first_answer(&*model).await.expect("an answer");
        assert_eq!(answered.text, text);
    }
}
