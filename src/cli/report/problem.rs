//! A sentence for each problem of a report.

use super::start;
use compat_loader::loader::{Effort, Problem};

/// Returns a problem as a sentence.
pub(in crate::cli) fn describe(problem: &Problem) -> String {
    match problem {
        Problem::OtherLibc { .. }
        | Problem::LoaderMissing { .. }
        | Problem::LibraryMissing { .. }
        | Problem::LibraryUncertain { .. }
        | Problem::HostLibraryMissing { .. }
        | Problem::LibraryUnusable { .. }
        | Problem::PreloadIgnored { .. }
        | Problem::DlopenMissing { .. } => of_library(problem),
        Problem::VersionUnknown { .. }
        | Problem::VersionedLibraryNotLoaded { .. }
        | Problem::VersionlessProvider { .. }
        | Problem::MixedLibc { .. }
        | Problem::RelrUndeclared { .. }
        | Problem::RelrUnknown { .. }
        | Problem::IndirectFunctionOfProgram { .. }
        | Problem::FilterFails { .. }
        | Problem::StaticTlsFull { .. } => of_binding(problem),
        Problem::MachineUncertain { object, machine } => {
            format!(
                "{object} is for {machine}: whether the host's kernel runs such programs could not be decided"
            )
        }
        Problem::IsaTooLow { object, wanted, host, setting, .. } => {
            let setting = setting.as_ref().map(|setting| format!(" ({setting})")).unwrap_or_default();
            format!("{object} needs a CPU of level {wanted}{setting}, but the host's CPU is {host}")
        }
        Problem::KernelTooOld { object, wanted, host, .. } => {
            format!("{object} was built for Linux {wanted} or newer, but the host's kernel is {host}")
        }
        Problem::SegmentsUnusable { object, reason, refused, page_size } => {
            describe_segments(object, reason, *refused, *page_size)
        }
        Problem::NotExecutable { object, .. } => format!(
            "{object} cannot be executed: set its execute permission (chmod +x), or mount its file system without \
             noexec"
        ),
        Problem::ObjectUnknown { object } => {
            format!(
                "{object} has a property in the specification that this version does not understand; try a newer \
                 compat"
            )
        }
        Problem::EffortExceeded { effort } => {
            let what = match effort {
                Effort::Libraries => "it loads more libraries",
                Effort::Search => "it searches for more files",
                Effort::Symbols => "it looks up more symbols",
                Effort::Problems => "it has more problems",
            };
            format!("the check stopped early: {what} than any known program")
        }
        Problem::WrongMachine { .. }
        | Problem::NotAProgram { .. }
        | Problem::InterpreterMissing { .. }
        | Problem::InterpreterUnknown { .. }
        | Problem::ScriptTooDeep { .. }
        | Problem::Packed { .. }
        | Problem::CpuUnknown { .. }
        | Problem::Emulated { .. }
        | Problem::ProgramMissing { .. }
        | Problem::ScriptFails { .. }
        | Problem::Interpreted { .. }
        | Problem::ScriptNotFollowed { .. } => start::describe(problem),
        Problem::VersionMissing { .. } | Problem::SymbolMissing { .. } => String::new(),
    }
}

/// Returns a sentence for a library that is missing or cannot be used.
fn of_library(problem: &Problem) -> String {
    match problem {
        Problem::OtherLibc { object, made_for, host, loads } => {
            let result = if *loads {
                format!(", and it needs nothing that only {made_for} provides")
            } else {
                String::new()
            };
            format!("{object} was built for {made_for}, but the dynamic loader is that of {host}{result}")
        }
        Problem::LoaderMissing { object, machine, tried, .. } => {
            let tried = if tried.is_empty() { String::new() } else { format!(" ({})", tried.join(", ")) };
            format!("{object} cannot be loaded: no dynamic loader for {machine} was found{tried}")
        }
        Problem::LibraryMissing { library, wanted_by, .. } => {
            format!("{library} was not found, but {wanted_by} needs it")
        }
        Problem::LibraryUncertain { library, path, wanted_by, .. } => {
            format!(
                "{library}, which {wanted_by} needs, is {path}, unless the host has another one earlier in the search path"
            )
        }
        Problem::HostLibraryMissing { library, provider, wanted_by, .. } => {
            format!("{library}, which {wanted_by} needs from the host ({provider}), is not on the host")
        }
        Problem::LibraryUnusable { library, wanted_by, .. } if library == wanted_by => {
            format!("{library} cannot be loaded as a library")
        }
        Problem::LibraryUnusable { library, wanted_by, path, .. } => {
            let place = if path == library { String::new() } else { format!(": {path}") };
            format!("{library}, which {wanted_by} needs, cannot be used{place}")
        }
        Problem::PreloadIgnored { library, reason } => {
            format!("{library}, which /etc/ld.so.preload names, cannot be preloaded: {reason}")
        }
        Problem::DlopenMissing { need, wanted_by, .. } => {
            let purpose = need.description.as_ref().or(need.feature.as_ref());
            let purpose = purpose.map(|purpose| format!(" ({purpose})")).unwrap_or_default();
            format!(
                "{}, which {wanted_by} opens at run time{purpose}, was not found",
                need.sonames.join(" or ")
            )
        }
        _ => String::new(),
    }
}

