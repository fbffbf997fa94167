//! Counts the requests to the service, including refused requests, and their durations. The outermost middleware.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::exposition::Exposition;

/// The upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

const COUNT: &str = "agent_team_http_requests_total";
const DURATION: &str = "agent_team_http_request_duration_seconds";

/// The requests since the start of the service.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<BTreeMap<(&'static str, String), Route>>);

/// The requests of one method to one route.
#[derive(Debug, Default)]
struct Route {
    statuses: BTreeMap<u16, u64>,
    /// The number of requests in each bucket, not cumulative. The last bucket has no bound.
    buckets: [u64; BOUNDS.len() + 1],
    total: Duration,
}

/// The middleware. The recorded duration of a stream ends with the head of its answer.
pub(crate) async fn count(
    State(requests): State<Arc<Requests>>,
    request: Request,
    next: Next,
) -> Response {
    let method = method(request.method());
    // Count by the path of the route. All other paths are one value: a client must not fill the memory of the service.
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("other", MatchedPath::as_str).to_owned();
    let began = Instant::now();
    let response = next.run(request).await;
    requests.add(method, path, response.status().as_u16(), began.elapsed());
    response
}

fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let known = known.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("other")
}

impl Requests {
    fn add(&self, method: &'static str, path: String, status: u16, took: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let route = all.entry((method, path)).or_default();
        *route.statuses.entry(status).or_default() += 1;
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        route.buckets[bucket.unwrap_or(BOUNDS.len())] += 1;
        route.total += took;
    }

    pub(super) fn write(&self, text: &mut Exposition) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return;
        }
        text.head(
            COUNT,
            "counter",
            "The requests to the service, by method, route and status.",
        );
        for ((method, path), route) in &*all {
            for (status, count) in &route.statuses {
                let status = status.to_string();
                let labels = [("method", *method), ("route", path), ("status", &status)];
                text.sample(COUNT, &labels, *count as f64);
            }
        }
        let help = "The time until the head of an answer.";
        text.head(DURATION, "histogram", help);
        for ((method, path), route) in &*all {
            let mut sum = 0;
            for (index, count) in route.buckets.iter().enumerate() {
                sum += count;
                let bound = BOUNDS
                    .get(index)
                    .map_or_else(|| "+Inf".to_owned(), f64::to_string);
                let labels = [("method", *method), ("route", path), ("le", &bound)];
                text.sample(&format!("{DURATION}_bucket"), &labels, sum as f64);
            }
            let labels = [("method", *method), ("route", path.as_str())];
            text.sample(
                &format!("{DURATION}_sum"),
                &labels,
                route.total.as_secs_f64(),
            );
            text.sample(&format!("{DURATION}_count"), &labels, sum as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let requests = Requests::default();
        for (status, millis) in [(200, 1), (200, 3), (404, 90_000)] {
            let took = Duration::from_millis(millis);
            requests.add("GET", "/x/{y}".to_owned(), status, took);
        }
        let mut text = Exposition::default();
        requests.write(&mut text);
        let text = text.finish();
        for line in [
            "requests_total{method=\"GET\",route=\"/x/{y}\",status=\"200\"} 2",
            "requests_total{method=\"GET\",route=\"/x/{y}\",status=\"404\"} 1",
            "bucket{method=\"GET\",route=\"/x/{y}\",le=\"0.001\"} 1",
            "bucket{method=\"GET\",route=\"/x/{y}\",le=\"60\"} 2",
            "bucket{method=\"GET\",route=\"/x/{y}\",le=\"+Inf\"} 3",
            "seconds_sum{method=\"GET\",route=\"/x/{y}\"} 90.004",
            "seconds_count{method=\"GET\",route=\"/x/{y}\"} 3",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn unknown_methods_are_one_value() {
        assert_eq!(method(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(method(&Method::PATCH), "PATCH");
    }
}
