//! The closure: the libraries that the subjects load on the current host.

use std::collections::{BTreeSet, HashSet};

use crate::loader::{
    Application, Context, Load, LoadedObject, PassedFor, PassedOver, Problem, Rule, ScopeContext, ScopeFiles,
};
use crate::spec::{ClosureEntry, Distinction};

/// The result of loading all subjects.
#[derive(Default)]
pub(super) struct Closure {
    /// The objects outside the scope.
    pub entries: Vec<ClosureEntry>,
    /// The sonames of all libraries, inside and outside the scope, in load order.
    pub names: Vec<String>,
    /// The names of all symbols that objects need from other objects.
    pub referenced: HashSet<String>,
    pub notes: Vec<String>,
}

/// Loads every subject. Libraries of a directory that no other file in it loads become subjects, and also files
/// that only another host would load.
pub(super) fn find(application: &mut Application, host: Context<'_>) -> Closure {
    let mut closure = Closure::default();
    let files = ScopeFiles::new(application, host.files);
    let context = ScopeContext { files: &files, environment: host.environment };
    let started = application.start_all(context, true, |subject, load| closure.add(subject, load));
    closure.notes.extend(started.passed_over.iter().map(PassedOver::sentence));
    let passed_over = started.passed_over.iter().filter(|passed| passed.why != PassedFor::Script);
    let others = passed_over.flat_map(|passed| passed.paths.clone());
    let known: HashSet<String> = application.subjects.iter().cloned().collect();
    let found = started.roots.into_iter().chain(others).filter(|path| !known.contains(path));
    application.subjects.extend(found.collect::<BTreeSet<_>>());
    keep_subjects(application);
    closure
}

/// Keeps only subjects in the groups of alternatives.
fn keep_subjects(application: &mut Application) {
    let subjects: HashSet<&String> = application.subjects.iter().collect();
    for group in &mut application.alternatives {
        group.subjects.retain(|path| subjects.contains(path));
    }
    let least = |by| if by == Distinction::TestData { 1 } else { 2 };
    application.alternatives.retain(|group| group.subjects.len() >= least(group.by));
}

impl Closure {
    fn add(&mut self, subject: &str, load: &Load) {
        for object in &load.objects {
            self.add_object(object, load, subject);
        }
        for problem in &load.problems {
            self.add_problem(problem);
        }
    }

    fn add_object(&mut self, object: &LoadedObject, load: &Load, subject: &str) {
        self.referenced.extend(load.wanted_names(object));
        if object.rule == Rule::Program {
            self.add_interpreter_of_script(object, subject);
            return;
        }
        let by = &load.objects[object.loaded_by.unwrap_or(0)];
        let name = object.names.first().unwrap_or(&object.path);
        self.names.push(object.facts.soname.as_ref().unwrap_or(name).clone());
        if object.in_scope || self.entries.iter().any(|entry| entry.path.as_ref() == Some(&object.path)) {
            return;
        }
        self.entries.push(ClosureEntry {
            name: name.clone(),
            path: Some(object.path.clone()),
            build_id: object.facts.build_id.clone(),
            needed_by: shown_name(by),
        });
    }

    /// Adds a program outside the scope, which a script names.
    fn add_interpreter_of_script(&mut self, program: &LoadedObject, subject: &str) {
        let is_known = |entry: &ClosureEntry| entry.path.as_ref() == Some(&program.path);
        if program.in_scope || self.entries.iter().any(is_known) {
            return;
        }
        self.entries.push(ClosureEntry {
            name: program.path.clone(),
            path: Some(program.path.clone()),
            build_id: program.facts.build_id.clone(),
            needed_by: subject.to_owned(),
        });
    }

    fn add_problem(&mut self, problem: &Problem) {
        if let Problem::LibraryMissing { library, wanted_by, .. } = problem
            && !self.entries.iter().any(|entry| entry.name == *library && entry.path.is_none())
        {
            self.entries.push(ClosureEntry {
                name: library.clone(),
                path: None,
                build_id: None,
                needed_by: wanted_by.clone(),
            });
            self.names.push(library.clone());
        }
        let note = match (problem.loader_message(), problem) {
            (Some(message), _) => format!("the application would not run on this machine either: {message}"),
            (None, Problem::EffortExceeded { .. }) => {
                "the derivation stopped early, because the program takes more work than any known program"
                    .to_owned()
            }
            (None, _) => return,
        };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Returns the name of an object in the closure: its path in the scope, or the name by which it was needed.
fn shown_name(object: &LoadedObject) -> String {
    if object.in_scope { object.shown.clone() } else { object.names.first().unwrap_or(&object.path).clone() }
}
