//! A server with one route that returns its argument: the baseline for the latency of the service in
//! `cargo xtask bench serve`. Prints its address. Exits when stdin is closed.
#![expect(clippy::print_stdout, reason = "the bench reads the address")]

use std::io::Read as _;
use std::net::Ipv4Addr;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower_service::Service as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let text = std::env::args().nth(1).unwrap_or_default();
    let router = Router::new().fallback(get(async move || text.clone()));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _end = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let router = router.clone();
        let service = service_fn(move |request| router.clone().call(request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
