//! The catalogue of all findings: one entry for each kind of [`Problem`] and [`Remark`].
//!
//! `compat explain` and the table in `docs/report.md` come from it. A new kind does not compile until
//! [`of_problem`] or [`of_remark`] has an entry for it.

mod binding;
mod document;
mod driver;
mod library;
mod recorded;
mod script;
mod start;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::Serialize;

use crate::check::{Impact, Matter, Remark};
use crate::loader::Problem;

/// The explanation of one kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The name, as in `kind` of a report.
    pub name: &'static str,
    /// The topic.
    pub topic: Topic,
    /// The commands that show it.
    pub shown: Shown,
    /// The possible impacts on the application, the worst first.
    pub impacts: &'static [Impact],
    /// The rule that decides between several impacts. Empty if there is only one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub depends: &'static str,
    /// The finding in one line.
    pub summary: &'static str,
    /// The meaning of the finding.
    pub meaning: &'static str,
    /// An example.
    pub example: &'static str,
    /// The remedy.
    pub advice: &'static str,
}

/// The topic of a kind of finding, in the order of the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// The start of a program.
    Start,
    /// Scripts and interpreters.
    Script,
    /// Libraries that are missing or cannot be used.
    Library,
    /// Versions, symbols and memory of loaded libraries.
    Binding,
    /// The CPU and the kernel.
    Host,
    /// The drivers that an image requires.
    Driver,
    /// The files of a directory.
    Directory,
    /// Recorded runs.
    Recorded,
    /// Documents, sources and the report itself.
    Document,
}

impl Topic {
    /// Every topic, in order.
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::Script,
        Self::Library,
        Self::Binding,
        Self::Host,
        Self::Driver,
        Self::Directory,
        Self::Recorded,
        Self::Document,
    ];

    /// A title for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Start => "Starting a program",
            Self::Script => "Scripts and interpreters",
            Self::Library => "Libraries",
            Self::Binding => "Versions and symbols",
            Self::Host => "CPU and kernel",
            Self::Driver => "Drivers",
            Self::Directory => "Directories",
            Self::Recorded => "Recorded runs",
            Self::Document => "Specifications and the report",
        }
    }
}

/// The commands that show a kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// `compat check`, and `compat tree` next to the affected file.
    CheckAndTree,
    /// `compat check`.
    Check,
}

/// Returns the entry of a problem.
pub fn of_problem(problem: &Problem) -> &'static Entry {
    match problem {
        Problem::WrongMachine { .. } => &start::WRONG_MACHINE,
        Problem::NotAProgram { .. } => &start::NOT_A_PROGRAM,
        Problem::InterpreterMissing { .. } => &start::INTERPRETER_MISSING,
        Problem::InterpreterUnknown { .. } => &start::INTERPRETER_UNKNOWN,
        Problem::Emulated { .. } => &start::EMULATED,
        Problem::OtherLibc { .. } => &library::OTHER_LIBC,
        Problem::LoaderMissing { .. } => &library::LOADER_MISSING,
        Problem::MachineUncertain { .. } => &start::MACHINE_UNCERTAIN,
        Problem::ScriptTooDeep { .. } => &script::SCRIPT_TOO_DEEP,
        Problem::ProgramMissing { .. } => &script::PROGRAM_MISSING,
        Problem::ScriptFails { .. } => &script::SCRIPT_FAILS,
        Problem::ScriptNotFollowed { .. } => &script::SCRIPT_NOT_FOLLOWED,
        Problem::Interpreted { .. } => &script::INTERPRETED,
        Problem::LibraryMissing { .. } => &library::LIBRARY_MISSING,
        Problem::LibraryUncertain { .. } => &library::LIBRARY_UNCERTAIN,
        Problem::HostLibraryMissing { .. } => &library::HOST_LIBRARY_MISSING,
        Problem::PreloadIgnored { .. } => &library::PRELOAD_IGNORED,
        Problem::LibraryUnusable { .. } => &library::LIBRARY_UNUSABLE,
        Problem::VersionMissing { .. } => &binding::VERSION_MISSING,
        Problem::VersionUnknown { .. } => &binding::VERSION_UNKNOWN,
        Problem::VersionedLibraryNotLoaded { .. } => &binding::VERSIONED_LIBRARY_NOT_LOADED,
        Problem::VersionlessProvider { .. } => &binding::VERSIONLESS_PROVIDER,
        Problem::MixedLibc { .. } => &binding::MIXED_LIBC,
        Problem::RelrUndeclared { .. } => &binding::RELR_UNDECLARED,
        Problem::RelrUnknown { .. } => &binding::RELR_UNKNOWN,
        Problem::SymbolMissing { .. } => &binding::SYMBOL_MISSING,
        Problem::FilterFails { .. } => &binding::FILTER_FAILS,
        Problem::IndirectFunctionOfProgram { .. } => &binding::INDIRECT_FUNCTION_OF_PROGRAM,
        Problem::StaticTlsFull { .. } => &binding::STATIC_TLS_FULL,
        Problem::IsaTooLow { .. } => &start::ISA_TOO_LOW,
        Problem::CpuUnknown { .. } => &start::CPU_UNKNOWN,
        Problem::Packed { .. } => &start::PACKED,
        Problem::DlopenMissing { .. } => &library::DLOPEN_MISSING,
        Problem::KernelTooOld { .. } => &start::KERNEL_TOO_OLD,
        Problem::SegmentsUnusable { .. } => &start::SEGMENTS_UNUSABLE,
        Problem::NotExecutable { .. } => &start::NOT_EXECUTABLE,
        Problem::ObjectUnknown { .. } => &start::OBJECT_UNKNOWN,
        Problem::EffortExceeded { .. } => &start::EFFORT_EXCEEDED,
    }
}

