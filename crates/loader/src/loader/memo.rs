//! Answers about symbols that are valid in every program that loads the same objects.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::loader::Facts;
use crate::loader::lock::locked;

/// The maximum number of libraries with a separate group. The group only decides which object is searched
/// first.
const MOST_GROUPS: usize = 256;
/// The maximum size of the remembered answers, in references.
const MOST_REMEMBERED: usize = 1 << 23;

/// Answers that are valid in every program.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// The strong references of an object, by its number.
    references: Mutex<HashMap<u64, Arc<References>>>,
    /// The references of a group that one object does not satisfy.
    leftovers: Mutex<Leftovers>,
}

#[derive(Debug, Default)]
struct Leftovers {
    by_question: HashMap<Question, Arc<[u32]>>,
    /// The number of references in these answers, plus one for each answer.
    remembered: usize,
}

/// The question: which references of a group does an object not satisfy?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// The number of the object with the references.
    pub wanting: u64,
    /// The group of its references, by its index in [`References`].
    pub group: usize,
    /// The number of the object that is searched.
    pub asked: u64,
    /// The loader ignores versions.
    pub ignores_versions: bool,
    /// The object that is searched is the program.
    pub is_program: bool,
}

/// The references of one object that must be satisfied, by the library that they name.
#[derive(Debug)]
pub(super) struct References {
    /// The library and the indices of the imports. The last group names no library.
    pub groups: Vec<(Option<String>, Arc<[u32]>)>,
    /// The weak references, in the same form, with the libraries that they name.
    pub weak: Vec<(String, Arc<[u32]>)>,
}

impl References {
    fn of(facts: &Facts) -> Self {
        let mut named: Vec<(String, Vec<u32>)> = Vec::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut unnamed = Vec::new();
        let mut weak: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for index in 0..facts.import_count() {
            let import = facts.import(index);
            let Ok(number) = u32::try_from(index) else { break };
            if import.weak {
                if let Some(version) = import.version.filter(|version| !version.library.is_empty()) {
                    weak.entry(version.library.to_owned()).or_default().push(number);
                }
                continue;
            }
            match import.version.filter(|version| !version.library.is_empty()) {
                Some(version) => match known.get(version.library) {
                    Some(group) => named[*group].1.push(number),
                    None if named.len() < MOST_GROUPS => {
                        known.insert(version.library, named.len());
                        named.push((version.library.to_owned(), vec![number]));
                    }
                    None => unnamed.push(number),
                },
                None => unnamed.push(number),
            }
        }
        let mut groups: Vec<_> =
            named.into_iter().map(|(library, group)| (Some(library), group.into())).collect();
        groups.push((None, unnamed.into()));
        let weak = weak.into_iter().take(MOST_GROUPS).map(|(library, group)| (library, group.into()));
        Self { groups, weak: weak.collect() }
    }
}

impl Memo {
    /// Returns the references of an object. They are collected without the lock, so that other threads can
    /// continue.
    pub(super) fn references(&self, facts: &Facts) -> Arc<References> {
        if let Some(known) = locked(&self.references).get(&facts.number) {
            return Arc::clone(known);
        }
        let references = Arc::new(References::of(facts));
        Arc::clone(locked(&self.references).entry(facts.number).or_insert(references))
    }

    /// Returns the answer if it is known.
    pub(super) fn known(&self, question: &Question) -> Option<Arc<[u32]>> {
        locked(&self.leftovers).by_question.get(question).cloned()
    }

    /// Keeps an answer, unless there are too many.
    pub(super) fn remember(&self, question: Question, leftover: &Arc<[u32]>) {
        let mut leftovers = locked(&self.leftovers);
        let remembered = leftovers.remembered + 1 + leftover.len();
        if remembered <= MOST_REMEMBERED {
            leftovers.remembered = remembered;
            leftovers.by_question.insert(question, Arc::clone(leftover));
        }
    }
}
