//! A small registry with scripted faults. Without a script it behaves correctly. The faults are those that no
//! real registry shows on demand.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::http::{Recorded, Reply, Request, Response, Server, head};

/// The registry's behaviour for the referrers API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referrers {
    /// As specified by OCI 1.1.
    Api,
    /// One referrer on each page, with a `Link` to the next page.
    Paged,
    /// The `Link` of each page leads back to the first.
    Looping,
    /// The API is missing. Requests get this status.
    Refused(u16),
    /// A page of HTML with status 200.
    Html,
    /// JSON of another type with status 200.
    OtherJson,
    /// The API is missing, but the response to a push has `OCI-Subject`.
    AnnouncedOnly,
    /// The API works, but its list contains no annotations.
    Bare,
    /// The API is missing, and the tag `sha256-HEX` is the manifest `sha256:HEX`, whatever was stored there
    /// (GitLab).
    TagIsSubject,
}

/// A fault in a response.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A status with headers and a text.
    Status(u16, Vec<(String, String)>, String),
    /// One byte of the body is changed.
    FlippedByte,
    /// The `Docker-Content-Digest` header has another digest.
    OtherDigestHeader,
    /// The body ends before its stated length.
    Truncated,
    /// The stated length is shorter than the content.
    ShortLength,
    /// The connection is reset in the middle of the body.
    Reset,
    /// The body never ends and has the type of the requested content.
    Flood,
    /// Headers and one byte are sent, and then nothing.
    Hang(Duration),
}

/// A fault with its condition.
#[derive(Clone, Debug)]
pub struct Rule {
    method: String,
    part: String,
    times: u32,
    fault: Fault,
}

impl Rule {
    /// Applies to every request with this method (empty: any) whose target contains the part.
    pub fn always(method: &str, part: &str, fault: Fault) -> Self {
        Self::times(u32::MAX, method, part, fault)
    }

    /// Applies only to the first requests.
    pub fn times(times: u32, method: &str, part: &str, fault: Fault) -> Self {
        Self { method: method.to_owned(), part: part.to_owned(), times, fault }
    }

    fn applies(&self, request: &Request) -> bool {
        self.times > 0
            && (self.method.is_empty() || self.method == request.method)
            && request.target.contains(&self.part)
    }
}

/// Bearer tokens with a limited number of uses.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The announced token service, `{base}/token`. The registry serves it as well.
    pub realm: String,
    /// The number of requests after which a token is refused.
    pub uses: u32,
    /// Credentials that the token endpoint requires.
    pub password: Option<(String, String)>,
}

/// The initial settings of the registry.
#[derive(Clone, Debug)]
pub struct Settings {
    pub referrers: Referrers,
    pub rules: Vec<Rule>,
    pub tokens: Option<Tokens>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { referrers: Referrers::Api, rules: Vec::new(), tokens: None }
    }
}

#[derive(Default)]
struct Store {
    blobs: HashMap<String, Vec<u8>>,
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    tags: HashMap<(String, String), String>,
    uploads: HashMap<String, Vec<u8>>,
    tokens: HashMap<String, u32>,
    counter: u32,
}

struct Inner {
    settings: Mutex<Settings>,
    store: Mutex<Store>,
    flooded: Arc<AtomicU64>,
}

/// The registry. It stops when it is dropped.
pub struct MemoryRegistry {
    server: Server,
    inner: Arc<Inner>,
}

impl MemoryRegistry {
    /// Starts the registry on a free port.
    pub fn start(settings: Settings) -> Self {
        let inner = Arc::new(Inner {
            settings: Mutex::new(settings),
            store: Mutex::new(Store::default()),
            flooded: Arc::default(),
        });
        let handler = inner.clone();
        Self { server: Server::start(move |request| handler.reply(request)), inner }
    }

    /// Starts a registry without faults.
    pub fn honest() -> Self {
        Self::start(Settings::default())
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Adds a fault.
    pub fn break_rule(&self, rule: Rule) {
        self.inner.settings().rules.push(rule);
    }

    /// Removes all faults.
    pub fn mend(&self) {
        self.inner.settings().rules.clear();
    }

    /// Changes the behaviour of the referrers API.
    pub fn treat_referrers(&self, referrers: Referrers) {
        self.inner.settings().referrers = referrers;
    }

    /// Requires tokens from now on.
    pub fn ask_tokens(&self, tokens: Tokens) {
        self.inner.settings().tokens = Some(tokens);
    }

    /// Returns the number of bytes that clients have read of endless bodies.
    pub fn flooded(&self) -> u64 {
        self.inner.flooded.load(Ordering::SeqCst)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.server.forget();
    }
}

impl Inner {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().expect("no thread panics with the settings")
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("no thread panics with the store")
    }

