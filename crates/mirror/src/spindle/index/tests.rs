//! The facts that an index keeps, and the files that it rejects.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use sha2::Digest as _;

use super::*;
use crate::mirror::Moment;

/// The size of a SHA-256 digest.
const DIGEST: usize = 32;

fn volume(source: &str) -> VolumeKey {
    VolumeKey { kind: b"nfs4".to_vec(), source: source.as_bytes().to_vec(), root: b"/".to_vec() }
}

fn stamp(inode: u64) -> Stamp {
    let moment = |seconds| Moment { seconds, nanoseconds: 123_456_789 };
    Stamp { inode, size: 1000 + inode, mtime: moment(-5), ctime: moment(1 << 40), birth: Some(moment(7)) }
}

fn digest(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

fn content(number: u64) -> Facts {
    Facts { content: Some(Content::Whole(digest(number))), ..Facts::default() }
}

fn attribute(name: &str, value: Option<&[u8]>) -> ExtendedAttribute {
    ExtendedAttribute { name: name.into(), value: value.map(<[u8]>::to_vec) }
}

/// Every kind of fact, with names that are no text.
fn samples() -> Vec<Facts> {
    let kinds = [FileType::RegularFile, FileType::Symlink, FileType::Unknown, FileType::Socket];
    let listed = |(number, kind)| ListedName { name: vec![b'n', 0xff, number as u8], inode: number, kind };
    let chunks = Content::Chunks { size: 4 << 20, digests: vec![Some(digest(1)), None, Some(digest(2))] };
    vec![
        content(1),
        Facts { content: Some(chunks), ..Facts::default() },
        Facts { listing: Some((1..).zip(kinds).map(listed).collect()), ..Facts::default() },
        Facts { listing: Some(Vec::new()), ..Facts::default() },
        Facts { target: Some(b"../caf\xe9".to_vec()), ..Facts::default() },
        Facts {
            attributes: vec![attribute("security.capability", None), attribute("user.a", Some(b"\0\x01"))],
            ..content(2)
        },
        Facts::default(),
    ]
}

fn load(directory: &Path) -> (Index, Option<String>) {
    let directory = File::open(directory).expect("a directory");
    let (index, warning) = Index::load(directory.as_fd());
    (index, warning.map(|warning| warning.to_string()))
}

fn save(index: &Index, directory: &Path) {
    let directory = File::open(directory).expect("a directory");
    index.save(directory.as_fd()).expect("it is writable");
}

/// Replaces a file. Some file systems write the content to the disk at once if a file is truncated instead.
fn write_new(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).and_then(|()| fs::write(path, bytes)).expect("it is ours");
}

/// An index of all samples, saved in a directory.
fn saved() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut index, warning) = load(directory.path());
    assert!(warning.is_none() && index.is_empty());
    for (facts, inode) in samples().into_iter().zip(1..) {
        index.record(&volume("a:/x"), &stamp(inode), facts);
    }
    index.record(&volume("b:/y"), &stamp(1), content(9));
    save(&index, directory.path());
    directory
}

#[test]
fn the_next_run_finds_what_was_recorded() {
    let directory = saved();
    let (index, warning) = load(directory.path());
    assert_eq!((warning, index.len()), (None, samples().len() + 1));
    for (facts, inode) in samples().into_iter().zip(1..) {
        assert_eq!(index.find(&volume("a:/x"), &stamp(inode)), Some(facts));
    }
    assert_eq!(index.find(&volume("b:/y"), &stamp(1)), Some(content(9)));
    let names: Vec<_> = fs::read_dir(directory.path()).expect("it is there").flatten().collect();
    assert_eq!(names.len(), 1, "no temporary file is left");
}

#[test]
fn facts_are_for_one_volume_and_one_stamp() {
    let directory = saved();
    let (index, _) = load(directory.path());
    let is_found = |volume: &VolumeKey, stamp: Stamp| index.find(volume, &stamp).is_some();
    let (own, later) = (volume("a:/x"), Moment { seconds: 1 << 40, nanoseconds: 123_456_790 });
    assert!(is_found(&own, stamp(1)) && is_found(&own, Stamp { birth: None, ..stamp(1) }));
    let others = [
        Stamp { size: 1, ..stamp(1) },
        Stamp { mtime: later, ..stamp(1) },
        Stamp { ctime: later, ..stamp(1) },
        Stamp { birth: Some(later), ..stamp(1) },
        stamp(1000),
    ];
    assert!(others.into_iter().all(|other| !is_found(&own, other)));
    let other_volumes = [
        volume("c:/x"),
        VolumeKey { kind: b"nfs".to_vec(), ..own.clone() },
        VolumeKey { root: b"/sub".to_vec(), ..own.clone() },
    ];
    assert!(other_volumes.iter().all(|other| !is_found(other, stamp(1))));
}

#[test]
fn facts_about_one_stamp_are_collected_and_those_about_another_replaced() {
    let directory = saved();
    let (mut index, _) = load(directory.path());
    let (volume, chunks) = (volume("a:/x"), |digests| Some(Content::Chunks { size: 4 << 20, digests }));
    let update = Facts {
        content: chunks(vec![None, Some(digest(3)), None]),
        attributes: vec![attribute("user.a", None)],
        ..Facts::default()
    };
    index.record(&volume, &stamp(2), update.clone());
    let all = chunks(vec![Some(digest(1)), Some(digest(3)), Some(digest(2))]);
    assert_eq!(index.find(&volume, &stamp(2)), Some(Facts { content: all, ..update }));
    index.record(&volume, &stamp(6), Facts { attributes: vec![attribute("user.a", None)], ..content(8) });
    let expected = Facts {
        attributes: vec![attribute("user.a", None), attribute("security.capability", None)],
        ..content(8)
    };
    assert_eq!(index.find(&volume, &stamp(6)), Some(expected));
    let changed = Stamp { size: 5, ..stamp(6) };
    index.record(&volume, &changed, content(7));
    assert_eq!((index.find(&volume, &changed), index.find(&volume, &stamp(6))), (Some(content(7)), None));
    assert_eq!(index.len(), samples().len() + 1);
}

