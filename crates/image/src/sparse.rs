//! Sparse files in PAX archives as GNU tar writes them: formats 0.0, 0.1 and 1.0.
//!
//! Source: GNU tar's manual, "Storing Sparse Files". The crate `tar` reads the older form, which has its own
//! entry type.

use std::io::{self, Read};

use crate::error::Fault;
use crate::limit;

const BLOCK: usize = 512;

/// The PAX records of a sparse file.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    /// The file's name. The name of the entry is artificial.
    pub name: Option<Vec<u8>>,
    size: Option<u64>,
    major: u64,
    offset: Option<u64>,
    pieces: Vec<(u64, u64)>,
    any: bool,
}

/// A sparse file and the positions of its content.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    /// The length of the file, including holes.
    pub size: u64,
    /// Offset and length of each piece. `None` if the content begins with them (format 1.0).
    pieces: Option<Vec<(u64, u64)>>,
}

impl SparseRecords {
    /// Adds one record.
    pub(crate) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let Some(key) = key.strip_prefix(b"GNU.sparse.") else { return Ok(()) };
        self.any = true;
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"major" => self.major = number(value)?,
            b"offset" => self.offset = Some(number(value)?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or_else(|| malformed("a piece has no offset"))?;
                self.push(offset, number(value)?)?;
            }
            b"map" => {
                let mut numbers = value.split(|byte| *byte == b',').filter(|number| !number.is_empty());
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().ok_or_else(|| malformed("a piece has no length"))?;
                    self.push(number(offset)?, number(length)?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<(), Fault> {
        if self.pieces.len() == limit::SPARSE_PIECES {
            return Err(malformed("it has too many pieces"));
        }
        self.pieces.push((offset, length));
        Ok(())
    }

    /// Returns the sparse file, if the records describe one.
    pub(crate) fn finish(self) -> Result<Option<Sparse>, Fault> {
        if !self.any {
            return Ok(None);
        }
        let size = self.size.ok_or_else(|| malformed("it has no size"))?;
        let pieces = (self.major == 0).then_some(self.pieces);
        Ok(Some(Sparse { size, pieces }))
    }
}

impl Sparse {
    /// Returns the content of the file, with zeroes in its holes.
    pub(crate) fn open<'a>(self, content: &'a mut dyn Read, size: u64) -> Result<Filled<'a>, Fault> {
        let pieces = match self.pieces {
            Some(pieces) => pieces,
            None => read_map(content)?,
        };
        let mut at = 0;
        for (offset, length) in &pieces {
            let end = offset.checked_add(*length).filter(|end| *offset >= at && *end <= size);
            at = end.ok_or_else(|| malformed("its pieces overlap or lie outside the file"))?;
        }
        Ok(Filled { content, pieces: pieces.into_iter(), piece: (0, 0), at: 0, size })
    }
}

/// Reads the map before the content: decimal numbers, one a line, padded to whole blocks.
fn read_map(content: &mut dyn Read) -> Result<Vec<(u64, u64)>, Fault> {
    let mut lines = Lines { content, block: [0; BLOCK], at: BLOCK };
    let count = lines.number()?;
    if count > limit::SPARSE_PIECES as u64 {
        return Err(malformed("it has too many pieces"));
    }
    (0..count).map(|_| Ok((lines.number()?, lines.number()?))).collect()
}

struct Lines<'a> {
    content: &'a mut dyn Read,
    block: [u8; BLOCK],
    at: usize,
}

impl Lines<'_> {
    fn number(&mut self) -> Result<u64, Fault> {
        let mut digits = Vec::new();
        loop {
            if self.at == BLOCK {
                self.content.read_exact(&mut self.block).map_err(|_| malformed("its map is truncated"))?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return number(&digits),
                _ if digits.len() == 20 => return Err(malformed("its map contains an invalid number")),
                _ => digits.push(byte),
            }
        }
    }
}

/// A sparse file with its holes filled.
pub(super) struct Filled<'a> {
    content: &'a mut dyn Read,
    pieces: std::vec::IntoIter<(u64, u64)>,
    /// The current or the next piece.
    piece: (u64, u64),
    at: u64,
    size: u64,
}

impl Read for Filled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.piece.0 + self.piece.1 && self.at < self.size {
            self.piece = self.pieces.next().unwrap_or((self.size, u64::MAX - self.size));
        }
        let (start, length) = self.piece;
        let (end, hole) = if self.at < start { (start, true) } else { (start + length, false) };
        let most = end.min(self.size).saturating_sub(self.at);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let length = if hole {
            buffer[..most].fill(0);
            most
        } else {
            self.content.read(&mut buffer[..most])?
        };
        self.at += length as u64;
        Ok(length)
    }
}

fn number(text: &[u8]) -> Result<u64, Fault> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| malformed("invalid number"))
}

fn malformed(why: &str) -> Fault {
    Fault::malformed(format!("invalid sparse file: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(records: &[(&str, &str)], content: &[u8]) -> Result<Vec<u8>, String> {
        let mut read = SparseRecords::default();
        let text = |fault: Fault| fault.to_string();
        for (key, value) in records {
            read.take(key.as_bytes(), value.as_bytes()).map_err(text)?;
        }
        let sparse = read.finish().map_err(text)?.expect("a sparse file");
        let (size, mut content, mut bytes) = (sparse.size, content, Vec::new());
        sparse.open(&mut content, size).map_err(text)?.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn all_three_formats_give_the_same_file() {
        let oldest = [
            ("GNU.sparse.size", "10"),
            ("GNU.sparse.offset", "2"),
            ("GNU.sparse.numbytes", "3"),
            ("GNU.sparse.offset", "7"),
            ("GNU.sparse.numbytes", "1"),
        ];
        let old = [("GNU.sparse.size", "10"), ("GNU.sparse.map", "2,3,7,1")];
        let new = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")];
        let mut map = b"2\n2\n3\n7\n1\n".to_vec();
        map.resize(512, 0);
        map.extend(b"abcd");
        for found in [filled(&oldest, b"abcd"), filled(&old, b"abcd"), filled(&new, &map)] {
            assert_eq!(found.unwrap(), b"\0\0abc\0\0d\0\0");
        }
    }

    #[test]
    fn pieces_that_overlap_or_leave_the_file_are_refused() {
        let with =
            |map: &str| filled(&[("GNU.sparse.size", "10"), ("GNU.sparse.map", map)], b"abcd").unwrap_err();
        insta::assert_snapshot!(with("2,3,4,1"), @"invalid sparse file: its pieces overlap or lie outside the file");
        insta::assert_snapshot!(with("2,18446744073709551615"), @"invalid sparse file: its pieces overlap or lie outside the file");
        insta::assert_snapshot!(with("2"), @"invalid sparse file: a piece has no length");
        let endless = filled(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "1")], &[b'1'; 4096]);
        insta::assert_snapshot!(endless.unwrap_err(), @"invalid sparse file: its map contains an invalid number");
    }
}
