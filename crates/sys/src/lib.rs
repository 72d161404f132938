//! System calls that Rust's standard library does not provide. The only crate with unsafe code.
//!
//! [`raw`] contains no unsafe code. It converts file names, which may be invalid UTF-8, to text and back.
//!
//! ```
//! use compat_sys::raw;
//!
//! let name = raw::text(b"caf\xe9");
//! assert_eq!(*raw::bytes(&name), *b"caf\xe9");
//! ```

#![warn(missing_docs)]
#![warn(unreachable_pub)]

mod architecture;
mod credential;
mod file_attribute;
mod fuse_device;
mod mapping;
mod mount;
mod process;
pub mod raw;
mod signal;
mod socket;
mod stream;
mod temporary;

pub use architecture::{Architecture, x86_64_level};
pub use credential::{set_file_system_group, set_file_system_user, set_groups};
pub use file_attribute::{FileAttributes, file_attributes, set_file_attributes};
pub use fuse_device::{clone_device, close_backing, open_backing};
pub use mapping::{map, open_regular, zeroed};
pub use mount::{add_mount_flags, mount_number};
pub use process::{close_inherited, execute, fork, unshare_directory_and_mask, unshare_mounts};
pub use signal::{Received, SignalSet, block, ignore, is_ignored, restore, wait_for};
pub use socket::{Peer, peer};
pub use stream::{Stream, open_stream};
pub use temporary::{Temporary, remove_abandoned};
