//! Entries as bytes:
//!
//! ```text
//! u64 inode, u64 size
//! i64, u32 mtime, i64, u32 ctime, u8 has birth, i64, u32 birth
//! facts: each begins with a byte for its kind
//!   1  32 bytes                                     the digest of the content
//!   2  u32 size, u32 n, n × (u8, 32 bytes)          digests of chunks; 0 and no digest if unknown
//!   3  u32 n, n × (u8 kind, u64 inode, u32, bytes)  a listing
//!   4  u32, bytes                                   the target of a link
//!   5  u32, bytes, u8, u32, bytes                   an extended attribute; 0 if absent
//! ```
//!
//! The kind of a listed name is that of getdents64(2) (`DT_REG`).

use rustix::fs::FileType;

use super::{Content, ExtendedAttribute, Facts, ListedName};
use crate::mirror::{Moment, Stamp};
use crate::spindle::store::Digest;

const WHOLE: u8 = 1;
const CHUNKS: u8 = 2;
const LISTING: u8 = 3;
const TARGET: u8 = 4;
const ATTRIBUTE: u8 = 5;

/// The position of the file type in a mode (`S_IFMT`, inode(7)). `DT_REG` is `S_IFREG >> 12`.
const TYPE_SHIFT: u32 = 12;

/// Encodes an entry.
pub(super) fn encode(stamp: &Stamp, facts: &Facts) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&stamp.inode.to_le_bytes());
    out.extend_from_slice(&stamp.size.to_le_bytes());
    put_moment(&mut out, stamp.mtime);
    put_moment(&mut out, stamp.ctime);
    out.push(stamp.birth.is_some().into());
    put_moment(&mut out, stamp.birth.unwrap_or_default());
    match &facts.content {
        None => {}
        Some(Content::Whole(digest)) => {
            out.push(WHOLE);
            out.extend_from_slice(digest.as_bytes());
        }
        Some(Content::Chunks { size, digests }) => put_chunks(&mut out, *size, digests),
    }
    if let Some(listing) = &facts.listing {
        put_listing(&mut out, listing);
    }
    if let Some(target) = &facts.target {
        out.push(TARGET);
        put_bytes(&mut out, target);
    }
    for attribute in &facts.attributes {
        out.push(ATTRIBUTE);
        put_bytes(&mut out, &attribute.name);
        out.push(attribute.value.is_some().into());
        put_bytes(&mut out, attribute.value.as_deref().unwrap_or_default());
    }
    out
}

fn put_moment(out: &mut Vec<u8>, moment: Moment) {
    out.extend_from_slice(&moment.seconds.to_le_bytes());
    out.extend_from_slice(&moment.nanoseconds.to_le_bytes());
}

/// A length that does not fit makes the entry longer than an index takes.
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

/// Appends a length and that many bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_chunks(out: &mut Vec<u8>, size: u32, digests: &[Option<Digest>]) {
    out.push(CHUNKS);
    out.extend_from_slice(&size.to_le_bytes());
    put_length(out, digests.len());
    for digest in digests {
        out.push(digest.is_some().into());
        out.extend(digest.iter().flat_map(Digest::as_bytes));
    }
}

fn put_listing(out: &mut Vec<u8>, listing: &[ListedName]) {
    out.push(LISTING);
    put_length(out, listing.len());
    for listed in listing {
        out.push((listed.kind.as_raw_mode() >> TYPE_SHIFT) as u8);
        out.extend_from_slice(&listed.inode.to_le_bytes());
        put_bytes(out, &listed.name);
    }
}

/// Decodes the facts of an entry. Returns `None` if they are for another stamp, or cannot be read.
pub(super) fn decode(entry: &[u8], stamp: &Stamp) -> Option<Facts> {
    let mut reader = Reader(entry);
    let found = reader.stamp()?;
    if !found.is_same(stamp) {
        return None;
    }
    let mut facts = Facts::default();
    while !reader.0.is_empty() {
        match reader.u8()? {
            WHOLE => facts.content = Some(Content::Whole(reader.digest()?)),
            CHUNKS => facts.content = Some(reader.chunks()?),
            LISTING => facts.listing = Some(reader.listing()?),
            TARGET => facts.target = Some(reader.bytes()?.to_vec()),
            ATTRIBUTE => {
                let (name, is_present, value) = (reader.bytes()?, reader.u8()?, reader.bytes()?);
                let value = (is_present != 0).then(|| value.to_vec());
                facts.attributes.push(ExtendedAttribute { name: name.to_vec(), value });
            }
            _ => return None,
        }
    }
    Some(facts)
}

/// The inode number with which an entry begins.
pub(super) fn inode_of(entry: &[u8]) -> Option<u64> {
    Reader(entry).u64()
}

/// Reads bytes that may be anything.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn moment(&mut self) -> Option<Moment> {
        Some(Moment { seconds: self.array().map(i64::from_le_bytes)?, nanoseconds: self.u32()? })
    }

    fn stamp(&mut self) -> Option<Stamp> {
        let (inode, size) = (self.u64()?, self.u64()?);
        let (mtime, ctime, has_birth) = (self.moment()?, self.moment()?, self.u8()?);
        let birth = self.moment()?;
        Some(Stamp { inode, size, mtime, ctime, birth: (has_birth != 0).then_some(birth) })
    }

    fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_bytes)
    }

    fn chunks(&mut self) -> Option<Content> {
        let (size, count) = (self.u32()?, self.u32()?);
        let mut digests = Vec::with_capacity(self.most(count, 1));
        for _ in 0..count {
            digests.push(if self.u8()? == 0 { None } else { Some(self.digest()?) });
        }
        Some(Content::Chunks { size, digests })
    }

    fn listing(&mut self) -> Option<Vec<ListedName>> {
        let count = self.u32()?;
        let mut listing = Vec::with_capacity(self.most(count, 13));
        for _ in 0..count {
            let kind = FileType::from_raw_mode(u32::from(self.u8()?) << TYPE_SHIFT);
            let (inode, name) = (self.u64()?, self.bytes()?.to_vec());
            listing.push(ListedName { name, inode, kind });
        }
        Some(listing)
    }

    /// The announced number, or the most for which there are bytes left.
    fn most(&self, count: u32, least_size: usize) -> usize {
        (count as usize).min(self.0.len() / least_size)
    }
}
