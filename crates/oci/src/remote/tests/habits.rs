//! Behaviour of the big services, as reported by their users: their requirements, redirects and messages.

use std::time::Instant;

use super::*;
use crate::error::chain;
use crate::referrers::{self, NewReferrer};

fn digest() -> Digest {
    Digest::of(MANIFEST)
}

fn entry() -> Descriptor {
    let mut entry = Descriptor::of(IMAGE_MANIFEST, b"artifact");
    entry.artifact_type = Some("a/b".into());
    entry
}

/// An index of one referrer.
fn index() -> Reply {
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [entry()]});
    Reply::new(200).with("content-type", IMAGE_INDEX).body(index.to_string())
}

/// Returns the message of a failure, with its hint.
fn words(error: &Error, server: &Server) -> String {
    let hint = error.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
    format!("{}{hint}", chain(error)).replace(&server.host, "HOST")
}

#[test]
fn every_write_states_its_length() {
    let server = Server::start(|got, _| match got.method.as_str() {
        "HEAD" => Reply::new(404),
        "POST" if got.path.ends_with("/uploads/") => {
            Reply::new(307).with("location", "/v2/org/app/blobs/uploads/there")
        }
        "POST" => Reply::new(202).with("location", "/v2/org/app/blobs/uploads/1"),
        _ => Reply::new(201),
    });
    let repository = repository(&server, Access::Push);
    for content in [&b""[..], b"content"] {
        let descriptor = Descriptor::of("a/b", content);
        let source = BlobSource::Bytes(Bytes::from_static(content));
        run(repository.push_blob(&descriptor, &source)).unwrap();
    }
    let lengths: Vec<String> = server
        .seen()
        .iter()
        .filter(|got| got.method != "HEAD")
        .map(|got| format!("{} {}", got.method, got.header("content-length").unwrap_or("none")))
        .collect();
    assert_eq!(lengths, ["POST 0", "POST 0", "PUT 0", "POST 0", "POST 0", "PUT 7"]);
}

/// Starts a registry whose referrers are at `location`. Its fallback tag lists one.
fn sends_to(status: u16, location: &str) -> Server {
    let location = location.to_owned();
    Server::start(move |got, _| {
        if got.path.contains("/referrers/") {
            Reply::new(status).with("location", location.clone())
        } else if got.path.contains("/manifests/sha256-") {
            index()
        } else {
            Reply::new(404)
        }
    })
}

#[test]
fn a_list_of_referrers_that_lies_elsewhere_and_fails_there_is_no_list() {
    let fails: [fn() -> Reply; 8] = [
        || Reply::new(401).with("www-authenticate", "Basic realm=\"x\""),
        || Reply::new(403),
        || Reply::new(404),
        || Reply::new(429).with("retry-after", "55"),
        || Reply::new(500),
        || Reply::new(503).with("retry-after", "2"),
        || Reply::Reset,
        || Reply::new(302).with("location", "ftp://x/"),
    ];
    for (number, reply) in fails.into_iter().enumerate() {
        let elsewhere = Server::start(move |_, _| reply());
        let server = sends_to([303, 307, 302, 301][number % 4], &format!("http://{}/list", elsewhere.host));
        let (repository, _) = with_password(&server, Access::Pull);
        let start = Instant::now();
        let found = run(referrers::list(&repository, &digest(), None)).unwrap();
        assert_eq!(found.len(), 1, "{number}");
        assert!(start.elapsed() < Duration::from_secs(1), "{number}: {:?}", start.elapsed());
        let seen = elsewhere.seen();
        assert_eq!(seen.len(), 1, "{number}: asked again");
        assert!(seen[0].header("authorization").is_none());
    }
    // One address without a listener, and one whose server never responds.
    let silent = Server::start(|_, _| Reply::Hang(Duration::from_secs(8)));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for location in
        [format!("http://{closed}/list"), format!("http://{}/list", silent.host), "http://[".into()]
    {
        let server = sends_to(303, &location);
        let found = run(referrers::list(&repository(&server, Access::Pull), &digest(), None));
        assert_eq!(found.unwrap().len(), 1, "{location}");
    }
}

#[test]
fn a_list_of_referrers_that_lies_elsewhere_is_read_there() {
    let elsewhere = Server::start(|_, _| index());
    let server = sends_to(303, &format!("http://{}/list", elsewhere.host));
    let found = run(repository(&server, Access::Pull).referrers_api(&digest(), None)).unwrap();
    assert_eq!(found.unwrap().len(), 1);
}

