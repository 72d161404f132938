//! The order of the scope: an object that another filters (`DT_FILTER`, `DT_AUXILIARY`) comes right before it, and its own
//! libraries are loaded before those of all else that waits.
//!
//! Source: `_dl_map_object_deps` in glibc's `elf/dl-deps.c`.

use std::ops::Range;

use super::Loading;
use crate::loader::{Effort, Problem, version};

/// The objects in the order in which symbols are looked for, and which of them have been asked for what they need.
pub(super) struct Scope {
    order: Vec<usize>,
    /// Those that wait, by their numbers; others do not.
    waiting: Vec<bool>,
    /// The place of the object that is asked.
    at: usize,
    /// What came before the object that is started, and what filters it: loaders before glibc 2.32 fail over it.
    before_first: Vec<(usize, usize)>,
}

impl Scope {
    /// Objects that are there before anything is asked.
    pub(super) fn new(objects: Range<usize>) -> Self {
        let mut scope = Self { order: Vec::new(), waiting: Vec::new(), at: 0, before_first: Vec::new() };
        scope.extend(objects);
        scope
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Adds what was loaded since, at the end.
    pub(super) fn extend(&mut self, objects: Range<usize>) {
        self.waiting.resize(objects.end.max(self.waiting.len()), false);
        for object in objects {
            self.waiting[object] = true;
            self.order.push(object);
        }
    }

    /// The next object to be asked for what it needs: the first that waits.
    pub(super) fn take_next(&mut self) -> Option<usize> {
        let is_waiting = |object: &usize| self.waiting[*object];
        // Of those before the last one that was asked only what it filters can wait.
        let start =
            self.order[..self.at].iter().rposition(|object| !is_waiting(object)).map_or(0, |at| at + 1);
        self.at = start + self.order[start..].iter().position(is_waiting)?;
        let object = self.order[self.at];
        self.waiting[object] = false;
        Some(object)
    }

    /// Puts an object right before the one that is asked, which filters it. One that stands before it stays. So does
    /// one behind it that was asked already, which filters the one that is asked: `false`, for glibc's loader would not
    /// come to an end.
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
    /// Puts an object right before the one that filters it, and notes what the loader itself fails over. `is_first`: the
    /// filter is what is started or opened.
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

    /// Notes what only loaders before glibc 2.32 fail over, once it is known which libc is loaded.
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

    /// Whether the loader is of a release before glibc 2.32. It does not say before 2.33; its libc does.
    fn is_older_than_2_32(&self) -> bool {
        let libc = || self.load.by_name().get("libc.so.6").map(|index| &self.load.objects[*index].facts);
        let minor = || version::minor_of_release(libc()?.release.as_deref()?);
        self.loader.is_older_than(2, 32) && minor().is_none_or(|minor| minor < 32)
    }

    /// Brings the objects from number `first` on into the order of the scope. The program stays the first.
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
