//! The operations that are answered (`enum fuse_opcode`).

/// What the kernel asks for; what is not listed is answered with `ENOSYS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Operation {
    Lookup = 1,
    Forget = 2,
    GetAttributes = 3,
    SetAttributes = 4,
    ReadLink = 5,
    SymbolicLink = 6,
    MakeNode = 8,
    MakeFolder = 9,
    Unlink = 10,
    RemoveFolder = 11,
    Rename = 12,
    HardLink = 13,
    Open = 14,
    Read = 15,
    Write = 16,
    VolumeStatistics = 17,
    Release = 18,
    Sync = 20,
    SetExtended = 21,
    GetExtended = 22,
    ListExtended = 23,
    RemoveExtended = 24,
    Init = 26,
    OpenFolder = 27,
    ReadFolder = 28,
    ReleaseFolder = 29,
    SyncFolder = 30,
    Access = 34,
    Create = 35,
    Interrupt = 36,
    Destroy = 38,
    Control = 39,
    ForgetMany = 42,
    Allocate = 43,
    ReadFolderPlus = 44,
    RenameWithFlags = 45,
    Seek = 46,
    CopyRange = 47,
    SyncVolume = 50,
    CreateUnnamed = 51,
    Statx = 52,
}

/// All of them.
const ALL: &[Operation] = &{
    use Operation::*;
    [
        Lookup,
        Forget,
        GetAttributes,
        SetAttributes,
        ReadLink,
        SymbolicLink,
        MakeNode,
        MakeFolder,
        Unlink,
        RemoveFolder,
        Rename,
        HardLink,
        Open,
        Read,
        Write,
        VolumeStatistics,
        Release,
        Sync,
        SetExtended,
        GetExtended,
        ListExtended,
        RemoveExtended,
        Init,
        OpenFolder,
        ReadFolder,
        ReleaseFolder,
        SyncFolder,
        Access,
        Create,
        Interrupt,
        Destroy,
        Control,
        ForgetMany,
        Allocate,
        ReadFolderPlus,
        RenameWithFlags,
        Seek,
        CopyRange,
        SyncVolume,
        CreateUnnamed,
        Statx,
    ]
};

impl Operation {
    /// The operation of a number.
    pub(crate) fn of(number: u32) -> Option<Self> {
        ALL.iter().copied().find(|operation| *operation as u32 == number)
    }
}
