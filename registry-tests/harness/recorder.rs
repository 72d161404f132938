//! A reverse proxy in front of a registry. It records the requests of a command.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::http::{Recorded, Reply, Server, encode};

/// The proxy. Clients use its address instead of the registry's.
pub struct Recorder {
    server: Server,
    answered: Arc<AtomicU64>,
}

impl Recorder {
    /// Starts a proxy for `HOST:PORT`. The client's `Host` header is kept, so that the registry writes the
    /// proxy's address into each `Location`.
    pub fn before(upstream: &str) -> Self {
        let upstream = upstream.to_owned();
        let answered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answered);
        let server = Server::start(move |request| {
            let mut answer = Vec::new();
            let sent = TcpStream::connect(&upstream).and_then(|mut stream| {
                stream.write_all(&encode(&upstream, request))?;
                stream.read_to_end(&mut answer)
            });
            if sent.is_err() {
                answer = b"HTTP/1.1 502 x\r\nContent-Length: 0\r\n\r\n".to_vec();
            }
            count.fetch_add(answer.len() as u64, Ordering::Relaxed);
            let status = String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).parse().unwrap_or(0);
            Reply::Raw(status, Box::new(move |client| drop(client.write_all(&answer))))
        });
        Self { server, answered }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// Returns the number of bytes of all responses so far, including their headers.
    pub fn bytes(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.answered.store(0, Ordering::Relaxed);
        self.server.forget();
    }
}

/// Returns the requests that send content: bodies of blobs and manifests.
pub fn uploads(requests: &[Recorded]) -> Vec<String> {
    let sends = |request: &&Recorded| matches!(request.method.as_str(), "POST" | "PUT" | "PATCH");
    requests.iter().filter(sends).map(line).collect()
}

/// Returns the requests that fetch a blob's body.
pub fn blob_reads(requests: &[Recorded]) -> Vec<String> {
    let reads = |request: &&Recorded| request.method == "GET" && request.target.contains("/blobs/");
    requests.iter().filter(reads).map(line).collect()
}

/// Returns the requests as lines, for messages.
pub fn lines(requests: &[Recorded]) -> String {
    requests.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(request: &Recorded) -> String {
    format!("{} {} -> {}", request.method, request.target, request.status)
}
