//! A host: a root file system as the dynamic loader sees it, with its CPU and kernel.
//!
//! [`walk()`] walks a path in any file system. [`Root`] walks paths inside one root. [`Platform`] describes the
//! CPU and the kernel, [`DynamicLoader`] the search rules in a loader's file, and [`LibraryCache`] the content
//! of `ld.so.cache`. The resolution of names to files is in `loader`.

mod content;
mod driver;
mod dynamic_loader;
mod handler;
mod kernel_config;
mod library_cache;
mod platform;
mod privilege;
mod profile;
mod root;
mod walk;

pub use crate::spec::{DynamicLoader, Flavour};
pub use content::{MOST_COPIED, object, whole};
pub use driver::{Drivers, NvidiaDriver};
pub use handler::Handler;
pub use library_cache::{CacheEntry, LibraryCache};
pub use platform::Platform;
pub use privilege::{FilePrivileges, Starter, is_set_id};
pub use profile::{MAXIMUM_PROFILE_SIZE, PROFILE_IDENTIFIER, Profile, ProfileError, is_core_library};
pub use root::{DirectoryEntry, FileIdentity, Root, WalkError, is_noexec, may_execute};
pub use walk::{Ahead, Cursor, Found, MAXIMUM_LINKS, MAXIMUM_NAME, MAXIMUM_PATH, Text, walk, walk_names};
