//! Checks whether the kernel and the dynamic loader can map an object's segments.
//!
//! Source: `load_elf_binary` and `elf_load` in the kernel's `fs/binfmt_elf.c`; `_dl_map_object_from_fd` in
//! glibc's `elf/dl-load.c`, `_dl_map_segments` in `elf/dl-map-segments.h`, `_dl_protect_relro` in
//! `elf/dl-reloc.c`; musl's `map_library` in `ldso/dynlink.c`. A document contains the segments of an object
//! only if this module reports a problem with them on some host ([`is_usual`]).
//!
//! The kernel and musl check few properties of a program's segments. If they map a segment wrongly, a signal
//! kills the program.

use crate::elf::{Class, KernelVersion, Layout, Machine, Role, Segment};
use crate::host::{DynamicLoader, Platform};
use crate::loader::{Facts, Form, Load, Problem};

/// The lowest address that the kernel maps on request (`vm.mmap_min_addr`, as distributions set it).
const LOWEST_ADDRESS: u64 = 65536;
/// The maximum size of the program headers that the kernel reads, in bytes.
const MOST_HEADERS: usize = 65536;
/// `PATH_MAX`: the maximum length of an interpreter's name, including its NUL.
const LONGEST_INTERPRETER: u64 = 4096;
/// A limit on the memory at the start of a program, above the memory of any machine.
const MOST_MEMORY: u64 = 1 << 39;
/// A limit on contiguous free addresses.
const MOST_ADDRESSES: u64 = 1 << 45;
/// Since this kernel, segments may be in any order, and `AT_PHDR` is searched in them.
const KERNEL_OF_ANY_ORDER: KernelVersion = KernelVersion(5, 18, 0);

/// The requirements of a loader for the objects that it handles.
#[derive(Clone, Copy, Debug)]
struct Demands {
    /// The loader does not write to a dynamic section that is declared constant.
    constant_dynamic: bool,
}

impl Demands {
    /// The requirements of every loader.
    const STRICT: Self = Self { constant_dynamic: false };

    fn of(loader: &DynamicLoader) -> Self {
        Self { constant_dynamic: !loader.is_older_than(2, 35) }
    }
}

/// The fault in the segments of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The reason.
    pub reason: &'static str,
    /// The object is refused instead of mapped wrongly.
    pub refused: bool,
}

impl Objection {
    fn refused(reason: &'static str) -> Self {
        Self { reason, refused: true }
    }

    fn crash(reason: &'static str) -> Self {
        Self { reason, refused: false }
    }
}

/// A judgement for every page size that the host may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// No fault was found.
    Fine,
    /// The object is faulty on the host.
    Wrong(Objection),
    /// The object is faulty on hosts with pages of this size, and the host's page size is not known.
    Depends(Objection, u64),
}

impl Judgement {
    fn of(platform: &Platform, judge: impl Fn(u64) -> Option<Objection>) -> Self {
        let sizes = platform.page_sizes();
        let mut wrong = sizes.iter().filter_map(|page| Some((judge(*page)?, *page)));
        match wrong.next() {
            None => Self::Fine,
            Some((objection, page)) if wrong.count() + 1 < sizes.len() => Self::Depends(objection, page),
            Some((objection, _)) => Self::Wrong(objection),
        }
    }

    /// Returns the problem of the object that is shown as `object`.
    pub(super) fn problem(&self, object: &str) -> Option<Problem> {
        let problem = |objection: Objection, page_size| Problem::SegmentsUnusable {
            object: object.to_owned(),
            reason: objection.reason.to_owned(),
            refused: objection.refused,
            page_size,
        };
        match self {
            Self::Fine => None,
            Self::Wrong(objection) => Some(problem(*objection, None)),
            Self::Depends(objection, page) => Some(problem(*objection, Some(*page))),
        }
    }
}

/// Returns a segment's first page and the end of its last page.
fn pages(segment: &Segment, page: u64) -> (u64, u64) {
    let end = segment.address.saturating_add(segment.memory_size);
    (segment.address & !(page - 1), end.saturating_add(page - 1) & !(page - 1))
}

fn is_shifted(segment: &Segment, page: u64) -> bool {
    !segment.address.wrapping_sub(segment.offset).is_multiple_of(page)
}

/// Returns the number of bytes in memory that are not in the file.
fn zeroes(layout: &Layout) -> u64 {
    let of_segment = |segment: &Segment| segment.memory_size.saturating_sub(segment.file_size);
    layout.loads().map(of_segment).fold(0, u64::saturating_add)
}

