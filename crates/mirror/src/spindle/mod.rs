//! Serves a slow file system from a cache on the node: each file is read once, and known names are answered without
//! asking.
//!
//! - [`figures`]: the counters of a run, and the document that reports them;
//! - [`foresee`]: files that are read ahead;
//! - [`index`]: facts about files, kept for the next run;
//! - [`store`]: the contents on the node's disk, named by their SHA-256 digest.

pub mod figures;
pub mod foresee;
pub mod index;
pub mod store;
