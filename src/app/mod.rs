//! What `compat` does, without a command line: options in, report out.
//!
//! Nothing here parses arguments, prints or knows an exit code; `cli` does. What is worth saying before a report is there
//! goes to an [`Observer`].

pub mod failure;
pub mod observer;
pub mod session;
pub mod stdin;

pub use failure::{Cause, Failure};
pub use observer::Observer;
pub use session::{Connection, Session, SessionOptions};
pub use stdin::StandardInput;
