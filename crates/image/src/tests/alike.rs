//! All path walks agree with each other and with the kernel: in this machine's directories, an image's tree, a
//! saved host and an application's scope.

use std::collections::BTreeMap;
use std::path::Path;

use compat_loader::host::{Profile, Root, WalkError};
use compat_loader::loader::{Application, Files, Obstacle, OpenError, ProfileFiles, ScopeFiles};
use proptest::prelude::*;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Tar, tree};
use crate::Node;

/// An entry of a tree, by its path without links, relative to the root.
#[derive(Clone, Debug)]
enum Kind {
    Directory,
    File,
    Link(String),
}

type Sample = BTreeMap<String, Kind>;

/// The result of resolving a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Led {
    File(String),
    Directory(String),
    NotFound,
    NotDirectory,
    TooLong,
    Loop,
}

impl Led {
    fn to(path: &Path, is_directory: bool) -> Self {
        let path = path.to_str().unwrap().to_owned();
        if is_directory { Self::Directory(path) } else { Self::File(path) }
    }

    fn not(error: &WalkError) -> Self {
        match error {
            WalkError::NotFound => Self::NotFound,
            WalkError::NotDirectory => Self::NotDirectory,
            WalkError::TooLong => Self::TooLong,
            WalkError::Loop => Self::Loop,
            other => panic!("{other:?}"),
        }
    }
}

/// Creates a tree with these entries. Every directory gets a file because specifications list only files.
fn sample(entries: &[(String, Kind)]) -> Sample {
    let mut sample = Sample::from([("keep".to_owned(), Kind::File)]);
    for (path, kind) in entries {
        let above: Vec<&str> = path.match_indices('/').map(|(end, _)| &path[..end]).collect();
        let is_free = |above: &&str| sample.get(*above).is_none_or(|kind| matches!(kind, Kind::Directory));
        if !above.iter().all(is_free) || sample.contains_key(path) {
            continue;
        }
        let own = matches!(kind, Kind::Directory).then_some(path.as_str());
        for directory in above.into_iter().chain(own) {
            sample.insert(directory.to_owned(), Kind::Directory);
            sample.insert(format!("{directory}/keep"), Kind::File);
        }
        sample.entry(path.clone()).or_insert_with(|| kind.clone());
    }
    sample
}

fn on_disk(sample: &Sample) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, kind) in sample {
        let place = directory.path().join(path);
        match kind {
            Kind::Directory => std::fs::create_dir(place).unwrap(),
            Kind::File => std::fs::write(place, "").unwrap(),
            Kind::Link(target) => std::os::unix::fs::symlink(target, place).unwrap(),
        }
    }
    directory
}

/// The kernel's result, with the directory as the root.
fn by_kernel(root: &Path, path: &str) -> Led {
    let directory =
        rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = loop {
        match rustix::fs::openat2(&directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
            // Another process renamed a file meanwhile.
            Err(Errno::AGAIN) => {}
            other => break other,
        }
    };
    match opened {
        Ok(file) => {
            let number = std::os::fd::AsRawFd::as_raw_fd(&file);
            let place = std::fs::read_link(format!("/proc/self/fd/{number}")).unwrap();
            let inside = Path::new("/").join(place.strip_prefix(root).unwrap());
            Led::to(&inside, place.is_dir())
        }
        Err(error) => Led::not(&std::io::Error::from(error).into()),
    }
}

fn by_root(root: &Root, path: &str) -> Led {
    match root.resolve(Path::new(path)) {
        Ok(place) => Led::to(&place, root.is_directory(&place)),
        Err(error) => Led::not(&error),
    }
}

