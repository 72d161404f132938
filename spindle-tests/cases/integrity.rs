//! Objects that were damaged on the disk of the cache are never served.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::case::{Case, case};
use crate::harness::served::Served;

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["nsenter"];
    vec![
        case("integrity::a_flipped_byte_is_noticed_by_the_next_run", tools, |d| between(d, flip)),
        case("integrity::a_truncated_object_is_noticed_by_the_next_run", tools, |d| between(d, truncate)),
        case("integrity::a_removed_object_is_read_again_by_the_next_run", tools, |d| between(d, remove)),
        case("integrity::a_flipped_byte_is_noticed_in_the_same_run", tools, |d| within(d, flip)),
        case("integrity::a_truncated_object_is_noticed_in_the_same_run", tools, |d| within(d, truncate)),
        case("integrity::a_removed_object_is_no_matter_in_the_same_run", tools, |d| within(d, remove)),
        case("integrity::a_damaged_index_is_one_warning", tools, index),
    ]
}

/// A small file, a library's size, and a file that is cached in chunks.
const SIZES: [usize; 3] = [100, 300_000, 9_000_000];
/// Files above a sixteenth of this are cached in chunks.
const LIMIT: &str = "64M";

fn make(source: &Path) {
    fs::create_dir_all(source).expect("our directory");
    for size in SIZES {
        let content: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8 ^ (size % 253) as u8).collect();
        fs::write(source.join(size.to_string()), content).expect("our directory");
    }
    std::thread::sleep(Duration::from_millis(1100));
}

/// The objects in a cache.
fn objects(cache: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(cache).expect("a cache").flatten() {
        let is_object = entry.file_name().len() == 64;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(objects(&entry.path())),
            _ if is_object => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

fn open(object: &Path) -> fs::File {
    fs::set_permissions(object, fs::Permissions::from_mode(0o600)).expect("our file");
    fs::OpenOptions::new().read(true).write(true).open(object).expect("our file")
}

/// Changes the middle byte, and nothing that shows it.
fn flip(object: &Path) {
    let file = open(object);
    let metadata = file.metadata().expect("attributes");
    let (modified, middle) = (metadata.modified().expect("a time"), metadata.len() / 2);
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("a byte");
    file.write_all_at(&[!byte[0]], middle).expect("a byte");
    file.set_modified(modified).expect("our file");
}

fn truncate(object: &Path) {
    let file = open(object);
    let size = file.metadata().expect("attributes").len();
    file.set_len(size / 2).expect("our file");
}

fn remove(object: &Path) {
    fs::remove_file(object).expect("our file");
}

const COMPARE: &str = "for file in source/*; do cmp $file share/${file#source/} || exit 9; done";

/// Damages all objects of a kept cache between two runs.
fn between(directory: &Path, damage: fn(&Path)) {
    make(&directory.join("source"));
    let served = Served::start(directory);
    let options = ["--keep", "--cache-size", LIMIT];
    served.run(&options, COMPARE);
    let objects = objects(&served.cache());
    assert!(objects.len() >= SIZES.len(), "{objects:?}");
    served.share().reset();
    served.run(&options, COMPARE);
    assert_eq!(served.share().counters().bytes_read, 0, "the second run reads the cache");
    objects.iter().for_each(|object| damage(object));
    served.share().reset();
    let said = served.run(&options, COMPARE);
    assert!(said.error.lines().count() <= 2, "one warning, and the figures: {}", said.error);
    let all = SIZES.iter().sum::<usize>() as u64;
    assert_eq!(served.share().counters().bytes_read, all, "all is read again");
    served.share().reset();
    served.run(&options, COMPARE);
    assert_eq!(served.share().counters().bytes_read, 0, "the cache is whole again");
}

/// Damages all objects while a command uses them.
fn within(directory: &Path, damage: fn(&Path)) {
    make(&directory.join("source"));
    let served = Served::start(directory);
    let script = format!(
        "({COMPARE}) && echo > ready; until [ -e damaged ]; do sleep 0.02; done
        echo 3 > /proc/sys/vm/drop_caches; {COMPARE}"
    );
    std::thread::scope(|scope| {
        let run = scope.spawn(|| served.run(&["--cache-size", LIMIT], &script));
        let ready = || directory.join("ready").exists() || run.is_finished();
        assert!(compat_harness::process::wait_until(Duration::from_secs(60), ready));
        objects(&served.cache()).iter().for_each(|object| damage(object));
        fs::write(directory.join("damaged"), "").expect("our directory");
        let said = run.join().expect("the same contents");
        assert!(said.error.lines().count() <= 2, "one warning, and the figures: {}", said.error);
    });
}

fn index(directory: &Path) {
    make(&directory.join("source"));
    let served = Served::start(directory);
    let options = ["--keep", "--cache-size", LIMIT];
    served.run(&options, COMPARE);
    let index = served.cache().join("kept/index");
    let mut content = fs::read(&index).expect("an index");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&index, content).expect("our file");
    let said = served.run(&options, COMPARE);
    assert!(said.error.lines().count() == 2 && said.error.contains("\"index\" is damaged"), "{}", said.error);
    assert_eq!(served.run(&options, COMPARE).error.lines().count(), 1, "the index is written again");
}
