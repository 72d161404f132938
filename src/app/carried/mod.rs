//! Recordings in artifacts: compressed when they are pushed (`send`), and written to files when they are pulled
//! (`fetch`).

mod fetch;
mod send;

pub use fetch::{Target, fetch, targets};
pub use send::read;

/// The endings of the names of recordings in artifacts: plain, and compressed with zstd.
const PLAIN: &str = ".jsonl";
const COMPRESSED: &str = ".jsonl.zst";
