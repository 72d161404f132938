//! The CPU and the kernel of a host.

use std::path::Path;

use crate::elf::{self, IsaLevel, KernelVersion, Machine};
use crate::host::{Handler, Root, kernel_config};

/// The platform of programs: a CPU and a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The machine of the CPU.
    pub machine: Machine,
    /// Its x86-64 levels. `None` on other machines.
    pub isa: Option<IsaLevel>,
    /// Whether the CPU is made by Intel: glibc searches some sub-directories only on Intel CPUs.
    pub is_intel: bool,
    /// The version of the Linux kernel. `None` if it is unknown.
    pub kernel: Option<KernelVersion>,
    /// The size of a page, in bytes. `None` if it is unknown.
    pub page_size: Option<u64>,
    /// The programs for file formats that the kernel does not support itself (binfmt_misc).
    pub handlers: Vec<Handler>,
    /// Whether the kernel runs programs with 32-bit addresses on x86-64 (x32). `None` if it is unknown.
    pub x32: Option<bool>,
    /// Whether its programs are big-endian.
    pub big_endian: bool,
    /// The sub-directories of `glibc-hwcaps` that its loader searches, best first, on other machines than
    /// x86-64.
    pub hwcaps: Vec<String>,
}

impl Default for Platform {
    /// Returns a machine about which nothing is known.
    fn default() -> Self {
        Self {
            machine: Machine(0),
            isa: None,
            is_intel: false,
            kernel: None,
            page_size: None,
            handlers: Vec::new(),
            x32: None,
            big_endian: false,
            hwcaps: Vec::new(),
        }
    }
}

impl Platform {
    /// Returns the platform of this machine.
    pub fn of_this_machine() -> Self {
        let release = rustix::system::uname();
        let kernel = KernelVersion::parse(&release.release().to_string_lossy());
        let page_size = u64::try_from(rustix::param::page_size()).ok();
        let machine = Machine::of_this_program();
        let handlers = Handler::of_this_machine();
        let x32 = kernel_config::runs_x32(&release.release().to_string_lossy());
        let (big_endian, hwcaps) = (cfg!(target_endian = "big"), Vec::new());
        let (isa, is_intel) = (compat_sys::x86_64_level().map(IsaLevel::up_to), is_intel());
        Self { machine, isa, is_intel, kernel, page_size, handlers, x32, big_endian, hwcaps }
    }

    /// The possible page sizes: the known one, or all sizes that kernels for the machine can be built with.
    pub fn page_sizes(&self) -> &[u64] {
        match &self.page_size {
            Some(size) => std::slice::from_ref(size),
            None => self.machine.page_sizes(),
        }
    }

    /// Returns another machine with the baseline CPU and an unknown kernel.
    pub fn of_machine(machine: Machine, big_endian: bool) -> Self {
        let isa = (machine == Machine::X86_64).then(|| IsaLevel::up_to(1));
        Self { machine, isa, big_endian, ..Self::default() }
    }

    /// Returns the platform of a root file system: this machine if it runs the root's programs, otherwise the
    /// baseline of the machine that they are built for.
    pub fn of_root(root: &Root) -> Self {
        let here = Self::of_this_machine();
        match machine_of(root) {
            Some((machine, big_endian)) if !here.runs(machine, big_endian) => {
                Self::of_machine(machine, big_endian)
            }
            _ => here,
        }
    }

    /// The name that `uname -m` prints.
    pub fn name(&self) -> String {
        self.machine.usual_name(self.big_endian)
    }

    /// Whether the kernel can start programs for `machine` in a byte order. A kernel starts programs for its
    /// own machine, and a 64-bit kernel usually also for its 32-bit ancestor, all in the kernel's own byte
    /// order.
    pub fn runs(&self, machine: Machine, big_endian: bool) -> bool {
        let compatible = [(Machine::X86_64, Machine::I386), (Machine::AARCH64, Machine::ARM)];
        let is_known = self.machine == machine || compatible.contains(&(self.machine, machine));
        is_known && self.big_endian == big_endian
    }
}

/// Files that most roots contain, built for their machine.
const USUAL_FILES: [&str; 14] = [
    "/bin/sh",
    "/usr/bin/env",
    "/bin/busybox",
    "/sbin/init",
    "/sbin/ldconfig",
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld64.so.1",
    "/lib64/ld64.so.2",
    "/lib/ld-linux-riscv64-lp64d.so.1",
    "/lib/ld-linux-armhf.so.3",
    "/lib64/ld-linux-loongarch-lp64d.so.1",
    "/lib/ld-linux.so.2",
    "/lib64/ld64.so.1",
];

/// The machine and the byte order of a root's files. `None` if no file reveals them.
fn machine_of(root: &Root) -> Option<(Machine, bool)> {
    let musl = root.listing(Path::new("/lib")).unwrap_or_default();
    let musl =
        musl.into_iter().filter(|name| name.starts_with("ld-musl-")).map(|name| format!("/lib/{name}"));
    let all = USUAL_FILES.map(str::to_owned).into_iter().chain(musl);
    let objects = all.filter_map(|path| root.object(Path::new(&path)).ok());
    let parsed = objects.filter_map(|(data, _)| elf::Object::parse(data).ok());
    let mut machines = parsed.map(|object| (object.machine, object.endian == elf::Endian::Big));
    machines.next()
}

/// Whether CPUID leaf 0 names Intel as the vendor.
#[cfg(target_arch = "x86_64")]
fn is_intel() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_intel() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::sample::Sample;

    /// The platform of a root that has one file.
    fn of_root(file: &str, content: &[u8]) -> Platform {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        Platform::of_root(&Root::at(directory.path()).unwrap())
    }

    #[test]
    fn the_machine_of_a_root_is_that_of_its_programs() {
        let foreign =
            if Machine::of_this_program() == Machine::S390 { Machine::PPC64 } else { Machine::S390 };
        let program = Sample { big_endian: true, ..Sample::program(foreign, 0) }.bytes();
        for path in ["bin/sh", "lib/ld64.so.1", "lib/ld-musl-other.so.1"] {
            let platform = of_root(path, &program);
            assert_eq!((platform.machine, platform.big_endian), (foreign, true), "{path}");
            assert_eq!((platform.kernel, platform.isa, platform.page_size), (None, None, None), "{path}");
            assert!(platform.handlers.is_empty() && platform.x32.is_none(), "{path}");
        }
        // Files without this information are skipped.
        let here = Platform::of_this_machine();
        assert_eq!(of_root("bin/sh", b"text"), here);
        assert_eq!(of_root("opt/app", &program), here);
        let own = Sample::program(here.machine, 0).bytes();
        assert_eq!(of_root("bin/sh", &own), here);
        for machine in [Machine::I386, Machine::ARM] {
            let platform = of_root("bin/sh", &Sample::program(machine, 0).bytes());
            assert_eq!(platform == here, here.runs(machine, false), "{machine}");
        }
    }

    #[test]
    fn this_machine_has_a_kernel_and_runs_its_own_programs() {
        let platform = Platform::of_this_machine();
        assert!(platform.kernel.is_some());
        let own = Machine::of_this_program();
        assert!(platform.runs(own, platform.big_endian));
        assert!(!platform.runs(own, !platform.big_endian));
        assert!(!platform.runs(Machine(9999), platform.big_endian));
    }
}
