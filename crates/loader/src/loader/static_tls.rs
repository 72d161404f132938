//! Static thread-local memory for libraries that are opened at run time. Their variables are referred to with a
//! fixed distance from the thread pointer (initial-exec), although the libraries were not present at the start.
//!
//! glibc reserves a surplus of 1664 bytes for them and rounds it up together with the program's own memory.
//! musl reserves none. Sources: `_dl_try_allocate_static_tls` in glibc's `elf/dl-reloc.c`,
//! `_dl_tls_static_surplus_init` and `_dl_determine_tlsoffset` in `elf/dl-tls.c`; `do_relocs` in musl's
//! `ldso/dynlink.c`. The tunables `glibc.rtld.nns` and `glibc.rtld.optional_static_tls` are assumed to have
//! their defaults.

use std::collections::HashSet;

use crate::elf::{Machine, ThreadLocal};
use crate::host::DynamicLoader;
use crate::loader::effort::Budget;
use crate::loader::{Effort, Load, Problem};
use compat_sys::raw;

/// The surplus that glibc adds to the static memory of the start, in bytes.
const SURPLUS: u64 = 1664;
/// The maximum part of it that descriptors use (`glibc.rtld.optional_static_tls`).
const OPTIONAL: u64 = 512;
/// The minimum alignment to which the surplus of a start is rounded up (`TLS_TCB_ALIGN`).
const USUAL_ALIGNMENT: u64 = 64;
/// The static memory that restartable sequences use since glibc 2.41.
const SEQUENCES: u64 = 32;

/// Adds a problem for each object whose variables do not fit. `opened` contains the first object of each
/// dlopen(3), in their order.
pub(super) fn check(load: &mut Load, loader: &DynamicLoader, opened: &[usize], budget: &Budget) {
    let mut problems = Vec::new();
    let mut places = Places::of(load, loader);
    let mut placed = HashSet::new();
    for (number, first) in opened.iter().enumerate() {
        let end = opened.get(number + 1).copied().unwrap_or(load.objects.len());
        // The last loaded object is relocated first. musl begins with the first.
        let order: Vec<usize> =
            if loader.is_musl() { (*first..end).collect() } else { load.relocated((*first..end).collect()) };
        for index in order {
            for target in targets(load, index, budget) {
                if target.0 < load.global || !placed.insert(target.0) {
                    continue;
                }
                problems.extend(place(load, index, target, loader, &mut places));
            }
        }
    }
    load.problems.extend(problems);
}

/// Returns the objects whose variables an object refers to, each with one of the symbols, if it has a name.
fn targets(load: &Load, index: usize, budget: &Budget) -> Vec<(usize, Option<String>)> {
    let wanted = load.objects[index].facts.initial_exec();
    let mut targets: Vec<(usize, Option<String>)> = wanted.own.then_some((index, None)).into_iter().collect();
    for symbol in &wanted.symbols {
        // Each object may be searched twice.
        if !budget.spend(Effort::Symbols, 16 + 4 * load.objects.len()) {
            break;
        }
        if let Some(provider) = load.first_definition(index, &raw::bytes(symbol)) {
            targets.push((provider, Some(symbol.clone())));
        }
    }
    targets
}

fn place(
    load: &Load,
    index: usize,
    (target, symbol): (usize, Option<String>),
    loader: &DynamicLoader,
    places: &mut Places,
) -> Option<Problem> {
    let object = &load.objects[target];
    let own = object.facts.thread_local?;
    let problem = |available, undecided| Problem::StaticTlsFull {
        object: object.shown.clone(),
        wanted_by: load.objects[index].shown.clone(),
        symbol: symbol.clone(),
        size: own.size,
        available,
        undecided,
    };
    if loader.is_musl() {
        return Some(problem(None, false));
    }
    let before = places.least.free;
    let fits = places.least.take(own, places.alignment);
    let may_fit = places.most.take(own, places.alignment);
    (!fits).then(|| problem(Some(before), may_fit))
}

/// The remaining static memory, as a minimum and a maximum.
struct Places {
    least: FreeRoom,
    most: FreeRoom,
    /// The largest alignment of the start.
    alignment: u64,
}

/// The remaining static memory.
#[derive(Clone, Copy)]
struct FreeRoom {
    free: u64,
}

impl FreeRoom {
    /// Takes memory for the variables of an object and returns whether there was enough.
    fn take(&mut self, own: ThreadLocal, largest: u64) -> bool {
        let wanted = own.size.saturating_add(own.first_byte);
        let Some(rest) = self.free.checked_sub(wanted).filter(|_| own.alignment <= largest) else {
            return false;
        };
        self.free = (rest / own.alignment * own.alignment).saturating_add(own.first_byte).min(self.free);
        true
    }
}

impl Places {
    fn of(load: &Load, loader: &DynamicLoader) -> Self {
        let (start, opened) = load.objects.split_at(load.global);
        let own = || start.iter().filter_map(|object| object.facts.thread_local);
        let alignment = own().map(|own| own.alignment).max().unwrap_or(1).max(USUAL_ALIGNMENT);
        let is_known = start.iter().all(|object| !object.facts.names_only);
        let machine = start.first().map(|program| program.facts.machine);
        let is_below = matches!(machine, Some(Machine::X86_64 | Machine::I386 | Machine::S390));
        let mut used = size_below_thread_pointer(own());
        let mut most = SURPLUS + alignment - 1;
        let mut least = SURPLUS;
        if !loader.is_older_than(2, 41) {
            used = used.checked_next_multiple_of(SEQUENCES).unwrap_or(used).saturating_add(SEQUENCES);
        }
        if is_below && is_known {
            let rounded = used.saturating_add(SURPLUS).checked_next_multiple_of(alignment);
            most = rounded.map_or(SURPLUS, |rounded| rounded - used);
            // The size that a kernel needs for its restartable sequences can change.
            least = if loader.is_older_than(2, 41) { most } else { SURPLUS };
        }
        if opened.iter().any(|object| object.facts.initial_exec().descriptors) {
            least = least.saturating_sub(if loader.is_older_than(2, 32) { least } else { OPTIONAL });
        }
        Self { least: FreeRoom { free: least }, most: FreeRoom { free: most }, alignment }
    }
}

/// Returns the size of the start's variables in bytes if they are below the thread pointer: one after the
/// other, or in gaps from alignment if they fit.
fn size_below_thread_pointer(all: impl Iterator<Item = ThreadLocal>) -> u64 {
    let (mut offset, mut free_top, mut free_bottom) = (0_u64, 0_u64, 0_u64);
    for ThreadLocal { size, alignment, first_byte } in all {
        let first_byte = first_byte.wrapping_neg() & (alignment.wrapping_sub(1));
        let place = |after: u64| {
            let end = after.saturating_add(size).saturating_sub(first_byte);
            end.checked_next_multiple_of(alignment).unwrap_or(u64::MAX).saturating_add(first_byte)
        };
        if free_bottom.saturating_sub(free_top) >= size {
            let end = place(free_top);
            if end <= free_bottom {
                free_top = end;
                continue;
            }
        }
        let end = place(offset);
        if end > offset.saturating_add(size).saturating_add(free_bottom.saturating_sub(free_top)) {
            (free_top, free_bottom) = (offset, end.saturating_sub(size));
        }
        offset = end;
    }
    offset
}
