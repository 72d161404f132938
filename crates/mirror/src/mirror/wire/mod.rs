//! The kernel's FUSE protocol, version 7 (`linux/fuse.h`): numbers, and how messages are read and
//! written. Everything is in the machine's own byte order.

mod attribute;
mod feature;
mod message;
mod notice;
mod operation;

pub(super) use attribute::{Validity, write_attributes, write_entry, write_statx, write_volume_statistics};
pub(super) use feature::{Feature, Greeting, write_greeting};
pub(super) use message::{Header, MessageBody, OUT_HEADER, ReplyExt};
pub(super) use notice::{write_forgotten_attributes, write_invalidation, write_stored};
pub(super) use operation::Operation;

use super::number::NodeId;

/// The largest read or write, in bytes: 256 pages, as much as the kernel grants.
pub(super) const LARGEST: u32 = 1 << 20;

/// The root's node (`FUSE_ROOT_ID`).
pub(super) const ROOT: NodeId = NodeId(1);

/// `FOPEN_*`: the flags of an answer to an open.
pub(super) mod opened {
    /// Each read and write is asked for; the page cache has mappings alone.
    pub(crate) const DIRECT_IO: u32 = 1 << 0;
    /// The page cache of the file stays valid.
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    /// Reads and writes go to the registered file.
    pub(crate) const PASSTHROUGH: u32 = 1 << 7;
}

/// `FATTR_*`: what a change of attributes sets.
pub(super) mod change {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
}
