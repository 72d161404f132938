//! The kinds of requests, by the kernel's names (`enum fuse_opcode` of `linux/fuse.h`).

use serde::{Deserialize, Serialize};

/// A kind of request. `ACCESS` is missing: with `default_permissions` the kernel does not send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Search of a name in a directory.
    Lookup,
    /// The kernel drops a file from its cache.
    Forget,
    /// The attributes of a file.
    Getattr,
    /// A change of mode, owner, size or times.
    Setattr,
    /// The target of a symbolic link.
    Readlink,
    /// A new symbolic link.
    Symlink,
    /// A new pipe, socket or device.
    Mknod,
    /// A new directory.
    Mkdir,
    /// Removal of a file.
    Unlink,
    /// Removal of a directory.
    Rmdir,
    /// A new name of a file. This counts at the old name.
    Rename,
    /// A further name of a file. This counts at the new name.
    Link,
    /// Open of a file.
    Open,
    /// Read of a part of a file.
    Read,
    /// Write to a file.
    Write,
    /// The size and the free space of the file system.
    Statfs,
    /// The last close of an open file.
    Release,
    /// fsync(2) of a file.
    Fsync,
    /// A new value of an extended attribute.
    Setxattr,
    /// The value of an extended attribute.
    Getxattr,
    /// The names of the extended attributes.
    Listxattr,
    /// Removal of an extended attribute.
    Removexattr,
    /// Each close(2) of an open file.
    Flush,
    /// Open of a directory.
    Opendir,
    /// A part of a listing.
    Readdir,
    /// The last close of a directory.
    Releasedir,
    /// fsync(2) of a directory.
    Fsyncdir,
    /// A new file that is opened at once.
    Create,
    /// Reserved space of a file.
    Fallocate,
    /// Search of a hole or of data.
    Lseek,
}

impl Operation {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 30] = [
        Self::Lookup,
        Self::Forget,
        Self::Getattr,
        Self::Setattr,
        Self::Readlink,
        Self::Symlink,
        Self::Mknod,
        Self::Mkdir,
        Self::Unlink,
        Self::Rmdir,
        Self::Rename,
        Self::Link,
        Self::Open,
        Self::Read,
        Self::Write,
        Self::Statfs,
        Self::Release,
        Self::Fsync,
        Self::Setxattr,
        Self::Getxattr,
        Self::Listxattr,
        Self::Removexattr,
        Self::Flush,
        Self::Opendir,
        Self::Readdir,
        Self::Releasedir,
        Self::Fsyncdir,
        Self::Create,
        Self::Fallocate,
        Self::Lseek,
    ];

    /// Whether a server of a network file system would be asked, so that the delay and the limit apply. A
    /// client closes and forgets without its server.
    pub fn is_asked(self) -> bool {
        !matches!(self, Self::Forget | Self::Release | Self::Releasedir | Self::Flush)
    }

    /// Whether a metadata server would be asked: all but the transfer of contents.
    pub fn is_metadata(self) -> bool {
        self.is_asked() && !matches!(self, Self::Read | Self::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_list_is_the_number() {
        for (number, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, number, "{operation:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        let name = |operation| serde_json::to_value(operation).expect("a name");
        assert_eq!(name(Operation::Getattr), "GETATTR");
        assert_eq!(name(Operation::Removexattr), "REMOVEXATTR");
    }
}
