//! Checks each request before its resource receives it, and sets the headers of each answer. Called for every request,
//! even for unknown paths.
//!
//! The checks keep pages of other origins out. A page can name any host that resolves to this machine (DNS rebinding),
//! hence the exact `Host`. It can send requests that need no preflight, hence `Origin`, `Sec-Fetch-Site` and the media
//! type. No answer has a CORS header, so no other origin can read an answer. The token is never a cookie: cookies
//! ignore ports, so each development server on this machine would receive it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::access::{Permissions, Tokens};
use crate::listen::Peer;
use crate::problem::Problem;
use crate::rate::{RateKey, RateLimit};
use crate::static_files;

/// The policy of the page: only scripts and requests of the service, no inline styles, no markup from strings.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Maximum length of a path with its query, in bytes.
const TARGET_MAX: usize = 8 << 10;

/// The checks of every request.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) entry: Entry,
    /// The largest set of permissions that a request can have.
    pub(crate) most: Permissions,
    pub(crate) rate: RateLimit,
}

#[derive(Debug)]
pub(crate) enum Entry {
    Tcp {
        hosts: Hosts,
        /// `http` or `https`.
        scheme: &'static str,
        tokens: Tokens,
    },
    /// The socket accepts only processes of the same user, so a token would add nothing. No browser uses it.
    Unix,
}

/// The accepted values of `Host`.
#[derive(Debug)]
pub(crate) enum Hosts {
    Exactly(Vec<String>),
    /// The service listens on all addresses of the machine: any address with this port. A name is refused, because only
    /// a name can be rebound.
    AnyAddress {
        port: u16,
        /// Browsers omit this port.
        is_default: bool,
    },
}

impl Hosts {
    pub(crate) fn of(address: SocketAddr, default_port: u16) -> Self {
        let (ip, port) = (address.ip(), address.port());
        if ip.is_unspecified() {
            let is_default = port == default_port;
            return Self::AnyAddress { port, is_default };
        }
        let mut hosts = vec![address.to_string()];
        if ip.is_loopback() {
            hosts.push(format!("localhost:{port}"));
        }
        // Browsers omit the default port of the scheme.
        if port == default_port {
            let suffix = format!(":{port}");
            let without_port = |host: &String| Some(host.strip_suffix(&suffix)?.to_owned());
            let short: Vec<_> = hosts.iter().filter_map(without_port).collect();
            hosts.extend(short);
        }
        Self::Exactly(hosts)
    }

    fn contain(&self, host: &str) -> bool {
        match self {
            Self::Exactly(hosts) => hosts.iter().any(|known| known == host),
            Self::AnyAddress { port, is_default } => {
                let address = host.parse::<SocketAddr>();
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                let is_bare = *is_default && bare.parse::<IpAddr>().is_ok();
                is_bare || address.is_ok_and(|address| address.port() == *port)
            }
        }
    }
}

/// The middleware around all routes.
pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.check(&request) {
        Ok(permissions) => {
            request.extensions_mut().insert(permissions);
            let routed = next.run(request).await;
            // The router answers with an empty body here.
            if routed.status() == StatusCode::METHOD_NOT_ALLOWED {
                crate::problem::method_not_allowed(&routed)
            } else {
                routed
            }
        }
        Err(problem) => problem.into_response(),
    };
    set_headers(response.headers_mut());
    response
}

impl Guard {
    fn check(&self, request: &Request) -> Result<Permissions, Problem> {
        let target = request.uri().path_and_query();
        if target.is_some_and(|target| target.as_str().len() > TARGET_MAX) {
            let detail = format!("a path with its query has at most {TARGET_MAX} bytes");
            return Err(Problem::invalid(StatusCode::URI_TOO_LONG, detail));
        }
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
        let Entry::Tcp {
            hosts,
            scheme,
            tokens,
        } = &self.entry
        else {
            self.count(RateKey { peer, token: None })?;
            return Ok(self.most);
        };
        let host = host(request, hosts)?;
        let headers = request.headers();
        let is_static = static_files::contain(request.method(), request.uri().path());
        let opens_page = is_static && is_navigation(headers);
        if !opens_page && !is_same_origin(headers, scheme, host) {
            let detail = "requests of other origins are refused";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not_permitted", detail));
        }
        let known = bearer(headers).and_then(|token| tokens.find(token));
        let token = known.map(|(number, _)| number);
        self.count(RateKey { peer, token })?;
        // The page contains no data, and a browser cannot send a token when it opens an address.
        if is_static {
            return Ok(Permissions::READ_ONLY);
        }
        let (_, permissions) = known.ok_or_else(|| {
            let detail = "the request needs the token of the service";
            Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
                .hint("send it as: Authorization: Bearer TOKEN")
        })?;
        Ok(permissions.and(self.most))
    }

