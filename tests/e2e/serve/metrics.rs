//! Tests of `/metrics`. A strict parser checks the text format of Prometheus.

use std::collections::{BTreeMap, BTreeSet};

use agent_team_protocol::view::TaskState;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::until;
use serde_json::json;

use super::client::Service;
use crate::agents::rig_with_requests;
use crate::teams::{headless, task};

type Samples = BTreeMap<String, f64>;

/// Parses a document and checks the rules of Prometheus: each family has a help text and a type before its samples, and
/// its samples are consecutive. No sample is repeated, names and labels have the permitted form, and buckets are
/// cumulative.
fn samples(text: &str) -> Samples {
    assert!(text.ends_with('\n'));
    let mut samples = Samples::new();
    let mut families: BTreeSet<String> = BTreeSet::new();
    let (mut family, mut kind, mut name_with_help) = (String::new(), String::new(), String::new());
    let mut bucket = (String::new(), 0.0);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help text");
            assert!(!text.is_empty(), "{line}");
            name_with_help = name.to_owned();
            continue;
        }
        if let Some(metric_type) = line.strip_prefix("# TYPE ") {
            let (name, metric_type) = metric_type.split_once(' ').expect("a type");
            assert_eq!(name, name_with_help);
            assert!(
                families.insert(name.to_owned()),
                "the samples of {name} are not consecutive"
            );
            (family, kind) = (name.to_owned(), metric_type.to_owned());
            assert!(
                ["gauge", "counter", "histogram"].contains(&metric_type),
                "{line}"
            );
            assert_eq!(metric_type == "counter", name.ends_with("_total"), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a sample");
        let value: f64 = value.parse().expect("a number");
        assert!(value >= 0.0, "{line}");
        let name = series.split('{').next().unwrap();
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            let first = bytes
                .next()
                .is_some_and(|it| it.is_ascii_alphabetic() || it == b'_');
            first && bytes.all(|it| it.is_ascii_alphanumeric() || it == b'_')
        };
        assert!(is_name(name) && name.starts_with("agent_team_"), "{line}");
        match kind.as_str() {
            "histogram" => {
                let suffix = name.strip_prefix(family.as_str()).expect("the family");
                assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}");
                let labels = series.split("le=").next().unwrap().to_owned();
                if suffix == "_bucket" && bucket.0 == labels {
                    assert!(value >= bucket.1, "{line}");
                }
                bucket = (labels, value);
            }
            _ => assert_eq!(name, family, "{line}"),
        }
        if let Some(labels) = series
            .strip_prefix(name)
            .filter(|labels| !labels.is_empty())
        {
            let labels = labels.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
            for label in labels.expect("braces").split("\",") {
                let (name, value) = label.split_once("=\"").expect("a label");
                assert!(is_name(name) && !name.starts_with("__"), "{line}");
                assert!(!value.contains('\n'), "{line}");
            }
        }
        let earlier = samples.insert(series.to_owned(), value);
        assert_eq!(earlier, None, "{series} is repeated");
    }
    samples
}

/// The value of the only series with this name whose labels contain all of `labels`.
fn value(samples: &Samples, name: &str, labels: &[&str]) -> f64 {
    let matches = |series: &&String| {
        series.split('{').next() == Some(name) && labels.iter().all(|label| series.contains(label))
    };
    let found: Vec<_> = samples.keys().filter(matches).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {samples:#?}");
    samples[found[0]]
}

#[tokio::test]
async fn metrics_count_members_tasks_and_requests() {
    let rig = headless(
        &["ada", "ben"],
        &(task("Build", "true", "") + &task("Stop", "exit 1", "")),
    );
    rig.run(["up", "--wait"]).await.expect(1);
    rig.until_task_is("T-2", TaskState::Failed).await;
    rig.ok(["kill", "ben"]).await;
    let service = Service::start(&rig, &[]).await;
    service.get("/api/v1/tasks/T-1").await.expect(200);
    service.get("/api/v1/tasks/T-9").await.expect(404);
    service.get("/no/such/path").await.expect(404);
    let mut events = service.events("/api/v1/events", "").await;
    assert_eq!(events.status().await, 200);
    let answer = service.get("/metrics").await.expect(200);
    let media_type = answer.header("content-type").unwrap();
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    let samples = samples(&answer.body);
    let value = |name: &str, labels: &[&str]| value(&samples, name, labels);
    assert_eq!(value("agent_team_supervisor_up", &[]), 1.0);
    assert_eq!(value("agent_team_teams", &["state=\"up\""]), 1.0);
    assert_eq!(
        value("agent_team_members", &["state=\"idle\"", "team=\"demo-"]),
        1.0
    );
    assert_eq!(value("agent_team_members", &["state=\"stopped\""]), 1.0);
    assert_eq!(value("agent_team_tasks", &["state=\"completed\""]), 1.0);
    assert_eq!(value("agent_team_tasks", &["state=\"failed\""]), 1.0);
    assert_eq!(value("agent_team_permission_requests_waiting", &[]), 0.0);
    let revision = rig.json(["team", "show"]).await["revision"].as_f64();
    assert_eq!(Some(value("agent_team_events_total", &[])), revision);
    assert_eq!(value("agent_team_sse_clients", &[]), 1.0);
    let route = "route=\"/api/v1/tasks/{task}\"";
    let requests = "agent_team_http_requests_total";
    assert_eq!(value(requests, &[route, "status=\"200\""]), 1.0);
    assert_eq!(value(requests, &[route, "status=\"404\""]), 1.0);
    assert_eq!(value(requests, &["route=\"other\"", "status=\"404\""]), 1.0);
    let count = "agent_team_http_request_duration_seconds_count";
    assert_eq!(value(count, &[route]), 2.0);
    drop(events);
}

#[tokio::test]
async fn metrics_count_tokens_and_waiting_members() {
    let write = Reply::call("write", json!({"path": "out.txt", "content": "x"}));
    let replies = [("lead", vec![write]), ("ada", Vec::new())];
    let server = FakeModelServer::start(by_model(replies)).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "Greet", "--detach"]).await;
    let service = Service::start(&rig, &[]).await;
    let samples = until("the request", async || {
        let samples = samples(&service.get("/metrics").await.expect(200).body);
        let waits = value(
            &samples,
            "agent_team_members_waiting",
            &["for=\"permission\""],
        );
        (waits > 0.0).then_some(samples)
    })
    .await;
    assert_eq!(
        value(&samples, "agent_team_permission_requests_waiting", &[]),
        1.0
    );
    let labels = ["member=\"lead\"", "direction=\"output\""];
    assert!(value(&samples, "agent_team_tokens_total", &labels) > 0.0);
    value(&samples, "agent_team_cost_usd_total", &["member=\"ada\""]);
}

#[tokio::test]
async fn metrics_need_the_token_and_outlive_the_supervisor() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let service = Service::start(&rig, &["--read-only"]).await;
    let anonymous = format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        service.address
    );
    service.send(&anonymous).await.expect_problem(401);
    service.get("/metrics?x=1").await.expect_problem(400);
    service
        .post("/metrics", &json!({}))
        .await
        .expect_problem(405);
    rig.ok(["supervisor", "stop"]).await;
    let samples = samples(&service.get("/metrics").await.expect(200).body);
    assert_eq!(value(&samples, "agent_team_supervisor_up", &[]), 0.0);
    let refused = ["route=\"/metrics\"", "status=\"401\""];
    assert_eq!(
        value(&samples, "agent_team_http_requests_total", &refused),
        1.0
    );
}
