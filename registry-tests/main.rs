//! End-to-end tests against real registries, clients of other projects and real root file systems.
//!
//! There is one trial for each case (`cases/`). `harness/` starts everything that a case needs. If this
//! machine lacks a requirement, the case is shown as ignored with the reason. With `CI=true` it fails
//! instead.
//!
//! Run one case with `cargo test --test registry -- NAME`. `COMPAT_TEST_KEEP=1` keeps the workspaces.

mod cases;
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::SUITE.run(cases::all())
}
