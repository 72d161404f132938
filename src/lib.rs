//! `compat` tells whether an application or a container image will run on a machine, and why not,
//! from a few kilobytes in a registry and before anything large is pulled.
//!
//! The rooms of the house, from the ground up; lower never imports higher (see
//! `docs/architecture.md`, a test holds the order):
//!
//! - [`elf`]: bytes of one object -> its facts; [`spec`]: the specification document;
//!   [`trace`]: the recording's lines; [`sys`]: the operating system, and the only unsafe code;
//! - [`host`]: a root file system as the loader sees it; [`registry`]: references, transfer, referrers;
//!   [`mirror`]: a root shown once more through FUSE; [`enter`]: a command in a namespace with that root;
//! - [`record`]: mirror + command -> recording;
//! - [`image`]: a container image as a root; [`loader`]: what would `ld.so` do;
//! - [`generate`]: objects -> specification; [`check`]: specification x host -> report;
//! - [`cli`]: arguments, rendering, exit codes.

pub mod check;
pub mod cli;
pub mod elf;
pub mod enter;
pub mod generate;
pub mod host;
pub mod image;
pub mod loader;
pub mod mirror;
mod raw;
pub mod record;
pub mod registry;
pub mod script;
pub mod spec;
pub mod sys;
pub mod trace;
