//! The handlers of requests, one file for each kind.

pub(super) mod attribute;
mod cached;
mod closing;
mod copy;
pub(super) mod create;
pub(super) mod directory;
pub(super) mod file;
mod growth;
pub(super) mod name;
mod registration;
pub(super) mod remove;
pub(super) mod space;
pub(super) mod xattr;
