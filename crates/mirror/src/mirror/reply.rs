//! Short replies, each with its struct in `linux/fuse.h`.

use super::number::FileHandle;
use super::wire::{OUT_HEADER, ReplyExt};

/// `struct fuse_open_out`.
#[derive(Clone, Copy)]
pub(super) struct OpenReply {
    /// The number by which the kernel names the open from now on.
    pub handle: FileHandle,
    /// `FOPEN_*`.
    pub open_flags: u32,
    /// The number of the registration for passthrough, or 0.
    pub backing: u32,
}

impl OpenReply {
    /// Appends the struct to a reply.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.put_u64(self.handle.0);
        out.put_u32(self.open_flags);
        out.put_u32(self.backing);
    }
}

/// `struct fuse_write_out` and `struct fuse_getxattr_out`: a size in bytes.
#[derive(Clone, Copy)]
pub(super) struct SizeReply(pub u32);

impl SizeReply {
    /// Appends the struct to a reply.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.put_u32(self.0);
        out.put_u32(0);
    }
}

/// `struct fuse_lseek_out`: an offset in bytes.
#[derive(Clone, Copy)]
pub(super) struct LseekReply(pub u64);

impl LseekReply {
    /// Appends the struct to a reply.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.put_u64(self.0);
    }
}

/// `struct fuse_ioctl_out` of a successful ioctl. The output follows it.
#[derive(Clone, Copy)]
pub(super) struct IoctlReply;

impl IoctlReply {
    /// Appends the struct to a reply.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.put_zeros(16);
    }
}

/// `struct fuse_dirent` with its name.
#[derive(Clone, Copy)]
pub(super) struct DirectoryEntry<'a> {
    /// The file's number (`st_ino`).
    pub inode: u64,
    /// The position of the next entry.
    pub offset: u64,
    /// The type bits of the mode (`S_IFMT`).
    pub kind: u32,
    pub name: &'a [u8],
}

impl DirectoryEntry<'_> {
    /// The size without the name, in bytes.
    const FIXED: usize = 24;

    /// Returns the size of an entry with this name in bytes.
    pub(super) fn size(name: &[u8]) -> usize {
        Self::FIXED + name.len().next_multiple_of(8)
    }

    /// Appends the struct to a reply.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let Self { inode, offset, kind, name } = self;
        out.put_u64s(&[inode, offset]);
        out.put_u32s(&[name.len() as u32, kind >> 12]);
        out.extend_from_slice(name);
        out.put_zeros(name.len().next_multiple_of(8) - name.len());
    }
}

/// `struct fuse_entry_out` of an entry without a node, such as `.` and `..`.
#[derive(Clone, Copy)]
pub(super) struct NoNode;

impl NoNode {
    /// The size in bytes, as of any `struct fuse_entry_out`.
    pub(super) const SIZE: usize = 128;

    /// Appends the struct to a reply.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.put_zeros(Self::SIZE);
    }
}

/// Returns the size of the reply so far in bytes, without its header.
pub(super) fn written(out: &[u8]) -> usize {
    out.len() - OUT_HEADER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_the_sizes_of_the_header() {
        let size = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out.len()
        };
        let open = OpenReply { handle: FileHandle(1), open_flags: 0, backing: 0 };
        assert_eq!(size(&|out| open.write(out)), 16);
        assert_eq!(size(&|out| SizeReply(1).write(out)), 8);
        assert_eq!(size(&|out| LseekReply(1).write(out)), 8);
        assert_eq!(size(&|out| IoctlReply.write(out)), 16);
        assert_eq!(size(&|out| NoNode.write(out)), 128);
        for name in [&b"a"[..], b"12345678", b"123456789"] {
            let entry = DirectoryEntry { inode: 1, offset: 2, kind: libc::S_IFREG, name };
            assert_eq!(size(&|out| entry.write(out)), DirectoryEntry::size(name));
        }
    }
}
