//! OpenTelemetry: what a collector receives over HTTP from `serve`, for a real run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use agent_team_system::process::Signal;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{processes, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::agents::rig_with_requests;
use crate::teams::headless;

/// A text that no exported document may contain.
const PRIVATE: &str = "the-private-text";

/// A collector: accepts OTLP over HTTP and keeps the documents.
struct Collector {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    _task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Received {
    path: String,
    head: String,
    body: Value,
}

impl Collector {
    /// Answers the first requests with these statuses, and all other requests with 200.
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let statuses = Arc::new(Mutex::new(statuses.to_vec()));
        let (kept, left) = (Arc::clone(&received), Arc::clone(&statuses));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, left) = (Arc::clone(&kept), Arc::clone(&left));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = read(&mut stream).await {
                        let status = match left.lock().unwrap() {
                            mut left if !left.is_empty() => left.remove(0),
                            _ => 200,
                        };
                        if status == 200 {
                            kept.lock().unwrap().push(request);
                        }
                        let answer =
                            format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}");
                        let written = stream.write_all(answer.as_bytes()).await;
                        if written.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            address,
            received,
            _task: task,
        }
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// All spans by id. A span that was sent twice must be the same.
    fn spans(&self) -> BTreeMap<String, Value> {
        let mut spans = BTreeMap::new();
        for document in self.received() {
            if document.path.ends_with("/v1/traces") {
                let all = document.body["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
                for span in all.as_array().expect("spans") {
                    let id = span["spanId"].as_str().expect("an id").to_owned();
                    let earlier = spans.insert(id, span.clone());
                    assert!(earlier.is_none_or(|earlier| earlier == *span), "{span}");
                }
            }
        }
        spans
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect("a length").trim().parse().expect("a number")];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received {
        path: head.split(' ').nth(1).expect("a path").to_owned(),
        body: serde_json::from_slice(&body).expect("JSON"),
        head,
    })
}

fn attributes(span: &Value) -> BTreeMap<&str, &Value> {
    let all = span["attributes"].as_array().expect("attributes");
    all.iter()
        .map(|it| (it["key"].as_str().unwrap(), &it["value"]))
        .collect()
}

fn time(span: &Value, name: &str) -> u128 {
    span[name]
        .as_str()
        .expect("a text")
        .parse()
        .expect("a number")
}

