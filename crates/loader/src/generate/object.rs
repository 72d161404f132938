//! Converts the facts of one object to the form of the specification.

use std::collections::{BTreeMap, HashSet};

use crate::elf::{DependencyKind, Import, Uses, Visibility};
use crate::loader::{self, Facts, Form};
use crate::spec::{
    Definitions, LibraryNeed, Object, ObjectFlag, ObjectKind, Provision, Symbols, ThreadLocal, VersionNeed,
};
use compat_sys::raw;

/// Converts one object.
pub fn specify(path: &str, facts: &Facts) -> Object {
    let imports = facts.imports();
    let own = facts.found_by_version_only();
    let names = |kind: DependencyKind| -> Vec<String> {
        facts.needed.iter().filter(|d| d.kind == kind).map(|d| d.name.clone()).collect()
    };
    Object {
        path: path.to_owned(),
        kind: if facts.is_program() { ObjectKind::Executable } else { ObjectKind::Library },
        machine: facts.machine.to_string(),
        class: facts.class.bits(),
        big_endian: facts.big_endian,
        os_abi: Some(facts.os_abi).filter(|abi| !matches!(abi, 0 | 3)),
        interpreter: facts.interpreter.clone(),
        soname: facts.soname.clone(),
        needed: names(DependencyKind::Needed),
        filter: names(DependencyKind::Filter),
        auxiliary: names(DependencyKind::Auxiliary),
        dependency_order: loader::specify_dependency_order(&facts.needed),
        rpath: facts.rpath.clone(),
        runpath: facts.runpath.clone(),
        flags: flags(facts),
        isa: facts.isa.map(|isa| isa.0),
        cpu: facts.cpu.clone(),
        packed_by: facts.packed_by.clone(),
        kernel: facts.kernel.map(|kernel| kernel.to_string()),
        build_id: facts.build_id.clone(),
        release: facts.release.clone(),
        wants: wants(facts, &imports),
        own: symbols(own.iter()),
        thread_local: thread_local(facts),
        unversioned: symbols(imports.iter().filter(|import| import.version.is_none())),
        dlopen: facts.dlopen.clone(),
        provides: provision(facts, &own),
        identification: facts.identification.map(loader::specify_identification),
        layout: facts.layout.as_ref().filter(|_| !loader::is_usual(facts)).map(loader::specify_layout),
    }
}

fn flags(facts: &Facts) -> Vec<ObjectFlag> {
    let flags = &facts.flags;
    let all = [
        (facts.form == Form::FixedExecutable, ObjectFlag::FixedAddress),
        (facts.form == Form::Executable, ObjectFlag::Pie),
        (!facts.has_dynamic_section, ObjectFlag::NoDynamicSection),
        (flags.bind_now, ObjectFlag::BindNow),
        (flags.symbolic, ObjectFlag::Symbolic),
        (flags.no_default_libraries, ObjectFlag::NoDefaultLibraries),
        (flags.relr, ObjectFlag::Relr),
        (facts.secure, ObjectFlag::Secure),
        (facts.checks_kernel, ObjectFlag::ChecksKernel),
        (facts.not_executable && facts.is_executed(), ObjectFlag::NotExecutable),
        (facts.executable_stack, ObjectFlag::ExecutableStack),
        (flags.no_open, ObjectFlag::NoOpen),
    ];
    all.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect()
}

fn thread_local(facts: &Facts) -> Option<ThreadLocal> {
    let wanted = facts.initial_exec();
    let own = facts.thread_local;
    let stated = ThreadLocal {
        size: own.map_or(0, |own| own.size),
        alignment: own.map(|own| own.alignment).filter(|alignment| *alignment > 1).unwrap_or(0),
        first_byte: own.map_or(0, |own| own.first_byte),
        initial_exec: wanted.own,
        initial_exec_symbols: wanted.symbols.clone(),
        descriptors: wanted.descriptors,
    };
    (stated != ThreadLocal::default()).then_some(stated)
}

