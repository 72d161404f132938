//! Archives that contain an image: the output of `docker save`, or an OCI image layout in a tar file.
//!
//! Members are read at their offset in the file, in any order. A file that is compressed as a whole is first
//! decompressed into an unnamed temporary file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::entry::{Allowance, Allowed};
use crate::error::{Error, Fault, Result};
use crate::limit::Limits;
use crate::{decode, limit, merge, path};
use compat_oci::Observer;
use compat_oci::blob::BlobReader;

/// The number of bytes that one read takes from a member.
const PIECE: usize = 256 << 10;
/// The most links between members that a lookup follows.
const LINKS: usize = 8;

/// An archive and the positions of its members.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: Arc<File>,
    members: Arc<HashMap<String, Member>>,
}

#[derive(Clone, Debug)]
enum Member {
    File(Extent),
    Link(String),
}

/// The position of a member's content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    offset: u64,
    pub size: u64,
}

impl Archive {
    /// Opens an archive and lists its members.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not a tar archive.
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self> {
        let mut file = compat_sys::open_regular(path).map_err(Error::io("read", path))?;
        let mut magic = Vec::new();
        (&mut file).take(6).read_to_end(&mut magic).map_err(Error::io("read", path))?;
        file.seek(SeekFrom::Start(0)).map_err(Error::io("read", path))?;
        let fault = |fault| Error::TooLarge { what: path.display().to_string(), fault };
        if decode::is_compressed(&magic) {
            file = spool(file, limits).map_err(fault)?;
        }
        Self::of_file(path, file)
    }

    /// Copies an archive from a stream into an unnamed temporary file. Messages call it `path`.
    ///
    /// # Errors
    ///
    /// If the stream fails or is longer than `limits` allow, or if the disk is full.
    pub(crate) async fn of_stream(
        path: &Path,
        mut stream: BlobReader,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let failed = || Error::io("write a temporary copy of", path);
        let mut file = tempfile::tempfile().map_err(failed())?;
        let mut length = 0;
        while let Some(piece) = stream.next().await {
            let piece = piece?;
            length += piece.len() as u64;
            if length > limits.unpacked {
                let fault = Fault::Limit { what: "the size in bytes", limit: limits.unpacked };
                return Err(Error::TooLarge { what: path.display().to_string(), fault });
            }
            observer.transferred(piece.len() as u64);
            file.write_all(&piece).map_err(failed())?;
        }
        file.seek(SeekFrom::Start(0)).map_err(failed())?;
        Self::of_file(path, file)
    }

    fn of_file(path: &Path, mut file: File) -> Result<Self> {
        let members = members(&mut file).map_err(|error| Error::NotAnImage {
            what: path.display().to_string(),
            reason: format!("{UNREADABLE}: {}", fault(&error)),
        })?;
        Ok(Self { path: path.to_owned(), file: Arc::new(file), members: Arc::new(members) })
    }

