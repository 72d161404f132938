//! The files of an image in memory, all layers merged: a root in which paths can be resolved.
//!
//! A regular file keeps only the content that the loader needs ([`FileContent`]).

use std::borrow::Cow;
use std::collections::{BTreeMap, btree_map};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::packed::Packed;
use crate::{limit, memory};
use compat_loader::host::{self, Ahead, Cursor, Found, WalkError, walk};

/// One node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub u32);

/// The identity of a file, like an inode number: two paths with the same identity are the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub(super) u32);

/// The entry at a path.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// A symbolic link with its target.
    Link(Box<[u8]>),
    /// A regular file. Hard links share it.
    File(FileId),
    /// A device, pipe or socket.
    Other,
}

/// A directory.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Permission bits.
    pub mode: u32,
    /// The IDs of its owner and group, if a layer states them.
    pub owner: Option<(u64, u64)>,
    /// Whether a layer describes it. Otherwise the entries below it imply it.
    pub(super) is_described: bool,
    pub(super) children: BTreeMap<Box<[u8]>, NodeId>,
}

/// A regular file.
#[derive(Clone, Debug)]
pub struct File {
    /// Permission bits, including set-user-id and set-group-id.
    pub mode: u32,
    /// The IDs of its owner and group, if a layer states them.
    pub owner: Option<(u64, u64)>,
    /// Its length in bytes.
    pub size: u64,
    /// Whether it has file capabilities (`security.capability`). As for a set-id program, the loader then
    /// ignores unsafe environment variables.
    pub capabilities: bool,
    /// The kept content.
    pub content: FileContent,
}

impl File {
    /// Whether any user may execute it.
    pub fn is_executable(&self) -> bool {
        self.mode & 0o111 != 0
    }

    /// Whether the program runs with more privileges than its caller (set-id bits or capabilities): the loader
    /// is then in its secure mode (`AT_SECURE`).
    pub(crate) fn is_privileged(&self) -> bool {
        host::is_set_id(self.mode) || self.capabilities
    }
}

/// The kept content of a file.
#[derive(Clone, Debug)]
pub enum FileContent {
    /// An ELF object, packed.
    Elf(Packed),
    /// A script: its first line without the line end, at most [`limit::SCRIPT_LINE`] bytes, then a shorter
    /// equivalent text with the known facts about its last command.
    Script(Box<[u8]>),
    /// A file that the loader or the check reads as a whole (`docs/images.md` lists them).
    Whole(Bytes),
    /// No content.
    Other,
}

impl FileContent {
    /// The memory of the content, in bytes.
    pub(super) fn kept(&self) -> u64 {
        match self {
            Self::Elf(packed) => packed.kept(),
            Self::Script(line) => memory::allocated(line.len()),
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Other => 0,
        }
    }
}

/// The root of an image.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The nodes. The root directory is the first.
    pub(super) nodes: Vec<Node>,
    pub(super) files: Vec<File>,
}

impl Tree {
    /// Resolves `path` (absolute, or relative to the root) and returns its absolute path without links, and its
    /// node. Links and `..` never lead out of the tree (path_resolution(7), as after a chroot).
    ///
    /// # Errors
    ///
    /// If the path does not exist or cannot be reached.
    pub fn resolve(&self, path: &Path) -> Result<(PathBuf, &Node), WalkError> {
        let (cursor, walked) = self.walk(path, true);
        walked.map(|()| cursor.reached())
    }

    /// The directories that are searched on the way to `path`, including those behind links, up to the first
    /// error.
    pub fn searched(&self, path: &Path) -> Vec<&Directory> {
        self.walk(path, true).0.searched
    }

    /// The links on the way to `path`, up to the first error: the path of each link without links, and its
    /// target.
    pub fn links(&self, path: &Path) -> Vec<(PathBuf, &[u8])> {
        self.walk(path, true).0.links
    }