#[test]
fn what_the_registry_itself_refuses_is_never_an_empty_list() {
    for status in [401, 403, 429, 500] {
        let server = Server::start(move |got, _| match got.path.as_str() {
            "/v2/org/app/there" => Reply::new(status),
            path if path.contains("/referrers/") => Reply::new(303).with("location", "/v2/org/app/there"),
            _ => index(),
        });
        let mut options = client(None).0.options().clone();
        options.retries = 0;
        let client = Client::new(options, Arc::new(Notes::default()));
        let repository = Repository::new(client, &server.host, "org/app", Access::Pull);
        let error = run(referrers::list(&repository, &digest(), None)).unwrap_err();
        assert!(words(&error, &server).contains(&status.to_string()), "{error}");
    }
}

#[test]
fn a_wait_is_said_with_its_reason_and_all_waits_are_bounded() {
    let server = Server::start(|_, before| match before {
        0 => Reply::new(429).with("retry-after", "2"),
        _ => manifest(),
    });
    let (client, notes) = client(None);
    let repository = Repository::new(client.clone(), &server.host, "org/app", Access::Pull);
    run(repository.manifest(&tag())).unwrap();
    let said = notes.0.lock().unwrap().join("\n").replace(&server.host, "HOST");
    insta::assert_snapshot!(said, @"HOST answered 429: waiting 2 s");
    assert!(!run(client.wait(Duration::from_secs(299), "never")));
}