fn by_tree(sample: &Sample, paths: &[String]) -> Vec<Led> {
    let layer = sample.iter().fold(Tar::new(), |layer, (path, kind)| match kind {
        Kind::Directory => layer.directory(&format!("{path}/")),
        // A tar header has room for a name of 100 bytes.
        Kind::File if path.len() > 99 => layer.pax(&[("path", path.as_bytes())]).file("x", "#!x"),
        Kind::File => layer.file(path, "#!x"),
        Kind::Link(target) => layer.link(path, target),
    });
    let tree = tree(&[layer.end()]).unwrap();
    let led = |path: &String| match tree.resolve(Path::new(path)) {
        Ok((place, node)) => Led::to(&place, matches!(node, Node::Directory(_))),
        Err(error) => Led::not(&error),
    };
    paths.iter().map(led).collect()
}

/// The links with their targets from the root.
fn links(sample: &Sample) -> impl Iterator<Item = (&String, String)> {
    sample.iter().filter_map(|(path, kind)| {
        let Kind::Link(target) = kind else { return None };
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        let whole = if target.starts_with('/') { target.clone() } else { format!("{above}/{target}") };
        Some((path, whole.trim_start_matches('/').to_owned()))
    })
}

fn files(sample: &Sample) -> impl Iterator<Item = &String> {
    sample.iter().filter(|(_, kind)| matches!(kind, Kind::File)).map(|(path, _)| path)
}

fn profile(sample: &Sample) -> ProfileFiles {
    let directories = sample.iter().filter(|(_, kind)| matches!(kind, Kind::Directory));
    let directories = directories.map(|(path, _)| format!("/{path}"));
    ProfileFiles::new(Profile {
        complete: true,
        directories: directories.chain(["/".to_owned()]).collect(),
        links: links(sample).map(|(path, target)| (format!("/{path}"), format!("/{target}"))).collect(),
        unusable: files(sample).map(|path| (format!("/{path}"), format!("/{path}"))).collect(),
        unrecorded: Some(BTreeMap::new()),
        ..Profile::default()
    })
}

fn application(sample: &Sample) -> Application {
    Application {
        location: Some(String::new()),
        links: links(sample).map(|(path, target)| (path.clone(), target)).collect(),
        unusable: files(sample).map(|path| (path.clone(), format!("/{path}"))).collect(),
        ..Application::default()
    }
}

/// The result for a specification: each file is recorded as unusable, with its own path. Directories and
/// missing paths are both missing objects.
fn by_document(files: &dyn Files, path: &str) -> Option<Led> {
    match files.open(path) {
        Err(OpenError::Unusable(place)) => Some(Led::File(place)),
        Err(OpenError::Blocked(blocked)) => Some(match blocked.obstacle {
            Obstacle::File => Led::NotDirectory,
            Obstacle::TooLong => Led::TooLong,
            Obstacle::Other(_) => Led::Loop,
        }),
        Err(_) => None,
        Ok(opened) => panic!("{opened:?}"),
    }
}

/// Checks that all walks lead to the same place for every path.
fn compare(sample: &Sample, paths: &[String]) {
    let directory = on_disk(sample);
    let place = std::fs::canonicalize(directory.path()).unwrap();
    let root = Root::at(&place).unwrap();
    let (profile, application) = (profile(sample), application(sample));
    let empty = ProfileFiles::new(Profile::default());
    let scope = ScopeFiles::new(&application, &empty);
    for (path, in_tree) in paths.iter().zip(by_tree(sample, paths)) {
        let shown = &path[..path.len().min(80)];
        let led = by_kernel(&place, path);
        assert_eq!(by_root(&root, path), led, "root: {shown} in {sample:?}");
        assert_eq!(in_tree, led, "tree: {shown} in {sample:?}");
        let known = Some(led.clone()).filter(|led| !matches!(led, Led::Directory(_) | Led::NotFound));
        // A specification treats the target of a link as a directory, because it does not list directories.
        if led != Led::NotFound {
            assert_eq!(by_document(&scope, path), known, "scope: {shown} in {sample:?}");
        }
        // A profile does not record that a path leads through a file.
        if led != Led::NotDirectory {
            assert_eq!(by_document(&profile, path), known, "profile: {shown} in {sample:?}");
        }
    }
}

