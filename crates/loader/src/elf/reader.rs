//! Bounded reads from the bytes of an object in its own byte order.

use crate::elf::{Class, Endian};

/// Reads integers from bytes. Every read outside of them returns `None`.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub data: &'a [u8],
    pub class: Class,
    pub endian: Endian,
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.data.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }

    pub(super) fn u8(&self, offset: usize) -> Option<u8> {
        self.data.get(offset).copied()
    }

    #[inline]
    pub(super) fn u16(&self, offset: usize) -> Option<u16> {
        self.array(offset).map(|bytes| match self.endian {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        })
    }

    #[inline]
    pub(super) fn u32(&self, offset: usize) -> Option<u32> {
        self.array(offset).map(|bytes| match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
    }

    #[inline]
    pub(super) fn u64(&self, offset: usize) -> Option<u64> {
        self.array(offset).map(|bytes| match self.endian {
            Endian::Little => u64::from_le_bytes(bytes),
            Endian::Big => u64::from_be_bytes(bytes),
        })
    }

    /// Returns an address-sized integer.
    #[inline]
    pub(super) fn word(&self, offset: usize) -> Option<u64> {
        match self.class {
            Class::Elf32 => self.u32(offset).map(u64::from),
            Class::Elf64 => self.u64(offset),
        }
    }

    /// Returns the size of an address in bytes.
    pub(super) fn word_size(&self) -> usize {
        match self.class {
            Class::Elf32 => 4,
            Class::Elf64 => 8,
        }
    }

    /// Returns the bytes from `offset` up to the next NUL, or `None` if there is no NUL before the end.
    #[inline]
    pub(super) fn string(&self, offset: usize) -> Option<&'a [u8]> {
        let tail = self.data.get(offset..)?;
        let end = memchr::memchr(0, tail)?;
        Some(&tail[..end])
    }

    /// Returns [`Reader::string`], or `Err(most)` if it is longer than `most`. It examines no more bytes than
    /// that.
    #[inline]
    pub(super) fn string_of_at_most(&self, offset: usize, most: usize) -> Option<Result<&'a [u8], usize>> {
        let tail = self.data.get(offset..)?;
        let head = &tail[..most.saturating_add(1).min(tail.len())];
        match memchr::memchr(0, head) {
            Some(end) => Some(Ok(&tail[..end])),
            None if head.len() > most => Some(Err(most)),
            None => None,
        }
    }
}
