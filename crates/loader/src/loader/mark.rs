//! What an object's marks mean on a platform: the CPU that its toolchain built it for, what it carries, and the
//! kernel that its start code asks for.
//!
//! Sources: Go's `runtime/asm_amd64.s` (the check of GOAMD64 at start, exit 1) and "Minimum requirements"
//! (<https://go.dev/wiki/MinimumRequirements>); glibc's `csu/libc-start.c` before 2.36.

use crate::elf::{IsaLevel, Machine};
use crate::host::Platform;
use crate::loader::{Environment, Facts, Load, Problem};

/// The x86-64 level that a setting of Go's toolchain asks for.
pub(super) fn level(setting: &str) -> Option<IsaLevel> {
    IsaLevel::from_name(&format!("x86-64-{}", setting.strip_prefix("GOAMD64=")?))
}

/// The levels that an object needs: by its property note, and by the settings of its toolchain.
pub(super) fn isa(property: Option<IsaLevel>, settings: &[String]) -> Option<IsaLevel> {
    let settings = settings.iter().filter_map(|setting| level(setting));
    settings.chain(property).reduce(|one, other| IsaLevel(one.0 | other.0))
}

/// The setting that is the reason for the highest level that an object needs.
pub(super) fn reason(facts: &Facts) -> Option<&String> {
    facts.cpu.iter().find(|setting| {
        let level = level(setting).map(IsaLevel::highest);
        level.is_some() && level == facts.isa.map(IsaLevel::highest)
    })
}

/// Adds what the marks of the loaded objects mean here.
pub(super) fn check(load: &mut Load, environment: &Environment) {
    let mut problems = Vec::new();
    for object in &load.objects {
        let shown = || object.shown.clone();
        if let Some(packer) = &object.facts.packed_by {
            problems.push(Problem::Packed { object: shown(), packer: packer.clone() });
        }
        let unknown = object.facts.cpu.iter().filter(|setting| !is_known(setting, &environment.platform));
        problems
            .extend(unknown.map(|setting| Problem::CpuUnknown { object: shown(), wanted: setting.clone() }));
    }
    load.problems.extend(problems);
}

/// Whether it is known if the CPU of a platform has what a setting asks for; x86-64 levels are compared
/// elsewhere.
fn is_known(setting: &str, platform: &Platform) -> bool {
    let name = setting.split('=').next().unwrap_or_default();
    match name {
        "GOAMD64" => platform.isa.is_some() && level(setting).is_some(),
        // Every 64-bit CPU has what its 32-bit ancestors may have.
        "GO386" => platform.machine == Machine::X86_64,
        "GOARM" => platform.machine == Machine::AARCH64,
        _ => false,
    }
}