fn chain(links: usize) -> Sample {
    let link = |number: usize| (format!("l{number}"), Kind::Link(format!("l{}", number + 1)));
    let mut entries: Vec<(String, Kind)> = (1..links).map(link).collect();
    entries.push((format!("l{links}"), Kind::Link("keep".to_owned())));
    sample(&entries)
}

#[test]
fn the_limits_are_the_kernels() {
    let of_length = |length: usize| format!("/{}keep", "./".repeat(2050))[..length].to_owned();
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    let entries = [(format!("d/{longest}"), Kind::File), ("e".to_owned(), Kind::Link("d".to_owned()))];
    let paths = [
        format!("/d/{longest}"),
        format!("/e/{longest}"),
        format!("/e/{too_long}"),
        format!("/e/{too_long}/.."),
        format!("/none/{too_long}"),
        format!("/keep/{too_long}"),
        format!("/{}keep", "/".repeat(4090)),
        format!("/{}keep", "/".repeat(4091)),
        of_length(4095),
        of_length(4096),
    ];
    compare(&sample(&entries), &paths);
    let first = ["/l1".to_owned(), "/l1/".to_owned(), "/l2/../l1".to_owned()];
    compare(&chain(40), &first);
    compare(&chain(41), &first);
    compare(&sample(&[("a".to_owned(), Kind::Link("a".to_owned()))]), &["/a".to_owned(), "/a/b".to_owned()]);
}

#[test]
fn paths_lead_alike() {
    let link = |path: &str, target: &str| (path.to_owned(), Kind::Link(target.to_owned()));
    let entries = [
        ("a/b/c".to_owned(), Kind::Directory),
        link("a/up", ".."),
        link("a/absolute", "/a/b"),
        link("a/file", "b/keep"),
        link("a/slash", "b/"),
        link("a/blocked", "keep/"),
        link("a/broken", "none"),
        link("a/above", "../../../a/b/keep"),
        link("top", "/"),
    ];
    let paths = [
        "/",
        "/.",
        "/..",
        "//",
        "a",
        "a/",
        "/a/.",
        "/a/..",
        "/a/b/../keep",
        "/a//b/./keep",
        "/keep/",
        "/keep/.",
        "/keep/..",
        "/keep/x",
        "/none",
        "/none/",
        "/none/..",
        "/none/../keep",
        "/a/up/keep",
        "/a/absolute/keep",
        "/a/absolute/../keep",
        "/a/file",
        "/a/file/",
        "/a/file/..",
        "/a/slash",
        "/a/slash/keep",
        "/a/blocked",
        "/a/blocked/..",
        "/a/broken",
        "/a/broken/..",
        "/a/above",
        "/top/a/up/top/keep",
        "/top/..",
        "/a/b/c/keep",
    ];
    compare(&sample(&entries), &paths.map(str::to_owned));
}

fn path(rooted: bool) -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "a", "b", "c", "keep", "..", "..", ".", ""]);
    let start = if rooted { "/" } else { "" };
    prop::collection::vec(name, 1..6).prop_map(move |names| format!("{start}{}", names.join("/")))
}

fn entry() -> impl Strategy<Value = (String, Kind)> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let place = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let target = prop::bool::ANY
        .prop_flat_map(path)
        .prop_filter("a link leads somewhere", |target| !target.is_empty());
    let kind = prop_oneof![Just(Kind::Directory), Just(Kind::File), target.prop_map(Kind::Link)];
    (place, kind)
}

proptest! {
    /// Invariant: all walks agree with the kernel.
    #[test]
    fn any_path_leads_alike(
        entries in prop::collection::vec(entry(), 1..12),
        paths in prop::collection::vec(path(true), 1..24),
    ) {
        compare(&sample(&entries), &paths);
    }
}