    fn reply(&self, request: &Request) -> Reply {
        // Google's registry also requires this: a request that may have a body must state its length.
        let states_length =
            ["content-length", "transfer-encoding"].iter().any(|name| request.value(name).is_some());
        if ["POST", "PUT", "PATCH"].contains(&request.method.as_str()) && !states_length {
            return Reply::Whole(error(411, "LENGTH_REQUIRED"));
        }
        let fault = self.fault_for(request);
        if let Some(Fault::Status(status, headers, body)) = &fault {
            let mut response = Response::new(*status).body("text/plain", body.clone());
            response.headers.extend(headers.iter().cloned());
            return Reply::Whole(response);
        }
        let response = self.refuse_without_token(request).unwrap_or_else(|| self.answer(request));
        match fault {
            Some(fault) => spoil(response, fault, self.flooded.clone()),
            None => Reply::Whole(response),
        }
    }

    fn fault_for(&self, request: &Request) -> Option<Fault> {
        let mut settings = self.settings();
        let rule = settings.rules.iter_mut().find(|rule| rule.applies(request))?;
        rule.times = rule.times.saturating_sub(1);
        Some(rule.fault.clone())
    }

    fn refuse_without_token(&self, request: &Request) -> Option<Response> {
        let tokens = self.settings().tokens.clone()?;
        if request.path() == "/token" {
            return None;
        }
        let mut store = self.store();
        let token = request.value("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if let Some(uses) = token.and_then(|token| store.tokens.get_mut(token)).filter(|uses| **uses > 0) {
            *uses -= 1;
            return None;
        }
        let repository = split(request.path()).map_or_else(String::new, |(repository, _, _)| repository);
        let challenge = format!(
            "Bearer realm=\"{}/token\",service=\"memory\",scope=\"repository:{repository}:pull,push\"",
            tokens.realm
        );
        let error = error(401, "UNAUTHORIZED");
        Some(error.header("WWW-Authenticate", challenge))
    }

    fn answer(&self, request: &Request) -> Response {
        match request.path() {
            "/v2/" | "/v2" => Response::new(200).body("application/json", "{}"),
            "/token" => self.token(request),
            path => match split(path) {
                Some((repository, "manifests", rest)) => self.manifest(request, repository, rest),
                Some((_, "blobs", rest)) => self.blob(request, &rest),
                Some((repository, "referrers", rest)) => self.referrers(request, &repository, &rest),
                _ => error(404, "UNSUPPORTED"),
            },
        }
    }

    /// Serves the token endpoint. Every token is new.
    pub fn token(&self, request: &Request) -> Response {
        let Some(tokens) = self.settings().tokens.clone() else { return error(404, "UNSUPPORTED") };
        if let Some((user, password)) = &tokens.password {
            let wanted = format!("Basic {}", encode_base64(&format!("{user}:{password}")));
            if request.value("authorization") != Some(&wanted) {
                return error(401, "UNAUTHORIZED");
            }
        }
        let mut store = self.store();
        store.counter += 1;
        let token = format!("secret-token-{}", store.counter);
        store.tokens.insert(token.clone(), tokens.uses);
        let body = json!({"token": token, "access_token": token, "expires_in": 300});
        Response::new(200).body("application/json", body.to_string())
    }

    fn manifest(&self, request: &Request, repository: String, reference: String) -> Response {
        let mut store = self.store();
        if request.method == "PUT" {
            let announced = matches!(
                self.settings().referrers,
                Referrers::Api
                    | Referrers::Paged
                    | Referrers::Looping
                    | Referrers::Bare
                    | Referrers::AnnouncedOnly
            );
            return put_manifest(&mut store, request, repository, &reference, announced);
        }
        let by_digest = match self.settings().referrers {
            Referrers::TagIsSubject => reference.replacen("sha256-", "sha256:", 1),
            _ => reference.clone(),
        };
        let digest = if by_digest.starts_with("sha256:") {
            Some(by_digest)
        } else {
            store.tags.get(&(repository.clone(), reference.clone())).cloned()
        };
        let Some(digest) = digest else { return error(404, "MANIFEST_UNKNOWN") };
        let key = (repository, digest.clone());
        if request.method == "DELETE" {
            store.tags.retain(|_, tagged| *tagged != digest);
            return if store.manifests.remove(&key).is_some() {
                Response::new(202)
            } else {
                error(404, "MANIFEST_UNKNOWN")
            };
        }
        match store.manifests.get(&key) {
            Some((media_type, body)) => {
                Response::new(200).body(media_type, body.clone()).header("Docker-Content-Digest", digest)
            }
            None => error(404, "MANIFEST_UNKNOWN"),
        }
    }

