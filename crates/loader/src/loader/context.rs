//! The context of every start: the files, the environment, and the budget.

use std::sync::Arc;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, LibraryCache, Platform};
use crate::loader::effort::Budget;
use crate::loader::{Facts, Files};

/// The circumstances of a program's start, besides the files.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The CPU and the kernel.
    pub platform: Platform,
    /// `LD_LIBRARY_PATH`.
    pub library_path: Option<String>,
    /// The working directory, absolute.
    pub working_directory: String,
    /// `PATH`, where `env` looks for programs.
    pub program_path: String,
    /// The program that loads the libraries in question; without it they are loaded on their own.
    pub host_program: Option<String>,
    /// That program loads what is a program itself, too: nothing else is in question.
    pub opens_programs: bool,
}

impl Environment {
    /// Whether the host program opens an object, rather than that it is started.
    pub(super) fn opens(&self, facts: &Facts) -> bool {
        self.host_program.is_some() && (self.opens_programs || !facts.is_program())
    }

    /// A path from the working directory.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.working_directory.trim_end_matches('/'))
        }
    }
}

/// The files that a start reads, the environment it happens in, and, with the files, what may still be spent on it.
#[derive(Debug)]
pub struct Context<'a, F: Files + ?Sized = dyn Files + 'a> {
    /// The files.
    pub files: &'a F,
    /// The other circumstances of the start.
    pub environment: &'a Environment,
}

impl<F: Files + ?Sized> Clone for Context<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Files + ?Sized> Copy for Context<'_, F> {}

impl<'a> Context<'a> {
    /// The context of any files.
    pub fn new(files: &'a dyn Files, environment: &'a Environment) -> Self {
        Self { files, environment }
    }

    /// The facts of the loader at `path`, which is read once; `None` when it is no loader that is known.
    pub(super) fn dynamic_loader(
        self,
        path: &str,
        machine: Machine,
        class: Class,
    ) -> Option<Arc<DynamicLoader>> {
        let read = || self.files.dynamic_loader(path, machine, class);
        self.files.memory().dynamic_loader(path, read)
    }

    /// The cache at `path` as a loader of a byte order reads it, read once; `None` if it is missing or corrupt.
    pub(super) fn library_cache(self, path: &str, big_endian: bool) -> Option<Arc<LibraryCache>> {
        self.files.memory().library_cache(path, big_endian, || self.files.library_cache(path, big_endian))
    }
}

impl<'a, F: Files + ?Sized> Context<'a, F> {
    /// The same files in another environment.
    pub(super) fn within<'b>(self, environment: &'b Environment) -> Context<'b, F>
    where
        'a: 'b,
    {
        Context { files: self.files, environment }
    }

    /// What may still be spent.
    pub(super) fn budget(self) -> &'a Budget {
        &self.files.memory().budget
    }
}

impl<'a, F: Files> Context<'a, F> {
    /// The same for whoever does not ask which files they are.
    pub(super) fn of_any_files(self) -> Context<'a> {
        Context::new(self.files, self.environment)
    }
}
