//! The host that is checked, and how programs are started on it.

use std::path::{Path, PathBuf};

use crate::app::Failure;
use crate::app::host::{self, HostSource};
use crate::app::in_root;
use compat_loader::check::{Host, Options};
use compat_loader::elf::{IsaLevel, KernelVersion, Machine};
use compat_sys::raw;

/// The host that is checked.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Host options")]
pub(super) struct HostOptions {
    /// Use the root file system in DIR instead of this machine's
    ///
    /// If an image is checked, only the drivers and libraries that the container runtime takes from the host come
    /// from DIR.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Use a saved host (compat host) instead of this machine
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    pub host: Option<PathBuf>,

    /// Assume this machine, by its `uname -m` name [default: the machine of the root's programs]
    ///
    /// Names are x86_64, aarch64, s390x, ppc64le and so on.
    #[arg(long, value_name = "NAME", value_parser = parse_machine)]
    pub machine: Option<(Machine, bool)>,

    /// Assume a CPU of this level
    ///
    /// Levels are x86-64-v1 to x86-64-v4, power8 to power10, z13 to z17, armv8 to armv8.9, and armv9 to armv9.7. No
    /// object requires an armv8 or armv9 level.
    #[arg(long, value_name = "LEVEL", value_parser = parse_level)]
    pub cpu: Option<CpuLevel>,

    /// Assume this kernel version, such as 5.14.0
    #[arg(long, value_name = "VERSION", value_parser = parse_kernel)]
    pub kernel: Option<KernelVersion>,

    /// Assume pages of this size, such as 4k, 16k or 64k
    ///
    /// The size decides whether segments can be mapped.
    #[arg(long, value_name = "SIZE", value_parser = parse_page_size)]
    pub page_size: Option<u64>,
}

/// How a program is started.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Start options")]
pub(super) struct StartOptions {
    /// Assume this LD_LIBRARY_PATH [default: the environment's, without --root or --host]
    #[arg(long, value_name = "DIRS")]
    pub library_path: Option<String>,

    /// Check libraries as if this program (a path in the root) loaded them
    #[arg(long, value_name = "PATH")]
    pub host_program: Option<PathBuf>,
}

/// A CPU level of one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CpuLevel {
    name: String,
    machine: Machine,
    isa: Option<IsaLevel>,
    /// The subdirectories of `glibc-hwcaps` for this level, best first.
    hwcaps: Vec<String>,
}

impl CpuLevel {
    fn is_of(&self, machine: Machine) -> bool {
        self.machine == machine || (self.machine, machine) == (Machine::X86_64, Machine::I386)
    }

    /// Returns the level and the lower ones, by glibc's names for them.
    fn numbered(
        name: &str,
        machine: Machine,
        prefix: &str,
        known: std::ops::RangeInclusive<u32>,
    ) -> Option<Self> {
        let number: u32 = name.strip_prefix(prefix)?.parse().ok()?;
        let lowest = *known.start();
        let below = (lowest..=number).rev().map(|number| format!("{prefix}{number}"));
        // glibc has no subdirectory for POWER8, because it is the baseline.
        let hwcaps = below.filter(|name| name != "power8").collect();
        let is_known = known.contains(&number) && name == format!("{prefix}{number}");
        is_known.then(|| Self { name: name.to_owned(), machine, isa: None, hwcaps })
    }
}

fn parse_machine(text: &str) -> Result<(Machine, bool), String> {
    Machine::from_usual_name(text)
        .ok_or_else(|| "expected a name that uname -m prints, such as x86_64, aarch64 or s390x".to_owned())
}

fn parse_level(text: &str) -> Result<CpuLevel, String> {
    let name = text.to_owned();
    if let Some(isa) = x86_64_level(text) {
        return Ok(CpuLevel { name, machine: Machine::X86_64, isa: Some(isa), hwcaps: Vec::new() });
    }
    if is_arm_level(text) {
        return Ok(CpuLevel { name, machine: Machine::AARCH64, isa: None, hwcaps: Vec::new() });
    }
    let power = CpuLevel::numbered(text, Machine::PPC64, "power", 8..=10);
    power.or_else(|| CpuLevel::numbered(text, Machine::S390, "z", 13..=17)).ok_or_else(|| {
        "expected x86-64-v1 to x86-64-v4, power8 to power10, z13 to z17, armv8 to armv8.9, or armv9 to armv9.7"
            .to_owned()
    })
}

/// Returns the level that a name of an existing x86-64 level means. The levels end at v4.
fn x86_64_level(name: &str) -> Option<IsaLevel> {
    let is_exact = |level: &IsaLevel| name == "x86-64" || name == level.to_string();
    IsaLevel::from_name(name).filter(|level| level.highest() <= 4 && is_exact(level))
}

