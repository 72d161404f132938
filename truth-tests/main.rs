//! Compares the real dynamic loader with `compat`, program by program.
//!
//! `README.md` describes the comparison. A test whose requirement this machine lacks is ignored with the
//! reason. With `CI=true`, it fails.
//!
//! One case: `cargo test --test truth -- NAME`. `COMPAT_TEST_KEEP=1` keeps the workspaces.

mod cases;
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::SUITE.run(cases::all())
}
