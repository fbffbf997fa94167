//! What all that speaks HTTP here has in common: TLS, who we say we are, the proxies of a member's environment. Called
//! by models, MCP servers, `fetch` and `web_search`.
//!
//! A client goes where it is told: it follows no redirect, which would carry keys along, and knows no proxies but those
//! that it is given.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy};

/// A server that has not taken the connection by then is not there.
const CONNECT: Duration = Duration::from_secs(10);

/// What goes to no proxy: a proxy cannot reach it.
const OWN_MACHINE: &str = "localhost,127.0.0.1,::1";

/// A variable that is there for a proxy and names none. Its text may hold a password and is not shown.
#[derive(Debug, thiserror::Error)]
#[error("{0} does not name a proxy")]
pub struct NoProxy(String);

/// A client without proxies, before what is particular to its caller.
pub(crate) fn client() -> ClientBuilder {
    // Whoever installs it first has installed the same.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT)
        .redirect(Policy::none())
        .user_agent(concat!("agent-team/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
}

/// What the usual variables say, in either case.
pub(crate) fn proxies<'a>(var: impl Fn(&str) -> Option<&'a str>) -> Result<Vec<Proxy>, NoProxy> {
    let either = |name: &str| var(name).or_else(|| var(&name.to_uppercase()));
    let except = format!("{},{OWN_MACHINE}", either("no_proxy").unwrap_or(""));
    let mut proxies = Vec::new();
    type Make = fn(&str) -> reqwest::Result<Proxy>;
    let ways: [(&str, Make); 3] = [
        ("https_proxy", |url| Proxy::https(url)),
        ("http_proxy", |url| Proxy::http(url)),
        ("all_proxy", |url| Proxy::all(url)),
    ];
    for (name, make) in ways {
        if let Some(url) = either(name) {
            // The cause would show it.
            let proxy = make(url).map_err(|_| NoProxy(name.to_owned()))?;
            proxies.push(proxy.no_proxy(reqwest::NoProxy::from_string(&except)));
        }
    }
    Ok(proxies)
}
