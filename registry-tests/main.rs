//! End-to-end tests against real registries, other people's clients and real root file systems.
//!
//! One trial a case (`cases/`); what a case needs is started by `harness/`. A requirement that this
//! machine lacks shows as ignored with its reason; with `CI=true` it is a failure.
//!
//! One case: `cargo test --test registry -- NAME`. `COMPAT_TEST_KEEP=1` keeps the workspaces.

mod cases;
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::SUITE.run(cases::all())
}
