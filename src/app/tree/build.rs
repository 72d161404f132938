//! Converts a load to a tree.

use crate::app::tree::document::{Available, Tree, TreeBinding, TreeEdge, TreeObject, TreeProblem};
use crate::app::tree::place;
use compat_loader::check::Impact;
use compat_loader::loader::{Bound, Edge, EdgeOutcome, KnownBy, Load, LoadedObject, Problem};

impl Tree {
    /// Returns the tree of a start of `subject`.
    pub fn new(subject: &str, load: &Load, with_bindings: bool) -> Self {
        let mut objects: Vec<TreeObject> = load.objects.iter().map(TreeObject::new).collect();
        if with_bindings {
            for bindings in load.bindings() {
                let bound = bindings.bound.into_iter().map(TreeBinding::new).collect();
                objects[bindings.object].bindings = Some(bound);
            }
        }
        let problems: Vec<TreeProblem> =
            load.problems.iter().map(|problem| TreeProblem::new(problem, load, &objects)).collect();
        let worst = problems.iter().map(|problem| problem.impact).max().unwrap_or(Impact::Note);
        Self {
            subject: subject.to_owned(),
            verdict: worst.verdict(),
            objects,
            problems,
            left_to_program: load.left_to_program.iter().flat_map(|left| left.symbols.clone()).collect(),
            why: None,
        }
    }
}

impl TreeObject {
    fn new(object: &LoadedObject) -> Self {
        Self {
            path: object.shown.clone(),
            names: object.names.clone(),
            soname: object.facts.soname.clone(),
            build_id: object.facts.build_id.clone(),
            interpreter: object.facts.interpreter.clone(),
            found: object.rule.clone(),
            loaded_by: object.loaded_by,
            needs: object.edges.iter().map(TreeEdge::new).collect(),
            bindings: None,
        }
    }
}

impl TreeEdge {
    fn new(edge: &Edge) -> Self {
        Self {
            name: edge.name.clone(),
            kind: edge.kind,
            object: edge.target(),
            known_by: match edge.outcome {
                EdgeOutcome::Known(_, known_by) => Some(known_by),
                EdgeOutcome::Kernel => Some(KnownBy::Kernel),
                _ => None,
            },
            available: match &edge.outcome {
                EdgeOutcome::Available { path, rule } => {
                    Some(Available { path: path.clone(), found: rule.clone() })
                }
                _ => None,
            },
        }
    }
}

impl TreeProblem {
    fn new(problem: &Problem, load: &Load, objects: &[TreeObject]) -> Self {
        Self {
            impact: problem.effect().into(),
            message: problem.message(load),
            at: place::of(problem, objects),
            problem: problem.clone(),
        }
    }
}

impl TreeBinding {
    fn new(bound: Bound) -> Self {
        let Bound { symbol, version, provider, weak, lazy, copy } = bound;
        Self { symbol, version, from: provider, weak, lazy, copy }
    }
}
