//! The library that a program opens at run time (dlopen(3)), and the objects that `dlopen` refuses although a
//! start loads them.
//!
//! Source: `_dl_map_object_from_fd` in glibc's `elf/dl-load.c`.

use super::Loading;
use crate::loader::candidate::Verdict;
use crate::loader::loaded::{Program, directory_of};
use crate::loader::{LoadedObject, Opened, Problem, Reason};

impl Loading<'_> {
    /// Adds the library that the program opens at run time (dlopen(3)).
    pub(super) fn add_plugin(&mut self, plugin: Program) {
        if self.index.file(plugin.opened.identity).is_none() {
            if let Some(reason) = self.refusal_of_plugin(&plugin) {
                let (library, path) = (plugin.shown.clone(), plugin.shown);
                let wanted_by = self.load.objects[0].shown.clone();
                self.object_once(Problem::LibraryUnusable { library, path, wanted_by, reason });
                return;
            }
            let origin = directory_of(&self.files().real_path(&plugin.path));
            let plugin = LoadedObject { origin, loaded_by: Some(0), ..LoadedObject::alone(plugin) };
            self.admit(plugin);
        }
    }

    /// Returns the reason, in the loader's words, why the program cannot open a library.
    fn refusal_of_plugin(&self, plugin: &Program) -> Option<Reason> {
        let facts = &plugin.opened.facts;
        match self.fit.judge_opened(plugin.opened.clone()) {
            // A search would continue. A library that is opened by its path fails.
            Verdict::Pass(_) if facts.class != self.fit.program.class => {
                Some(Reason::WrongClass(Some(facts.class)))
            }
            Verdict::Pass(_) if facts.machine != self.fit.program.machine => {
                Some(Reason::of_name("cannot open shared object file: No such file or directory"))
            }
            Verdict::Pass(reason) | Verdict::EndList { reason, .. } | Verdict::Stop(reason) => Some(reason),
            Verdict::Use(opened) => self.refusal_at_run_time(&opened),
        }
    }

    /// Returns the reason why dlopen(3) refuses an object that a start would load. Either a flag forbids it, or
    /// the object needs an executable stack, which glibc 2.41 and newer only provide at process start.
    pub(super) fn refusal_at_run_time(&self, opened: &Opened) -> Option<Reason> {
        let (objects, global) = (&self.load.objects, self.load.global);
        let facts = &opened.facts;
        let is_loaded = self.index.file(opened.identity).is_some()
            || self.waiting.as_ref().is_some_and(|loader| loader.identity == opened.identity);
        if self.opened.is_empty() || self.loader.is_musl() || is_loaded {
            return None;
        }
        if facts.flags.no_open {
            return Some(Reason::of_name("shared object cannot be dlopen()ed"));
        }
        let makes_executable = self.loader.is_older_than(2, 41);
        let is_executable = || objects[..global].iter().any(|object| object.facts.executable_stack);
        let words = "cannot enable executable stack as shared object requires: Invalid argument";
        (facts.executable_stack && !makes_executable && !is_executable()).then(|| Reason::of_name(words))
    }
}
