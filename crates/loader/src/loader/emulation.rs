//! Programs for another machine that the host starts through binfmt_misc.
//!
//! The kernel passes them to a registered program. qemu's emulators load objects like the loader of that
//! machine, so their start is followed. The behaviour of other handlers is not known.

use crate::host::{Handler, Platform};
use crate::loader::{Environment, Facts, Form, Problem};

/// A program for another machine, and the handler that the host has registered for it.
pub(super) struct Emulation<'a> {
    /// The handler to which the kernel passes the program.
    pub handler: &'a Handler,
    /// A note that the program runs emulated, or that the behaviour of the handler is unknown.
    pub problem: Problem,
}

impl<'a> Emulation<'a> {
    /// Finds the handler of the program at `path`, shown as `shown`.
    ///
    /// # Errors
    ///
    /// If no handler is registered for it.
    pub(super) fn of(
        path: &str,
        shown: &str,
        facts: &Facts,
        platform: &'a Platform,
    ) -> Result<Self, Problem> {
        let (object, machine) = (shown.to_owned(), facts.machine_name());
        let head = header(facts);
        match platform.handlers.iter().find(|handler| handler.takes(path, &head)) {
            Some(handler) => {
                let (known, name) = (handler.is_emulator(), handler.interpreter.clone());
                let problem = Problem::Emulated { object, machine, handler: name, known };
                Ok(Self { handler, problem })
            }
            None => Err(Problem::WrongMachine { object, machine, host: platform.name() }),
        }
    }
}

/// Returns the environment of a program under an emulator.
pub(super) fn environment_of_emulated(facts: &Facts, environment: &Environment) -> Environment {
    let platform = Platform {
        machine: facts.machine,
        big_endian: facts.big_endian,
        isa: None,
        ..environment.platform.clone()
    };
    environment_of_handler(&Environment { platform, ..environment.clone() })
}

/// Returns the environment of the handler itself, which must be a program for the host's machine.
pub(super) fn environment_of_handler(environment: &Environment) -> Environment {
    let platform = Platform { handlers: Vec::new(), ..environment.platform.clone() };
    Environment { platform, ..environment.clone() }
}

/// Returns the beginning of an object's file, as far as handlers compare it.
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
