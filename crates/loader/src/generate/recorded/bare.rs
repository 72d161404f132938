//! Recorded paths on this machine, with the scope on top.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use super::{Found, Ground, RecordedContent, find};
use crate::loader::{Application, Context, Files, Obstacle, OpenError, Opened, ScopeContext, ScopeFiles};
use crate::script::parse_script;
use compat_sys::raw;
use compat_trace::Runs;

/// This machine as seen from the scope.
struct Bare<'a> {
    files: ScopeFiles<'a>,
    /// The scope's paths of objects and scripts, by their real paths.
    scope: HashMap<String, String>,
}

impl Bare<'_> {
    /// Opens the file at a path in the scope, or else on this machine.
    fn open(&self, path: &str) -> Result<Opened, OpenError> {
        self.files.open(&self.place(path)).or_else(|_| self.files.open(path))
    }
}

impl Ground for Bare<'_> {
    fn files(&self) -> &dyn Files {
        &self.files
    }

    fn content(&self, path: &str) -> RecordedContent {
        // There can be thousands of files, and none of them is a start.
        self.files.memory().begin();
        match self.open(path) {
            Ok(opened) => RecordedContent::Object(Arc::clone(&opened.facts)),
            Err(OpenError::NotElf | OpenError::TooShort) => {
                let data = self.files.read(path).ok();
                let is_script = data.is_some_and(|data| matches!(parse_script(&data), Some(Ok(_))));
                if is_script { RecordedContent::Script } else { RecordedContent::Other }
            }
            Err(OpenError::Absent(_)) => RecordedContent::Gone,
            Err(OpenError::Blocked(blocked)) if !matches!(blocked.obstacle, Obstacle::Other(_)) => {
                RecordedContent::Gone
            }
            Err(_) => RecordedContent::Other,
        }
    }

    fn place(&self, path: &str) -> String {
        match self.scope.get(path) {
            Some(inside) => self.files.path_of(inside),
            None if path.starts_with('/') => path.to_owned(),
            None => self.files.path_of(path),
        }
    }

    fn shown(&self, path: &str) -> String {
        self.scope.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }
}

/// Finds the programs and libraries of runs on this machine, for an application with its scope in `directory`.
pub(in crate::generate) fn find_bare(
    runs: &Runs,
    application: &Application,
    directory: &std::path::Path,
    host: Context<'_>,
) -> Found {
    let objects = application.objects.iter().map(|(path, _)| path);
    let members = objects.chain(application.scripts.iter().map(|script| &script.path));
    let real = |path: &String| {
        let real = fs::canonicalize(directory.join(raw::path(path))).ok()?;
        Some((raw::of_path(real), path.clone()))
    };
    let files = ScopeFiles::new(application, host.files);
    let environment = application.environment(ScopeContext { files: &files, environment: host.environment });
    let bare = Bare { files, scope: members.filter_map(real).collect() };
    find(runs, &bare, &environment)
}
