//! A client of HTTP/1.1 with one request at a time, and a server with one route that returns a fixed text.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// The timeout of a read.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A connection with one request at a time.
pub(super) struct HttpClient {
    stream: BufReader<TcpStream>,
}

/// The body of an answer, and the time from the request to its last byte.
pub(super) struct Answered {
    pub(super) body: Vec<u8>,
    pub(super) after: Duration,
}

impl HttpClient {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONGEST_WAIT))?;
        let stream = BufReader::new(stream);
        Ok(Self { stream })
    }

    /// Sends a request, and reads its answer.
    pub(super) fn exchange(&mut self, request: &str) -> Result<Answered> {
        let started = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let is_good = line.starts_with("HTTP/1.1 20");
        let status = line.trim().to_owned();
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let after = started.elapsed();
        ensure!(is_good, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(Answered { body, after })
    }
}

/// An axum route that returns one text, in a process of its own. Killed on drop.
pub(super) struct EmptyRoute {
    process: Child,
    pub(super) address: SocketAddr,
}

impl EmptyRoute {
    /// `release`: the directory of the built programs.
    pub(super) fn start(release: &Path, text: &str) -> Result<Self> {
        let mut process = Command::new(release.join("examples/empty_route"))
            .arg(text)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the empty route")?;
        let mut line = String::new();
        let output = process.stdout.take().context("the output is a pipe")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { process, address })
    }
}

impl Drop for EmptyRoute {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
