//! Tests of finding and attaching with registries that keep manifests but differ in how they list referrers.

use std::collections::HashMap;

use super::*;
use crate::cache::Cache;
use crate::find::{FindOptions, Level, find};
use crate::{Location, PackOptions, Platform, Store, attach, pack};

/// How a simulated registry treats referrers.
#[derive(Clone, Copy, Default)]
struct Habits {
    /// It requires a bearer token.
    bearer: bool,
    /// It returns `OCI-Subject`, but has no API.
    announces: bool,
}

/// A registry that keeps manifests in memory and discards blobs.
fn registry(habits: Habits) -> Server {
    let manifests: Mutex<HashMap<String, Vec<u8>>> = Mutex::default();
    let serve = move |got: &Got| {
        let path = got.path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut manifests = manifests.lock().unwrap();
        match (got.method.as_str(), path.contains("/manifests/"), path.contains("/blobs/")) {
            ("PUT", true, _) => {
                manifests.insert(Digest::of(&got.body).to_string(), got.body.clone());
                manifests.insert(name, got.body.clone());
                let reply = Reply::new(201);
                if habits.announces { reply.with("oci-subject", "sha256:0") } else { reply }
            }
            ("HEAD" | "GET", true, _) => match manifests.get(&name) {
                Some(bytes) => Reply::new(200)
                    .with("docker-content-digest", Digest::of(bytes).to_string())
                    .body(bytes.clone()),
                None => Reply::new(404),
            },
            ("HEAD", _, true) => Reply::new(404),
            ("POST", _, true) => Reply::new(202).with("location", "/v2/org/app/blobs/uploads/1"),
            ("PUT", _, true) => Reply::new(201),
            _ => Reply::new(404),
        }
    };
    Server::start(move |got, _| {
        if got.path.starts_with("/token") {
            return Reply::new(200).body(&br#"{"token":"t"}"#[..]);
        }
        if habits.bearer { bearer(got, "t", &serve) } else { serve(got) }
    })
}

/// Pushes an index of two platforms, and attaches a document to the index.
fn prepared(habits: Habits) -> (Server, Descriptor) {
    let server = registry(habits);
    let store = Store::Remote(repository(&server, Access::Push));
    let images = ["amd64", "arm64"].map(|architecture| {
        let image = serde_json::json!({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST,
            "config": Descriptor::of("application/vnd.oci.image.config.v1+json", architecture.as_bytes()),
            "layers": [Descriptor::of("application/vnd.oci.image.layer.v1.tar", b"layer")]});
        let mut entry = Descriptor::of(IMAGE_MANIFEST, image.to_string().as_bytes());
        entry.platform = Some(Platform::parse(&format!("linux/{architecture}")).unwrap());
        entry
    });
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": images});
    let bytes = Bytes::from(index.to_string());
    let subject = Descriptor::of(IMAGE_INDEX, &bytes);
    run(async {
        store.put_manifest(crate::ManifestName::Tag("1"), &subject, &bytes).await.unwrap();
        let options = PackOptions { subject: Some(subject.clone()), ..PackOptions::default() };
        let packed = pack(br#"{"version":"1.0.0"}"#, options).unwrap();
        let attached = attach(&store, &subject, &packed).await.unwrap();
        assert!(attached.sent);
        let again = attach(&store, &subject, &packed).await.unwrap();
        assert!(!again.sent);
    });
    (server, subject)
}

#[test]
fn a_document_attached_to_an_index_is_found_within_five_requests() {
    for (bearer, most) in [(false, 5), (true, 7)] {
        let (server, subject) = prepared(Habits { bearer, announces: false });
        let before = server.seen().len();
        let location = Location::parse(&format!("{}/org/app:1", server.host)).unwrap();
        let (client, notes) = client(None);
        let store = Store::new(&client, &location.place, Access::Pull);
        let options = FindOptions { platform: Platform::host(), platform_named: false, offline: false };
        let found = run(find(&store, &Cache::new(None, notes), &location, &options)).unwrap();
        assert_eq!(found.specification, &br#"{"version":"1.0.0"}"#[..]);
        assert_eq!((found.level, found.candidates), (Level::Index, 1));
        assert_eq!(found.source.digest, subject.digest);
        let log = server.log().split_off(before);
        assert!(log.len() <= most, "{log:#?}");
        assert!(!log.iter().any(|line| line.contains("/blobs/")), "{log:#?}");
    }
}

#[test]
fn an_announcement_that_is_not_kept_loses_nothing() {
    let (server, subject) = prepared(Habits { bearer: false, announces: true });
    let repository = repository(&server, Access::Pull);
    let found = run(crate::referrers::list(&repository, &subject.digest, None)).unwrap();
    assert_eq!(found.len(), 1);
}

#[test]
fn what_is_in_the_cache_needs_no_network() {
    let (server, _) = prepared(Habits::default());
    let directory = tempfile::tempdir().unwrap();
    let location = Location::parse(&format!("{}/org/app:1", server.host)).unwrap();
    let (client, notes) = client(None);
    let cache = Cache::new(Some(directory.path().to_owned()), notes);
    let store = Store::new(&client, &location.place, Access::Pull);
    let options = |offline| FindOptions { platform: Platform::host(), platform_named: false, offline };
    let found = run(find(&store, &cache, &location, &options(false))).unwrap();
    let before = server.seen().len();
    run(find(&store, &cache, &location, &options(true))).unwrap();
    let by_digest = location.with_digest(&found.artifact.descriptor.digest);
    run(find(&store, &cache, &by_digest, &options(false))).unwrap();
    assert_eq!(server.seen().len(), before);
    let other = Location::parse(&format!("{}/org/app:2", server.host)).unwrap();
    let error = run(find(&store, &cache, &other, &options(true))).unwrap_err();
    assert!(matches!(error, Error::Offline { .. }), "{error}");
}

#[test]
fn an_artifact_that_the_api_never_lists_is_a_failure() {
    let server = Server::start(|got, _| match (got.method.as_str(), got.path.contains("/referrers/")) {
        (_, true) => Reply::new(200)
            .with("content-type", IMAGE_INDEX)
            .body(&br#"{"schemaVersion":2,"manifests":[]}"#[..]),
        ("PUT", _) => Reply::new(201),
        ("POST", _) => Reply::new(202).with("location", "/v2/org/app/blobs/uploads/1"),
        // Its fallback tag lists artifacts of other clients, and no write has an effect.
        _ => Reply::new(404),
    });
    let store = Store::Remote(repository(&server, Access::Push));
    let subject = Descriptor::of(IMAGE_MANIFEST, MANIFEST);
    let options = PackOptions { subject: Some(subject.clone()), ..PackOptions::default() };
    let packed = pack(br#"{"version":"1.0.0"}"#, options).unwrap();
    let task =
        async { tokio::time::timeout(Duration::from_secs(2), attach(&store, &subject, &packed)).await };
    // The attach is still trying or has failed. It never succeeds.
    assert!(!matches!(run(task), Ok(Ok(_))));
}
