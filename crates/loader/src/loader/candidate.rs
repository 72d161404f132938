//! One file that a search finds: it is used or passed over, or it ends the start.
//!
//! Source: `open_verify` and `_dl_map_object_from_fd` in glibc's `elf/dl-load.c`.

use crate::elf::{IdentificationFault, KernelVersion, Machine};
use crate::host::Platform;
use crate::loader::files::wrong_byte_order;
use crate::loader::layout::{self, Judgement};
use crate::loader::{Blocked, Facts, Files, Form, Obstacle, OpenError, Opened, Reason};

/// `ELFOSABI_NONE`, `ELFOSABI_GNU`, and on Arm `ELFOSABI_ARM_AEABI`.
fn is_known_abi(os_abi: u8, machine: Machine) -> bool {
    matches!(os_abi, 0 | 3) || (os_abi == 64 && machine == Machine::ARM)
}

/// The verdict on a candidate.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The file is used.
    Use(Opened),
    /// The file is passed over silently.
    Pass(Reason),
    /// The file is passed over, with the rest of the directory list that led to it: glibc's loader treats the
    /// file as present.
    EndList {
        /// The system's error.
        reason: Reason,
        /// The directory that was searched exists. A missing directory does not end the list unless its path is
        /// relative: the loader never checks whether such a directory exists.
        in_directory: bool,
    },
    /// The start fails.
    Stop(Reason),
}

/// The requirements for a candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit<'a> {
    pub program: &'a Facts,
    /// The kernel, for a loader that passes over libraries for newer kernels (before glibc 2.36).
    pub kernel: Option<KernelVersion>,
    /// The loader is musl's.
    pub is_musl: bool,
    /// The loader is older than glibc 2.35 and has stricter rules for the alignment of segments.
    pub is_old: bool,
    /// A path that leads through a file ends a list of directories (before glibc 2.39).
    pub ends_at_files: bool,
    /// The kernel that maps the file, or one of several possible kernels.
    pub platform: &'a Platform,
    /// The mount options of this machine matter.
    pub is_this_machine: bool,
}

impl Fit<'_> {
    /// Judges the file at `path`.
    pub(super) fn judge(&self, files: &dyn Files, path: &str) -> Verdict {
        let opened = match files.open(path) {
            Ok(opened) => opened,
            Err(OpenError::Absent(reason)) => return Verdict::Pass(reason),
            Err(OpenError::Blocked(blocked)) => return self.judge_blocked(&blocked),
            Err(OpenError::Unusable(words)) => return Verdict::Stop(Reason::recorded(words)),
            Err(error) => return Verdict::Stop(error.to_string().into()),
        };
        self.judge_opened(opened)
    }

    /// Judges an error of the system (`open_path` in glibc's `elf/dl-load.c`, `path_open` in musl's
    /// `ldso/dynlink.c`).
    fn judge_blocked(&self, blocked: &Blocked) -> Verdict {
        let in_directory = blocked.in_directory;
        let reason = match &blocked.obstacle {
            Obstacle::File => Reason::NotDirectory,
            other => other.to_string().into(),
        };
        match (&blocked.obstacle, self.is_musl) {
            (Obstacle::File | Obstacle::TooLong, true) => Verdict::Pass(reason),
            (Obstacle::Other(_), true) => Verdict::Stop(reason),
            (Obstacle::File, false) if !self.ends_at_files => Verdict::Pass(reason),
            (_, false) => Verdict::EndList { reason, in_directory },
        }
    }

    /// Judges an object as a library, no matter how the loader found it.
    pub(super) fn judge_opened(&self, opened: Opened) -> Verdict {
        if self.is_musl { self.judge_for_musl(opened) } else { self.judge_for_glibc(opened) }
    }

    /// musl uses the first file that opens and checks little of it (`map_library`).
    fn judge_for_musl(&self, opened: Opened) -> Verdict {
        let facts = &opened.facts;
        let is_foreign = facts.class != self.program.class || facts.big_endian != self.program.big_endian;
        if is_foreign || facts.form == Form::Other || !facts.has_dynamic_section {
            return Verdict::Stop("Exec format error".into());
        }
        if self.is_this_machine && facts.on_noexec {
            return Verdict::Stop("Operation not permitted".into());
        }
        Verdict::Use(opened)
    }

    fn judge_for_glibc(&self, opened: Opened) -> Verdict {
        let facts = &opened.facts;
        if facts.class != self.program.class {
            return Verdict::Pass(Reason::WrongClass(Some(facts.class)));
        }
        if facts.big_endian != self.program.big_endian {
            return self.judge_other_order(facts);
        }
        if facts.machine != self.program.machine {
            return Verdict::Pass(format!("for {}, not {}", facts.machine, self.program.machine).into());
        }
        if let Some(reason) = self.reason_to_stop(facts) {
            return Verdict::Stop(reason);
        }
        match (facts.kernel, self.kernel) {
            (Some(wanted), Some(host)) if wanted > host => {
                Verdict::Pass(format!("for Linux {wanted}").into())
            }
            _ => Verdict::Use(opened),
        }
    }

    /// Judges an object in the other byte order. The loader checks the machine first and reads it in its own
    /// byte order. So the machine differs, except in files with a wrong header.
    fn judge_other_order(&self, facts: &Facts) -> Verdict {
        if facts.machine.0.swap_bytes() == self.program.machine.0 {
            return Verdict::Stop(wrong_byte_order(self.program.big_endian).into());
        }
        let order = |facts: &Facts| if facts.big_endian { "big" } else { "little" };
        Verdict::Pass(format!("{}-endian, not {}-endian", order(facts), order(self.program)).into())
    }

    fn reason_to_stop(&self, facts: &Facts) -> Option<Reason> {
        if let Some(words) = refused_identification(facts) {
            return Some(words.into());
        }
        if facts.form == Form::Other {
            return Some("only ET_DYN and ET_EXEC can be loaded".into());
        }
        if let Judgement::Wrong(objection) = layout::of_glibc(facts, self.is_old, self.platform) {
            return Some(Reason::of_name(objection.reason));
        }
        if self.is_this_machine && facts.on_noexec {
            return Some(Reason::of_name("failed to map segment from shared object"));
        }
        let words = match facts.form {
            Form::Other => None,
            Form::FixedExecutable => Some("cannot dynamically load executable"),
            Form::Executable => Some("cannot dynamically load position-independent executable"),
            Form::Library if !facts.has_dynamic_section => Some("object file has no dynamic section"),
            Form::Library => None,
        };
        words.map(Reason::of_name)
    }
}

