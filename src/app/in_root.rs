//! Programs inside the root file system that is checked, with their paths in that root.

use std::path::{Path, PathBuf};

use super::failure::without_internals;
use super::{Cause, Failure};
use compat_loader::check::Host;
use compat_loader::generate;
use compat_loader::host::Root;
use compat_sys::raw;

/// Opens the root in the directory `typed`. Returns it with the path of a file inside it, or `None` if the file is
/// outside.
pub fn inside(path: &Path, typed: &Path) -> Option<(Root, String)> {
    let absolute = std::path::absolute(path).ok()?;
    let root = Root::at(typed).ok()?;
    let typed = std::path::absolute(typed).ok()?;
    let names = [typed.as_path(), root.directory()];
    let inside = names.into_iter().find_map(|name| absolute.strip_prefix(name).ok())?;
    let place = format!("/{}", raw::of_path(inside));
    Some((root, place))
}

/// Resolves a path in the root to a path on this machine without links.
///
/// # Errors
///
/// If the file does not exist.
pub fn file_of(path: &Path, place: &str, root: &Root) -> Result<PathBuf, Failure> {
    let real = root.resolve(&raw::path(place)).map_err(|error| {
        let message = without_internals(&format!("could not read {}: {error}", path.display()));
        Failure { cause: Cause::Undecided, message, hint: None }
    })?;
    Ok(root.directory().join(real.strip_prefix("/").unwrap_or(&real)))
}

/// Returns the options to read the files that a user typed. Files inside the root `typed` are read as files of
/// that root.
pub fn options(paths: Vec<PathBuf>, typed: Option<&Path>) -> generate::Options {
    let found = typed.and_then(|typed| {
        let all: Option<Vec<_>> = paths.iter().map(|path| inside(path, typed)).collect();
        all.filter(|all| !all.is_empty())
    });
    let Some(found) = found else { return generate::Options { paths, ..generate::Options::default() } };
    let root = found[0].0.directory().to_owned();
    let paths = found.iter().map(|(_, place)| root.join(raw::path(place.trim_start_matches('/')))).collect();
    generate::Options { paths, root: Some(root), ..generate::Options::default() }
}

/// Records the program's directory in the result if it matters although the program does not refer to it. It
/// matters if the environment refers to it, or if the program is inside the root that is checked.
pub fn settle(read: &mut generate::Read, options: &generate::Options, host: &Host) {
    let by_environment = host.environment.library_path.as_deref().is_some_and(|list| list.contains('$'));
    // This read does not count against the effort limit of the check.
    let preloads = host.files.shared().read("/etc/ld.so.preload");
    let by_preload = preloads.is_ok_and(|data| data.contains(&b'$'));
    if options.root.is_some() || by_environment || by_preload {
        read.settle();
    }
}
