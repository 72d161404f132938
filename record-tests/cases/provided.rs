//! A mirror whose reads are served from another place.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::harness::case::{Case, case};
use crate::harness::provided::{CREATED, command};
use crate::harness::recorder::{assert_code, finish};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("provided::content_comes_from_the_copy_and_attributes_from_the_original", &[], content),
        case("provided::writes_go_to_the_original_and_are_read_there", &[], written),
        case("provided::declined_files_are_read_from_the_original", &[], declined),
        case("provided::a_read_only_mirror_works_as_well", &["python3"], read_only),
    ]
}

/// Creates files `a` and `b`, and a copy of `a` that differs from it.
fn prepare(directory: &Path) -> std::path::PathBuf {
    let cache = directory.join("cache");
    fs::create_dir(&cache).expect("a directory");
    fs::write(directory.join("a"), "original\n").expect("a file");
    fs::write(directory.join("b"), "declined\n").expect("a file");
    fs::write(cache.join("a"), "provided\n").expect("a file");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(CREATED as u64);
    fs::File::options()
        .write(true)
        .open(directory.join("a"))
        .expect("a file")
        .set_modified(old)
        .expect("a time");
    cache
}

/// Returns the output of a script in a mirror with the copies.
fn said(directory: &Path, read_only: bool, script: &str) -> String {
    let mut command = command(&directory.join("cache"), read_only, script);
    command.current_dir(directory);
    let output = finish(command, b"");
    assert_code(&output, 0);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn content(directory: &Path) {
    prepare(directory);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("a file"));
    let text = said(directory, false, "cat a; stat -c '%s %Y %i' a; cat a a");
    let number = inode(&directory.join("a"));
    assert_eq!(text, format!("provided\n9 1000000000 {number}\nprovided\nprovided\n"));
    assert_eq!(fs::read_to_string(directory.join("a")).expect("a file"), "original\n");
}

fn written(directory: &Path) {
    let cache = prepare(directory);
    // The descriptor was opened for reading before any write.
    let script = "exec 3< a; head -c 3 a; echo; printf ORIG | dd of=a conv=notrunc status=none; cat <&3; cat a; : > b; cat b";
    assert_eq!(said(directory, false, script), "pro\nORIGinal\nORIGinal\n");
    assert_eq!(fs::read_to_string(directory.join("a")).expect("a file"), "ORIGinal\n");
    assert_eq!(fs::read_to_string(cache.join("a")).expect("a file"), "provided\n");
}

fn declined(directory: &Path) {
    let cache = prepare(directory);
    fs::write(cache.join("b"), "of another length").expect("a file");
    assert_eq!(
        said(directory, false, "cat b; echo more >> b; cat b; echo new > c; cat c"),
        "declined\ndeclined\nmore\nnew\n"
    );
}

fn read_only(directory: &Path) {
    prepare(directory);
    let script = "cat a b; echo x 2>/dev/null > a || echo refused; python3 -c '\
        import mmap; one = open(\"a\", \"rb\"); two = open(\"a\", \"rb\"); print(two.read(), mmap.mmap(one.fileno(), 0, prot=mmap.PROT_READ)[:])'";
    let text = said(directory, true, script);
    assert_eq!(text, "provided\ndeclined\nrefused\nb'provided\\n' b'provided\\n'\n");
}
