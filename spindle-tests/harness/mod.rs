//! The foundation of the cases besides `compat_harness`: a mirror without a cache.

pub mod case;
pub mod plain;
pub mod script;
pub mod served;

/// This suite.
pub const SUITE: compat_harness::Suite = compat_harness::suite!("spindle-tests/setup");
