//! Tests of layouts in temporary directories.

use std::fs;

use bytes::Bytes;

use super::Layout;
use crate::blob::BlobSource;
use crate::error::Error;
use crate::format::FormatError;
use crate::format::digest::Digest;
use crate::format::location::ManifestName;
use crate::format::location::Selector;
use crate::format::manifest::{Descriptor, Index, Manifest};
use crate::limit;
use crate::store::Store;
use crate::{PackOptions, attach, pack, push};

fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}

fn layout() -> (tempfile::TempDir, Layout) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(&directory.path().join("layout"));
    (directory, layout)
}

fn packed(text: &str) -> crate::Packed {
    pack(format!("{{\"version\":\"{text}\"}}").as_bytes(), PackOptions::default()).unwrap()
}

fn push_image(layout: &Layout) -> Descriptor {
    let store = Store::Layout(layout.clone());
    run(push(&store, Some("app"), &packed("image"), false)).unwrap().descriptor
}

fn attach_to(layout: &Layout, subject: &Descriptor, text: &str) -> Descriptor {
    let options = PackOptions { subject: Some(subject.clone()), ..PackOptions::default() };
    let packed = pack(format!("{{\"version\":\"{text}\"}}").as_bytes(), options).unwrap();
    run(attach(&Store::Layout(layout.clone()), subject, &packed)).unwrap().descriptor
}

#[test]
fn what_is_pushed_is_found_by_tag_by_digest_and_alone() {
    let (_directory, layout) = layout();
    let descriptor = push_image(&layout);
    for selector in [Selector::Tag("app".into()), Selector::Digest(descriptor.digest.clone()), Selector::Only]
    {
        assert_eq!(layout.manifest(&selector).unwrap().descriptor.digest, descriptor.digest);
    }
    let again = run(push(&Store::Layout(layout.clone()), Some("app"), &packed("image"), false)).unwrap();
    assert!(!again.sent);
    assert_eq!(layout.tags().unwrap(), ["app"]);
}

#[test]
fn a_referrer_is_listed_and_does_not_hide_the_only_image() {
    let (_directory, layout) = layout();
    let image = push_image(&layout);
    let referrer = attach_to(&layout, &image, "1");
    assert_eq!(attach_to(&layout, &image, "1").digest, referrer.digest);
    let found = layout.referrers(&image.digest).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].artifact_type.as_deref(), Some(crate::format::media_type::ARTIFACT_TYPE));
    assert_eq!(layout.manifest(&Selector::Only).unwrap().descriptor.digest, image.digest);
}

