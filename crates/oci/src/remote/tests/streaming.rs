//! Tests of blobs that are streamed between places, with interruptions.

use super::*;
use crate::{PackOptions, Store, layout::Layout, pack, push};

/// A layout with a blob, as the source of a stream.
fn streamed(directory: &std::path::Path) -> (Descriptor, BlobSource) {
    let source = Store::Layout(Layout::new(directory));
    let packed = pack(b"{}", PackOptions::default()).unwrap();
    run(push(&source, Some("1"), &packed, false)).unwrap();
    (packed.blobs[0].0.clone(), BlobSource::stored(source))
}

#[test]
fn a_streamed_upload_waits_out_a_rate_limit_but_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (blob, source) = streamed(directory.path());
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
        crate::blob::collect(reader, "a blob", 1000).await.unwrap_err()
    });
    assert!(matches!(error, Error::TooSlow { .. }), "{error}");
}

#[test]
fn a_blob_that_breaks_off_on_its_way_into_a_layout_is_read_again() {
    let server = Server::start(|_, before| match before {
        0 => Reply::CutShort(b"bl".to_vec()),
        _ => Reply::new(200).body(&b"blob"[..]),
    });
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(&directory.path().join("layout"));
    let blob = Descriptor::of("x", b"blob");
    let source = BlobSource::stored(Store::Remote(repository(&server, Access::Pull)));
    assert!(run(layout.push_blob(&blob, &source)).unwrap());
    assert_eq!(server.seen().len(), 2);
}

/// Reads a blob of ten bytes from a server that breaks off after four. The second response is given.
fn broken_download(second: impl Fn(&Got) -> Reply + Send + Sync + 'static) -> (String, usize) {
    let server = Server::start(move |got, before| match before {
        0 => Reply::CutShort(b"0123".to_vec()),
        _ => second(got),
    });
    let outcome = run(async {
        let blob = Descriptor::of("x", b"0123456789");
        let stream = repository(&server, Access::Pull).open_blob(&blob).await?;
        crate::blob::collect(stream, "blob", 100).await
    });
    let text =
        outcome.map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    (text, server.seen().len())
}

#[test]
fn a_download_that_breaks_goes_on_where_it_broke() {
    let rest = |got: &Got| match got.header("range") {
        Some("bytes=4-") => Reply::new(206).with("content-range", "bytes 4-9/10").body(&b"456789"[..]),
        _ => Reply::new(500),
    };
    assert_eq!(broken_download(rest), ("0123456789".to_owned(), 2));
    // A server without range requests starts again.
    assert_eq!(broken_download(|_| Reply::new(200).body(&b"0123456789"[..])), ("0123456789".to_owned(), 2));
}

#[test]
fn another_part_than_was_asked_for_and_endless_breaks_are_errors() {
    let other = |_: &Got| Reply::new(206).with("content-range", "bytes 6-9/10").body(&b"6789"[..]);
    let (error, _) = broken_download(other);
    assert!(error.ends_with("is malformed: it is not the requested part"), "{error}");
    let unclear = |_: &Got| Reply::new(206).body(&b"456789"[..]);
    assert!(broken_download(unclear).0.ends_with("is malformed: its range is invalid"));
    let (error, requests) = broken_download(|_| Reply::CutShort(b"0123".to_vec()));
    assert!(error.contains("no response from") && requests == 4, "{error} after {requests}");
}
