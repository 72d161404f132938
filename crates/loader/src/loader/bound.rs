//! Finds the object that each symbol would be bound to.
//!
//! Source: `_dl_lookup_symbol_x` and `_dl_setup_hash` in glibc's `elf/dl-lookup.c`, `RESOLVE_MAP` in
//! `elf/dynamic-link.h`; musl `find_sym`.
//!
//! [`crate::loader::binding`] only checks whether any object satisfies a reference. This module follows the
//! order of the scope. It also checks the references to an object's own symbols, because another object may
//! come first. It costs more and runs only on request.

use std::ops::Range;

use crate::elf::{Import, Uses, VersionRule, Wanted, gnu_hash};
use crate::loader::{Load, LoadedObject, Rule};
use compat_sys::raw;

/// The objects that the symbols of one object would be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bindings {
    /// The object, by its index.
    pub object: usize,
    /// Its references, in the order of its symbol table.
    pub bound: Vec<Bound>,
}

/// One reference and the object that it would be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The symbol.
    pub symbol: String,
    /// The version that the reference needs.
    pub version: Option<String>,
    /// The index of the object that defines it, or `None` if no object does.
    pub provider: Option<usize>,
    /// The symbol may be missing.
    pub weak: bool,
    /// The symbol is only called: it is bound at the first call, unless all symbols are bound at start.
    pub lazy: bool,
    /// The variable is copied into the program.
    pub copy: bool,
}

impl Load {
    /// Returns the binding of every symbol of every object.
    pub fn bindings(&self) -> Vec<Bindings> {
        let of_object = |object: usize| Bindings { object, bound: self.bindings_of(object) };
        (0..self.objects.len()).map(of_object).collect()
    }

    /// Returns the index ranges of each program and the objects loaded with it. There is more than one if a
    /// script starts one program through another.
    pub fn programs(&self) -> Vec<Range<usize>> {
        let is_start = |object: &LoadedObject| object.rule == Rule::Program && object.loaded_by.is_none();
        let starts = self.objects.iter().enumerate().filter(|(_, object)| is_start(object));
        let mut starts: Vec<usize> = starts.map(|(index, _)| index).collect();
        starts.push(self.objects.len());
        starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
    }

    fn bindings_of(&self, object: usize) -> Vec<Bound> {
        let programs = self.programs();
        let Some(program) = programs.into_iter().find(|program| program.contains(&object)) else {
            return Vec::new();
        };
        let mut bound = Vec::new();
        for import in self.objects[object].facts.references() {
            let mut last = None;
            for uses in classes(import.uses) {
                let one = Import { uses, ..import.clone() };
                let found = self.bind(object, &one, program.clone());
                // Two kinds of relocation with the same answer are reported once.
                if last != Some((found.provider, found.copy)) {
                    last = Some((found.provider, found.copy));
                    let lazy = if self.lazy_descriptors {
                        import.uses.is_lazy_with_descriptors()
                    } else {
                        import.uses.is_lazy()
                    };
                    bound.push(Bound { lazy, ..found });
                }
            }
        }
        bound
    }

    fn bind(&self, object: usize, import: &Import<'_>, program: Range<usize>) -> Bound {
        let copy = import.uses.contains(Uses::COPY);
        Bound {
            symbol: raw::string(import.name),
            version: import.version.map(|version| version.name.to_owned()),
            provider: self.provider(object, import, program),
            weak: import.weak,
            lazy: false,
            copy,
        }
    }

    /// Returns the first object that defines a symbol, among those that the object with this index sees.
    pub(super) fn first_definition(&self, object: usize, name: &[u8]) -> Option<usize> {
        let end = if object < self.global { self.global } else { self.objects.len() };
        let rules = [VersionRule::Unversioned, VersionRule::Ignored];
        let wanted =
            rules.map(|version| Wanted { name, gnu_hash: gnu_hash(name), version, accept_undefined: false });
        let defines = |index: &usize| {
            let facts = &self.objects[*index].facts;
            wanted.iter().any(|wanted| facts.satisfies(wanted))
        };
        (0..end).find(defines)
    }

    /// Returns the first object of the scope that satisfies a reference.
    fn provider(&self, object: usize, import: &Import<'_>, program: Range<usize>) -> Option<usize> {
        if import.protected {
            return Some(object);
        }
        let mut wanted = Wanted::of(import);
        if self.ignores_versions {
            wanted.version = VersionRule::Ignored;
        }
        // Objects that a program opens later do not join the scope of the earlier ones.
        let end = if object < self.global { self.global.min(program.end) } else { program.end };
        let own_first = self.objects[object].facts.flags.symbolic && !self.ignores_versions;
        let scope = own_first.then_some(object).into_iter().chain(program.start..end);
        let copy = import.uses.contains(Uses::COPY);
        let mut candidates = scope.filter(|candidate| !(copy && *candidate == object));
        candidates.find(|candidate| self.objects[*candidate].facts.satisfies(&wanted))
    }
}

/// The kinds of relocation that are looked up differently (`elf_machine_type_class`).
fn classes(uses: Uses) -> impl Iterator<Item = Uses> {
    [Uses::COPY, Uses::DATA, Uses::JUMP_SLOT, Uses::TLS, Uses::DESCRIPTOR]
        .into_iter()
        .filter(move |class| uses.contains(*class))
}
