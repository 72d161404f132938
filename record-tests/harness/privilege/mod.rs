//! Users and root, natively and in a mirror, side by side: whatever a user does is done in two directories that are
//! alike, and both times by the same script (`fixtures/privilege.py` says what scripts are).

pub mod combination;
mod engine;
mod inherent;
pub mod run;
pub mod world;
