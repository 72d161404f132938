//! Blobs that are streamed from one place to another, and what interrupts them.

use super::super::super::{PackOptions, Store, layout::Layout, pack, push};
use super::*;

/// A layout with a blob, as a source that is streamed.
fn streamed(folder: &std::path::Path) -> (Descriptor, BlobSource) {
    let source = Store::Layout(Layout::new(folder));
    let packed = pack(b"{}", PackOptions::default()).unwrap();
    run(push(&source, Some("1"), &packed)).unwrap();
    (packed.blobs[0].0.clone(), BlobSource::Stored(source))
}

#[test]
fn a_streamed_upload_waits_out_a_rate_limit_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (blob, source) = streamed(folder.path());
    for (wait, sent) in [("0", true), ("3600", false)] {
        let server = Server::start(move |got, before| match got.method.as_str() {
            "HEAD" => Reply::new(404),
            "POST" => Reply::new(202).with("location", "/upload"),
            _ if before < 3 => Reply::new(429).with("retry-after", wait),
            _ => Reply::new(201),
        });
        let outcome = run(repository(&server, Access::Push).push_blob(&blob, &source));
        assert_eq!(outcome.is_ok(), sent, "{outcome:?}");
        assert_eq!(server.seen().len(), if sent { 6 } else { 3 });
    }
}

#[test]
fn a_blob_that_comes_drop_by_drop_is_given_up() {
    let content = vec![b'x'; 400];
    let sent = content.clone();
    let server = Server::start(move |_, _| Reply::Drops(sent.clone(), Duration::from_millis(50)));
    let blob = Descriptor::of("x", &content);
    let error = run(async {
        let reader = repository(&server, Access::Pull).open_blob(&blob).await.unwrap();
        super::super::super::blob::collect(reader, "a blob", 1000).await.unwrap_err()
    });
    assert!(matches!(error, Error::TooSlow { .. }), "{error}");
}

#[test]
fn a_blob_that_breaks_off_on_its_way_into_a_layout_is_read_again() {
    let server = Server::start(|_, before| match before {
        0 => Reply::CutShort(b"bl".to_vec()),
        _ => Reply::new(200).body(&b"blob"[..]),
    });
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(&folder.path().join("layout"));
    let blob = Descriptor::of("x", b"blob");
    let source = BlobSource::Stored(Store::Remote(repository(&server, Access::Pull)));
    assert!(run(layout.push_blob(&blob, &source)).unwrap());
    assert_eq!(server.seen().len(), 2);
}
