//! The vDSO, the kernel's own object in every process: its name, its version and its definitions.
//!
//! Source: vdso(7). A kernel may define more, but programs cannot rely on symbols that the page does not list.

use crate::elf::{Class, Import, Machine};

/// The vDSO of one machine.
pub(super) struct Vdso {
    /// Its soname, the only name under which it is requested.
    pub name: &'static str,
    versions: &'static [&'static str],
    symbols: &'static [&'static str],
}

const X86_64: [&str; 8] = [
    "__vdso_clock_gettime",
    "__vdso_getcpu",
    "__vdso_gettimeofday",
    "__vdso_time",
    "clock_gettime",
    "getcpu",
    "gettimeofday",
    "time",
];
const I386: [&str; 6] = [
    "__kernel_rt_sigreturn",
    "__kernel_sigreturn",
    "__kernel_vsyscall",
    "__vdso_clock_gettime",
    "__vdso_gettimeofday",
    "__vdso_time",
];
const ARM: [&str; 2] = ["__vdso_clock_gettime", "__vdso_gettimeofday"];
const RISCV: [&str; 6] = [
    "__vdso_clock_getres",
    "__vdso_clock_gettime",
    "__vdso_flush_icache",
    "__vdso_getcpu",
    "__vdso_gettimeofday",
    "__vdso_rt_sigreturn",
];
const CLOCKS: [&str; 3] = ["__kernel_clock_getres", "__kernel_clock_gettime", "__kernel_gettimeofday"];

impl Vdso {
    /// Returns the vDSO for a program of a machine.
    pub(super) fn of(machine: Machine, class: Class) -> Self {
        let is_narrow = class == Class::Elf32;
        let by_width = if is_narrow { "linux-vdso32.so.1" } else { "linux-vdso64.so.1" };
        let (name, versions, symbols): (_, &[&str], &[&str]) = match machine {
            Machine::X86_64 => ("linux-vdso.so.1", &["LINUX_2.6"], &X86_64),
            Machine::I386 => ("linux-gate.so.1", &["LINUX_2.5", "LINUX_2.6"], &I386),
            Machine::AARCH64 => ("linux-vdso.so.1", &["LINUX_2.6.39"], &CLOCKS),
            Machine::RISCV => ("linux-vdso.so.1", &["LINUX_4.15"], &RISCV),
            Machine::PPC64 => (by_width, &["LINUX_2.6.15"], &CLOCKS),
            Machine::S390 => (by_width, &["LINUX_2.6.29"], &CLOCKS),
            Machine::IA64 => ("linux-gate.so.1", &["LINUX_2.5"], &[]),
            Machine::LOONGARCH => ("linux-vdso.so.1", &["LINUX_5.10"], &[]),
            _ => ("linux-vdso.so.1", &["LINUX_2.6"], &ARM),
        };
        Self { name, versions, symbols }
    }

    /// Returns whether it defines a version.
    pub(super) fn has_version(&self, version: &str) -> bool {
        self.versions.contains(&version)
    }

    /// Returns whether a reference binds to it.
    pub(super) fn satisfies(&self, import: &Import<'_>) -> bool {
        self.symbols.iter().any(|symbol| symbol.as_bytes() == import.name)
            && import.version.is_none_or(|version| self.has_version(version.name))
    }
}