    /// As [`Tree::resolve`], but does not follow a link at the end of the path.
    ///
    /// # Errors
    ///
    /// As [`Tree::resolve`].
    pub fn resolve_parent(&self, path: &Path) -> Result<(PathBuf, &Node), WalkError> {
        let (cursor, walked) = self.walk(path, false);
        walked.map(|()| cursor.reached())
    }

    /// The regular file at `path`: its path without links, its identity, and the file.
    ///
    /// # Errors
    ///
    /// As [`Tree::resolve`]. [`WalkError::NotRegular`] if it is not a regular file.
    pub fn file(&self, path: &Path) -> Result<(PathBuf, FileId, &File), WalkError> {
        match self.resolve(path)? {
            (path, Node::File(id)) => Ok((path, *id, self.file_of(*id))),
            _ => Err(WalkError::NotRegular),
        }
    }

    /// The file with this identity.
    pub fn file_of(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }

    /// Returns every entry of the tree with its path, in the order of the paths' components. The root itself is
    /// left out, as are entries with a path that is too long for the kernel: they cannot be opened by path.
    pub fn walk_all(&self) -> Walk<'_> {
        self.walk_from(Path::new("/"), self.root())
    }

    /// Returns every entry below a directory, which may be reached through links. Empty if the directory does
    /// not exist. The paths contain no links.
    pub fn walk_below(&self, directory: &Path) -> Walk<'_> {
        match self.resolve(directory) {
            Ok((path, Node::Directory(directory))) => self.walk_from(&path, directory),
            _ => Walk { tree: self, path: Vec::new(), levels: Vec::new() },
        }
    }

    /// Returns every ELF object with its path and identity, in the order of the paths. A file with several
    /// names appears once for each.
    pub fn objects(&self) -> impl Iterator<Item = (PathBuf, FileId, &File, &Packed)> {
        self.walk_all().filter_map(|(path, node)| {
            let Node::File(id) = node else { return None };
            let file = self.file_of(*id);
            let FileContent::Elf(packed) = &file.content else { return None };
            Some((path, *id, file, packed))
        })
    }

    /// Returns the links below a directory with their targets, in the order of their paths.
    pub fn links_below(&self, directory: &Path) -> impl Iterator<Item = (PathBuf, &Path)> {
        self.walk_below(directory).filter_map(|(path, node)| match node {
            Node::Link(target) => Some((path, Path::new(OsStr::from_bytes(target)))),
            _ => None,
        })
    }

    /// The names in a directory, in order. Empty if the directory does not exist.
    pub fn names(&self, directory: &Path) -> Vec<&OsStr> {
        match self.resolve(directory) {
            Ok((_, Node::Directory(directory))) => directory.names().collect(),
            _ => Vec::new(),
        }
    }

    /// The memory of all kept content, in bytes.
    pub fn kept(&self) -> u64 {
        self.files.iter().map(|file| file.content.kept()).sum()
    }

    fn root(&self) -> &Directory {
        match &self.nodes[0] {
            Node::Directory(root) => root,
            _ => unreachable!("the root of a tree is a directory"),
        }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn walk_from<'a>(&'a self, path: &Path, directory: &'a Directory) -> Walk<'a> {
        let path = path.as_os_str().as_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
        let levels = vec![WalkLevel { path_length: path.len(), children: directory.children.iter() }];
        Walk { tree: self, path, levels }
    }

    /// Walks to `path` with a cursor, which follows a link at the end if `follow_last` is set.
    fn walk(&self, path: &Path, follow_last: bool) -> (TreeCursor<'_>, Result<(), WalkError>) {
        let mut cursor = TreeCursor {
            tree: self,
            follow_last,
            names: Vec::new(),
            stack: vec![self.root()],
            end: None,
            searched: Vec::new(),
            links: Vec::new(),
        };
        let path = path.as_os_str().as_bytes();
        // An empty path does not exist.
        let walked = if path.is_empty() { Err(WalkError::NotFound) } else { walk(&mut cursor, path) };
        (cursor, walked)
    }
}