/// Adds to each library its references to its own symbols that a program defines as indirect functions, because
/// the program comes first in the lookup. Returns the names of the symbols that libraries look up in themselves,
/// and of all such functions.
pub fn add_own_of_indirect<'a>(
    objects: &mut [Object],
    facts_of: impl Fn(&str) -> Option<&'a Facts>,
) -> HashSet<String> {
    let is_program = |object: &&Object| object.kind == ObjectKind::Executable;
    let definitions = objects.iter().filter(is_program).filter_map(|object| object.provides.as_ref());
    let indirect: HashSet<String> =
        definitions.flat_map(|provides| &provides.definitions).flat_map(|d| d.indirect.clone()).collect();
    let is_library = |object: &&mut Object| object.kind == ObjectKind::Library && !indirect.is_empty();
    for object in objects.iter_mut().filter(is_library) {
        let Some(facts) = facts_of(&object.path) else { continue };
        let named = |import: &Import<'_>| indirect.contains(&*raw::text(import.name));
        let mut own = facts.found_by_version_only();
        own.extend(facts.own_references().into_iter().filter(named));
        object.own = symbols(own.iter());
    }
    let lists = objects.iter().flat_map(|object| {
        let Symbols { symbols, lazy, copy, weak, .. } = &object.own;
        [symbols, lazy, copy, weak]
    });
    lists.flatten().cloned().chain(indirect.iter().cloned()).collect()
}

fn wants(facts: &Facts, imports: &[Import<'_>]) -> Vec<LibraryNeed> {
    let of_library = |(library, versions): &(String, Vec<(String, bool)>)| LibraryNeed {
        library: library.clone(),
        versions: versions
            .iter()
            .map(|(version, optional)| {
                let is_of = |import: &&Import<'_>| {
                    import.version.is_some_and(|v| v.library == *library && v.name == *version)
                };
                let symbols = symbols(imports.iter().filter(is_of));
                VersionNeed { version: version.clone(), optional: *optional, symbols }
            })
            .collect(),
    };
    facts.version_needs.iter().map(of_library).collect()
}

/// Sorts imports into the lists of their uses, each list by name.
pub fn symbols<'a>(imports: impl Iterator<Item = &'a Import<'a>>) -> Symbols {
    let mut lists = Symbols::default();
    for import in imports {
        let name = raw::string(import.name);
        let uses = import.uses;
        if uses.contains(Uses::DESCRIPTOR) && uses.is_lazy_with_descriptors() {
            lists.descriptors.push(name.clone());
        }
        if import.weak {
            if uses.is_lazy() && import.version.is_some() {
                lists.weak_lazy.push(name.clone());
            }
            lists.weak.push(name);
            continue;
        }
        if uses.contains(Uses::JUMP_SLOT) {
            lists.lazy.push(name.clone());
        }
        if uses.contains(Uses::COPY) {
            lists.copy.push(name.clone());
        }
        if uses.contains(Uses::DATA) || uses.is_thread_local() {
            lists.symbols.push(name);
        }
    }
    let Symbols { symbols, lazy, copy, weak, weak_lazy, descriptors } = &mut lists;
    for list in [symbols, lazy, copy, weak, weak_lazy, descriptors] {
        list.sort_unstable();
        list.dedup();
    }
    lists
}

