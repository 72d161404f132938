//! Names from the dynamic string table, and how much room they may take.
//!
//! Any number of entries may point to one string, so a small file can ask for a quadratic amount of
//! text. What is read is bounded by the size of the file; no linker comes near these bounds.

use std::cell::Cell;

use crate::elf::Error;
use crate::elf::reader::Reader;
use compat_sys::raw;

/// The longest name of a library or version. No path that a kernel opens is longer.
const LONGEST: usize = 4096;
/// What names may take besides the size of the file itself.
const ROOM: usize = 1 << 20;

/// The names of libraries and versions of one object.
pub(super) struct Names<'a> {
    table: Reader<'a>,
    left: Cell<usize>,
}

impl<'a> Names<'a> {
    /// The names in the string table at `start`, of `size` bytes.
    pub(super) fn new(reader: Reader<'a>, (start, size): (usize, usize)) -> Self {
        let data = reader.data.get(start..start.saturating_add(size)).unwrap_or_default();
        Self { table: Reader { data, ..reader }, left: Cell::new(reader.data.len().saturating_add(ROOM)) }
    }

    /// The name of a library or version that the table `what` asks for.
    pub(super) fn name(&self, what: &'static str, offset: u64) -> Result<String, Error> {
        self.text(what, offset, LONGEST)
    }

    /// A list of directories.
    pub(super) fn path_list(&self, what: &'static str, offset: u64) -> Result<String, Error> {
        self.text(what, offset, usize::MAX)
    }

    fn text(&self, what: &'static str, offset: u64, longest: usize) -> Result<String, Error> {
        let malformed = |why: String| Error::Malformed { what, why };
        let outside = || malformed(format!("the name at offset {offset:#x} lies outside the string table"));
        let at = usize::try_from(offset).map_err(|_| outside())?;
        let cut = self.table.string_of_at_most(at, longest.min(self.left.get())).ok_or_else(outside)?;
        let bytes = cut.map_err(|most| {
            if most == longest {
                malformed(format!("the name at offset {offset:#x} is longer than {longest} bytes"))
            } else {
                malformed("its names take more room than the file".to_owned())
            }
        })?;
        self.left.set(self.left.get() - bytes.len());
        Ok(raw::string(bytes))
    }
}

/// How many bytes of symbol names are read: each name is in the table once, or once for each version.
pub(super) fn room_for_symbols(reader: Reader<'_>) -> usize {
    reader.data.len().saturating_mul(4).saturating_add(ROOM)
}
