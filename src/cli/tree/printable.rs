//! Makes the names of a tree printable. They come from untrusted files and must not control the terminal. The JSON
//! output contains the original names.

use crate::app::tree::{Tree, TreeEdge, TreeObject};
use crate::cli::report::printable;
use compat_loader::loader::Rule;

/// Makes every name of a tree printable. Problems are escaped when they are rendered.
pub(super) fn make(tree: &mut Tree) {
    change(&mut tree.subject);
    tree.objects.iter_mut().for_each(object);
    tree.left_to_program.iter_mut().for_each(change);
    let chains = tree.why.iter_mut().flat_map(|why| &mut why.chains);
    chains.flatten().for_each(change);
}

fn object(object: &mut TreeObject) {
    change(&mut object.path);
    object.interpreter.iter_mut().for_each(change);
    object.names.iter_mut().chain(&mut object.soname).for_each(change);
    rule(&mut object.found);
    object.needs.iter_mut().for_each(edge);
    for binding in object.bindings.iter_mut().flatten() {
        change(&mut binding.symbol);
        binding.version.iter_mut().for_each(change);
    }
}

fn edge(edge: &mut TreeEdge) {
    change(&mut edge.name);
    if let Some(available) = &mut edge.available {
        change(&mut available.path);
        rule(&mut available.found);
    }
}

fn rule(rule: &mut Rule) {
    if let Rule::Rpath { object } | Rule::Runpath { object } = rule {
        change(object);
    }
}

fn change(text: &mut String) {
    *text = printable(text);
}
