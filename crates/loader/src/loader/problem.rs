//! Reasons why a program does not load, and what each does to its start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::loader::{Effort, Reason};
use crate::script::Refusal;
use crate::spec::{DlopenNeed, DlopenPriority, written_size};

/// What a problem does to the start of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing; something is not there that need not be.
    None,
    /// The loader prints a warning and goes on.
    Warns,
    /// It cannot be told what would happen.
    Undecided,
    /// The program starts and then fails or misbehaves.
    Misbehaves,
    /// The program does not start.
    Refuses,
}

/// One reason why a program does not load, or would misbehave.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Problem {
    /// The program is for another machine.
    WrongMachine {
        /// The program.
        object: String,
        /// The machine it is for.
        machine: String,
        /// The machine there is.
        host: String,
    },
    /// The file is neither an ELF program nor a script.
    NotAProgram {
        /// The file.
        object: String,
        /// Why not.
        reason: Reason,
    },
    /// The interpreter that a program or script names is not there.
    InterpreterMissing {
        /// The program or script.
        object: String,
        /// The interpreter it names.
        interpreter: String,
        /// Why it cannot be used.
        reason: Reason,
    },
    /// The program names a dynamic loader that is neither glibc's nor musl's.
    InterpreterUnknown {
        /// The program.
        object: String,
        /// The loader it names.
        interpreter: String,
    },
    /// The program is for another machine, and the kernel has another program start it (binfmt_misc).
    Emulated {
        /// The program.
        object: String,
        /// The machine it is for.
        machine: String,
        /// What starts it.
        handler: String,
        /// Whether it is known to load programs as that machine does (qemu).
        known: bool,
    },
    /// A library was made for another C library than the host's.
    OtherLibc {
        /// The library.
        object: String,
        /// The C library that it was made for.
        made_for: Libc,
        /// The host's.
        host: Libc,
        /// It loads all the same: it needs nothing that only the other one has.
        loads: bool,
    },
    /// The host has no dynamic loader for a library on its own.
    LoaderMissing {
        /// The library.
        object: String,
        /// The machine it is for.
        machine: String,
        /// Where the loaders of its machine usually lie.
        tried: Vec<String>,
        /// The saved host does not record some of these places.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unrecorded: bool,
    },
    /// Whether the kernel runs programs of this kind is not known.
    MachineUncertain {
        /// The program.
        object: String,
        /// What it is for.
        machine: String,
    },
    /// A script leads through more scripts than the kernel follows.
    ScriptTooDeep {
        /// The script.
        object: String,
    },
    /// The program that a script asks `env` for is nowhere in PATH.
    ProgramMissing {
        /// The script.
        object: String,
        /// The program.
        program: String,
        /// The directories that were searched.
        searched: Vec<String>,
        /// The script itself starts it, not `env` on its behalf.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_script: bool,
    },
    /// The first line of a script starts nothing.
    ScriptFails {
        /// The script.
        object: String,
        /// Why not, in the words of what it names.
        reason: Refusal,
    },
    /// What a script does was not looked at, or not all of it: nothing was executed.
    ScriptNotFollowed {
        /// The script.
        object: String,
        /// What runs it.
        interpreter: String,
        /// The command that it ends with, which was looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started: Option<String>,
    },
    /// What an interpreter is told to run by the command of an image: nobody looked at it.
    Interpreted {
        /// The interpreter.
        object: String,
        /// What it runs: a file, or an option with its value.
        what: String,
        /// It is a file, and the image lacks it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        missing: bool,
    },
    /// A needed library is found nowhere.
    LibraryMissing {
        /// Its name.
        library: String,
        /// The first object that wants it.
        wanted_by: String,
        /// The directories that were searched, in order.
        searched: Vec<String>,
        /// Files of that name that cannot be used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejection>,
    },
    /// A library was found, but a saved host may have another file of that name in a place that comes
    /// before and that it does not record.
    LibraryUncertain {
        /// Its name.
        library: String,
        /// The file that was found.
        path: String,
        /// The first object that wants it.
        wanted_by: String,
        /// The first place that is not recorded.
        rejected: Vec<Rejection>,
    },
    /// A library that a container runtime brings from the host is not on the host.
    HostLibraryMissing {
        /// Its name.
        library: String,
        /// What brings it, such as "NVIDIA driver".
        provider: String,
        /// The first object that wants it.
        wanted_by: String,
        /// Files of that name that cannot be used.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejection>,
    },
    /// A library that `/etc/ld.so.preload` names is passed over: every program starts with a warning.
    PreloadIgnored {
        /// What the file names.
        library: String,
        /// Why it cannot be preloaded.
        reason: String,
    },
    /// A file was found, and the loader stops at it.
    LibraryUnusable {
        /// The name.
        library: String,
        /// The file.
        path: String,
        /// The first object that wants it.
        wanted_by: String,
        /// What the loader says of it.
        reason: Reason,
    },
    /// A library lacks a version that is needed of it.
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
    /// Versions are needed of a library that defines none.
    VersionUnknown {
        /// The library.
        library: String,
        /// Its file.
        path: String,
        /// The object that needs them.
        wanted_by: String,
    },
    /// An object needs versions of a library by a name that no loaded object goes by, as happens after
    /// its needed names were edited.
    VersionedLibraryNotLoaded {
        /// The library.
        library: String,
        /// The object that needs them.
        wanted_by: String,
    },
    /// A versioned symbol is found in a library of the right name without versions, at which a loader
    /// before glibc 2.41 stops.
    VersionlessProvider {
        /// The library.
        library: String,
        /// Its file.
        path: String,
        /// The object that wants the symbol.
        wanted_by: String,
        /// One such symbol.
        symbol: String,
        /// All of them are only called: the program starts, and fails at the first call.
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
        /// The loader's release, where it tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loader_release: Option<String>,
    },
    /// A program with packed relocations asks for a libc that does not declare to know them.
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
    /// A symbol is defined nowhere.
    SymbolMissing {
        /// Its name.
        symbol: String,
        /// The version wanted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        /// The library it was in when the object was linked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        library: Option<String>,
        /// The object that wants it.
        wanted_by: String,
        /// Only called: the program starts, and fails at the first call.
        lazy: bool,
    },
    /// glibc's loader itself fails over what an object filters (`DT_FILTER`, `DT_AUXILIARY`).
    FilterFails {
        /// The object.
        object: String,
        /// The library that it filters.
        library: String,
        /// Each of the two filters the other one, directly or through others. If not, the object is what is started or
        /// opened, which no loader before glibc 2.32 lets filter anything.
        circular: bool,
    },
    /// A library refers to an indirect function of the program, which cannot run before the program is
    /// relocated: glibc ends the start.
    IndirectFunctionOfProgram {
        /// The function.
        symbol: String,
        /// The program.
        program: String,
        /// The library.
        wanted_by: String,
        /// It is only called: the start ends only if symbols are bound at once (`LD_BIND_NOW`).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lazy: bool,
    },
    /// Thread-local variables of an object that a program opens must lie in static memory, and there is not
    /// as much left.
    StaticTlsFull {
        /// The object.
        object: String,
        /// The object that refers to them.
        wanted_by: String,
        /// One of them, where it has a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        symbol: Option<String>,
        /// How many bytes they take.
        size: u64,
        /// How many bytes are left for certain; absent for musl's loader, which keeps none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        available: Option<u64>,
        /// They may fit all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undecided: bool,
    },
    /// An object says that it needs a newer CPU.
    IsaTooLow {
        /// The object.
        object: String,
        /// The level it needs.
        wanted: String,
        /// The level there is.
        host: String,
        /// Whether it is refused at start, by the loader or by its own start code, rather than let fail at
        /// the first unknown instruction.
        refused: bool,
        /// The setting of its toolchain that says so (GOAMD64=v3), when it is no property note.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        setting: Option<String>,
    },
    /// Its toolchain built an object for a CPU of which nothing is known here.
    CpuUnknown {
        /// The object.
        object: String,
        /// The setting of the toolchain, as KEY=VALUE.
        wanted: String,
    },
    /// A program unpacks another one and runs that, which was not looked at.
    Packed {
        /// The program.
        object: String,
        /// What packed it, such as UPX.
        packer: String,
    },
    /// A library that an object says it opens by itself once it runs is found under none of its names.
    DlopenMissing {
        /// What the object says of it.
        #[serde(flatten)]
        need: Box<DlopenNeed>,
        /// The object that says so.
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
        /// The kernel there is.
        host: String,
        /// Whether nothing takes notice of it: only the start code of a static program does (before glibc
        /// 2.36).
        ignored: bool,
    },
    /// The kernel or the loader cannot map the segments of an object.
    SegmentsUnusable {
        /// The object.
        object: String,
        /// Why not.
        reason: String,
        /// It is refused, rather than mapped so that its start ends by a signal.
        refused: bool,
        /// It is so on hosts with pages of this size, in bytes, and the host's is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page_size: Option<u64>,
    },
    /// The kernel does not execute the file: nobody, or not this user, has the permission, or its file system is
    /// mounted so (`noexec`).
    NotExecutable {
        /// The program or script.
        object: String,
        /// What the kernel says.
        reason: String,
    },
    /// A document says something of an object that this program does not know.
    ObjectUnknown {
        /// The object.
        object: String,
    },
    /// The start was not followed to its end: it takes more effort than is spent on one application.
    EffortExceeded {
        /// What took too much.
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
    /// Why it was passed over.
    pub reason: Reason,
}

