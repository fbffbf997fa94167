//! Limits of the service: requests per second, lengths, and many clients that follow events.

use std::os::unix::fs::PermissionsExt;

use agent_team_tests::within;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::client::{Events, Service};
use super::team;

/// Clients that follow the events at once. `cargo xtask bench serve` measures 1,000.
const CLIENTS: usize = 200;

#[tokio::test]
async fn a_client_that_sends_too_many_requests_gets_429() {
    let rig = team().await;
    let (one, other) = ("a".repeat(40), "b".repeat(40));
    let file = rig.root().join("tokens");
    std::fs::write(&file, format!("{one}\n{other}\n")).expect("a file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&file, mode).expect("a mode");
    let name = file.to_str().expect("UTF-8");
    let arguments = ["--token-file", name, "--rate-limit", "3"];
    let mut service = Service::start(&rig, &arguments).await;
    service.token.clone_from(&one);
    let mut refused = 0;
    for _ in 0..30 {
        let answer = service.get("/api/v1/team").await;
        if answer.status == 200 {
            continue;
        }
        assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
        let problem = answer.expect_problem(429);
        assert_eq!(problem["code"], "too_many_calls");
        refused += 1;
    }
    assert!(refused > 0, "30 requests exceed 3 per second");
    // Requests with another token, and requests without a token, do not share the limit.
    service.token.clone_from(&other);
    service.get("/api/v1/team").await.expect(200);
    service.token = "x".repeat(40);
    for _ in 0..30 {
        let status = service.get("/api/v1/team").await.status;
        assert!([401, 429].contains(&status), "{status}");
    }
    service.token.clone_from(&other);
    service.get("/api/v1/team").await.expect(200);
}

#[tokio::test]
async fn long_targets_and_heads_are_refused() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let long = "x".repeat(8 << 10);
    for target in [format!("/api/v1/team?a={long}"), format!("/{long}")] {
        service.get(&target).await.expect_problem(414);
    }
    let head = service.head("GET", "/api/v1/team");
    for headers in [
        format!("X: {}\r\n", "x".repeat(256 << 10)),
        "X: x\r\n".repeat(200),
    ] {
        let answer = service.send(&format!("{head}{headers}\r\n")).await;
        // The reset of the connection can remove the answer.
        assert!([431, 0].contains(&answer.status), "{answer:?}");
    }
}

/// The private memory of a process, in KiB.
fn memory(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| number.parse().expect("a number"))
}

#[tokio::test]
async fn many_followers_cost_bounded_memory_and_delay_no_request() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let before = memory(service.pid());
    let mut readers: Vec<Events> = Vec::new();
    for _ in 0..CLIENTS {
        let mut events = service.events("/api/v1/events", "").await;
        assert_eq!(events.status().await, 200);
        readers.push(events);
    }
    // Three of four clients stop reading, with more to read than their connections buffer.
    let stopped = readers.split_off(CLIENTS / 4);
    let value = format!("\"{}\"", "x".repeat(30_000));
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let put = service.request("PUT", &format!("/api/v1/memory/k{number}"), &value);
        let began = Instant::now();
        service.send(&put).await.expect(200);
        slowest = slowest.max(began.elapsed());
        for events in &mut readers {
            let arrived = async {
                while events
                    .stored()
                    .await
                    .expect("an event")
                    .data
                    .is_none_or(|data| data["event"]["value"]["key"] != json!(format!("k{number}")))
                {
                }
            };
            within("the event at each reader", arrived).await;
        }
    }
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    let grown = memory(service.pid()).saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB for {CLIENTS} clients");
    drop(stopped);
    service.get("/api/v1/team").await.expect(200);
}
