//! Programs x host -> the file of each needed name: `compat tree`.

mod build;
mod document;
pub mod place;
pub mod why;

use std::path::{Path, PathBuf};

use crate::app::in_root::{self, file_of};
use crate::app::target::{is_startable, refuse_image};
use crate::app::{Cause, Failure, Observer};
use compat_loader::check::Host;
use compat_loader::generate;
use compat_loader::host::Root;
use compat_loader::loader::{Load, ScopeContext, ScopeFiles, Start, start};
use compat_oci::Location;
use compat_sys::raw;

pub use document::{
    Available, FailedPath, IDENTIFIER, Place, Tree, TreeBinding, TreeEdge, TreeObject, TreeProblem,
    TreeReport, Why,
};

/// The options of a tree.
#[derive(Clone, Debug, Default)]
pub struct TreeOptions {
    /// The root file system that is checked, if it is not this machine's.
    pub root: Option<PathBuf>,
    /// Whether the host is a saved profile, which has no files.
    pub is_saved: bool,
    /// Whether the tree includes the object that each symbol would be bound to.
    pub bindings: bool,
    /// The library whose dependency chains are included.
    pub why: Option<String>,
}

/// Resolves the needed names of programs, libraries and scripts.
///
/// # Errors
///
/// If there is only one path and it cannot be read. If one of several paths cannot be read, the others are still
/// shown.
pub fn trees(
    paths: &[PathBuf],
    host: &Host,
    options: &TreeOptions,
    observer: &dyn Observer,
) -> Result<TreeReport, Failure> {
    let mut report = TreeReport {
        schema: IDENTIFIER.to_owned(),
        host: host.summary(),
        trees: Vec::new(),
        failed: Vec::new(),
    };
    for path in paths {
        match tree(path, options, host) {
            Ok(tree) => report.trees.push(tree),
            Err(failure) if paths.len() > 1 => {
                observer.failed(&failure);
                report.failed.push(FailedPath { path: path.display().to_string(), reason: failure.message });
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(report)
}

fn tree(path: &Path, options: &TreeOptions, host: &Host) -> Result<Tree, Failure> {
    let load = |subject: &str, load: &Load| {
        let mut tree = Tree::new(subject, load, options.bindings);
        tree.why = options.why.as_ref().map(|name| why::find(&tree, name));
        tree
    };
    refuse_image(path, "check")?;
    let shown = raw::of_path(path);
    match inside(path, options) {
        Some((root, place)) => {
            let file = file_of(path, &place, &root)
                .map_err(|failure| failure.with_hint(hint_for_missing(path, None)))?;
            refuse_what_is_no_program(path, &file, None)?;
            let subject = if options.root.is_some() { &place } else { &*shown };
            Ok(load(subject, &start(&Start { path: &place, shown: subject }, host.context())))
        }
        None => {
            refuse_what_is_no_program(path, path, options.root.as_deref())?;
            carried(path, host, load)
        }
    }
}

/// Returns the root that contains a file, and the file's path in it. Returns `None` if the file is outside the
/// root or the host has no files.
fn inside(path: &Path, options: &TreeOptions) -> Option<(Root, String)> {
    if options.is_saved {
        return None;
    }
    let absolute = std::path::absolute(path).ok()?;
    let Some(typed) = &options.root else {
        return Some((Root::of_this_machine(), raw::of_path(absolute)));
    };
    in_root::inside(path, typed)
}

/// Returns a hint for a path that does not exist. The user may have typed the reference of an image, or a path in the
/// root.
fn hint_for_missing(path: &Path, root: Option<&Path>) -> Option<String> {
    let in_root = root.map(|root| root.join(path.strip_prefix("/").unwrap_or(path)));
    if let Some(in_root) = in_root.filter(|in_root| in_root.exists()) {
        return Some(format!("name the file by its path on this machine: {}", in_root.display()));
    }
    let text =
        path.to_str().filter(|text| !text.starts_with(['/', '.', '~']) && text.contains([':', '@']))?;
    Location::parse(text).ok()?;
    Some(format!(
        "tree accepts programs, libraries and scripts; for an image, run `compat check {text}`, or unpack it and name \
         its directory with --root"
    ))
}

fn refuse_what_is_no_program(path: &Path, file: &Path, root: Option<&Path>) -> Result<(), Failure> {
    let metadata = std::fs::metadata(file)
        .map_err(|source| Failure::undecided(&generate::Error::Read { path: path.to_owned(), source }))
        .map_err(|failure| failure.with_hint(hint_for_missing(path, root)))?;
    if metadata.is_dir() {
        let hint = "name a program in it, or use compat check, which accepts directories";
        let message = format!("{} is a directory", path.display());
        return Err(Failure { cause: Cause::Undecided, message, hint: Some(hint.to_owned()) });
    }
    if is_startable(file) { Ok(()) } else { Err(Failure::undecided(&generate::Error::neither(path))) }
}

/// Loads a file from outside the root as if it were copied to the root.
fn carried(path: &Path, host: &Host, load: impl Fn(&str, &Load) -> Tree) -> Result<Tree, Failure> {
    let options = generate::Options { paths: vec![path.to_owned()], ..generate::Options::default() };
    let mut read = generate::read(&options)
        .map_err(|error| Failure::undecided(&error).with_hint(error.hint().map(str::to_owned)))?;
    in_root::settle(&mut read, &options, host);
    let files = ScopeFiles::new(&read.application, host.files.as_ref());
    let mut tree = None;
    let context = ScopeContext { files: &files, environment: &host.environment };
    read.application.start_all(context, false, |subject, started| {
        tree = Some(load(subject, started));
    });
    tree.ok_or_else(|| Failure::undecided(&generate::Error::neither(path)))
}
