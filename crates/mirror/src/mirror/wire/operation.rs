//! The operations that the mirror answers (`enum fuse_opcode`).

/// Generates the operations and the search by number from one list.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// An operation of the kernel. The mirror answers all others with `ENOSYS`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub(crate) enum Operation {
            $($(#[$doc])* $name = $number,)*
        }

        impl Operation {
            /// Returns the operation of a number.
            pub(crate) fn of(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

operations! {
    /// `FUSE_LOOKUP`.
    Lookup = 1,
    /// `FUSE_FORGET`.
    Forget = 2,
    /// `FUSE_GETATTR`.
    GetAttr = 3,
    /// `FUSE_SETATTR`.
    SetAttr = 4,
    /// `FUSE_READLINK`.
    ReadLink = 5,
    /// `FUSE_SYMLINK`.
    SymLink = 6,
    /// `FUSE_MKNOD`.
    MkNod = 8,
    /// `FUSE_MKDIR`.
    MkDir = 9,
    /// `FUSE_UNLINK`.
    Unlink = 10,
    /// `FUSE_RMDIR`.
    RmDir = 11,
    /// `FUSE_RENAME`.
    Rename = 12,
    /// `FUSE_LINK`.
    Link = 13,
    /// `FUSE_OPEN`.
    Open = 14,
    /// `FUSE_READ`.
    Read = 15,
    /// `FUSE_WRITE`.
    Write = 16,
    /// `FUSE_STATFS`.
    StatFs = 17,
    /// `FUSE_RELEASE`.
    Release = 18,
    /// `FUSE_FSYNC`.
    Fsync = 20,
    /// `FUSE_SETXATTR`.
    SetXattr = 21,
    /// `FUSE_GETXATTR`.
    GetXattr = 22,
    /// `FUSE_LISTXATTR`.
    ListXattr = 23,
    /// `FUSE_REMOVEXATTR`.
    RemoveXattr = 24,
    /// `FUSE_INIT`.
    Init = 26,
    /// `FUSE_OPENDIR`.
    OpenDir = 27,
    /// `FUSE_READDIR`.
    ReadDir = 28,
    /// `FUSE_RELEASEDIR`.
    ReleaseDir = 29,
    /// `FUSE_FSYNCDIR`.
    FsyncDir = 30,
    /// `FUSE_ACCESS`.
    Access = 34,
    /// `FUSE_CREATE`.
    Create = 35,
    /// `FUSE_INTERRUPT`.
    Interrupt = 36,
    /// `FUSE_DESTROY`.
    Destroy = 38,
    /// `FUSE_IOCTL`.
    Ioctl = 39,
    /// `FUSE_BATCH_FORGET`.
    BatchForget = 42,
    /// `FUSE_FALLOCATE`.
    Fallocate = 43,
    /// `FUSE_READDIRPLUS`.
    ReadDirPlus = 44,
    /// `FUSE_RENAME2`.
    Rename2 = 45,
    /// `FUSE_LSEEK`.
    Lseek = 46,
    /// `FUSE_COPY_FILE_RANGE`.
    CopyFileRange = 47,
    /// `FUSE_SYNCFS`.
    SyncFs = 50,
    /// `FUSE_TMPFILE`.
    TmpFile = 51,
    /// `FUSE_STATX`.
    Statx = 52,
}
