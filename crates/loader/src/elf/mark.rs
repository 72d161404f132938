//! Marks of tools in an object that no loader reads: its packer, and the CPU that it was built for. They are
//! outside of the parts that the dynamic section refers to.

use std::ops::Range;

use goblin::elf::header::{ET_DYN, ET_EXEC, Header};
use goblin::elf::program_header::{PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD};

use crate::elf::section::{Looked, sections};
use crate::elf::segments::Segments;
use crate::elf::{go, packing};

/// The message of glibc's static start code on a kernel that is older than its minimum (`__libc_start_main`
/// before 2.36).
const KERNEL_TOO_OLD: &[u8] = b"FATAL: kernel too old\n";
/// The maximum number of bytes of a static program's constants that are searched.
const MOST_CONSTANTS: u64 = 16 << 20;

/// The marks of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The tool that packed the program: it unpacks another program and runs that.
    pub packed_by: Option<&'static str>,
    /// The CPU features beyond the minimum of its machine that the toolchain built it for, as `KEY=VALUE`.
    pub cpu: Vec<String>,
    /// It is a static program that exits on a kernel older than the one in its note.
    pub checks_kernel: bool,
}

/// Returns whether the kernel starts the object without anything else: it has an entry point, but neither an
/// interpreter nor a dynamic section.
pub(super) fn is_bare(header: &Header, segments: &Segments<'_>) -> bool {
    let has = |kind| segments.headers.iter().any(|header| header.p_type == kind);
    let is_loadable = matches!(header.e_type, ET_EXEC | ET_DYN) && has(PT_LOAD);
    is_loadable && header.e_entry != 0 && !has(PT_INTERP) && !has(PT_DYNAMIC)
}

/// Reads the marks, and returns the parts of the file that contain them.
pub(super) fn read(
    header: &Header,
    segments: &Segments<'_>,
    is_program: bool,
    has_kernel_note: bool,
) -> (Marks, Vec<Range<usize>>) {
    let looked = Looked::new(segments.reader);
    let sections = sections(header, &looked);
    let is_bare = is_bare(header, segments);
    let packer = || packing::packer(header, is_bare, &sections, &looked);
    let packed_by = if is_program { packer() } else { None };
    let cpu = go::cpu_needs(segments, &sections, &looked);
    let mut checks_kernel = false;
    if is_program && has_kernel_note {
        for (start, bytes) in static_constants(segments) {
            if let Some(at) = memchr::memmem::find(bytes, KERNEL_TOO_OLD) {
                checks_kernel = looked.bytes(start + at as u64, KERNEL_TOO_OLD.len() as u64).is_some();
                break;
            }
        }
    }
    (Marks { packed_by, cpu, checks_kernel }, looked.into_ranges())
}

/// Returns the parts of a file that [`read`] may examine, as far as the present bytes show.
pub(super) fn outline(header: &Header, segments: &Segments<'_>, is_program: bool) -> Vec<Range<usize>> {
    let (_, mut ranges) = read(header, segments, is_program, false);
    let constants = static_constants(segments).into_iter().filter(|_| is_program);
    let constants = constants.filter_map(|(start, bytes)| {
        let start = usize::try_from(start).ok()?;
        Some(start..start + bytes.len())
    });
    ranges.extend(constants);
    ranges
}

/// Returns the constants of an object without an interpreter, with their offset in the file. They are mapped
/// not writable and, if there is such a segment, not executable.
fn static_constants<'a>(segments: &Segments<'a>) -> Vec<(u64, &'a [u8])> {
    if segments.headers.iter().any(|header| header.p_type == PT_INTERP) {
        return Vec::new();
    }
    let loads = || {
        let headers = segments.headers.iter();
        headers.filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W == 0)
    };
    let is_separate = loads().any(|header| header.p_flags & PF_X == 0);
    let constant = loads().filter(|header| !is_separate || header.p_flags & PF_X == 0);
    let parts = constant.filter_map(|header| {
        let start = usize::try_from(header.p_offset).ok()?;
        let size = usize::try_from(header.p_filesz.min(MOST_CONSTANTS)).ok()?;
        Some((header.p_offset, segments.reader.data.get(start..start.checked_add(size)?)?))
    });
    parts.collect()
}

#[cfg(test)]
mod tests;
