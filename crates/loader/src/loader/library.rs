//! A library without a program: it is loaded as if by a program without other needs, with a loader of the host.
//!
//! A library names no loader. The loader of its own C library is tried first, then the other one: a library may
//! need nothing of either, and musl's loader accepts glibc's libraries by their names. Failures are then
//! reported together with the different C library.

use crate::elf::{Class, Machine};
use crate::host::DynamicLoader;
use crate::loader::load::{self, Later};
use crate::loader::loaded::Program;
use crate::loader::{Context, Effect, Facts, Libc, Load, Problem, Reason};

/// Loads a library without a program.
pub(super) fn start(program: Program, context: Context<'_>) -> Load {
    let facts = std::sync::Arc::clone(&program.opened.facts);
    let made_for = made_for(&facts);
    let mut tried = Vec::new();
    let mut unrecorded = false;
    for path in usual_paths(&facts, made_for) {
        let opened = match load::open_loader(&path, &facts, context) {
            Ok(opened) => opened,
            Err(reason) => {
                unrecorded |= reason == Reason::Unrecorded;
                tried.push(path);
                continue;
            }
        };
        let Some(loader) = context.dynamic_loader(&path, facts.machine, facts.class) else {
            return Load::of(Problem::InterpreterUnknown { object: program.shown, interpreter: path });
        };
        let object = program.shown.clone();
        let mut load = load::load(program, Later::default(), &loader, opened, context);
        let host = if loader.is_musl() { Libc::Musl } else { Libc::Glibc };
        if let Some(made_for) = made_for.filter(|made_for| *made_for != host) {
            let loads = load.problems.iter().all(|problem| problem.effect() < Effect::Undecided);
            load.problems.insert(0, Problem::OtherLibc { object, made_for, host, loads });
        }
        return load;
    }
    Load::of(Problem::LoaderMissing {
        object: program.shown,
        machine: facts.machine_name(),
        tried,
        unrecorded,
    })
}

/// Returns the C library that a library was built for, according to its needs.
fn made_for(facts: &Facts) -> Option<Libc> {
    let names = || facts.needed.iter().map(|dependency| dependency.name.as_str());
    // musl's C library is called libc.so or has a name with the machine. glibc's is libc.so.6 (libc.so.6.1 on
    // some machines).
    if names().any(|name| name == "libc.so" || name.starts_with("libc.musl-")) {
        return Some(Libc::Musl);
    }
    let has_glibc_version = |(_, versions): &(String, Vec<(String, bool)>)| {
        versions.iter().any(|(version, _)| version.starts_with("GLIBC_"))
    };
    let is_glibc =
        names().any(|name| name.starts_with("libc.so.")) || facts.version_needs.iter().any(has_glibc_version);
    is_glibc.then_some(Libc::Glibc)
}

/// Returns the paths of the possible loaders, the likeliest first.
fn usual_paths(facts: &Facts, made_for: Option<Libc>) -> Vec<String> {
    let glibc = DynamicLoader::usual_path(facts.machine, facts.class, facts.big_endian).map(str::to_owned);
    // musl has no separate loader name for x32.
    let is_x32 = facts.machine == Machine::X86_64 && facts.class == Class::Elf32;
    let musl = (!is_x32).then(|| DynamicLoader::usual_musl_path(facts.machine));
    match made_for {
        Some(Libc::Musl) => musl.into_iter().chain(glibc).collect(),
        _ => glibc.into_iter().chain(musl).collect(),
    }
}
