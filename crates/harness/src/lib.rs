//! The shared parts of the end-to-end suites `registry-tests/`, `record-tests/`, `spindle-tests/` and `truth-tests/` of
//! the root package.
//!
//! A suite's `main` passes its [`Case`]s to [`Suite::run`]. A case states a behaviour in its name and gets a
//! [`Workspace`]. This is a temporary directory in which it runs `compat` ([`Workspace::compat`]) and other
//! programs ([`process::run`]), and it is printed if the case fails. If the machine does not meet a requirement
//! of a case, the case is ignored with the reason. With `CI=true` it fails.
//!
//! The crate does not know the program under test: only the root package's tests know its path. [`suite!`] takes
//! it from there.

#![warn(missing_docs)]

pub mod case;
mod child_output;
pub mod compat;
pub mod docker;
pub mod made_image;
pub mod process;
pub mod root;
mod suite;
mod workspace;

use std::path::{Path, PathBuf};

pub use case::{Case, Requirement};
pub use suite::{Suite, print_figure};
pub use workspace::Workspace;

/// A C source that more than one suite compiles.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}
