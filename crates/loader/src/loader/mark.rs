//! The marks of an object on a platform: the CPU that its toolchain built it for, a packer, and the kernel that
//! its start code needs.
//!
//! Sources: Go's `runtime/asm_amd64.s` (the check of GOAMD64 at start, exit 1) and "Minimum requirements"
//! (<https://go.dev/wiki/MinimumRequirements>); glibc's `csu/libc-start.c` before 2.36.

use crate::elf::{IsaLevel, Machine};
use crate::host::{DynamicLoader, Platform};
use crate::loader::{Facts, Load, Problem};

/// Returns the x86-64 level that a setting of Go's toolchain requires.
pub(super) fn level(setting: &str) -> Option<IsaLevel> {
    IsaLevel::from_name(&format!("x86-64-{}", setting.strip_prefix("GOAMD64=")?))
}

/// Returns the levels that an object needs: from its property note and its toolchain settings.
pub(super) fn isa(property: Option<IsaLevel>, settings: &[String]) -> Option<IsaLevel> {
    let settings = settings.iter().filter_map(|setting| level(setting));
    settings.chain(property).reduce(|one, other| IsaLevel(one.0 | other.0))
}

/// Returns the setting that requires the highest level of an object.
pub(super) fn reason(facts: &Facts) -> Option<&String> {
    facts.cpu.iter().find(|setting| {
        let level = level(setting).map(IsaLevel::highest);
        level.is_some() && level == facts.isa.map(IsaLevel::highest)
    })
}

/// Checks the CPU and the kernel that the objects of a loaded program were built for. The result depends on the
/// loader, if there is one.
pub(super) fn check(load: &mut Load, loader: Option<&DynamicLoader>, platform: &Platform) {
    check_platform(load, loader, platform);
    check_marks(load, platform);
}

/// Checks the CPU levels and kernels that the objects of a loaded program were built for. The result depends on
/// the loader, if there is one.
fn check_platform(load: &mut Load, loader: Option<&DynamicLoader>, platform: &Platform) {
    let refused = loader.is_some_and(|loader| loader.checks_isa);
    let mut problems = Vec::new();
    for (index, object) in load.objects.iter().enumerate() {
        let shown = || object.shown.clone();
        if let (Some(wanted), Some(host)) = (object.facts.isa, platform.isa)
            && !wanted.is_subset_of(host)
        {
            let (wanted, host) = (wanted.to_string(), host.to_string());
            let setting = reason(&object.facts).cloned();
            let refused = refused || setting.is_some();
            problems.push(Problem::IsaTooLow { object: shown(), wanted, host, refused, setting });
        }
        if object.facts.flags.relr && loader.is_some_and(|loader| !loader.knows_relr) {
            problems.push(Problem::RelrUnknown { object: shown() });
        }
        if let (Some(wanted), Some(host)) = (object.facts.kernel, platform.kernel)
            && wanted > host
        {
            let (wanted, host) = (wanted.to_string(), host.to_string());
            let ignored = index > 0 || !object.facts.checks_kernel;
            problems.push(Problem::KernelTooOld { object: shown(), wanted, host, ignored });
        }
    }
    load.problems.extend(problems);
}

/// Adds the problems that the marks of the loaded objects cause on this platform.
fn check_marks(load: &mut Load, platform: &Platform) {
    let mut problems = Vec::new();
    for object in &load.objects {
        let shown = || object.shown.clone();
        if let Some(packer) = &object.facts.packed_by {
            problems.push(Problem::Packed { object: shown(), packer: packer.clone() });
        }
        let unknown = object.facts.cpu.iter().filter(|setting| !is_known(setting, platform));
        problems
            .extend(unknown.map(|setting| Problem::CpuUnknown { object: shown(), wanted: setting.clone() }));
    }
    load.problems.extend(problems);
}

/// Returns whether it is known if the CPU of a platform provides a setting. x86-64 levels are compared
/// elsewhere.
fn is_known(setting: &str, platform: &Platform) -> bool {
    let name = setting.split('=').next().unwrap_or_default();
    match name {
        "GOAMD64" => platform.isa.is_some() && level(setting).is_some(),
        // Every 64-bit CPU includes the optional features of its 32-bit ancestors.
        "GO386" => platform.machine == Machine::X86_64,
        "GOARM" => platform.machine == Machine::AARCH64,
        _ => false,
    }
}
