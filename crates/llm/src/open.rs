//! Opens a model by name: base URL, key, headers, proxies. Called for each model of a member at its launch, and
//! by `doctor`.
//!
//! Variables are read from the member's environment, never from the environment of this process. Secrets are sent only
//! to the provider itself or to a URL that the user configured, never to a URL that only a project file names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use agent_team_protocol::spec::{BaseUrl, ProviderSpec, Wire};
use agent_team_protocol::value::Effort;
use agent_team_providers::{ModelName, Provider};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Certificate, Url};

use crate::catalogue::{Catalogue, ModelData};
use crate::http::{ClientError, Endpoint, HttpModel, LOOPBACK_SILENCE, SILENCE, shown};
use crate::http_client::{InvalidProxy, proxies};
use crate::key::{Key, KeyError, set};
use crate::model::{Model, SearchSupport};
use crate::recording::{Replay, ReplayError, Speed};
use crate::retry::RetryingModel;
use crate::usage::Price;
use crate::window;

/// The configuration with which a model is opened.
#[expect(missing_debug_implementations, reason = "this type contains secrets")]
#[derive(Clone, Default)]
pub struct OpenConfig {
    /// The member's environment.
    pub environment: BTreeMap<String, String>,
    /// The providers of the team file and the user's settings, by name. A base URL here takes precedence over the base
    /// URL in the environment. Headers are sent in addition to the required ones, and can replace them.
    pub providers: BTreeMap<String, ProviderSpec>,
    pub catalogue: Catalogue,
    /// The windows that local servers reported, in tokens, by `provider/model`: see [`OpenConfig::ask_window`].
    pub windows: BTreeMap<String, u64>,
    /// How much the model thinks. `None`: medium, for models that are known to think.
    pub effort: Option<Effort>,
    /// The longest time for the retries of one answer. `None`: no limit.
    pub retry_limit: Option<Duration>,
    /// The time without any byte after which a connection counts as dead. A provider's setting takes precedence.
    /// Default: two minutes, and ten for a server on this machine.
    pub silence: Option<Duration>,
}

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{provider} requires a key: set {vars}, or set {first}_FILE to a file with mode 0600 that contains it"
    )]
    NoKey {
        provider: String,
        vars: String,
        first: String,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{provider} requires a base URL: set {vars}, or base_url in the team file")]
    NoBaseUrl { provider: String, vars: String },
    /// `url` is shown without user name, password and query.
    #[error("invalid base URL {url} for {provider}: {why}")]
    BaseUrl {
        provider: String,
        url: String,
        why: String,
    },
    #[error(
        "the team file sets the base URL of {provider} to {url}, which would receive your {var}: to permit this, run \
         agent-team config set providers.{provider}.base_url {url}, or set {permit_vars} to this URL; then run agent-team up"
    )]
    BaseUrlNotPermitted {
        provider: String,
        url: String,
        var: String,
        /// The variables with which the user can permit the URL.
        permit_vars: String,
    },
    /// Contains only the name of the header: the value may be a secret.
    #[error("cannot send the header {0}")]
    Header(String),
    #[error("the header {header} uses ${var}, which is not set")]
    Variable { header: String, var: String },
    #[error("cannot use the certificates (ca) of {provider}: {why}")]
    Certificates { provider: String, why: String },
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("{REPLAY_SPEED}={0} is not a number of characters per second")]
    ReplaySpeed(String),
}

/// The variable with the speed of recordings, in characters per second. Without it, recordings answer at once.
const REPLAY_SPEED: &str = "AGENT_TEAM_REPLAY_SPEED";

