//! The parts of a file's content that are kept.

use std::fs::File as Spool;
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;

use crate::error::Fault;
use crate::packed::Packer;
use crate::path::Components;
use crate::tree::FileContent;
use crate::{limit, merge};
use compat_loader::script;
use compat_sys::raw;

const BLOCK: usize = 256 << 10;

/// Classifies files one after another.
pub(super) struct Classifier {
    packer: Packer,
    /// The buffer for objects. It is reused for the next file.
    buffer: Vec<u8>,
}

impl Classifier {
    /// Returns a classifier.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { packer: Packer::new()?, buffer: Vec::new() })
    }

    /// Reads as much as is needed of the file at `path`, which has `size` bytes.
    pub(crate) fn read(
        &mut self,
        path: &Components,
        size: u64,
        reader: &mut dyn Read,
    ) -> Result<FileContent, Fault> {
        if is_kept_whole(path) && size <= limit::FILE_KEPT_WHOLE {
            self.take(path, size, reader)?;
            return Ok(FileContent::Whole(Bytes::copy_from_slice(&self.buffer)));
        }
        self.take(path, size.min(limit::SCRIPT_LINE as u64), reader)?;
        if self.buffer.starts_with(b"#!") {
            if size <= script::LONGEST as u64 {
                self.extend(path, size, reader)?;
            }
            return Ok(FileContent::Script(kept_of_script(&self.buffer, size)));
        }
        if self.buffer.starts_with(b"\xef\xbb\xbf#!") {
            return Ok(FileContent::Script(self.buffer.as_slice().into()));
        }
        if !self.buffer.starts_with(b"\x7fELF") {
            return Ok(FileContent::Other);
        }
        let data = if size <= limit::OBJECT_IN_MEMORY {
            self.extend(path, size, reader)?;
            Bytes::from(std::mem::take(&mut self.buffer))
        } else {
            self.spool(path, size, reader)?
        };
        let content = self.pack(path, &data);
        if let Ok(buffer) = data.try_into_mut() {
            self.buffer = buffer.into();
        }
        content
    }

    /// Packs the object in `data`, which may be a memory mapping.
    pub(crate) fn pack(&mut self, path: &Components, data: &Bytes) -> Result<FileContent, Fault> {
        let name = path.last().map(|name| &**name).unwrap_or_default();
        self.packer.pack(name, data).map(FileContent::Elf).map_err(Fault::Machine)
    }

    /// Reads `size` bytes into the buffer.
    fn take(&mut self, path: &Components, size: u64, reader: &mut dyn Read) -> Result<(), Fault> {
        self.buffer.clear();
        self.extend(path, size, reader)
    }

    /// Reads until the buffer has `size` bytes.
    fn extend(&mut self, path: &Components, size: u64, reader: &mut dyn Read) -> Result<(), Fault> {
        let missing = size - self.buffer.len() as u64;
        self.buffer.reserve(missing as usize);
        reader.take(missing).read_to_end(&mut self.buffer).map_err(|error| unreadable(path, &error))?;
        if self.buffer.len() as u64 == size { Ok(()) } else { Err(cut(path)) }
    }

    /// Writes the buffer and the rest of an object into an unnamed temporary file, and maps it. Blocks of
    /// zeroes become holes.
    fn spool(&mut self, path: &Components, size: u64, reader: &mut dyn Read) -> Result<Bytes, Fault> {
        let mut file = tempfile::tempfile().map_err(Fault::Machine)?;
        file.write_all(&self.buffer).map_err(Fault::Machine)?;
        let mut written = self.buffer.len() as u64;
        while written < size {
            let wanted = (size - written).min(BLOCK as u64);
            self.take(path, wanted, reader)?;
            write_block(&mut file, &self.buffer).map_err(Fault::Machine)?;
            written += wanted;
        }
        file.set_len(size).map_err(Fault::Machine)?;
        compat_sys::map(&file).map_err(Fault::Machine)
    }
}

/// Returns the first line of a script and a text with the known facts about the rest.
fn kept_of_script(data: &[u8], size: u64) -> Box<[u8]> {
    let head = &data[..data.len().min(limit::SCRIPT_LINE)];
    let line = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
    let body = match script::parse_script(data).filter(|_| data.len() as u64 == size) {
        Some(Ok(script)) => Some(script.body).filter(script::Body::is_known),
        _ => None,
    };
    match body {
        Some(body) => [line, b"\n", &raw::bytes(&body.text())].concat().into(),
        None => line.into(),
    }
}

