//! The limit on the work for one application, beyond which its verdict is undecided.
//!
//! A document of a few megabytes can cause endless work: objects that all need each other, lists of directories
//! that are searched for every name, symbols that no object defines. The work for real applications grows with
//! their size, so the limit does too. No distribution and no known program comes near it. If the limit is
//! reached, only [`Problem::EffortExceeded`] is reported for the unchecked rest, and the verdict is undecided.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::loader::Problem;

/// The kind of effort that exceeds the limit for one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// One program loads more libraries than any program does.
    Libraries,
    /// The loader looks for too many files in directories.
    Search,
    /// The loader looks for too many symbols in objects.
    Symbols,
    /// Too many problems were found.
    Problems,
}

/// The budget of an application of up to [`USUAL_SIZE`] bytes, in units of about 25 ns.
const USUAL: u64 = 1 << 25;
/// The size of an application, in bytes of its document or files. Larger applications get a larger budget.
const USUAL_SIZE: u64 = 4 << 20;

/// The number of directories that users usually name, and the extra budget for each directory if there are
/// more: one lookup for each of a few hundred libraries.
const USUAL_DIRECTORIES: usize = 64;
const COST_OF_DIRECTORY: u64 = 1 << 15;

impl Effort {
    const ALL: [Self; 4] = [Self::Libraries, Self::Search, Self::Symbols, Self::Problems];

    /// Returns its position among all kinds, starting with 1. 0 stands for no effort.
    fn number(self) -> u8 {
        self as u8 + 1
    }

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// The remaining budget of one check. The fields are atomic only because threads share the type. Each check has
/// its own budget, so additions and subtractions need not be atomic.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicU64,
    /// The number of the effort that exceeded the limit, or 0.
    exceeded: AtomicU8,
    /// Whether the budget was already extended for directories that the user names.
    extended: AtomicBool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AtomicU64::new(USUAL), exceeded: AtomicU8::new(0), extended: AtomicBool::new(false) }
    }
}

impl Budget {
    /// Resets the budget for an application of `size` bytes.
    pub(super) fn refill(&self, size: u64) {
        self.left.store((USUAL / USUAL_SIZE).saturating_mul(size.max(USUAL_SIZE)), Relaxed);
        self.exceeded.store(0, Relaxed);
        self.extended.store(false, Relaxed);
    }

    /// Adds the cost of the directories that the user names for the start, such as those of `LD_LIBRARY_PATH`.
    /// It does so once per application. A document does not cause this work.
    pub(super) fn extend(&self, library_path: Option<&str>) {
        let list = library_path.unwrap_or_default().bytes();
        let directories = list.filter(|byte| matches!(byte, b':' | b';')).count();
        if directories > USUAL_DIRECTORIES && !self.extended.swap(true, Relaxed) {
            let more = directories as u64 * COST_OF_DIRECTORY;
            self.left.store(self.left.load(Relaxed).saturating_add(more), Relaxed);
        }
    }

    /// Takes `units` from the budget and returns whether it was large enough. Once it was not, nothing is left.
    pub(super) fn spend(&self, effort: Effort, units: usize) -> bool {
        match self.left.load(Relaxed).checked_sub(units as u64) {
            Some(left) => self.left.store(left, Relaxed),
            None => self.exceed(effort),
        }
        self.exceeded.load(Relaxed) == 0
    }

    /// Empties the budget.
    pub(super) fn exceed(&self, effort: Effort) {
        self.left.store(0, Relaxed);
        if self.exceeded.load(Relaxed) == 0 {
            self.exceeded.store(effort.number(), Relaxed);
        }
    }

    /// Returns the effort that exceeded the limit, if any.
    pub(super) fn exceeded(&self) -> Option<Effort> {
        Effort::of_number(self.exceeded.load(Relaxed))
    }

    /// Returns the problem that reports it.
    pub(super) fn problem(&self) -> Option<Problem> {
        self.exceeded().map(|effort| Problem::EffortExceeded { effort })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_ends_and_the_first_to_end_it_is_told() {
        let budget = Budget::default();
        assert!(budget.spend(Effort::Search, 1 << 25));
        assert_eq!(budget.problem(), None);
        assert!(!budget.spend(Effort::Symbols, 1));
        assert!(!budget.spend(Effort::Search, 1));
        assert_eq!(budget.problem(), Some(Problem::EffortExceeded { effort: Effort::Symbols }));
        budget.refill(0);
        budget.extend(Some(&":".repeat(64)));
        assert!(budget.spend(Effort::Search, 1 << 25) && !budget.spend(Effort::Search, 1));
        budget.refill(0);
        (0..2).for_each(|_| budget.extend(Some(&":".repeat(1 << 10))));
        assert!(budget.spend(Effort::Search, 1 << 26) && !budget.spend(Effort::Search, 1));
        budget.refill(8 << 20);
        assert_eq!(budget.problem(), None);
        assert!(budget.spend(Effort::Search, 1 << 26) && !budget.spend(Effort::Search, 1));
    }

    #[test]
    fn every_list_of_a_document_lets_more_be_done_for_it() {
        use crate::loader::{Application, Facts, ScopeFiles};
        use crate::spec::{
            self, Definitions, DlopenNeed, DlopenPriority, ObjectKind, Provision, Script, ScriptBody,
            Symbols, ThreadLocal,
        };
        let many = || vec!["n".repeat(1000); 1 << 13];
        let symbols = || Symbols { weak_lazy: many(), ..Symbols::default() };
        let opened = || DlopenNeed {
            sonames: many(),
            feature: None,
            description: None,
            priority: DlopenPriority::Suggested,
        };
        let provided = |definitions| Some(Provision { versions: None, symbol_versions: false, definitions });
        let changes: [&dyn Fn(&mut spec::Object); 7] = [
            &|object| object.own = symbols(),
            &|object| object.unversioned = symbols(),
            &|object| object.filter = many(),
            &|object| object.runpath = Some(many().join(":")),
            &|object| object.dlopen = vec![opened()],
            &|object| {
                object.provides = provided(vec![Definitions { indirect: many(), ..Definitions::default() }])
            },
            &|object| {
                object.thread_local =
                    Some(ThreadLocal { initial_exec_symbols: many(), ..ThreadLocal::default() })
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut object = spec::Object::new("x", ObjectKind::Library, "x86_64", 64);
            change(&mut object);
            assert!(Facts::of_specified(&object).unwrap().size > USUAL_SIZE, "{number}");
        }
        let body = Some(ScriptBody { command: many(), ..ScriptBody::default() });
        let script = Script {
            path: "x".into(),
            interpreter: "/bin/sh".into(),
            argument: None,
            body,
            not_executable: false,
        };
        let application = Application { scripts: vec![script], ..Application::default() };
        let files = crate::loader::HostFiles::new(crate::host::Root::at(std::path::Path::new("/")).unwrap());
        ScopeFiles::new(&application, &files);
        let budget = &crate::loader::Files::memory(&files).budget;
        assert!(budget.spend(Effort::Search, 3 << 24));
    }
}
