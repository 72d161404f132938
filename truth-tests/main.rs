//! What the real dynamic loader does, against what `compat` says it would do, program by program.
//!
//! `README.md` says what is compared and how. A requirement that this machine lacks shows as ignored
//! with its reason; with `CI=true` it is a failure.
//!
//! One case: `cargo test --test truth -- NAME`. `COMPAT_TEST_KEEP=1` keeps the workspaces.

mod cases;
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::SUITE.run(cases::all())
}
