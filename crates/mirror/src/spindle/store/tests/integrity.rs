//! Contents that are damaged, replaced, kept and written at the same time.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};

use super::*;

/// Changes one byte of a file and leaves its size and its time of change.
fn flip(path: &Path) {
    // Two changes in one step of the kernel's clock look like one.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let times = fs::metadata(path).expect("it is there").modified().expect("a time");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it is ours");
    let file = File::options().read(true).write(true).open(path).expect("it is ours");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100).expect("it has one");
    file.write_all_at(&[byte[0] ^ 1], 100).expect("it is ours");
    file.set_times(FileTimes::new().set_modified(times)).expect("it is ours");
}

#[test]
fn a_content_is_found_by_its_digest_and_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 8 * BLOCK));
    let object = stored(&store, &content(1, 2));
    assert_eq!(object.digest(), Digest::of(&content(1, 2)));
    let found = store.get(&object.digest()).expect("it is there");
    assert!(Arc::ptr_eq(&object, &found) && read(&found) == content(1, 2));
    let path = file_of(directory.path(), object.digest());
    assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o7777, 0o400);
    assert!(std::io::Write::write_all(&mut object.file().expect("it opens"), b"x").is_err());
    assert!(store.get(&Digest::of(b"other")).is_none());
}

#[test]
fn each_open_begins_at_the_beginning() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 8 * BLOCK));
    let objects = [stored(&store, &content(1, 1)), written(&store, &content(2, 1)).into_unnamed()];
    for (object, number) in objects.iter().zip(1..) {
        assert_eq!([read(object), read(object)], [content(number, 1), content(number, 1)]);
        assert!(std::io::Write::write_all(&mut object.file().expect("it opens"), b"x").is_err());
    }
}

#[test]
fn a_flipped_byte_is_never_served() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 8 * BLOCK));
    let digest = stored(&store, &content(1, 2)).digest();
    flip(&file_of(directory.path(), digest));
    assert!(store.get(&digest).is_none() && store.get(&digest).is_none());
    assert_eq!((store.usage().corrupt, store.usage().objects, store.usage().bytes), (1, 0, 0));
    // It can be stored again.
    let held = stored(&store, &content(1, 2));
    assert_eq!((held.digest(), read(&held)), (digest, content(1, 2)));
    flip(&file_of(directory.path(), digest));
    assert!(held.file().is_err() && held.file().is_err() && store.get(&digest).is_none());
    assert_eq!((store.usage().corrupt, store.usage().bytes), (2, 2 * BLOCK), "it is held");
    drop(held);
    assert_eq!(store.usage().bytes, 0);
}

#[test]
fn other_attributes_cause_a_verification_and_no_loss() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 8 * BLOCK));
    let object = stored(&store, &content(1, 2));
    let path = file_of(directory.path(), object.digest());
    let copy = directory.path().join("copy");
    fs::copy(&path, &copy).expect("a copy");
    fs::rename(&copy, &path).expect("it is ours");
    assert_eq!(read(&object), content(1, 2), "another file with the same content");
    assert!(store.get(&object.digest()).is_some() && store.usage().corrupt == 0);
}

#[test]
fn another_kind_of_file_under_the_name_is_no_object() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 8 * BLOCK));
    let secret = directory.path().join("secret");
    fs::write(&secret, content(1, 1)).expect("it is ours");
    let faults: [fn(&Path, &Path); 4] = [
        |path, _| fs::remove_file(path).expect("it is ours"),
        |path, secret| {
            fs::remove_file(path).expect("it is ours");
            symlink(secret, path).expect("a link");
        },
        |path, _| fs::write(path, "short").expect("it is ours"),
        |path, _| {
            fs::remove_file(path).expect("it is ours");
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, mode, 0).expect("a fifo");
        },
    ];
    for fault in faults {
        let digest = stored(&store, &content(1, 1)).digest();
        let path = file_of(directory.path(), digest);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        fault(&path, &secret);
        assert!(store.get(&digest).is_none());
        assert_eq!((store.usage().objects, store.usage().bytes), (0, 0));
    }
    assert_eq!(fs::read(&secret).expect("it is there"), content(1, 1));
}