fn named<'a>(spans: &'a BTreeMap<String, Value>, name: &str) -> &'a Value {
    let found: Vec<_> = spans.values().filter(|span| span["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    found[0]
}

fn is_hex(id: &Value, length: usize) -> bool {
    let id = id.as_str().expect("an id");
    id.len() == length
        && id
            .bytes()
            .all(|it| it.is_ascii_hexdigit() && !it.is_ascii_uppercase())
}

#[tokio::test]
async fn a_collector_receives_the_spans_of_a_goal() {
    let write = Reply::call("write", json!({"path": "out.txt", "content": PRIVATE}));
    let finish = Reply::call("finish", json!({"answer": PRIVATE}));
    let replies = [("lead", vec![write, finish]), ("ada", Vec::new())];
    let server = FakeModelServer::start(by_model(replies)).await;
    // The collector is overloaded at first: no span is lost.
    let collector = Collector::start(&[503]).await;
    let mut rig = rig_with_requests(&server);
    rig.set(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        format!("http://{}/otlp", collector.address),
    );
    rig.set("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20key");
    rig.set("OTEL_BSP_SCHEDULE_DELAY", "100");
    rig.set("OTEL_METRIC_EXPORT_INTERVAL", "200");
    rig.set(
        "OTEL_RESOURCE_ATTRIBUTES",
        "deployment.environment.name=test",
    );
    let began = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
        - 1_000_000_000;
    rig.ok(["up", "--detach"]).await;
    let mut service = rig.start(["serve"]);
    service.line_with("http://").await;
    rig.ok(["up", PRIVATE, "--detach"]).await;
    until("the request", async || {
        let requests = rig.json(["requests", "list"]).await;
        requests["requests"][0]["id"].as_str().map(drop)
    })
    .await;
    rig.ok(["requests", "allow", "P-1"]).await;
    let spans = until("the span of the goal", async || {
        let spans = collector.spans();
        let has = |name: &str| spans.values().any(|span| span["name"] == name);
        (has("invoke_workflow demo") && has("invoke_agent lead")).then_some(spans)
    })
    .await;
    let ended = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
        + 1_000_000_000;
    let goal = named(&spans, "invoke_workflow demo");
    let turn = named(&spans, "invoke_agent lead");
    let wait = named(&spans, "wait permission");
    let tool = named(&spans, "execute_tool write");
    let chats: Vec<_> = spans
        .values()
        .filter(|span| span["name"] == "chat lead")
        .collect();
    assert_eq!(chats.len(), 2, "{spans:#?}");

    // Check ids, parents and times.
    for span in spans.values() {
        assert!(
            is_hex(&span["spanId"], 16) && is_hex(&span["traceId"], 32),
            "{span}"
        );
        assert_eq!(span["traceId"], goal["traceId"], "{span}");
        let (from, to) = (
            time(span, "startTimeUnixNano"),
            time(span, "endTimeUnixNano"),
        );
        assert!(began <= from && from <= to && to <= ended, "{span}");
        if let Some(parent) = span.get("parentSpanId") {
            let parent = &spans[parent.as_str().unwrap()];
            assert!(time(parent, "startTimeUnixNano") <= from, "{span}");
            // The lead answers the goal within its turn, which ends after the goal.
            let is_within = to <= time(parent, "endTimeUnixNano");
            assert!(
                is_within || parent["name"] == goal["name"],
                "{span} {parent}"
            );
        }
    }
    assert_eq!(goal.get("parentSpanId"), None);
    assert_eq!(turn["parentSpanId"], goal["spanId"]);
    for step in chats.iter().copied().chain([wait, tool]) {
        assert_eq!(step["parentSpanId"], turn["spanId"], "{step}");
    }
    // The span of the call contains the time in which the call waited.
    assert!(time(tool, "startTimeUnixNano") <= time(wait, "startTimeUnixNano"));
    assert!(time(wait, "endTimeUnixNano") <= time(tool, "endTimeUnixNano"));

    // Check the attributes of the conventions.
    let goal = attributes(goal);
    assert_eq!(
        goal["gen_ai.operation.name"],
        &json!({"stringValue": "invoke_workflow"})
    );
    assert_eq!(goal["agent_team.run.id"], &json!({"stringValue": "R-1"}));
    let agent = attributes(turn);
    assert_eq!(agent["gen_ai.agent.name"], &json!({"stringValue": "lead"}));
    let chat = attributes(chats[0]);
    assert_eq!(chats[0]["kind"], 3);
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "lead"),
    ] {
        assert_eq!(chat[key], &json!({"stringValue": value}), "{chat:#?}");
    }
    let tokens = chat["gen_ai.usage.output_tokens"]["intValue"]
        .as_str()
        .unwrap();
    assert!(tokens.parse::<u64>().unwrap() > 0);
    let called = attributes(tool);
    assert_eq!(called["gen_ai.tool.name"], &json!({"stringValue": "write"}));
    assert!(called["gen_ai.tool.call.id"]["stringValue"].is_string());
    let waited = attributes(wait);
    assert_eq!(
        waited["agent_team.request.id"],
        &json!({"stringValue": "P-1"})
    );

    // Check metrics, headers, the resource, and the end of the service.
    until("the histograms", async || {
        let all = collector.received();
        all.iter()
            .any(|it| it.body.to_string().contains("gen_ai.client.token.usage"))
            .then_some(())
    })
    .await;
    processes::living(service.pid())
        .signal(Signal::SIGINT)
        .unwrap();
    assert!(service.wait().await.success());
    let mut paths = BTreeSet::new();
    for document in collector.received() {
        let head = document.head.to_lowercase();
        assert!(head.contains("authorization: bearer key"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        let text = document.body.to_string();
        assert!(
            !text.contains(PRIVATE) && !text.contains("out.txt"),
            "{text}"
        );
        let kind = if document.path.ends_with("traces") {
            "resourceSpans"
        } else {
            "resourceMetrics"
        };
        let resource = document.body[kind][0]["resource"].clone();
        let resource = attributes(&resource);
        assert_eq!(
            resource["service.name"],
            &json!({"stringValue": "agent-team"})
        );
        assert_eq!(
            resource["deployment.environment.name"],
            &json!({"stringValue": "test"})
        );
        paths.insert(document.path);
    }
    assert_eq!(
        paths,
        BTreeSet::from(["/otlp/v1/metrics".into(), "/otlp/v1/traces".into()])
    );
}

#[tokio::test]
async fn a_collector_that_is_gone_does_not_keep_the_service() {
    let mut rig = headless(&["ada"], &crate::teams::task("Build", "true", ""));
    // No process listens on this port.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{gone}"));
    rig.set("OTEL_BSP_SCHEDULE_DELAY", "50");
    rig.set("OTEL_METRIC_EXPORT_INTERVAL", "50");
    rig.ok(["up"]).await;
    let mut service = rig.start(["serve"]);
    service.line_with("http://").await;
    rig.ok(["up", "--wait"]).await;
    processes::living(service.pid())
        .signal(Signal::SIGTERM)
        .unwrap();
    assert!(service.wait().await.success());
}

#[tokio::test]
async fn invalid_variables_are_refused_without_their_values() {
    let mut rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    rig.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    rig.set("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let error = rig.refused(2, ["serve"]).await;
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("4318"), "{error}");
    rig.unset("OTEL_EXPORTER_OTLP_PROTOCOL");
    rig.set("OTEL_EXPORTER_OTLP_HEADERS", "secret-without-a-name");
    let error = rig.refused(2, ["serve"]).await.to_string();
    assert!(!error.contains("secret-without"), "{error}");
}
