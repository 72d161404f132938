//! What a loader prints of a problem, with the paths that it took.
//!
//! Sources: glibc's `elf/dl-load.c` and `elf/rtld.c`; musl's `load_deps` and `do_relocs` in
//! `ldso/dynlink.c`.

use crate::loader::{Load, Problem};

impl Problem {
    /// What the loader of a start would print of it; `None` if it prints nothing.
    pub fn message(&self, load: &Load) -> Option<String> {
        let found = self.as_found(load);
        match load.ignores_versions {
            true => found.message_of_musl().or_else(|| found.loader_message()),
            false => found.loader_message(),
        }
    }

    /// The words of musl, where they differ from those of glibc.
    fn message_of_musl(&self) -> Option<String> {
        match self {
            Self::LibraryMissing { library, wanted_by, .. }
            | Self::HostLibraryMissing { library, wanted_by, .. } => Some(format!(
                "Error loading shared library {library}: No such file or directory (needed by {wanted_by})"
            )),
            Self::LibraryUnusable { library, wanted_by, reason, .. } => {
                Some(format!("Error loading shared library {library}: {reason} (needed by {wanted_by})"))
            }
            Self::SymbolMissing { symbol, wanted_by, .. } => {
                Some(format!("Error relocating {wanted_by}: {symbol}: symbol not found"))
            }
            _ => None,
        }
    }

    /// The problem with the paths by which a loader found the files, rather than those without links: in an
    /// image both are absolute.
    fn as_found(&self, load: &Load) -> Self {
        let found = |shown: &mut String| {
            if !shown.starts_with('/') {
                return;
            }
            if let Some(object) = load.objects.iter().find(|object| object.shown == *shown) {
                shown.clone_from(&object.path);
            }
        };
        let mut problem = self.clone();
        match &mut problem {
            Self::VersionMissing { path, wanted_by, .. }
            | Self::VersionUnknown { path, wanted_by, .. }
            | Self::RelrUndeclared { path, wanted_by, .. } => {
                found(path);
                found(wanted_by);
            }
            Self::SymbolMissing { wanted_by, .. }
            | Self::LibraryMissing { wanted_by, .. }
            | Self::LibraryUnusable { wanted_by, .. } => found(wanted_by),
            Self::IsaTooLow { object, .. } => found(object),
            _ => {}
        }
        problem
    }
}