#[test]
fn equal_contents_become_one_object_however_many_threads_write_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 64 * BLOCK));
    let bytes = content(1, 2);
    let barrier = std::sync::Barrier::new(8);
    let objects: Vec<Arc<Object>> = std::thread::scope(|scope| {
        let commit = || {
            let new = written(&store, &bytes);
            barrier.wait();
            new.commit().expect("it gets its name")
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(commit)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no fault")).collect()
    });
    assert!(objects.iter().all(|object| Arc::ptr_eq(object, &objects[0])));
    assert_eq!((store.usage().bytes, store.usage().objects), (2 * BLOCK, 1));
    assert_eq!(files(directory.path()).len(), 2, "the object and the lock");
}

#[test]
fn a_content_without_its_name_is_read_by_its_holders_and_found_by_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 8 * BLOCK));
    let object = stored(&store, &content(1, 2));
    store.detach(&object);
    store.detach(&object);
    assert!(store.get(&object.digest()).is_none());
    let again = stored(&store, &content(1, 2));
    assert!(!Arc::ptr_eq(&object, &again) && store.usage().bytes == 4 * BLOCK);
    assert_eq!([read(&object), read(&again)], [content(1, 2), content(1, 2)]);
    let snapshot = written(&store, &content(3, 1)).into_unnamed();
    assert!(store.get(&snapshot.digest()).is_none());
    assert_eq!((read(&snapshot), files(directory.path()).len()), (content(3, 1), 2));
}

#[test]
fn kept_objects_are_found_by_the_next_run_and_verified() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = kept(directory.path(), 16 * BLOCK);
    let store = open(&options);
    let digests: Vec<Digest> = (0..3).map(|number| stored(&store, &content(number, 2)).digest()).collect();
    let unfinished = written(&store, &content(9, 2));
    drop(store);
    drop(unfinished);
    flip(&file_of(directory.path(), digests[1]));
    let store = open(&options);
    assert_eq!((store.usage().bytes, store.usage().objects), (6 * BLOCK, 3));
    assert_eq!(read(&store.get(&digests[0]).expect("it was kept")), content(0, 2));
    assert!(store.get(&digests[1]).is_none(), "it was damaged");
    // An equal content takes the verified object.
    assert_eq!(read(&stored(&store, &content(2, 2))), content(2, 2));
    assert_eq!((store.usage().corrupt, store.usage().objects, store.usage().bytes), (1, 2, 4 * BLOCK));
}

#[test]
fn threads_that_ask_for_a_kept_object_share_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = kept(directory.path(), 64 * BLOCK);
    let digest = stored(&open(&options), &content(1, 16)).digest();
    let store = open(&options);
    let barrier = std::sync::Barrier::new(8);
    let objects: Vec<Arc<Object>> = std::thread::scope(|scope| {
        let find = || {
            barrier.wait();
            store.get(&digest).expect("it was kept")
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(find)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no fault")).collect()
    });
    assert!(objects.iter().all(|object| Arc::ptr_eq(object, &objects[0])));
    drop(objects);
    flip(&file_of(directory.path(), digest));
    let found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| store.get(&digest).is_some())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no fault")).filter(|found| *found).count()
    });
    assert_eq!((found, store.usage().corrupt, store.usage().bytes), (0, 1, 0));
}

#[test]
fn a_lower_limit_removes_kept_objects_by_their_last_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&kept(directory.path(), 16 * BLOCK));
    let digests: Vec<Digest> = (0..4).map(|number| stored(&store, &content(number, 2)).digest()).collect();
    drop(stored(&store, &content(9, 5)));
    drop(store);
    let used = |number: u64| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number);
    for (digest, time) in digests.iter().zip([40, 10, 30, 20]) {
        let path = file_of(directory.path(), *digest);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        let file = File::options().write(true).open(&path).expect("it is ours");
        file.set_times(FileTimes::new().set_accessed(used(time)).set_modified(used(1))).expect("it is ours");
    }
    let store = open(&kept(directory.path(), 4 * BLOCK));
    let present = |digest: &Digest| store.get(digest).is_some();
    assert_eq!(digests.iter().map(present).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(on_disk(directory.path()) <= 4 * BLOCK && store.get(&Digest::of(&content(9, 5))).is_none());
}
