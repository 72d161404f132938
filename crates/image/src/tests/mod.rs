//! Layers that the tests create and read as images are read.

mod alike;
mod hostile;
mod merging;
#[path = "../../../loader/src/elf/sample.rs"]
pub(super) mod sample;
mod source;
mod walking;

use std::path::Path;

use crate::layer::LayerState;
use crate::{FileContent, Limits, Node, Tree};

/// A tar archive, entry by entry, with names that no ordinary program writes.
#[derive(Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an entry without checks.
    pub(crate) fn entry(self, name: &[u8], kind: tar::EntryType, target: &[u8], content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..target.len()].copy_from_slice(target);
        header.set_cksum();
        self.push(&header, content)
    }

    /// Adds a header and its padded content.
    pub(crate) fn push(mut self, header: &tar::Header, content: &[u8]) -> Self {
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Adds PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            content.extend(format!("{length} {key}=").bytes());
            content.extend(*value);
            content.push(b'\n');
        }
        self.entry(b"pax", tar::EntryType::XHeader, b"", &content)
    }

    /// Adds a file, or a directory if the name ends with a slash, with permissions and an owner.
    pub(crate) fn owned(self, name: &str, mode: u32, owner: (u64, u64), content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        let kind = if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        self.push(&header, content)
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.entry(name.as_bytes(), tar::EntryType::Regular, b"", content.as_bytes())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name.as_bytes(), tar::EntryType::Directory, b"", b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(name.as_bytes(), tar::EntryType::Symlink, target.as_bytes(), b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name.as_bytes(), tar::EntryType::Link, target.as_bytes(), b"")
    }

    /// The archive with its end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }

    /// The archive without its end.
    pub(crate) fn cut(self) -> Vec<u8> {
        self.bytes
    }
}

/// The tree of the layers, the bottom one first. Every layer is searched for hard links as in an image.
pub(crate) fn tree_with(layers: &[Vec<u8>], limits: Limits) -> Result<Tree, String> {
    let mut state = LayerState::new(limits).unwrap();
    for (number, layer) in layers.iter().enumerate().rev() {
        state.apply(number as u32, &layer[..]).map_err(|fault| fault.to_string())?;
        for _ in 0..crate::limit::HARD_LINK_ROUNDS {
            if state.wanted.again {
                state.search(&layer[..]).map_err(|fault| fault.to_string())?;
            }
        }
    }
    match state.broken_link() {
        Some((layer, fault)) => Err(format!("layer {layer}: {fault}")),
        None => Ok(state.merge.finish()),
    }
}

pub(crate) fn tree(layers: &[Vec<u8>]) -> Result<Tree, String> {
    tree_with(layers, Limits::default())
}

/// All entries of a tree, one a line. Scripts include their first line so that versions of a file differ.
pub(crate) fn lines(tree: &Tree) -> Vec<String> {
    let line = |(path, node): (std::path::PathBuf, &Node)| {
        let path = path.display().to_string();
        match node {
            Node::Directory(_) => format!("{path}/"),
            Node::Link(target) => format!("{path} -> {}", String::from_utf8_lossy(target)),
            Node::Other => format!("{path} other"),
            Node::File(id) => match &tree.file_of(*id).content {
                FileContent::Script(line) => format!("{path} {}", String::from_utf8_lossy(line)),
                _ => path,
            },
        }
    };
    tree.walk_all().map(line).collect()
}

/// The lines of the merged tree.
pub(crate) fn merged(layers: Vec<Tar>) -> Vec<String> {
    let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
    match tree(&layers) {
        Ok(tree) => lines(&tree),
        Err(error) => vec![error],
    }
}

pub(crate) fn at(text: &str) -> &Path {
    Path::new(text)
}
