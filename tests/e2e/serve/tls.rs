//! TLS of the service: a client that verifies the certificate, and certificates that cannot be used.

use std::path::PathBuf;
use std::sync::Arc;

use agent_team_tests::{Rig, Running, within};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{Answer, read};
use super::team;

fn fixture(name: &str) -> String {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    directory.join(name).to_str().expect("UTF-8").to_owned()
}

/// A service with TLS: its process, its address and its token.
async fn start(rig: &Rig) -> (Running, String, String) {
    let (certificate, key) = (fixture("server.pem"), fixture("server.key"));
    let mut verb = rig.start([
        "serve",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
        "--json",
    ]);
    let printed: Value = serde_json::from_str(&verb.line().await).expect("a document");
    let url = printed["url"].as_str().expect("a URL").to_owned();
    let (address, token) = url
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once("/#"))
        .unwrap_or_else(|| panic!("no https: {url}"));
    (verb, address.to_owned(), token.to_owned())
}

/// A client that trusts this certificate, or no certificate.
fn connector(root: Option<&str>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    if let Some(root) = root {
        let root = CertificateDer::from_pem_file(fixture(root)).expect("a certificate");
        roots.add(root).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn send(address: &str, request: &str) -> Answer {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let stream = connector(Some("server.pem")).connect(name, stream);
    let mut stream = within("the handshake", stream).await.expect("a handshake");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a connection");
    read(stream).await
}

#[tokio::test]
async fn a_tls_client_reads_the_team_and_its_events() {
    let rig = team().await;
    let (_verb, address, token) = start(&rig).await;
    let request = |target: &str, headers: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\
             Authorization: Bearer {token}\r\n\r\n"
        )
    };
    let own = format!("Origin: https://{address}\r\nSec-Fetch-Site: same-origin\r\n");
    let team = send(&address, &request("/api/v1/team", &own)).await;
    assert_eq!(team.expect(200).json()["members"][0]["name"], "ada");
    // The same address without TLS is another origin.
    let plain = format!("Origin: http://{address}\r\n");
    let refused = send(&address, &request("/api/v1/team", &plain)).await;
    refused.expect_problem(403);
    // Read a stream of events over TLS.
    let stream = TcpStream::connect(&address).await.expect("a connection");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut stream = connector(Some("server.pem"))
        .connect(name, stream)
        .await
        .expect("a handshake");
    let events = request("/api/v1/events", "").replace("Connection: close\r\n", "");
    stream
        .write_all(events.as_bytes())
        .await
        .expect("a connection");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("\"STATE_SNAPSHOT\"") {
        let count = within("an event", stream.read(&mut buffer)).await;
        let count = count.expect("a stream");
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

#[tokio::test]
async fn clients_without_tls_and_stopped_handshakes_end() {
    let rig = team().await;
    let (_verb, address, token) = start(&rig).await;
    let mut plain = TcpStream::connect(&address).await.expect("a connection");
    let request = format!(
        "GET /api/v1/team HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    plain
        .write_all(request.as_bytes())
        .await
        .expect("a connection");
    let mut answer = Vec::new();
    let _end = within("the end", plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // This client does not trust the certificate.
    let stream = TcpStream::connect(&address).await.expect("a connection");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let refused = connector(None).connect(name, stream).await;
    assert!(refused.is_err(), "the certificate is not trusted");
    // This client never sends a byte.
    let silent = TcpStream::connect(&address).await.expect("a connection");
    assert_eq!(read(silent).await.status, 0);
}

#[tokio::test]
async fn unusable_certificates_are_refused_with_the_reason() {
    let rig = team().await;
    let empty = rig.root().join("empty.pem");
    std::fs::write(&empty, "").expect("a file");
    let broken = rig.root().join("broken.pem");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&broken, text).expect("a file");
    let [empty, broken] = [&empty, &broken].map(|file| file.to_str().expect("UTF-8").to_owned());
    let (server, key) = (fixture("server.pem"), fixture("server.key"));
    for (certificate, key, why) in [
        (&fixture("expired.pem"), &key, "the certificate has expired"),
        (
            &fixture("early.pem"),
            &key,
            "the certificate is not valid yet",
        ),
        (
            &server,
            &fixture("other.key"),
            "the key does not belong to the certificate",
        ),
        (&server, &server, "cannot read the key"),
        (&key, &key, "contains no certificate"),
        (&empty, &key, "contains no certificate"),
        (&broken, &key, "cannot read the certificate"),
        (&fixture("absent.pem"), &key, "cannot read the certificate"),
        (&server, &fixture("absent.key"), "cannot read the key"),
    ] {
        let error = rig
            .refused(2, ["serve", "--tls-cert", certificate, "--tls-key", key])
            .await;
        let text = error.to_string();
        assert!(text.contains(why), "{why}: {text}");
    }
    rig.refused(2, ["serve", "--tls-cert", &server]).await;
    let socket = format!("unix:{}", rig.root().join("s.sock").display());
    rig.refused(
        2,
        [
            "serve",
            "--listen",
            &socket,
            "--tls-cert",
            &server,
            "--tls-key",
            &key,
        ],
    )
    .await;
}
