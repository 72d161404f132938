//! The specification: what an application needs, as a document.

pub mod media_type;
