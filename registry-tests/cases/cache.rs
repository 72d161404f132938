//! The cache of artifacts. A reference by digest makes no request, one by tag makes one request, and offline
//! mode makes none. Many processes can use the cache at once.

use crate::harness::artifact::{attach, push};
use crate::harness::image::Place;
use crate::harness::memory_registry::MemoryRegistry;
use crate::harness::recorder::lines;
use crate::harness::{Case, Workspace};

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("cache::the_second_check_by_digest_makes_no_request", &[], by_digest),
        Case::new("cache::the_second_check_by_tag_makes_one_request", &[], by_tag),
        Case::new("cache::offline_makes_no_request", &[], offline),
        Case::new("cache::offline_without_the_artifact_fails_clearly", &[], offline_without),
        Case::new("cache::a_moved_tag_is_noticed", &[], moved_tag),
        Case::new("cache::many_processes_fill_it_at_once", &[], many),
        Case::new("cache::a_damaged_entry_is_fetched_again", &[], damaged),
        Case::new("cache::any_damage_is_repaired_by_the_next_online_check", &[], healed),
        Case::new("cache::it_is_listed_and_pruned", &[], list_and_prune),
    ]
}

fn registry_with(workspace: &Workspace, salt: &str) -> (MemoryRegistry, String, String) {
    let registry = MemoryRegistry::honest();
    let reference = format!("{}/demo:1", registry.address());
    let digest = push(workspace, &reference, salt);
    (registry, reference, digest)
}

fn check(workspace: &Workspace, reference: &str) {
    workspace.compat(["check", reference]).ok();
}

fn assert_requests(registry: &MemoryRegistry, count: usize) {
    let requests = registry.requests();
    assert_eq!(requests.len(), count, "requests:\n{}", lines(&requests));
}

fn by_digest(workspace: &Workspace) {
    let (registry, _, digest) = registry_with(workspace, "a");
    let reference = format!("{}/demo@{digest}", registry.address());
    check(workspace, &reference);
    registry.forget();
    check(workspace, &reference);
    assert_requests(&registry, 0);
    workspace.compat(["check", "--no-cache", &reference]).ok();
    assert!(!registry.requests().is_empty(), "--no-cache used the cache");
    // A directory in the environment does not contradict the option.
    let named = workspace.path("named");
    workspace.compat(["check", "--no-cache", &reference]).env("COMPAT_CACHE_DIR", &named).ok();
    assert!(!named.exists(), "--no-cache wrote a cache");
}

fn by_tag(workspace: &Workspace) {
    let (registry, reference, _) = registry_with(workspace, "a");
    check(workspace, &reference);
    registry.forget();
    check(workspace, &reference);
    assert_requests(&registry, 1);
}

fn offline(workspace: &Workspace) {
    let (registry, reference, digest) = registry_with(workspace, "a");
    Place::server(&registry.address(), "app").image("1", "x");
    let image = format!("{}/app:1", registry.address());
    attach(workspace, &image, "b");
    check(workspace, &reference);
    check(workspace, &image);
    registry.forget();
    let by_digest = format!("{}/demo@{digest}", registry.address());
    for source in [&reference, &by_digest, &image] {
        workspace.compat(["check", "--offline", source]).ok();
    }
    assert_requests(&registry, 0);
}

fn offline_without(workspace: &Workspace) {
    let (registry, reference, _) = registry_with(workspace, "a");
    registry.forget();
    workspace.compat(["check", "--offline", &reference]).run().fails_clearly().says("offline");
    assert_requests(&registry, 0);
}

fn moved_tag(workspace: &Workspace) {
    let (_registry, reference, _) = registry_with(workspace, "a");
    check(workspace, &reference);
    let moved = push(workspace, &reference, "b");
    workspace.compat(["check", "--format", "json", &reference]).ok().says(&moved);
}

fn many(workspace: &Workspace) {
    let (_registry, reference, _) = registry_with(workspace, "a");
    let running: Vec<_> = (0..16).map(|_| workspace.compat(["check", &reference]).start()).collect();
    for running in running {
        running.wait().exits(0);
    }
    workspace.compat(["check", "--offline", &reference]).ok();
}

/// Content of the cache is verified by its digest before it is used.
fn damaged(workspace: &Workspace) {
    let (_registry, reference, _) = registry_with(workspace, "a");
    check(workspace, &reference);
    let mut spoilt = 0;
    spoil(&workspace.path("cache"), &mut spoilt);
    assert!(spoilt > 0, "the cache is empty");
    check(workspace, &reference);
    // The check has repaired the entry, whatever it contained.
    workspace.compat(["check", "--offline", &reference]).ok();
}

/// An index with its image and artifact: each file of the cache in turn is damaged.
fn healed(workspace: &Workspace) {
    let registry = MemoryRegistry::honest();
    let index = Place::server(&registry.address(), "app").index("1");
    let reference = format!("{}/app:1", registry.address());
    attach(workspace, &format!("{}/app@{}", registry.address(), index.digest), "a");
    check(workspace, &reference);
    let offline = || workspace.compat(["check", "--offline", &reference]).run();
    offline().exits(0);
    let mut files = Vec::new();
    list(&workspace.path("cache"), &mut files);
    assert!(files.len() >= 4, "{files:?}");
    for file in &files {
        let whole = std::fs::read(file).expect("a file of the cache");
        for number in 0..4 {
            std::fs::remove_file(file).expect("a file of the cache");
            match number {
                0 => std::fs::write(file, &whole[..whole.len() / 2]).expect("a part"),
                1 => std::fs::write(file, "").expect("nothing"),
                2 => std::fs::write(file, "[1, 2").expect("a file that is not JSON"),
                _ => std::fs::create_dir_all(file.join("folder")).expect("a directory"),
            }
            check(workspace, &reference);
            offline().exits(0);
        }
    }
}

fn list(directory: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

fn spoil(directory: &std::path::Path, spoilt: &mut u32) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            spoil(&path, spoilt);
        } else if std::fs::write(&path, b"{\"broken\": ").is_ok() {
            *spoilt += 1;
        }
    }
}

fn list_and_prune(workspace: &Workspace) {
    let (_registry, reference, digest) = registry_with(workspace, "a");
    check(workspace, &reference);
    let short = &digest["sha256:".len()..][..12];
    workspace.compat(["cache", "ls"]).ok().says(short);
    workspace.compat(["cache", "prune"]).ok();
    workspace.compat(["cache", "ls"]).ok().says(short);
    workspace.compat(["cache", "prune", "--all"]).ok();
    workspace.compat(["cache", "ls"]).ok().never_says(short);
    workspace.compat(["check", "--offline", &reference]).run().fails_clearly();
}
