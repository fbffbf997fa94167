//! Servers that refuse, disconnect or stay silent, and servers that are not model servers.

use std::time::Duration;

use agent_team_llm::{Delta, ModelError};
use agent_team_protocol::with_causes;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    KEY, WIRES, answer, config, deltas_until, first_answer, first_failure, input, model_at,
    model_of,
};

#[tokio::test]
async fn a_refusal_is_reported_at_once_by_its_kind() {
    for name in WIRES {
        let refused = |status, message| (Reply::error(status, message), status);
        let replies = [
            refused(401, "Incorrect API key"),
            refused(403, "not yours"),
            refused(404, "no such model"),
            refused(
                400,
                "prompt is too long: 9 tokens > 8 maximum context length",
            ),
            refused(400, "tools.0.name: too odd"),
        ];
        let statuses = replies.clone().map(|(_, status)| status);
        let server = FakeModelServer::start(in_turn(replies.map(|(reply, _)| reply))).await;
        let model = model_at(name, &server);
        let mut kinds = Vec::new();
        for _ in statuses {
            let error = first_answer(&*model).await.expect_err("a refusal");
            kinds.push(match error {
                ModelError::Unauthenticated { status, .. } => format!("unauthenticated {status}"),
                ModelError::UnknownModel { model, .. } => format!("unknown {model}"),
                ModelError::TooLong(_) => "too long".to_owned(),
                ModelError::Refused { status, .. } => format!("refused {status}"),
                other => format!("{other:?}"),
            });
        }
        assert_eq!(
            kinds,
            [
                "unauthenticated 401",
                "unauthenticated 403",
                "unknown m",
                "too long",
                "refused 400"
            ]
        );
        assert_eq!(
            server.requests().len(),
            statuses.len(),
            "nothing is repeated"
        );
    }
}

#[tokio::test]
async fn a_key_that_a_server_repeats_is_not_shown() {
    let reply = Reply::error(401, &format!("Incorrect API key provided: {KEY}"));
    let server = FakeModelServer::start(in_turn([reply])).await;
    let error = first_answer(&*model_at("openai/m", &server)).await;
    let error = with_causes(&error.expect_err("a refusal"));
    assert!(error.contains("provided: [key]"), "{error}");
}

#[tokio::test]
async fn an_html_page_is_not_an_answer() {
    for name in WIRES {
        let page = "<!DOCTYPE html><title>Sign in</title>\u{7}";
        let replies = [200, 404, 403].map(|status| Reply::html(status, page));
        let server = FakeModelServer::start(in_turn(replies)).await;
        let model = model_at(name, &server);
        for _ in 0..3 {
            let error = first_answer(&*model).await.expect_err("no answer");
            let error = error.to_string();
            assert!(error.contains(&server.base_url()), "{error}");
            assert!(error.contains("<title>Sign in"), "{error}");
            assert!(!error.contains('\u{7}'), "{error:?}");
        }
    }
}

