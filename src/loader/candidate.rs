//! One file that a search came upon: used, passed over, or the end of the start.
//!
//! Source: `open_verify` and `_dl_map_object_from_fd` in glibc's `elf/dl-load.c`.

use crate::elf::{KernelVersion, Machine};
use crate::loader::{Facts, Files, Form, OpenError, Opened};

/// `ELFOSABI_NONE`, `ELFOSABI_GNU`, and on Arm `ELFOSABI_ARM_AEABI`.
fn is_known_abi(os_abi: u8, machine: Machine) -> bool {
    matches!(os_abi, 0 | 3) || (os_abi == 64 && machine == Machine::ARM)
}

/// What becomes of a candidate.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is used.
    Use(Opened),
    /// It is passed over, silently.
    Pass(String),
    /// The start ends here.
    Stop(String),
}

/// What a candidate must fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit<'a> {
    pub program: &'a Facts,
    /// The kernel, for a loader that passes over libraries for newer ones (before glibc 2.36).
    pub kernel: Option<KernelVersion>,
}

impl Fit<'_> {
    /// Looks at the file at `path`.
    pub fn judge(&self, files: &dyn Files, path: &str) -> Verdict {
        let opened = match files.open(path) {
            Ok(opened) => opened,
            Err(OpenError::Absent(reason)) => return Verdict::Pass(reason),
            Err(error) => return Verdict::Stop(error.to_string()),
        };
        let facts = &opened.facts;
        if facts.class != self.program.class {
            return Verdict::Pass("wrong ELF class".to_owned());
        }
        if facts.big_endian != self.program.big_endian {
            let order = if self.program.big_endian { "big" } else { "little" };
            return Verdict::Stop(format!("ELF file data encoding not {order}-endian"));
        }
        if facts.machine != self.program.machine {
            return Verdict::Pass(format!("for {}, not {}", facts.machine, self.program.machine));
        }
        if let Some(reason) = self.reason_to_stop(facts) {
            return Verdict::Stop(reason.to_owned());
        }
        match (facts.kernel, self.kernel) {
            (Some(wanted), Some(host)) if wanted > host => Verdict::Pass(format!("for Linux {wanted}")),
            _ => Verdict::Use(opened),
        }
    }

    fn reason_to_stop(&self, facts: &Facts) -> Option<&'static str> {
        if !is_known_abi(facts.os_abi, facts.machine) {
            return Some("ELF file OS ABI invalid");
        }
        match facts.form {
            Form::Other => Some("only ET_DYN and ET_EXEC can be loaded"),
            Form::FixedExecutable => Some("cannot dynamically load executable"),
            Form::Executable => Some("cannot dynamically load position-independent executable"),
            Form::Library if !facts.has_dynamic_section => Some("object file has no dynamic section"),
            Form::Library => None,
        }
    }
}
