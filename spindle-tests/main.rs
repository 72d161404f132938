//! End-to-end tests of `spindle`: real programs in mirrors of shares.
//!
//! There is one trial for each case (`cases/`). If this machine lacks a requirement, the case is shown as
//! ignored with the reason. With `CI=true` it fails instead. Run one case with `cargo test --test spindle --
//! NAME`.

mod cases;
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A slow share is this program in another process.
    if let Some(code) = slow_share::serve_if_asked() {
        return code;
    }
    // Some cases fork below, which a process with several threads must not do. They start this program once
    // more.
    if let Some(task) = std::env::var_os(harness::plain::TASK) {
        return harness::plain::run(&task);
    }
    harness::SUITE.run(cases::all())
}
