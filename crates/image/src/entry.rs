//! The entries of a tar archive, one after another, in bounded memory.
//!
//! The crate `tar` reads headers, GNU's long names, PAX records and GNU's sparse files. None of its functions
//! that write to disk are used. It reads the records before an entry into memory, whatever their size. The
//! reader below it therefore gets an allowance ([`Allowance`]) before each entry. The crate does not know PAX's
//! sparse files. They are in [`sparse`].
//!
//! An archive that parsers could read in different ways (a link with content, say) is refused. An archive may
//! end as Go's `archive/tar` allows, with which container engines unpack layers: the padding of the last member
//! may be missing, and so may one or both blocks of zeroes at the end (umoci 0.4 writes such layers). An
//! archive that ends inside a member or a header is truncated.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use crate::error::Fault;
use crate::path::{self, Components};
use crate::sparse::{self, Sparse};
use crate::{limit, merge};

/// The type of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Link(Vec<u8>),
    /// A hard link to the file with this name.
    HardLink(Components),
    /// A device or pipe.
    Other,
    /// No file: the entry does not appear in the file system.
    None,
}

/// The header of an entry.
#[derive(Debug)]
pub(super) struct Header {
    pub path: Components,
    pub kind: MemberKind,
    pub mode: u32,
    /// The IDs of its owner and group, if they can be read.
    pub owner: Option<(u64, u64)>,
    /// Whether it has file capabilities.
    pub capabilities: bool,
    /// The length of the file.
    pub size: u64,
    /// The positions of the content, for a sparse file that `tar` does not recognise.
    pub sparse: Option<Sparse>,
    /// Whether the archive may hold fewer bytes than the file.
    pub has_holes: bool,
}

/// The block size of an archive, in bytes.
const BLOCK: u64 = 512;

/// The number of bytes that the archive's reader may return until the next allowance: all while content is
/// read, few while headers are read. Also records the end of the archive.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowance {
    left: Rc<Cell<u64>>,
    position: Rc<Cell<u64>>,
    /// The end of the content of the entry that was read last.
    content_end: Rc<Cell<u64>>,
    /// The end of the archive.
    end: Rc<Cell<Option<u64>>>,
}

impl Allowance {
    /// Sets the allowance for the headers after the last entry's content.
    pub(crate) fn for_headers(&self) {
        let ahead = self.content_end.get().saturating_sub(self.position.get());
        self.left.set(ahead.saturating_add(limit::HEADER));
    }

    /// Sets the allowance for content of this length.
    pub(crate) fn for_content(&self, length: u64) {
        self.left.set(u64::MAX);
        self.content_end.set(self.position.get().saturating_add(length));
    }

    /// Fills `buffer` with the missing padding of the last member. Returns the number of bytes.
    fn pad(&self, buffer: &mut [u8]) -> usize {
        let (position, content_end) = (self.position.get(), self.content_end.get());
        if self.end.get().is_none() {
            self.end.set(Some(position));
        }
        if position < content_end {
            return 0;
        }
        let missing = content_end.next_multiple_of(BLOCK).saturating_sub(position);
        let length = usize::try_from(missing).unwrap_or(usize::MAX).min(buffer.len());
        buffer[..length].fill(0);
        length
    }

    /// Returns the fault of a truncated archive. `name` is the entry that was read last.
    pub(crate) fn cut(&self, name: Option<&str>) -> Option<Fault> {
        let end = self.end.get()?;
        Some(Fault::malformed(match name {
            Some(name) if end < self.content_end.get() => format!("the archive ends inside {name}"),
            Some(name) => format!("the archive ends inside the header after {name}"),
            None => "the archive ends inside its first header".to_owned(),
        }))
    }
}

/// A reader with an allowance.
pub(super) struct Allowed<R> {
    pub inner: R,
    pub allowance: Allowance,
}

impl<R: Read> Read for Allowed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Allowance { left, position, .. } = &self.allowance;
        if left.get() == 0 {
            let limit = limit::HEADER;
            return Err(io::Error::other(format!("the headers of one entry are longer than {limit} bytes")));
        }
        let most = usize::try_from(left.get()).unwrap_or(usize::MAX).min(buffer.len());
        let length = match self.inner.read(&mut buffer[..most])? {
            0 => self.allowance.pad(&mut buffer[..most]),
            length => length,
        };
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
/// [`Fault::Malformed`], or the error of `visit`.
pub(super) fn for_each(
    reader: impl Read,
    mut visit: impl FnMut(Header, &mut dyn Read) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let allowance = Allowance::default();
    let mut archive = tar::Archive::new(Allowed { inner: reader, allowance: allowance.clone() });
    let mut last: Option<String> = None;
    let entries = Entries { entries: archive.entries().map_err(malformed)?, allowance: &allowance };
    for entry in entries {
        let cut = |fault| allowance.cut(last.as_deref()).unwrap_or(fault);
        let mut entry = entry.map_err(|error| cut(malformed(error)))?;
        let header = header(&mut entry)?;
        let is_sparse = entry.header().entry_type().is_gnu_sparse();
        let stored = if is_sparse { entry.header().entry_size().map_err(malformed)? } else { entry.size() };
        allowance.for_content(stored);
        if header.kind != MemberKind::None {
            last = Some(merge::shown(&header.path));
        }
        let visited = match header.sparse.clone() {
            None => visit(header, &mut entry),
            Some(sparse) => {
                sparse.open(&mut entry, header.size).and_then(|mut content| visit(header, &mut content))
            }
        };
        visited.map_err(|fault| allowance.cut(last.as_deref()).unwrap_or(fault))?;
    }
    match allowance.end.get() {
        Some(_) => Ok(()),
        None => check_end(archive.into_inner().inner, last.as_deref()),
    }
}

