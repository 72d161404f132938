//! Finding where a file is to be written without following what somebody else has put on the way.
//!
//! The path is walked one name after the other, by descriptors. A symbolic link is followed only if it belongs to
//! somebody who is trusted, and lies in a directory that does and that not everybody may write to. Trusted are root,
//! the user who runs this, and the owner of the root directory, as whom root appears in a user namespace. The links
//! of `/proc` lead to what a process has open; they are followed by the kernel, if they belong to one of these.
//!
//! Others may rename and remove what lies in their own directories. What was reached through these is still a
//! directory and no link of theirs, and the caller judges what it finds there.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::refusal::Refusal;

/// How many links may lead to each other, as for the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

/// The number by which statfs(2) shows procfs (`linux/magic.h`).
const PROC: u64 = 0x9fa0;

const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A name in a directory.
#[derive(Debug)]
pub(super) struct TrustedPath {
    pub directory: OwnedFd,
    pub name: OsString,
    /// Whether it is a link of `/proc` to what a process has open.
    pub is_open_file: bool,
}

/// Finds a directory and the name in it that a path ends with.
///
/// # Errors
///
/// If a directory is missing, or a link on the way is not followed.
pub(super) fn find(path: &Path) -> io::Result<TrustedPath> {
    TrustedWalk::begin(path)?.place()
}

/// Makes a directory and those above it, where they are missing.
///
/// # Errors
///
/// As [`find`], and those of mkdirat(2).
pub(super) fn make_directories(path: &Path, mode: Mode) -> io::Result<()> {
    let mut walk = TrustedWalk::begin(path)?;
    while let Some(name) = walk.rest.pop_front() {
        if !walk.enter_or_follow(&name, Some(mode))? {
            return Err(Errno::NOTDIR.into());
        }
    }
    Ok(())
}

/// Whether this is somebody who could do anything here anyway.
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

    /// A path comes before the rest.
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

    /// Goes on into a directory, or along a link to one; a missing one is made where `make` says how. Says whether
    /// it is either.
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

    /// Whether a link may be followed.
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
