//! Decompression of layers: gzip, zstd or plain tar, detected by content.
//!
//! Media types are ignored because they are often wrong (docker's `tar.gzip` for zstd, plain archives called
//! gzip).

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use bytes::Bytes;

use crate::error::Fault;
use crate::limit::{Limits, RATIO_FROM};

/// The size of a decompressed block.
pub(super) const BLOCK: usize = 256 << 10;
/// The number of bytes that identify a format.
const MAGIC: usize = 6;

/// Returns a reader of the decompressed content of `reader`.
///
/// # Errors
///
/// [`Fault::Unsupported`] for a compression format that images do not use, [`Fault::Malformed`] if the content
/// cannot be read.
pub(super) fn open<'a>(mut reader: impl BufRead + Send + 'a) -> Result<Box<dyn Read + Send + 'a>, Fault> {
    let mut magic = Vec::new();
    (&mut reader).take(MAGIC as u64).read_to_end(&mut magic).map_err(|error| unreadable(&error))?;
    let form = form(&magic);
    let whole = BufReader::new(io::Cursor::new(magic)).chain(reader);
    Ok(match form {
        Form::Plain => Box::new(whole),
        Form::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Form::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(whole).map_err(Fault::Machine)?),
        Form::Other(name) => {
            return Err(Fault::Unsupported(format!("it is compressed with {name}; images use gzip or zstd")));
        }
    })
}

