//! Registries and OCI image layouts: references, credentials, transfer, referrers and the cache.
//!
//! A [`Location`] names a place, a [`Client`] holds the settings for registries, and a [`Store`] is one
//! repository or layout. The operations build on these: [`push()`], [`attach`], [`find`](find::find),
//! [`copy`](copy::copy), [`delete`](delete::delete), [`discover`](discover::discover).
//!
//! ```
//! use std::sync::Arc;
//!
//! use compat_oci::find::find;
//! use compat_oci::{
//!     Access, Cache, Client, ClientOptions, FindOptions, Location, PackOptions, Platform, Silent, Store, pack, push,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("layout");
//! // An image layout in a directory; a registry is written as HOST/NAME:TAG.
//! let location = Location::parse(&format!("oci:{}:app", path.display()))?;
//! let client = Client::new(ClientOptions::default(), Arc::new(Silent));
//! let store = Store::new(&client, &location.place, Access::Push);
//!
//! let artifact = pack(br#"{"version":"1.0.0"}"#, PackOptions::default())?;
//! push(&store, location.tag(), &artifact, false).await?;
//!
//! let cache = Cache::new(None, Arc::new(Silent));
//! let options = FindOptions { platform: Platform::host(), platform_named: false, offline: false };
//! let found = find(&store, &cache, &location, &options).await?;
//! assert_eq!(&found.specification[..], br#"{"version":"1.0.0"}"#);
//! # Ok(())
//! # }
//! ```
//!
//! All external content is bounded ([`limit`]) and verified against its digest before use. Nothing here
//! prints: callers watch through an [`Observer`].

#![warn(missing_docs)]
#![warn(unreachable_pub)]

pub mod artifact;
mod attach;
pub mod blob;
pub mod cache;
pub mod choice;
pub mod copy;
pub mod credential;
pub mod delete;
pub mod discover;
pub mod engine;
pub mod error;
pub mod find;
pub mod format;
mod layout;
pub mod limit;
pub mod observer;
mod push;
pub mod referrers;
pub mod remote;
mod store;

pub use artifact::{PackOptions, Packed, pack};
pub use attach::{Attachment, Outcome, attach_specification};
pub use cache::Cache;
pub use engine::{Engine, EngineKind};
pub use error::{Error, Result};
pub use find::{FindOptions, Found, Level};
pub use format::digest::{self, Digest};
pub use format::location::{self, Location, ManifestName, Place, Selector};
pub use format::manifest::{self, Descriptor, Manifest, Resolved};
pub use format::platform::{self, Platform};
pub use format::{FormatError, media_type, text, transport};
pub use observer::{Observer, Silent};
pub use push::{Attached, Pushed, attach, push};
pub use remote::{Access, Client, ClientOptions, TlsOptions};
pub use store::Store;
