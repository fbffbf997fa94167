//! Models over the real wire formats: how `crates/llm` reads a server's replies, and the requests that it sends.
//!
//! The server is `fake_model_server`, over real connections. Tests of waiting stay short: the server requests a pause
//! of milliseconds, or the test reads the first deltas and drops the answer.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test matches the expected variant and fails for all others"
)]

mod anthropic;
mod azure;
mod failure;
mod fallback;
mod gemini;
mod local_servers;
mod media;
mod openrouter;
mod recording;
mod responses;
mod selection;
mod tls;
mod wire;

use agent_team_llm::open::{OpenConfig, open};
use agent_team_llm::{Answer, Delta, Item, Model, ModelError, Prompt, ToolSpec};
use agent_team_protocol::spec::{BaseUrl, ProviderSpec};
use agent_team_providers::{PROVIDERS, Provider};
use agent_team_tests::fake_model_server::FakeModelServer;
use agent_team_tests::within;
use serde_json::json;
use tokio::sync::mpsc;

/// A model with the wire Chat Completions, and one with the wire Messages.
const WIRES: [&str; 2] = ["openai/m", "anthropic/m"];

const KEY: &str = "sk-secret-1";

/// Every provider at this base URL, with keys for four of them. A provider with a configured base URL can be used
/// without a key.
fn config(base_url: &str) -> OpenConfig {
    let keys = [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "MISTRAL_API_KEY",
    ];
    let keys = keys.map(|var| (var.to_owned(), KEY.to_owned()));
    let entry = |provider: &Provider| {
        let spec = ProviderSpec {
            base_url: Some(BaseUrl::Own(base_url.to_owned())),
            ..ProviderSpec::default()
        };
        (provider.name.to_owned(), spec)
    };
    OpenConfig {
        environment: keys.into(),
        providers: PROVIDERS.iter().map(entry).collect(),
        ..OpenConfig::default()
    }
}

fn model_of(name: &str, config: &OpenConfig) -> Box<dyn Model> {
    let name = name.parse().expect("a model's name");
    open(&name, "ada", config).expect("nothing is missing")
}

fn model_at(name: &str, server: &FakeModelServer) -> Box<dyn Model> {
    model_of(name, &config(&server.base_url()))
}

fn input(text: &str) -> Item {
    Item::Input {
        text: text.to_owned(),
    }
}

fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: format!("Does {name}"),
        input: json!({ "type": "object", "properties": { "path": { "type": "string" } } }),
    }
}

/// One answer, with all its deltas.
async fn answer(
    model: &dyn Model,
    items: &[Item],
    tools: &[ToolSpec],
) -> (Result<Answer, ModelError>, Vec<Delta>) {
    let mut deltas = Vec::new();
    let prompt = Prompt {
        system: "You are ada.",
        items,
        tools,
        search: false,
        effort: None,
    };
    let mut on_delta = |delta| deltas.push(delta);
    let answer = within("an answer", model.answer(prompt, &mut on_delta)).await;
    (answer, deltas)
}

/// The answer to the first input of a conversation.
async fn first_answer(model: &dyn Model) -> Result<Answer, ModelError> {
    answer(model, &[input("Hello")], &[tool("read")]).await.0
}

/// The deltas of an answer until `enough`; then the answer is dropped.
async fn deltas_until(model: &dyn Model, enough: impl Fn(&Delta) -> bool) -> Vec<Delta> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let items = [input("Hello")];
    let prompt = Prompt {
        system: "",
        items: &items,
        tools: &[],
        search: false,
        effort: None,
    };
    let mut on_delta = |delta| sender.send(delta).expect("the receiver is open");
    let mut answering = model.answer(prompt, &mut on_delta);
    let mut deltas = Vec::new();
    let listening = async {
        loop {
            tokio::select! {
                biased;
                delta = receiver.recv() => {
                    let delta = delta.expect("the sender is open");
                    let last = enough(&delta);
                    deltas.push(delta);
                    if last {
                        return;
                    }
                }
                answer = &mut answering => panic!("the model answered {answer:?} after {deltas:?}"),
            }
        }
    };
    within("the deltas", listening).await;
    deltas
}

/// The reason of the first retry.
async fn first_failure(model: &dyn Model) -> String {
    let mut deltas = deltas_until(model, |delta| matches!(delta, Delta::Waiting { .. })).await;
    match deltas.pop() {
        Some(Delta::Waiting { why, .. }) => why,
        other => panic!("the client does not retry: {other:?}"),
    }
}

fn text(deltas: &[Delta]) -> String {
    let text = deltas.iter().filter_map(|delta| match delta {
        Delta::Text(text) => Some(text.as_str()),
        Delta::Thought(_)
        | Delta::Call { .. }
        | Delta::Input { .. }
        | Delta::Searched { .. }
        | Delta::Waiting { .. }
        | Delta::Replaced { .. } => None,
    });
    text.collect()
}
