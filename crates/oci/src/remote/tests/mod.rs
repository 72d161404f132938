//! Tests of the client with faulty registries, over real sockets.

mod attaching;
mod habits;
mod server;
mod streaming;
mod trust;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::Repository;
use crate::blob::{Arrival, BlobSource};
use crate::credential::{Credential, Sources};
use crate::format::FormatError;
use crate::format::manifest::{Descriptor, IMAGE_INDEX, IMAGE_MANIFEST};
use crate::observer::Observer;
use crate::{Access, Client, ClientOptions, Digest, Error, Selector};
use server::{Got, Reply, Server};

const MANIFEST: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

fn client(credentials: Option<(&str, Credential)>) -> (Client, Arc<Notes>) {
    let explicit = credentials.map(|(host, credential)| (host.to_owned(), credential));
    let options = ClientOptions {
        credentials: Sources { explicit, ..Sources::default() },
        timeout: Duration::from_millis(800),
        ..ClientOptions::default()
    };
    let notes = Arc::new(Notes::default());
    (Client::new(options, notes.clone()), notes)
}

fn repository(server: &Server, access: Access) -> Repository {
    Repository::new(client(None).0, &server.host, "org/app", access)
}

fn with_password(server: &Server, access: Access) -> (Repository, Arc<Notes>) {
    let credential = Credential::Password { username: "alice".into(), password: "secret".into() };
    let (client, notes) = client(Some((&server.host, credential)));
    (Repository::new(client, &server.host, "org/app", access), notes)
}

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

fn tag() -> Selector {
    Selector::Tag("1".into())
}

fn manifest() -> Reply {
    Reply::new(200).with("content-type", IMAGE_MANIFEST).body(MANIFEST)
}

static MANIFEST_BYTES: Bytes = Bytes::from_static(MANIFEST);

/// A registry that requires a bearer token from its `/token`.
fn bearer(got: &Got, good: &str, inner: impl Fn(&Got) -> Reply) -> Reply {
    let host = got.header("host").unwrap_or_default();
    if got.header("authorization") == Some(&format!("Bearer {good}")) {
        return inner(got);
    }
    let challenge =
        format!("Bearer realm=\"http://{host}/token\",service=\"s\",scope=\"repository:org/app:pull\"");
    Reply::new(401).with("www-authenticate", challenge)
}

