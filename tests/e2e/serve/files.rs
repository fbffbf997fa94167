//! Tests of the files of the page: only answers with these files are compressed, and kept by browsers.

use super::client::Service;
use super::team;

#[tokio::test]
async fn files_of_the_page_are_compressed_and_revalidated() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let head =
        |target: &str, headers: &str| format!("{}{headers}\r\n", service.head("HEAD", target));
    let plain = service.get("/page/main.js").await.expect(200);
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(plain.header("vary").as_deref(), Some("accept-encoding"));
    assert_eq!(plain.header("cache-control").as_deref(), Some("no-cache"));
    let etag = plain.header("etag").expect("an etag");
    let gzip = "Accept-Encoding: gzip, br\r\n";
    let compressed = service.send(&head("/page/main.js", gzip)).await.expect(200);
    assert_eq!(
        compressed.header("content-encoding").as_deref(),
        Some("gzip")
    );
    let length = |answer: &super::client::Answer| {
        let length = answer.header("content-length").expect("a length");
        length.parse::<usize>().expect("a number")
    };
    assert!(length(&compressed) * 2 < length(&plain));
    let compressed_etag = compressed.header("etag").expect("an etag");
    assert_ne!(compressed_etag, etag);
    for (headers, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{etag}\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        (format!("If-None-Match: {compressed_etag}\r\n"), 200),
        (format!("{gzip}If-None-Match: {compressed_etag}\r\n"), 304),
        (format!("{gzip}If-None-Match: {etag}\r\n"), 200),
        ("If-None-Match: \"x\"\r\n".to_owned(), 200),
    ] {
        let request = format!("{}{headers}\r\n", service.head("GET", "/page/main.js"));
        let request = match status {
            304 => request,
            // A compressed body is not text.
            _ => request.replacen("GET", "HEAD", 1),
        };
        let answer = service.send(&request).await.expect(status);
        if status == 304 {
            assert_eq!(answer.body, "");
            assert!(answer.header("content-security-policy").is_some());
        }
    }
    let foreign = head("/", "Origin: http://evil.example\r\n");
    service.send(&foreign).await.expect(403);
}

#[tokio::test]
async fn answers_with_data_are_neither_compressed_nor_kept() {
    let rig = team().await;
    let service = Service::start(&rig, &[]).await;
    let gzip = "Accept-Encoding: gzip\r\n";
    for target in [
        "/api/v1/team",
        "/api/v1/openapi.json",
        "/api/v1/messages",
        "/unknown",
    ] {
        let request = format!("{}{gzip}\r\n", service.head("GET", target));
        let answer = service.send(&request).await;
        assert_eq!(answer.header("content-encoding"), None, "{target}");
        assert_eq!(answer.header("etag"), None, "{target}");
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    }
    let mut events = service.events("/api/v1/events", gzip).await;
    assert_eq!(events.status().await, 200);
    let snapshot = events.next().await.expect("an event").data.expect("JSON");
    assert_eq!(snapshot["event"]["type"], "STATE_SNAPSHOT");
}
