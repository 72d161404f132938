//! Runs that are killed at any moment.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// Names the directory in which a copy of this process works until it is killed.
const WORKPLACE: &str = "COMPAT_TEST_STORE_TO_BE_KILLED";

/// The test below, as the copy of this process gets it.
const SELF: &str = "spindle::store::tests::killed::a_killed_run_leaves_no_part_of_a_content";

#[test]
fn a_killed_run_leaves_no_part_of_a_content() {
    if let Some(directory) = std::env::var_os(WORKPLACE) {
        return write_until_killed(Path::new(&directory));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut found = 0;
    for round in 0..40 {
        run_and_kill(directory.path(), Duration::from_micros(round * 997 % 20_000));
        for path in files(&directory.path().join("cache")) {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            if Digest::parse(name.as_bytes()).is_some() {
                let bytes = fs::read(&path).expect("it is ours");
                assert_eq!(Digest::of(&bytes).to_string(), name, "after {round} rounds");
                found += 1;
            }
        }
        let store = open(&kept(directory.path(), 32 * BLOCK));
        assert!(store.kept().is_some(), "the lock of the killed run is free");
        assert_eq!(store.usage().bytes, on_disk(directory.path()));
        drop(store);
        let left = fs::read_dir(directory.path().join("cache")).expect("it is there").flatten();
        assert_eq!(left.map(|entry| entry.file_name()).collect::<Vec<_>>(), ["kept"]);
        let names = fs::read_dir(directory.path().join("cache/kept")).expect("it is there").flatten();
        assert!(names.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with("new-")));
    }
    assert!(found > 0, "no run was killed after its first object");
}

/// Starts a copy of this process that writes, and kills it this time after its first write.
fn run_and_kill(directory: &Path, after: Duration) {
    let program = std::env::current_exe().expect("this test");
    let mut command = Command::new(program);
    command.args([SELF, "--exact"]).env(WORKPLACE, directory).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = fs::remove_file(directory.join("begun"));
    let mut child = command.spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !directory.join("begun").exists() {
        assert!(Instant::now() < deadline, "the copy does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(after);
    child.kill().and_then(|()| child.wait()).expect("it is killed");
}

fn write_until_killed(directory: &Path) {
    let stores = [open(&kept(directory, 32 * BLOCK)), open(&options(directory, 32 * BLOCK))];
    fs::write(directory.join("begun"), "").expect("it is ours");
    let deadline = Instant::now() + Duration::from_secs(20);
    for number in 0.. {
        // In pieces, so that a content is often incomplete.
        for store in &stores {
            let mut new = store.begin(4 * BLOCK).expect("there is room");
            content(number, 4)
                .chunks(4096)
                .for_each(|piece| new.write_all(piece).expect("the disk has room"));
            drop(new.commit().expect("it gets its name"));
        }
        if Instant::now() > deadline {
            return;
        }
    }
}