/// Opens the model of this name for this member, with retries. A recording is read here; no connection is made yet.
///
/// # Errors
/// If the key or the base URL is missing, invalid or not permitted; if a header, a certificate or a proxy is invalid,
/// or a variable of a header is not set; if the HTTP client cannot be created; if the recording cannot be read.
pub fn open(
    name: &ModelName,
    member: &str,
    config: &OpenConfig,
) -> Result<Box<dyn Model>, OpenError> {
    match name {
        ModelName::Replay(file) => {
            let replay = Replay::open(file, member)?;
            Ok(Box::new(replay.at_speed(config.replay_speed()?)))
        }
        ModelName::Of { provider, model } => {
            let endpoint = config.endpoint(provider)?;
            if endpoint.key.is_none() && provider.needs_key && config.url(provider).is_none() {
                return Err(OpenError::NoKey {
                    provider: provider.name.to_owned(),
                    vars: provider.key_vars.join(" or "),
                    first: provider.key_vars.join("_FILE or "),
                });
            }
            let known = config.data_of(name, provider);
            let model = HttpModel::new(
                name.to_string(),
                model.clone(),
                known,
                config.effort,
                endpoint,
            )?;
            let retrying = RetryingModel::new(Box::new(model));
            Ok(Box::new(retrying.for_at_most(config.retry_limit)))
        }
    }
}

impl OpenConfig {
    /// Explains to the user why a model is available: the variable with its key, its server, or that it is a recording.
    ///
    /// # Errors
    /// As [`open`].
    pub fn why(&self, name: &ModelName) -> Result<String, OpenError> {
        open(name, "doctor", self)?;
        let ModelName::Of { provider, .. } = name else {
            return Ok("a recording".to_owned());
        };
        let endpoint = self.endpoint(provider)?;
        let at = self.url(provider).map(|_| shown(&endpoint.base_url));
        let key = endpoint
            .key
            .as_ref()
            .map(|key| format!("{} is set", key.var));
        let reasons: Vec<_> = key
            .into_iter()
            .chain(at.map(|url| format!("at {url}")))
            .collect();
        Ok(match reasons.is_empty() {
            true => format!("at {}", shown(&endpoint.base_url)),
            false => reasons.join(", "),
        })
    }

    /// Whether the cost of this model will be known: it has a price, or its provider reports the cost of each answer.
    pub fn knows_cost_of(&self, name: &ModelName) -> bool {
        match name {
            ModelName::Replay(_) => true,
            ModelName::Of { provider, .. } => {
                provider.quirks.is_openrouter || self.data_of(name, provider).price.is_some()
            }
        }
    }

    /// Asks the server of a local provider for the window of this model, for [`open`]. A window in the catalogue takes
    /// precedence. A server that does not answer within seconds is not an error.
    pub async fn ask_window(&mut self, name: &ModelName) {
        let ModelName::Of { provider, model } = name else {
            return;
        };
        if !provider.is_local() || !self.catalogue.look_up(name).window_is_assumed {
            return;
        }
        let Ok(endpoint) = self.endpoint(provider) else {
            return;
        };
        if let Some(window) = window::read(&endpoint, model).await {
            self.windows.insert(name.to_string(), window);
        }
    }

    /// The catalogue's data about a model of this provider. A server on this machine is free if no key is set for it,
    /// unless the catalogue has a price.
    fn data_of(&self, name: &ModelName, provider: &Provider) -> ModelData {
        let mut data = self.catalogue.look_up(name);
        if let Some(window) = self.windows.get(&name.to_string()) {
            data.window = *window;
        }
        if provider.is_local() {
            let has_no_key = matches!(Key::find(provider, &self.environment), Ok(None));
            if has_no_key && self.is_on_loopback(provider) {
                data.price = data.price.or(Some(Price::FREE));
            } else if data.price_is_assumed {
                data.price = None;
            }
        }
        data
    }

    /// Whether the provider's server runs on this machine.
    fn is_on_loopback(&self, provider: &Provider) -> bool {
        let url = self.url(provider).unwrap_or(provider.base_url);
        let url = base_url(provider, self.wire(provider), url);
        url.is_ok_and(|url| is_loopback(&url))
    }

    fn replay_speed(&self) -> Result<Option<Speed>, OpenError> {
        let parsed = |text: &str| {
            let speed = text.parse();
            speed.map_err(|_| OpenError::ReplaySpeed(text.to_owned()))
        };
        set(&self.environment, REPLAY_SPEED).map(parsed).transpose()
    }