/// Returns the entry of a remark.
pub fn of_remark(remark: &Remark) -> &'static Entry {
    match remark {
        Remark::NamesOnly { .. } => &document::NAMES_ONLY,
        Remark::NothingToCheck {} => &document::NOTHING_TO_CHECK,
        Remark::SourceFailed { .. } => &document::SOURCE_FAILED,
        Remark::FindingsLeftOut { .. } => &document::FINDINGS_LEFT_OUT,
        Remark::DriverMissing { .. } => &driver::DRIVER_MISSING,
        Remark::DriversUnknown { .. } => &driver::DRIVERS_UNKNOWN,
        Remark::DriverConstraint { .. } => &driver::DRIVER_CONSTRAINT,
        Remark::DriverNotLoaded { .. } => &driver::DRIVER_NOT_LOADED,
        Remark::DeviceMissing { .. } => &driver::DEVICE_MISSING,
        Remark::DriverLibraryMissing { .. } => &driver::DRIVER_LIBRARY_MISSING,
        Remark::RequirementUnknown {} => &document::REQUIREMENT_UNKNOWN,
        Remark::NewerDocument { .. } => &document::NEWER_DOCUMENT,
        Remark::RecordedLibrary { .. } => &recorded::RECORDED_LIBRARY,
        Remark::RecordedProgram { .. } => &recorded::RECORDED_PROGRAM,
        Remark::RecordedProgramUnknown { .. } => &recorded::RECORDED_PROGRAM_UNKNOWN,
        Remark::PassedOver(_) => &library::PASSED_OVER,
        Remark::LeftToSearch { .. } => &library::LEFT_TO_SEARCH,
        Remark::LeftToProgram { .. } => &library::LEFT_TO_PROGRAM,
    }
}

/// Returns the entry of a finding.
pub fn of(matter: &Matter) -> &'static Entry {
    match matter {
        Matter::Problem(problem) => of_problem(problem),
        Matter::Remark(remark) => of_remark(remark),
    }
}

/// Returns every entry, topic by topic.
pub fn all() -> &'static [&'static Entry] {
    &ALL
}

/// Returns the entry of a kind, or `None` if the kind is unknown.
pub fn find(name: &str) -> Option<&'static Entry> {
    ALL.iter().copied().find(|entry| entry.name == name)
}

static ALL: [&Entry; 56] = [
    &start::WRONG_MACHINE,
    &start::NOT_A_PROGRAM,
    &start::INTERPRETER_MISSING,
    &start::INTERPRETER_UNKNOWN,
    &start::EMULATED,
    &start::MACHINE_UNCERTAIN,
    &start::NOT_EXECUTABLE,
    &start::PACKED,
    &start::SEGMENTS_UNUSABLE,
    &script::SCRIPT_TOO_DEEP,
    &script::PROGRAM_MISSING,
    &script::SCRIPT_FAILS,
    &script::SCRIPT_NOT_FOLLOWED,
    &script::INTERPRETED,
    &library::LIBRARY_MISSING,
    &library::LIBRARY_UNCERTAIN,
    &library::HOST_LIBRARY_MISSING,
    &library::PRELOAD_IGNORED,
    &library::LIBRARY_UNUSABLE,
    &library::DLOPEN_MISSING,
    &library::OTHER_LIBC,
    &library::LOADER_MISSING,
    &binding::VERSION_MISSING,
    &binding::VERSION_UNKNOWN,
    &binding::VERSIONED_LIBRARY_NOT_LOADED,
    &binding::VERSIONLESS_PROVIDER,
    &binding::MIXED_LIBC,
    &binding::RELR_UNDECLARED,
    &binding::RELR_UNKNOWN,
    &binding::SYMBOL_MISSING,
    &binding::FILTER_FAILS,
    &binding::INDIRECT_FUNCTION_OF_PROGRAM,
    &binding::STATIC_TLS_FULL,
    &start::ISA_TOO_LOW,
    &start::CPU_UNKNOWN,
    &start::KERNEL_TOO_OLD,
    &driver::DRIVER_MISSING,
    &driver::DRIVERS_UNKNOWN,
    &driver::DRIVER_CONSTRAINT,
    &driver::DRIVER_NOT_LOADED,
    &driver::DEVICE_MISSING,
    &driver::DRIVER_LIBRARY_MISSING,
    &library::LEFT_TO_SEARCH,
    &library::LEFT_TO_PROGRAM,
    &library::PASSED_OVER,
    &recorded::RECORDED_LIBRARY,
    &recorded::RECORDED_PROGRAM,
    &recorded::RECORDED_PROGRAM_UNKNOWN,
    &start::OBJECT_UNKNOWN,
    &start::EFFORT_EXCEEDED,
    &document::NAMES_ONLY,
    &document::NOTHING_TO_CHECK,
    &document::SOURCE_FAILED,
    &document::FINDINGS_LEFT_OUT,
    &document::REQUIREMENT_UNKNOWN,
    &document::NEWER_DOCUMENT,
];
