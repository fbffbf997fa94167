//! Chooses a model for a member without a configured model. The first provider in the table with a key, or with a
//! server that lists a model, supplies the model. Called when such a member is launched, and by `doctor` to explain the
//! choice.

use std::time::Duration;

use agent_team_protocol::spec::Wire;
use agent_team_protocol::with_causes;
use agent_team_providers::{ModelName, PROVIDERS, Provider};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::Endpoint;
use crate::key::{Key, KeyError};
use crate::open::{OpenConfig, OpenError};

/// The time limit for a server to accept a connection.
const CONNECT: Duration = Duration::from_millis(300);

/// The time limit for a server to list its models.
const LIST: Duration = Duration::from_secs(3);

/// The chosen model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub name: ModelName,
    /// The reason of the choice, for the user, such as "OPENAI_API_KEY is set".
    pub why: String,
}

/// Why no model can be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    #[error(
        "no model is available: set a key ({keys}), start a local server ({servers}), or set the URL of a server \
         ({urls}); teams of command members need no model{}", .found.iter().map(|it| format!("; {it}")).collect::<String>()
    )]
    None {
        keys: String,
        servers: String,
        urls: String,
        /// A clause for each server that lists no model, and for each configured server that does not respond.
        found: Vec<String>,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ChooseError {
    /// Formats the error for a display with several lines: the options of the user are a list.
    pub fn in_lines(&self) -> String {
        let Self::None {
            keys,
            servers,
            urls,
            found,
        } = self
        else {
            return with_causes(self);
        };
        let mut lines = vec![
            "no model is available".to_owned(),
            format!("- set a key: {keys}"),
            format!("- or start a local server: {servers}"),
            format!("- or set the URL of a server: {urls}"),
            "teams of command members need no model".to_owned(),
        ];
        lines.extend(found.iter().cloned());
        lines.join("\n")
    }
}

/// Chooses the first usable provider in table order.
///
/// # Errors
/// If no provider is usable, or if the key or the endpoint of a provider is invalid. Providers after an invalid
/// provider are not tried.
pub async fn choose(config: &OpenConfig) -> Result<Choice, ChooseError> {
    let mut found = Vec::new();
    for provider in PROVIDERS {
        let key = Key::find(provider, &config.environment)?;
        if let (Some(key), Some(model)) = (key, provider.default_model) {
            return Ok(Choice {
                name: ModelName::Of {
                    provider,
                    model: model.to_owned(),
                },
                why: format!("{} is set", key.var),
            });
        }
        let is_configured = config.url(provider).is_some();
        let has_url = is_configured || (provider.is_local() && !provider.base_url.is_empty());
        if provider.wire != Wire::ChatCompletions || !has_url {
            continue;
        }
        match served_model(provider, config).await? {
            Served::Model { model, url } => {
                return Ok(Choice {
                    name: ModelName::Of { provider, model },
                    why: format!("{} responds at {url}", provider.name),
                });
            }
            Served::NoModel { url } => {
                found.push(format!("{} at {url} has no model", provider.name));
            }
            Served::NoResponse if is_configured => {
                let name = provider.name;
                found.push(format!("{name} does not respond with a list of models"));
            }
            Served::NoResponse => {}
        }
    }
    let keys = PROVIDERS.iter().filter(|provider| provider.needs_key);
    let keys: Vec<_> = keys
        .filter_map(|provider| provider.key_vars.first().copied())
        .collect();
    let mut chat = PROVIDERS
        .iter()
        .filter(|it| it.wire == Wire::ChatCompletions);
    let local = PROVIDERS.iter().filter(|provider| provider.is_local());
    let urls = chat.next().into_iter().chain(local.clone());
    let urls: Vec<_> = urls
        .filter_map(|provider| provider.base_url_vars.first().copied())
        .collect();
    let servers = local.filter(|provider| !provider.base_url.is_empty());
    let servers: Vec<_> = servers
        .map(|provider| format!("{} at {}", provider.name, provider.base_url))
        .collect();
    Err(ChooseError::None {
        keys: keys.join(", "),
        servers: servers.join(", "),
        urls: urls.join(", "),
        found,
    })
}

/// The result of asking a server for its models.
#[derive(Debug)]
enum Served {
    Model {
        model: String,
        url: String,
    },
    NoModel {
        url: String,
    },
    /// The server accepts no connection, or returns no valid list of models.
    NoResponse,
}

#[derive(Debug, Deserialize)]
struct Models {
    data: Option<Vec<Listed>>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
}

async fn served_model(
    provider: &'static Provider,
    config: &OpenConfig,
) -> Result<Served, OpenError> {
    let endpoint = config.endpoint(provider)?;
    let url = endpoint.url("/models");
    if !listens(&url).await {
        return Ok(Served::NoResponse);
    }
    let listed = timeout(LIST, list(&endpoint, &url)).await;
    let Ok(Ok(models)) = listed else {
        return Ok(Served::NoResponse);
    };
    let url = crate::http::shown(&endpoint.base_url);
    // Embedding models cannot chat.
    let mut chat_models = models.into_iter().filter(|model| !model.contains("embed"));
    Ok(match chat_models.next() {
        Some(model) => Served::Model { model, url },
        None => Served::NoModel { url },
    })
}

async fn listens(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let host = host.trim_matches(['[', ']']);
    matches!(
        timeout(CONNECT, TcpStream::connect((host, port))).await,
        Ok(Ok(_))
    )
}

async fn list(
    endpoint: &Endpoint,
    url: &str,
) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let request = endpoint.client()?.get(url).headers(endpoint.headers()?);
    let body = request.send().await?.error_for_status()?.bytes().await?;
    let models: Models = serde_json::from_slice(&body)?;
    let models = models.data.unwrap_or_default();
    Ok(models.into_iter().map(|model| model.id).collect())
}