    /// The base URL that replaces the provider's own.
    pub(super) fn url(&self, provider: &Provider) -> Option<&str> {
        let configured = self.spec(provider).and_then(|spec| spec.base_url.as_ref());
        match configured {
            Some(BaseUrl::OfProject(url) | BaseUrl::Own(url)) => Some(url),
            None => self.url_of_environment(provider),
        }
    }

    pub(super) fn endpoint(&self, provider: &'static Provider) -> Result<Endpoint, OpenError> {
        let url = self.url(provider).unwrap_or(provider.base_url);
        if url.is_empty() {
            return Err(OpenError::NoBaseUrl {
                provider: provider.name.to_owned(),
                vars: provider.base_url_vars.join(" or "),
            });
        }
        let wire = self.wire(provider);
        let base_url = base_url(provider, wire, url).map_err(|why| OpenError::BaseUrl {
            provider: provider.name.to_owned(),
            url: shown(url),
            why,
        })?;
        let is_own =
            self::base_url(provider, wire, provider.base_url).is_ok_and(|own| own == base_url);
        let key = Key::find(provider, &self.environment)?;
        if !self.is_permitted(provider, &base_url) {
            let var = key.as_ref().map(|key| key.var.as_str());
            if let Some(var) = var.or_else(|| self.variable_of_headers(provider)) {
                return Err(OpenError::BaseUrlNotPermitted {
                    provider: provider.name.to_owned(),
                    url: shown(&base_url),
                    var: var.to_owned(),
                    permit_vars: provider.base_url_vars.join(" or "),
                });
            }
        }
        let (base_url, query) = match base_url.split_once('?') {
            Some((base_url, query)) => (base_url.to_owned(), Some(query.to_owned())),
            None => (base_url, None),
        };
        let spec = self.spec(provider);
        let default_silence = match is_loopback(&base_url) {
            true => LOOPBACK_SILENCE,
            false => SILENCE,
        };
        let own_silence = spec.and_then(|spec| spec.silence_seconds);
        let own_silence = own_silence.map(Duration::from_secs);
        Ok(Endpoint {
            provider,
            search_support: match wire {
                Wire::ChatCompletions | Wire::Responses => SearchSupport::Unsupported,
                Wire::Messages if is_own => SearchSupport::Supported,
                Wire::Messages => SearchSupport::Unknown,
            },
            wire: spec.and_then(|spec| spec.wire),
            takes_thoughts: provider.quirks.takes_thoughts
                || spec.is_some_and(|spec| spec.reasoning_content),
            extra_body: spec.map(|spec| spec.extra_body.clone()).unwrap_or_default(),
            certificates: self.certificates(provider)?,
            base_url,
            query,
            key,
            headers: self.extra_headers(provider)?,
            proxies: proxies(|var| set(&self.environment, var))?,
            silence: own_silence.or(self.silence).unwrap_or(default_silence),
        })
    }

    /// The additional certificates that are trusted.
    fn certificates(&self, provider: &Provider) -> Result<Vec<Certificate>, OpenError> {
        let Some(pem) = self.spec(provider).and_then(|spec| spec.ca.as_ref()) else {
            return Ok(Vec::new());
        };
        let refused = |why: &str| OpenError::Certificates {
            provider: provider.name.to_owned(),
            why: why.to_owned(),
        };
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .map_err(|error| refused(&error.to_string()))?;
        match certificates.is_empty() {
            true => Err(refused("the file contains none")),
            false => Ok(certificates),
        }
    }

    fn spec(&self, provider: &Provider) -> Option<&ProviderSpec> {
        self.providers.get(provider.name)
    }

    /// The configured API, or else the provider's own.
    fn wire(&self, provider: &Provider) -> Wire {
        let configured = self.spec(provider).and_then(|spec| spec.wire);
        configured.unwrap_or(provider.wire)
    }

