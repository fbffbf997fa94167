//! Asks a server for the window with which it runs a model. Called at a launch for each model, before it is opened.
//!
//! Only the server knows this number: the user chooses it when the server starts, and it is often far below the largest
//! window of the model. A server that does not answer in time and in one of these forms is not an error; the window is
//! then assumed.
//!
//! | server | request | field |
//! |---|---|---|
//! | llama.cpp | `GET /props` | `default_generation_settings.n_ctx`: the window of one slot |
//! | Ollama | `GET /api/ps` | `context_length` of the loaded model |
//! | Ollama | `POST /api/show` | `num_ctx` in `parameters`, else `*.context_length` in `model_info` |
//! | Ollama | `POST /api/generate` without a prompt | loads the model, so that `/api/ps` lists it |
//! | LM Studio | `GET /api/v0/models` | `loaded_context_length` |
//! | vLLM | `GET /v1/models` | `max_model_len` |
//!
//! Sources, read in November 2026: llama.cpp's tools/server/README.md, Ollama's docs/api.md, LM Studio's REST API v0, vLLM's
//! OpenAI-compatible server.

use std::time::Duration;

use agent_team_providers::WindowReport;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::http::{ClientError, Endpoint};

/// The time limit for all requests to one server.
const LIMIT: Duration = Duration::from_secs(2);

/// The time limit for loading a model. The first answer needs the loaded model as well, so this wait delays it little.
const LOAD_LIMIT: Duration = Duration::from_secs(15);

/// The largest response that is read, in bytes.
const RESPONSE_MAX: usize = 4 << 20;

/// Windows outside this range, in tokens, are errors of the server.
const PLAUSIBLE: std::ops::RangeInclusive<u64> = 512..=100_000_000;

/// Ollama truncates a prompt at its own default window, which it does not report before it loads the model. This is
/// Ollama's smallest default, so a larger window is not assumed for a model that cannot be loaded in time.
const OLLAMA_UNLOADED: u64 = 4_096;

/// The window of this model in tokens, if the server reports it.
pub(crate) async fn read(endpoint: &Endpoint, model: &str) -> Option<u64> {
    let server = Server::of(endpoint).ok()?;
    let asked = async {
        match endpoint.provider.window_report {
            WindowReport::None => None,
            WindowReport::LlamaCpp => server.props().await,
            WindowReport::Ollama => server.ollama(model).await,
            WindowReport::LmStudio => server.listed("/api/v0/models", model).await,
            WindowReport::Models => server.listed("/v1/models", model).await,
            WindowReport::Any => match server.listed("/v1/models", model).await {
                Some(window) => Some(window),
                None => server.props().await,
            },
        }
    };
    let mut window = timeout(LIMIT, asked).await.ok()??;
    if endpoint.provider.window_report == WindowReport::Ollama && window == OLLAMA_UNLOADED {
        let loaded = timeout(LOAD_LIMIT, server.load(model)).await;
        window = loaded.ok().flatten().unwrap_or(window);
    }
    PLAUSIBLE.contains(&window).then_some(window)
}

struct Server {
    client: Client,
    headers: reqwest::header::HeaderMap,
    /// The base URL without the version.
    root: String,
}

impl Server {
    fn of(endpoint: &Endpoint) -> Result<Self, ClientError> {
        let root = &endpoint.base_url;
        Ok(Self {
            client: endpoint.client()?,
            headers: endpoint.headers()?,
            root: root.strip_suffix("/v1").unwrap_or(root).to_owned(),
        })
    }

    async fn props(&self) -> Option<u64> {
        let props = self.get("/props").await?;
        props["default_generation_settings"]["n_ctx"].as_u64()
    }

    /// The window of a model in a list.
    async fn listed(&self, path: &str, model: &str) -> Option<u64> {
        let list = self.get(path).await?;
        let models = list["data"].as_array()?;
        let model = models.iter().find(|listed| listed["id"] == model)?;
        ["loaded_context_length", "max_model_len"]
            .into_iter()
            .find_map(|field| model[field].as_u64())
    }

    /// Loads the model and returns its window.
    async fn load(&self, model: &str) -> Option<u64> {
        let body = json!({ "model": model, "stream": false }).to_string();
        let url = format!("{}/api/generate", self.root);
        self.receive(self.client.post(url).body(body)).await?;
        self.loaded(model).await
    }

    /// The window of this model, if Ollama has loaded it.
    async fn loaded(&self, model: &str) -> Option<u64> {
        let loaded = self.get("/api/ps").await;
        let loaded = loaded.as_ref().and_then(|list| list["models"].as_array());
        let mut loaded = loaded.into_iter().flatten();
        let is_meant = |name: &Value| {
            let name = name.as_str().unwrap_or("");
            name == model || name.strip_suffix(":latest") == Some(model)
        };
        let model = loaded.find(|loaded| is_meant(&loaded["name"]))?;
        model["context_length"].as_u64()
    }

    async fn ollama(&self, model: &str) -> Option<u64> {
        if let Some(window) = self.loaded(model).await {
            return Some(window);
        }
        let body = json!({ "model": model }).to_string();
        let url = format!("{}/api/show", self.root);
        let shown = self.receive(self.client.post(url).body(body)).await?;
        let parameters = shown["parameters"].as_str().unwrap_or("").lines();
        // If `num_ctx` is set several times, Ollama uses the last value.
        let mut set = parameters
            .rev()
            .filter_map(|line| line.trim().strip_prefix("num_ctx"));
        if let Some(window) = set.next().and_then(|number| number.trim().parse().ok()) {
            return Some(window);
        }
        let info = shown["model_info"].as_object()?;
        let mut info = info.iter();
        let (_, window) = info.find(|(field, _)| field.ends_with(".context_length"))?;
        Some(window.as_u64()?.min(OLLAMA_UNLOADED))
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let url = format!("{}{path}", self.root);
        self.receive(self.client.get(url)).await
    }

    async fn receive(&self, request: RequestBuilder) -> Option<Value> {
        let response = request.headers(self.headers.clone()).send().await.ok()?;
        let mut response = response.error_for_status().ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            if body.len() + chunk.len() > RESPONSE_MAX {
                return None;
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).ok()
    }
}
