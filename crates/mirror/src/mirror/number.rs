//! Numbers that the kernel and the mirror agree on, told apart by their types.

/// The number of an open file or directory (`fh`): no other open in the process's life has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileHandle(pub u64);

/// The number by which the kernel knows a node (`nodeid`); none is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NodeId(pub u64);
