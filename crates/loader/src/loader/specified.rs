//! The facts of an object without its symbols, from a document and into one.

use crate::elf::{self, Dependency, DependencyKind, IdentificationFault, Layout, Role, Segment};
use crate::spec::{self, Identification, ObjectFlag, SegmentRole};

/// Returns whether a document says something about an object that this version does not understand and that may
/// prevent it from being loaded.
pub(super) fn has_unknown(object: &spec::Object) -> bool {
    let segments = object.layout.iter().flat_map(|layout| &layout.segments);
    object.flags.contains(&ObjectFlag::Unknown)
        || object.identification == Some(Identification::Unknown)
        || segments.into_iter().any(|segment| segment.role == SegmentRole::Unknown)
}

pub(super) fn specified_identification(stated: Identification) -> Option<IdentificationFault> {
    match stated {
        Identification::Version => Some(IdentificationFault::Version),
        Identification::AbiVersion => Some(IdentificationFault::AbiVersion),
        Identification::Padding => Some(IdentificationFault::Padding),
        Identification::FileVersion => Some(IdentificationFault::FileVersion),
        Identification::Unknown => None,
    }
}

/// The flags of a segment by their letters.
const FLAGS: [(char, u32); 3] = [('r', Segment::READ), ('w', Segment::WRITE), ('x', Segment::EXECUTE)];

pub(super) fn specified_layout(stated: &spec::Layout) -> Layout {
    let role = |role| match role {
        SegmentRole::Load => Some(Role::Load),
        SegmentRole::Dynamic => Some(Role::Dynamic),
        SegmentRole::Interpreter => Some(Role::Interpreter),
        SegmentRole::Headers => Some(Role::Headers),
        SegmentRole::Tls => Some(Role::Tls),
        SegmentRole::Relro => Some(Role::Relro),
        SegmentRole::Unknown => None,
    };
    let segment = |segment: &spec::Segment| {
        let flags = FLAGS.iter().filter(|(letter, _)| segment.flags.contains(*letter));
        Some(elf::Segment {
            role: role(segment.role)?,
            flags: flags.fold(0, |all, (_, flag)| all | flag),
            offset: segment.offset,
            address: segment.address,
            file_size: segment.file_size,
            memory_size: segment.memory_size,
            alignment: segment.alignment,
        })
    };
    let segments = stated.segments.iter().filter_map(segment).collect();
    Layout { entry: stated.entry, table: stated.table, count: stated.count, segments }
}

/// Converts a fault in the first bytes to the form of a document.
pub(crate) fn specify_identification(fault: IdentificationFault) -> Identification {
    match fault {
        IdentificationFault::Version => Identification::Version,
        IdentificationFault::AbiVersion => Identification::AbiVersion,
        IdentificationFault::Padding => Identification::Padding,
        IdentificationFault::FileVersion => Identification::FileVersion,
    }
}

pub(super) fn specified_thread_local(stated: &spec::ThreadLocal) -> Option<elf::ThreadLocal> {
    let alignment = stated.alignment.max(1);
    (stated.size > 0).then_some(elf::ThreadLocal {
        size: stated.size,
        alignment,
        first_byte: stated.first_byte,
    })
}

pub(super) fn specified_initial_exec(object: &spec::Object) -> elf::InitialExec {
    object.thread_local.as_ref().map_or_else(elf::InitialExec::default, |stated| elf::InitialExec {
        own: stated.initial_exec,
        symbols: stated.initial_exec_symbols.clone(),
        descriptors: stated.descriptors,
    })
}

/// The letters of a document for the kinds of dependencies, in the order in which ld writes the entries.
const DEPENDENCIES: [(char, DependencyKind); 3] =
    [('n', DependencyKind::Needed), ('f', DependencyKind::Filter), ('a', DependencyKind::Auxiliary)];

pub(super) fn specified_dependencies(object: &spec::Object) -> Vec<Dependency> {
    let mut left = [&object.needed, &object.filter, &object.auxiliary].map(|names| names.iter());
    let mut dependencies = Vec::new();
    for letter in object.dependency_order.iter().flat_map(|order| order.chars()) {
        let place = DEPENDENCIES.iter().position(|(known, _)| *known == letter);
        let named = place.and_then(|place| Some((left[place].next()?, DEPENDENCIES[place].1)));
        dependencies.extend(named.map(|(name, kind)| Dependency { name: name.clone(), kind }));
    }
    for (names, (_, kind)) in left.into_iter().zip(DEPENDENCIES) {
        dependencies.extend(names.map(|name| Dependency { name: name.clone(), kind }));
    }
    dependencies
}

/// Returns the order of the entries in the form of a document, or `None` if it is the usual one.
pub(crate) fn specify_dependency_order(dependencies: &[Dependency]) -> Option<String> {
    let place = |dependency: &Dependency| DEPENDENCIES.iter().position(|(_, kind)| *kind == dependency.kind);
    let letters = dependencies.iter().filter_map(place).map(|place| DEPENDENCIES[place].0);
    (!dependencies.is_sorted_by_key(place)).then(|| letters.collect())
}

pub(super) fn specified_versions(object: &spec::Object) -> Vec<(String, Vec<(String, bool)>)> {
    let of_library = |need: &spec::LibraryNeed| {
        let versions = need.versions.iter().map(|need| (need.version.clone(), need.optional));
        (need.library.clone(), versions.collect())
    };
    object.wants.iter().map(of_library).collect()
}

/// Converts segments to the form of a document.
pub(crate) fn specify_layout(layout: &Layout) -> spec::Layout {
    let segment = |segment: &Segment| {
        let flags = FLAGS.iter().filter(|(_, flag)| segment.flags & flag != 0);
        spec::Segment {
            role: match segment.role {
                Role::Load => SegmentRole::Load,
                Role::Dynamic => SegmentRole::Dynamic,
                Role::Interpreter => SegmentRole::Interpreter,
                Role::Headers => SegmentRole::Headers,
                Role::Tls => SegmentRole::Tls,
                Role::Relro => SegmentRole::Relro,
            },
            flags: flags.map(|(letter, _)| letter).collect(),
            offset: segment.offset,
            address: segment.address,
            file_size: segment.file_size,
            memory_size: segment.memory_size,
            alignment: segment.alignment,
        }
    };
    let segments = layout.segments.iter().map(segment).collect();
    spec::Layout { entry: layout.entry, table: layout.table, count: layout.count, segments }
}
