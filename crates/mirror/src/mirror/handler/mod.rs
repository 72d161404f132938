//! The answers, one file a kind of request.

pub mod attribute;
pub mod create;
pub mod extended;
pub mod file;
pub mod folder;
mod growth;
pub mod name;
mod registration;
pub mod remove;
pub mod space;