enum Form {
    Plain,
    Gzip,
    Zstd,
    Other(&'static str),
}

/// Detects the format from the first bytes (RFC 1952, RFC 8878, and the file formats of xz and bzip2).
fn form(magic: &[u8]) -> Form {
    match magic {
        [0x1f, 0x8b, ..] => Form::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Form::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Form::Other("xz"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Form::Other("bzip2"),
        _ => Form::Plain,
    }
}

fn unreadable(error: &io::Error) -> Fault {
    Fault::malformed(format!("it cannot be decompressed: {error}"))
}

/// Whether content is compressed.
pub(super) fn is_compressed(magic: &[u8]) -> bool {
    !matches!(form(magic), Form::Plain)
}

/// A reader of a layer's pieces as they arrive.
pub(super) struct Pieces {
    source: tokio::sync::mpsc::Receiver<Bytes>,
    piece: Bytes,
    read: Arc<AtomicU64>,
}

impl Pieces {
    /// Returns a reader of `source`. It counts the bytes in `read`.
    pub(crate) fn new(source: tokio::sync::mpsc::Receiver<Bytes>, read: Arc<AtomicU64>) -> Self {
        Self { source, piece: Bytes::new(), read }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.piece[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            match self.source.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => break,
            }
            self.read.fetch_add(self.piece.len() as u64, Ordering::Relaxed);
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        bytes::Buf::advance(&mut self.piece, amount);
    }
}

/// Decompresses all of `source` and sends it on in blocks. The blocks come back through `spent` for reuse.
/// Returns the decompressed length. `before` is the decompressed length of the previous layers.
///
/// # Errors
///
/// [`Fault::Limit`] if the content exceeds `limits`, or the fault of the content.
pub(super) fn run(
    source: Pieces,
    blocks: &SyncSender<Vec<u8>>,
    spent: &Receiver<Vec<u8>>,
    limits: &Limits,
    before: u64,
) -> Result<u64, Fault> {
    let read = Arc::clone(&source.read);
    let mut decoder = open(source)?;
    let mut length = 0;
    loop {
        let mut block = spent.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        block.clear();
        let outcome = (&mut decoder).take(BLOCK as u64).read_to_end(&mut block);
        length += block.len() as u64;
        check(length, read.load(Ordering::Relaxed), limits, before)?;
        let is_last = block.len() < BLOCK;
        if !block.is_empty() && blocks.send(block).is_err() {
            // The receiver stopped reading. It reports the reason.
            return Ok(length);
        }
        outcome.map_err(|error| unreadable(&error))?;
        if is_last {
            return Ok(length);
        }
    }
}

fn check(length: u64, read: u64, limits: &Limits, before: u64) -> Result<(), Fault> {
    if length.saturating_add(before) > limits.unpacked {
        return Err(Fault::Limit { what: "the image's decompressed size in bytes", limit: limits.unpacked });
    }
    if length > RATIO_FROM && length / limits.ratio.max(1) > read {
        return Err(Fault::Limit {
            what: "the ratio of the decompressed to the compressed size",
            limit: limits.ratio,
        });
    }
    Ok(())
}

/// A reader of the blocks of a decompressed layer.
pub(super) struct Blocks {
    source: Receiver<Vec<u8>>,
    spent: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    /// Hashes the bytes that are read, if a digest is needed.
    pub hasher: Option<compat_oci::digest::Hasher>,
}

impl Blocks {
    pub(crate) fn new(source: Receiver<Vec<u8>>, spent: SyncSender<Vec<u8>>) -> Self {
        Self { source, spent, block: Vec::new(), at: 0, hasher: None }
    }

    /// Reads to the end: bytes behind the archive belong to the layer too.
    pub(crate) fn drain(&mut self) {
        while self.next_block() {}
    }

    fn next_block(&mut self) -> bool {
        let Ok(block) = self.source.recv() else { return false };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&block);
        }
        // If the sender stopped, the block is dropped.
        let _ = self.spent.try_send(std::mem::replace(&mut self.block, block));
        self.at = 0;
        true
    }
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block() {
                return Ok(0);
            }
        }
        let rest = &self.block[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stored: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        open(stored)
            .map_err(|fault| fault.to_string())?
            .read_to_end(&mut bytes)
            .map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        flate2::bufread::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut stored).unwrap();
        stored
    }

    #[test]
    fn the_form_is_told_by_content() {
        for stored in [b"plain".to_vec(), gzip(b"plain"), zstd::encode_all(&b"plain"[..], 1).unwrap()] {
            assert_eq!(text(&stored).unwrap(), b"plain");
        }
        assert_eq!(text(b"").unwrap(), b"");
        assert_eq!(text(&[gzip(b"pl"), gzip(b"ain")].concat()).unwrap(), b"plain");
        let frames = [zstd::encode_all(&b"pl"[..], 1).unwrap(), zstd::encode_all(&b"ain"[..], 1).unwrap()];
        let skipped = [b"\x50\x2a\x4d\x18\x02\0\0\0xx".to_vec(), frames.concat()].concat();
        assert_eq!(text(&skipped).unwrap(), b"plain");
    }

    #[test]
    fn other_forms_and_broken_ones_are_refused() {
        insta::assert_snapshot!(text(b"\xfd7zXZ\0 and more").unwrap_err(), @"it is compressed with xz; images use gzip or zstd");
        assert!(text(&gzip(&[7; 10_000])[..30]).is_err());
        assert!(text(&[&gzip(b"plain")[..], b"trailing"].concat()).is_err());
        assert!(text(&zstd::encode_all(&[7; 10_000][..], 1).unwrap()[..12]).is_err());
    }

    #[test]
    fn a_bomb_breaks_the_ratio_or_the_size() {
        let limits = Limits { unpacked: 2 << 30, ratio: 100, ..Limits::default() };
        let fault = |length, read, before| check(length, read, &limits, before).unwrap_err().to_string();
        assert!(check(RATIO_FROM, 1, &limits, 0).is_ok());
        insta::assert_snapshot!(fault(RATIO_FROM + (1 << 20), 10 << 20, 0), @"the ratio of the decompressed to the compressed size exceeds the limit of 100");
        insta::assert_snapshot!(fault(1 << 30, 1 << 30, (1 << 30) + 1), @"the image's decompressed size in bytes exceeds the limit of 2147483648");
    }
}