    fn count(&self, client: RateKey) -> Result<(), Problem> {
        if self.rate.admits(client, Instant::now()) {
            return Ok(());
        }
        let detail = "this client sends too many requests";
        Err(
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_calls", detail)
                .hint("send fewer, or start the service with a higher --rate-limit"),
        )
    }
}

/// The host that the request names. A request must name exactly one host, which must be this service.
fn host<'a>(request: &'a Request, hosts: &Hosts) -> Result<&'a str, Problem> {
    let host = only(request.headers(), &HOST).flatten();
    // A target such as `GET http://HOST/path` names the host, too.
    let authority = request.uri().authority();
    let host = host
        .filter(|host| authority.is_none_or(|authority| authority.as_str() == *host))
        .filter(|host| hosts.contain(host));
    host.ok_or_else(|| {
        let detail = "the Host of the request is not the address of this service";
        Problem::invalid(StatusCode::MISDIRECTED_REQUEST, detail)
    })
}

fn is_same_origin(headers: &HeaderMap, scheme: &str, host: &str) -> bool {
    let site = match only(headers, &SEC_FETCH_SITE) {
        None => true,
        Some(site) => matches!(site, Some("same-origin" | "none")),
    };
    let origin = match only(headers, &ORIGIN) {
        None => true,
        Some(origin) => origin.and_then(|origin| origin.split_once("://")) == Some((scheme, host)),
    };
    site && origin
}

/// Whether the browser opens the page in a tab: from the file that `--open` writes, or from a link.
fn is_navigation(headers: &HeaderMap) -> bool {
    only(headers, &ORIGIN).is_none()
        && only(headers, &SEC_FETCH_MODE).flatten() == Some("navigate")
        && only(headers, &SEC_FETCH_DEST).flatten() == Some("document")
}

/// The value of a header: `None` if the header is missing, `Some(None)` if it is repeated or not text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(match values.next() {
        None => first.to_str().ok(),
        Some(_) => None,
    })
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = only(headers, &AUTHORIZATION).flatten()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then_some(token.as_bytes())
}

fn set_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Only a file of the page, which contains no data, may be cached.
    let keep = headers.entry(CACHE_CONTROL);
    keep.or_insert(HeaderValue::from_static("no-store"));
}

/// Whether a request with this method changes something.
pub(crate) fn is_change(method: &Method) -> bool {
    ![Method::GET, Method::HEAD].contains(method)
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn only_the_default_port_accepts_a_host_without_a_port() {
        let hosts = |address: &str| Hosts::of(address.parse().unwrap(), 80);
        let any = hosts("0.0.0.0:80");
        for host in ["10.0.0.1", "10.0.0.1:80", "[::1]", "[::1]:80"] {
            assert!(any.contain(host), "{host}");
        }
        for host in ["evil.example", "evil.example:80", "10.0.0.1:81", ""] {
            assert!(!any.contain(host), "{host}");
        }
        assert!(!hosts("0.0.0.0:8080").contain("10.0.0.1"));
        assert!(hosts("127.0.0.1:80").contain("127.0.0.1"));
        assert!(hosts("127.0.0.1:80").contain("localhost"));
        // http://127.0.0.1 is another origin than this service.
        assert!(!hosts("127.0.0.1:443").contain("127.0.0.1"));
        assert!(Hosts::of("127.0.0.1:443".parse().unwrap(), 443).contain("127.0.0.1"));
    }
}
