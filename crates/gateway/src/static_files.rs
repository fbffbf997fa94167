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
const FILES: &[File] = &[];

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
