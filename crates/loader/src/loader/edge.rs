//! The edges between the objects of a start: who asked for which name, and what came of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::elf::DependencyKind;
use crate::loader::Rule;
use crate::spec::DlopenPriority;

/// One name that an object asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The name, tokens replaced. Of a library that is opened at run time, the one that was found, else
    /// the first.
    pub name: String,
    /// How it is asked for.
    pub kind: EdgeKind,
    /// What came of it.
    pub outcome: EdgeOutcome,
}

/// How an object asks for another.
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
    /// By dlopen(3) at run time, as a note says.
    Dlopen {
        /// How much depends on it.
        priority: DlopenPriority,
    },
}

/// What came of asking for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeOutcome {
    /// The object with this index was loaded for it.
    Loaded(usize),
    /// The object with this index was there already.
    Known(usize, KnownBy),
    /// A file is there that would be opened at run time.
    Available {
        /// The file.
        path: String,
        /// Why it is this file.
        rule: Rule,
    },
    /// The kernel's own object, which is there before everything else (vdso(7)).
    Kernel,
    /// Nothing that could be used.
    Missing,
}

/// How an object was recognised as loaded already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KnownBy {
    /// It was asked for by this name before.
    Name,
    /// The name is its soname.
    Soname,
    /// A search led to the same file.
    File,
    /// It is the kernel's own object, and no file.
    Kernel,
}

impl Edge {
    /// The object at its other end, by its index.
    pub fn target(&self) -> Option<usize> {
        match self.outcome {
            EdgeOutcome::Loaded(index) | EdgeOutcome::Known(index, _) => Some(index),
            EdgeOutcome::Available { .. } | EdgeOutcome::Kernel | EdgeOutcome::Missing => None,
        }
    }

    /// The same edge among objects that have other indices.
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
