//! What a kind of finding means: what `compat explain` does.

use serde::Serialize;

use compat_loader::check::catalogue::{self, Entry};

/// The kinds of findings that a report may have.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Explanation {
    /// The kind that was asked for, or all of them.
    pub kinds: Vec<&'static Entry>,
}

/// Explains one kind, or all of them.
pub fn explain(kind: Option<&'static Entry>) -> Explanation {
    Explanation { kinds: kind.map_or_else(|| catalogue::all().to_vec(), |kind| vec![kind]) }
}