    fn url_of_environment(&self, provider: &Provider) -> Option<&str> {
        let mut vars = provider.base_url_vars.iter();
        vars.find_map(|var| set(&self.environment, var))
    }

    /// Returns whether secrets may be sent to this URL: it is the provider's own, or the user permitted it.
    fn is_permitted(&self, provider: &Provider, url: &str) -> bool {
        let configured = self.spec(provider).and_then(|spec| spec.base_url.as_ref());
        match configured {
            Some(BaseUrl::Own(_)) | None => true,
            Some(BaseUrl::OfProject(_)) => {
                let wire = self.wire(provider);
                let known = [self.url_of_environment(provider), Some(provider.base_url)];
                let mut known = known.into_iter().flatten();
                known.any(|known| base_url(provider, wire, known).is_ok_and(|known| known == url))
            }
        }
    }

    /// The first variable that a header uses.
    fn variable_of_headers(&self, provider: &Provider) -> Option<&str> {
        let headers = self.spec(provider).map(|spec| spec.headers.values());
        headers
            .into_iter()
            .flatten()
            .find_map(|value| value.strip_prefix('$'))
    }

    fn extra_headers(
        &self,
        provider: &Provider,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, OpenError> {
        let header = |(name, value): (&String, &String)| {
            let refused = |_| OpenError::Header(name.clone());
            let value = match value.strip_prefix('$') {
                Some(var) => set(&self.environment, var).ok_or_else(|| OpenError::Variable {
                    header: name.clone(),
                    var: var.to_owned(),
                })?,
                None => value,
            };
            let mut value = HeaderValue::try_from(value).map_err(|_| refused(()))?;
            // The value may be a key.
            value.set_sensitive(true);
            let name = HeaderName::try_from(name).map_err(|_| refused(()))?;
            Ok((name, value))
        };
        let headers = self.spec(provider).map(|spec| &spec.headers);
        headers.into_iter().flatten().map(header).collect()
    }
}

/// Whether a URL names this machine.
fn is_loopback(url: &str) -> bool {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or("");
    let host = host.trim_matches(['[', ']']);
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Normalizes a configured base URL, so that the paths of this API can be appended.
fn base_url(provider: &Provider, wire: Wire, given: &str) -> Result<String, String> {
    let given = given.trim().trim_end_matches('/');
    let bare = !given.contains("://");
    let scheme = if bare { "http://" } else { "" };
    let mut url = Url::parse(&format!("{scheme}{given}")).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the scheme is not http or https".to_owned());
    }
    if url.fragment().is_some() {
        return Err("it has a fragment".to_owned());
    }
    let cannot = |_| "it has no host".to_owned();
    // `OLLAMA_HOST` is also the address on which the server listens. A server that listens on 0.0.0.0, which
    // means all interfaces, is reached at 127.0.0.1.
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
    let versioned = match wire {
        Wire::ChatCompletions | Wire::Responses => !path.is_empty(),
        // Anthropic's own tools append the version to any path.
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

    fn config(vars: &[(&str, &str)]) -> OpenConfig {
        let environment = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        OpenConfig {
            environment: environment.collect(),
            ..OpenConfig::default()
        }
    }

    /// The configuration of a provider with an additional header.
    fn gate(provider: &str, value: &str) -> BTreeMap<String, ProviderSpec> {
        let spec = ProviderSpec {
            headers: [("x-gate".to_owned(), value.to_owned())].into(),
            ..ProviderSpec::default()
        };
        [(provider.to_owned(), spec)].into()
    }

    fn opened(name: &str, vars: &[(&str, &str)]) -> Result<String, String> {
        let name = name.parse().expect("a model's name");
        match open(&name, "ada", &config(vars)) {
            Ok(model) => Ok(format!("{model:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn url(provider: &str, given: &str) -> String {
        let provider = Provider::named(provider).expect("a known provider");
        base_url(provider, provider.wire, given).unwrap_or_else(|why| why)
    }

    #[test]
    fn only_a_server_on_this_machine_without_a_key_is_free() {
        let is_free = |vars: &[(&str, &str)]| {
            let name = "ollama/m".parse().expect("a model's name");
            config(vars).knows_cost_of(&name)
        };
        assert!(is_free(&[]));
        assert!(is_free(&[("OLLAMA_HOST", "0.0.0.0")]));
        assert!(!is_free(&[("OLLAMA_HOST", "https://ollama.com")]));
        assert!(!is_free(&[("OLLAMA_API_KEY", "k")]));
    }

    #[test]
    fn a_server_on_this_machine_may_be_silent_for_longer() {
        let silence = |url: &str, config: &OpenConfig| {
            let provider = Provider::named("openai").expect("a known provider");
            let mut config = config.clone();
            let var = ("OPENAI_BASE_URL".to_owned(), url.to_owned());
            config.environment.extend([var]);
            config
                .endpoint(provider)
                .expect("complete settings")
                .silence
        };
        let unconfigured = OpenConfig::default();
        for (url, minutes) in [
            ("http://127.0.0.1:9/v1", 10),
            ("http://localhost:9/v1", 10),
            ("http://[::1]:9/v1", 10),
            ("http://gpu.lan:9/v1", 2),
            ("http://192.0.2.1:9/v1", 2),
            ("https://localhost.example/v1", 2),
        ] {
            let expected = Duration::from_secs(minutes * 60);
            assert_eq!(silence(url, &unconfigured), expected, "{url}");
        }
        let configured = OpenConfig {
            silence: Some(Duration::from_secs(5)),
            ..OpenConfig::default()
        };
        let silence = silence("http://127.0.0.1:9/v1", &configured);
        assert_eq!(silence, Duration::from_secs(5));
    }

    #[test]
    fn base_urls_are_normalized() {
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
            ("groq", "ftp://x", "the scheme is not http or https"),
            ("openai", "http://x/v1#a", "it has a fragment"),
            (
                "openai",
                "https://x.example/openai/deployments/d?api-version=2024-10-21",
                "https://x.example/openai/deployments/d?api-version=2024-10-21",
            ),
        ] {
            assert_eq!(url(provider, given), is, "{provider} {given}");
        }
    }

    #[test]
    fn the_configured_api_parses_calls() {
        for (model, wire, parses_calls) in [
            ("anthropic/m", None, true),
            ("anthropic/m", Some(Wire::ChatCompletions), false),
            ("openai/m", None, false),
            ("openai/m", Some(Wire::Messages), true),
        ] {
            let name: ModelName = model.parse().expect("a model's name");
            let key = [("ANTHROPIC_API_KEY", "k"), ("OPENAI_API_KEY", "k")];
            let spec = ProviderSpec {
                wire,
                ..ProviderSpec::default()
            };
            let provider = model.split('/').next().unwrap_or_default();
            let config = OpenConfig {
                providers: [(provider.to_owned(), spec)].into(),
                ..config(&key)
            };
            let opened = open(&name, "ada", &config).expect("a model");
            assert_eq!(opened.parses_calls(), parses_calls, "{model} {wire:?}");
        }
    }

    #[test]
    fn base_urls_depend_on_the_configured_api() {
        let provider = Provider::named("openai").expect("a known provider");
        let given = "https://gate.example/claude";
        for (wire, is) in [
            (Wire::Messages, "https://gate.example/claude/v1"),
            (Wire::ChatCompletions, "https://gate.example/claude"),
        ] {
            assert_eq!(base_url(provider, wire, given), Ok(is.to_owned()));
        }
    }

    #[test]
    fn a_key_is_required_at_the_providers_own_url() {
        let error = opened("openai/gpt-5", &[]).expect_err("there is no key");
        assert!(
            error.starts_with("openai requires a key: set OPENAI_API_KEY, or "),
            "{error}"
        );
        for (name, vars) in [
            ("openai/gpt-5", [("OPENAI_API_KEY", "sk-1")]),
            ("openai/x", [("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")]),
            ("ollama/qwen3", [("A", "b")]),
        ] {
            opened(name, &vars).expect("complete settings");
        }
        let error = opened("openai-compatible/x", &[]).expect_err("no base URL is known");
        assert!(error.contains("OPENAI_COMPATIBLE_BASE_URL"), "{error}");
    }

    #[test]
    fn secrets_go_only_to_permitted_urls() {
        let elsewhere = "https://gate.example/v1";
        let opened = |base_url: BaseUrl, header: &str, vars: &[(&str, &str)]| {
            let mut settings = config(vars);
            let headers = [("x-gate".to_owned(), header.to_owned())].into();
            let spec = ProviderSpec {
                base_url: Some(base_url),
                headers,
                ..ProviderSpec::default()
            };
            settings.providers = [("openai".to_owned(), spec)].into();
            let name = "openai/gpt-5".parse().expect("a model's name");
            match open(&name, "ada", &settings) {
                Ok(_) => "opened".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        let of_project = |url: &str| BaseUrl::OfProject(url.to_owned());
        let key = ("OPENAI_API_KEY", "k");
        assert_eq!(
            opened(of_project(elsewhere), "open", &[key]),
            "the team file sets the base URL of openai to https://gate.example/v1, which would receive your \
             OPENAI_API_KEY: to permit this, run agent-team config set providers.openai.base_url \
             https://gate.example/v1, or set OPENAI_BASE_URL or OPENAI_API_BASE to this URL; then run agent-team up"
        );
        let gate = ("GATE", "g");
        let refused = opened(of_project(elsewhere), "$GATE", &[gate]);
        assert!(refused.contains("receive your GATE"), "{refused}");
        for (base_url, header, vars) in [
            (BaseUrl::Own(elsewhere.to_owned()), "$GATE", vec![key, gate]),
            (of_project(elsewhere), "open", vec![]),
            (
                of_project(elsewhere),
                "$GATE",
                vec![key, gate, ("OPENAI_BASE_URL", "https://gate.example/v1/")],
            ),
            (
                of_project("https://api.openai.com"),
                "$GATE",
                vec![key, gate],
            ),
        ] {
            assert_eq!(
                opened(base_url.clone(), header, &vars),
                "opened",
                "{base_url:?}"
            );
        }
    }

    #[test]
    fn debug_output_contains_no_secret() {
        let mut settings = config(&[
            ("ANTHROPIC_API_KEY", "sk-ant-secret"),
            ("ANTHROPIC_BASE_URL", "http://u:secret@127.0.0.1:9"),
            ("HTTPS_PROXY", "http://u:secret@127.0.0.1:8"),
        ]);
        settings.providers = gate("anthropic", "secret");
        let name: ModelName = "claude-x".parse().expect("a name");
        let model = open(&name, "ada", &settings).expect("complete settings");
        assert_eq!(model.name(), "anthropic/claude-x");
        let shown = format!("{model:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn errors_do_not_contain_header_values() {
        let mut settings = config(&[("OPENAI_API_KEY", "k")]);
        settings.providers = gate("openai", "se\ncret");
        let name: ModelName = "gpt-5".parse().expect("a name");
        let error = open(&name, "ada", &settings).expect_err("a header has one line");
        assert_eq!(error.to_string(), "cannot send the header x-gate");
        settings.providers = gate("openai", "$GATE");
        let error = open(&name, "ada", &settings).expect_err("the variable is not set");
        assert_eq!(
            error.to_string(),
            "the header x-gate uses $GATE, which is not set"
        );
        settings
            .environment
            .insert("GATE".to_owned(), "k".to_owned());
        open(&name, "ada", &settings).expect("complete settings");
        let error = opened(
            "gpt-5",
            &[("OPENAI_API_KEY", "k"), ("https_proxy", "http://:secret@")],
        );
        assert_eq!(
            error,
            Err("cannot use https_proxy: it is not the URL of a proxy".to_owned())
        );
    }
}
