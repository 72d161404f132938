//! The operating system where Rust's standard library does not reach: the only unsafe code.

mod mapping;

pub use mapping::{map, zeroed};
