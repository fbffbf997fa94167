//! The HTTP client setup: TLS, user agent, and the proxies of a member's environment. Called by the clients of models
//! and MCP servers, and by the tools `fetch` and `web_search`.
//!
//! A client follows no redirect, because the next request could send keys to another server. It uses only the proxies
//! that its caller adds.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy};

/// The time limit to open a TCP and TLS connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Hosts to which a client connects directly: a proxy would resolve these names to its own machine.
const OWN_MACHINE: &str = "localhost,127.0.0.1,::1";

/// A proxy variable with an invalid value. The value may contain a password and is not shown.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {0}: it is not the URL of a proxy")]
pub struct InvalidProxy(String);

/// A client builder without proxies; the caller adds its own settings.
pub fn client() -> ClientBuilder {
    // Fails if an earlier call has installed this TLS provider already.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .user_agent(concat!("agent-team/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
}

/// The proxies of the usual environment variables, in lower or upper case. `var` returns the value of a variable.
///
/// # Errors
/// If the value of a variable is not the URL of a proxy.
pub fn proxies<'a>(var: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<Proxy>, InvalidProxy> {
    let either = |name: &str| var(name).or_else(|| var(&name.to_uppercase()));
    let except = format!("{},{OWN_MACHINE}", either("no_proxy").unwrap_or(""));
    let mut proxies = Vec::new();
    type Make = fn(&str) -> reqwest::Result<Proxy>;
    let kinds: [(&str, Make); 3] = [
        ("https_proxy", |url| Proxy::https(url)),
        ("http_proxy", |url| Proxy::http(url)),
        ("all_proxy", |url| Proxy::all(url)),
    ];
    for (name, make) in kinds {
        if let Some(url) = either(name) {
            // The source error would contain the value.
            let proxy = make(url).map_err(|_| InvalidProxy(name.to_owned()))?;
            proxies.push(proxy.no_proxy(reqwest::NoProxy::from_string(&except)));
        }
    }
    Ok(proxies)
}
