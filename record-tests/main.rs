//! End-to-end tests of the recorder and its mirror: real programs in a mirror of the root.
//!
//! There is one trial for each case (`cases/`). If this machine lacks a requirement, the case is shown as
//! ignored with the reason. With `CI=true` it fails instead. Run one case with `cargo test --test record --
//! NAME`.

mod cases;
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Some cases fork below, which a process with several threads must not do. They start this program once
    // more.
    if let Some(cache) = std::env::var_os(harness::provided::CACHE) {
        return harness::provided::run(cache.into());
    }
    harness::SUITE.run(cases::all())
}
