//! A registry with scripted responses, over real sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A received request.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A scripted response.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Status, headers, body.
    Say(u16, Vec<(String, String)>, Vec<u8>),
    /// The same, but with a length greater than that of the body.
    CutShort(Vec<u8>),
    /// The body, byte by byte with a pause before each byte.
    Drops(Vec<u8>, Duration),
    /// Close without a response.
    Hang(Duration),
    /// Close at once.
    Reset,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self::Say(status, Vec::new(), Vec::new())
    }

    pub(super) fn with(self, name: &str, value: impl Into<String>) -> Self {
        match self {
            Self::Say(status, mut headers, body) => {
                headers.push((name.into(), value.into()));
                Self::Say(status, headers, body)
            }
            other => other,
        }
    }

    pub(super) fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        match self {
            Self::Say(status, headers, _) => Self::Say(status, headers, bytes.into()),
            other => other,
        }
    }
}

type Handler = dyn Fn(&Got, usize) -> Reply + Send + Sync;

/// The server. It runs until the test process exits.
pub(super) struct Server {
    pub host: String,
    seen: Arc<Mutex<Vec<Got>>>,
}

impl Server {
    /// Starts a server. The handler receives each request and the number of previous ones.
    pub(super) fn start(handler: impl Fn(&Got, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Got>>> = Arc::default();
        let (handler, log): (Arc<Handler>, _) = (Arc::new(handler), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, log) = (handler.clone(), log.clone());
                thread::spawn(move || serve(stream, handler.as_ref(), &log));
            }
        });
        Self { host, seen }
    }

    /// Returns the requests so far.
    pub(super) fn seen(&self) -> Vec<Got> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns the requests so far as `METHOD PATH`, with shortened digests.
    pub(super) fn log(&self) -> Vec<String> {
        self.seen().iter().map(|got| format!("{} {}", got.method, got.path)).collect()
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Got>>) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let Some(got) = read(&mut stream) else { return };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(got.clone());
        log.len() - 1
    };
    let mut pause = None;
    let (status, headers, body, length) = match handler(&got, before) {
        Reply::Drops(body, time) => {
            pause = Some(time);
            let length = body.len();
            (200, Vec::new(), body, length)
        }
        Reply::Say(status, headers, body) => {
            let length = body.len();
            (status, headers, body, length)
        }
        Reply::CutShort(body) => (200, Vec::new(), body.clone(), body.len() + 10),
        Reply::Hang(time) => {
            thread::sleep(time);
            return;
        }
        Reply::Reset => return,
    };
    let mut text = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name == "content-length") {
        text.push_str(&format!("Content-Length: {length}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let _ = stream.write_all(text.as_bytes());
    if got.method == "HEAD" {
        return;
    }
    let Some(pause) = pause else {
        let _ = stream.write_all(&body);
        return;
    };
    for byte in body {
        thread::sleep(pause);
        if stream.write_all(&[byte]).is_err() {
            return;
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<Got> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut got = Got { method, path, headers, body: Vec::new() };
    let length: usize = got.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    got.body.resize(length, 0);
    stream.read_exact(&mut got.body).ok()?;
    Some(got)
}