fn write_block(file: &mut Spool, block: &[u8]) -> io::Result<()> {
    if block.iter().all(|byte| *byte == 0) {
        file.seek(SeekFrom::Current(block.len() as i64)).map(|_| ())
    } else {
        file.write_all(block)
    }
}

pub(super) fn unreadable(path: &Components, error: &io::Error) -> Fault {
    Fault::malformed(format!("{}: {error}", merge::shown(path)))
}

pub(super) fn cut(path: &Components) -> Fault {
    Fault::malformed(format!("the archive ends inside {}", merge::shown(path)))
}

/// Whether a file is kept as a whole. The list contains the files that the loader reads besides objects,
/// matched by name because a loader outside `/` has its own copies, and the files that identify the system.
pub(super) fn is_kept_whole(path: &Components) -> bool {
    let [.., directory, name] = &path[..] else { return false };
    match (&**directory, &**name) {
        (b"ld.so.conf.d", _) => true,
        (b"etc", b"ld.so.cache" | b"ld.so.conf" | b"ld.so.preload" | b"os-release") => true,
        (b"etc", b"passwd" | b"group") => path.len() == 2,
        (b"etc", name) => name.starts_with(b"ld-musl-") && name.ends_with(b".path"),
        (b"lib", b"os-release") => path.len() == 3 && *path[0] == *b"usr",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::components;
    use crate::tests::sample::Sample;
    use compat_loader::elf::Machine;

    fn read(path: &str, data: &[u8]) -> FileContent {
        let path = components(path.as_bytes()).unwrap();
        Classifier::new().unwrap().read(&path, data.len() as u64, &mut &*data).unwrap()
    }

    #[test]
    fn a_script_keeps_its_first_line_and_what_is_known_of_it() {
        let FileContent::Script(line) = read("usr/bin/x", b"#!/bin/sh -e\neval x\n") else { panic!() };
        assert_eq!(&*line, b"#!/bin/sh -e");
        let FileContent::Script(known) = read("usr/bin/x", b"#!/bin/sh\n# Starts it.\nset -e\nexec /app\n")
        else {
            panic!()
        };
        assert_eq!(&*known, b"#!/bin/sh\nexec \"/app\"\n");
        let long = [b"#!/bin/sh ".to_vec(), vec![b'x'; 1000]].concat();
        let FileContent::Script(line) = read("usr/bin/x", &long) else { panic!() };
        assert_eq!(line.len(), 256);
        assert!(matches!(read("usr/share/x", b"plain"), FileContent::Other));
        assert!(matches!(read("usr/share/x", b""), FileContent::Other));
    }

    #[test]
    fn what_the_loader_and_the_engine_read_is_kept_whole() {
        for path in [
            "etc/ld.so.cache",
            "etc/ld.so.conf.d/a.conf",
            "usr/glibc-compat/etc/ld.so.cache",
            "etc/ld-musl-x86_64.path",
            "usr/lib/os-release",
            "etc/passwd",
        ] {
            assert!(matches!(read(path, b"text"), FileContent::Whole(text) if *text == *b"text"), "{path}");
        }
        for path in
            ["etc/shadow", "opt/etc/passwd", "ld.so.cache", "opt/lib/os-release", "etc/ld-musl-x86_64.conf"]
        {
            assert!(!is_kept_whole(&components(path.as_bytes()).unwrap()), "{path}");
        }
    }

    #[test]
    fn an_object_that_is_too_long_for_memory_reads_the_same_from_a_temporary_file() {
        let program = Sample::program(Machine::X86_64, 1 << 20).bytes();
        let path = components(b"usr/bin/x").unwrap();
        let mut classifier = Classifier::new().unwrap();
        let (head, tail) = program.split_at(256);
        classifier.buffer = head.to_vec();
        let data = classifier.spool(
            &path,
            program.len() as u64 + (1 << 20),
            &mut io::Read::chain(tail, io::repeat(0)),
        );
        let data = data.unwrap();
        assert!(data.starts_with(&program) && data.len() == program.len() + (1 << 20));
    }

    #[test]
    fn a_file_that_is_cut_is_named() {
        let path = components(b"usr/bin/x").unwrap();
        let fault = Classifier::new().unwrap().read(&path, 1000, &mut &b"\x7fELF"[..]).unwrap_err();
        insta::assert_snapshot!(fault, @"the archive ends inside usr/bin/x");
    }
}