/// The entries of an archive. Sets the allowance for headers before each.
struct Entries<'a, 'b, R: Read> {
    entries: tar::Entries<'a, R>,
    allowance: &'b Allowance,
}

impl<'a, R: Read> Iterator for Entries<'a, '_, R> {
    type Item = io::Result<tar::Entry<'a, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.allowance.for_headers();
        self.entries.next()
    }
}

/// Checks the bytes after the first block of zeroes: either a second block or nothing.
fn check_end(reader: impl Read, last: Option<&str>) -> Result<(), Fault> {
    let mut block = Vec::new();
    reader.take(BLOCK).read_to_end(&mut block).map_err(malformed)?;
    let place = last.map_or_else(|| "at its start".to_owned(), |name| format!("after {name}"));
    match block.len() as u64 {
        0 => Ok(()),
        BLOCK if block.iter().all(|byte| *byte == 0) => Ok(()),
        BLOCK => {
            Err(Fault::malformed(format!("the archive continues after a single block of zeroes {place}")))
        }
        _ => Err(Fault::malformed(format!("the archive ends inside a block {place}"))),
    }
}

/// Messages of `tar` quote the input, so they are shortened and escaped.
fn malformed(error: io::Error) -> Fault {
    let text: String = error.to_string().chars().take(100).flat_map(char::escape_debug).collect();
    Fault::malformed(format!("invalid tar archive: {text}"))
}

fn header<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Header, Fault> {
    let records = ExtendedRecords::read(entry)?;
    let name = records.sparse.name.clone().unwrap_or_else(|| entry.path_bytes().into_owned());
    let kind = kind(entry, &name)?;
    if !matches!(kind, MemberKind::File | MemberKind::None) && entry.size() > 0 {
        return Err(Fault::malformed(format!("{} has content but is not a regular file", shown(&name))));
    }
    let sparse = records.sparse.finish()?.filter(|_| kind == MemberKind::File);
    Ok(Header {
        path: if kind == MemberKind::None { Components::new() } else { path::components(&name)? },
        mode: entry.header().mode().map_err(malformed)? & 0o7777,
        owner: entry.header().uid().ok().zip(entry.header().gid().ok()),
        capabilities: records.capabilities,
        size: sparse.as_ref().map_or(entry.size(), |sparse| sparse.size),
        has_holes: sparse.is_some() || entry.header().entry_type().is_gnu_sparse(),
        sparse,
        kind,
    })
}

fn kind<R: Read>(entry: &tar::Entry<'_, R>, name: &[u8]) -> Result<MemberKind, Fault> {
    use tar::EntryType as Type;
    let target = || entry.link_name_bytes().unwrap_or_default().into_owned();
    // Archives from before 1988 have no type for directories.
    let is_old_directory = entry.header().as_old().linkflag[0] == 0 && name.ends_with(b"/");
    Ok(match entry.header().entry_type() {
        Type::Regular if is_old_directory => MemberKind::Directory,
        Type::Regular | Type::Continuous | Type::GNUSparse => MemberKind::File,
        Type::Directory => MemberKind::Directory,
        Type::Symlink => {
            let target = target();
            if target.is_empty() || target.len() >= limit::PATH || target.contains(&0) {
                return Err(Fault::malformed(format!("{} is a link without a valid target", shown(name))));
            }
            MemberKind::Link(target)
        }
        Type::Link => MemberKind::HardLink(path::components(&target())?),
        Type::Char | Type::Block | Type::Fifo => MemberKind::Other,
        _ => MemberKind::None,
    })
}

/// The PAX records of an entry that `tar` does not apply itself.
#[derive(Default)]
struct ExtendedRecords {
    capabilities: bool,
    sparse: sparse::SparseRecords,
}

impl ExtendedRecords {
    fn read<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Self, Fault> {
        let mut records = Self::default();
        // The content of a global header does not belong to an entry.
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
