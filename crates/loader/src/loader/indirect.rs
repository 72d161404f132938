//! References of libraries to indirect functions of the program (`STT_GNU_IFUNC`). Libraries are relocated
//! before the program, so the function that returns the address cannot run yet, and glibc aborts the start.
//!
//! Source: `elf_machine_rela` in glibc's `sysdeps/x86_64/dl-machine.h` and `sysdeps/i386/dl-machine.h`. On
//! other machines, the function is called nevertheless.

use crate::elf::{Import, Machine, Wanted};
use crate::host::DynamicLoader;
use crate::loader::effort::Budget;
use crate::loader::{Effort, Load, LoadedObject, Problem};
use compat_sys::raw;

/// Adds a problem for each reference of a library to such a function.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader, budget: &Budget) {
    let Some((program, _)) = load.objects.split_first() else { return };
    let is_checked = matches!(program.facts.machine, Machine::X86_64 | Machine::I386);
    if loader.is_musl() || !is_checked || !program.facts.is_program() {
        return;
    }
    let functions = program.facts.indirect_functions();
    if functions.is_empty() {
        return;
    }
    let mut problems = Vec::new();
    for index in load.relocated((1..load.global).collect()) {
        let object = &load.objects[index];
        if !budget.spend(Effort::Symbols, 1 + object.facts.import_count() / 4) {
            return;
        }
        let imports = object.facts.imports().into_iter().chain(object.facts.own_references());
        for import in imports.filter(|import| functions.contains(import.name)) {
            if !budget.spend(Effort::Symbols, 8 + import.name.len() / 8) {
                return;
            }
            if is_bound_to(program, object, &import) {
                problems.push(Problem::IndirectFunctionOfProgram {
                    symbol: raw::string(import.name),
                    program: program.shown.clone(),
                    wanted_by: object.shown.clone(),
                    lazy: import.uses.is_lazy() && !object.facts.flags.bind_now,
                });
            }
        }
    }
    load.problems.extend(problems);
}

/// Returns whether a reference is bound to the program, which comes first except for symbolic libraries.
fn is_bound_to(program: &LoadedObject, object: &LoadedObject, import: &Import<'_>) -> bool {
    let wanted = Wanted::of(import);
    let is_own = import.protected || (object.facts.flags.symbolic && object.facts.satisfies(&wanted));
    !is_own && program.facts.satisfies(&wanted)
}
