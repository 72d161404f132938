//! The foundation of the cases besides `compat_harness`: the recorder as users start it, and strace as the
//! witness.

pub mod case;
pub mod launcher;
pub mod pair;
pub mod privilege;
pub mod provided;
pub mod recorder;
pub mod recording;
pub mod tree;
pub mod user;
pub mod witness;

/// This suite.
pub const SUITE: compat_harness::Suite = compat_harness::suite!("record-tests/setup");
