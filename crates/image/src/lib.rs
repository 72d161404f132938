//! Container images as roots that the loader can walk: sources, layers, the merged tree, the
//! configuration. Nothing is unpacked to disk.
//!
//! A [`Source`] names an image. [`Listing::open`] finds the images of a source, one for each platform.
//! [`read()`] streams and verifies the layers of an image and returns an [`Image`] with its [`Tree`]. An ELF
//! object is kept in packed form, without the parts that nothing reads ([`Packed`]). Other files keep hardly
//! any content. `docs/images.md` lists the rules and limits. Images are untrusted: their content cannot
//! write a file, lead out of the image's root, or exceed [`Limits`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use compat_image::{ImageOptions, Limits, Listing, Source, generate_image, read};
//! use compat_oci::{Client, ClientOptions, Silent};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The directory of an unpacked image. HOST/NAME:TAG would read the layers of an image in a registry.
//! let directory = tempfile::tempdir()?;
//! std::fs::write(directory.path().join("start"), "#!/bin/sh\nexec /opt/app\n")?;
//!
//! let source = Source::parse(&directory.path().display().to_string())?;
//! let (client, limits) = (Client::new(ClientOptions::default(), Arc::new(Silent)), Limits::default());
//! let listing = Listing::open(&client, &source, &limits).await?;
//! let image = read(&listing, &listing.images[0], &limits).await?;
//!
//! let options = ImageOptions { executables: vec!["/start".to_owned()], ..ImageOptions::default() };
//! let needs = generate_image(&image.tree, &image.config, None, &options)?.specification;
//! assert_eq!(needs.subjects, ["start"]);
//! # Ok(())
//! # }
//! ```
//!
//! Formats: image-spec 1.1 (`layer.md`, `config.md`, `image-layout.md`), docker's image specification
//! 1.2 (`manifest.json`), POSIX pax and GNU tar. This crate does not decide whether the image's command
//! will run.

#![warn(missing_docs)]
#![warn(unreachable_pub)]

mod archive;
mod blobs;
mod config;
mod content;
mod decode;
mod directory;
mod entry;
mod error;
mod exported;
mod layer;
pub mod limit;
mod listing;
mod memory;
mod merge;
mod needs;
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
pub use listing::{ListedImage, Listing};
pub use needs::{HostLibraries, ImageError, ImageOptions, generate_image};
pub use packed::Packed;
pub use read::{Image, Size, read};
pub use source::{Source, has_archive_name, is_sif};
pub use tree::{Directory, File, FileContent, FileId, Node, Tree, Walk};
