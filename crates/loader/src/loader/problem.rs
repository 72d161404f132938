//! Problems: the reasons that stop a program from loading, and the effect of each on its start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::loader::{Effort, Reason};
use crate::script::Refusal;
use crate::spec::{DlopenNeed, DlopenPriority, written_size};

/// The effect of a problem on the start of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// No effect: an optional thing is missing.
    None,
    /// The loader prints a warning and continues.
    Warns,
    /// The outcome could not be decided.
    Undecided,
    /// The program starts and then fails or misbehaves.
    Misbehaves,
    /// The program does not start.
    Refuses,
}

/// One reason why a program does not load, or misbehaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Problem {
    /// The program is for another machine.
    WrongMachine {
        /// The program.
        object: String,
        /// The machine that the program is for.
        machine: String,
        /// The machine of the host.
        host: String,
    },
    /// The file is neither an ELF program nor a script.
    NotAProgram {
        /// The file.
        object: String,
        /// The reason.
        reason: Reason,
    },
    /// The interpreter that a program or script names is missing or unusable.
    InterpreterMissing {
        /// The program or script.
        object: String,
        /// The interpreter that it names.
        interpreter: String,
        /// Why it cannot be used.
        reason: Reason,
    },
    /// The program names a dynamic loader that is neither glibc's nor musl's.
    InterpreterUnknown {
        /// The program.
        object: String,
        /// The loader that it names.
        interpreter: String,
    },
    /// The program is for another machine, and the kernel starts it with another program (binfmt_misc).
    Emulated {
        /// The program.
        object: String,
        /// The machine that the program is for.
        machine: String,
        /// The program that starts it.
        handler: String,
        /// Whether the handler is known to load programs exactly as that machine does (qemu).
        known: bool,
    },
    /// A library was built for another C library than the host's.
    OtherLibc {
        /// The library.
        object: String,
        /// The C library that it was built for.
        made_for: Libc,
        /// The C library of the host.
        host: Libc,
        /// The library loads nevertheless: it needs nothing that only the other C library provides.
        loads: bool,
    },
    /// A library is checked without a program, and the host has no dynamic loader for it.
    LoaderMissing {
        /// The library.
        object: String,
        /// The machine that the library is for.
        machine: String,
        /// The usual paths of that machine's loaders.
        tried: Vec<String>,
        /// The saved host does not record some of these paths.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unrecorded: bool,
    },
    /// It is not known whether the kernel runs programs of this kind.
    MachineUncertain {
        /// The program.
        object: String,
        /// The machine that it is for.
        machine: String,
    },
    /// A script leads through more interpreters that are scripts than the kernel follows.
    ScriptTooDeep {
        /// The script.
        object: String,
    },
    /// The program that a script passes to `env` is not in PATH.
    ProgramMissing {
        /// The script.
        object: String,
        /// The program.
        program: String,
        /// The directories that were searched.
        searched: Vec<String>,
        /// The script starts the program itself, without `env`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_script: bool,
    },
    /// The first line of a script cannot start a program.
    ScriptFails {
        /// The script.
        object: String,
        /// The reason, in the words of the program that the line names.
        reason: Refusal,
    },
    /// The commands of a script were not checked, or not all of them: nothing is executed.
    ScriptNotFollowed {
        /// The script.
        object: String,
        /// The program that runs it.
        interpreter: String,
        /// The command that the script ends with, which was checked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<String>,
    },
    /// A file that the command of an image passes to an interpreter was not checked.
    Interpreted {
        /// The interpreter.
        object: String,
        /// The argument: a file, or an option with its value.
        what: String,
        /// The argument is a file, and the image does not contain it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        missing: bool,
    },
    /// A needed library was not found.
    LibraryMissing {
        /// Its name.
        library: String,
        /// The first object that needs it.
        wanted_by: String,
        /// The directories that were searched, in order.
        searched: Vec<String>,
        /// Files of that name that cannot be used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejection>,
    },
    /// A library was found, but a saved host may have another file of that name in an earlier place that it
    /// does not record.
    LibraryUncertain {
        /// Its name.
        library: String,
        /// The file that was found.
        path: String,
        /// The first object that needs it.
        wanted_by: String,
        /// The first place that is not recorded.
        rejected: Vec<Rejection>,
    },
    /// A library that a container runtime adds from the host is missing on the host.
    HostLibraryMissing {
        /// Its name.
        library: String,
        /// The component that adds it, such as "NVIDIA driver".
        provider: String,
        /// The first object that needs it.
        wanted_by: String,
        /// Files of that name that cannot be used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejection>,
    },
    /// A library that `/etc/ld.so.preload` names is ignored: every program starts with a warning.
    PreloadIgnored {
        /// The name in the file.
        library: String,
        /// Why it cannot be preloaded.
        reason: String,
    },
    /// A file was found, and the loader fails on it.
    LibraryUnusable {
        /// The name.
        library: String,
        /// The file.
        path: String,
        /// The first object that needs it.
        wanted_by: String,
        /// The loader's message.
        reason: Reason,
    },
    /// A library lacks a version that an object needs.
    VersionMissing {
        /// The library.
        library: String,
        /// Its file.
        path: String,
        /// The version.
        version: String,
        /// The object that needs it.
        wanted_by: String,
        /// The newest version of the same family that the library has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        highest: Option<String>,
    },
    /// An object needs versions of a library that defines none.
    VersionUnknown {
        /// The library.
        library: String,
        /// Its file.
        path: String,
        /// The object that needs them.
        wanted_by: String,
    },
    /// An object needs versions of a library under a name that no loaded object has. Edited `DT_NEEDED` names
    /// cause this.
    VersionedLibraryNotLoaded {
        /// The library.
        library: String,
        /// The object that needs them.
        wanted_by: String,
    },
    /// A versioned symbol is found in a library that has the right name but no versions. Loaders before glibc
    /// 2.41 abort.
    VersionlessProvider {
        /// The library.
        library: String,
        /// Its file.
        path: String,
        /// The object that needs the symbol.
        wanted_by: String,
        /// One such symbol.
        symbol: String,
        /// All of them are only called: the program starts and fails at the first call.
        lazy: bool,
    },
    /// libc and the loader are of different builds.
    MixedLibc {
        /// The libc.
        library: String,
        /// Its release.
        release: String,
        /// The loader.
        loader: String,
        /// The loader's release, if the loader contains it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loader_release: Option<String>,
    },
    /// An object with packed relocations needs a libc that does not declare support for them.
    RelrUndeclared {
        /// The libc.
        library: String,
        /// Its file.
        path: String,
        /// The object.
        wanted_by: String,
    },
    /// An object has packed relocations, and the loader is too old to apply them.
    RelrUnknown {
        /// The object.
        object: String,
    },
    /// A symbol is not defined in any loaded object.
    SymbolMissing {
        /// Its name.
        symbol: String,
        /// The version that the object needs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// The library that defined the symbol when the object was linked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        library: Option<String>,
        /// The object that needs it.
        wanted_by: String,
        /// The symbol is only called: the program starts and fails at the first call.
        lazy: bool,
    },
    /// glibc's loader itself fails because an object filters a library (`DT_FILTER`, `DT_AUXILIARY`).
    FilterFails {
        /// The object.
        object: String,
        /// The library that it filters.
        library: String,
        /// The two filter each other, directly or through others. Otherwise, the object is the one that is
        /// started or opened. Loaders before glibc 2.32 do not let that object filter anything.
        circular: bool,
    },
    /// A library refers to an indirect function of the program. Such a function cannot run before the program
    /// is relocated, so glibc aborts.
    IndirectFunctionOfProgram {
        /// The function.
        symbol: String,
        /// The program.
        program: String,
        /// The library.
        wanted_by: String,
        /// The function is only called: the start fails only with immediate binding (`LD_BIND_NOW`).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lazy: bool,
    },
    /// An object that a program opens has thread-local variables for static memory, and too little of it is
    /// left.
    StaticTlsFull {
        /// The object.
        object: String,
        /// The object that refers to them.
        wanted_by: String,
        /// One of these variables, if it has a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<String>,
        /// Their size in bytes.
        size: u64,
        /// The number of bytes that are certainly left. Absent for musl's loader, which reserves none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        available: Option<u64>,
        /// The variables may still fit.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undecided: bool,
    },
    /// An object declares that it needs a newer CPU.
    IsaTooLow {
        /// The object.
        object: String,
        /// The level that it needs.
        wanted: String,
        /// The level of the host.
        host: String,
        /// The loader or the object's own start code refuses to start. Otherwise, the first unknown instruction
        /// fails.
        refused: bool,
        /// The toolchain setting that says so (GOAMD64=v3), if it is not a property note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        setting: Option<String>,
    },
    /// The toolchain built an object for a CPU about which nothing is known here.
    CpuUnknown {
        /// The object.
        object: String,
        /// The setting of the toolchain, as KEY=VALUE.
        wanted: String,
    },
    /// A program unpacks and runs another one, which was not checked.
    Packed {
        /// The program.
        object: String,
        /// The packer, such as UPX.
        packer: String,
    },
    /// An object declares a library that it opens at run time, and that library was not found under any name.
    DlopenMissing {
        /// The object's declaration.
        #[serde(flatten)]
        need: Box<DlopenNeed>,
        /// The object that declares it.
        wanted_by: String,
        /// The directories that were searched, in order.
        searched: Vec<String>,
        /// Files of that name that cannot be used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejection>,
    },
    /// An object was built for a newer kernel.
    KernelTooOld {
        /// The object.
        object: String,
        /// The oldest kernel it was built for.
        wanted: String,
        /// The kernel of the host.
        host: String,
        /// Nothing checks the requirement: only the start code of static programs does (before glibc 2.36).
        ignored: bool,
    },
    /// The kernel or the loader cannot map the segments of an object.
    SegmentsUnusable {
        /// The object.
        object: String,
        /// The reason.
        reason: String,
        /// The object is refused. Otherwise, it is mapped and its start fails with a signal.
        refused: bool,
        /// Hosts with pages of this size, in bytes, cannot map it, and the page size of the host is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page_size: Option<u64>,
    },
    /// The kernel does not execute the file: the execute permission is missing for everyone or for this user,
    /// or the file system is mounted with `noexec`.
    NotExecutable {
        /// The program or script.
        object: String,
        /// The kernel's error.
        reason: String,
    },
    /// The document says something about an object that this version does not understand.
    ObjectUnknown {
        /// The object.
        object: String,
    },
    /// The start was not followed to its end: it exceeds the effort limit for one application.
    EffortExceeded {
        /// The kind of effort that exceeds its limit.
        effort: Effort,
    },
}

