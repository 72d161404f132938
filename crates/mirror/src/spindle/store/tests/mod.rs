//! The behaviour of the store on a real disk.

mod bounds;
mod integrity;
mod killed;
mod place;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::*;

/// The block size of the tests' contents: a multiple of every file system's.
const BLOCK: u64 = 64 << 10;

fn options(directory: &Path, limit: u64) -> StoreOptions {
    StoreOptions { directory: Some(directory.join("cache")), limit: Some(limit), keep: false }
}

fn kept(directory: &Path, limit: u64) -> StoreOptions {
    StoreOptions { keep: true, ..options(directory, limit) }
}

fn open(options: &StoreOptions) -> Store {
    Store::open(options).expect("a private directory")
}

/// A content of some blocks that differs for each number.
fn content(number: u64, blocks: u64) -> Vec<u8> {
    let mut bytes = vec![0; (blocks * BLOCK) as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn written(store: &Store, bytes: &[u8]) -> NewObject {
    let mut new = store.begin(bytes.len() as u64).expect("there is room");
    new.write_all(bytes).expect("the disk has room");
    new
}

fn stored(store: &Store, bytes: &[u8]) -> Arc<Object> {
    written(store, bytes).commit().expect("it gets its name")
}

fn read(object: &Object) -> Vec<u8> {
    let mut file = object.file().expect("it can be opened");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).expect("it can be read");
    bytes
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// The path of an object's file.
fn file_of(directory: &Path, digest: Digest) -> PathBuf {
    let name = digest.to_string();
    let mut found = files(directory).into_iter().filter(|path| path.ends_with(&name));
    found.next().expect("the object has a file")
}

/// The bytes of all files on the disk, as du(1) counts them.
fn on_disk(directory: &Path) -> u64 {
    files(directory)
        .iter()
        .filter_map(|path| fs::symlink_metadata(path).ok())
        .map(|stat| stat.blocks() * 512)
        .sum()
}