/// Whether the host may have a file where its profile does not record what is there.
fn any_unrecorded(rejected: &[Rejection]) -> bool {
    rejected.iter().any(|file| file.reason.is_unrecorded())
}

impl Problem {
    /// The kernel lacks the permission to execute a file.
    pub(super) fn not_executable(object: &str) -> Self {
        Self::NotExecutable { object: object.to_owned(), reason: "Permission denied".to_owned() }
    }

    /// About how many bytes a report of it takes.
    pub(super) fn size(&self) -> usize {
        written_size(self) as usize
    }

    /// The library that is missing or cannot be used, by the name it was asked for.
    pub(super) fn library(&self) -> Option<&str> {
        match self {
            Self::LibraryMissing { library, .. }
            | Self::HostLibraryMissing { library, .. }
            | Self::LibraryUnusable { library, .. } => Some(library),
            _ => None,
        }
    }

    /// The same of a missing library, with another object that wants it.
    pub(super) fn with_wanting(&self, object: &str) -> Self {
        let mut problem = self.clone();
        if let Self::LibraryMissing { wanted_by, .. } = &mut problem {
            object.clone_into(wanted_by);
        }
        problem
    }

    /// The object that it is found in.
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

    /// The file that lacks what an object wants.
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

    /// Whether it is about the object at a path: that one wants something, or lacks it.
    pub fn is_about(&self, shown: &str) -> bool {
        [self.file(), self.object()].contains(&Some(shown))
    }

    /// What it does to the start of the program.
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
            // If it does not load, what fails is a problem of its own; this is the cause.
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
            // The host may have it where its profile does not look.
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

/// What it does that a library is missing that an object opens once it runs.
fn of_dlopen(priority: DlopenPriority, rejected: &[Rejection]) -> Effect {
    match priority {
        DlopenPriority::Suggested => Effect::None,
        DlopenPriority::Recommended => Effect::Warns,
        DlopenPriority::Required if any_unrecorded(rejected) => Effect::Undecided,
        DlopenPriority::Required => Effect::Misbehaves,
    }
}
