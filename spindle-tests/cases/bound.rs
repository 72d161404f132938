//! The limit of the cache, and disks that are full, read-only or belong to somebody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::case::{Case, case};
use crate::harness::served::{Disk, Served, finished, said};

/// The cases.
pub fn cases() -> Vec<Case> {
    let tools = &["nsenter"];
    vec![
        case("bound::half_the_working_set_is_never_exceeded_and_all_is_right", tools, half),
        case("bound::the_head_of_a_large_file_costs_its_head_only", tools, head),
        case("bound::a_file_larger_than_the_cache_is_read_right", tools, larger),
        case("bound::a_full_disk_is_one_warning_and_the_share_is_read", tools, full),
        case("bound::a_read_only_disk_is_one_warning_and_the_share_is_read", tools, read_only),
        case("bound::a_cache_of_another_user_is_refused", tools, foreign),
        case("bound::a_cache_that_others_can_enter_is_refused", tools, open),
        case("bound::a_missing_parent_is_one_warning_and_the_share_is_read", tools, missing),
    ]
}

const MIB: u64 = 1 << 20;

/// Files of 1 MiB with different contents.
fn make(source: &Path, count: u8) {
    fs::create_dir_all(source).expect("our directory");
    for number in 0..count {
        fs::write(source.join(format!("file{number:02}")), content(number, MIB)).expect("our directory");
    }
    std::thread::sleep(Duration::from_millis(1100));
}

fn content(number: u8, size: u64) -> Vec<u8> {
    (0..size).map(|at| (at.wrapping_mul(31) >> 3) as u8 ^ number).collect()
}

/// Fails with 9 unless the share shows each file as its source has it.
const COMPARE: &str = "for file in source/*; do cmp $file share/${file#source/} || exit 9; done";

/// Programs keep some files open while others are read, so that objects without a name are counted too.
fn half(directory: &Path) {
    make(&directory.join("source"), 24);
    let disk = Disk::mount(&directory.join("disk"), 64 * MIB);
    let served = Served::start(directory);
    let (done, before) = (AtomicBool::new(false), disk.used());
    let most = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(disk.used() - before);
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        let script = format!(
            "exec 3< share/file00 4< share/file01 5< share/file02; head -c 9 <&3 > /dev/null
            for n in 1 2 3; do ({COMPARE}) & jobs=\"$jobs $!\"; done; {COMPARE}
            for job in $jobs; do wait $job || exit; done
            cat <&4 | cmp - source/file01 && cat <&5 | cmp - source/file02"
        );
        let options = ["--cache-dir", "disk/cache", "--cache-size", "12M"];
        let output = finished(&mut served.spindle(&options, &["sh", "-c", &script]));
        done.store(true, Ordering::Relaxed);
        let said = said(&output);
        assert!(output.status.success() && said.error.lines().count() == 1, "{}{}", said.out, said.error);
        watcher.join().expect("no panic")
    });
    assert!(most > 6 * MIB && most <= 13 * MIB, "{most} bytes");
    let left = disk.used() - before;
    assert!(left <= 64 << 10, "{left} bytes are left");
}

/// A database or an archive: a program reads its head and some places.
fn head(directory: &Path) {
    let source = directory.join("source");
    fs::create_dir_all(&source).expect("our directory");
    fs::write(source.join("large"), content(7, 100 * MIB)).expect("our directory");
    std::thread::sleep(Duration::from_millis(1100));
    let served = Served::start(directory);
    let script =
        "cmp -n 1000 source/large share/large && head -c 5000000 share/large | cmp -n 5000000 - source/large
        dd if=share/large bs=4096 skip=20000 count=1 2> /dev/null | cmp -n 4096 - source/large 0 81920000";
    let options = ["--cache-size", "200M"];
    served.run(&options, script);
    let read = served.share().counters().bytes_read;
    assert!((4 * MIB..=16 * MIB).contains(&read), "{read} bytes");
    drop(served);
    let served = Served::start(directory);
    served.run(&options, "cmp source/large share/large && cmp source/large share/large");
    assert_eq!(served.share().counters().bytes_read, 100 * MIB);
}

fn larger(directory: &Path) {
    let source = directory.join("source");
    fs::create_dir_all(&source).expect("our directory");
    fs::write(source.join("large"), content(7, 40 * MIB)).expect("our directory");
    std::thread::sleep(Duration::from_millis(1100));
    let disk = Disk::mount(&directory.join("disk"), 64 * MIB);
    let served = Served::start(directory);
    let options = ["--cache-dir", "disk/cache", "--cache-size", "10M"];
    let script = "for n in 1 2 3; do cmp source/large share/large & jobs=\"$jobs $!\"; done
        for job in $jobs; do wait $job || exit; done; cmp source/large share/large";
    served.run(&options, script);
    assert!(disk.used() <= 64 << 10, "{} bytes are left", disk.used());
}

/// The limit is above the space of the disk.
fn full(directory: &Path) {
    make(&directory.join("source"), 12);
    let disk = Disk::mount(&directory.join("disk"), 4 * MIB);
    let served = Served::start(directory);
    let options = ["--cache-dir", "disk/cache", "--cache-size", "100M"];
    let said = served.run(&options, &format!("exec 3< share/file00; {COMPARE}; {COMPARE}"));
    assert_eq!(said.error.lines().count(), 2, "one warning, and the figures: {}", said.error);
    assert!(said.error.contains("the cache could not be read or written"), "{}", said.error);
    assert!(disk.used() <= 64 << 10, "{} bytes are left", disk.used());
}

fn assert_without_cache(served: &Served, options: &[&str]) {
    let said = served.run(options, COMPARE);
    assert_eq!(said.error.lines().count(), 2, "one warning, and the figures: {}", said.error);
    assert!(said.error.contains("contents are read from the share"), "{}", said.error);
}

fn read_only(directory: &Path) {
    make(&directory.join("source"), 2);
    let disk = Disk::mount(&directory.join("disk"), 4 * MIB);
    disk.make_read_only();
    assert_without_cache(&Served::start(directory), &["--cache-dir", "disk/cache"]);
}

fn missing(directory: &Path) {
    make(&directory.join("source"), 2);
    assert_without_cache(&Served::start(directory), &["--cache-dir", "none/cache"]);
}

/// The owner could change what others run.
fn foreign(directory: &Path) {
    make(&directory.join("source"), 1);
    let cache = directory.join("cache");
    fs::create_dir(&cache).expect("our directory");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("our directory");
    std::os::unix::fs::chown(&cache, Some(1234), Some(1234)).expect("root may");
    assert_refused(&Served::start(directory), "it belongs to");
}

fn open(directory: &Path) {
    make(&directory.join("source"), 1);
    let cache = directory.join("cache");
    fs::create_dir(&cache).expect("our directory");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).expect("our directory");
    assert_refused(&Served::start(directory), "other users can enter it (mode 755)");
}

fn assert_refused(served: &Served, reason: &str) {
    let output = finished(&mut served.spindle(&[], &["echo", "run"]));
    let said = said(&output);
    assert_eq!((output.status.code(), &*said.out), (Some(3), ""), "{}", said.error);
    assert!(said.error.starts_with("error: ") && said.error.contains(reason), "{}", said.error);
}
