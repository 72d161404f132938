//! The first message of a session, which negotiates features (`struct fuse_init_in`, `fuse_init_out`).

use rustix::io::Errno;

use super::{MessageBody, ReplyExt};

/// The features that kernel and server negotiate (`FUSE_*` flags). The upper half is the second word of
/// flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feature(pub u64);

impl Feature {
    pub(crate) const ASYNC_READ: Self = Self(1 << 0);
    /// An open truncates the file by itself.
    pub(crate) const ATOMIC_O_TRUNC: Self = Self(1 << 3);
    /// Files are also found by the numbers of their nodes, even forgotten ones.
    pub(crate) const EXPORT_SUPPORT: Self = Self(1 << 4);
    pub(crate) const BIG_WRITES: Self = Self(1 << 5);
    /// The creation mask is sent, not applied.
    pub(crate) const DONT_MASK: Self = Self(1 << 6);
    pub(crate) const HAS_IOCTL_DIR: Self = Self(1 << 11);
    /// Pages are dropped when a file's time or size turns out to have changed.
    pub(crate) const AUTO_INVAL_DATA: Self = Self(1 << 12);
    pub(crate) const DO_READDIRPLUS: Self = Self(1 << 13);
    pub(crate) const READDIRPLUS_AUTO: Self = Self(1 << 14);
    pub(crate) const ASYNC_DIO: Self = Self(1 << 15);
    pub(crate) const PARALLEL_DIROPS: Self = Self(1 << 18);
    /// The kernel evaluates access control lists.
    pub(crate) const POSIX_ACL: Self = Self(1 << 20);
    pub(crate) const MAX_PAGES: Self = Self(1 << 22);
    pub(crate) const CACHE_SYMLINKS: Self = Self(1 << 23);
    pub(crate) const SETXATTR_EXT: Self = Self(1 << 29);
    /// A second word of flags follows.
    pub(crate) const INIT_EXT: Self = Self(1 << 30);
    /// The caller's supplementary group is sent with creations.
    pub(crate) const CREATE_SUPP_GROUP: Self = Self(1 << 34);
    pub(crate) const DIRECT_IO_ALLOW_MMAP: Self = Self(1 << 36);
    pub(crate) const PASSTHROUGH: Self = Self(1 << 37);

    /// Whether all of `other` is in this set.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The features in both.
    #[must_use]
    pub(crate) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The kernel's first message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    pub minor: u32,
    pub read_ahead: u32,
    pub offered: Feature,
}

impl Greeting {
    /// Reads the message.
    ///
    /// # Errors
    ///
    /// If the protocol is older than 7.12 or has another major version (`EPROTO`).
    pub(crate) fn read(mut body: MessageBody<'_>) -> Result<Self, Errno> {
        let (major, minor) = (body.u32()?, body.u32()?);
        if major != 7 || minor < 12 {
            return Err(Errno::PROTO);
        }
        let (read_ahead, first) = (body.u32()?, u64::from(body.u32()?));
        let second = if first & Feature::INIT_EXT.0 == 0 { 0 } else { u64::from(body.u32()?) };
        Ok(Self { minor, read_ahead, offered: Feature(first | second << 32) })
    }
}

/// Writes the reply with the chosen values. `largest` is the maximum size of a read or write in bytes.
/// `depth` is the maximum stacking depth of file systems for passthrough.
pub(crate) fn write_greeting(
    out: &mut Vec<u8>,
    greeting: Greeting,
    chosen: Feature,
    largest: u32,
    depth: u32,
) {
    out.put_u32(7);
    out.put_u32(greeting.minor.min(41));
    out.put_u32(greeting.read_ahead);
    out.put_u32(chosen.0 as u32);
    out.put_u16(64); // maximum number of background requests
    out.put_u16(48); // congestion threshold
    out.put_u32(largest);
    out.put_u32(1); // granularity of times in nanoseconds
    out.put_u16((largest / 4096) as u16);
    out.put_u16(0);
    out.put_u32((chosen.0 >> 32) as u32);
    out.put_u32(depth);
    out.put_zeros(24);
}
