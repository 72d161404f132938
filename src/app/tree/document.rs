//! What became of a start, as a graph: objects, what each asks for, and where the trouble is.

use schemars::JsonSchema;
use serde::Serialize;

use compat_loader::check::{HostSummary, Impact, Verdict};
use compat_loader::loader::{EdgeKind, KnownBy, Problem, Rule};

/// The identifier of this document's schema.
pub const IDENTIFIER: &str = "urn:compatlib:schema:tree:1";

/// How the names of some programs, libraries and scripts resolve.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TreeReport {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// The host they were resolved on.
    pub host: HostSummary,
    /// One for each path that was given and could be looked at.
    pub trees: Vec<Tree>,
    /// The others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedPath>,
}

/// A path that could not be looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailedPath {
    /// The path.
    pub path: String,
    /// Why not.
    pub reason: String,
}

/// How the names of one program, library or script resolve.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    /// What was asked about.
    pub subject: String,
    /// Whether it will run.
    pub verdict: Verdict,
    /// The objects in the order of loading: the program first.
    pub objects: Vec<TreeObject>,
    /// What the loader or the kernel objects to, in the order in which it would.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<TreeProblem>,
    /// Symbols that a library leaves to the program that loads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_to_program: Vec<String>,
    /// The ways that lead to one library, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// One object.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TreeObject {
    /// Its file.
    pub path: String,
    /// The names under which it is known to be loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// Its build-id in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The loader it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Why it is this file.
    pub found: Rule,
    /// The object that first asked for it, by its place in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_by: Option<usize>,
    /// What it asks for, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TreeEdge>,
    /// Where each of its symbols would be bound from, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bindings: Option<Vec<TreeBinding>>,
}

/// One name that an object asks for.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TreeEdge {
    /// The name, tokens replaced.
    pub name: String,
    /// How it is asked for.
    #[serde(flatten)]
    pub kind: EdgeKind,
    /// The object that answers to it, by its place in the list; absent when none is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<usize>,
    /// How the object was recognised when it was loaded already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_by: Option<KnownBy>,
    /// The file that would be opened at run time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<Available>,
}

/// A file that is not loaded at the start.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Available {
    /// The file.
    pub path: String,
    /// Why it is this file.
    pub found: Rule,
}

/// Something that the loader or the kernel objects to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TreeProblem {
    /// What it means for the start.
    pub impact: Impact,
    /// What it is.
    #[serde(flatten)]
    pub problem: Problem,
    /// What would be printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where it belongs; absent when nothing was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The object, by its place in the list.
    pub object: usize,
    /// The name that it asks for, by its place in the list of what it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub need: Option<usize>,
}

/// Where one symbol would be bound from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TreeBinding {
    /// The symbol.
    pub symbol: String,
    /// The version wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The object that defines it, by its place in the list; absent when nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<usize>,
    /// It may be absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weak: bool,
    /// Only called: bound at the first call, unless all are bound at start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
    /// Copied into the program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copy: bool,
}

/// The ways that lead to one library.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Why {
    /// The library that was asked for.
    pub name: String,
    /// Each way: the program, then the names that lead on; the shortest first.
    pub chains: Vec<Vec<String>>,
    /// There are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl Tree {
    /// The programs: objects that nothing else asked for.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        let is_root = |object: &TreeObject| object.found == Rule::Program;
        self.objects.iter().enumerate().filter(move |(_, object)| is_root(object)).map(|(index, _)| index)
    }
}

impl TreeObject {
    /// Whether it answers to a name: a path, a file's name, or one it is loaded under.
    pub fn goes_by(&self, name: &str) -> bool {
        self.path == name
            || self.soname.as_deref() == Some(name)
            || self.names.iter().any(|known| known == name)
            || self.path.rsplit('/').next() == Some(name)
    }
}

impl TreeEdge {
    /// The object that was loaded for it.
    pub fn loaded(&self) -> Option<usize> {
        self.object.filter(|_| self.known_by.is_none())
    }

    /// Whether it has to be there for the start.
    pub fn is_mandatory(&self) -> bool {
        matches!(self.kind, EdgeKind::Needed | EdgeKind::Filter)
    }

    /// Whether it is the kernel's own object.
    pub fn is_kernels(&self) -> bool {
        self.known_by == Some(KnownBy::Kernel)
    }
}
