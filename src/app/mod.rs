//! The work of `compat` without a command line: options in, report out.
//!
//! Nothing here parses arguments, prints or knows an exit code. `cli` does. Notes before the report go to an
//! [`Observer`].

pub mod attach;
pub mod cache;
pub mod carried;
pub mod check;
pub mod copy;
pub mod delete;
pub mod derive;
pub mod discover;
pub mod document;
pub mod explain;
pub mod failure;
pub mod generate;
pub mod host;
pub mod in_order;
pub mod in_root;
pub mod inspect;
pub mod observer;
pub mod output;
pub mod pull;
pub mod push;
pub mod recording;
pub mod select;
pub mod session;
pub mod source;
pub mod spindle;
pub mod stdin;
pub mod target;
pub mod tree;
pub mod validate;
pub mod wording;

pub use failure::{Cause, Failure};
pub use observer::Observer;
pub use session::{Connection, Session, SessionOptions};
pub use stdin::StandardInput;
pub use target::{Target, TargetOptions};

#[cfg(test)]
mod tests;
