//! Users and root, natively and in a mirror, side by side. Each action of a user runs in two identical
//! directories, both times by the same script (`fixtures/privilege.py` describes scripts).

pub mod combination;
mod engine;
mod inherent;
pub mod run;
pub mod world;
