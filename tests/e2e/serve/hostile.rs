//! Requests of other origins, without a token, malformed and endless: each gets the right status and changes nothing.

use agent_team_tests::{Rig, within};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Service, read};
use super::team;

async fn revision(rig: &Rig) -> Value {
    rig.json(["ps"]).await["revision"].clone()
}

#[tokio::test]
async fn only_own_origins_with_a_token_reach_a_resource() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let (address, token) = (service.address, service.token.clone());
    let port = address.port();
    let own = format!("http://{address}");
    // The host, and whether it is the service.
    let hosts = [
        (format!("Host: {address}\r\n"), true),
        (format!("Host: localhost:{port}\r\n"), true),
        (format!("Host: 127.0.0.2:{port}\r\n"), false),
        (format!("Host: evil.example:{port}\r\n"), false),
        ("Host: 127.0.0.1\r\n".to_owned(), false),
        (format!("Host: {address}\r\nHost: {address}\r\n"), false),
        (format!("Host: {address}.evil.example\r\n"), false),
    ];
    let origins = [
        (String::new(), true),
        (format!("Origin: {own}\r\n"), true),
        ("Origin: null\r\n".to_owned(), false),
        ("Origin: http://evil.example\r\n".to_owned(), false),
        ("Origin: http://127.0.0.1:1\r\n".to_owned(), false),
        (format!("Origin: https://{address}\r\n"), false),
        (format!("Origin: {own}\r\nOrigin: {own}\r\n"), false),
    ];
    let sites = [
        ("", true),
        ("Sec-Fetch-Site: same-origin\r\n", true),
        ("Sec-Fetch-Site: none\r\n", true),
        ("Sec-Fetch-Site: same-site\r\n", false),
        ("Sec-Fetch-Site: cross-site\r\n", false),
    ];
    let wrong = "0".repeat(64);
    let tokens = [
        (format!("Authorization: Bearer {token}\r\n"), true),
        (String::new(), false),
        (format!("Authorization: Bearer {wrong}\r\n"), false),
        (format!("Authorization: Basic {token}\r\n"), false),
        (format!("Cookie: token={token}\r\n"), false),
    ];
    let methods = [
        ("GET", 200),
        ("POST", 200),
        ("OPTIONS", 405),
        ("PUT", 405),
        ("HEAD", 200),
    ];
    let mut tried = 0;
    let mut sent = 0;
    for (host, is_own) in &hosts {
        for (origin, is_own_origin) in &origins {
            for (site, is_own_site) in &sites {
                for (authorization, is_known) in &tokens {
                    for (method, reached) in methods {
                        // The product of all values is large: skip combinations with more than two unusual values.
                        let usual = [*is_own, *is_own_origin && *is_own_site, *is_known];
                        if usual.iter().filter(|usual| !**usual).count() > 2 {
                            continue;
                        }
                        let is_localhost = host.contains("localhost");
                        if is_localhost && !origin.is_empty() {
                            continue;
                        }
                        let expected = match (is_own, *is_own_origin && *is_own_site, is_known) {
                            (false, _, _) => 421,
                            (true, false, _) => 403,
                            (true, true, false) => 401,
                            (true, true, true) => reached,
                        };
                        let body = match method {
                            "POST" => r#"{"to": "ada", "text": "hello"}"#,
                            _ => "",
                        };
                        let media_type = match method {
                            "POST" => "Content-Type: application/json\r\n",
                            _ => "",
                        };
                        let request = format!(
                            "{method} /api/v1/messages HTTP/1.1\r\n{host}{origin}{site}{authorization}{media_type}\
                             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        let answer = service.send(&request).await;
                        assert_eq!(answer.status, expected, "{request}\n{answer:?}");
                        assert_eq!(answer.header("access-control-allow-origin"), None);
                        assert_eq!(answer.header("set-cookie"), None);
                        tried += 1;
                        sent += usize::from(method == "POST" && expected == 200);
                    }
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
    let messages = rig.json(["messages", "--limit", "1000"]).await;
    assert_eq!(messages["messages"].as_array().unwrap().len(), sent);
}

#[tokio::test]
async fn every_answer_has_the_headers_of_the_policy() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let unknown = service.get("/api/v1/nothing").await.expect(404);
    let ok = service.get("/api/v1/team").await.expect(200);
    let foreign = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let foreign = service.send(foreign).await.expect(421);
    for answer in [unknown, ok, foreign] {
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name).as_deref(), Some(value), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn malformed_requests_change_nothing() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let before = revision(&rig).await;
    let message = r#"{"to": "ada", "text": "hello"}"#;
    let messages = "/api/v1/messages";
    let deep = format!(
        "{{\"to\":\"ada\",\"text\":{}1{}}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    let bottomless = format!("{{\"text\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let huge = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    let form = service
        .request("POST", messages, message)
        .replace("application/json", "text/plain");
    let none = service
        .request("POST", messages, message)
        .replace("Content-Type: application/json\r\n", "");
    let claimed = service
        .request("POST", messages, message)
        .replace("Content-Length: 30", "Content-Length: 99999999");
    for (request, status) in [
        (service.request("POST", messages, "{"), 400),
        (service.request("POST", messages, "\u{0}"), 400),
        (service.request("POST", messages, "[]"), 400),
        (service.request("POST", messages, "{}"), 422),
        (
            service.request("POST", messages, r#"{"to": 7, "text": "x"}"#),
            422,
        ),
        (
            service.request("POST", messages, r#"{"to": "nobody", "text": "x"}"#),
            404,
        ),
        (service.request("POST", messages, &deep), 422),
        (service.request("POST", messages, &bottomless), 400),
        (
            service.request("POST", "/api/v1/messages?urgent=true", message),
            400,
        ),
        (
            service.request("POST", "/api/v1/messages?team=a&team=b", message),
            400,
        ),
        (
            service.request("POST", "/api/v1/messages?team=unknown", message),
            404,
        ),
        (service.request("PUT", "/api/v1/memory/big", &huge), 413),
        (
            service.request("PUT", "/api/v1/memory/big", &format!("{huge} ")),
            413,
        ),
        (service.request("PUT", "/api/v1/memory/%ff", "1"), 400),
        (service.request("GET", messages, message), 400),
        (form, 415),
        (none, 415),
        (claimed, 413),
        (
            service.request(
                "POST",
                "/api/v1/tasks/T-1/assign",
                r#"{"task": "T-2", "member": "ada"}"#,
            ),
            400,
        ),
        (
            service.request("POST", "/api/v1/tasks/T-9/cancel", "{}"),
            404,
        ),
        (
            service.request("POST", "/api/v1/tasks/../cancel", "{}"),
            422,
        ),
        (
            service.request("POST", "/api/v1/tasks/T-1/complete", r#"{"generation": 7}"#),
            409,
        ),
        (
            service.request("POST", "/api/v1/members/zoe/kill", "{}"),
            404,
        ),
        (
            service.request("POST", "/api/v1/members/Ad%20a/kill", "{}"),
            422,
        ),
        (
            service.request(
                "POST",
                "/api/v1/requests/P-1/decision",
                r#"{"decision": {"kind": "allow", "scope": "always"}}"#,
            ),
            422,
        ),
        (
            service.request(
                "POST",
                "/api/v1/requests/P-1/decision",
                r#"{"decision": {"kind": "allow", "scope": "once"}}"#,
            ),
            404,
        ),
        (service.request("PATCH", messages, message), 405),
        (service.request("TRACE", messages, ""), 405),
        (service.request("POST", "/api/v1", "{}"), 404),
        (service.request("POST", "/api/v2/messages", message), 404),
        (service.request("GET", "/api/v1/messages?limit=-1", ""), 400),
        (
            service.request("GET", "/api/v1/messages?limit=99999999999", ""),
            422,
        ),
        (service.request("GET", "/api/v1/messages?of=A%20B", ""), 422),
    ] {
        let answer = service.send(&request).await;
        let start: String = request.chars().take(300).collect();
        assert_eq!(answer.status, status, "{start}\n{answer:?}");
        answer.expect_problem(status);
    }
    for request in [
        "",
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9\r\n\r\n",
        "\u{16}\u{3}\u{1}",
    ] {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = read(stream).await;
        assert!([0, 400, 421].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(revision(&rig).await, before);
    service.get("/api/v1/team").await.expect(200);
}

#[tokio::test]
async fn endless_and_half_open_requests_end() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let before = revision(&rig).await;
    let head = service.head("POST", "/api/v1/messages") + "Content-Type: application/json\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let endless_body = async {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(chunked.as_bytes()).await.unwrap();
        let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
        let (mut reading, mut writing) = stream.split();
        let write = async { while writing.write_all(chunk.as_bytes()).await.is_ok() {} };
        let mut answer = [0; 12];
        tokio::select! {
            _reset = reading.read_exact(&mut answer) => {}
            () = write => {}
        }
        // The reset of the connection can remove the answer.
        assert!([*b"HTTP/1.1 413", [0; 12]].contains(&answer), "{answer:?}");
    };
    let endless_head = async {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let mut answer = [0; 12];
        let (mut reading, mut writing) = stream.split();
        let write = async {
            writing.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
            while writing.write_all(&[b'x'; 4096]).await.is_ok() {}
        };
        tokio::select! {
            _reset = reading.read_exact(&mut answer) => {}
            () = write => {}
        }
        assert!([*b"HTTP/1.1 431", [0; 12]].contains(&answer), "{answer:?}");
    };
    let stopped_body = async {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let request = format!("{head}Content-Length: 100\r\n\r\n{{");
        stream.write_all(request.as_bytes()).await.unwrap();
        read(stream).await.expect_problem(408);
    };
    let stopped_head = async {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        let answer = read(stream).await;
        assert!([0, 408].contains(&answer.status), "{answer:?}");
    };
    let silent = async {
        let stream = TcpStream::connect(service.address).await.unwrap();
        assert_eq!(read(stream).await.status, 0);
    };
    within("the requests", async {
        tokio::join!(
            endless_body,
            endless_head,
            stopped_body,
            stopped_head,
            silent
        );
    })
    .await;
    assert_eq!(revision(&rig).await, before);
    service.get("/api/v1/team").await.expect(200);
}
