//! Each problem of a report in a sentence.

use super::start;
use compat_loader::loader::{Effort, Problem};

/// One problem in a sentence.
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
            format!("{object} is for {machine}, and whether the kernel here runs such programs is not known")
        }
        Problem::IsaTooLow { object, wanted, host, setting, .. } => {
            let setting = setting.as_ref().map(|setting| format!(" ({setting})")).unwrap_or_default();
            format!("{object} needs a CPU of level {wanted}{setting}, and this one is {host}")
        }
        Problem::KernelTooOld { object, wanted, host, .. } => {
            format!("{object} was built for Linux {wanted} and newer, and this is {host}")
        }
        Problem::SegmentsUnusable { object, reason, refused, page_size } => {
            describe_segments(object, reason, *refused, *page_size)
        }
        Problem::NotExecutable { object, .. } => format!(
            "{object} cannot be executed: its file has no permission for that (chmod +x), or its file system is \
             mounted noexec"
        ),
        Problem::ObjectUnknown { object } => {
            format!(
                "the specification says something of {object} that this compat does not know: use a newer one"
            )
        }
        Problem::EffortExceeded { effort } => {
            let what = match effort {
                Effort::Libraries => "more libraries are loaded",
                Effort::Search => "more files are searched for",
                Effort::Symbols => "more symbols are looked up",
                Effort::Problems => "more problems are found",
            };
            format!("not followed to the end: {what} than any program is known to need")
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

/// A library that is missing, or cannot be used.
fn of_library(problem: &Problem) -> String {
    match problem {
        Problem::OtherLibc { object, made_for, host, loads } => {
            let result = if *loads { ", and needs nothing that only the other has" } else { "" };
            format!("{object} was made for {made_for}, and this host has {host}{result}")
        }
        Problem::LoaderMissing { object, machine, tried, .. } => {
            let tried = if tried.is_empty() { String::new() } else { format!(" ({})", tried.join(", ")) };
            format!("{object} cannot be loaded: no dynamic loader for {machine} is here{tried}")
        }
        Problem::LibraryMissing { library, wanted_by, .. } => {
            format!("{library} is not here, {wanted_by} wants it")
        }
        Problem::LibraryUncertain { library, path, wanted_by, .. } => {
            format!("{library}, which {wanted_by} wants, is {path} or another file that comes before it")
        }
        Problem::HostLibraryMissing { library, provider, wanted_by, .. } => {
            format!("{library}, which {wanted_by} wants from the host ({provider}), is not on the host")
        }
        Problem::LibraryUnusable { library, wanted_by, .. } if library == wanted_by => {
            format!("{library} cannot be loaded as a library")
        }
        Problem::LibraryUnusable { library, wanted_by, path, .. } => {
            let place = if path == library { String::new() } else { format!(": {path}") };
            format!("{library}, which {wanted_by} wants, cannot be used{place}")
        }
        Problem::PreloadIgnored { library, reason } => {
            format!("{library}, which /etc/ld.so.preload names, is not preloaded: {reason}")
        }
        Problem::DlopenMissing { need, wanted_by, .. } => {
            let purpose = need.description.as_ref().or(need.feature.as_ref());
            let purpose = purpose.map(|purpose| format!(" ({purpose})")).unwrap_or_default();
            format!(
                "{}, which {wanted_by} opens when it runs{purpose}, is not here",
                need.sonames.join(" or ")
            )
        }
        _ => String::new(),
    }
}

/// Versions, symbols and memory of libraries that are loaded.
fn of_binding(problem: &Problem) -> String {
    match problem {
        Problem::VersionUnknown { library, wanted_by, .. } => {
            format!("{library} here has no versions to compare, {wanted_by} wants some")
        }
        Problem::VersionedLibraryNotLoaded { library, wanted_by } => {
            format!("{wanted_by} wants versions of {library}, and nothing that it needs goes by that name")
        }
        Problem::VersionlessProvider { library, wanted_by, symbol, .. } => {
            format!("{library} here defines {symbol} without the version that {wanted_by} wants")
        }
        Problem::MixedLibc { library, release, loader, loader_release } => {
            let other = loader_release.as_deref().unwrap_or("an older release");
            format!("{library} is of {release}, and the loader {loader} of {other}: they work only together")
        }
        Problem::RelrUndeclared { library, wanted_by, .. } => {
            format!("{wanted_by} has packed relocations (DT_RELR) without asking {library} for them")
        }
        Problem::RelrUnknown { object } => {
            format!("{object} has packed relocations (DT_RELR), which the loader here does not know")
        }
        Problem::IndirectFunctionOfProgram { symbol, program, wanted_by, lazy } => {
            let when = if *lazy { ": it would not start with LD_BIND_NOW" } else { "" };
            format!("{program} defines {symbol} as an indirect function, and {wanted_by} wants it{when}")
        }
        Problem::FilterFails { object, library, circular: true } => {
            format!("{object} and {library} are filters of each other, over which glibc's loader crashes")
        }
        Problem::FilterFails { object, library, circular: false } => {
            format!("{object} is a filter for {library}, at which loaders before glibc 2.32 stop")
        }
        Problem::StaticTlsFull { object, size, available, undecided, .. } => {
            let left = match available {
                None => "musl's loader keeps none for libraries that are opened at run time".to_owned(),
                Some(left) if *undecided => format!("{left} bytes are certainly free: it may fit or not"),
                Some(left) => format!("{left} bytes are free"),
            };
            format!("{object} wants {size} bytes of static thread-local memory, and {left}")
        }
        _ => String::new(),
    }
}

fn describe_segments(object: &str, reason: &str, refused: bool, page_size: Option<u64>) -> String {
    let outcome = if refused { "cannot be mapped" } else { "would be ended by a signal at its start" };
    match page_size {
        None => format!("{object} {outcome}: {reason}"),
        Some(size) => {
            let size = size / 1024;
            format!(
                "{object} {outcome} on a host with pages of {size} KiB (--page-size says which it has): {reason}"
            )
        }
    }
}

/// One problem in a sentence, also of those that are otherwise told together.
pub(super) fn whole(problem: &Problem) -> String {
    match problem {
        Problem::VersionMissing { library, version, wanted_by, .. } => {
            format!("{library} has no {version}, which {wanted_by} wants")
        }
        Problem::SymbolMissing { symbol, wanted_by, .. } => {
            format!("nothing defines {symbol}, which {wanted_by} wants")
        }
        Problem::LibraryMissing { rejected, .. } if !rejected.is_empty() => {
            format!("{}: {}", rejected[0].path, rejected[0].reason)
        }
        other => describe(other),
    }
}
