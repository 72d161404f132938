//! The kernel's FUSE protocol, version 7 (`linux/fuse.h`): its numbers, and functions that read and write
//! messages. All values are in the machine's byte order.

mod attribute;
mod feature;
mod message;
mod notice;
mod operation;

pub(super) use attribute::{
    Validity, write_attributes, write_entry, write_missing_entry, write_statx, write_volume_statistics,
};
pub(super) use feature::{Feature, Greeting, write_greeting};
pub(super) use message::{Header, MessageBody, OUT_HEADER, ReplyExt};
pub(super) use notice::{write_expired_entry, write_forgotten_attributes, write_invalidation, write_stored};
pub(super) use operation::Operation;

use super::number::NodeId;

/// The maximum size of a read or write in bytes: 256 pages, the most that the kernel grants.
pub(super) const LARGEST: u32 = 1 << 20;

/// The root's node (`FUSE_ROOT_ID`).
pub(super) const ROOT: NodeId = NodeId(1);

/// `FOPEN_*`: the flags of a reply to an open.
pub(super) mod opened {
    /// Each read and write is sent as a request. The page cache holds only mappings.
    pub(crate) const DIRECT_IO: u32 = 1 << 0;
    /// The page cache of the file stays valid.
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    /// Reads and writes go to the registered file.
    pub(crate) const PASSTHROUGH: u32 = 1 << 7;
}

/// `FATTR_*`: the attributes that a change sets.
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