    fn blob(&self, request: &Request, rest: &str) -> Response {
        let mut store = self.store();
        if let Some(id) = rest.strip_prefix("uploads") {
            return upload(&mut store, request, id.trim_start_matches('/'));
        }
        match store.blobs.get(rest) {
            Some(body) => Response::new(200)
                .body("application/octet-stream", body.clone())
                .header("Docker-Content-Digest", rest),
            None => error(404, "BLOB_UNKNOWN"),
        }
    }

    fn referrers(&self, request: &Request, repository: &str, digest: &str) -> Response {
        let mode = self.settings().referrers;
        let found = referrers_of(&self.store(), repository, digest);
        let page: usize = request.query("page").and_then(|page| page.parse().ok()).unwrap_or(0);
        let next = |page: usize| format!("</v2/{repository}/referrers/{digest}?page={page}>; rel=\"next\"");
        match mode {
            Referrers::Api => listing(&found),
            Referrers::Paged => {
                let one = found.get(page..=page).unwrap_or_default();
                let response = listing(one);
                if page + 1 < found.len() { response.header("Link", next(page + 1)) } else { response }
            }
            Referrers::Looping => listing(&found).header("Link", next((page + 1) % 3)),
            Referrers::Bare => {
                let mut bare = found;
                bare.iter_mut()
                    .for_each(|entry| drop(entry.as_object_mut().map(|it| it.remove("annotations"))));
                listing(&bare)
            }
            Referrers::Refused(status) => error(status, "UNSUPPORTED"),
            Referrers::TagIsSubject | Referrers::AnnouncedOnly => error(404, "UNSUPPORTED"),
            Referrers::Html => {
                Response::new(200).body("text/html", "<!DOCTYPE html><title>registry</title>hello")
            }
            Referrers::OtherJson => Response::new(200).body("application/json", r#"{"page": "home"}"#),
        }
    }
}

/// Splits `/v2/REPOSITORY/KIND/REST`.
fn split(path: &str) -> Option<(String, &'static str, String)> {
    let path = path.strip_prefix("/v2/")?;
    ["manifests", "blobs", "referrers"].into_iter().find_map(|kind| {
        let (repository, rest) = path.split_once(&format!("/{kind}/"))?;
        Some((repository.to_owned(), kind, rest.replace("%3A", ":").replace("%3a", ":")))
    })
}

fn put_manifest(
    store: &mut Store,
    request: &Request,
    repository: String,
    reference: &str,
    announced: bool,
) -> Response {
    let digest = digest(&request.body);
    if reference.starts_with("sha256:") && reference != digest {
        return error(400, "DIGEST_INVALID");
    }
    let media_type = request.value("content-type").unwrap_or_default().to_owned();
    store.manifests.insert((repository.clone(), digest.clone()), (media_type, request.body.clone()));
    if !reference.starts_with("sha256:") {
        store.tags.insert((repository.clone(), reference.to_owned()), digest.clone());
    }
    let response = Response::new(201)
        .header("Location", format!("/v2/{repository}/manifests/{digest}"))
        .header("Docker-Content-Digest", digest);
    let manifest: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match manifest["subject"]["digest"].as_str() {
        Some(subject) if announced => response.header("OCI-Subject", subject),
        _ => response,
    }
}

fn upload(store: &mut Store, request: &Request, id: &str) -> Response {
    let repository = split(request.path()).map_or_else(String::new, |(repository, _, _)| repository);
    let id = if request.method == "POST" {
        store.counter += 1;
        format!("upload-{}", store.counter)
    } else {
        id.to_owned()
    };
    store.uploads.entry(id.clone()).or_default().extend(&request.body);
    let location = format!("/v2/{repository}/blobs/uploads/{id}");
    match request.query("digest") {
        Some(stated) => {
            let body = store.uploads.remove(&id).unwrap_or_default();
            if digest(&body) != stated {
                return error(400, "DIGEST_INVALID");
            }
            store.blobs.insert(stated.clone(), body);
            let location = format!("/v2/{repository}/blobs/{stated}");
            Response::new(201).header("Location", location).header("Docker-Content-Digest", stated)
        }
        None => {
            let end = store.uploads[&id].len().saturating_sub(1);
            Response::new(202)
                .header("Location", location)
                .header("Range", format!("0-{end}"))
                .header("Docker-Upload-UUID", id)
        }
    }
}

fn referrers_of(store: &Store, repository: &str, subject: &str) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for ((stored_in, digest), (media_type, body)) in &store.manifests {
        let manifest: Value = serde_json::from_slice(body).unwrap_or_default();
        if stored_in == repository && manifest["subject"]["digest"] == subject {
            let artifact_type = match &manifest["artifactType"] {
                Value::Null => &manifest["config"]["mediaType"],
                stated => stated,
            };
            found.push(json!({
                "mediaType": media_type, "digest": digest, "size": body.len(),
                "artifactType": artifact_type, "annotations": manifest["annotations"],
            }));
        }
    }
    found.sort_by_key(|descriptor| descriptor["digest"].to_string());
    found
}

