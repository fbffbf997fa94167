//! The files of the page. They need no token: a browser cannot send one when it opens an address. So a file must not
//! contain data of a team. The policy in `security.rs` applies to each file.

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use axum::routing::get;

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
        content: include_str!("../page/style.css"),
    },
    script("/page/main.js", include_str!("../page/main.js")),
    script("/page/api.js", include_str!("../page/api.js")),
    script("/page/store.js", include_str!("../page/store.js")),
    script("/page/text.js", include_str!("../page/text.js")),
    script("/page/parts.js", include_str!("../page/parts.js")),
    script("/page/waiting.js", include_str!("../page/waiting.js")),
    script("/page/sections.js", include_str!("../page/sections.js")),
    script("/page/route.js", include_str!("../page/route.js")),
    script("/page/history.js", include_str!("../page/history.js")),
    script("/page/timeline.js", include_str!("../page/timeline.js")),
    script("/page/graph.js", include_str!("../page/graph.js")),
    script("/page/changes.js", include_str!("../page/changes.js")),
    script("/page/decisions.js", include_str!("../page/decisions.js")),
    script("/page/vendor/htm-preact.js", VENDORED),
];

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

/// Adds a route for each file.
pub(crate) fn add_to<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    FILES.iter().fold(router, |router, file| {
        let answer = || async {
            let mut response = Response::new(Body::from(file.content));
            let media_type = HeaderValue::from_static(file.media_type);
            response.headers_mut().insert(CONTENT_TYPE, media_type);
            response
        };
        router.route(file.path, get(answer))
    })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::{FILES, VENDORED};

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
