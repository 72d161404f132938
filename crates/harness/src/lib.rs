//! The parts that the end-to-end suites share: `registry-tests/`, `record-tests/` and `truth-tests/` of the root package.
//!
//! A suite's `main` hands its [`Case`]s to [`Suite::run`]. A case states a behaviour in its name and gets a
//! [`Workspace`]: a temporary directory in which it runs `compat` ([`Workspace::compat`]) and other programs
//! ([`process::run`]), and which is printed if it fails. A case whose requirements this machine does not meet is
//! ignored with the reason; with `CI=true` it is a failure.
//!
//! The crate does not know the program under test: its path exists in the root package's tests alone. [`suite!`]
//! takes it from there.

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