fn is_ascending(layout: &Layout) -> bool {
    layout.loads().is_sorted_by_key(|segment| segment.address)
}

/// Returns the first address after those that programs may use.
fn end_of_memory(machine: Machine, class: Class) -> u64 {
    match (class, machine) {
        (Class::Elf32, _) => 0xffff_e000,
        (Class::Elf64, Machine::X86_64) => 0x7fff_ffff_f000,
        (Class::Elf64, _) => 1 << 48,
    }
}

/// Judges a program, or its interpreter, as the kernel does before it runs.
pub(super) fn of_kernel(facts: &Facts, platform: &Platform) -> Judgement {
    let Some(layout) = &facts.layout else { return Judgement::Fine };
    Judgement::of(platform, |page| by_kernel(layout, facts, page, platform.kernel))
}

fn by_kernel(layout: &Layout, facts: &Facts, page: u64, kernel: Option<KernelVersion>) -> Option<Objection> {
    let entry = if facts.class == Class::Elf64 { 56 } else { 32 };
    let is_short = |segment: &Segment| !(2..=LONGEST_INTERPRETER).contains(&segment.file_size);
    let interpreter = layout.segments.iter().find(|segment| segment.role == Role::Interpreter);
    let is_32_bit_only = matches!(facts.machine, Machine::I386 | Machine::ARM);
    let is_64_bit_only = facts.machine == Machine::AARCH64;
    let is_other_class = match facts.class {
        Class::Elf64 => is_32_bit_only,
        Class::Elf32 => is_64_bit_only,
    };
    if is_other_class
        || layout.count == 0
        || usize::from(layout.count) * entry > MOST_HEADERS
        || interpreter.is_some_and(is_short)
    {
        return Some(Objection::refused("Exec format error"));
    }
    let is_fixed = facts.form == Form::FixedExecutable;
    let end = end_of_memory(facts.machine, facts.class);
    // The kernel leaves a third of the addresses to objects that can be anywhere.
    let end = if is_fixed || facts.interpreter.is_none() { end } else { end / 3 };
    let objection = |segment: &Segment| {
        let is_behind = segment.address.checked_add(segment.memory_size).is_none_or(|last| last > end);
        match () {
            () if is_shifted(segment, page) => {
                Some("the address and the file offset of a segment differ within a page")
            }
            () if segment.file_size > segment.memory_size => {
                Some("a segment is longer in the file than in memory")
            }
            () if is_behind => Some("a segment is outside the address space"),
            () if is_fixed && segment.address < LOWEST_ADDRESS => {
                Some("a segment is below the lowest address that may be mapped")
            }
            () => None,
        }
    };
    if let Some(reason) = layout.loads().find_map(objection) {
        return Some(Objection::refused(reason));
    }
    let reason = match () {
        () if layout.loads().next().is_none() => "it has no loadable segment",
        () if zeroes(layout) >= MOST_MEMORY => "Cannot allocate memory",
        () if !is_ascending(layout) && kernel.is_some_and(|kernel| kernel < KERNEL_OF_ANY_ORDER) => {
            "its segments are not in ascending order, which kernels before 5.18 cannot map"
        }
        () => return None,
    };
    Some(Objection::refused(reason))
}

/// Judges a dynamic loader's own file: the kernel maps it, and it applies its own relocations.
pub(super) fn of_interpreter(facts: &Facts, platform: &Platform) -> Judgement {
    let Some(layout) = &facts.layout else { return Judgement::Fine };
    Judgement::of(platform, |page| {
        let by_kernel = by_kernel(layout, facts, page, platform.kernel);
        let begins = || (!is_executable(layout)).then_some("its entry point is not in an executable segment");
        let crash = || begins().or_else(|| in_mapping(layout, true, page)).map(Objection::crash);
        by_kernel.or_else(crash).or_else(|| for_loader(layout, facts, Demands::STRICT, page))
    })
}

/// Returns whether the entry point is code.
fn is_executable(layout: &Layout) -> bool {
    let holds = |segment: &&Segment| {
        let inside = layout.entry.checked_sub(segment.address);
        inside.is_some_and(|inside| inside < segment.file_size)
    };
    layout.loads().filter(holds).any(|segment| segment.flags & Segment::EXECUTE != 0)
}

