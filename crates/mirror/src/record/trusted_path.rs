//! Finds the place of a file to write to, without following links that untrusted users may have created.
//!
//! The path is walked component by component, through descriptors. A symbolic link is followed only if a trusted user
//! owns it and its directory, and not everyone can write to that directory. Trusted users are root, the user who runs
//! this process, and the owner of the root directory, which is how root appears in a user namespace. The links of
//! `/proc` lead to open files of a process. The kernel follows them if a trusted user owns them.
//!
//! Other users may rename and remove files in their own directories. A place that is reached through such directories
//! is still a directory and not a link. The caller checks the file in it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::refusal::Refusal;

/// The maximum number of links, as in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

/// The type of procfs in statfs(2) (`linux/magic.h`).
const PROC: u64 = 0x9fa0;

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A name in a directory.
#[derive(Debug)]
pub(super) struct TrustedPath {
    pub directory: OwnedFd,
    pub name: OsString,
    /// Whether it is a link in `/proc` to an open file of a process.
    pub is_open_file: bool,
}

/// Finds the directory and the name with which a path ends.
///
/// # Errors
///
/// If a directory is missing, or a link on the way is not followed.
pub(super) fn find(path: &Path) -> io::Result<TrustedPath> {
    TrustedWalk::begin(path)?.place()
}

/// Creates a directory and its parents if they do not exist.
///
/// # Errors
///
/// Those of [`find`], and those of mkdirat(2).
pub(super) fn make_directories(path: &Path, mode: Mode) -> io::Result<()> {
    let mut walk = TrustedWalk::begin(path)?;
    while let Some(name) = walk.rest.pop_front() {
        if !walk.enter_or_follow(&name, Some(mode))? {
            return Err(Errno::NOTDIR.into());
        }
    }
    Ok(())
}

/// Whether this user has full control here anyway.
pub(super) fn is_trusted(user: u32) -> bool {
    let owner_of_root = rustix::fs::stat("/").map(|stat| stat.st_uid);
    user == 0 || user == rustix::process::geteuid().as_raw() || owner_of_root == Ok(user)
}

/// A path that is being walked.
struct TrustedWalk {
    directory: OwnedFd,
    rest: VecDeque<OsString>,
    links: u32,
}

impl TrustedWalk {
    fn begin(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let directory = rustix::fs::open(".", DIRECTORY, Mode::empty())?;
        let mut walk = Self { directory, rest: VecDeque::new(), links: 0 };
        walk.add(path)?;
        Ok(walk)
    }

    /// Puts a path in front of the rest.
    fn add(&mut self, path: &Path) -> io::Result<()> {
        if path.is_absolute() {
            self.directory = rustix::fs::open("/", DIRECTORY, Mode::empty())?;
        }
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        let mut names: VecDeque<OsString> = names.collect();
        // A path that ends with a slash names a directory.
        if path.as_os_str().as_bytes().ends_with(b"/") {
            names.push_back(OsString::from("."));
        }
        names.append(&mut self.rest);
        self.rest = names;
        Ok(())
    }

    fn place(mut self) -> io::Result<TrustedPath> {
        while let Some(name) = self.rest.pop_front() {
            if !self.rest.is_empty() {
                if !self.enter_or_follow(&name, None)? {
                    return Err(Errno::NOTDIR.into());
                }
                continue;
            }
            match self.stat(&name) {
                Ok(stat) if is_link(&stat) => {
                    self.judge_link(&name, &stat)?;
                    if self.is_proc()? {
                        return Ok(TrustedPath { directory: self.directory, name, is_open_file: true });
                    }
                    self.follow(&name)?;
                }
                Ok(_) | Err(Errno::NOENT) => {
                    return Ok(TrustedPath { directory: self.directory, name, is_open_file: false });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::ISDIR.into())
    }

    /// Enters a directory, or follows a link to one. `make` is the mode for creating a missing directory. Returns false
    /// if the name leads to neither.
    fn enter_or_follow(&mut self, name: &OsStr, make: Option<Mode>) -> io::Result<bool> {
        let mut stat = self.stat(name);
        if let (Err(Errno::NOENT), Some(mode)) = (&stat, make) {
            match rustix::fs::mkdirat(&self.directory, name, mode) {
                Ok(()) | Err(Errno::EXIST) => stat = self.stat(name),
                Err(error) => return Err(error.into()),
            }
        }
        let stat = stat?;
        if is_link(&stat) {
            self.judge_link(name, &stat)?;
            if self.is_proc()? {
                self.directory = self.open(name, DIRECTORY.difference(OFlags::NOFOLLOW))?;
            } else {
                self.follow(name)?;
            }
        } else if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            self.directory = self.open(name, DIRECTORY)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn open(&self, name: &OsStr, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(rustix::fs::openat(&self.directory, name, flags, Mode::empty())?)
    }

    fn stat(&self, name: &OsStr) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn is_proc(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstatfs(&self.directory)?.f_type as u64 == PROC)
    }

    /// Fails unless a link may be followed.
    fn judge_link(&self, name: &OsStr, link: &Stat) -> io::Result<()> {
        let directory = rustix::fs::fstat(&self.directory)?;
        let is_open_to_all = directory.st_mode & 0o002 != 0;
        if is_trusted(link.st_uid) && is_trusted(directory.st_uid) && !is_open_to_all {
            return Ok(());
        }
        Err(Refusal::Link { name: name.to_owned(), owner: link.st_uid }.into())
    }

    fn follow(&mut self, name: &OsStr) -> io::Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = rustix::fs::readlinkat(&self.directory, name, Vec::new())?;
        self.add(Path::new(&OsString::from_vec(target.into_bytes())))
    }
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}
