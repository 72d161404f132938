//! A minimal HTTP/1.1 for the tests: a server with threads that records every request, and a client for
//! requests that no program under test makes. It does not use a library, because libraries prevent exactly
//! the faults that the tests need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The time for which a connection may be idle.
const IDLE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The result of a handler.
pub enum Reply {
    /// A well-formed response.
    Whole(Response),
    /// A function that writes to the connection, which is closed afterwards. The status is for the record.
    Raw(u16, Box<dyn FnOnce(&mut TcpStream) + Send>),
}

/// The recorded parts of a request.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub target: String,
    pub authorization: Option<String>,
    pub status: u16,
}

impl Request {
    /// Creates a request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Returns a header's value.
    pub fn value(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    /// Returns the path.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns a parameter of the query, decoded only as far as digests require.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(pair.replace("%3A", ":").replace("%3a", ":").replace("%2F", "/").replace("%2f", "/"))
    }
}

impl Response {
    /// Creates a response without a body.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a body and its type.
    pub fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("Content-Type", media_type)
    }

    /// Returns a header's value.
    pub fn value(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a loopback port. It stops when it is dropped.
pub struct Server {
    port: u16,
    stop: Arc<AtomicBool>,
    record: Arc<Mutex<Vec<Recorded>>>,
}

impl Server {
    /// Starts a server. The handler gets every request, on the thread of its connection.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("the address of a listener").port();
        let stop = Arc::new(AtomicBool::new(false));
        let record = Arc::new(Mutex::new(Vec::new()));
        let (handler, stopped, records): (Arc<Handler>, _, _) =
            (Arc::new(handler), stop.clone(), record.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (handler, records) = (handler.clone(), records.clone());
                std::thread::spawn(move || serve(stream, &*handler, &records));
            }
        });
        Self { port, stop, record }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.record.lock().expect("no thread panics while it records").clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.record.lock().expect("no thread panics while it records").clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Serves a connection until one side closes it.
fn serve(mut stream: TcpStream, handler: &Handler, records: &Mutex<Vec<Recorded>>) {
    let _ = stream.set_read_timeout(Some(IDLE));
    let _ = stream.set_nodelay(true);
    let Ok(reading) = stream.try_clone() else { return };
    let mut reader = BufReader::new(reading);
    while let Some(request) = read_request(&mut reader) {
        let reply = handler(&request);
        let status = match &reply {
            Reply::Whole(response) => response.status,
            Reply::Raw(status, _) => *status,
        };
        let authorization = request.value("authorization").map(str::to_owned);
        if let Ok(mut records) = records.lock() {
            let Request { method, target, .. } = request.clone();
            records.push(Recorded { method, target, authorization, status });
        }
        match reply {
            Reply::Whole(response) => {
                let last = request.value("connection").is_some_and(|value| value == "close");
                if write_response(&mut stream, &request, &response).is_err() || last {
                    return;
                }
            }
            Reply::Raw(_, write) => return write(&mut stream),
        }
    }
}

/// Reads the head of a message: its first line and headers.
fn read_head(reader: &mut impl BufRead) -> Option<(String, Vec<(String, String)>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut lines = lines.into_iter();
    let first = lines.next()?;
    let headers = lines.filter_map(|line| {
        line.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
    });
    Some((first, headers.collect()))
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let (first, headers) = read_head(reader)?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let chunked = value(&headers, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let length = value(&headers, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let body = if chunked { read_chunks(reader)? } else { read_exactly(reader, length)? };
    Some(Request { method, target, headers, body })
}

fn read_exactly(reader: &mut impl Read, length: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
        body.extend(read_exactly(reader, length)?);
        read_exactly(reader, 2)?;
        if length == 0 {
            return Some(body);
        }
    }
}

fn write_response(stream: &mut TcpStream, request: &Request, response: &Response) -> std::io::Result<()> {
    let mut head = head(response.status, &response.headers);
    if value(&response.headers, "content-length").is_none() {
        head.push_str(&format!("Content-Length: {}\r\n", response.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&response.body)?;
    }
    stream.flush()
}

/// Returns the first line and headers of a response, without the final empty line.
pub fn head(status: u16, headers: &[(String, String)]) -> String {
    let mut head = format!("HTTP/1.1 {status} x\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

/// Sends one request to `HOST:PORT` and reads the complete response.
///
/// # Errors
///
/// If the connection fails or the response is not HTTP.
pub fn send(address: &str, request: &Request) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.write_all(&encode(address, request))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse_response(&bytes).ok_or_else(|| std::io::Error::other(format!("not an HTTP response: {address}")))
}

/// Returns the bytes of a request that asks the server to close the connection. An existing `Host` header is
/// kept.
pub fn encode(address: &str, request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    if request.value("host").is_none() {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    let dropped = ["connection", "content-length", "transfer-encoding"];
    for (name, value) in &request.headers {
        if !dropped.iter().any(|dropped| name.eq_ignore_ascii_case(dropped)) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", request.body.len()));
    let mut bytes = head.into_bytes();
    bytes.extend(&request.body);
    bytes
}

fn parse_response(bytes: &[u8]) -> Option<Response> {
    let mut reader = BufReader::new(bytes);
    let (first, headers) = read_head(&mut reader)?;
    let status = first.split_whitespace().nth(1)?.parse().ok()?;
    let chunked = value(&headers, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let mut body = Vec::new();
    if chunked {
        body = read_chunks(&mut reader)?;
    } else {
        reader.read_to_end(&mut body).ok()?;
    }
    Some(Response { status, headers, body })
}