#[test]
fn a_damaged_file_gives_one_warning_and_an_empty_index() {
    let directory = saved();
    let path = directory.path().join("index");
    let bytes = fs::read(&path).expect("it is ours");
    let is_refused = |damaged: &[u8]| {
        write_new(&path, damaged);
        let (index, warning) = load(directory.path());
        warning.is_some_and(|warning| warning.contains("the file \"index\" is")) && index.is_empty()
    };
    for length in 0..bytes.len() {
        assert!(is_refused(&bytes[..length]), "the first {length} bytes");
    }
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        assert!(is_refused(&damaged), "byte {position} is changed");
    }
    assert!(is_refused(&[&bytes[..], b"x"].concat()));
    fs::write(&path, &bytes).expect("it is ours");
    assert!(load(directory.path()).1.is_none());
}

#[test]
fn bytes_with_a_right_digest_may_still_be_anything() {
    let directory = saved();
    let path = directory.path().join("index");
    let bytes = fs::read(&path).expect("it is ours");
    let (body, _) = bytes.split_last_chunk::<DIGEST>().expect("it ends with a digest");
    let mut refused = 0;
    for position in 0..body.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut other = body.to_vec();
            other[position] = value;
            let digest = sha2::Sha256::digest(&other);
            write_new(&path, &[&other[..], &digest[..]].concat());
            let (index, warning) = load(directory.path());
            refused += usize::from(warning.is_some());
            // It must not panic, and not take memory for numbers that the file only announces.
            for inode in 0..9 {
                let _ = index.find(&volume("a:/x"), &stamp(inode));
            }
            assert!(index.len() <= samples().len() + 1);
        }
    }
    assert!(refused > 100);
}

#[test]
fn another_kind_of_file_is_not_read() {
    let directory = saved();
    let path = directory.path().join("index");
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("it is ours");
    symlink(&elsewhere, &path).expect("a link");
    let unreadable = "the facts of earlier runs in the cache are not used: cannot read the file \"index\"";
    assert_eq!(load(directory.path()).1.as_deref(), Some(unreadable));
    fs::remove_file(&path).expect("it is ours");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).expect("a fifo");
    let irregular =
        "the facts of earlier runs in the cache are not used: the file \"index\" is not a regular file";
    assert_eq!(load(directory.path()).1.as_deref(), Some(irregular));
    // The next index takes its place.
    save(&load(directory.path()).0, directory.path());
    assert_eq!(load(directory.path()).1, None);
}

#[test]
fn an_index_that_cannot_be_written_leaves_the_former_one() {
    let directory = saved();
    fs::create_dir(directory.path().join("new-index")).expect("a directory");
    let (mut index, _) = load(directory.path());
    index.record(&volume("a:/x"), &stamp(100), content(100));
    let place = File::open(directory.path()).expect("a directory");
    assert!(index.save(place.as_fd()).is_err());
    assert_eq!(load(directory.path()).0.len(), samples().len() + 1);
    fs::remove_dir(directory.path().join("new-index")).expect("it is ours");
    // A killed run leaves its temporary file.
    fs::write(directory.path().join("new-index"), "part").expect("a file");
    save(&index, directory.path());
    assert_eq!(load(directory.path()).0.len(), samples().len() + 2);
}

#[test]
fn the_entries_that_were_not_used_for_the_most_runs_give_way() {
    let directory = tempfile::tempdir().expect("a directory");
    let share = volume("a:/x");
    let run = |found: std::ops::Range<u64>, recorded: std::ops::Range<u64>| {
        let (mut index, _) = load(directory.path());
        index.most_entries = 100;
        let count = found.filter(|inode| index.find(&share, &stamp(*inode)).is_some()).count();
        recorded.for_each(|inode| index.record(&share, &stamp(inode), content(inode)));
        assert!(index.len() <= 100);
        save(&index, directory.path());
        count
    };
    run(0..0, 0..90);
    assert_eq!(run(0..40, 90..100), 40);
    // 40 entries of the last run, and 50 that nobody has used since the first.
    assert_eq!(run(0..0, 200..230), 0);
    assert_eq!((run(0..40, 0..0), run(90..100, 0..0), run(200..230, 0..0)), (40, 10, 30));
    let left = run(40..90, 0..0);
    assert!((10..=20).contains(&left), "{left} of 50 are left");
}

#[test]
fn an_index_that_is_full_of_used_entries_takes_no_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut index, _) = load(directory.path());
    let share = volume("a:/x");
    let length = encoding::encode(&stamp(0), &content(0)).len();
    index.most_bytes = 50 * length + length / 2;
    (0..200).for_each(|inode| index.record(&share, &stamp(inode), content(inode)));
    assert_eq!((index.len(), index.bytes), (50, 50 * length));
    assert!(index.find(&share, &stamp(49)).is_some() && index.find(&share, &stamp(50)).is_none());
    let long = Facts { target: Some(vec![b'x'; MOST_OF_ONE]), ..Facts::default() };
    let (mut other, _) = load(directory.path());
    other.record(&share, &stamp(1), long);
    (0..2000).for_each(|number| other.record(&volume(&number.to_string()), &stamp(1), content(1)));
    assert_eq!((other.len(), other.volumes.len()), (MOST_VOLUMES - 1, MOST_VOLUMES));
}