fn provision(facts: &Facts, own: &[Import<'_>]) -> Option<Provision> {
    let object = facts.object()?;
    let is_program = facts.is_program();
    let own: HashSet<&[u8]> = own.iter().map(|import| import.name).collect();
    let mut by_version: BTreeMap<Option<&str>, Definitions> = BTreeMap::new();
    let definitions = object.definitions();
    for definition in &definitions {
        let entry = by_version.entry(definition.version).or_default();
        let name = raw::string(definition.name);
        if definition.indirect && (is_program || own.contains(definition.name)) {
            entry.indirect.push(name.clone());
        }
        let list = match definition.visibility {
            _ if definition.undefined => &mut entry.canonical,
            Visibility::Default => &mut entry.symbols,
            Visibility::Hidden => &mut entry.hidden,
        };
        list.push(name);
    }
    let mut provision = Provision {
        versions: facts.version_definitions.clone(),
        symbol_versions: object.has_symbol_versions(),
        definitions: Vec::new(),
    };
    for (version, mut definitions) in by_version {
        definitions.version = version.map(str::to_owned);
        let Definitions { symbols, hidden, canonical, indirect, .. } = &mut definitions;
        for list in [symbols, hidden, canonical, indirect] {
            list.sort_unstable();
            list.dedup();
        }
        provision.definitions.push(definitions);
    }
    let is_empty = provision.definitions.is_empty() && provision.versions.is_none();
    (!is_empty).then_some(provision)
}

/// Removes unreferenced definitions from the programs, because a program's exports matter only if an object binds
/// to them. Libraries keep all definitions, for libraries of other hosts.
pub(super) fn keep_referenced_definitions(objects: &mut [Object], referenced: &HashSet<String>) {
    keep_referenced(objects, referenced, |object| object.kind != ObjectKind::Executable);
}

/// Removes unreferenced definitions, except from objects for which `keeps_all` returns true.
pub fn keep_referenced(
    objects: &mut [Object],
    referenced: &HashSet<String>,
    keeps_all: impl Fn(&Object) -> bool,
) {
    for object in objects.iter_mut().filter(|object| !keeps_all(object)) {
        let Some(provides) = &mut object.provides else { continue };
        for definitions in &mut provides.definitions {
            let lists = [&mut definitions.symbols, &mut definitions.hidden, &mut definitions.canonical];
            definitions.indirect.retain(|name| referenced.contains(name));
            lists.into_iter().for_each(|list| list.retain(|name| referenced.contains(name)));
        }
        let is_empty =
            |d: &Definitions| d.symbols.is_empty() && d.hidden.is_empty() && d.canonical.is_empty();
        provides.definitions.retain(|definitions| !is_empty(definitions));
        if provides.definitions.is_empty() && provides.versions.is_none() {
            object.provides = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Dependency;

    const KINDS: [(char, DependencyKind); 3] =
        [('n', DependencyKind::Needed), ('f', DependencyKind::Filter), ('a', DependencyKind::Auxiliary)];

    /// Returns dependencies by their letters, each with a unique name.
    fn dependencies(order: &str) -> Vec<Dependency> {
        let kind = |letter| KINDS.iter().find(|(known, _)| *known == letter).unwrap().1;
        let named = order.chars().enumerate();
        named.map(|(at, letter)| Dependency { name: format!("{letter}{at}"), kind: kind(letter) }).collect()
    }

    #[test]
    fn a_document_keeps_how_needed_libraries_and_filters_alternate() {
        let usual = ["", "n", "nn", "nfa", "nnffaa"].map(|order| (order, true));
        let others = ["fn", "an", "fan", "nan", "afnnfa", "af"].map(|order| (order, false));
        for (order, is_usual) in usual.into_iter().chain(others) {
            let mut facts =
                Facts::of_specified(&Object::new("x", ObjectKind::Library, "x86_64", 64)).unwrap();
            facts.needed = dependencies(order);
            let document = specify("x", &facts);
            assert_eq!(document.dependency_order.is_none(), is_usual, "{order}");
            assert_eq!(Facts::of_specified(&document).unwrap().needed, dependencies(order), "{order}");
        }
    }

    #[test]
    fn an_order_that_does_not_fit_loses_no_library() {
        let mut object = Object::new("x", ObjectKind::Library, "x86_64", 64);
        object.needed = vec!["n".to_owned()];
        object.filter = vec!["f".to_owned()];
        object.auxiliary = vec!["a".to_owned()];
        for (order, expected) in [("", "nfa"), ("a", "anf"), ("zffff", "fna"), ("aaaannnnffff", "anf")] {
            object.dependency_order = Some(order.to_owned());
            let needed = Facts::of_specified(&object).unwrap().needed;
            let names = needed.into_iter().map(|dependency| dependency.name);
            assert_eq!(names.collect::<String>(), expected, "{order}");
        }
    }
}
