//! Tests of `fetch`, with a test server.

use agent_team_protocol::method::{Method, RequestAsk};
use agent_team_protocol::request::Permission as Answer;
use agent_team_tools::secret::Secrets;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::{Options, Permission, domain_tools};
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::context::Rig;

const PAGE: &str = "<html><head><title>T</title><style>p{}</style><script>alert(1)</script></head><body>\
    <h1>Head</h1><p>Some <b>bold</b> text with a <a href=\"/there\">link</a>.</p>\
    <ul><li>one</li><li>two</li></ul><pre>let a = 1;\n  let b = 2;</pre>\
    <table><tr><th>k</th><th>v</th></tr><tr><td>a</td><td>1</td></tr></table></body></html>";

/// Starts a server that runs until the test ends, and returns its URL.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(read @ 1..) => request.extend_from_slice(&buffer[..read]),
                        Ok(0) | Err(_) => return,
                    }
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap().to_owned();
                let answer = answer(&path);
                // The client may close the connection early.
                let _gone = stream.write_all(&answer).await;
            });
        }
    });
    format!("http://{address}")
}

fn answer(path: &str) -> Vec<u8> {
    let full = |status: &str, kind: &str, more: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let ok = |kind: &str, body: &[u8]| full("200 OK", kind, "", body);
    let redirect = |to: &str| {
        full(
            "302 Found",
            "text/plain",
            &format!("location: {to}\r\n"),
            b"",
        )
    };
    match path {
        "/page" => ok("text/html; charset=utf-8", PAGE.as_bytes()),
        "/tail" => ok("text/plain", b"The key begins with hunter"),
        "/json" => ok("application/json", b"{\"a\": 1}"),
        "/latin" => ok("text/plain; charset=ISO-8859-1", b"caf\xe9"),
        "/image" => ok("image/png", b"\x89PNG\0"),
        "/moved" => redirect("/page"),
        "/away" => redirect("http://elsewhere.invalid/page"),
        "/loop" => redirect("/loop"),
        "/file" => redirect("file:///etc/hostname"),
        "/deep" => ok("text/html", "<div><b>x".repeat(200_000).as_bytes()),
        "/long" => ok("text/plain", "some line\n".repeat(600_000).as_bytes()),
        _ => full("404 Not Found", "text/plain", "", b"no such page"),
    }
}

#[tokio::test]
async fn html_becomes_markdown_and_text_is_unchanged() {
    let rig = Rig::new();
    let base = server().await;
    let page = rig
        .text("fetch", json!({"url": format!("{base}/moved")}))
        .await;
    assert!(page.starts_with(&format!("({base}/page)\n")), "{page}");
    for part in [
        "# Head",
        &format!("[link]({base}/there)"),
        "* one",
        "  let b = 2;",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("alert") && !page.contains("p{}"), "{page}");
    let json = rig
        .text("fetch", json!({"url": format!("{base}/json")}))
        .await;
    assert!(json.ends_with("{\"a\": 1}\n"), "{json}");
    let latin = rig
        .text("fetch", json!({"url": format!("{base}/latin")}))
        .await;
    assert!(latin.contains("café"), "{latin}");
}

#[tokio::test]
async fn a_partial_secret_at_the_end_of_a_page_is_kept() {
    let mut rig = Rig::new();
    let secret = [("KEY".to_owned(), "hunter-two-three".to_owned())];
    rig.context.secrets = Secrets::new(&secret.into());
    let url = format!("{}/tail", server().await);
    let page = rig.text("fetch", json!({"url": url})).await;
    assert!(page.contains("begins with hunter"), "{page}");
}

#[tokio::test]
async fn failed_fetches_report_clear_errors() {
    let rig = Rig::new();
    let base = server().await;
    for (url, expected) in [
        (
            format!("{base}/none"),
            "returned 404 Not Found\nno such page",
        ),
        (format!("{base}/image"), "is image/png, not text"),
        (format!("{base}/loop"), "more than 5 redirects"),
        (format!("{base}/file"), "is not http:// or https://"),
        ("file:///etc/hostname".into(), "is not http:// or https://"),
        ("example".into(), "relative URL"),
        ("http://127.0.0.1:1/".into(), "cannot reach http://127"),
    ] {
        let refusal = rig.refusal("fetch", json!({"url": url})).await;
        assert!(refusal.contains(expected), "{url}: {refusal}");
    }
}

#[tokio::test]
async fn size_and_depth_are_bounded() {
    let rig = Rig::new();
    let base = server().await;
    let long = rig
        .text("fetch", json!({"url": format!("{base}/long")}))
        .await;
    assert!(
        long.contains("only the first 4194304 bytes were read"),
        "{long}"
    );
    assert!(long.contains("stored in"), "{long}");
    let deep = rig
        .text("fetch", json!({"url": format!("{base}/deep")}))
        .await;
    assert!(deep.contains("**x"), "{deep}");
}

#[tokio::test]
async fn permission_for_a_host_excludes_redirects_elsewhere() {
    let mut rig = Rig::new();
    let base = server().await;
    let (client, mut calls) =
        SupervisorClient::new("ada".parse().unwrap(), "worker".parse().unwrap(), false);
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            assert_eq!(call.method, RequestAsk::NAME);
            let allowed = to_raw_value(&Answer::Allowed { run: None }).unwrap();
            let _gone = call.answer.send(Ok(allowed));
        }
    });
    rig.tools = domain_tools(Options {
        permission: Permission::Ask(client),
        confinement: None,
        private_addresses: true,
    });
    let same = json!({"url": format!("{base}/moved")});
    assert!(rig.text("fetch", same).await.contains("Head"));
    let other = json!({"url": format!("{base}/away")});
    let refusal = rig.refusal("fetch", other).await;
    assert!(refusal.contains("redirects to another host"), "{refusal}");
    assert!(
        refusal.contains("http://elsewhere.invalid/page"),
        "{refusal}"
    );
}

#[tokio::test]
async fn local_addresses_are_refused_by_default() {
    let mut rig = Rig::new();
    let base = server().await;
    rig.tools = domain_tools(Options {
        permission: Permission::Bypass,
        confinement: None,
        private_addresses: false,
    });
    let port = base.rsplit(':').next().unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "2130706433",
        "[::ffff:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/page");
        let refusal = rig.refusal("fetch", json!({"url": url})).await;
        assert!(
            refusal.contains("addresses of this machine and its local network"),
            "{host}: {refusal}"
        );
    }
}