/// Returns the message of glibc's loader about a library before it maps it.
pub(super) fn of_glibc(facts: &Facts, is_old: bool, platform: &Platform) -> Judgement {
    let Some(layout) = &facts.layout else { return Judgement::Fine };
    Judgement::of(platform, |page| by_glibc(layout, is_old, page).map(Objection::refused))
}

fn by_glibc(layout: &Layout, is_old: bool, page: u64) -> Option<&'static str> {
    let is_unaligned = |segment: &Segment| segment.alignment & (page - 1) != 0;
    let is_askew = |segment: &Segment| {
        segment.address.wrapping_sub(segment.offset) & segment.alignment.wrapping_sub(1) != 0
    };
    let objection = |segment: &Segment| match () {
        () if is_old && is_unaligned(segment) => Some("ELF load command alignment not page-aligned"),
        () if is_old && is_askew(segment) => Some("ELF load command address/offset not properly aligned"),
        () if !is_old && is_shifted(segment, page) => {
            Some("ELF load command address/offset not page-aligned")
        }
        () => None,
    };
    if let Some(words) = layout.loads().find_map(objection) {
        return Some(words);
    }
    let Some(reserved) = Reserved::of(layout, page) else {
        return Some("object file has no loadable segments");
    };
    let powers = layout.loads().map(|segment| segment.alignment).filter(|size| size.is_power_of_two());
    let alignment = if is_old { 0 } else { powers.max().unwrap_or(0) };
    match () {
        () if alignment.saturating_add(reserved.length) >= MOST_ADDRESSES || reserved.length == 0 => {
            Some("failed to map segment from shared object")
        }
        () if layout.loads().any(|segment| reserved.outside(segment, page) >= MOST_MEMORY) => {
            Some("failed to map segment from shared object")
        }
        () if reserved.has_holes && reserved.last < reserved.first_end && is_old => {
            Some("cannot change memory protections")
        }
        () if reserved.has_holes && reserved.last < reserved.first_end => {
            Some("ELF load command address/offset not page-aligned")
        }
        () if zeroes(layout) >= MOST_MEMORY => Some("cannot map zero-fill pages"),
        () => None,
    }
}

/// The addresses that the loader reserves for a library, from its first segment to the end of its last one.
struct Reserved {
    start: u64,
    length: u64,
    /// The end of the first segment's pages in the file.
    first_end: u64,
    /// The first page of the last segment.
    last: u64,
    has_holes: bool,
}

impl Reserved {
    fn of(layout: &Layout, page: u64) -> Option<Self> {
        let (first, last) = (layout.loads().next()?, layout.loads().last()?);
        let start = first.address & !(page - 1);
        let in_file =
            |segment: &Segment| pages(&Segment { memory_size: segment.file_size, ..*segment }, page);
        let mut ends = layout.loads().map(in_file);
        let mut before = ends.next()?.1;
        let has_holes = ends.any(|(first, end)| std::mem::replace(&mut before, end) != first);
        Some(Self {
            start,
            length: last.address.wrapping_add(last.memory_size).wrapping_sub(start),
            first_end: in_file(first).1,
            last: last.address & !(page - 1),
            has_holes,
        })
    }

    /// Returns how far a segment's pages are outside, in bytes.
    fn outside(&self, segment: &Segment, page: u64) -> u64 {
        let (first, end) = pages(segment, page);
        let reserved = self.start.saturating_add(self.length).saturating_add(page - 1) & !(page - 1);
        self.start.saturating_sub(first).max(end.saturating_sub(reserved))
    }
}

/// Adds the faults in the segments of loaded objects that were not reported before.
pub(super) fn check(load: &mut Load, loader: Option<&DynamicLoader>, platform: &Platform) {
    let mut problems = Vec::new();
    for (index, object) in load.objects.iter().enumerate() {
        let facts = &object.facts;
        if facts.has_unknown {
            problems.push(Problem::ObjectUnknown { object: object.shown.clone() });
        }
        let Some(layout) = &facts.layout else { continue };
        let is_program = index == 0 && facts.is_program();
        let mapped = match (is_program, loader) {
            (true, _) => of_kernel(facts, platform),
            (false, Some(loader)) if !loader.is_musl() => {
                of_glibc(facts, loader.is_older_than(2, 35), platform)
            }
            (false, _) => Judgement::Fine,
        };
        let used = Judgement::of(platform, |page| {
            let musl = loader.is_some_and(DynamicLoader::is_musl);
            if musl && !is_program && zeroes(layout) >= MOST_MEMORY {
                return Some(Objection::refused("Out of memory"));
            }
            let shifted = |segment: &Segment| !is_program && musl && is_shifted(segment, page);
            if layout.loads().any(shifted) {
                return Some(Objection::crash(
                    "musl maps a segment at a different address than its link address",
                ));
            }
            if is_program && let Some(reason) = in_program(layout, facts, platform.kernel) {
                return Some(Objection::crash(reason));
            }
            let mapped = in_mapping(layout, is_program, page).map(Objection::crash);
            mapped.or_else(|| for_loader(layout, facts, Demands::of(loader?), page))
        });
        // A library without a program was judged before it was loaded.
        let is_told = index == 0 && !is_program && matches!(mapped, Judgement::Wrong(_));
        let problem = mapped.problem(&object.shown).or_else(|| used.problem(&object.shown));
        let problem = problem.filter(|_| !is_told);
        problems.extend(problem);
    }
    load.problems.extend(problems);
}

