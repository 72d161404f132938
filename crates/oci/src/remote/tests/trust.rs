//! Tests of places that must not receive credentials, and of faulty registries.

use super::*;
use crate::{Cache, FindOptions, Location, PackOptions, Platform, Silent, Store, copy, find, layout};

/// A server at another host that requires a login and accepts any.
fn stranger() -> Server {
    Server::start(|got, _| {
        let host = got.header("host").unwrap_or_default();
        Reply::new(401)
            .with("www-authenticate", format!("Bearer realm=\"http://{host}/token\",service=\"s\""))
    })
}

#[test]
fn a_refresh_token_is_not_sent_on_by_a_redirect() {
    for status in [307, 308] {
        let other = stranger();
        let elsewhere = format!("http://{}/token", other.host);
        let server = Server::start(move |got, _| {
            if got.path.starts_with("/token") {
                return Reply::new(status).with("location", elsewhere.clone());
            }
            bearer(got, "t", |_| manifest())
        });
        let (client, _) = client(Some((&server.host, Credential::Identity("identity".into()))));
        let error = run(Repository::new(client, &server.host, "org/app", Access::Pull).manifest(&tag()));
        assert!(matches!(error, Err(Error::Redirect { .. })), "{error:?}");
        assert!(other.seen().is_empty());
    }
}

#[test]
fn a_stranger_that_a_blob_was_redirected_to_gets_no_login() {
    let other = stranger();
    let elsewhere = format!("http://{}/x", other.host);
    let server = Server::start(move |_, _| Reply::new(307).with("location", elsewhere.clone()));
    let (repository, _) = with_password(&server, Access::Pull);
    let blob = Descriptor::of("x", b"blob");
    let error = run(repository.open_blob(&blob)).err().unwrap();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert_eq!(other.log(), ["GET /x"]);
    assert!(other.seen().iter().all(|got| got.header("authorization").is_none()));
}

#[test]
fn a_listing_behind_a_proxy_is_read_to_its_end() {
    let server = Server::start(|got, _| {
        if got.path.ends_with("last=a") {
            return Reply::new(200).body(&br#"{"tags":["b"]}"#[..]);
        }
        let next = "<https://internal:443/v2/org/app/tags/list?last=a>; rel=\"next\"";
        let first = Reply::new(200).with("link", "</docs>; rel=\"help\"").with("link", next);
        first.body(&br#"{"tags":["a"]}"#[..])
    });
    assert_eq!(run(repository(&server, Access::Pull).tags()).unwrap(), ["a", "b"]);
}

#[test]
fn a_refused_login_names_the_registry_and_not_its_token_service() {
    let realm = Server::start(|_, _| Reply::new(401));
    let host = realm.host.clone();
    let server = Server::start(move |_, _| {
        Reply::new(401).with("www-authenticate", format!("Bearer realm=\"http://{host}/token\""))
    });
    let (repository, _) = with_password(&server, Access::Push);
    let error = run(repository.manifest(&tag())).unwrap_err();
    assert!(matches!(&error, Error::Unauthorized { host, .. } if *host == server.host), "{error}");
}

#[test]
fn a_copy_sends_again_what_the_target_lost() {
    let puts = std::sync::atomic::AtomicUsize::new(0);
    let target = Server::start(move |got, _| match got.method.as_str() {
        "HEAD" if got.path.contains("/blobs/") => Reply::new(200),
        "HEAD" => Reply::new(404),
        _ if puts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => {
            Reply::new(404).body(&br#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#[..])
        }
        _ => Reply::new(201),
    });
    let directory = tempfile::tempdir().unwrap();
    let source = Store::Layout(layout::Layout::new(directory.path()));
    let packed = crate::artifact::pack(br#"{"version":"1.0.0"}"#, PackOptions::default()).unwrap();
    run(crate::push::push(&source, Some("1"), &packed, false)).unwrap();
    let to = Store::Remote(repository(&target, Access::Push));
    run(copy::copy(&source, &tag(), &to, Some("1"), false, &Silent)).unwrap();
    let blobs = target.log().iter().filter(|line| line.contains("/blobs/")).count();
    assert_eq!(blobs, 4, "two blobs, looked for before each try: {:?}", target.log());
}

#[test]
fn what_is_no_manifest_is_named_and_not_kept() {
    let server = Server::start(|_, _| Reply::new(200).body(&b"<html>"[..]));
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(Some(directory.path().to_owned()), Arc::new(Silent));
    let location = Location::parse(&format!("{}/org/app:1", server.host)).unwrap();
    let store = Store::Remote(repository(&server, Access::Pull));
    let options = FindOptions { platform: Platform::host(), platform_named: false, offline: false };
    let error = run(find::find(&store, &cache, &location, &options)).unwrap_err();
    assert!(error.to_string().contains("/org/app:1 is malformed: it is not a manifest"), "{error}");
    assert!(cache.entries().unwrap().is_empty());
}