fn listing(manifests: &[Value]) -> Response {
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
    Response::new(200).body(media_type, index.to_string())
}

fn error(status: u16, code: &str) -> Response {
    let body = json!({"errors": [{"code": code, "message": code.to_lowercase()}]});
    Response::new(status).body("application/json", body.to_string())
}

/// Applies the fault to a correct response.
fn spoil(mut response: Response, fault: Fault, flooded: Arc<AtomicU64>) -> Reply {
    let status = response.status;
    let length = response.body.len();
    let stated = |headers: &[(String, String)], length: &str| {
        let mut text = head(status, headers);
        text.push_str(&format!("{length}\r\n"));
        text.into_bytes()
    };
    match fault {
        Fault::FlippedByte => {
            if let Some(byte) = response.body.last_mut() {
                *byte ^= 1;
            }
            Reply::Whole(response)
        }
        Fault::OtherDigestHeader => {
            response.headers.retain(|(name, _)| name != "Docker-Content-Digest");
            Reply::Whole(response.header("Docker-Content-Digest", digest(b"something else")))
        }
        Fault::ShortLength => {
            response.body.truncate(length / 2);
            Reply::Whole(response)
        }
        Fault::Truncated | Fault::Reset => {
            let mut bytes = stated(&response.headers, &format!("Content-Length: {length}\r\n"));
            bytes.extend(&response.body[..length / 2]);
            let reset = matches!(fault, Fault::Reset);
            Reply::Raw(status, Box::new(move |stream| write_and_close(stream, &bytes, reset)))
        }
        Fault::Flood => {
            let bytes = stated(&response.headers, "Connection: close\r\n");
            Reply::Raw(status, Box::new(move |stream| flood(stream, &bytes, &flooded)))
        }
        Fault::Hang(time) => {
            let bytes = stated(&response.headers, &format!("Content-Length: {length}\r\n"));
            Reply::Raw(status, Box::new(move |stream| hang(stream, &bytes, time)))
        }
        Fault::Status(..) => Reply::Whole(response),
    }
}

fn write_and_close(stream: &mut TcpStream, bytes: &[u8], reset: bool) {
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
    if reset {
        std::thread::sleep(Duration::from_millis(20));
        let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
    }
}

/// Writes until the reader closes the connection, but at most 4 GiB.
fn flood(stream: &mut TcpStream, head: &[u8], flooded: &AtomicU64) {
    let _ = stream.set_write_timeout(Some(Duration::from_secs(30)));
    let chunk = vec![b' '; 1 << 16];
    let mut open = stream.write_all(head).is_ok();
    for _ in 0..(1 << 16) {
        if !open {
            return;
        }
        open = stream.write_all(&chunk).is_ok();
        flooded.fetch_add(chunk.len() as u64, Ordering::SeqCst);
    }
}

fn hang(stream: &mut TcpStream, head: &[u8], time: Duration) {
    let _ = stream.write_all(head);
    let _ = stream.flush();
    std::thread::sleep(time);
}

/// Returns the digest `sha256:…` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Encodes text in Base64 with padding.
pub fn encode_base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
