//! The edges between the objects of a start: the names that each object requests, and their results.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::elf::DependencyKind;
use crate::loader::Rule;
use crate::spec::DlopenPriority;

/// One name that an object requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The name, with tokens replaced. For a library that is opened at run time, the name that was found,
    /// otherwise the first.
    pub name: String,
    /// The kind of request.
    pub kind: EdgeKind,
    /// The result.
    pub outcome: EdgeOutcome,
}

/// The way in which an object requests another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EdgeKind {
    /// `DT_NEEDED`.
    Needed,
    /// `DT_FILTER`.
    Filter,
    /// `DT_AUXILIARY`: optional.
    Auxiliary,
    /// `/etc/ld.so.preload`.
    Preload,
    /// dlopen(3) at run time, according to a note.
    Dlopen {
        /// The importance of the library.
        priority: DlopenPriority,
    },
}

/// The result of a request for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeOutcome {
    /// The object with this index was loaded for it.
    Loaded(usize),
    /// The object with this index was already loaded.
    Known(usize, KnownBy),
    /// A file exists that would be opened at run time.
    Available {
        /// The file.
        path: String,
        /// The rule that selects this file.
        rule: Rule,
    },
    /// The vDSO, the kernel's own object, which is present before everything else (vdso(7)).
    Kernel,
    /// No usable file was found.
    Missing,
}

/// The way in which an object was recognised as already loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    /// The same name was requested before.
    Name,
    /// The name is its soname.
    Soname,
    /// A search led to the same file.
    File,
    /// It is the vDSO, the kernel's own object, not a file.
    Kernel,
}

impl Edge {
    /// The index of the object at the other end.
    pub fn target(&self) -> Option<usize> {
        match self.outcome {
            EdgeOutcome::Loaded(index) | EdgeOutcome::Known(index, _) => Some(index),
            EdgeOutcome::Available { .. } | EdgeOutcome::Kernel | EdgeOutcome::Missing => None,
        }
    }

    /// Returns the same edge with other object indices.
    pub(super) fn moved(mut self, place: impl Fn(usize) -> usize) -> Self {
        if let EdgeOutcome::Loaded(index) | EdgeOutcome::Known(index, _) = &mut self.outcome {
            *index = place(*index);
        }
        self
    }
}

impl From<DependencyKind> for EdgeKind {
    fn from(kind: DependencyKind) -> Self {
        match kind {
            DependencyKind::Needed => Self::Needed,
            DependencyKind::Filter => Self::Filter,
            DependencyKind::Auxiliary => Self::Auxiliary,
        }
    }
}
