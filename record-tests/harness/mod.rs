//! What the cases stand on: a requirement check, the recorder as users start it, strace as the witness.

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
