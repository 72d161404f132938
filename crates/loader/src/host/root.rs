//! A root file system, and the walk of paths inside it.
//!
//! In a foreign root, every symbolic link, absolute or relative, and every `..` is resolved inside that root
//! (path_resolution(7), as after a chroot). No path leads out into the root of this machine. Links are followed
//! one component at a time, and each component is looked up only once. The final file is opened without
//! following links.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use rustix::io::Errno;

use crate::host::{Ahead, Cursor, FilePrivileges, Found, content, walk};
use compat_sys::raw;

/// The identity of a file. Two paths with the same identity are the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The device.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
}

impl FileIdentity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Why a path does not lead to a file.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The path does not exist.
    #[error("No such file or directory")]
    NotFound,
    /// A component before the last is not a directory.
    #[error("Not a directory")]
    NotDirectory,
    /// The path, or a name in it, exceeds the kernel's limit.
    #[error("File name too long")]
    TooLong,
    /// Permission is denied.
    #[error("Permission denied")]
    Denied,
    /// More than 40 links were followed.
    #[error("Too many levels of symbolic links")]
    Loop,
    /// It is a directory, device, pipe or socket.
    #[error("not a regular file")]
    NotRegular,
    /// Reading failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) => Self::NotFound,
            Some(Errno::NAMETOOLONG) => Self::TooLong,
            Some(Errno::NOTDIR) => Self::NotDirectory,
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied,
            Some(Errno::LOOP) => Self::Loop,
            _ => Self::Io(error),
        }
    }
}

/// One component of a path in the file system.
#[derive(Clone)]
enum Node {
    Directory,
    Link(PathBuf),
    Other,
    /// The path does not exist. Loaders also cache missing directories (`dirs[].status` in glibc's
    /// `elf/dl-load.c`).
    Missing,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name.
    pub name: String,
    /// Whether it is a directory itself, not a link to one.
    pub is_directory: bool,
    /// Whether it is a regular file itself, not a link to one.
    pub is_file: bool,
}

/// The number of cached paths from which missing paths are no longer added.
const MOST_NODES: usize = 1 << 18;

/// A root file system: that of this machine, or a directory with the root of another machine.
#[derive(Debug, Clone)]
pub struct Root {
    directory: PathBuf,
    /// The files at paths without links, for this root and its clones. Each path is looked up once.
    nodes: Arc<RwLock<HashMap<PathBuf, Node>>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Directory => "directory",
            Self::Link(_) => "link",
            Self::Other => "other",
            Self::Missing => "missing",
        })
    }
}

impl Root {
    /// Returns the root of this machine.
    pub fn of_this_machine() -> Self {
        Self { directory: PathBuf::from("/"), nodes: Arc::default() }
    }

    /// Returns the root in a directory.
    ///
    /// # Errors
    ///
    /// If the directory does not exist or is not a directory.
    pub fn at(directory: &Path) -> io::Result<Self> {
        let directory = fs::canonicalize(directory)?;
        if !fs::metadata(&directory)?.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        Ok(Self { directory, nodes: Arc::default() })
    }

    /// The directory, as a path of this machine.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether this is the root of this machine itself.
    pub fn is_this_machine(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// Resolves `path` (absolute, or relative to the root) and returns its absolute path without links inside
    /// this root. An empty path is the root, because the directory of `/x` is the text before its slash.
    ///
    /// # Errors
    ///
    /// If the path does not exist or cannot be reached.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, WalkError> {
        let mut cursor = RootCursor { root: self, walked: PathBuf::from("/") };
        walk(&mut cursor, path.as_os_str().as_bytes())?;
        Ok(cursor.walked)
    }

