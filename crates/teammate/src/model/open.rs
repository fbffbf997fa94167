//! From a model's name to something that answers: base URL, key, headers, proxies. Called once per member's launch.
//!
//! Everything comes from the environment that the member was given, never from this process's own.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::catalogue::Catalogue;
use super::http::{ClientError, Endpoint, HttpModel, SILENCE, shown};
use super::key::{Key, KeyError, set};
use super::name::ModelName;
use super::patience::Patience;
use super::provider::{Provider, Wire};
use super::recording::{Replay, ReplayError};
use super::{Model, Searches};
use crate::http::{NoProxy, proxies};

/// What a model is opened with.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
#[derive(Clone, Default)]
pub struct Surroundings {
    /// The member's.
    pub environment: BTreeMap<String, String>,
    /// From the team file; goes before the environment's.
    pub base_url: Option<String>,
    /// Sent with every request besides what the wire needs, whose place they may take.
    pub headers: Vec<(String, String)>,
    pub catalogue: Catalogue,
    /// How long a server may say nothing at all before its connection counts as dead; two minutes when none is given.
    pub silence: Option<Duration>,
}

/// Why a model cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{provider} needs a key: set {vars}, or {first}_FILE to a file with mode 0600 that holds it"
    )]
    NoKey {
        provider: String,
        vars: String,
        first: String,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{provider} needs a base URL: set {vars}, or base_url in the team file")]
    NoBaseUrl { provider: String, vars: String },
    /// `url` is shown without a password.
    #[error("{url} is no base URL of {provider}: {why}")]
    BaseUrl {
        provider: String,
        url: String,
        why: String,
    },
    /// Its value is not shown.
    #[error("the header {0} cannot be sent")]
    Header(String),
    #[error(transparent)]
    Proxy(#[from] NoProxy),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// The model of this name for this member, which is asked again when that helps. A recording is read here; nothing
/// else is asked or connected.
///
/// # Errors
/// When the key, the base URL or the recording that it needs is not there or cannot be used.
pub fn open(
    name: &ModelName,
    member: &str,
    surroundings: &Surroundings,
) -> Result<Box<dyn Model>, OpenError> {
    match name {
        ModelName::Replay(file) => Ok(Box::new(Replay::open(file, member)?)),
        ModelName::Of { provider, model } => {
            let known = surroundings.catalogue.look_up(name);
            let endpoint = surroundings.endpoint(provider)?;
            if endpoint.key.is_none() && provider.needs_key && surroundings.url(provider).is_none()
            {
                return Err(OpenError::NoKey {
                    provider: provider.name.to_owned(),
                    vars: provider.key_vars.join(" or "),
                    first: provider.key_vars.join("_FILE or "),
                });
            }
            let model = HttpModel::new(name.to_string(), model.clone(), known, endpoint)?;
            Ok(Box::new(Patience::with(Box::new(model))))
        }
    }
}

impl Surroundings {
    /// The base URL that takes the place of the provider's own.
    pub(super) fn url(&self, provider: &Provider) -> Option<&str> {
        let vars = provider.base_url_vars.iter();
        let mut given = vars.filter_map(|var| set(&self.environment, var));
        self.base_url.as_deref().or_else(|| given.next())
    }

    pub(super) fn endpoint(&self, provider: &'static Provider) -> Result<Endpoint, OpenError> {
        let given = self.url(provider).unwrap_or(provider.base_url);
        if given.is_empty() {
            return Err(OpenError::NoBaseUrl {
                provider: provider.name.to_owned(),
                vars: provider.base_url_vars.join(" or "),
            });
        }
        let base_url = base_url(provider, given).map_err(|why| OpenError::BaseUrl {
            provider: provider.name.to_owned(),
            url: shown(given),
            why,
        })?;
        let is_own = self::base_url(provider, provider.base_url).is_ok_and(|own| own == base_url);
        Ok(Endpoint {
            provider,
            searches: match provider.wire {
                Wire::ChatCompletions => Searches::Never,
                Wire::Messages if is_own => Searches::Yes,
                Wire::Messages => Searches::Perhaps,
            },
            base_url,
            key: Key::find(provider, &self.environment)?,
            headers: self.extra_headers()?,
            proxies: proxies(|var| set(&self.environment, var))?,
            silence: self.silence.unwrap_or(SILENCE),
        })
    }

    fn extra_headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, OpenError> {
        let header = |(name, value): &(String, String)| {
            let refused = |_| OpenError::Header(name.clone());
            let mut value = HeaderValue::try_from(value).map_err(|_| refused(()))?;
            // It may be a key.
            value.set_sensitive(true);
            let name = HeaderName::try_from(name).map_err(|_| refused(()))?;
            Ok((name, value))
        };
        self.headers.iter().map(header).collect()
    }
}

/// What a person gave, in the form that paths are appended to.
fn base_url(provider: &Provider, given: &str) -> Result<String, String> {
    let given = given.trim().trim_end_matches('/');
    let bare = !given.contains("://");
    let scheme = if bare { "http://" } else { "" };
    let mut url = Url::parse(&format!("{scheme}{given}")).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it begins with neither http:// nor https://".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it goes on after the path".to_owned());
    }
    let cannot = |_| "it has no host".to_owned();
    // `OLLAMA_HOST` also says where its server listens: everywhere is also here.
    if url.host_str() == Some("0.0.0.0") {
        url.set_host(Some("127.0.0.1"))
            .map_err(|error| error.to_string())?;
    }
    if bare && url.port().is_none() {
        let own = Url::parse(provider.base_url)
            .ok()
            .and_then(|url| url.port());
        url.set_port(own).map_err(cannot)?;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let versioned = match provider.wire {
        Wire::ChatCompletions => !path.is_empty(),
        // Its own tools append the version whatever stands before it.
        Wire::Messages => path.ends_with("/v1"),
    };
    let path = if versioned {
        path
    } else {
        format!("{path}/v1")
    };
    url.set_path(&path);
    Ok(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(vars: &[(&str, &str)]) -> Surroundings {
        let environment = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Surroundings {
            environment: environment.collect(),
            ..Surroundings::default()
        }
    }

    fn opened(name: &str, vars: &[(&str, &str)]) -> Result<String, String> {
        let name = name.parse().expect("a model's name");
        match open(&name, "ada", &surroundings(vars)) {
            Ok(model) => Ok(format!("{model:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn url(provider: &str, given: &str) -> String {
        let provider = Provider::named(provider).expect("it is known");
        base_url(provider, given).unwrap_or_else(|why| why)
    }

    #[test]
    fn base_urls_are_understood_as_people_write_them() {
        for (provider, given, is) in [
            (
                "openai",
                "https://api.openai.com/v1/",
                "https://api.openai.com/v1",
            ),
            (
                "openai",
                "http://localhost:1234",
                "http://localhost:1234/v1",
            ),
            (
                "anthropic",
                "https://api.anthropic.com",
                "https://api.anthropic.com/v1",
            ),
            (
                "anthropic",
                "https://gate.example/claude",
                "https://gate.example/claude/v1",
            ),
            (
                "anthropic",
                "https://gate.example/v1",
                "https://gate.example/v1",
            ),
            ("ollama", "0.0.0.0", "http://127.0.0.1:11434/v1"),
            ("ollama", "gpu.lan:8080", "http://gpu.lan:8080/v1"),
            ("ollama", "http://gpu.lan:8080/", "http://gpu.lan:8080/v1"),
            (
                "groq",
                "ftp://x",
                "it begins with neither http:// nor https://",
            ),
            ("openai", "http://x/v1?a=b", "it goes on after the path"),
        ] {
            assert_eq!(url(provider, given), is, "{provider} {given}");
        }
    }

    #[test]
    fn a_key_is_needed_where_the_provider_itself_is_asked() {
        let error = opened("openai/gpt-5", &[]).expect_err("there is no key");
        assert!(
            error.starts_with("openai needs a key: set OPENAI_API_KEY, or "),
            "{error}"
        );
        for (name, vars) in [
            ("openai/gpt-5", [("OPENAI_API_KEY", "sk-1")]),
            ("openai/x", [("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")]),
            ("ollama/qwen3", [("A", "b")]),
        ] {
            opened(name, &vars).expect("nothing is missing");
        }
        let error = opened("openai-compatible/x", &[]).expect_err("nobody knows where");
        assert!(error.contains("OPENAI_COMPATIBLE_BASE_URL"), "{error}");
    }

    #[test]
    fn no_secret_is_in_what_is_shown() {
        let mut around = surroundings(&[
            ("ANTHROPIC_API_KEY", "sk-ant-secret"),
            ("ANTHROPIC_BASE_URL", "http://u:secret@127.0.0.1:9"),
            ("HTTPS_PROXY", "http://u:secret@127.0.0.1:8"),
        ]);
        around.headers = vec![("x-gate".to_owned(), "secret".to_owned())];
        let name: ModelName = "claude-x".parse().expect("a name");
        let model = open(&name, "ada", &around).expect("nothing is missing");
        assert_eq!(model.name(), "anthropic/claude-x");
        let shown = format!("{model:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_cannot_be_sent_or_asked_is_said_without_its_value() {
        let mut around = surroundings(&[("OPENAI_API_KEY", "k")]);
        around.headers = vec![("x-gate".to_owned(), "se\ncret".to_owned())];
        let name: ModelName = "gpt-5".parse().expect("a name");
        let error = open(&name, "ada", &around).expect_err("no header holds it");
        assert_eq!(error.to_string(), "the header x-gate cannot be sent");
        let error = opened(
            "gpt-5",
            &[("OPENAI_API_KEY", "k"), ("https_proxy", "http://:secret@")],
        );
        assert_eq!(error, Err("https_proxy does not name a proxy".to_owned()));
    }
}
