//! The dependency chains from a program to one library.

use std::collections::HashSet;

use crate::app::tree::document::{Tree, TreeEdge, Why};

/// The maximum number of chains that are reported.
const MAXIMUM_CHAINS: usize = 256;
/// The maximum number of search steps. In a dense graph, most steps find nothing new.
const MAXIMUM_STEPS: usize = 200_000;

/// Returns every chain in a tree that leads to `name`.
pub fn find(tree: &Tree, name: &str) -> Why {
    let leads = leading(tree, name);
    let why = Why { name: name.to_owned(), chains: Vec::new(), truncated: false };
    let mut walk = Walk { tree, leads, why, path: Vec::new(), names: Vec::new(), steps: 0 };
    for root in tree.roots() {
        walk.names.push(tree.objects[root].path.clone());
        if tree.objects[root].goes_by(name) {
            walk.why.chains.push(walk.names.clone());
        }
        walk.from(root);
        walk.names.pop();
    }
    let mut why = walk.why;
    why.chains.sort_by_key(Vec::len);
    why
}

/// Returns whether a need is for the library `name`, whether it resolves or not.
fn is_it(tree: &Tree, edge: &TreeEdge, name: &str) -> bool {
    edge.name == name || edge.object.is_some_and(|object| tree.objects[object].goes_by(name))
}

/// Returns the objects from which a chain leads to `name`.
fn leading(tree: &Tree, name: &str) -> HashSet<usize> {
    let mut leads = HashSet::new();
    loop {
        let before = leads.len();
        for (index, object) in tree.objects.iter().enumerate() {
            let goes_on = |edge: &TreeEdge| {
                is_it(tree, edge, name) || edge.object.is_some_and(|object| leads.contains(&object))
            };
            if object.needs.iter().any(goes_on) {
                leads.insert(index);
            }
        }
        if leads.len() == before {
            return leads;
        }
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    leads: HashSet<usize>,
    why: Why,
    path: Vec<usize>,
    names: Vec<String>,
    steps: usize,
}

impl Walk<'_> {
    fn from(&mut self, object: usize) {
        self.path.push(object);
        let tree = self.tree;
        for edge in &tree.objects[object].needs {
            self.steps += 1;
            if self.why.chains.len() >= MAXIMUM_CHAINS || self.steps > MAXIMUM_STEPS {
                self.why.truncated = true;
                break;
            }
            self.names.push(edge.name.clone());
            if is_it(tree, edge, &self.why.name) {
                self.why.chains.push(self.names.clone());
            } else if let Some(next) = edge.object
                && self.leads.contains(&next)
                && !self.path.contains(&next)
            {
                self.from(next);
            }
            self.names.pop();
        }
        self.path.pop();
    }
}
