//! Decides whether the specification depends on the location of the scope on the machine.

use std::path::{Component, Path, PathBuf};

use crate::generate::scope::Scope;
use crate::loader::Facts;
use crate::script::OWN_DIRECTORY;
use crate::spec::Script;
use compat_sys::raw;

/// Returns whether a file in the scope names an absolute path inside it, or a path outside of it with `$ORIGIN`.
/// Otherwise the location is left out, so that the same files give the same document in any directory.
pub(super) fn does_matter(scope: &Scope) -> bool {
    let matters = scope.application.objects.iter().any(|(path, facts)| depends_on_place(scope, path, facts));
    let by_scripts = scope.application.scripts.iter().any(|script| script_depends_on_place(scope, script));
    let listed = scope.application.library_path.iter().any(|directory| directory.contains("ORIGIN"));
    matters || by_scripts || listed
}

fn depends_on_place(scope: &Scope, object: &str, facts: &Facts) -> bool {
    let lists = [&facts.rpath, &facts.runpath].into_iter().flatten();
    let elements = lists.flat_map(|list| list.split(':'));
    let paths =
        facts.needed.iter().map(|dependency| dependency.name.as_str()).filter(|name| name.contains('/'));
    let interpreter = facts.interpreter.as_deref();
    elements.chain(paths).chain(interpreter).any(|path| is_tied(scope, object, path))
}

/// Returns whether a script starts a program by location: next to the script but outside the scope, or inside the
/// scope by its absolute path.
fn script_depends_on_place(scope: &Scope, script: &Script) -> bool {
    let body = script.body.iter();
    let mut paths = body.flat_map(|body| body.command.first().into_iter().chain(&body.directory));
    paths.any(|path| match path.strip_prefix(OWN_DIRECTORY) {
        Some(rest) => {
            let script = scope.directory.join(raw::path(&script.path));
            let own = script.parent().unwrap_or(&scope.directory);
            !owns(scope, &normalise(&own.join(raw::path(rest.trim_start_matches('/')))))
        }
        None => path.starts_with('/') && owns(scope, &outside(scope, &normalise(&raw::path(path)))),
    })
}

fn is_tied(scope: &Scope, object: &str, path: &str) -> bool {
    let from_origin = ["$ORIGIN", "${ORIGIN}"].iter().find_map(|token| path.strip_prefix(token));
    match from_origin {
        Some(rest) => {
            let object = scope.directory.join(raw::path(object));
            let origin = object.parent().unwrap_or(&scope.directory);
            !owns(scope, &normalise(&origin.join(raw::path(rest.trim_start_matches('/')))))
        }
        // If the token is in the middle, its path on another machine is not known.
        None if path.contains("$ORIGIN") || path.contains("${ORIGIN}") => true,
        None => path.starts_with('/') && owns(scope, &outside(scope, &normalise(&raw::path(path)))),
    }
}

/// Converts a path of the root that contains the scope to a path on this machine.
fn outside(scope: &Scope, path: &Path) -> PathBuf {
    match &scope.root {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_owned(),
    }
}

/// Returns whether a path is in a directory that belongs entirely to the scope.
fn owns(scope: &Scope, path: &Path) -> bool {
    scope.directories.iter().any(|directory| path.starts_with(directory))
}

fn normalise(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}
