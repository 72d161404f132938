//! End-to-end tests of the recorder, and with it of the mirror: real programs in a mirror of the root.
//!
//! One trial a case (`cases/`). A requirement that this machine lacks shows as ignored with its reason;
//! with `CI=true` it is a failure. One case: `cargo test --test record -- NAME`.

mod cases;
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Processes are copied below, which one with several threads cannot be: the cases start this program
    // once more.
    if let Some(cache) = std::env::var_os(harness::provided::CACHE) {
        return harness::provided::run(cache.into());
    }
    harness::SUITE.run(cases::all())
}