/// The position of a walk in a tree, and the links it passed.
struct TreeCursor<'t> {
    tree: &'t Tree,
    follow_last: bool,
    /// The names of the directories in `stack` below the root, and of the final entry.
    names: Vec<&'t [u8]>,
    stack: Vec<&'t Directory>,
    /// The final entry, if it is not a directory.
    end: Option<&'t Node>,
    searched: Vec<&'t Directory>,
    links: Vec<(PathBuf, &'t [u8])>,
}

impl<'t> TreeCursor<'t> {
    /// The path and node that the walk reached.
    fn reached(&self) -> (PathBuf, &'t Node) {
        let node = self.end.unwrap_or_else(|| match self.names.last() {
            None => &self.tree.nodes[0],
            Some(name) => self.tree.node(self.stack[self.stack.len() - 2].children[*name]),
        });
        (absolute(&self.names), node)
    }
}

impl<'a, 't: 'a> Cursor<'a> for TreeCursor<'t> {
    type Text = [u8];
    type Stop = WalkError;

    fn enter(&mut self, name: &[u8], ahead: &Ahead<'a, [u8]>) -> Result<Found<'a, [u8]>, WalkError> {
        let directory = self.stack[self.stack.len() - 1];
        self.searched.push(directory);
        let (name, id) = directory.children.get_key_value(name).ok_or(WalkError::NotFound)?;
        self.names.push(name);
        match self.tree.node(*id) {
            Node::Directory(inner) => {
                self.stack.push(inner);
                Ok(Found::Directory)
            }
            Node::Link(target) if self.follow_last || !ahead.is_empty() => {
                self.links.push((absolute(&self.names), target));
                self.names.pop();
                Ok(Found::Link(Cow::Borrowed(target)))
            }
            node => {
                self.end = Some(node);
                Ok(Found::Other)
            }
        }
    }

    fn leave(&mut self, _: &Ahead<'a, [u8]>) -> Result<(), WalkError> {
        if self.stack.len() > 1 {
            self.stack.pop();
            self.names.pop();
        }
        Ok(())
    }

    fn restart(&mut self, _: &[u8], _: &Ahead<'a, [u8]>) -> Result<(), WalkError> {
        self.stack.truncate(1);
        self.names.clear();
        Ok(())
    }
}

impl Directory {
    /// The names in the directory, in order.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.children.keys().map(|name| OsStr::from_bytes(name))
    }
}

fn absolute(names: &[&[u8]]) -> PathBuf {
    let mut path = PathBuf::from("/");
    path.extend(names.iter().map(|name| OsStr::from_bytes(name)));
    path
}

/// Walks through a tree, depth first. See [`Tree::walk_all`].
///
/// It keeps one path and its position in each directory on the way, regardless of the size of the directories.
pub struct Walk<'a> {
    tree: &'a Tree,
    path: Vec<u8>,
    levels: Vec<WalkLevel<'a>>,
}

/// A directory on the way.
struct WalkLevel<'a> {
    /// The length of its own path, in bytes.
    path_length: usize,
    children: btree_map::Iter<'a, Box<[u8]>, NodeId>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (PathBuf, &'a Node);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let level = self.levels.last_mut()?;
            self.path.truncate(level.path_length);
            let Some((name, id)) = level.children.next() else {
                self.levels.pop();
                continue;
            };
            if level.path_length + 1 + name.len() >= limit::PATH {
                continue;
            }
            self.path.push(b'/');
            self.path.extend_from_slice(name);
            let node = self.tree.node(*id);
            if let Node::Directory(directory) = node {
                let path_length = self.path.len();
                self.levels.push(WalkLevel { path_length, children: directory.children.iter() });
            }
            return Some((PathBuf::from(OsStr::from_bytes(&self.path)), node));
        }
    }
}
