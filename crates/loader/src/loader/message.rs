//! The messages that a loader prints for a problem, with the paths that it found.
//!
//! Sources: glibc's `elf/dl-load.c` and `elf/rtld.c`; musl's `load_deps` and `do_relocs` in `ldso/dynlink.c`.

use crate::loader::{Load, Problem, Reason};

impl Problem {
    /// Returns the message of the loader that runs the start, or `None` if it prints nothing.
    pub fn message(&self, load: &Load) -> Option<String> {
        let found = self.as_found(load);
        if load.ignores_versions {
            found.message_of_musl().or_else(|| found.loader_message())
        } else {
            found.loader_message()
        }
    }

    /// Returns musl's message if it differs from glibc's.
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

    /// Returns the problem with the paths that the loader found instead of those without links. In an image,
    /// both are absolute.
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

    /// Returns the message of the loader or the kernel, if there is one.
    pub fn loader_message(&self) -> Option<String> {
        let of_start = self.message_of_start().or_else(|| self.message_of_platform());
        let of_libraries = || self.message_of_library().or_else(|| self.message_of_version());
        of_start.or_else(of_libraries).or_else(|| self.message_of_symbol())
    }

    /// A message about the start, printed by the kernel, a shell or `env`.
    fn message_of_start(&self) -> Option<String> {
        match self {
            Self::WrongMachine { object, .. } => {
                Some(format!("{object}: cannot execute binary file: Exec format error"))
            }
            Self::NotExecutable { object, reason } => Some(format!("{object}: {reason}")),
            Self::InterpreterMissing { object, interpreter, reason } => {
                // Bash shows a carriage return at the end of a Windows line like this.
                Some(format!("{object}: {}: bad interpreter: {reason}", interpreter.replace('\r', "^M")))
            }
            Self::ProgramMissing { object, program, by_script: true, .. } => {
                Some(format!("{object}: {program}: not found"))
            }
            Self::ProgramMissing { program, .. } => {
                Some(format!("env: '{}': No such file or directory", program.replace('\r', "\\r")))
            }
            Self::ScriptFails { reason, .. } => reason.is_printed().then(|| reason.to_string()),
            _ => None,
        }
    }

    /// A message about the CPU and the kernel that an object is built for.
    fn message_of_platform(&self) -> Option<String> {
        match self {
            Self::IsaTooLow { setting: Some(setting), .. } => {
                let level = setting.rsplit('=').next().unwrap_or_default();
                let what = "This program can only be run on AMD64 processors with";
                Some(format!("{what} {level} microarchitecture support."))
            }
            Self::KernelTooOld { ignored: false, .. } => Some("FATAL: kernel too old".to_owned()),
            Self::IsaTooLow { object, refused: true, .. } => {
                Some(format!("{object}: CPU ISA level is lower than required"))
            }
            _ => None,
        }
    }

    /// A message about a library that is not loaded, or is loaded in a wrong place.
    fn message_of_library(&self) -> Option<String> {
        match self {
            // A file for the other word size changes the message.
            Self::LibraryMissing { library, rejected, .. }
            | Self::HostLibraryMissing { library, rejected, .. } => {
                let class = rejected.iter().find(|file| matches!(file.reason, Reason::WrongClass(Some(_))));
                let missing = "cannot open shared object file: No such file or directory";
                Some(format!(
                    "{library}: {}",
                    class.map_or_else(|| missing.to_owned(), |file| file.reason.to_string())
                ))
            }
            Self::PreloadIgnored { library, reason } => Some(format!(
                "ERROR: ld.so: object '{library}' from /etc/ld.so.preload cannot be preloaded ({reason}): ignored."
            )),
            Self::LibraryUnusable { library, path, reason, .. } => {
                Some(format!("{}: {reason}", if reason.is_of_name() { library } else { path }))
            }
            Self::FilterFails { circular: false, .. } => Some(
                "Inconsistency detected by ld.so: dl-deps.c: _dl_map_object_deps: Assertion \
                 `map->l_searchlist.r_list[0] == map' failed!"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// A message about the versions of loaded objects.
    fn message_of_version(&self) -> Option<String> {
        match self {
            Self::VersionMissing { path, version, wanted_by, .. } => {
                Some(format!("{path}: version `{version}' not found (required by {wanted_by})"))
            }
            Self::VersionUnknown { path, wanted_by, .. } => {
                Some(format!("{path}: no version information available (required by {wanted_by})"))
            }
            Self::VersionedLibraryNotLoaded { .. } => {
                Some("Inconsistency detected by ld.so: dl-version.c: Assertion `needed != NULL' failed!".to_owned())
            }
            Self::VersionlessProvider { .. } => Some(
                "Inconsistency detected by ld.so: dl-lookup.c: check_match: Assertion `version->filename == NULL \
                 || ! _dl_name_match_p (version->filename, map)' failed!"
                    .to_owned(),
            ),
            Self::RelrUndeclared { path, wanted_by, .. } => {
                Some(format!("{path}: version `GLIBC_ABI_DT_RELR' not found (required by {wanted_by})"))
            }
            _ => None,
        }
    }

    /// A message about symbols and thread-local variables.
    fn message_of_symbol(&self) -> Option<String> {
        match self {
            Self::SymbolMissing { symbol, version, wanted_by, .. } => Some(match version {
                Some(version) => format!("{wanted_by}: undefined symbol: {symbol}, version {version}"),
                None => format!("{wanted_by}: undefined symbol: {symbol}"),
            }),
            Self::StaticTlsFull { object, available: Some(_), .. } => {
                Some(format!("{object}: cannot allocate memory in static TLS block"))
            }
            Self::StaticTlsFull { object, wanted_by, symbol, .. } => {
                let symbol = symbol.as_deref().unwrap_or("(local)");
                Some(format!(
                    "Error relocating {wanted_by}: {symbol}: initial-exec TLS resolves to dynamic definition in {object}"
                ))
            }
            Self::IndirectFunctionOfProgram { symbol, program, wanted_by, .. } => Some(format!(
                "{program}: IFUNC symbol '{symbol}' referenced in '{wanted_by}' is defined in the executable and \
                 creates an unsatisfiable circular dependency."
            )),
            _ => None,
        }
    }
}
