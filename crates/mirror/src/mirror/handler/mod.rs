//! The answers, one file a kind of request.

pub(super) mod attribute;
pub(super) mod create;
pub(super) mod extended;
pub(super) mod file;
pub(super) mod folder;
mod growth;
pub(super) mod name;
mod registration;
pub(super) mod remove;
pub(super) mod space;
