//! ELF objects in little memory: only the parts that are read later, compressed.
//!
//! For most objects these are a fifth of the file. Dynamic loaders and C libraries are kept whole because their
//! bytes are searched for text ([`compat_loader::host::DynamicLoader`], the release of a C library).

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::{limit, memory};
use compat_loader::elf;

/// The fastest regular level of zstd: objects are packed while the image is streamed.
const LEVEL: i32 = 1;

/// One packed object.
#[derive(Clone, Debug)]
pub struct Packed {
    length: u64,
    /// Offset and length of each part, in ascending order.
    parts: Arc<[(u64, u64)]>,
    /// The parts one after another, as one zstd frame. Hard links share both.
    frame: Arc<[u8]>,
}

impl Packed {
    /// The length of the file, in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The memory of the packed object, in bytes.
    pub fn kept(&self) -> u64 {
        let counters = 2 * size_of::<usize>();
        let parts = counters + self.parts.len() * size_of::<(u64, u64)>();
        memory::allocated(counters + self.frame.len()) + memory::allocated(parts)
    }

    /// Whether every byte of the file is kept.
    pub fn is_whole(&self) -> bool {
        self.parts_length() == self.length
    }

    #[cfg(test)]
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    fn parts_length(&self) -> u64 {
        self.parts.iter().map(|(_, length)| length).sum()
    }

    /// Returns as many bytes as the file has. The kept parts are in place and all other bytes are zero:
    /// [`elf::Object::parse`] reads the same object from them. The zero bytes take no memory.
    ///
    /// # Errors
    ///
    /// If the memory cannot be allocated.
    pub fn unpack(&self) -> io::Result<Bytes> {
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        compat_sys::zeroed(length, |bytes| {
            if self.is_whole() {
                zstd::bulk::decompress_to_buffer(&self.frame, bytes)?;
                return Ok(());
            }
            let parts = zstd::bulk::decompress(&self.frame, self.parts_length() as usize)?;
            let mut rest = &parts[..];
            for (offset, length) in self.parts.iter() {
                let part = rest.split_off(..*length as usize);
                let place =
                    bytes.get_mut(*offset as usize..).and_then(|tail| tail.get_mut(..*length as usize));
                match (part, place) {
                    (Some(part), Some(place)) => place.copy_from_slice(part),
                    _ => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            Ok(())
        })
    }
}

/// Packs objects one after another.
pub(crate) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    parts: Vec<u8>,
}

impl Packer {
    /// Returns a packer.
    ///
    /// # Errors
    ///
    /// If the memory for its tables cannot be allocated.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(LEVEL)?, parts: Vec::new() })
    }

    /// Packs the object in `data`, the content of a file with this name. If it is not an object or a broken
    /// one, it is packed so that it is refused with the same error later.
    ///
    /// # Errors
    ///
    /// If the memory cannot be allocated.
    pub(crate) fn pack(&mut self, name: &[u8], data: &Bytes) -> io::Result<Packed> {
        let whole = std::iter::once(0..data.len()).collect();
        let mut ranges = if elf::is_searched(name, data) && data.len() <= limit::OBJECT_KEPT_WHOLE {
            whole
        } else {
            elf::ranges(data)
        };
        if ranges.iter().map(|range| range.len()).sum::<usize>() > 2 * limit::OBJECT_IN_MEMORY as usize {
            // No object that can be loaded has such ranges. Its headers are enough to reject it.
            ranges = std::iter::once(0..data.len().min(4096)).collect();
        }
        let frame = match &ranges[..] {
            [range] => self.compressor.compress(&data[range.clone()])?,
            _ => {
                self.parts.clear();
                for range in &ranges {
                    self.parts.extend_from_slice(&data[range.clone()]);
                }
                self.compressor.compress(&self.parts)?
            }
        };
        let part = |range: &std::ops::Range<usize>| (range.start as u64, range.len() as u64);
        Ok(Packed {
            length: data.len() as u64,
            parts: ranges.iter().map(part).collect(),
            frame: frame.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::sample::{self, Sample};
    use compat_loader::elf::{Machine, Object};

    #[test]
    fn an_object_reads_the_same_from_its_packed_form() {
        let mut packer = Packer::new().unwrap();
        for sample in Sample::all(200_000) {
            let data = sample.bytes();
            let packed = packer.pack(b"sample", &data).unwrap();
            let unpacked = packed.unpack().unwrap();
            assert_eq!(unpacked.len(), data.len());
            let facts = |data| sample::facts(&Object::parse(data).unwrap());
            assert_eq!(facts(data), facts(unpacked), "{sample:?}");
            assert!(packed.kept() * 20 < packed.length(), "{} of {}", packed.kept(), packed.length());
        }
    }

    #[test]
    fn a_loader_is_kept_whole_by_its_name_or_soname() {
        let data = Sample::program(Machine::X86_64, 100_000).bytes();
        let mut packer = Packer::new().unwrap();
        assert!(!packer.pack(b"program", &data).unwrap().is_whole());
        let packed = packer.pack(b"ld-linux.so.2", &data).unwrap();
        assert!(packed.is_whole());
        assert_eq!(packed.unpack().unwrap(), data);
    }
}
