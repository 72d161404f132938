//! The order of the scope: an object that another filters (`DT_FILTER`, `DT_AUXILIARY`) comes right before it,
//! and its libraries are loaded before those of all other waiting objects.
//!
//! Source: `_dl_map_object_deps` in glibc's `elf/dl-deps.c`.

use std::ops::Range;

use super::Loading;
use crate::loader::{Effort, Problem, version};

/// The objects in the order of symbol lookup, and their state: whether their needs are already loaded.
pub(super) struct Scope {
    order: Vec<usize>,
    /// The objects whose needs are not loaded yet, by their numbers.
    waiting: Vec<bool>,
    /// The position of the current object.
    at: usize,
    /// The objects that come before the one that is started, and their filters. Loaders before glibc 2.32 fail
    /// because of them.
    before_first: Vec<(usize, usize)>,
}

impl Scope {
    /// Creates a scope from the objects that are already loaded.
    pub(super) fn new(objects: Range<usize>) -> Self {
        let mut scope = Self { order: Vec::new(), waiting: Vec::new(), at: 0, before_first: Vec::new() };
        scope.extend(objects);
        scope
    }

    /// The number of objects.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Adds newly loaded objects at the end.
    pub(super) fn extend(&mut self, objects: Range<usize>) {
        self.waiting.resize(objects.end.max(self.waiting.len()), false);
        for object in objects {
            self.waiting[object] = true;
            self.order.push(object);
        }
    }

    /// Returns the next object whose needs are to be loaded: the first waiting one.
    pub(super) fn take_next(&mut self) -> Option<usize> {
        let is_waiting = |object: &usize| self.waiting[*object];
        // Before the previous object, only the objects that it filters can still wait.
        let start =
            self.order[..self.at].iter().rposition(|object| !is_waiting(object)).map_or(0, |at| at + 1);
        self.at = start + self.order[start..].iter().position(is_waiting)?;
        let object = self.order[self.at];
        self.waiting[object] = false;
        Some(object)
    }

    /// Moves an object right before the current one, which filters it. An object before the current one keeps
    /// its place. So does a processed object behind it that filters the current one: the result is then
    /// `false`, because glibc's loader would loop endlessly.
    pub(super) fn bring_forward(&mut self, object: usize) -> bool {
        let Some(behind) = self.order[self.at + 1..].iter().position(|other| *other == object) else {
            return true;
        };
        if self.waiting[object] {
            self.order.remove(self.at + 1 + behind);
            self.order.insert(self.at, object);
            self.at += 1;
        }
        self.order[self.at + 1..].iter().all(|other| *other != object)
    }
}

impl Loading<'_> {
    /// Moves an object right before the one that filters it, and records filters because of which the loader
    /// itself fails. `is_first`: the filter is the object that is started or opened.
    pub(super) fn bring_forward(&mut self, scope: &mut Scope, object: usize, filter: usize, is_first: bool) {
        self.budget().spend(Effort::Libraries, scope.len() / 16);
        let circular = !scope.bring_forward(object);
        let is_given = filter > 0 || self.load.objects[0].facts.is_program();
        if circular {
            self.fail_over_filter(object, filter, true);
        } else if is_first && object != filter && is_given {
            scope.before_first.push((object, filter));
        }
    }

    /// Records the filters because of which only loaders before glibc 2.32 fail, once the loaded libc is known.
    pub(super) fn judge_filters(&mut self, scope: &Scope) {
        if scope.before_first.is_empty() || !self.is_older_than_2_32() {
            return;
        }
        for (object, filter) in &scope.before_first {
            self.fail_over_filter(*object, *filter, false);
        }
    }

    fn fail_over_filter(&mut self, object: usize, filter: usize, circular: bool) {
        let objects = &self.load.objects;
        let (object, library) = (objects[filter].shown.clone(), objects[object].shown.clone());
        self.object_once(Problem::FilterFails { object, library, circular });
    }

    /// Returns whether the loader is older than glibc 2.32. The loader contains its release only since 2.33;
    /// its libc always does.
    fn is_older_than_2_32(&self) -> bool {
        let libc = || self.load.by_name().get("libc.so.6").map(|index| &self.load.objects[*index].facts);
        let minor = || version::minor_of_release(libc()?.release.as_deref()?);
        self.loader.is_older_than(2, 32) && minor().is_none_or(|minor| minor < 32)
    }

    /// Puts the objects from number `first` on into the order of the scope. The program stays first.
    pub(super) fn arrange(&mut self, first: usize, scope: &Scope) {
        let mut order = scope.order.clone();
        if first == 0
            && let Some(program) = order.iter().position(|object| *object == 0)
        {
            order[..=program].rotate_right(1);
        }
        if order.is_sorted() {
            return;
        }
        let mut places: Vec<usize> = (0..self.load.objects.len()).collect();
        order.iter().enumerate().for_each(|(place, object)| places[*object] = first + place);
        let mut objects: Vec<_> = std::mem::take(&mut self.load.objects).into_iter().zip(&places).collect();
        objects.sort_by_key(|(_, place)| **place);
        self.load.objects = objects.into_iter().map(|(object, _)| object.moved(&places)).collect();
        self.index.rearrange(&places);
    }
}
