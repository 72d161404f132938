//! The result of a start as a graph: the objects, their needs, and the places of problems.

use schemars::JsonSchema;
use serde::Serialize;

use compat_loader::check::{HostSummary, Impact, Verdict};
use compat_loader::loader::{EdgeKind, KnownBy, Problem, Rule};

/// The identifier of this document's schema.
pub const IDENTIFIER: &str = "urn:compatlib:schema:tree:1";

/// The resolved names of programs, libraries and scripts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TreeReport {
    /// The identifier of this document's schema.
    #[serde(rename = "$schema")]
    pub schema: String,
    /// The host on which they were resolved.
    pub host: HostSummary,
    /// One tree for each path that could be read.
    pub trees: Vec<Tree>,
    /// The paths that could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedPath>,
}

/// A path that could not be read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FailedPath {
    /// The path.
    pub path: String,
    /// The error.
    pub reason: String,
}

/// The resolved names of one program, library or script.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tree {
    /// The program, library or script.
    pub subject: String,
    /// The verdict on it.
    pub verdict: Verdict,
    /// The objects in load order, the program first.
    pub objects: Vec<TreeObject>,
    /// The problems, in the order in which the loader or the kernel would report them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<TreeProblem>,
    /// Symbols that a library needs from the program that loads it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_to_program: Vec<String>,
    /// The dependency chains to one library, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// One object.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TreeObject {
    /// The file of the object.
    pub path: String,
    /// The names under which the loader knows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The soname.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soname: Option<String>,
    /// The build ID, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// The dynamic loader that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// The rule that found the file.
    pub found: Rule,
    /// The object that first needed it, by its index in the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_by: Option<usize>,
    /// The names that it needs, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TreeEdge>,
    /// The object that each of its symbols would be bound to, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bindings: Option<Vec<TreeBinding>>,
}

/// One name that an object needs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TreeEdge {
    /// The name, with tokens such as `$ORIGIN` replaced.
    pub name: String,
    /// The kind of the need.
    #[serde(flatten)]
    pub kind: EdgeKind,
    /// The object that is loaded for it, by its index in the list. Absent if no object is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<usize>,
    /// The reason why the object counts as already loaded.
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
    /// The rule that found the file.
    pub found: Rule,
}

/// A problem that the loader or the kernel would report.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TreeProblem {
    /// The impact on the start.
    pub impact: Impact,
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
    /// The message that would be printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The place of the problem. Absent if nothing was loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

/// A place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The object, by its index in the list.
    pub object: usize,
    /// The needed name, by its index in the object's `needs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub need: Option<usize>,
}

/// The binding of one symbol.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TreeBinding {
    /// The symbol.
    pub symbol: String,
    /// The required version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The object that defines it, by its index in the list. Absent if no object does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<usize>,
    /// The reference is weak: the symbol can be absent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weak: bool,
    /// The symbol is only called, so it is bound at the first call, unless all symbols are bound at the start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
    /// The symbol is copied into the program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copy: bool,
}

/// The dependency chains to one library.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Why {
    /// The name of the library.
    pub name: String,
    /// The chains, the shortest first. Each begins with the program and ends with the library.
    pub chains: Vec<Vec<String>>,
    /// Whether there are more chains.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl Tree {
    /// Returns the programs: objects that no other object needs.
    pub fn roots(&self) -> impl Iterator<Item = usize> {
        let is_root = |object: &TreeObject| object.found == Rule::Program;
        self.objects.iter().enumerate().filter(move |(_, object)| is_root(object)).map(|(index, _)| index)
    }
}

impl TreeObject {
    /// Returns whether the object has a name: its path, its file name, or a name that the loader knows it by.
    pub fn goes_by(&self, name: &str) -> bool {
        self.path == name
            || self.soname.as_deref() == Some(name)
            || self.names.iter().any(|known| known == name)
            || self.path.rsplit('/').next() == Some(name)
    }
}

impl TreeEdge {
    /// Returns the object that was loaded for this need.
    pub fn loaded(&self) -> Option<usize> {
        self.object.filter(|_| self.known_by.is_none())
    }

    /// Returns whether the start fails without it.
    pub fn is_mandatory(&self) -> bool {
        matches!(self.kind, EdgeKind::Needed | EdgeKind::Filter)
    }

    /// Returns whether the kernel provides the object.
    pub fn is_kernels(&self) -> bool {
        self.known_by == Some(KnownBy::Kernel)
    }
}