#[test]
fn a_tag_that_must_not_change_is_told_in_the_registrys_words() {
    for (status, message, writes) in
        [(412, "tag is configured as immutable", 1), (412, "no", 4), (409, "no", 4), (400, "TAG_INVALID", 1)]
    {
        let body = format!(r#"{{"errors":[{{"code":"PRECONDITION","message":"{message}"}}]}}"#);
        let server = Server::start(move |got, _| match got.method.as_str() {
            "PUT" => Reply::new(status).body(body.clone()),
            _ => Reply::new(404),
        });
        let repository = repository(&server, Access::Push);
        let subject = Descriptor::of(IMAGE_MANIFEST, MANIFEST);
        let (entry, bytes) = (entry(), MANIFEST_BYTES.clone());
        let pushed = NewReferrer { subject: &subject, entry: &entry, bytes: &bytes, announced: false };
        let error = run(referrers::ensure_listed(&repository, pushed)).unwrap_err();
        let text = words(&error, &server);
        assert!(text.contains(message) && !text.contains("other writers"), "{text}");
        assert_eq!(server.seen().iter().filter(|got| got.method == "PUT").count(), writes, "{text}");
    }
}

#[test]
fn a_refusal_is_told_in_the_registrys_words_with_what_can_be_done() {
    let said = |status: u16, header: Option<(&'static str, &'static str)>, body: &'static str| {
        let server = Server::start(move |_, _| {
            let reply = Reply::new(status).body(body);
            header.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
        });
        let repository = repository(&server, Access::Push);
        let descriptor = Descriptor::of(IMAGE_MANIFEST, MANIFEST);
        let read = run(repository.manifest(&tag())).unwrap_err();
        let write = run(repository.put_manifest(Some("1"), &descriptor, &MANIFEST_BYTES)).unwrap_err();
        format!("{}\n{}", words(&read, &server), words(&write, &server))
    };
    insta::assert_snapshot!(said(403, None, r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#), @r"
    could not read HOST/org/app:1: HOST denied it: DENIED: denied (403)
    log in with `podman login HOST` or `docker login HOST`, or use --username and --password-stdin
    could not write HOST/org/app:1: HOST denied it: DENIED: denied (403)
    log in with `podman login HOST` or `docker login HOST`, or use --username and --password-stdin
    ");
    insta::assert_snapshot!(said(401, None, "Authentication is required"), @r"
    could not read HOST/org/app:1: HOST refused it: it offers no way to log in: Authentication is required (401)
    check that the address is that of a registry, not of a proxy or web site in front of it
    could not write HOST/org/app:1: HOST refused it: it offers no way to log in: Authentication is required (401)
    check that the address is that of a registry, not of a proxy or web site in front of it
    ");
    insta::assert_snapshot!(said(401, Some(("www-authenticate", "Negotiate")), ""), @r"
    could not read HOST/org/app:1: HOST refused it: it requires a login by negotiate, but only basic and bearer are supported (401)
    check that the address is that of a registry, not of a proxy or web site in front of it
    could not write HOST/org/app:1: HOST refused it: it requires a login by negotiate, but only basic and bearer are supported (401)
    check that the address is that of a registry, not of a proxy or web site in front of it
    ");
    insta::assert_snapshot!(said(405, None, ""), @r"
    could not read HOST/org/app:1: HOST answered 405
    could not write HOST/org/app:1: HOST answered 405
    the registry is read-only: it may be a mirror or a cache
    ");
    insta::assert_snapshot!(said(404, None, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}"#), @r"
    the repository HOST/org/app was not found
    check the spelling of the repository and the tag, and log in if the repository is private
    could not write HOST/org/app:1: HOST answered 404: NAME_UNKNOWN: repository name not known
    the registry may require that you create the repository first
    ");
    insta::assert_snapshot!(said(404, None, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#), @r"
    HOST/org/app:1 was not found
    check the spelling of the repository and the tag, and log in if the repository is private
    could not write HOST/org/app:1: HOST answered 404: MANIFEST_UNKNOWN: manifest unknown
    ");
    insta::assert_snapshot!(said(413, Some(("content-type", "text/html")), "<html><head><title>413 Request Entity Too Large</title></head></html>"), @r#"
    could not read HOST/org/app:1: HOST answered 413: an HTML page, "413 Request Entity Too Large"
    the registry, or a proxy in front of it, limits the size of requests
    could not write HOST/org/app:1: HOST answered 413: an HTML page, "413 Request Entity Too Large"
    the registry, or a proxy in front of it, limits the size of requests
    "#);
    insta::assert_snapshot!(said(507, None, r#"{"errors":[{"code":"DENIED","message":"quota","detail":{"free":0}}]}"#), @r"
    could not read HOST/org/app:1: HOST answered 507: DENIED: quota
    the registry has no space left
    could not write HOST/org/app:1: HOST answered 507: DENIED: quota
    the registry has no space left
    ");
}

#[test]
fn a_scope_without_a_colon_is_sent_back_as_it_came() {
    let server = Server::start(|got, _| {
        let host = got.header("host").unwrap_or_default();
        match got.header("authorization") {
            _ if got.path.starts_with("/token") => {
                Reply::new(200).body(&br#"{"token":"","access_token":"t","expires_in":"300"}"#[..])
            }
            Some("Bearer t") => manifest(),
            _ => Reply::new(401).with(
                "www-authenticate",
                format!("Bearer realm=\"http://{host}/token/\",service=\"public.ecr.aws\",scope=\"aws\""),
            ),
        }
    });
    run(repository(&server, Access::Pull).manifest(&tag())).unwrap();
    let asked = server.log().into_iter().find(|line| line.contains("/token")).unwrap();
    assert!(asked.ends_with("&scope=aws") || asked.contains("&scope=aws&"), "{asked}");
}

#[test]
fn a_blob_of_another_repository_is_taken_over_or_sent() {
    for (status, arrival) in [(201, Arrival::Mounted), (202, Arrival::Sent), (400, Arrival::Sent)] {
        let server = Server::start(move |got, _| {
            if got.path.starts_with("/token") {
                return Reply::new(200).body(&br#"{"token":"t"}"#[..]);
            }
            bearer(got, "t", |got| match (got.method.as_str(), got.path.contains("/org/source/")) {
                ("GET", true) => Reply::new(200).body(&b"blob"[..]),
                ("POST", _) if got.path.contains("?mount=") => {
                    Reply::new(status).with("location", "/v2/org/app/blobs/uploads/1")
                }
                ("POST", _) => Reply::new(202).with("location", "/v2/org/app/blobs/uploads/2"),
                ("PUT", _) => Reply::new(201),
                _ => Reply::new(404),
            })
        });
        let (client, _) = client(None);
        let source = Repository::new(client.clone(), &server.host, "org/source", Access::Pull);
        let target = Repository::new(client, &server.host, "org/app", Access::Push).mounting_from(&source);
        let blob = Descriptor::of("a/b", b"blob");
        let stored = BlobSource::stored(crate::Store::Remote(source));
        assert_eq!(run(target.push_blob(&blob, &stored)).unwrap(), arrival, "{status}");
        let log = server.log().join("\n");
        let asked = format!("?mount={}&from=org%2Fsource", blob.digest.as_str().replace(':', "%3A"));
        assert!(log.contains(&asked), "{log}");
        // One token for both repositories.
        let scopes = "scope=repository%3Aorg%2Fapp%3Apull%2Cpush&scope=repository%3Aorg%2Fsource%3Apull";
        assert!(log.contains(scopes), "{log}");
    }
}

#[test]
fn a_link_without_brackets_leads_to_the_next_page() {
    let server = Server::start(|got, _| {
        if got.path.contains("last=a") {
            return Reply::new(200).body(r#"{"tags":["b"]}"#);
        }
        let next = "/v2/org/app/tags/list?last=a&n=1; rel=\"next\"";
        Reply::new(200).with("link", next).body(r#"{"tags":["a"]}"#)
    });
    assert_eq!(run(repository(&server, Access::Pull).tags()).unwrap(), ["a", "b"]);
}
