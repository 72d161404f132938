//! The entries of a tar archive, one after another, in bounded memory.
//!
//! The crate `tar` reads headers, GNU's long names, PAX records and GNU's sparse files; nothing of it
//! that touches the disk is used. It reads the records before an entry into memory whatever their size,
//! so the reader below it is given an allowance ([`Allowance`]) before each entry. PAX's sparse
//! files, which it does not know, are in [`sparse`](crate::image::sparse).
//!
//! Where parsers could disagree about what an archive holds (a link with content, say), it is refused.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use crate::image::path::{self, Components};
use crate::image::sparse::{self, Sparse};
use crate::image::{Fault, limit};

/// What kind of thing an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Link(Vec<u8>),
    /// Another name for the file with this name.
    HardLink(Components),
    /// A device or pipe.
    Other,
    /// Nothing that is in the file system.
    None,
}

/// What stands before an entry's content.
#[derive(Debug)]
pub(super) struct Header {
    pub path: Components,
    pub kind: Kind,
    pub mode: u32,
    /// Whether it has file capabilities.
    pub capabilities: bool,
    /// How long the file is.
    pub size: u64,
    /// Where the content goes, of a sparse file that `tar` does not know as one.
    pub sparse: Option<Sparse>,
    /// Whether there may be fewer bytes in the archive than in the file.
    pub has_holes: bool,
}

/// How many bytes the reader of an archive may give out until it is asked again: all while content is
/// read, few while headers are.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowance {
    left: Rc<Cell<u64>>,
    position: Rc<Cell<u64>>,
}

impl Allowance {
    /// Before the headers of the next entry, which begins at `next` at the earliest.
    pub fn for_headers(&self, next: u64) {
        self.left.set(next.saturating_sub(self.position.get()).saturating_add(limit::HEADER));
    }

    /// Before content.
    pub fn for_content(&self) {
        self.left.set(u64::MAX);
    }
}

/// A reader with an allowance.
pub(super) struct Allowed<R> {
    pub inner: R,
    pub allowance: Allowance,
}

impl<R: Read> Read for Allowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Allowance { left, position } = &self.allowance;
        if left.get() == 0 {
            let limit = limit::HEADER;
            return Err(io::Error::other(format!("the headers of one entry are longer than {limit} bytes")));
        }
        let most = usize::try_from(left.get()).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.inner.read(&mut buffer[..most])?;
        left.set(left.get().saturating_sub(length as u64));
        position.set(position.get() + length as u64);
        Ok(length)
    }
}

impl<R: Seek> Seek for Allowed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = self.inner.seek(to)?;
        self.allowance.position.set(position);
        Ok(position)
    }
}

/// Calls `visit` with each entry of an archive and its content, up to the archive's end.
///
/// # Errors
///
/// [`Fault::Malformed`], or what `visit` fails with.
pub(super) fn for_each(
    reader: impl Read,
    mut visit: impl FnMut(Header, &mut dyn Read) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let allowance = Allowance::default();
    let mut archive = tar::Archive::new(Allowed { inner: reader, allowance: allowance.clone() });
    let mut entries = archive.entries().map_err(malformed)?;
    let mut next = 0;
    loop {
        allowance.for_headers(next);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(malformed)?;
        let header = header(&mut entry)?;
        let stored = if entry.header().entry_type().is_gnu_sparse() {
            entry.header().entry_size().map_err(malformed)?
        } else {
            entry.size()
        };
        next = entry.raw_file_position().saturating_add(stored);
        allowance.for_content();
        match header.sparse.clone() {
            None => visit(header, &mut entry)?,
            Some(sparse) => {
                let mut content = sparse.open(&mut entry, header.size)?;
                visit(header, &mut content)?;
            }
        }
    }
}

/// The words of `tar` quote what they are about: they are cut and made harmless.
fn malformed(error: io::Error) -> Fault {
    let text: String = error.to_string().chars().take(100).flat_map(char::escape_debug).collect();
    Fault::malformed(format!("its archive cannot be read: {text}"))
}

fn header<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Header, Fault> {
    let records = Records::read(entry)?;
    let name = records.sparse.name.clone().unwrap_or_else(|| entry.path_bytes().into_owned());
    let kind = kind(entry, &name)?;
    if !matches!(kind, Kind::File | Kind::None) && entry.size() > 0 {
        return Err(Fault::malformed(format!("{} has content, but is no file", shown(&name))));
    }
    let sparse = records.sparse.finish()?.filter(|_| kind == Kind::File);
    Ok(Header {
        path: if kind == Kind::None { Components::new() } else { path::components(&name)? },
        mode: entry.header().mode().map_err(malformed)? & 0o7777,
        capabilities: records.capabilities,
        size: sparse.as_ref().map_or(entry.size(), |sparse| sparse.size),
        has_holes: sparse.is_some() || entry.header().entry_type().is_gnu_sparse(),
        sparse,
        kind,
    })
}

fn kind<R: Read>(entry: &tar::Entry<'_, R>, name: &[u8]) -> Result<Kind, Fault> {
    use tar::EntryType as Type;
    let target = || entry.link_name_bytes().unwrap_or_default().into_owned();
    // Archives from before 1988 have no type for directories.
    let is_old_directory = entry.header().as_old().linkflag[0] == 0 && name.ends_with(b"/");
    Ok(match entry.header().entry_type() {
        Type::Regular if is_old_directory => Kind::Directory,
        Type::Regular | Type::Continuous | Type::GNUSparse => Kind::File,
        Type::Directory => Kind::Directory,
        Type::Symlink => {
            let target = target();
            if target.is_empty() || target.len() >= limit::PATH || target.contains(&0) {
                return Err(Fault::malformed(format!("{} is a link without a usable target", shown(name))));
            }
            Kind::Link(target)
        }
        Type::Link => Kind::HardLink(path::components(&target())?),
        Type::Char | Type::Block | Type::Fifo => Kind::Other,
        _ => Kind::None,
    })
}

/// What the PAX records of an entry say, beyond what `tar` applies itself.
#[derive(Default)]
struct Records {
    capabilities: bool,
    sparse: sparse::Records,
}

impl Records {
    fn read<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Self, Fault> {
        let mut records = Self::default();
        // A global header's own content is no record of an entry.
        if entry.header().entry_type().is_pax_global_extensions() {
            return Ok(records);
        }
        let Some(extensions) = entry.pax_extensions().map_err(malformed)? else { return Ok(records) };
        for record in extensions {
            let record = record.map_err(malformed)?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            let is_attribute = key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr.");
            records.capabilities |= is_attribute && key.ends_with(b".security.capability");
            records.sparse.take(key, value)?;
        }
        Ok(records)
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(200).flat_map(char::escape_debug).collect()
}
