//! Serves a slow file system from a cache on the node: each file is read once, and known names are answered without
//! asking.
//!
//! - [`figures`]: the counters of a run, and the document that reports them;
//! - [`foresee`]: files that are read ahead.

pub mod figures;
pub mod foresee;