#[test]
fn a_referrer_is_listed_under_the_fallback_tag_for_clients_that_look_there() {
    let (_directory, layout) = layout();
    let image = push_image(&layout);
    let attached = ["1", "2", "2"].map(|text| attach_to(&layout, &image, text).digest);
    let tag = image.digest.fallback_tag();
    let Manifest::Index(list) = layout.manifest(&Selector::Tag(tag.clone())).unwrap().parse().unwrap() else {
        panic!()
    };
    assert_eq!(
        list.manifests.iter().map(|entry| &entry.digest).collect::<Vec<_>>(),
        [&attached[0], &attached[1]]
    );
    assert!(list.manifests.iter().all(|entry| entry.artifact_type.is_some()));
    // Nothing of the old list is left, and the tag is not that of an image.
    let blobs = fs::read_dir(layout.root.join("blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 1 + 2 * 2 + 2 + 1, "empty configuration, artifacts with documents, image, list");
    assert_eq!(layout.tags().unwrap(), ["app"]);
    // Content from other clients stays.
    let other = push_image(&layout);
    run(push(&Store::Layout(layout.clone()), Some(&tag), &packed("other"), true)).unwrap();
    attach_to(&layout, &other, "3");
    assert!(matches!(layout.manifest(&Selector::Tag(tag)).unwrap().parse().unwrap(), Manifest::Image(_)));
    assert_eq!(layout.referrers(&image.digest).unwrap().len(), 3);
}

#[test]
fn a_tag_that_moves_leaves_the_old_manifest_readable() {
    let (_directory, layout) = layout();
    let old = push_image(&layout);
    let store = Store::Layout(layout.clone());
    let new = run(push(&store, Some("app"), &packed("new"), false)).unwrap().descriptor;
    assert_eq!(layout.manifest(&Selector::Tag("app".into())).unwrap().descriptor.digest, new.digest);
    assert!(layout.manifest(&Selector::Digest(old.digest)).is_ok());
}

#[test]
fn deleting_a_referrer_keeps_what_the_image_needs() {
    let (_directory, layout) = layout();
    let image = push_image(&layout);
    let referrer = attach_to(&layout, &image, "1");
    let deleted = run(layout.delete(&Selector::Digest(referrer.digest))).unwrap();
    // Deleted are the manifest, its document, and the list that contained it. The image also uses the empty
    // configuration.
    assert_eq!(deleted.blobs, 3);
    assert!(layout.referrers(&image.digest).unwrap().is_empty());
    let manifest = layout.manifest(&Selector::Only).unwrap().parse().unwrap();
    let Manifest::Image(image) = manifest else { panic!() };
    assert!(layout.has_blob(&image.layers[0]) && layout.has_blob(&image.config.unwrap()));
}

#[test]
fn deleting_a_referrer_takes_it_out_of_the_index_under_the_fallback_tag() {
    let (_directory, layout) = layout();
    let image = push_image(&layout);
    let [first, second] = ["1", "2"].map(|text| attach_to(&layout, &image, text));
    // Clients without the referrers API leave it in this state.
    let tag = image.digest.fallback_tag();
    let fallback = Index { manifests: vec![first.clone(), second.clone()], ..Index::default() };
    let bytes = Bytes::from(serde_json::to_vec(&fallback).unwrap());
    let entry = Descriptor::of("application/vnd.oci.image.index.v1+json", &bytes);
    run(layout.put_manifest(ManifestName::Tag(&tag), &entry, &bytes)).unwrap();
    let fallback = || layout.manifest(&Selector::Tag(tag.clone())).map(|resolved| resolved.parse().unwrap());

    run(layout.delete(&Selector::Digest(first.digest.clone()))).unwrap();
    let Manifest::Index(left) = fallback().unwrap() else { panic!() };
    assert_eq!(left.manifests.iter().map(|entry| &entry.digest).collect::<Vec<_>>(), [&second.digest]);
    assert!(!layout.blob_path(&entry.digest).exists() && !layout.blob_path(&first.digest).exists());
    run(layout.delete(&Selector::Digest(second.digest.clone()))).unwrap();
    assert!(fallback().is_err());
    assert!(layout.referrers(&image.digest).unwrap().is_empty());
    assert!(layout.manifest(&Selector::Digest(image.digest)).is_ok());
}

#[test]
fn many_attach_at_once_and_nothing_is_lost() {
    let (_directory, layout) = layout();
    let image = push_image(&layout);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (layout, image) = (&layout, &image);
            scope.spawn(move || attach_to(layout, image, &number.to_string()));
        }
    });
    assert_eq!(layout.referrers(&image.digest).unwrap().len(), 16);
}

#[test]
fn many_create_one_layout_at_once() {
    let (_directory, layout) = layout();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let layout = &layout;
            scope.spawn(move || {
                let tag = format!("t{number}");
                run(push(&Store::Layout(layout.clone()), Some(&tag), &packed(&tag), false)).unwrap();
            });
        }
    });
    assert_eq!(layout.tags().unwrap().len(), 8);
}

#[test]
fn a_blob_that_is_not_what_it_says_is_neither_written_nor_read() {
    let (_directory, layout) = layout();
    push_image(&layout);
    let lie = Descriptor { digest: Digest::of(b"other"), ..Descriptor::of("x", b"bytes") };
    assert!(run(layout.push_blob(&lie, &BlobSource::Bytes(Bytes::from_static(b"bytes")))).is_err());
    assert!(!layout.has_blob(&lie));
    let image = layout.manifest(&Selector::Only).unwrap();
    fs::write(layout.blob_path(&image.descriptor.digest), vec![b' '; image.bytes.len()]).unwrap();
    assert!(matches!(
        layout.manifest(&Selector::Only),
        Err(Error::Format(FormatError::DigestMismatch { .. }))
    ));
}

