//! Programs for another machine that the host starts by binfmt_misc.
//!
//! The kernel hands them to a registered program. qemu's emulators load as the loader of that machine does, so
//! that start is followed; what any other one does is not known.

use crate::host::{Handler, Platform};
use crate::loader::follow::start_interpreter;
use crate::loader::start::{Depth, start_object};
use crate::loader::{Effect, Environment, Facts, Files, Form, Load, Opened, Problem, Start};

/// Starts a program for another machine.
pub(super) fn start_foreign(
    start: &Start<'_>,
    opened: Opened,
    names: &[String],
    files: &dyn Files,
    environment: &Environment,
) -> Load {
    let (machine, object) = (opened.facts.machine, start.shown.to_owned());
    let handlers = &environment.platform.handlers;
    let head = header(&opened.facts);
    let Some(handler) = handlers.iter().find(|handler| handler.takes(start.path, &head)) else {
        let host = environment.platform.name();
        return Load::of(Problem::WrongMachine { object, machine: opened.facts.machine_name(), host });
    };
    let emulated = Problem::Emulated {
        object,
        machine: opened.facts.machine_name(),
        handler: handler.interpreter.clone(),
        known: handler.is_emulator(),
    };
    if let Some(load) = refused(start, handler, files, environment) {
        return load;
    }
    if !handler.is_emulator() {
        return Load::of(emulated);
    }
    let big_endian = opened.facts.big_endian;
    let platform =
        Platform { machine, big_endian, isa: None, handlers: Vec::new(), ..environment.platform.clone() };
    let mut load =
        start_object(start, opened, names, files, &Environment { platform, ..environment.clone() });
    load.problems.push(emulated);
    load
}

/// What keeps the handler's own program from being started: it must be in the root, unless it is open already.
fn refused(
    start: &Start<'_>,
    handler: &Handler,
    files: &dyn Files,
    environment: &Environment,
) -> Option<Load> {
    if handler.is_open() {
        return None;
    }
    let path = &handler.interpreter;
    // It is no program for another machine itself.
    let platform = Platform { handlers: Vec::new(), ..environment.platform.clone() };
    let environment = &Environment { platform, ..environment.clone() };
    match start_interpreter(start.shown, path, path, files, environment, Depth::START) {
        Ok(load) => load.problems.iter().any(|problem| problem.effect() >= Effect::Refuses).then_some(load),
        Err(problem) => Some(Load::of(problem)),
    }
}

/// The beginning of an object's file, as far as handlers look at it.
fn header(facts: &Facts) -> Vec<u8> {
    let kind: u16 = if facts.form == Form::FixedExecutable { 2 } else { 3 };
    let (class, order) = (facts.class.bits() / 32, if facts.big_endian { 2 } else { 1 });
    let mut header = vec![0x7f, b'E', b'L', b'F', class, order, 1, facts.os_abi];
    header.resize(16, 0);
    for number in [kind, facts.machine.0] {
        header.extend(if facts.big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
    }
    let version: u32 = 1;
    header.extend(if facts.big_endian { version.to_be_bytes() } else { version.to_le_bytes() });
    header
}
