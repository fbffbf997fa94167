//! Sends documents to the collector, in a tokio task of its own: a slow collector delays neither the service nor the
//! team.
//!
//! A document that the collector cannot accept now is sent again after a pause, and is dropped after [`ATTEMPTS`]
//! attempts. A document is also dropped if [`WAITING_MAX`] documents wait: telemetry must not fill the memory of the
//! service.

use std::time::Duration;

use agent_team_system::random;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::environment::{Signal, TelemetrySettings};
use super::otlp;

/// Maximum number of documents that wait to be sent.
const WAITING_MAX: usize = 64;

/// Maximum number of attempts to send one document, and the pause after the first attempt. Each further pause is twice
/// as long.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

type Report = Box<dyn Fn(&str) + Send + Sync>;

/// The handle of the sending tokio task.
#[derive(Debug)]
pub(super) struct Sender {
    documents: mpsc::Sender<Document>,
    task: JoinHandle<()>,
    sends_spans: bool,
}

#[derive(Debug)]
struct Document {
    is_trace: bool,
    body: String,
}

struct Worker {
    client: Client,
    traces: Signal,
    metrics: Signal,
    report: Report,
    /// The collector did not accept the last document. Each outage is reported once.
    is_failing: bool,
}

impl Sender {
    pub(super) fn start(settings: &TelemetrySettings, report: Report) -> Result<Self, String> {
        // The call fails if an earlier call has already installed this TLS provider.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            // A redirect could send the headers, which contain keys, to another server.
            .redirect(Policy::none())
            .user_agent(concat!("agent-team/", env!("CARGO_PKG_VERSION")));
        if [&settings.traces, &settings.metrics]
            .into_iter()
            .all(is_local)
        {
            // For a proxy, `localhost` is the proxy's own machine.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| error.to_string())?;
        let (documents, waiting) = mpsc::channel(WAITING_MAX);
        let worker = Worker {
            client,
            traces: settings.traces.clone(),
            metrics: settings.metrics.clone(),
            report,
            is_failing: false,
        };
        Ok(Self {
            documents,
            task: tokio::spawn(worker.run(waiting)),
            sends_spans: settings.traces.is_enabled(),
        })
    }

    pub(super) fn spans(&self, spans: Vec<Value>, resource: &Value) {
        if self.sends_spans && !spans.is_empty() {
            self.send(true, otlp::traces(spans, resource));
        }
    }

    pub(super) fn metrics(&self, metrics: Vec<Value>, resource: &Value) {
        if !metrics.is_empty() {
            self.send(false, otlp::metrics(metrics, resource));
        }
    }

    fn send(&self, is_trace: bool, body: Value) {
        let body = body.to_string();
        // The document is dropped if too many documents wait.
        let _dropped = self.documents.try_send(Document { is_trace, body });
    }

    /// Waits until all documents are sent or dropped.
    pub(super) async fn finish(self) {
        drop(self.documents);
        // The tokio task panics only through a defect.
        let _ended = self.task.await;
    }
}

fn is_local(signal: &Signal) -> bool {
    let host = signal.url.as_ref().and_then(|url| url.host_str());
    host.is_none_or(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host))
}

enum Sent {
    Accepted,
    /// The document must be sent again, after this pause if the collector names a pause.
    Later(String, Option<Duration>),
    Refused(String),
}

impl Worker {
    async fn run(mut self, mut waiting: mpsc::Receiver<Document>) {
        while let Some(document) = waiting.recv().await {
            self.deliver(&document).await;
        }
    }

    async fn deliver(&mut self, document: &Document) {
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            match self.post(document).await {
                Sent::Accepted => {
                    if std::mem::take(&mut self.is_failing) {
                        (self.report)("telemetry: the collector accepts data again");
                    }
                    return;
                }
                Sent::Refused(why) => return self.fail(&why),
                Sent::Later(why, wanted) => {
                    self.fail(&why);
                    if attempt < ATTEMPTS {
                        let jitter = 1.0 + random::fraction() / 2.0;
                        sleep(wanted.unwrap_or(pause).min(PAUSE_MAX).mul_f64(jitter)).await;
                        pause *= 2;
                    }
                }
            }
        }
    }

    fn fail(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            (self.report)(&format!(
                "warning: telemetry: cannot send data to the collector: {why}"
            ));
        }
    }

    async fn post(&self, document: &Document) -> Sent {
        let signal = if document.is_trace {
            &self.traces
        } else {
            &self.metrics
        };
        let Some(url) = &signal.url else {
            return Sent::Accepted;
        };
        let mut headers: HeaderMap = signal.headers.iter().cloned().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = self
            .client
            .post(url.clone())
            .headers(headers)
            .timeout(signal.timeout);
        match request.body(document.body.clone()).send().await {
            // The error contains the URL, which can contain a key.
            Err(error) => Sent::Later(error.without_url().to_string(), None),
            Ok(answer) if answer.status().is_success() => Sent::Accepted,
            Ok(answer) => {
                let status = answer.status();
                let why = format!("it answers {status}");
                let is_temporary = [
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::BAD_GATEWAY,
                    StatusCode::SERVICE_UNAVAILABLE,
                    StatusCode::GATEWAY_TIMEOUT,
                ]
                .contains(&status);
                let after = answer.headers().get(RETRY_AFTER);
                let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
                match is_temporary {
                    true => Sent::Later(why, after.map(Duration::from_secs)),
                    false => Sent::Refused(why),
                }
            }
        }
    }
}