/// Returns the fault that stops a program before or at its entry point.
fn in_program(layout: &Layout, facts: &Facts, kernel: Option<KernelVersion>) -> Option<&'static str> {
    let is_executable = is_executable(layout);
    if facts.interpreter.is_none() && !facts.needed.is_empty() {
        return Some("it needs libraries but names no dynamic loader");
    }
    if facts.interpreter.is_none() {
        return (!is_executable).then_some("its entry point is not in an executable segment");
    }
    if !facts.has_dynamic_section {
        return Some("it names a dynamic loader but has no dynamic section");
    }
    let Some(headers) = address_of_headers(layout, facts.class, kernel) else {
        return Some("its program headers are not in a loadable segment");
    };
    match layout.last(Role::Headers) {
        Some(segment) if segment.address != headers => {
            Some("the address of its program headers differs from PT_PHDR")
        }
        None if facts.form != Form::FixedExecutable => Some("PT_PHDR is missing"),
        _ => (!is_executable).then_some("its entry point is not in an executable segment"),
    }
}

/// Returns the address that the kernel passes for the program headers (`AT_PHDR`).
fn address_of_headers(layout: &Layout, class: Class, kernel: Option<KernelVersion>) -> Option<u64> {
    let entry = if class == Class::Elf64 { 56 } else { 32 };
    let size = u64::from(layout.count) * entry;
    let address = match kernel {
        Some(kernel) if kernel < KERNEL_OF_ANY_ORDER => {
            let first = layout.loads().next()?;
            first.address.wrapping_sub(first.offset).wrapping_add(layout.table)
        }
        _ => {
            let holds = |segment: &&Segment| {
                let inside = layout.table.checked_sub(segment.offset);
                inside.is_some_and(|inside| inside < segment.file_size)
            };
            let segment = layout.loads().find(holds)?;
            segment.address.wrapping_add(layout.table - segment.offset)
        }
    };
    let is_mapped = |segment: &Segment| {
        let inside = address.checked_sub(segment.address);
        inside.is_some_and(|inside| inside.saturating_add(size) <= segment.file_size) && segment.flags != 0
    };
    layout.loads().any(is_mapped).then_some(address)
}

/// Returns the fault that stops an object of a loader after it is mapped.
fn for_loader(layout: &Layout, facts: &Facts, demands: Demands, page: u64) -> Option<Objection> {
    let mut ranges: Vec<(u64, u64)> = layout.loads().map(|segment| pages(segment, page)).collect();
    ranges.sort_unstable();
    if let (false, Some((first, _)), Some(last)) =
        (facts.is_program(), ranges.first().copied(), ranges.iter().map(|(_, end)| *end).max())
    {
        // The loader also reserves the space between the segments of a library.
        ranges = vec![(first, last)];
    }
    if let Some(dynamic) = layout.last(Role::Dynamic).filter(|_| facts.has_dynamic_section) {
        let holds = |load: &&Segment| {
            let inside = dynamic.address.checked_sub(load.address);
            inside.is_some_and(|inside| inside < load.memory_size)
        };
        let is_writable = layout.loads().find(holds).is_some_and(|load| load.flags & Segment::WRITE != 0);
        let may_be_constant = demands.constant_dynamic && dynamic.flags & Segment::WRITE == 0;
        if !is_writable && !may_be_constant {
            return Some(Objection::crash("its dynamic section is not in a writable segment"));
        }
    }
    let name = layout.last(Role::Interpreter).filter(|_| facts.is_program());
    if name.is_some_and(|name| !is_covered(&ranges, name.address, 1)) {
        return Some(Objection::crash("the name of its dynamic loader is not in a segment"));
    }
    let tls = layout.last(Role::Tls).filter(|tls| tls.file_size > 0);
    if tls.is_some_and(|tls| !is_covered(&ranges, tls.address, tls.file_size)) {
        return Some(Objection::crash("the initial values of its thread-local storage are not in a segment"));
    }
    let relro = layout.last(Role::Relro)?;
    let end = relro.address.saturating_add(relro.memory_size) & !(page - 1);
    let start = relro.address & !(page - 1);
    let is_mapped = start >= end || is_covered(&ranges, start, end - start);
    (!is_mapped).then_some(Objection::refused("cannot apply additional memory protection after relocation"))
}

