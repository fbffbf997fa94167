//! Chooses the model if none is configured: the first provider whose key is set, or whose server responds. Called when
//! a team starts, and to explain the choice.

use std::time::Duration;

use agent_team_providers::{ModelName, PROVIDERS, Provider, Wire};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::Endpoint;
use crate::key::{Key, KeyError};
use crate::open::{OpenConfig, OpenError};

/// The time limits for a local server: to accept a connection, and to list its models.
const CONNECT: Duration = Duration::from_millis(300);
const LIST: Duration = Duration::from_secs(3);

/// The chosen model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub name: ModelName,
    /// For the user, such as "OPENAI_API_KEY is set".
    pub why: String,
}

/// Why no model can be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    #[error(
        "no model is available: set a key ({keys}), start a local server ({servers}), or configure a model at another \
         URL. Teams of command members need no model.{found}"
    )]
    None {
        keys: String,
        servers: String,
        /// Servers that were found and are not usable; empty, or with a leading space.
        found: String,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Chooses the first usable provider in table order.
///
/// # Errors
/// If there is none, or if the user's configuration of one is invalid; the next provider is not tried then.
pub async fn choose(surroundings: &OpenConfig) -> Result<Choice, ChooseError> {
    let mut found = String::new();
    for provider in PROVIDERS {
        let key = Key::find(provider, &surroundings.environment)?;
        if let (Some(key), Some(model)) = (key, provider.default_model) {
            return Ok(Choice {
                name: ModelName::Of {
                    provider,
                    model: model.to_owned(),
                },
                why: format!("{} is set", key.var),
            });
        }
        let given = surroundings.url(provider).is_some();
        let asks = given || (provider.is_local() && !provider.base_url.is_empty());
        if provider.wire != Wire::ChatCompletions || !asks {
            continue;
        }
        match served(provider, surroundings).await? {
            Served::Model { model, url } => {
                return Ok(Choice {
                    name: ModelName::Of { provider, model },
                    why: format!("{} responds at {url}", provider.name),
                });
            }
            Served::Nothing { url } => {
                found.push_str(&format!(" {} at {url} has no model.", provider.name));
            }
            Served::NotThere if given => {
                found.push_str(&format!(" {} does not respond.", provider.name));
            }
            Served::NotThere => {}
        }
    }
    let keys = PROVIDERS.iter().filter(|provider| provider.needs_key);
    let keys: Vec<_> = keys
        .filter_map(|provider| provider.key_vars.first().copied())
        .collect();
    let local = PROVIDERS.iter().filter(|provider| provider.is_local());
    let servers = local.filter(|provider| !provider.base_url.is_empty());
    let servers: Vec<_> = servers
        .map(|provider| format!("{} at {}", provider.name, provider.base_url))
        .collect();
    Err(ChooseError::None {
        keys: keys.join(", "),
        servers: servers.join(", "),
        found,
    })
}

/// The models of a server.
#[derive(Debug)]
enum Served {
    Model { model: String, url: String },
    Nothing { url: String },
    NotThere,
}

#[derive(Debug, Deserialize)]
struct Models {
    data: Option<Vec<Listed>>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
}

async fn served(
    provider: &'static Provider,
    surroundings: &OpenConfig,
) -> Result<Served, OpenError> {
    let endpoint = surroundings.endpoint(provider)?;
    let url = format!("{}/models", endpoint.base_url);
    if !listens(&url).await {
        return Ok(Served::NotThere);
    }
    let listed = timeout(LIST, list(&endpoint, &url)).await;
    let Ok(Ok(models)) = listed else {
        return Ok(Served::NotThere);
    };
    let url = crate::http::shown(&endpoint.base_url);
    // Embedding models cannot chat.
    let mut talking = models.into_iter().filter(|model| !model.contains("embed"));
    Ok(match talking.next() {
        Some(model) => Served::Model { model, url },
        None => Served::Nothing { url },
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