/// Returns whether a name is that of an existing Arm level, such as armv8, armv8.2 or armv9-a.
fn is_arm_level(name: &str) -> bool {
    let name = name.strip_suffix("-a").unwrap_or(name);
    let is_minor = |rest: &str, last: u8| {
        rest.is_empty() || (0..=last).any(|minor| rest.strip_prefix('.') == Some(minor.to_string().as_str()))
    };
    // The last minor versions that Arm has defined.
    [("armv8", 9), ("armv9", 7)]
        .iter()
        .any(|(version, last)| name.strip_prefix(version).is_some_and(|rest| is_minor(rest, *last)))
}

fn parse_kernel(text: &str) -> Result<KernelVersion, String> {
    // A release may follow the numbers, as in 6.1.0-18-amd64.
    let numbers = text.split(['-', '+', '~', '_']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let version = KernelVersion::parse(text).filter(|_| numbers.split('.').all(is_number));
    version.ok_or_else(|| "expected a version such as 5.14.0".to_owned())
}

/// Parses a size in bytes, or in KiB with the suffix "k".
fn parse_page_size(text: &str) -> Result<u64, String> {
    const SIZES: std::ops::RangeInclusive<u64> = 4096..=1 << 20;
    let (number, unit) = match text.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1024),
        None => (text, 1),
    };
    let size = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    size.filter(|size| size.is_power_of_two() && SIZES.contains(size))
        .ok_or_else(|| "expected a power of two of at least 4096 bytes, such as 4k, 16k or 64k".to_owned())
}

impl HostOptions {
    /// Opens the selected host: a root, a saved host, or this machine.
    ///
    /// # Errors
    ///
    /// If the host cannot be read.
    pub(super) fn open(&self, start: &StartOptions) -> Result<Host, Failure> {
        let is_elsewhere = self.root.is_some() || self.host.is_some();
        let from_environment =
            || std::env::var_os("LD_LIBRARY_PATH").map(raw::of_path).filter(|_| !is_elsewhere);
        let typed = start.library_path.as_ref().map(raw::of_path);
        let options = Options {
            library_path: typed.or_else(from_environment),
            machine: self.machine,
            isa: self.cpu.as_ref().and_then(|cpu| cpu.isa),
            hwcaps: self.cpu.as_ref().map(|cpu| cpu.hwcaps.clone()).unwrap_or_default(),
            kernel: self.kernel,
            page_size: self.page_size,
            host_program: start.host_program.as_ref().map(|path| self.program_path(path)),
        };
        let source = match (&self.host, &self.root) {
            (Some(file), _) => HostSource::Saved(file.clone()),
            (None, Some(directory)) => HostSource::Root(directory.clone()),
            (None, None) => HostSource::ThisMachine,
        };
        let host = host::open(&source, &options)?;
        match &self.cpu {
            Some(cpu) if !cpu.is_of(host.environment.platform.machine) => Err(Failure::usage(format!(
                "{} is a CPU level of {}, but the machine is {}",
                cpu.name,
                cpu.machine.usual_name(false),
                host.environment.platform.name()
            ))),
            _ => Ok(host),
        }
    }
}

impl HostOptions {
    /// Returns the path of a program in the root. The user can also give it as a path on this machine.
    fn program_path(&self, path: &Path) -> String {
        let inside = self.root.as_deref().and_then(|root| in_root::inside(path, root));
        let shown = raw::of_path(path);
        inside.filter(|_| path.exists()).map_or(shown, |(_, place)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_that_exist_are_accepted() {
        let accepted = "x86-64 x86-64-v1 x86-64-v4 power8 power10 z13 z17 armv8 armv8-a armv8.0 armv8.2-a armv8.9 armv9 \
                        armv9.7";
        for level in accepted.split(' ') {
            assert_eq!(parse_level(level).unwrap().name, level);
        }
        let refused = "x86-64-v0 x86-64-v5 x86-64-v9 x86-64-v32 x86-64-v+3 x86-64-v03 power7 power11 power+9 z12 z18 z015 \
                       armv7 armv8.10 armv8.99 armv8.+2 armv8.02 armv8. armv9.8 armv89";
        for level in refused.split(' ').chain([""]) {
            let list = parse_level(level).expect_err(level);
            assert!(list.contains("x86-64-v1 to x86-64-v4") && list.contains("armv8 to armv8.9"), "{list}");
        }
    }

    #[test]
    fn a_kernel_version_has_numbers_and_may_have_a_release() {
        for version in
            ["5", "5.14", "5.14.0", "6.1.0-18-amd64", "5.10.16.3-microsoft-standard", "6.6+", "6.2_1"]
        {
            assert!(parse_kernel(version).is_ok(), "{version}");
        }
        for version in ["", "5x", "5,14", "5.x", "5.14.", ".5", "v5.14", "5 14"] {
            assert!(parse_kernel(version).is_err(), "{version}");
        }
    }
}