/// Returns the message of `open_verify` about the first bytes, in the order of its checks.
fn refused_identification(facts: &Facts) -> Option<&'static str> {
    let fault = facts.identification;
    if fault == Some(IdentificationFault::Version) {
        return Some("ELF file version ident does not match current one");
    }
    if !is_known_abi(facts.os_abi, facts.machine) {
        return Some("ELF file OS ABI invalid");
    }
    match fault? {
        IdentificationFault::Version => None,
        IdentificationFault::AbiVersion => Some("ELF file ABI version invalid"),
        IdentificationFault::Padding => Some("nonzero padding in e_ident"),
        IdentificationFault::FileVersion => Some("ELF file version does not match current one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::ObjectIdentity;
    use crate::spec::{Object, ObjectKind};

    #[test]
    fn a_library_in_the_other_byte_order_is_passed_over_unless_its_machine_is_not() {
        let facts = |machine, big_endian| {
            let object = Object::new("libx.so", ObjectKind::Library, "x86_64", 64);
            let mut facts = Facts::of_specified(&object).unwrap();
            (facts.machine, facts.big_endian) = (machine, big_endian);
            facts
        };
        let platform = Platform::of_machine(Machine::X86_64, false);
        let verdict = |program: &Facts, library: Facts| {
            let (platform, is_musl) = (&platform, false);
            let fit = Fit {
                program,
                kernel: None,
                is_musl,
                is_old: false,
                platform,
                is_this_machine: false,
                ends_at_files: false,
            };
            fit.judge_opened(Opened {
                identity: ObjectIdentity::Scope(0),
                facts: std::sync::Arc::new(library),
            })
        };
        let little = facts(Machine::PPC64, false);
        for (machine, order) in [(Machine::S390, true), (Machine::PPC64, true)] {
            let passed = verdict(&little, facts(machine, order));
            assert!(
                matches!(passed, Verdict::Pass(why) if why.to_string() == "big-endian, not little-endian")
            );
        }
        let passed = verdict(&facts(Machine::PPC64, true), facts(Machine::PPC64, false));
        assert!(matches!(passed, Verdict::Pass(why) if why.to_string() == "little-endian, not big-endian"));
        let forged = facts(Machine(Machine::PPC64.0.swap_bytes()), true);
        let stopped = verdict(&little, forged);
        assert!(
            matches!(stopped, Verdict::Stop(words) if words.to_string() == "ELF file data encoding not little-endian")
        );
    }

    #[test]
    fn a_library_on_a_noexec_file_system_of_this_machine_cannot_be_mapped() {
        let object = Object::new("libx.so", ObjectKind::Library, "x86_64", 64);
        let mut facts = Facts::of_specified(&object).unwrap();
        facts.on_noexec = true;
        let facts = std::sync::Arc::new(facts);
        let platform = Platform {
            machine: Machine::X86_64,
            isa: None,
            is_intel: false,
            x32: None,
            kernel: None,
            page_size: Some(4096),
            handlers: Default::default(),
            ..Platform::default()
        };
        let verdict = |is_musl, is_this_machine| {
            let program = &facts;
            let platform = &platform;
            let fit = Fit {
                program,
                kernel: None,
                is_musl,
                is_old: false,
                ends_at_files: false,
                platform,
                is_this_machine,
            };
            fit.judge_opened(Opened {
                identity: ObjectIdentity::Scope(0),
                facts: std::sync::Arc::clone(&facts),
            })
        };
        assert!(
            matches!(verdict(false, true), Verdict::Stop(words) if words.to_string().starts_with("failed to map segment"))
        );
        assert!(matches!(verdict(true, true), Verdict::Stop(words) if words == *"Operation not permitted"));
        assert!(matches!(verdict(false, false), Verdict::Use(_)));
    }
}
