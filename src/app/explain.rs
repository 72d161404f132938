//! The meaning of a kind of finding: `compat explain`.

use serde::Serialize;

use compat_loader::check::catalogue::{self, Entry};

/// The kinds of findings in a report.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Explanation {
    /// The requested kind, or all kinds.
    pub kinds: Vec<&'static Entry>,
}

/// Explains one kind, or all kinds.
pub fn explain(kind: Option<&'static Entry>) -> Explanation {
    Explanation { kinds: kind.map_or_else(|| catalogue::all().to_vec(), |kind| vec![kind]) }
}
