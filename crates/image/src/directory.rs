//! The directory of an unpacked image, read as a tree.
//!
//! Links are read, never followed, and only regular files are opened. A mount point inside the directory
//! (`proc`, `sys`, `dev`, or any mount of a running system) becomes an empty directory of the tree.

use std::collections::HashMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::content::{Classifier, is_kept_whole};
use crate::error::{Error, Fault, Result};
use crate::limit;
use crate::limit::Limits;
use crate::merge::{Merge, New};
use crate::path::Components;
use crate::tree::FileContent;
use crate::tree::{File, FileId, Tree};
use compat_loader::host;

/// The result of reading a directory.
pub(super) struct Read {
    pub tree: Tree,
    pub notes: Vec<String>,
    pub entries: u64,
}

struct DirectoryWalk<'a> {
    root: &'a Path,
    device: u64,
    merge: Merge,
    classifier: Classifier,
    limits: &'a Limits,
    /// Files with several names, by device and inode number.
    shared: HashMap<(u64, u64), FileId>,
    notes: Vec<String>,
    entries: u64,
}

/// Reads a directory.
///
/// # Errors
///
/// If the path is not a directory, cannot be listed, or exceeds `limits`. Unreadable files are in the tree
/// without content, and a note names them.
pub(super) fn read(root: &Path, limits: &Limits) -> Result<Read> {
    let metadata = fs::metadata(root).map_err(Error::io("read", root))?;
    if !metadata.is_dir() {
        let source = rustix::io::Errno::NOTDIR.into();
        return Err(Error::Io { action: "read", path: root.to_owned(), source });
    }
    let mut walk = DirectoryWalk {
        root,
        device: metadata.dev(),
        merge: Merge::new(),
        classifier: Classifier::new().map_err(Error::io("read", root))?,
        limits,
        shared: HashMap::new(),
        notes: Vec::new(),
        entries: 0,
    };
    walk.everything()?;
    Ok(Read { tree: walk.merge.finish(), notes: walk.notes, entries: walk.entries })
}

impl DirectoryWalk<'_> {
    fn everything(&mut self) -> Result<()> {
        let mut ahead: Vec<Components> = vec![Vec::new()];
        while let Some(directory) = ahead.pop() {
            let place = self.outside(&directory);
            let listed = match fs::read_dir(&place) {
                Ok(listed) => listed,
                Err(error) if directory.is_empty() => return Err(Error::io("list", place)(error)),
                Err(error) => {
                    self.note(&place, &error);
                    continue;
                }
            };
            for entry in listed {
                let entry = entry.map_err(Error::io("list", &place))?;
                let mut path = directory.clone();
                path.push(entry.file_name().into_vec().into());
                if self.take(&path)? {
                    ahead.push(path);
                }
            }
        }
        Ok(())
    }

    /// Adds the entry at a path to the tree. Returns whether entries below it may follow.
    fn take(&mut self, path: &Components) -> Result<bool> {
        let place = self.outside(path);
        let too_large = |fault| Error::TooLarge { what: self.root.display().to_string(), fault };
        if self.entries == self.limits.entries {
            return Err(too_large(Fault::Limit {
                what: "the number of entries",
                limit: self.limits.entries,
            }));
        }
        if self.merge.kept() > self.limits.kept {
            let what = "the memory in bytes for its files";
            return Err(too_large(Fault::Limit { what, limit: self.limits.kept }));
        }
        self.entries += 1;
        let metadata = match fs::symlink_metadata(&place) {
            Ok(metadata) => metadata,
            // The entry vanished after the directory was listed, as happens on a running system.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::io("read", place)(error)),
        };
        let kind = metadata.file_type();
        let is_mount = kind.is_dir() && metadata.dev() != self.device;
        let new = if kind.is_dir() {
            New::Directory(metadata.mode() & 0o7777, None)
        } else if kind.is_symlink() {
            let target = fs::read_link(&place).map_err(Error::io("read", &place))?;
            New::Link(target.into_os_string().into_vec().into())
        } else if kind.is_file() {
            New::File(self.file(path, &place, &metadata)?)
        } else {
            New::Other
        };
        if is_mount {
            self.remark(format!("{} is a mount point and was not read", place.display()));
        }
        self.put(path, new)
            .map_err(|fault| Error::TooLarge { what: self.root.display().to_string(), fault })?;
        Ok(kind.is_dir() && !is_mount)
    }

    fn put(&mut self, path: &Components, new: New) -> std::result::Result<(), Fault> {
        match self.merge.locate(path)? {
            Some(place) => self.merge.put(&place, new),
            None => Ok(()),
        }
    }

    fn file(&mut self, path: &Components, place: &Path, metadata: &Metadata) -> Result<FileId> {
        let identity = (metadata.dev(), metadata.ino());
        if let Some(known) = self.shared.get(&identity) {
            return Ok(*known);
        }
        let content = match self.content(path, place, metadata) {
            Ok(content) => content,
            Err(error) => {
                self.note(place, &error);
                FileContent::Other
            }
        };
        let size = metadata.len();
        // The owner is often the user that unpacked the image, so it is not recorded.
        let capabilities = rustix::fs::lgetxattr(place, c"security.capability", &mut [0_u8; 256]).is_ok();
        let file = File { mode: metadata.mode() & 0o7777, owner: None, size, capabilities, content };
        let id = self.merge.add_file(file);
        if metadata.nlink() > 1 {
            self.shared.insert(identity, id);
        }
        Ok(id)
    }

    fn content(&mut self, path: &Components, place: &Path, metadata: &Metadata) -> io::Result<FileContent> {
        if metadata.len() < 2 && !is_kept_whole(path) {
            return Ok(FileContent::Other);
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(place)?;
        let opened = file.metadata()?;
        if !opened.is_file() {
            return Ok(FileContent::Other);
        }
        let fault = |fault: Fault| match fault {
            Fault::Machine(error) => error,
            other => io::Error::other(other.to_string()),
        };
        let mut magic = [0; 4];
        let read = std::os::unix::fs::FileExt::read_at(&file, &mut magic, 0)?;
        if magic[..read] == *b"\x7fELF" && !is_kept_whole(path) {
            let name = path.last().map(|name| &**name).unwrap_or_default();
            let data = host::object(&file, name)?;
            return self.classifier.pack(path, &data).map_err(fault);
        }
        self.classifier.read(path, opened.len(), &mut file).map_err(fault)
    }

    fn note(&mut self, place: &Path, error: &io::Error) {
        self.remark(format!("{}: {error}", place.display()));
    }

    fn remark(&mut self, note: String) {
        if self.notes.len() < limit::NOTES {
            self.notes.push(note);
        }
    }

    fn outside(&self, path: &Components) -> std::path::PathBuf {
        self.root.join(std::ffi::OsStr::from_bytes(&path.join(&b'/')))
    }
}
