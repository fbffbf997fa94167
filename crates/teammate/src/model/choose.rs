//! Which model it is when the person named none: the first provider whose key is there, or whose server answers.
//! Called where a team starts, and by whoever explains the choice.

use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::Endpoint;
use super::key::{Key, KeyError};
use super::name::ModelName;
use super::open::{OpenError, Surroundings};
use super::provider::{PROVIDERS, Provider, Wire};

/// A server on this machine or near it has taken a connection by then, and has said by then what it has.
const CONNECT: Duration = Duration::from_millis(300);
const LIST: Duration = Duration::from_secs(3);

/// A model that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub name: ModelName,
    /// For the person, such as "OPENAI_API_KEY is set".
    pub why: String,
}

/// Why there is no model to choose.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    #[error(
        "there is no model to think with: set a key ({keys}), start a local server ({servers}), or name a model that \
         is served elsewhere. Teams of commands need none.{found}"
    )]
    None {
        keys: String,
        servers: String,
        /// What was there and did not help; empty, or with a space before it.
        found: String,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The first of the providers, in the order of their table, that can be asked.
///
/// # Errors
/// When there is none, or when what a person gave cannot be used: no other takes its place then.
pub async fn choose(surroundings: &Surroundings) -> Result<Choice, ChooseError> {
    let mut found = String::new();
    for provider in &PROVIDERS {
        let key = Key::find(provider, &surroundings.environment)?;
        if let (Some(key), Some(model)) = (key, provider.usual) {
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
                    why: format!("{} answers at {url}", provider.name),
                });
            }
            Served::Nothing { url } => {
                found.push_str(&format!(" {} at {url} has no model.", provider.name));
            }
            Served::NotThere if given => {
                found.push_str(&format!(" {} does not answer.", provider.name));
            }
            Served::NotThere => {}
        }
    }
    let keys = PROVIDERS.iter().filter(|provider| provider.needs_key);
    let keys: Vec<_> = keys
        .filter_map(|provider| provider.key_vars().first().copied())
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

/// What a server has to offer.
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
    surroundings: &Surroundings,
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
    let url = super::http::shown(&endpoint.base_url);
    // What makes vectors of texts does not answer.
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