#[test]
fn what_is_no_layout_is_named_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path());
    let shown = |layout: &Layout| {
        let error = layout.manifest(&Selector::Only).unwrap_err().to_string();
        error.replace(&directory.path().display().to_string(), "DIR")
    };
    insta::assert_snapshot!(shown(&Layout::new(&directory.path().join("none"))), @"DIR/none is not an OCI image layout: the directory does not exist");
    insta::assert_snapshot!(shown(&layout), @"DIR is not an OCI image layout: it has no file oci-layout");
    fs::write(directory.path().join("oci-layout"), "{}").unwrap();
    insta::assert_snapshot!(shown(&layout), @"DIR is not an OCI image layout: its imageLayoutVersion is not 1");
    fs::write(directory.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    insta::assert_snapshot!(shown(&layout), @"DIR is not an OCI image layout: it has no file index.json");
    fs::write(directory.path().join("index.json"), "[").unwrap();
    insta::assert_snapshot!(shown(&layout), @"DIR/index.json is malformed: invalid type: sequence, expected struct Index at line 1 column 0");
}

#[test]
fn a_directory_with_something_else_is_not_made_a_layout() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "").unwrap();
    let descriptor = Descriptor::of("application/vnd.oci.image.manifest.v1+json", b"{}");
    let put = Layout::new(directory.path());
    let error =
        run(put.put_manifest(ManifestName::Tag("x"), &descriptor, &Bytes::from_static(b"{}"))).unwrap_err();
    let shown = error.to_string().replace(&directory.path().display().to_string(), "DIR");
    insta::assert_snapshot!(shown, @"DIR is not an OCI image layout: it is not empty: it contains thesis.txt");
}

#[test]
fn a_manifest_whose_blobs_were_deleted_meanwhile_is_not_listed_and_is_sent_again() {
    let (_directory, layout) = layout();
    let packed = packed("image");
    for (blob, bytes) in &packed.blobs {
        run(layout.push_blob(blob, &BlobSource::Bytes(bytes.clone()))).unwrap();
    }
    fs::remove_file(layout.blob_path(&packed.blobs[1].0.digest)).unwrap();
    let error =
        run(layout.put_manifest(ManifestName::Tag("app"), &packed.descriptor, &packed.bytes)).unwrap_err();
    assert!(error.is_blob_unknown(), "{error}");
    assert!(layout.tags().unwrap().is_empty());
    push_image(&layout);
    assert_eq!(layout.tags().unwrap(), ["app"]);
}

#[test]
fn a_copy_does_not_go_into_indexes_without_end() {
    let (directory, layout) = layout();
    let mut inner = push_image(&layout);
    let copy_of = |tag: &str| {
        let target = Store::Layout(Layout::new(&directory.path().join(tag)));
        let source = Store::Layout(layout.clone());
        let selector = Selector::Tag(tag.into());
        run(crate::copy::copy(&source, &selector, &target, Some("x"), false, &crate::Silent))
    };
    for depth in 1..=limit::NESTING + 1 {
        let index = Index { manifests: vec![inner.bare()], ..Index::default() };
        let bytes = Bytes::from(serde_json::to_vec(&index).unwrap());
        inner = Descriptor::of(crate::format::manifest::IMAGE_INDEX, &bytes);
        run(layout.put_manifest(ManifestName::Tag(&depth.to_string()), &inner, &bytes)).unwrap();
    }
    assert_eq!(copy_of(&limit::NESTING.to_string()).unwrap().manifests, limit::NESTING + 1);
    let error = copy_of(&(limit::NESTING + 1).to_string()).unwrap_err();
    assert!(error.to_string().contains("it is nested in more than 8 indexes"), "{error}");
}

#[test]
fn a_foreign_directory_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter.txt"), "").unwrap();
    let store = Store::Layout(Layout::new(directory.path()));
    assert!(run(push(&store, Some("app"), &packed("image"), false)).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
