//! Container images as roots that the loader can walk: sources, layers, the merged tree, the
//! configuration. Nothing is unpacked to disk.
//!
//! A [`Source`] is what a user names an image by; [`Listing::open`] finds the images there, one for each
//! platform; [`read`] streams the layers of one, verified, and gives an [`Image`] with its [`Tree`]. Of
//! ELF objects the parts that are read of them are kept, packed ([`Packed`]); of other files hardly
//! anything. The rules and bounds are in `docs/images.md`; images are written by others, and nothing in
//! one can write a file, lead out of its root, or take more than [`Limits`].
//!
//! Formats: image-spec 1.1 (`layer.md`, `config.md`, `image-layout.md`), docker's image specification
//! 1.2 (`manifest.json`), POSIX pax and GNU tar. What would be run of an image, and whether it would
//! work, is not decided here.

mod archive;
mod blobs;
mod config;
mod content;
mod decode;
mod entry;
mod error;
mod exported;
mod folder;
mod layer;
pub mod limit;
mod listing;
mod memory;
mod merge;
mod packed;
mod path;
mod read;
mod source;
mod sparse;
#[cfg(test)]
pub(crate) mod tests;
mod tree;

pub use config::Config;
pub use error::{Error, Fault, Result};
pub use limit::Limits;
pub use listing::{Entry, Listing};
pub use packed::{Packed, Packer};
pub use read::{Image, Size, read};
pub use source::{Source, has_archive_name, is_sif};
pub use tree::{Content, Directory, File, FileId, Node, Tree, Walk};
