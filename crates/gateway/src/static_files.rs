//! The files of the page. They need no token: a browser cannot send a token when it opens an address. So a file must
//! not contain data of a team. The policy in `security.rs` applies to each file.
//!
//! Each file is compressed once. No other answer is compressed. If an answer contains a secret and also text of an
//! attacker, its compressed length reveals the secret (the BREACH attack). A browser may cache a file, and asks with
//! its `ETag` whether the file is still the same.

use std::io::Write;
use std::sync::LazyLock;

use agent_team_protocol::text::hex;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// A file that is part of the program.
struct File {
    path: &'static str,
    media_type: &'static str,
    content: &'static str,
}

/// The page at `/` and the files that it loads.
const FILES: &[File] = &[
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        content: include_str!("../page/index.html"),
    },
    File {
        path: "/page/style.css",
        media_type: "text/css; charset=utf-8",
        content: STYLE,
    },
    script("/page/main.js", include_str!("../page/main.js")),
    script("/page/api.js", include_str!("../page/api.js")),
    script("/page/store.js", include_str!("../page/store.js")),
    script("/page/text.js", include_str!("../page/text.js")),
    script("/page/parts.js", include_str!("../page/parts.js")),
    script("/page/keys.js", include_str!("../page/keys.js")),
    script("/page/waiting.js", include_str!("../page/waiting.js")),
    script("/page/sections.js", include_str!("../page/sections.js")),
    script("/page/route.js", include_str!("../page/route.js")),
    script("/page/history.js", include_str!("../page/history.js")),
    script("/page/timeline.js", include_str!("../page/timeline.js")),
    script("/page/graph.js", include_str!("../page/graph.js")),
    script("/page/changes.js", include_str!("../page/changes.js")),
    script("/page/screen.js", include_str!("../page/screen.js")),
    script("/page/decisions.js", include_str!("../page/decisions.js")),
    script("/page/vendor/htm-preact.js", VENDORED),
];

/// The style of the page; `agent-team report` uses it, too.
pub const STYLE: &str = include_str!("../page/style.css");

/// Preact and htm; `page/vendor/README.md` has the version, the licence and the hash.
const VENDORED: &str = include_str!("../page/vendor/htm-preact.js");

const fn script(path: &'static str, content: &'static str) -> File {
    File {
        path,
        media_type: "text/javascript; charset=utf-8",
        content,
    }
}

/// Whether this request reads a file of the page.
pub(crate) fn contain(method: &Method, path: &str) -> bool {
    [Method::GET, Method::HEAD].contains(method) && FILES.iter().any(|file| file.path == path)
}

/// A file as it is sent: plain, or compressed with gzip.
struct Representation {
    content: Bytes,
    etag: HeaderValue,
}

/// Both representations of each file, in the order of [`FILES`].
static REPRESENTATIONS: LazyLock<Vec<[Representation; 2]>> = LazyLock::new(|| {
    let represent = |file: &File| {
        let digest = hex(&Sha256::digest(file.content)[..12]);
        let etag = |suffix: &str| {
            let etag = format!("\"{digest}{suffix}\"");
            HeaderValue::try_from(etag)
                .expect("hexadecimal digits in quotes are a valid header value")
        };
        [
            Representation {
                content: Bytes::from_static(file.content.as_bytes()),
                etag: etag(""),
            },
            Representation {
                content: gzip(file.content).into(),
                etag: etag("-gzip"),
            },
        ]
    };
    FILES.iter().map(represent).collect()
});

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(text.as_bytes());
    let written = written.and_then(|()| encoder.finish());
    written.expect("writing to memory cannot fail")
}

/// Adds a route for each file.
pub(crate) fn add_to<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    FILES
        .iter()
        .enumerate()
        .fold(router, |router, (index, file)| {
            let answer = move |headers: HeaderMap| async move { answer(index, file, &headers) };
            router.route(file.path, get(answer))
        })
}

fn answer(index: usize, file: &File, request: &HeaderMap) -> Response {
    let [plain, compressed] = &REPRESENTATIONS[index];
    let is_compressed = accepts_gzip(request);
    let chosen = if is_compressed { compressed } else { plain };
    let is_known = is_known(request, &chosen.etag);
    let mut response = match is_known {
        true => Response::new(Body::empty()),
        false => Response::new(Body::from(chosen.content.clone())),
    };
    let headers = response.headers_mut();
    if !is_known {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
        if is_compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    headers.insert(ETAG, chosen.etag.clone());
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response
}

/// The list elements of all headers with this name.
fn elements(headers: &HeaderMap, name: axum::http::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// Whether the client accepts gzip, by its name or by `*`, with a weight other than 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight_of = |wanted: &str| {
        elements(headers, ACCEPT_ENCODING).find_map(|element| {
            let (coding, parameters) = element.split_once(';').unwrap_or((element, ""));
            let is_wanted = coding.trim().eq_ignore_ascii_case(wanted);
            let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
            is_wanted.then(|| weight.trim().parse::<f32>().unwrap_or(0.0))
        })
    };
    let weight = weight_of("gzip").or_else(|| weight_of("*"));
    weight.is_some_and(|weight| weight > 0.0)
}

/// Whether the client has this representation.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    elements(headers, IF_NONE_MATCH).any(|known| {
        let known = known.strip_prefix("W/").unwrap_or(known);
        known == "*" || known.as_bytes() == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use sha2::{Digest, Sha256};

    use super::{FILES, REPRESENTATIONS, VENDORED, accepts_gzip};

    /// Maximum size of the compressed page, in bytes.
    const PAGE_MAX: usize = 60 << 10;

    #[test]
    fn the_compressed_page_is_small() {
        let sizes = REPRESENTATIONS.iter().map(|[_, gzip]| gzip.content.len());
        let size: usize = sizes.sum();
        assert!(size <= PAGE_MAX, "{size} bytes");
    }

    #[test]
    fn gzip_is_sent_only_to_clients_that_accept_it() {
        for (header, accepts) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.2", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", header.parse().unwrap());
            assert_eq!(accepts_gzip(&headers), accepts, "{header}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn the_vendored_file_has_the_recorded_hash() {
        let hash = Sha256::digest(VENDORED.as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let record = include_str!("../page/vendor/README.md");
        assert!(record.contains(&hash), "the file has the hash {hash}");
    }

    #[test]
    fn no_file_makes_markup_from_strings() {
        for file in FILES.iter().filter(|file| file.content != VENDORED) {
            for sink in ["innerHTML", "outerHTML", "insertAdjacent", "eval("] {
                assert!(!file.content.contains(sink), "{} uses {sink}", file.path);
            }
        }
    }
}
