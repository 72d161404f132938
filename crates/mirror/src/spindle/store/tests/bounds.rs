//! Limits, eviction and the bytes that count.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn is_full(store: &Store, size: u64) -> bool {
    matches!(store.begin(size), Err(Refusal::Full))
}

#[test]
fn what_is_held_is_never_evicted_and_counts_until_it_is_dropped() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 4 * BLOCK));
    let held = stored(&store, &content(1, 2));
    let snapshot = written(&store, &content(2, 1)).into_unnamed();
    assert_eq!(store.usage().bytes, 3 * BLOCK);
    assert!(is_full(&store, 2 * BLOCK), "two blocks are held under a name and one without");
    store.detach(&held);
    assert!(is_full(&store, 2 * BLOCK), "it has no name any more, but it is held");
    drop(snapshot);
    let more = store.begin(2 * BLOCK).expect("the snapshot is gone");
    drop(held);
    assert_eq!(store.usage().bytes, 2 * BLOCK);
    drop(more);
    assert_eq!((store.usage().bytes, store.usage().evictions), (0, 0));
}

#[test]
fn the_least_recently_used_object_is_evicted_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 4 * BLOCK));
    let digests: Vec<Digest> = (0..4).map(|number| stored(&store, &content(number, 1)).digest()).collect();
    let held = store.get(&digests[1]).expect("it is there");
    drop(store.get(&digests[0]));
    drop(stored(&store, &content(4, 2)));
    let present = |digest: &Digest| store.get(digest).is_some();
    assert_eq!(digests.iter().map(present).collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!((store.usage().evictions, store.usage().objects), (2, 3));
    assert!(on_disk(directory.path()) <= 4 * BLOCK);
    assert_eq!(read(&held), content(1, 1));
}

#[test]
fn nothing_is_evicted_for_a_content_that_cannot_fit() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 4 * BLOCK));
    let held = stored(&store, &content(1, 2));
    let idle = stored(&store, &content(2, 1)).digest();
    assert!(is_full(&store, 3 * BLOCK) && is_full(&store, 5 * BLOCK) && is_full(&store, u64::MAX));
    assert!(store.get(&idle).is_some() && store.usage().evictions == 0);
    drop(held);
}

#[test]
fn space_is_counted_in_blocks_of_the_file_system() {
    let directory = tempfile::tempdir().expect("a directory");
    let block = rustix::fs::statvfs(directory.path()).expect("a file system").f_frsize;
    let store = open(&options(directory.path(), 2 * block));
    let small = [stored(&store, b"a"), stored(&store, b"b")];
    let empty = stored(&store, b"");
    assert_eq!((store.usage().bytes, store.usage().objects, empty.size()), (2 * block, 3, 0));
    assert!(is_full(&store, 1) && store.begin(0).is_ok());
    drop(small);
}

#[test]
fn an_abandoned_content_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 4 * BLOCK));
    let before = files(directory.path());
    let mut new = store.begin(3 * BLOCK).expect("there is room");
    new.write_all(&content(1, 2)).expect("the disk has room");
    assert!(is_full(&store, 2 * BLOCK), "the whole size is reserved");
    drop(new);
    assert_eq!((files(directory.path()), store.usage().bytes), (before, 0));
}

#[test]
fn a_content_may_be_shorter_than_announced_and_not_longer() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 4 * BLOCK));
    let mut new = store.begin(4 * BLOCK).expect("there is room");
    new.write_all(&content(1, 1)).expect("the disk has room");
    let object = new.commit().expect("it gets its name");
    assert_eq!((object.size(), read(&object)), (BLOCK, content(1, 1)));
    assert_eq!(store.usage().bytes, BLOCK);
    assert!(on_disk(directory.path()) <= BLOCK);
    let mut new = store.begin(BLOCK).expect("there is room");
    new.write_all(&content(2, 1)).expect("the disk has room");
    let error = new.write_all(b"x").expect_err("it was not announced");
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
}

