//! Answers about symbols that hold in every program that loads the same objects.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::loader::Facts;
use crate::loader::lock::locked;

/// How many libraries get a group of their own. The group tells only who is asked first.
const MOST_GROUPS: usize = 256;
/// How much of the answers is remembered, in references.
const MOST_REMEMBERED: usize = 1 << 23;

/// Answers that hold in every program.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// The strong references of an object, by its number.
    references: Mutex<HashMap<u64, Arc<References>>>,
    /// Which references of a group one object leaves unsatisfied.
    leftovers: Mutex<Leftovers>,
}

#[derive(Debug, Default)]
struct Leftovers {
    by_question: HashMap<Question, Arc<[u32]>>,
    /// How many references these answers have, each answer being one more.
    remembered: usize,
}

/// Which references of a group does an object leave unsatisfied?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// The number of the object that wants.
    pub wanting: u64,
    /// The group of its references, by its place among [`References`].
    pub group: usize,
    /// The number of the object that is asked.
    pub asked: u64,
    /// The loader takes no notice of versions.
    pub ignores_versions: bool,
    /// The object that is asked is the program.
    pub is_program: bool,
}

/// The references of one object that must be satisfied, by the library that they name.
#[derive(Debug)]
pub(super) struct References {
    /// The library, and indices of imports; the last group names none.
    pub groups: Vec<(Option<String>, Arc<[u32]>)>,
    /// The same of those that need not be satisfied, with libraries that they name.
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
    /// The references of an object. They are gathered outside of the lock: other threads go on meanwhile.
    pub(super) fn references(&self, facts: &Facts) -> Arc<References> {
        if let Some(known) = locked(&self.references).get(&facts.number) {
            return Arc::clone(known);
        }
        let references = Arc::new(References::of(facts));
        Arc::clone(locked(&self.references).entry(facts.number).or_insert(references))
    }

    /// The answer, if it is known.
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
