//! A host: a root file system as the dynamic loader sees it, with its CPU and kernel.
//!
//! [`Root`] walks paths inside its own root, [`Platform`] says what CPU and kernel there are,
//! [`DynamicLoader`] what the loader's own file tells about how it searches, [`LibraryCache`] what
//! `ld.so.cache` holds. Nothing here decides which file a name resolves to: that is `loader`.

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

pub use crate::spec::{DynamicLoader, Flavour};
pub use content::{MOST_COPIED, object, whole};
pub use driver::{Drivers, NvidiaDriver};
pub use handler::Handler;
pub use library_cache::{CacheEntry, LibraryCache};
pub use platform::Platform;
pub use privilege::{FilePrivileges, Starter, is_set_id};
pub use profile::{MAXIMUM_PROFILE_SIZE, PROFILE_IDENTIFIER, Profile, ProfileError, is_core_library};
pub use root::{
    Entry, Identity, MAXIMUM_LINKS, MAXIMUM_NAME, MAXIMUM_PATH, Root, WalkError, is_noexec, may_execute,
};
