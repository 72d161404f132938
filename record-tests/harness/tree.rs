//! A file tree as lines that can be compared: path, mode, owner, links and content.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Returns the sorted tree below a directory. `wanted` selects paths, which are relative to the directory and
/// begin with `/`.
pub fn lines(directory: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    add(directory, "", wanted, &mut lines);
    lines.sort();
    lines
}

fn add(directory: &Path, place: &str, wanted: &dyn Fn(&str) -> bool, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let place = format!("{place}/{}", entry.file_name().to_string_lossy());
        if !wanted(&place) {
            continue;
        }
        let path = entry.path();
        lines.push(format!("{place} {}", describe(&path)));
        if path.is_dir() && !path.is_symlink() {
            add(&path, &place, wanted, lines);
        }
    }
}

fn describe(path: &Path) -> String {
    let stat = fs::symlink_metadata(path).expect("the file exists");
    let kind = stat.file_type();
    let content = if kind.is_symlink() {
        hash(fs::read_link(path).expect("a link").as_os_str().as_bytes())
    } else if kind.is_file() {
        hash(&fs::read(path).expect("a file"))
    } else {
        0
    };
    let device = if kind.is_char_device() || kind.is_block_device() { stat.rdev() } else { 0 };
    let links = if kind.is_dir() { 0 } else { stat.nlink() };
    format!("{:o} {} {} {links} {device} {content:x}", stat.mode(), stat.uid(), stat.gid())
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Asserts that two trees are the same. Shows the differences.
pub fn assert_same(native: &[String], mirrored: &[String]) {
    let only = |left: &[String], right: &[String]| {
        left.iter().filter(|line| !right.contains(line)).take(20).cloned().collect::<Vec<_>>()
    };
    let (missing, further) = (only(native, mirrored), only(mirrored, native));
    assert!(
        missing.is_empty() && further.is_empty(),
        "only natively: {missing:#?}\nonly recorded: {further:#?}"
    );
    assert!(!native.is_empty(), "the native tree is empty");
}