/// Returns whether sorted ranges cover another range without a gap.
fn is_covered(ranges: &[(u64, u64)], address: u64, length: u64) -> bool {
    let Some(end) = address.checked_add(length) else { return false };
    let reach = |here: u64, (first, last): &(u64, u64)| if *first <= here { here.max(*last) } else { here };
    ranges.iter().fold(address, reach) >= end
        && ranges.iter().any(|(first, last)| (first..last).contains(&&address))
}

/// Returns a fault in the mapping that does not depend on the loader.
fn in_mapping(layout: &Layout, is_program: bool, page: u64) -> Option<&'static str> {
    let is_closed = |segment: &Segment| segment.flags == 0 && segment.file_size > 0;
    let is_filled = |segment: &Segment| {
        let is_code = segment.flags & Segment::WRITE == 0 && segment.flags & Segment::EXECUTE != 0;
        is_code && segment.memory_size > segment.file_size
    };
    let is_outside = || {
        let reserved = Reserved::of(layout, page).filter(|_| !is_program);
        reserved.is_some_and(|reserved| layout.loads().any(|segment| reserved.outside(segment, page) > 0))
    };
    match () {
        () if layout.loads().any(is_closed) => Some("a segment has no read, write or execute permission"),
        () if !is_program && layout.loads().any(is_filled) => {
            Some("the end of a code segment is overwritten with zeroes")
        }
        () if is_outside() => Some("a segment is outside the addresses reserved for the library"),
        () if !is_program && layout.loads().last().is_some_and(|last| last.file_size > last.memory_size) => {
            Some("its last segment is longer in the file than in memory")
        }
        () => shared_pages(layout, page),
    }
}

/// Returns a fault if two segments share a page: the later one replaces the content of the earlier one.
fn shared_pages(layout: &Layout, page: u64) -> Option<&'static str> {
    let mut known: Option<&Segment> = None;
    let mut sorted: Vec<&Segment> = layout.loads().filter(|segment| segment.memory_size > 0).collect();
    sorted.sort_by_key(|segment| segment.address);
    for segment in sorted {
        if let Some(before) = known
            && pages(before, page).1 > pages(segment, page).0
        {
            let is_same =
                before.address.wrapping_sub(before.offset) == segment.address.wrapping_sub(segment.offset);
            let is_harmless = is_same
                && before.file_size == before.memory_size
                && segment.flags & before.flags == before.flags;
            if !is_harmless {
                return Some("two segments share a page");
            }
        }
        let is_further = known.is_none_or(|before| pages(segment, page).1 >= pages(before, page).1);
        known = if is_further { Some(segment) } else { known };
    }
    None
}

/// Returns whether every kernel and every loader for its machine maps an object as intended. A document then
/// omits its segments.
pub(crate) fn is_usual(facts: &Facts) -> bool {
    let Some(layout) = &facts.layout else { return true };
    let old = Some(KernelVersion(0, 0, 0));
    let is_dynamic = facts.interpreter.is_some() || !facts.is_program();
    facts.machine.page_sizes().iter().all(|page| {
        let starts = |kernel: &Option<KernelVersion>| {
            by_kernel(layout, facts, *page, *kernel).is_none() && in_program(layout, facts, *kernel).is_none()
        };
        let is_started = !facts.is_program() || [None, old].iter().all(starts);
        let is_loaded = |is_old| by_glibc(layout, is_old, *page).is_none();
        let is_loaded = facts.form != Form::Library || (is_loaded(true) && is_loaded(false));
        let begins = !facts.is_executed() || is_executable(layout);
        is_started
            && is_loaded
            && begins
            && in_mapping(layout, facts.is_program(), *page).is_none()
            && (!is_dynamic || for_loader(layout, facts, Demands::STRICT, *page).is_none())
    })
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
