//! The files of the source that the kernel knows, by the inode number of the source.
//!
//! Each is held by an `O_PATH` descriptor until the kernel forgets it, so that its number is not used again
//! meanwhile. Hard links are one node. The share does not leave the file system of its source: numbers of
//! another one could be the same.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::INodeNo;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags, openat, statx};
use rustix::io::Errno;

/// A change this young may share its time stamp with the next change: two ticks of the slowest kernel clock,
/// and some reserve.
const YOUNG: Duration = Duration::from_millis(100);

/// One file.
#[derive(Debug)]
pub(crate) struct Node {
    /// Different for each life of a number.
    pub(crate) generation: u64,
    descriptor: OwnedFd,
    /// The path at the last look-up.
    path: Mutex<Arc<[u8]>>,
    /// The version of the file that the kernel's page cache has.
    cached: Mutex<Option<Version>>,
}

/// A version of a file: its size, and its times with their nanoseconds.
type Version = (u64, [(i64, u32); 2]);

impl Node {
    /// Returns the current attributes.
    pub(crate) fn stat(&self) -> io::Result<Statx> {
        stat(&self.descriptor)
    }

    /// The path from the root of the share.
    pub(crate) fn path(&self) -> Arc<[u8]> {
        Arc::clone(&lock(&self.path))
    }

    /// The path of a name in this directory.
    pub(crate) fn path_of(&self, name: &OsStr) -> Vec<u8> {
        let mut path = self.path().to_vec();
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        path
    }

    /// Opens the file itself.
    pub(crate) fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        reopen(&self.descriptor, flags)
    }

    /// A path of this process that leads to the file, also after its removal.
    pub(crate) fn link(&self) -> String {
        link(&self.descriptor)
    }

    /// Whether the page cache has this version of the file. From now on it is assumed to have it, if the
    /// times of a further change would differ.
    pub(crate) fn keeps_pages(&self, stat: &Statx) -> bool {
        let version = is_settled(stat, SystemTime::now()).then(|| version(stat));
        let before = std::mem::replace(&mut *lock(&self.cached), version);
        version.is_some() && before == version
    }
}

impl AsFd for Node {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn version(stat: &Statx) -> Version {
    let times = [stat.stx_mtime, stat.stx_ctime].map(|time| (time.tv_sec, time.tv_nsec));
    (stat.stx_size, times)
}

/// Whether the last change is so long ago that a further one has another time.
fn is_settled(stat: &Statx, now: SystemTime) -> bool {
    let attributes = crate::attribute::attributes(stat);
    let last = attributes.mtime.max(attributes.ctime);
    now.duration_since(last).is_ok_and(|age| age > YOUNG)
}

/// A node and its attributes.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) node: Arc<Node>,
    pub(crate) stat: Statx,
}

/// All nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    root: Arc<Node>,
    device: (u32, u32),
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The nodes with the number of references that the kernel has.
    nodes: HashMap<u64, (Arc<Node>, u64)>,
    generation: u64,
}

impl Nodes {
    /// Opens the source.
    pub(crate) fn new(source: &Path) -> io::Result<Self> {
        let descriptor =
            openat(CWD, source, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = stat(&descriptor)?;
        Ok(Self {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            root: Arc::new(Node {
                generation: 0,
                descriptor,
                path: Mutex::new(b"/".as_slice().into()),
                cached: Mutex::new(None),
            }),
            known: Mutex::default(),
        })
    }

    /// Returns a node that the kernel knows.
    pub(crate) fn get(&self, number: INodeNo) -> io::Result<Arc<Node>> {
        if number == INodeNo::ROOT {
            return Ok(Arc::clone(&self.root));
        }
        let known = lock(&self.known);
        let (node, _) = known.nodes.get(&number.0).ok_or(Errno::STALE)?;
        Ok(Arc::clone(node))
    }

    /// Looks up a name. The kernel gets a reference.
    pub(crate) fn find(&self, parent: &Node, name: &OsStr) -> io::Result<Found> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = openat(parent, name, flags, Mode::empty())?;
        self.admit(descriptor, parent.path_of(name))
    }

