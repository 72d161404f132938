//! Names from the dynamic string table, and the limit on their total size.
//!
//! Any number of entries may point to one string, so a small file could cause a quadratic amount of text. The
//! total is limited by the size of the file. No linker comes near these limits.

use std::cell::Cell;

use crate::elf::Error;
use crate::elf::reader::Reader;
use compat_sys::raw;

/// The maximum length of the name of a library or version. No kernel opens a longer path.
const LONGEST: usize = 4096;
/// The allowed size of names in addition to the size of the file.
const ROOM: usize = 1 << 20;

/// The names of libraries and versions of one object.
pub(super) struct Names<'a> {
    table: Reader<'a>,
    left: Cell<usize>,
}

impl<'a> Names<'a> {
    /// Creates the names from the string table of `size` bytes at `start`.
    pub(super) fn new(reader: Reader<'a>, (start, size): (usize, usize)) -> Self {
        let data = reader.data.get(start..start.saturating_add(size)).unwrap_or_default();
        Self { table: Reader { data, ..reader }, left: Cell::new(reader.data.len().saturating_add(ROOM)) }
    }

    /// Returns the name of a library or version that the table `what` refers to.
    pub(super) fn name(&self, what: &'static str, offset: u64) -> Result<String, Error> {
        self.text(what, offset, LONGEST)
    }

    /// Returns a list of directories.
    pub(super) fn path_list(&self, what: &'static str, offset: u64) -> Result<String, Error> {
        self.text(what, offset, usize::MAX)
    }

    fn text(&self, what: &'static str, offset: u64, longest: usize) -> Result<String, Error> {
        let malformed = |why: String| Error::Malformed { what, why };
        let outside = || malformed(format!("the name at offset {offset:#x} is outside the string table"));
        let at = usize::try_from(offset).map_err(|_| outside())?;
        let cut = self.table.string_of_at_most(at, longest.min(self.left.get())).ok_or_else(outside)?;
        let bytes = cut.map_err(|most| {
            if most == longest {
                malformed(format!("the name at offset {offset:#x} is longer than {longest} bytes"))
            } else {
                malformed("its names are larger than the file".to_owned())
            }
        })?;
        self.left.set(self.left.get() - bytes.len());
        Ok(raw::string(bytes))
    }
}

/// Returns the maximum size of the symbol names in bytes: each name is in the table once, or once for each
/// version.
pub(super) fn room_for_symbols(reader: Reader<'_>) -> usize {
    reader.data.len().saturating_mul(4).saturating_add(ROOM)
}