#[tokio::test]
async fn json_in_place_of_a_stream_is_reported_by_its_content() {
    for (body, expected) in [
        (
            json!({ "error": { "type": "invalid_request_error", "message": "no" } }),
            "refused the request (400): no",
        ),
        (
            json!({ "error": { "type": "authentication_error", "message": "no" } }),
            "does not accept the key (401): no",
        ),
        (json!({ "choices": [] }), "JSON instead of an event stream"),
    ] {
        for name in WIRES {
            let server = FakeModelServer::start(in_turn([Reply::json(200, &body)])).await;
            let error = first_answer(&*model_at(name, &server)).await;
            let error = error.expect_err("no answer").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[tokio::test]
async fn an_event_that_does_not_parse_is_quoted_in_the_error() {
    for name in WIRES {
        let server = FakeModelServer::start(in_turn([Reply::events(&["{\"choi"])])).await;
        let error = first_answer(&*model_at(name, &server)).await;
        let error = error.expect_err("no answer").to_string();
        assert!(error.ends_with(": {\"choi"), "{error}");
    }
}

#[tokio::test]
async fn a_busy_server_is_retried_after_its_requested_pause() {
    for name in WIRES {
        let replies = in_turn([
            Reply::error(429, "slow down").header("retry-after-ms", "30"),
            Reply::error(529, "overloaded").header("retry-after", "0.02"),
            Reply::text("ok"),
        ]);
        let server = FakeModelServer::start(replies).await;
        let (answered, deltas) = answer(&*model_at(name, &server), &[input("Hello")], &[]).await;
        assert_eq!(answered.expect("an answer").text, "ok");
        let waits: Vec<_> = deltas
            .iter()
            .filter_map(|delta| match delta {
                Delta::Waiting { pause, why } => Some((*pause, why.as_str())),
                _ => None,
            })
            .collect();
        let [(first, why), (second, _)] = waits[..] else {
            panic!("not two pauses: {waits:?}")
        };
        assert!(why.ends_with("is busy (429): slow down"), "{why}");
        assert!(first >= Duration::from_millis(30) && second >= Duration::from_millis(20));
        assert!(
            first < Duration::from_millis(600),
            "the client's own pause was added: {first:?}"
        );
    }
}

#[tokio::test]
async fn a_truncated_answer_is_requested_again() {
    let whole = || Reply::text("A whole answer.").and_call("read", json!({ "path": "a" }));
    // With more events the answer is complete.
    for (name, events) in [("openai/m", 11), ("anthropic/m", 14)] {
        for event in 0..events {
            let replies = in_turn([whole().cut_after(event)]);
            let server = FakeModelServer::start(replies).await;
            let why = first_failure(&*model_at(name, &server)).await;
            assert!(
                why.starts_with("cannot get a complete response from http://"),
                "{name} {event}: {why}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_without_its_last_event_is_truncated() {
    for (name, event) in [
        ("openai/m", r#"{"choices":[{"delta":{"content":"so"}}]}"#),
        (
            "anthropic/m",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        ),
    ] {
        let server = FakeModelServer::start(in_turn([Reply::events(&[event])])).await;
        let why = first_failure(&*model_at(name, &server)).await;
        assert!(why.ends_with("the answer was truncated"), "{why}");
    }
}

#[tokio::test]
async fn an_overload_in_the_middle_of_a_stream_is_busy() {
    for name in WIRES {
        let error = json!({ "type": "error", "error": {
            "type": "overloaded_error", "message": "Overloaded",
        } });
        let reply = Reply::text("A whole answer.").error_after(3, error);
        let server = FakeModelServer::start(in_turn([reply])).await;
        let why = first_failure(&*model_at(name, &server)).await;
        assert!(why.ends_with("is busy (529): Overloaded"), "{why}");
    }
}

#[tokio::test]
async fn silence_ends_a_connection_before_and_within_an_answer() {
    for name in WIRES {
        for reply in [Reply::hang(), Reply::text("A whole answer.").hang_after(3)] {
            let server = FakeModelServer::start(in_turn([reply])).await;
            let mut short_silence = config(&server.base_url());
            short_silence.silence = Some(Duration::from_millis(200));
            let why = first_failure(&*model_of(name, &short_silence)).await;
            assert!(why.ends_with("no data for 200ms"), "{why}");
            server.hung_up(1).await;
        }
    }
}

#[tokio::test]
async fn dropping_an_answer_closes_its_connection() {
    for name in WIRES {
        let reply = Reply::text("A long answer that runs on.").hang_after(4);
        let server = FakeModelServer::start(in_turn([reply])).await;
        let model = model_at(name, &server);
        deltas_until(&*model, |delta| matches!(delta, Delta::Text(_))).await;
        server.hung_up(1).await;
        assert_eq!(server.requests().len(), 1, "no request is repeated");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("the listener is bound");
    drop(listener);
    let with_password = config(&format!("http://ada:{KEY}@{address}/v1"));
    let why = first_failure(&*model_of("openai/m", &with_password)).await;
    let begins =
        format!("cannot get a complete response from http://{address}/v1/chat/completions: ");
    assert!(why.starts_with(&begins), "{why}");
    assert!(!why.contains(KEY), "{why}");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let elsewhere = FakeModelServer::start(in_turn([Reply::text("stolen")])).await;
    let reply = Reply::html(307, "").header("location", &elsewhere.base_url());
    let server = FakeModelServer::start(in_turn([reply])).await;
    let error = first_answer(&*model_at("anthropic/m", &server)).await;
    let error = error.expect_err("no answer").to_string();
    assert!(error.contains("redirect to http://127.0.0.1"), "{error}");
    assert!(
        elsewhere.requests().is_empty(),
        "a redirected request would contain the key"
    );
}