    /// The path of the archive.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the position of a member and follows links between members.
    pub(crate) fn find(&self, name: &str) -> Option<Extent> {
        let mut name = name.to_owned();
        for _ in 0..LINKS {
            match self.members.get(&name)? {
                Member::File(extent) => return Some(*extent),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// Reads a small member. `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// If the member is larger than `limit` or cannot be read.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Option<Bytes>> {
        let Some(extent) = self.find(name) else { return Ok(None) };
        if extent.size > limit {
            let what = format!("{name} in {}", self.path.display());
            return Err(compat_oci::Error::TooLarge { what, limit }.into());
        }
        let mut bytes = vec![0; extent.size as usize];
        self.file.read_exact_at(&mut bytes, extent.offset).map_err(Error::io("read", &self.path))?;
        Ok(Some(bytes.into()))
    }

    /// Returns a stream of a member's content.
    pub(crate) fn stream(&self, extent: Extent) -> BlobReader {
        pieces(&self.path, Arc::clone(&self.file), extent)
    }
}

impl Extent {
    /// The extent of a whole file.
    pub(crate) fn whole(size: u64) -> Self {
        Self { offset: 0, size }
    }
}

/// Returns a stream of a part of a file.
pub(super) fn pieces(path: &Path, file: Arc<File>, extent: Extent) -> BlobReader {
    let state = (path.to_owned(), file, extent);
    Box::pin(futures_util::stream::try_unfold(state, |(path, file, mut extent)| async move {
        if extent.size == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; (extent.size).min(PIECE as u64) as usize];
        file.read_exact_at(&mut piece, extent.offset).map_err(compat_oci::Error::io("read", &path))?;
        extent.offset += piece.len() as u64;
        extent.size -= piece.len() as u64;
        Ok(Some((Bytes::from(piece), (path, file, extent))))
    }))
}

/// Decompresses a file into an unnamed temporary file.
fn spool(file: File, limits: &Limits) -> std::result::Result<File, Fault> {
    let mut decoder = decode::open(BufReader::with_capacity(PIECE, file))?;
    let mut spooled = tempfile::tempfile().map_err(Fault::Machine)?;
    let most = limits.unpacked;
    let copied = io::copy(&mut (&mut decoder).take(most + 1), &mut spooled).map_err(Fault::Machine)?;
    if copied > most {
        return Err(Fault::Limit { what: "the decompressed size in bytes", limit: most });
    }
    spooled.seek(SeekFrom::Start(0)).map_err(Fault::Machine)?;
    Ok(spooled)
}

fn members(file: &mut File) -> io::Result<HashMap<String, Member>> {
    let length = file.metadata()?.len();
    let allowance = Allowance::default();
    let mut archive = tar::Archive::new(Allowed { inner: file, allowance: allowance.clone() });
    let mut members = HashMap::new();
    let mut names = 0;
    allowance.for_headers();
    let mut last = None;
    for entry in archive.entries_with_seek()? {
        let invalid = |fault: Fault| io::Error::other(fault.to_string());
        let entry = entry.map_err(|error| allowance.cut(last.as_deref()).map_or(error, invalid))?;
        let name = path::components(&entry.path_bytes()).map_err(invalid)?;
        last = Some(merge::shown(&name));
        let target = entry.link_name_bytes().unwrap_or_default().into_owned();
        let directory = &name[..name.len().saturating_sub(1)];
        let member = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let extent = Extent { offset: entry.raw_file_position(), size: entry.size() };
                if extent.offset.checked_add(extent.size).is_none_or(|end| end > length) {
                    return Err(io::Error::other(format!("the archive ends inside {}", merge::shown(&name))));
                }
                Some(Member::File(extent))
            }
            tar::EntryType::Link => {
                Some(Member::Link(member_name(&path::components(&target).map_err(invalid)?)))
            }
            tar::EntryType::Symlink => {
                let target = [directory.join(&b'/'), target].join(&b'/');
                Some(Member::Link(member_name(&path::components(&target).map_err(invalid)?)))
            }
            _ => None,
        };
        if let Some(member) = member {
            let name = member_name(&name);
            names += name.len() + if let Member::Link(target) = &member { target.len() } else { 0 };
            members.insert(name, member);
        }
        if names > limit::ARCHIVE_NAMES {
            return Err(io::Error::other(format!(
                "its member names are longer than {} bytes",
                limit::ARCHIVE_NAMES
            )));
        }
        if members.len() > limit::ARCHIVE_MEMBERS {
            return Err(io::Error::other(format!("it has more than {} members", limit::ARCHIVE_MEMBERS)));
        }
        allowance.for_headers();
    }
    Ok(members)
}

fn member_name(components: &path::Components) -> String {
    String::from_utf8_lossy(&components.join(&b'/')).into_owned()
}

/// The reason for an archive that cannot be read, without its cause.
pub(crate) const UNREADABLE: &str = "it cannot be read as a tar archive";

/// Returns why an archive cannot be read. The tar library shows the bytes of an invalid header, which are unreadable.
fn fault(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    if text.contains("numeric field") { "it contains an invalid header".to_owned() } else { text }
}