/// A C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Libc {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
}

impl std::fmt::Display for Libc {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
        })
    }
}

/// A file that has the right name and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Rejection {
    /// The file.
    pub path: String,
    /// The reason why it is passed over.
    pub reason: Reason,
}

/// Returns whether a place that the profile does not record may contain the file.
fn any_unrecorded(rejected: &[Rejection]) -> bool {
    rejected.iter().any(|file| file.reason.is_unrecorded())
}

impl Problem {
    /// A file without permission to execute it.
    pub(super) fn not_executable(object: &str) -> Self {
        Self::NotExecutable { object: object.to_owned(), reason: "Permission denied".to_owned() }
    }

    /// The approximate size of its report, in bytes.
    pub(super) fn size(&self) -> usize {
        written_size(self) as usize
    }

    /// The library that is missing or unusable, by its requested name.
    pub(super) fn library(&self) -> Option<&str> {
        match self {
            Self::LibraryMissing { library, .. }
            | Self::HostLibraryMissing { library, .. }
            | Self::LibraryUnusable { library, .. } => Some(library),
            _ => None,
        }
    }

    /// The same missing library, with another object that needs it.
    pub(super) fn with_wanting(&self, object: &str) -> Self {
        let mut problem = self.clone();
        if let Self::LibraryMissing { wanted_by, .. } = &mut problem {
            object.clone_into(wanted_by);
        }
        problem
    }

