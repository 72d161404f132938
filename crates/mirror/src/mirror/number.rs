//! Numbers that the kernel and the mirror share, distinguished by their types.

/// The number of an open file or directory (`fh`). It is unique within the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileHandle(pub u64);

/// The number by which the kernel knows a node (`nodeid`). It is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(pub u64);
