//! The parts of `compat spindle` that need more than the mirror.

pub mod foresight;
pub mod savings;
