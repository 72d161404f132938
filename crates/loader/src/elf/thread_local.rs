//! Thread-local storage: the size that an object has, and the part that needs a fixed place for all threads.
//!
//! Sources: U. Drepper, "ELF Handling For Thread-Local Storage", `PT_TLS` in the gABI, the processor
//! supplements.

use goblin::elf::program_header::{PT_TLS, ProgramHeader};

use crate::elf::Object;
use crate::elf::relocation::{self, ThreadLocalUses};
use compat_sys::raw;

/// The thread-local segment of an object (`PT_TLS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadLocal {
    /// Its size in memory, in bytes.
    pub size: u64,
    /// Its alignment in bytes, at least 1.
    pub alignment: u64,
    /// The distance of its first byte from an aligned address, in bytes.
    pub first_byte: u64,
}

impl ThreadLocal {
    /// Returns the first thread-local segment among the program headers.
    pub(super) fn of(headers: &[ProgramHeader]) -> Option<Self> {
        let header = headers.iter().find(|header| header.p_type == PT_TLS)?;
        let alignment = header.p_align.max(1);
        (header.p_memsz > 0).then_some(Self {
            size: header.p_memsz,
            alignment,
            first_byte: header.p_vaddr & (alignment - 1),
        })
    }
}

/// The thread-local variables that an object refers to with a fixed distance from the thread pointer. They must
/// be in static memory (the initial-exec model).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialExec {
    /// Its own variables are among them.
    pub own: bool,
    /// The variables of other objects, by name.
    pub symbols: Vec<String>,
    /// It refers to variables with descriptors (`TLSDESC`), which use static memory if there is enough.
    pub descriptors: bool,
}

impl Object {
    /// Returns the variables that it needs in static memory, from its relocations.
    pub fn initial_exec(&self) -> InitialExec {
        let mut uses = ThreadLocalUses::default();
        for table in &self.relocations {
            relocation::collect_thread_local(self.reader(), self.machine, table, &mut uses);
        }
        let mut wanted = InitialExec { own: uses.own, symbols: Vec::new(), descriptors: uses.descriptors };
        let Some(symbols) = &self.symbols else { return wanted };
        let (names, defines) = symbols.undefined_names(self.reader(), &uses.symbols);
        wanted.own |= defines;
        wanted.symbols = names.into_iter().map(raw::string).collect();
        wanted
    }
}