#[test]
fn the_limit_holds_for_many_threads() {
    let directory = tempfile::tempdir().expect("a directory");
    let limit = 16 * BLOCK;
    let store = open(&options(directory.path(), limit));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let (used, disk) = (store.usage().bytes, on_disk(directory.path()));
                assert!(used <= limit && disk <= limit, "{used} bytes counted, {disk} on the disk");
            }
        });
        let workers: Vec<_> = (0..8)
            .map(|seed| {
                scope.spawn({
                    let store = &store;
                    move || work(store, seed)
                })
            })
            .collect();
        let filled: Vec<usize> = workers.into_iter().map(|worker| worker.join().expect("no fault")).collect();
        ended.store(true, Ordering::Relaxed);
        watcher.join().expect("the limit holds");
        assert!(filled.iter().sum::<usize>() > 100, "too few contents had room: {filled:?}");
    });
    let usage = store.usage();
    assert_eq!(usage.bytes, on_disk(directory.path()), "all are idle");
    assert!(usage.evictions > 0 && usage.corrupt == 0);
}

/// Fills, finds, holds, takes away and drops objects in an order that the seed determines. Returns the number of
/// fills.
fn work(store: &Store, seed: u64) -> usize {
    let (mut state, mut held, mut filled) = (seed * 2 + 1, Vec::new(), 0);
    for _ in 0..300 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = content(state >> 60, 1 + (state >> 60) % 3);
        let mut is_refused = false;
        if let Some(found) = store.get(&Digest::of(&bytes)) {
            assert_eq!(read(&found), bytes);
            held.push(found);
        } else if let Ok(mut new) = store.begin(bytes.len() as u64) {
            new.write_all(&bytes).expect("the disk has room");
            filled += 1;
            match state >> 58 & 3 {
                0 => drop(new),
                1 => held.push(new.into_unnamed()),
                _ => held.push(new.commit().expect("it gets its name")),
            }
        } else {
            is_refused = true;
        }
        if state >> 57 & 1 == 0
            && let Some(object) = held.last()
        {
            store.detach(object);
            assert_eq!(read(object).len() as u64, object.size());
        }
        // A thread that is refused lets go, so that all together do not hold the whole cache for ever.
        let most = if is_refused { 0 } else { 2 };
        held.drain(..held.len().saturating_sub(most));
    }
    filled
}

#[test]
fn the_default_limit_is_a_tenth_of_the_free_space() {
    assert_eq!(default_limit(100 << 30, true), 10 << 30);
    assert_eq!(default_limit(200 << 20, true), LEAST);
    assert_eq!((default_limit(10 << 20, true), default_limit(0, true)), (5 << 20, 0));
    assert_eq!(default_limit(0, false), LEAST);
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&StoreOptions { limit: None, ..options(directory.path(), 0) });
    let space = rustix::fs::statvfs(directory.path()).expect("a file system");
    let tenth = space.f_bavail * space.f_frsize / 10;
    assert!(store.usage().limit.abs_diff(tenth.max(LEAST)) < tenth / 2 + LEAST);
}

#[test]
fn a_limit_of_nothing_refuses_everything_but_an_empty_content() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 0));
    assert!(is_full(&store, 1));
    assert_eq!(read(&stored(&store, b"")), b"");
}

/// Calls `test` with a new file system of this size in the memory. The mount is private to a thread, and disappears
/// with it. Returns `None` if this is not permitted.
pub(super) fn in_small_file_system(size: u64, test: impl FnOnce(&Path) + Send) -> Option<()> {
    if !geteuid().is_root() {
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path();
    let mounted = || {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        compat_sys::unshare_mounts(false).ok()?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).ok()?;
        let options = std::ffi::CString::new(format!("size={size}")).expect("text");
        mount("none", place, "tmpfs", MountFlags::empty(), &*options).ok()
    };
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                mounted()?;
                test(place);
                Some(())
            })
            .join()
            .expect("the test passes")
    })
}

#[test]
fn a_full_disk_refuses_and_leaves_nothing() {
    let size = 16 * BLOCK;
    let ran = in_small_file_system(size, |place| {
        let store = open(&options(place, 1 << 30));
        let held = stored(&store, &content(1, 4));
        let Err(Refusal::Failed(error)) = store.begin(13 * BLOCK) else { panic!("the disk has less") };
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!((store.usage().bytes, files(place).len()), (4 * BLOCK, 2), "the object and the lock");
        let mut new = store.begin(8 * BLOCK).expect("the disk has more");
        new.write_all(&content(2, 8)).expect("it was allocated");
        assert_eq!(read(&new.commit().expect("it gets its name")), content(2, 8));
        assert_eq!(read(&held), content(1, 4));
        // The limit is above the size of the disk, so nothing is evicted. A refused content reads the original.
        assert!(matches!(store.begin(13 * BLOCK), Err(Refusal::Failed(_))));
    });
    if ran.is_none() {
        assert!(!geteuid().is_root(), "root may mount");
    }
}