    /// Opens the regular file at `path` for reading. Other files are never opened, so that no pipe or device
    /// blocks or has side effects.
    ///
    /// # Errors
    ///
    /// If the file does not exist or cannot be read.
    pub fn open(&self, path: &Path) -> Result<(File, FileIdentity), WalkError> {
        let place = self.outside(&self.resolve(path)?);
        let metadata = fs::symlink_metadata(&place)?;
        if metadata.file_type().is_socket() {
            return Err(WalkError::Io(Errno::NXIO.into()));
        }
        if !metadata.is_file() {
            return Err(WalkError::NotRegular);
        }
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(place)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(WalkError::NotRegular);
        }
        Ok((file, FileIdentity::of(&metadata)))
    }

    /// Returns the bytes of the object at `path` that the loader reads ([`content::object`]).
    ///
    /// # Errors
    ///
    /// As [`Root::open`].
    pub fn object(&self, path: &Path) -> Result<(Bytes, FileIdentity), WalkError> {
        let (file, identity) = self.open(path)?;
        let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
        Ok((content::object(&file, name)?, identity))
    }

    /// Returns the bytes of the regular file at `path`, or the beginning of a script ([`content::whole`]).
    ///
    /// # Errors
    ///
    /// As [`Root::open`].
    pub fn read(&self, path: &Path) -> Result<Bytes, WalkError> {
        Ok(content::whole(&self.open(path)?.0)?)
    }

    /// Returns the content of a small file at `path`. It is read and not mapped, because files of `/proc` and
    /// `/sys` have no size.
    ///
    /// # Errors
    ///
    /// As [`Root::open`], or if it is not text.
    pub fn read_text(&self, path: &Path) -> Result<String, WalkError> {
        const MOST: u64 = 1024 * 1024;
        let mut text = String::new();
        self.open(path)?.0.take(MOST).read_to_string(&mut text)?;
        Ok(text)
    }

    /// The names in the directory at `path`, sorted. Empty if the directory does not exist.
    pub fn names(&self, path: &Path) -> Vec<String> {
        let Ok(directory) = self.resolve(path) else { return Vec::new() };
        let entries = fs::read_dir(self.outside(&directory)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| raw::of_path(entry.file_name())).collect();
        names.sort_unstable();
        names
    }

    /// The names in the directory at `path`, sorted. `None` if it cannot be listed.
    pub fn listing(&self, path: &Path) -> Option<Vec<String>> {
        let directory = self.resolve(path).ok()?;
        let entries = fs::read_dir(self.outside(&directory)).ok()?.collect::<io::Result<Vec<_>>>().ok()?;
        let mut names: Vec<String> =
            entries.into_iter().map(|entry| raw::of_path(entry.file_name())).collect();
        names.sort_unstable();
        Some(names)
    }

    /// The entries of the directory at `path`, sorted by name. Links are not followed. Empty if it cannot be
    /// listed.
    pub fn entries(&self, path: &Path) -> Vec<DirectoryEntry> {
        let Ok(directory) = self.resolve(path) else { return Vec::new() };
        let entries = fs::read_dir(self.outside(&directory)).into_iter().flatten().flatten();
        let entry = |entry: fs::DirEntry| {
            let kind = entry.file_type().ok()?;
            let name = raw::of_path(entry.file_name());
            Some(DirectoryEntry { name, is_directory: kind.is_dir(), is_file: kind.is_file() })
        };
        let mut all: Vec<DirectoryEntry> = entries.filter_map(entry).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The attributes of the file or directory at `path`. Links are followed.
    ///
    /// # Errors
    ///
    /// As [`Root::resolve`].
    pub fn metadata(&self, path: &Path) -> Result<Metadata, WalkError> {
        Ok(fs::symlink_metadata(self.outside(&self.resolve(path)?))?)
    }

    /// Whether the path leads to a directory.
    pub fn is_directory(&self, path: &Path) -> bool {
        self.metadata(path).is_ok_and(|metadata| metadata.is_dir())
    }

    /// Whether the path leads to a directory that this user may change to (on this machine).
    pub fn has_directory(&self, path: &Path) -> bool {
        let place = self.resolve(path).map(|inside| self.outside(&inside));
        place.is_ok_and(|place| place.is_dir() && (!self.is_this_machine() || may_execute(&place)))
    }

    /// Whether the path leads to a regular file that may be executed: by this user on this machine, by any user
    /// in another root.
    pub fn is_executable(&self, path: &Path) -> bool {
        let Ok(place) = self.resolve(path).map(|inside| self.outside(&inside)) else { return false };
        let Ok(metadata) = fs::symlink_metadata(&place) else { return false };
        let may_be = metadata.is_file() && metadata.mode() & 0o111 != 0;
        may_be && (!self.is_this_machine() || may_execute(&place))
    }

    /// Whether the file at a path is on a file system of this machine that is mounted with `noexec`.
    pub fn is_noexec(&self, path: &Path) -> bool {
        self.is_this_machine() && self.open(path).is_ok_and(|(file, _)| is_noexec(&file))
    }

    /// The privileges that the file at a path gives to the process that executes it.
    pub fn privileges(&self, path: &Path) -> Option<FilePrivileges> {
        let place = self.outside(&self.resolve(path).ok()?);
        let metadata = fs::symlink_metadata(&place).ok()?;
        Some(FilePrivileges::of(&place, &metadata))
    }

    /// Returns a path of this root as a path of this machine. `inside` must be free of links.
    fn outside(&self, inside: &Path) -> PathBuf {
        self.directory.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    fn node(&self, inside: &Path) -> Result<Node, WalkError> {
        if let Some(node) = self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(inside) {
            return Ok(node.clone());
        }
        let node = self.node_anew(inside)?;
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        // A document may name any number of missing paths.
        if !matches!(node, Node::Missing) || nodes.len() < MOST_NODES {
            nodes.insert(inside.to_owned(), node.clone());
        }
        Ok(node)
    }

    fn node_anew(&self, inside: &Path) -> Result<Node, WalkError> {
        let place = self.outside(inside);
        let kind = match fs::symlink_metadata(&place).map_err(WalkError::from) {
            Ok(metadata) => metadata.file_type(),
            Err(WalkError::NotFound) => return Ok(Node::Missing),
            Err(error) => return Err(error),
        };
        Ok(if kind.is_dir() {
            Node::Directory
        } else if kind.is_symlink() {
            Node::Link(fs::read_link(&place)?)
        } else {
            debug_assert!(
                kind.is_file()
                    || kind.is_fifo()
                    || kind.is_socket()
                    || kind.is_char_device()
                    || kind.is_block_device()
            );
            Node::Other
        })
    }
}

/// Whether this user may execute the file at a path of this machine. Links are followed (access(2), which also
/// checks mount options).
pub fn may_execute(path: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD};
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Whether a file is on a file system that is mounted with `noexec`.
pub fn is_noexec(file: &File) -> bool {
    let flags = rustix::fs::fstatvfs(file).map(|system| system.f_flag);
    flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// The position of a walk in a root.
struct RootCursor<'r> {
    root: &'r Root,
    walked: PathBuf,
}

impl<'a> Cursor<'a> for RootCursor<'_> {
    type Text = [u8];
    type Stop = WalkError;

    fn enter(&mut self, name: &[u8], _: &Ahead<'a, [u8]>) -> Result<Found<'a, [u8]>, WalkError> {
        self.walked.push(OsStr::from_bytes(name));
        Ok(match self.root.node(&self.walked)? {
            Node::Directory => Found::Directory,
            Node::Other => Found::Other,
            Node::Missing => return Err(WalkError::NotFound),
            Node::Link(target) => {
                self.walked.pop();
                Found::Link(Cow::Owned(target.into_os_string().into_vec()))
            }
        })
    }

    fn leave(&mut self, _: &Ahead<'a, [u8]>) -> Result<(), WalkError> {
        self.walked.pop();
        Ok(())
    }

    fn restart(&mut self, _: &[u8], _: &Ahead<'a, [u8]>) -> Result<(), WalkError> {
        self.walked = PathBuf::from("/");
        Ok(())
    }

    /// The file system itself reports this, after it has checked the permissions of the directory.
    fn is_too_long(&self, _: &[u8]) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A root with a file `etc/inside` and the links that the test creates.
    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("etc")).unwrap();
        fs::write(directory.path().join("etc/inside"), "in").unwrap();
        let root = Root::at(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn links_and_parents_never_lead_out_of_the_root() {
        let (directory, root) = root();
        symlink("/etc/inside", directory.path().join("absolute")).unwrap();
        symlink("../../../../etc/inside", directory.path().join("climbing")).unwrap();
        symlink("/", directory.path().join("etc/top")).unwrap();
        for path in ["/absolute", "climbing", "/etc/top/etc/top/absolute", "/../../etc/inside"] {
            assert_eq!(root.resolve(Path::new(path)).unwrap(), Path::new("/etc/inside"), "{path}");
            assert_eq!(&root.read(Path::new(path)).unwrap()[..], b"in");
        }
        symlink("/etc/passwd", directory.path().join("passwd")).unwrap();
        assert!(matches!(root.open(Path::new("/passwd")), Err(WalkError::NotFound)));
    }

    #[test]
    fn what_is_missing_is_asked_for_once() {
        let (directory, root) = root();
        let is_missing = |root: &Root| {
            matches!(root.resolve(Path::new("/etc/glibc-hwcaps/libx.so")), Err(WalkError::NotFound))
        };
        assert!(is_missing(&root));
        fs::create_dir(directory.path().join("etc/glibc-hwcaps")).unwrap();
        fs::write(directory.path().join("etc/glibc-hwcaps/libx.so"), "").unwrap();
        assert!(is_missing(&root) && is_missing(&root.clone()));
        assert!(!is_missing(&Root::at(directory.path()).unwrap()));
    }

    #[test]
    fn a_path_that_the_kernel_would_not_take_leads_nowhere() {
        let (_directory, root) = root();
        assert!(root.resolve(Path::new(&"etc/../".repeat(100))).is_ok());
        assert!(matches!(root.resolve(Path::new(&"etc/../".repeat(1_000_000))), Err(WalkError::TooLong)));
    }

    #[test]
    fn loops_files_as_directories_and_pipes_are_errors() {
        let (directory, root) = root();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        assert!(matches!(root.resolve(Path::new("/a")), Err(WalkError::Loop)));
        for path in ["/etc/inside/x", "/etc/inside/", "/etc/inside/.", "/etc/inside/.."] {
            assert!(matches!(root.resolve(Path::new(path)), Err(WalkError::NotDirectory)), "{path}");
        }
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(root.open(Path::new("/pipe")), Err(WalkError::NotRegular)));
        assert!(matches!(root.open(Path::new("/etc")), Err(WalkError::NotRegular)));
    }
}
