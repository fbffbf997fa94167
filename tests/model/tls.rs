//! The certificates (`ca`) of a provider: a server with a certificate that no authority has signed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_team_llm::ModelError;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::{config, first_answer, model_of};

fn fixture(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    directory.join(name)
}

/// Accepts TLS connections with the certificate of the fixtures and connects them to this server. Returns the address
/// of the listener, and the set of its tasks: the listener stops when the set is dropped.
async fn tls_in_front_of(server: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("the key of the certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The handshake fails if the client does not trust the certificate.
            if let Ok(mut client) = acceptor.accept(stream).await {
                let mut server = TcpStream::connect(server).await.expect("the server runs");
                let _ended = copy_bidirectional(&mut client, &mut server).await;
            }
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_certificate_is_trusted_only_if_ca_names_it() {
    let server = FakeModelServer::start(in_turn([Reply::text("ok")])).await;
    let root = server.base_url();
    let address = root
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/v1"));
    let address = address.expect("a URL").parse().expect("an address");
    let (address, _serving) = tls_in_front_of(address).await;
    let mut config = config(&format!("https://{address}/v1"));
    config.retry_limit = Some(Duration::ZERO);
    let refused = first_answer(&*model_of("openai/m", &config)).await;
    let refused = refused.expect_err("the certificate is not trusted");
    assert!(
        matches!(refused, ModelError::Unreachable { .. }),
        "{refused:?}"
    );
    let causes = agent_team_protocol::with_causes(&refused);
    assert!(causes.contains("certificate"), "{causes}");
    assert!(server.requests().is_empty(), "no request without trust");

    let spec = config.providers.get_mut("openai").expect("its settings");
    let pem = std::fs::read_to_string(fixture("server.pem")).expect("the fixture");
    spec.ca = Some(pem);
    let answer = first_answer(&*model_of("openai/m", &config)).await;
    assert_eq!(answer.expect("an answer").text, "ok");
}
