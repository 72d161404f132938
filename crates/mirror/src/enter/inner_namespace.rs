//! The mount namespace of a command whose root is not mirrored.
//!
//! The mirrors of shares cover their originals. The supervisor and the server stay in the namespace around this one, in
//! which nothing is covered: a path that they use never leads through the mirror, and the server never waits for
//! itself.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::process::fchdir;

use super::external_mount::MountNamespace;
use super::mount_table::{Mount, parse_all};
use super::walk;

/// The namespace of the command.
#[derive(Debug)]
pub(super) struct InnerNamespace {
    namespace: MountNamespace,
    /// Its name in `/proc/PID/ns/mnt`.
    name: PathBuf,
}

impl InnerNamespace {
    /// Makes a copy of this process's mount namespace. This process stays in its own namespace.
    ///
    /// # Errors
    ///
    /// Those of unshare(2), setns(2) and chroot(2).
    pub(super) fn new() -> io::Result<Self> {
        let outer = MountNamespace::current()?;
        let directory = rustix::fs::open(".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        compat_sys::unshare_mounts(false)?;
        let inner = MountNamespace::current().and_then(|namespace| {
            let name = fs::read_link("/proc/self/ns/mnt")?;
            Ok(Self { namespace, name })
        });
        outer.enter()?;
        if let Ok(directory) = directory {
            // If this fails, no relative path leads anywhere before either.
            let _ = fchdir(&directory);
        }
        inner
    }

    /// Enters the namespace. The working directory becomes its root. This process must have no other threads.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and chroot(2).
    pub(super) fn enter(&self) -> io::Result<()> {
        self.namespace.enter()
    }

    /// The root in the namespace.
    pub(super) fn root(&self) -> &OwnedFd {
        self.namespace.root()
    }

    /// Copies of the descriptors of the namespace and its root.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub(super) fn keys(&self) -> io::Result<[OwnedFd; 2]> {
        self.namespace.keys()
    }

    /// Whether a process with this name in `/proc/PID/ns/mnt` is in the namespace.
    pub(super) fn is_named(&self, name: &Path) -> bool {
        self.name == name
    }

    /// Opens a place in the namespace, which this process is in. It must be the same file as `known`.
    ///
    /// # Errors
    ///
    /// `ESTALE` if it is a different file.
    pub(super) fn find(&self, place: &[u8], known: &OwnedFd) -> io::Result<OwnedFd> {
        walk::open_known(self.root(), place, known)
    }

    /// The mounts in the namespace.
    ///
    /// # Errors
    ///
    /// Those of setns(2) and of reading the table.
    pub(super) fn mounts(&self) -> io::Result<Vec<Mount>> {
        self.namespace.there(|| Ok(parse_all(&fs::read("/proc/thread-self/mountinfo")?)))
    }
}
