//! A library on its own: loaded as by a program that needs nothing else, with a loader that the host has.
//!
//! A library names no loader. The one of the C library that it was made for is tried first, and then the other
//! one: a library may need nothing of either, and musl's loader takes glibc's libraries by their names. What
//! then fails is told together with that.

use crate::elf::{Class, Machine};
use crate::host::DynamicLoader;
use crate::loader::load::{self, Later};
use crate::loader::loaded::Program;
use crate::loader::{Context, Effect, Facts, Libc, Load, Problem, Reason};

/// Loads a library on its own.
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

/// The C library that a library was made for, as its needs tell.
fn made_for(facts: &Facts) -> Option<Libc> {
    let names = || facts.needed.iter().map(|dependency| dependency.name.as_str());
    // musl's C library is called libc.so, or by its machine; glibc's is libc.so.6 (libc.so.6.1 on some machines).
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

/// Where the loaders lie that can be meant, the likeliest first.
fn usual_paths(facts: &Facts, made_for: Option<Libc>) -> Vec<String> {
    let glibc = DynamicLoader::usual_path(facts.machine, facts.class, facts.big_endian).map(str::to_owned);
    // musl has no loader of its own name for x32.
    let is_x32 = facts.machine == Machine::X86_64 && facts.class == Class::Elf32;
    let musl = (!is_x32).then(|| DynamicLoader::usual_musl_path(facts.machine));
    match made_for {
        Some(Libc::Musl) => musl.into_iter().chain(glibc).collect(),
        _ => glibc.into_iter().chain(musl).collect(),
    }
}