/// Returns a sentence about versions, symbols or memory of loaded libraries.
fn of_binding(problem: &Problem) -> String {
    match problem {
        Problem::VersionUnknown { library, wanted_by, .. } => {
            format!("{library} defines no symbol versions, but {wanted_by} needs some")
        }
        Problem::VersionedLibraryNotLoaded { library, wanted_by } => {
            format!("{wanted_by} needs symbol versions from {library}, but no loaded object has that name")
        }
        Problem::VersionlessProvider { library, wanted_by, symbol, .. } => {
            format!("{library} defines {symbol} without the version that {wanted_by} needs")
        }
        Problem::MixedLibc { library, release, loader, loader_release } => {
            let other = loader_release.as_deref().unwrap_or("an older release");
            format!(
                "{library} is from {release}, but the loader {loader} is from {other}: both must be from the same release"
            )
        }
        Problem::RelrUndeclared { library, wanted_by, .. } => {
            format!(
                "{wanted_by} has packed relocations (DT_RELR) but does not require support for them from {library}"
            )
        }
        Problem::RelrUnknown { object } => {
            format!("{object} has packed relocations (DT_RELR), which the host's loader does not support")
        }
        Problem::IndirectFunctionOfProgram { symbol, program, wanted_by, lazy } => {
            let when = if *lazy { " (the start fails only with LD_BIND_NOW)" } else { "" };
            format!(
                "{program} defines {symbol} as an indirect function, and the library {wanted_by} refers to it{when}"
            )
        }
        Problem::FilterFails { object, library, circular: true } => {
            format!("{object} and {library} are filters of each other, so glibc's loader crashes")
        }
        Problem::FilterFails { object, library, circular: false } => {
            format!("{object} is a filter for {library}, so loaders before glibc 2.32 stop")
        }
        Problem::StaticTlsFull { object, size, available, undecided, .. } => {
            let left = match available {
                None => "musl's loader reserves none for libraries that are opened at run time".to_owned(),
                Some(left) if *undecided => {
                    format!("only {left} bytes are certainly free, so it may not fit")
                }
                Some(left) => format!("only {left} bytes are free"),
            };
            format!("{object} needs {size} bytes of static thread-local storage, but {left}")
        }
        _ => String::new(),
    }
}

fn describe_segments(object: &str, reason: &str, refused: bool, page_size: Option<u64>) -> String {
    let outcome = if refused { "cannot be mapped" } else { "would be killed by a signal at its start" };
    match page_size {
        None => format!("{object} {outcome}: {reason}"),
        Some(size) => {
            let size = size / 1024;
            format!(
                "{object} {outcome} on a host with pages of {size} KiB (set the host's size with --page-size): \
                 {reason}"
            )
        }
    }
}

/// Returns a problem as a sentence, including the kinds that are otherwise printed together.
pub(super) fn whole(problem: &Problem) -> String {
    match problem {
        Problem::VersionMissing { library, version, wanted_by, .. } => {
            format!("{library} lacks {version}, which {wanted_by} needs")
        }
        Problem::SymbolMissing { symbol, wanted_by, .. } => {
            format!("no loaded object defines {symbol}, which {wanted_by} needs")
        }
        Problem::LibraryMissing { rejected, .. } if !rejected.is_empty() => {
            format!("{}: {}", rejected[0].path, rejected[0].reason)
        }
        other => describe(other),
    }
}
