//! Recordings that travel with an artifact: compressed on the way there (`send`), files again on the way
//! back (`fetch`).

mod fetch;
mod send;

pub use fetch::{Target, fetch, targets};
pub use send::read;

/// The endings of the names that recordings travel under: plain, and compressed with zstd.
const PLAIN: &str = ".jsonl";
const COMPRESSED: &str = ".jsonl.zst";
