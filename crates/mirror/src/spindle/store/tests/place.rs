//! The directory of the cache, and the files that ended and killed runs leave.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

fn fault(options: &StoreOptions) -> String {
    let error = Store::open(options).expect_err("it is not private");
    assert!(!error.allows_run() && error.hint().is_some());
    error.to_string()
}

#[test]
fn a_directory_that_is_not_this_users_alone_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (options, cache) = (options(directory.path(), BLOCK), directory.path().join("cache"));
    let expect = |reason: &str| {
        assert_eq!(fault(&options), format!("cannot use {} for the cache: {reason}", cache.display()));
    };
    fs::create_dir(&cache).expect("a directory");
    for mode in [0o750, 0o701, 0o1777] {
        fs::set_permissions(&cache, Permissions::from_mode(mode)).expect("it is ours");
        expect(&format!("other users can enter it (mode {mode:o})"));
    }
    fs::set_permissions(&cache, Permissions::from_mode(0o700)).expect("it is ours");
    if geteuid().is_root() {
        chown(&cache, Some(1234), None).expect("it is ours");
        expect("it belongs to another user (1234)");
        chown(&cache, Some(0), None).expect("it is ours");
    }
    let real = directory.path().join("real");
    fs::rename(&cache, &real).expect("it is ours");
    symlink("real", &cache).expect("a link");
    expect("it is not a directory");
    fs::remove_file(&cache).expect("it is ours");
    fs::write(&cache, "").expect("a file");
    expect("it is not a directory");
    assert_eq!(fs::read_dir(&real).expect("it is there").count(), 0);
}

#[test]
fn the_directory_of_kept_objects_is_checked_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = kept(directory.path(), BLOCK);
    drop(open(&options));
    let inner = directory.path().join("cache/kept");
    fs::set_permissions(&inner, Permissions::from_mode(0o755)).expect("it is ours");
    let expected =
        format!("cannot use {} for the cache: other users can enter it (mode 755)", inner.display());
    assert_eq!(fault(&options), expected);
    fs::remove_file(inner.join("lock")).and_then(|()| fs::remove_dir(&inner)).expect("it is ours");
    symlink("/tmp", &inner).expect("a link");
    assert!(fault(&options).ends_with("cache/kept for the cache: it is not a directory"));
}

#[test]
fn a_run_without_a_cache_is_possible_if_the_place_is_missing_or_read_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = directory.path().join("none/cache");
    let error =
        Store::open(&StoreOptions { directory: Some(missing.clone()), ..options(directory.path(), 0) });
    let error = error.expect_err("its parent does not exist");
    assert!(error.allows_run());
    assert_eq!(error.to_string(), format!("cannot use {} for the cache", missing.display()));
    let in_proc = StoreOptions { directory: Some("/proc/cache".into()), ..options(directory.path(), 0) };
    assert!(Store::open(&in_proc).expect_err("nobody creates files there").allows_run());
}

#[test]
fn the_default_directory_is_in_the_first_place_that_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    fs::create_dir(&second).expect("a directory");
    let made = |path: PathBuf| {
        private_directory::made(CWD, &path)
            .map(|_| path.clone())
            .map_err(|source| StoreError::of(&path, source))
    };
    let name = format!("compat-spindle-{}", geteuid().as_raw());
    let found = default_in(Some(&first), &second, made).expect("the second works");
    assert_eq!(found, second.join(&name));
    fs::create_dir(&first).expect("a directory");
    assert_eq!(default_in(Some(&first), &second, made).expect("it works"), first.join(&name));
    assert_eq!(default_in(None, &second, made).expect("it works"), second.join(&name));
    assert_eq!(fs::metadata(first.join(&name)).expect("it is there").mode() & 0o7777, 0o700);
    assert!(default_in(None, &directory.path().join("none"), made).is_err());
}

