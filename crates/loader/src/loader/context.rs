//! The context of every start: the files, the environment, and the budget.

use std::sync::Arc;

use crate::elf::{Class, Machine};
use crate::host::{DynamicLoader, LibraryCache, Platform};
use crate::loader::effort::Budget;
use crate::loader::{Facts, Files};

/// The conditions of a program's start, other than the files.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The CPU and the kernel.
    pub platform: Platform,
    /// `LD_LIBRARY_PATH`.
    pub library_path: Option<String>,
    /// The working directory, absolute.
    pub working_directory: String,
    /// `PATH`, in which `env` looks for programs.
    pub program_path: String,
    /// The program that loads the libraries in question. Without it, they are loaded without a program.
    pub host_program: Option<String>,
    /// The host program also opens an object that is itself a program, because that object is the only one in
    /// question.
    pub opens_programs: bool,
}

impl Environment {
    /// Returns whether the host program opens an object, instead of the kernel starting it.
    pub(super) fn opens(&self, facts: &Facts) -> bool {
        self.host_program.is_some() && (self.opens_programs || !facts.is_program())
    }

    /// Returns a path relative to the working directory as an absolute path.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.working_directory.trim_end_matches('/'))
        }
    }
}

/// The files that a start reads, its environment, and the remaining budget, which belongs to the files.
#[derive(Debug)]
pub struct Context<'a, F: Files + ?Sized = dyn Files + 'a> {
    /// The files.
    pub files: &'a F,
    /// The other conditions of the start.
    pub environment: &'a Environment,
}

impl<F: Files + ?Sized> Clone for Context<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Files + ?Sized> Copy for Context<'_, F> {}

impl<'a> Context<'a> {
    /// Creates a context from any files.
    pub fn new(files: &'a dyn Files, environment: &'a Environment) -> Self {
        Self { files, environment }
    }

    /// Returns the facts of the loader at `path`, which is read once, or `None` if it is not a known loader.
    pub(super) fn dynamic_loader(
        self,
        path: &str,
        machine: Machine,
        class: Class,
    ) -> Option<Arc<DynamicLoader>> {
        let read = || self.files.dynamic_loader(path, machine, class);
        self.files.memory().dynamic_loader(path, read)
    }

    /// Returns the cache at `path` as a loader with this byte order reads it. The file is read once. Returns
    /// `None` if it is missing or corrupt.
    pub(super) fn library_cache(self, path: &str, big_endian: bool) -> Option<Arc<LibraryCache>> {
        self.files.memory().library_cache(path, big_endian, || self.files.library_cache(path, big_endian))
    }
}

impl<'a, F: Files + ?Sized> Context<'a, F> {
    /// Returns the same files in another environment.
    pub(super) fn within<'b>(self, environment: &'b Environment) -> Context<'b, F>
    where
        'a: 'b,
    {
        Context { files: self.files, environment }
    }

    /// The remaining budget.
    pub(super) fn budget(self) -> &'a Budget {
        &self.files.memory().budget
    }
}

impl<'a, F: Files> Context<'a, F> {
    /// Returns this context without the type of its files.
    pub(super) fn of_any_files(self) -> Context<'a> {
        Context::new(self.files, self.environment)
    }
}