    /// The object that has the problem.
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::LibraryMissing { wanted_by, .. }
            | Self::LibraryUncertain { wanted_by, .. }
            | Self::HostLibraryMissing { wanted_by, .. }
            | Self::LibraryUnusable { wanted_by, .. }
            | Self::VersionMissing { wanted_by, .. }
            | Self::VersionUnknown { wanted_by, .. }
            | Self::VersionedLibraryNotLoaded { wanted_by, .. }
            | Self::VersionlessProvider { wanted_by, .. }
            | Self::RelrUndeclared { wanted_by, .. }
            | Self::SymbolMissing { wanted_by, .. }
            | Self::IndirectFunctionOfProgram { wanted_by, .. }
            | Self::DlopenMissing { wanted_by, .. } => Some(wanted_by),
            Self::WrongMachine { object, .. }
            | Self::NotAProgram { object, .. }
            | Self::InterpreterMissing { object, .. }
            | Self::InterpreterUnknown { object, .. }
            | Self::OtherLibc { object, .. }
            | Self::LoaderMissing { object, .. }
            | Self::MachineUncertain { object, .. }
            | Self::ScriptTooDeep { object }
            | Self::ProgramMissing { object, .. }
            | Self::ScriptFails { object, .. }
            | Self::Emulated { object, .. }
            | Self::ScriptNotFollowed { object, .. }
            | Self::Interpreted { object, .. }
            | Self::RelrUnknown { object }
            | Self::StaticTlsFull { object, .. }
            | Self::IsaTooLow { object, .. }
            | Self::SegmentsUnusable { object, .. }
            | Self::FilterFails { object, .. }
            | Self::ObjectUnknown { object }
            | Self::CpuUnknown { object, .. }
            | Self::Packed { object, .. }
            | Self::NotExecutable { object, .. }
            | Self::KernelTooOld { object, .. } => Some(object),
            Self::MixedLibc { library, .. } => Some(library),
            Self::PreloadIgnored { .. } | Self::EffortExceeded { .. } => None,
        }
    }

    /// The file that lacks something that an object needs.
    pub(super) fn file(&self) -> Option<&str> {
        match self {
            Self::VersionMissing { path, .. }
            | Self::VersionUnknown { path, .. }
            | Self::VersionlessProvider { path, .. }
            | Self::RelrUndeclared { path, .. }
            | Self::LibraryUnusable { path, .. } => Some(path.as_str()),
            _ => None,
        }
    }

    /// Returns whether the object at a path has the problem or causes it.
    pub fn is_about(&self, shown: &str) -> bool {
        [self.file(), self.object()].contains(&Some(shown))
    }

    /// The effect on the start of the program.
    pub fn effect(&self) -> Effect {
        let either =
            |condition: bool, then: Effect, otherwise: Effect| if condition { then } else { otherwise };
        match self {
            Self::PreloadIgnored { .. }
            | Self::VersionUnknown { .. }
            | Self::ScriptNotFollowed { .. }
            | Self::Interpreted { .. } => Effect::Warns,
            Self::InterpreterUnknown { .. }
            | Self::MachineUncertain { .. }
            | Self::LibraryUncertain { .. }
            | Self::EffortExceeded { .. }
            | Self::ObjectUnknown { .. }
            | Self::CpuUnknown { .. }
            | Self::Packed { .. } => Effect::Undecided,
            Self::RelrUnknown { .. } | Self::MixedLibc { .. } => Effect::Misbehaves,
            Self::WrongMachine { .. }
            | Self::ScriptTooDeep { .. }
            | Self::ProgramMissing { .. }
            | Self::ScriptFails { .. }
            | Self::LibraryUnusable { .. }
            | Self::VersionMissing { .. }
            | Self::VersionedLibraryNotLoaded { .. }
            | Self::RelrUndeclared { .. }
            | Self::FilterFails { .. }
            | Self::NotExecutable { .. } => Effect::Refuses,
            Self::Emulated { known, .. } => either(*known, Effect::Warns, Effect::Undecided),
            Self::KernelTooOld { ignored, .. } => either(*ignored, Effect::Warns, Effect::Refuses),
            Self::IndirectFunctionOfProgram { lazy, .. } => either(*lazy, Effect::None, Effect::Refuses),
            // If the library does not load, the failure is a separate problem. This is its cause.
            Self::OtherLibc { loads, .. } => either(*loads, Effect::None, Effect::Refuses),
            Self::SymbolMissing { lazy, .. } | Self::VersionlessProvider { lazy, .. } => {
                either(*lazy, Effect::Misbehaves, Effect::Refuses)
            }
            Self::IsaTooLow { refused, .. } | Self::SegmentsUnusable { refused, page_size: None, .. } => {
                either(*refused, Effect::Refuses, Effect::Misbehaves)
            }
            Self::SegmentsUnusable { page_size: Some(_), .. } => Effect::Undecided,
            Self::LoaderMissing { unrecorded: is_open, .. }
            | Self::StaticTlsFull { undecided: is_open, .. } => {
                either(*is_open, Effect::Undecided, Effect::Refuses)
            }
            // A place that the profile does not record may contain the library.
            Self::LibraryMissing { rejected, .. } | Self::HostLibraryMissing { rejected, .. } => {
                either(any_unrecorded(rejected), Effect::Undecided, Effect::Refuses)
            }
            Self::InterpreterMissing { reason, .. } | Self::NotAProgram { reason, .. } => {
                either(reason.is_unrecorded(), Effect::Undecided, Effect::Refuses)
            }
            Self::DlopenMissing { need, rejected, .. } => of_dlopen(need.priority, rejected),
        }
    }
}

/// The effect if a library is missing that an object opens at run time.
fn of_dlopen(priority: DlopenPriority, rejected: &[Rejection]) -> Effect {
    match priority {
        DlopenPriority::Suggested => Effect::None,
        DlopenPriority::Recommended => Effect::Warns,
        DlopenPriority::Required if any_unrecorded(rejected) => Effect::Undecided,
        DlopenPriority::Required => Effect::Misbehaves,
    }
}