#[test]
fn a_run_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&options(directory.path(), 8 * BLOCK));
    let (held, new) = (stored(&store, &content(1, 1)), written(&store, &content(2, 1)));
    let run = fs::read_dir(store.path()).expect("it is there").flatten().next().expect("one run");
    assert_eq!(run.metadata().expect("it is there").mode() & 0o7777, 0o700);
    store.close();
    assert_eq!(fs::read_dir(store.path()).expect("it is there").count(), 0);
    assert!(store.get(&held.digest()).is_none() && matches!(store.begin(1), Err(Refusal::Full)));
    assert!(held.file().is_err() && new.commit().is_err());
    drop(store);
}

#[test]
fn a_forked_copy_removes_nothing_when_it_is_dropped() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = open(&options(directory.path(), 8 * BLOCK));
    let digest = stored(&store, &content(1, 1)).digest();
    store.owner = 0;
    drop(store);
    assert!(file_of(directory.path(), digest).exists());
}

#[test]
fn what_killed_runs_left_is_removed_and_a_living_run_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = options(directory.path(), 8 * BLOCK);
    let living = open(&options);
    let object = stored(&living, &content(1, 1));
    let base = directory.path().join("cache");
    let outside = directory.path().join("outside");
    let name = Digest::of(b"a").to_string();
    for place in ["run-1-0", "run-2-0", "run-3", "run-4-0-0", "runs"] {
        fs::create_dir(base.join(place)).expect("a directory");
        fs::set_permissions(base.join(place), Permissions::from_mode(0o700)).expect("it is ours");
        for file in [&name[..], "new-7", "lock"] {
            fs::write(base.join(place).join(file), "left").expect("a file");
        }
    }
    fs::write(base.join("run-2-0/notes"), "mine").expect("a file");
    fs::create_dir(&outside).expect("a directory");
    fs::set_permissions(&outside, Permissions::from_mode(0o700)).expect("it is ours");
    fs::write(outside.join(&name), "mine").expect("a file");
    symlink(&outside, base.join("run-5-0")).expect("a link");
    let next = open(&options);
    assert!(!base.join("run-1-0").exists());
    assert_eq!(files(&base.join("run-2-0")), [base.join("run-2-0/notes")], "only known files are removed");
    for other in ["run-3", "run-4-0-0", "runs"] {
        assert_eq!(files(&base.join(other)).len(), 3, "{other} is not the name of a run");
    }
    assert_eq!(files(&outside).len(), 1);
    assert_eq!(read(&object), content(1, 1));
    drop((living, next));
}

#[test]
fn a_mount_in_the_directory_is_left_alone() {
    let ran = super::bounds::in_small_file_system(1 << 20, |place| {
        let options = options(place, BLOCK);
        drop(open(&options));
        let run = place.join("cache/run-1-0");
        let outside = place.join("outside");
        for directory in [&run, &outside] {
            fs::create_dir(directory).expect("a directory");
            fs::set_permissions(directory, Permissions::from_mode(0o700)).expect("it is ours");
        }
        let file = outside.join(Digest::of(b"a").to_string());
        fs::write(&file, "mine").expect("a file");
        rustix::mount::mount_bind(&outside, &run).expect("a bind mount of the same file system");
        drop(open(&options));
        assert!(file.exists());
    });
    assert!(ran.is_some() || !geteuid().is_root(), "root may mount");
}

#[test]
fn one_run_at_a_time_uses_the_kept_objects() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = kept(directory.path(), 8 * BLOCK);
    let first = open(&options);
    let digest = stored(&first, &content(1, 1)).digest();
    let second = open(&options);
    assert!(first.kept().is_some() && second.kept().is_none());
    assert!(second.get(&digest).is_none());
    drop(stored(&second, &content(2, 1)));
    drop((first, second));
    let third = open(&options);
    assert!(third.kept().is_some() && third.get(&digest).is_some() && third.usage().objects == 1);
}

#[test]
fn runs_that_start_at_the_same_time_do_not_remove_one_another() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = options(directory.path(), 8 * BLOCK);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let options = &options;
            scope.spawn(move || {
                for _ in 0..20 {
                    let store = open(options);
                    let object = stored(&store, &content(number, 1));
                    assert_eq!(read(&object), content(number, 1));
                }
            });
        }
    });
    assert_eq!(fs::read_dir(directory.path().join("cache")).expect("it is there").count(), 0);
}