    /// Returns the node of an open file. The kernel gets a reference.
    pub(crate) fn of(&self, file: &OwnedFd, path: Vec<u8>) -> io::Result<Found> {
        self.admit(reopen(file, OFlags::PATH)?, path)
    }

    fn admit(&self, descriptor: OwnedFd, path: Vec<u8>) -> io::Result<Found> {
        let stat = stat(&descriptor)?;
        if (stat.stx_dev_major, stat.stx_dev_minor) != self.device {
            return Err(Errno::XDEV.into());
        }
        let number = stat.stx_ino;
        let mut known = lock(&self.known);
        if let Some((node, references)) = known.nodes.get_mut(&number) {
            *references += 1;
            *lock(&node.path) = path.into();
            return Ok(Found { node: Arc::clone(node), stat });
        }
        known.generation += 1;
        let generation = known.generation;
        let (path, cached) = (Mutex::new(path.into()), Mutex::new(None));
        let node = Arc::new(Node { generation, descriptor, path, cached });
        known.nodes.insert(number, (Arc::clone(&node), 1));
        Ok(Found { node, stat })
    }

    /// Records the new path of a file that was moved.
    pub(crate) fn moved(&self, number: u64, path: Vec<u8>) {
        if let Some((node, _)) = lock(&self.known).nodes.get(&number) {
            *lock(&node.path) = path.into();
        }
    }

    /// Drops references of the kernel.
    pub(crate) fn forget(&self, number: INodeNo, references: u64) {
        let mut known = lock(&self.known);
        let Some((_, left)) = known.nodes.get_mut(&number.0) else { return };
        *left = left.saturating_sub(references);
        if *left == 0 {
            known.nodes.remove(&number.0);
        }
    }
}

/// Returns the attributes of an open file.
fn stat(descriptor: &OwnedFd) -> io::Result<Statx> {
    Ok(statx(descriptor, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)?)
}

/// Opens an open file once more. A file of `O_PATH` can be opened only so.
fn reopen(descriptor: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(openat(CWD, link(descriptor), flags | OFlags::CLOEXEC, Mode::empty())?)
}

fn link(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Locks data that remain valid if a thread panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn hard_links_are_one_node() {
        let source = tempfile::tempdir().expect("a directory");
        fs::write(source.path().join("a"), "a").expect("a file");
        fs::hard_link(source.path().join("a"), source.path().join("b")).expect("a link");
        let nodes = Nodes::new(source.path()).expect("the source");
        let [a, b] = ["a", "b"].map(|name| nodes.find(&nodes.root, OsStr::new(name)).expect("found").node);
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(*a.path(), *b"/b", "the path is that of the last look-up");
    }

    #[test]
    fn a_number_lives_until_all_its_references_are_gone() {
        let source = tempfile::tempdir().expect("a directory");
        fs::write(source.path().join("a"), "a").expect("a file");
        let nodes = Nodes::new(source.path()).expect("the source");
        let find = || nodes.find(&nodes.root, OsStr::new("a")).expect("found").node;
        let (first, again) = (find(), find());
        let number = INodeNo(first.stat().expect("attributes").stx_ino);
        nodes.forget(number, 1);
        assert!(nodes.get(number).is_ok());
        nodes.forget(number, 1);
        assert_eq!(nodes.get(number).expect_err("forgotten").raw_os_error(), Some(libc::ESTALE));
        assert_ne!(find().generation, again.generation);
    }

    #[test]
    fn pages_are_kept_while_a_settled_version_stays() {
        let source = tempfile::tempdir().expect("a directory");
        let path = source.path().join("a");
        let old = SystemTime::now() - Duration::from_secs(10);
        fs::write(&path, "a").expect("a file");
        let nodes = Nodes::new(source.path()).expect("the source");
        let node = nodes.find(&nodes.root, OsStr::new("a")).expect("found").node;
        let kept = || node.keeps_pages(&node.stat().expect("attributes"));
        assert_eq!((kept(), kept()), (false, false), "the file is young");
        std::thread::sleep(2 * YOUNG);
        assert_eq!((kept(), kept()), (false, true));
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("a time");
        std::thread::sleep(2 * YOUNG);
        assert_eq!((kept(), kept()), (false, true), "its time has changed");
    }
}