#[test]
fn a_token_is_fetched_once_for_all_that_is_wanted() {
    let server = Server::start(|got, _| {
        if got.path.starts_with("/token") {
            return Reply::new(200).body(&br#"{"token":"t","expires_in":300}"#[..]);
        }
        bearer(got, "t", |_| manifest())
    });
    let (repository, _) = with_password(&server, Access::Push);
    run(async {
        repository.manifest(&tag()).await.unwrap();
        repository.manifest(&tag()).await.unwrap();
    });
    insta::assert_snapshot!(server.log().join("\n"), @r"
    GET /v2/org/app/manifests/1
    GET /token?service=s&scope=repository%3Aorg%2Fapp%3Apull%2Cpush
    GET /v2/org/app/manifests/1
    GET /v2/org/app/manifests/1
    ");
    assert_eq!(server.seen()[1].header("authorization"), Some("Basic YWxpY2U6c2VjcmV0"));
}

#[test]
fn an_expired_login_does_not_hide_what_is_public() {
    let server = Server::start(|got, _| {
        if got.path.starts_with("/token") {
            return match got.header("authorization") {
                Some(_) => Reply::new(401),
                None => Reply::new(200).body(&br#"{"access_token":"anonymous"}"#[..]),
            };
        }
        bearer(got, "anonymous", |_| manifest())
    });
    let (repository, notes) = with_password(&server, Access::Pull);
    run(repository.manifest(&tag())).unwrap();
    let notes = notes.0.lock().unwrap().join("\n").replace(&server.host, "HOST");
    insta::assert_snapshot!(notes, @"HOST refused the credentials from the command line: continuing without them");
    let (repository, _) = with_password(&server, Access::Push);
    assert!(matches!(run(repository.manifest(&tag())), Err(Error::Unauthorized { .. })));
}

#[test]
fn an_identity_token_is_exchanged_by_a_refresh_grant() {
    let server = Server::start(|got, _| {
        if got.path.starts_with("/token") {
            let good =
                got.method == "POST" && String::from_utf8_lossy(&got.body).contains("refresh_token=identity");
            return if good {
                Reply::new(200).body(&br#"{"access_token":"t"}"#[..])
            } else {
                Reply::new(400)
            };
        }
        bearer(got, "t", |_| manifest())
    });
    let (client, _) = client(Some((&server.host, Credential::Identity("identity".into()))));
    run(Repository::new(client, &server.host, "org/app", Access::Pull).manifest(&tag())).unwrap();
}

#[test]
fn a_login_that_ends_in_the_middle_of_a_push_is_renewed() {
    let server = Server::start(|got, before| {
        if got.path.starts_with("/token") {
            // The first token is valid until the blob itself is sent.
            let token = if before < 3 { "one" } else { "two" };
            return Reply::new(200).body(format!("{{\"token\":\"{token}\"}}"));
        }
        let good = if before < 4 { "one" } else { "two" };
        bearer(got, good, |got| match got.method.as_str() {
            "HEAD" => Reply::new(404),
            "POST" => Reply::new(202).with("location", "/v2/org/app/blobs/uploads/1"),
            _ => Reply::new(201),
        })
    });
    let (repository, _) = with_password(&server, Access::Push);
    let blob = Descriptor::of("x", b"blob");
    let arrival = run(repository.push_blob(&blob, &BlobSource::Bytes(Bytes::from_static(b"blob")))).unwrap();
    assert_eq!(arrival, Arrival::Sent);
    let last = server.seen().pop().unwrap();
    assert_eq!((last.method.as_str(), last.body.as_slice()), ("PUT", &b"blob"[..]));
    assert_eq!(last.header("authorization"), Some("Bearer two"));
}

#[test]
fn another_host_is_never_sent_the_login() {
    let other = Server::start(|got, _| match got.method.as_str() {
        "PUT" => Reply::new(201),
        _ => Reply::new(200).body(&b"blob"[..]),
    });
    let elsewhere = format!("http://{}/x", other.host);
    let server = Server::start(move |got, _| {
        if got.header("authorization").is_none() {
            return Reply::new(401).with("www-authenticate", "Basic realm=\"r\"");
        }
        match (got.method.as_str(), got.path.contains("/blobs/uploads")) {
            ("HEAD", _) => Reply::new(404),
            ("POST", true) => Reply::new(202).with("location", elsewhere.clone()),
            _ => Reply::new(307).with("location", elsewhere.clone()),
        }
    });
    let (repository, _) = with_password(&server, Access::Push);
    let blob = Descriptor::of("x", b"blob");
    run(async {
        assert_eq!(repository.blob(&blob, 100).await.unwrap(), &b"blob"[..]);
        repository.push_blob(&blob, &BlobSource::Bytes(Bytes::from_static(b"blob"))).await.unwrap();
    });
    assert_eq!(other.seen().len(), 2);
    assert!(other.seen().iter().all(|got| got.header("authorization").is_none()));
    assert!(server.seen().iter().any(|got| got.header("authorization").is_some()));
}

#[test]
fn a_redirect_that_never_ends_is_one_clear_error() {
    let server =
        Server::start(|got, before| Reply::new(302).with("location", format!("{}?{before}", got.path)));
    let error = run(repository(&server, Access::Pull).manifest(&tag())).unwrap_err();
    assert!(error.to_string().contains("more than 5 redirects"), "{error}");
    assert_eq!(server.seen().len(), 6);
}

#[test]
fn resets_truncated_bodies_and_faults_are_repeated() {
    let server = Server::start(|_, before| match before {
        0 => Reply::Reset,
        1 => Reply::CutShort(MANIFEST.to_vec()),
        2 => Reply::new(503).with("retry-after", "0"),
        _ => manifest(),
    });
    let resolved = run(repository(&server, Access::Pull).manifest(&tag())).unwrap();
    assert_eq!(resolved.bytes, MANIFEST);
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn what_must_not_be_done_twice_is_not_repeated() {
    let server =
        Server::start(
            |_, before| if before == 0 { Reply::new(429).with("retry-after", "0") } else { Reply::new(500) },
        );
    let descriptor = Descriptor::of(IMAGE_MANIFEST, MANIFEST);
    let repository = repository(&server, Access::Push);
    let put = repository.put_fallback_index("sha256-1", &descriptor, &MANIFEST_BYTES);
    assert!(matches!(run(put), Err(Error::Status { status: 500, .. })));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_pause_longer_than_the_bound_is_reported_and_not_waited_for() {
    let server = Server::start(|_, _| Reply::new(429).with("retry-after", "3600"));
    let error = run(repository(&server, Access::Pull).manifest(&tag())).unwrap_err();
    let shown = error.to_string().replace(&server.host, "HOST");
    insta::assert_snapshot!(shown, @"could not read HOST/org/app:1: HOST answered 429 (retry after: 3600)");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let server = Server::start(|_, _| Reply::Hang(Duration::from_secs(5)));
    let error = run(repository(&server, Access::Pull).manifest(&tag())).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
}

#[test]
fn lies_and_floods_are_refused() {
    let server = Server::start(|got, _| {
        if got.path.ends_with("/flood") {
            return Reply::new(200).with("content-length", "99999999999");
        }
        manifest().with("docker-content-digest", Digest::of(b"else").to_string())
    });
    let repository = repository(&server, Access::Pull);
    let manifest = |selector: Selector| run(repository.manifest(&selector)).unwrap_err();
    assert!(matches!(manifest(tag()), Error::Format(FormatError::DigestMismatch { .. })));
    assert!(matches!(
        manifest(Selector::Digest(Digest::of(b"x"))),
        Error::Format(FormatError::DigestMismatch { .. })
    ));
    assert!(matches!(manifest(Selector::Tag("flood".into())), Error::TooLarge { .. }));
}

#[test]
fn answers_without_a_referrers_api_mean_the_fallback_tag() {
    let html = Reply::new(200).with("content-type", "text/html").body(&b"<html>"[..]);
    let json = Reply::new(200).with("content-type", "application/json").body(&br#"{"manifests":[]}"#[..]);
    for reply in [Reply::new(404), Reply::new(405), Reply::new(400), Reply::new(501), html, json] {
        let server = Server::start(move |_, _| reply.clone());
        let found = run(repository(&server, Access::Pull).referrers_api(&Digest::of(b"x"), None)).unwrap();
        assert!(found.is_none());
        assert_eq!(server.seen().len(), 1);
    }
    for status in [401, 403, 418, 500] {
        let server = Server::start(move |_, _| Reply::new(status));
        let found = run(repository(&server, Access::Pull).referrers_api(&Digest::of(b"x"), None));
        assert!(found.is_err(), "{status}");
    }
}

#[test]
fn pages_are_followed_until_they_end_or_repeat_but_not_for_ever() {
    let page = |entry: &str, next: Option<&str>| {
        let body =
            serde_json::json!({"schemaVersion": 2, "manifests": [Descriptor::of("m", entry.as_bytes())]});
        let reply = Reply::new(200).with("content-type", IMAGE_INDEX).body(body.to_string());
        match next {
            Some(next) => reply.with("link", format!("<{next}>; rel=\"next\"")),
            None => reply,
        }
    };
    let subject = Digest::of(b"x");
    let found = |server: &Server| run(repository(server, Access::Pull).referrers_api(&subject, None));
    let server = Server::start(move |got, _| match got.path.split_once("page=") {
        None => page("a", Some("?page=2")),
        Some((_, "2")) => page("b", Some("?page=3")),
        _ => page("c", Some("?page=2")),
    });
    assert_eq!(found(&server).unwrap().unwrap().len(), 3);
    assert_eq!(server.seen().len(), 3);
    let server = Server::start(move |_, before| page("a", Some(&format!("?page={before}"))));
    let error = found(&server).unwrap_err();
    assert!(error.to_string().contains("more than 100 pages"), "{error}");
}
