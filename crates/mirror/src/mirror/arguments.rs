//! The arguments of a request, by operation. A message is parsed once into these values, so handlers read no
//! bytes. Names and data are borrowed from the message.

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::number::{FileHandle, NodeId};
use super::wire::{Greeting, Header, MessageBody, Operation, change};

/// A message of the kernel.
#[derive(Clone, Copy)]
pub(super) struct RequestMessage<'a> {
    /// The caller and the node.
    pub header: Header,
    /// The operation, if the mirror answers it.
    pub operation: Option<Operation>,
    /// The arguments. The error is `ENOSYS` if the mirror does not answer the operation, or `EINVAL` if the
    /// message is too short.
    pub arguments: Result<Arguments<'a>, Errno>,
    /// The caller's group that matters for a creation.
    pub supplementary: Option<u32>,
}

impl<'a> RequestMessage<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// If the header is not complete (`EINVAL`).
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Errno> {
        let (header, body, supplementary) = Header::read(bytes)?;
        let operation = Operation::of(header.operation);
        let arguments = operation.ok_or(Errno::NOSYS).and_then(|operation| Arguments::parse(operation, body));
        Ok(Self { header, operation, arguments, supplementary })
    }
}

/// The arguments of an operation. Operations that concern only a node have none: the header names the node.
#[derive(Clone, Copy)]
pub(super) enum Arguments<'a> {
    Init(Greeting),
    Destroy,
    /// The kernel cancels a request.
    Interrupt {
        unique: u64,
    },
    Lookup {
        name: &'a [u8],
    },
    /// The number of lookups to subtract from the lookup count.
    Forget {
        lookups: u64,
    },
    BatchForget(BatchForget<'a>),
    ReadLink,
    GetAttr,
    Statx,
    SetAttr(SetAttr),
    /// The access modes of access(2).
    Access {
        mask: u32,
    },
    StatFs,
    SymLink(SymLink<'a>),
    MkNod(MkNod<'a>),
    MkDir(MkDir<'a>),
    Link(Link<'a>),
    Create(Create<'a>),
    TmpFile(Creation),
    Unlink {
        name: &'a [u8],
    },
    RmDir {
        name: &'a [u8],
    },
    Rename(Rename<'a>),
    Rename2(Rename<'a>),
    /// The flags of open(2).
    Open {
        flags: u32,
    },
    Read(Read),
    Write(Write<'a>),
    Release {
        handle: FileHandle,
    },
    Fsync(Fsync),
    OpenDir,
    ReadDir(Read),
    ReadDirPlus(Read),
    ReleaseDir {
        handle: FileHandle,
    },
    FsyncDir {
        handle: FileHandle,
    },
    SyncFs,
    SetXattr(SetXattr<'a>),
    GetXattr(GetXattr<'a>),
    /// The size of the caller's buffer in bytes. If it is 0, the caller requests the size of the reply.
    ListXattr {
        size: usize,
    },
    RemoveXattr {
        name: &'a [u8],
    },
    Fallocate(Fallocate),
    Lseek(Lseek),
    CopyFileRange(CopyFileRange),
    Ioctl(Ioctl<'a>),
}

impl<'a> Arguments<'a> {
    /// Reads the body of a message.
    ///
    /// # Errors
    ///
    /// If the body is too short (`EINVAL`), or if an `INIT` has another protocol (`EPROTO`).
    fn parse(operation: Operation, mut body: MessageBody<'a>) -> Result<Self, Errno> {
        Ok(match operation {
            Operation::Init => Self::Init(Greeting::read(body)?),
            Operation::Destroy => Self::Destroy,
            Operation::Interrupt => Self::Interrupt { unique: body.u64()? },
            Operation::Lookup => Self::Lookup { name: body.name()? },
            Operation::Forget => Self::Forget { lookups: body.u64()? },
            Operation::BatchForget => Self::BatchForget(BatchForget::parse(body)?),
            Operation::ReadLink => Self::ReadLink,
            Operation::GetAttr => Self::GetAttr,
            Operation::Statx => Self::Statx,
            Operation::SetAttr => Self::SetAttr(SetAttr::parse(body)?),
            Operation::Access => Self::Access { mask: body.u32()? },
            Operation::StatFs => Self::StatFs,
            Operation::SymLink => Self::SymLink(SymLink::parse(body)?),
            Operation::MkNod => Self::MkNod(MkNod::parse(body)?),
            Operation::MkDir => Self::MkDir(MkDir::parse(body)?),
            Operation::Link => Self::Link(Link::parse(body)?),
            Operation::Create => Self::Create(Create::parse(body)?),
            Operation::TmpFile => Self::TmpFile(Creation::parse(&mut body)?),
            Operation::Unlink => Self::Unlink { name: body.name()? },
            Operation::RmDir => Self::RmDir { name: body.name()? },
            Operation::Rename => Self::Rename(Rename::parse(body)?),
            Operation::Rename2 => Self::Rename2(Rename::parse_with_flags(body)?),
            Operation::Open => Self::Open { flags: body.u32()? },
            Operation::Read => Self::Read(Read::parse(body)?),
            Operation::Write => Self::Write(Write::parse(body)?),
            Operation::Release => Self::Release { handle: FileHandle(body.u64()?) },
            Operation::Fsync => Self::Fsync(Fsync::parse(body)?),
            Operation::OpenDir => Self::OpenDir,
            Operation::ReadDir => Self::ReadDir(Read::parse(body)?),
            Operation::ReadDirPlus => Self::ReadDirPlus(Read::parse(body)?),
            Operation::ReleaseDir => Self::ReleaseDir { handle: FileHandle(body.u64()?) },
            Operation::FsyncDir => Self::FsyncDir { handle: FileHandle(body.u64()?) },
            Operation::SyncFs => Self::SyncFs,
            Operation::SetXattr => Self::SetXattr(SetXattr::parse(body)?),
            Operation::GetXattr => Self::GetXattr(GetXattr::parse(body)?),
            Operation::ListXattr => Self::ListXattr { size: body.u32()? as usize },
            Operation::RemoveXattr => Self::RemoveXattr { name: body.name()? },
            Operation::Fallocate => Self::Fallocate(Fallocate::parse(body)?),
            Operation::Lseek => Self::Lseek(Lseek::parse(body)?),
            Operation::CopyFileRange => Self::CopyFileRange(CopyFileRange::parse(body)?),
            Operation::Ioctl => Self::Ioctl(Ioctl::parse(body)?),
        })
    }
}

/// `struct fuse_batch_forget_in`: nodes, each with the number of lookups to subtract.
#[derive(Clone, Copy)]
pub(super) struct BatchForget<'a> {
    count: u32,
    nodes: MessageBody<'a>,
}

impl<'a> BatchForget<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let count = body.u32()?;
        body.u32()?;
        Ok(Self { count, nodes: body })
    }

    /// Returns each node with its lookups. A truncated entry returns `EINVAL`.
    pub(super) fn nodes(mut self) -> impl Iterator<Item = Result<(NodeId, u64), Errno>> {
        (0..self.count).map(move |_| Ok((NodeId(self.nodes.u64()?), self.nodes.u64()?)))
    }
}

/// `struct fuse_setattr_in`, without the unused fields.
#[derive(Clone, Copy)]
pub(super) struct SetAttr {
    pub valid: u32,
    pub handle: FileHandle,
    pub size: u64,
    pub accessed: Timespec,
    pub modified: Timespec,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

impl SetAttr {
    fn parse(mut body: MessageBody<'_>) -> Result<Self, Errno> {
        let valid = body.u32()?;
        body.u32()?;
        let (handle, size) = (FileHandle(body.u64()?), body.u64()?);
        body.u64()?;
        let (accessed, modified) = (body.u64()? as i64, body.u64()? as i64);
        body.u64()?;
        let (accessed_part, modified_part) = (body.u32()?, body.u32()?);
        body.u32()?;
        let mode = body.u32()?;
        body.u32()?;
        let (user, group) = (body.u32()?, body.u32()?);
        let time = |seconds, part: u32| Timespec { tv_sec: seconds, tv_nsec: part.into() };
        let (accessed, modified) = (time(accessed, accessed_part), time(modified, modified_part));
        Ok(Self { valid, handle, size, accessed, modified, mode, user, group })
    }

    /// Whether a bit of `FATTR_*` is to be set.
    pub(super) fn has(&self, what: u32) -> bool {
        self.valid & what != 0
    }

    /// Whether nothing is to be set. The kernel sends such a request in two cases: an owner is set to the
    /// same owner, or a user without the right to keep a set-group-id bit writes. The request does not show
    /// which.
    pub(super) fn is_empty(&self) -> bool {
        let any = change::MODE | change::UID | change::GID | change::SIZE;
        !self.has(any) && self.times().is_none()
    }

    /// The times to set, if any.
    pub(super) fn times(&self) -> Option<Timestamps> {
        let one = |set, now, time: Timespec| match (self.has(set), self.has(now)) {
            (_, true) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            (true, false) => time,
            (false, false) => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        let any = change::ATIME | change::MTIME | change::ATIME_NOW | change::MTIME_NOW;
        self.has(any).then(|| Timestamps {
            last_access: one(change::ATIME, change::ATIME_NOW, self.accessed),
            last_modification: one(change::MTIME, change::MTIME_NOW, self.modified),
        })
    }
}

/// A symbolic link: `name` points to `target`.
#[derive(Clone, Copy)]
pub(super) struct SymLink<'a> {
    pub name: &'a [u8],
    pub target: &'a [u8],
}

impl<'a> SymLink<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        Ok(Self { name: body.name()?, target: body.name()? })
    }
}

/// `struct fuse_mknod_in` with the name.
#[derive(Clone, Copy)]
pub(super) struct MkNod<'a> {
    pub mode: u32,
    /// The device number, packed as by the kernel's `new_encode_dev`.
    pub device: u32,
    pub mask: u32,
    pub name: &'a [u8],
}

impl<'a> MkNod<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let (mode, device, mask) = (body.u32()?, body.u32()?, body.u32()?);
        body.u32()?;
        Ok(Self { mode, device, mask, name: body.name()? })
    }
}

/// `struct fuse_mkdir_in` with the name.
#[derive(Clone, Copy)]
pub(super) struct MkDir<'a> {
    pub mode: u32,
    pub mask: u32,
    pub name: &'a [u8],
}

impl<'a> MkDir<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        Ok(Self { mode: body.u32()?, mask: body.u32()?, name: body.name()? })
    }
}

/// `struct fuse_link_in` with the new name.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    /// The node that gets another name.
    pub source: NodeId,
    pub name: &'a [u8],
}

impl<'a> Link<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        Ok(Self { source: NodeId(body.u64()?), name: body.name()? })
    }
}

/// `struct fuse_create_in`: the flags and modes of a new file.
#[derive(Clone, Copy)]
pub(super) struct Creation {
    /// The flags of open(2).
    pub flags: u32,
    pub mode: u32,
    /// The caller's creation mask (umask(2)).
    pub mask: u32,
}

impl Creation {
    fn parse(body: &mut MessageBody<'_>) -> Result<Self, Errno> {
        Ok(Self { flags: body.u32()?, mode: body.u32()?, mask: body.u32()? })
    }
}

/// A file to create and open, with its name.
#[derive(Clone, Copy)]
pub(super) struct Create<'a> {
    pub how: Creation,
    pub name: &'a [u8],
}

impl<'a> Create<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let how = Creation::parse(&mut body)?;
        body.u32()?;
        Ok(Self { how, name: body.name()? })
    }
}

/// `struct fuse_rename2_in` with both names.
#[derive(Clone, Copy)]
pub(super) struct Rename<'a> {
    /// The directory that gets the name.
    pub target: NodeId,
    /// The flags of renameat2(2).
    pub flags: u32,
    pub from: &'a [u8],
    pub to: &'a [u8],
}

impl<'a> Rename<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        Ok(Self { target: NodeId(body.u64()?), flags: 0, from: body.name()?, to: body.name()? })
    }

    fn parse_with_flags(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let (target, flags) = (NodeId(body.u64()?), body.u32()?);
        body.u32()?;
        Ok(Self { target, flags, from: body.name()?, to: body.name()? })
    }
}

/// `struct fuse_read_in`, of a file or a directory.
#[derive(Clone, Copy)]
pub(super) struct Read {
    pub handle: FileHandle,
    pub offset: u64,
    /// In bytes.
    pub size: u32,
}

impl Read {
    fn parse(mut body: MessageBody<'_>) -> Result<Self, Errno> {
        Ok(Self { handle: FileHandle(body.u64()?), offset: body.u64()?, size: body.u32()? })
    }
}

/// `struct fuse_write_in` with the data.
#[derive(Clone, Copy)]
pub(super) struct Write<'a> {
    pub handle: FileHandle,
    pub offset: u64,
    /// `FUSE_WRITE_*`.
    pub write_flags: u32,
    /// The current flags of open(2).
    pub flags: u32,
    pub data: &'a [u8],
}

impl<'a> Write<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let (handle, offset) = (FileHandle(body.u64()?), body.u64()?);
        let (size, write_flags) = (body.u32()?, body.u32()?);
        body.u64()?;
        let flags = body.u32()?;
        body.u32()?;
        Ok(Self { handle, offset, write_flags, flags, data: body.bytes(size as usize)? })
    }
}

/// `struct fuse_fsync_in`.
#[derive(Clone, Copy)]
pub(super) struct Fsync {
    pub handle: FileHandle,
    /// `FUSE_FSYNC_*`.
    pub flags: u32,
}

impl Fsync {
    fn parse(mut body: MessageBody<'_>) -> Result<Self, Errno> {
        Ok(Self { handle: FileHandle(body.u64()?), flags: body.u32()? })
    }
}

/// `struct fuse_setxattr_in` with name and value.
#[derive(Clone, Copy)]
pub(super) struct SetXattr<'a> {
    /// The flags of setxattr(2).
    pub flags: u32,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

impl<'a> SetXattr<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let (size, flags, _kills) = (body.u32()? as usize, body.u32()?, body.u32()?);
        body.u32()?;
        Ok(Self { flags, name: body.name()?, value: body.bytes(size)? })
    }
}

/// `struct fuse_getxattr_in` with the name.
#[derive(Clone, Copy)]
pub(super) struct GetXattr<'a> {
    /// The size of the caller's buffer in bytes. If it is 0, the caller requests the size of the reply.
    pub size: usize,
    pub name: &'a [u8],
}

impl<'a> GetXattr<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let size = body.u32()? as usize;
        body.u32()?;
        Ok(Self { size, name: body.name()? })
    }
}

/// `struct fuse_fallocate_in`.
#[derive(Clone, Copy)]
pub(super) struct Fallocate {
    pub handle: FileHandle,
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    /// The mode of fallocate(2).
    pub mode: u32,
}

impl Fallocate {
    fn parse(mut body: MessageBody<'_>) -> Result<Self, Errno> {
        let (handle, offset, length) = (FileHandle(body.u64()?), body.u64()?, body.u64()?);
        Ok(Self { handle, offset, length, mode: body.u32()? })
    }
}

/// `struct fuse_lseek_in`.
#[derive(Clone, Copy)]
pub(super) struct Lseek {
    pub handle: FileHandle,
    pub offset: u64,
    /// The `whence` of lseek(2).
    pub whence: u32,
}

impl Lseek {
    fn parse(mut body: MessageBody<'_>) -> Result<Self, Errno> {
        Ok(Self { handle: FileHandle(body.u64()?), offset: body.u64()?, whence: body.u32()? })
    }
}

/// `struct fuse_copy_file_range_in`, without the unused fields.
#[derive(Clone, Copy)]
pub(super) struct CopyFileRange {
    pub source: FileHandle,
    pub from: u64,
    pub target: FileHandle,
    pub to: u64,
    /// In bytes.
    pub length: u64,
}

impl CopyFileRange {
    fn parse(mut body: MessageBody<'_>) -> Result<Self, Errno> {
        let (source, from, _node) = (FileHandle(body.u64()?), body.u64()?, body.u64()?);
        let (target, to, length) = (FileHandle(body.u64()?), body.u64()?, body.u64()?);
        Ok(Self { source, from, target, to, length })
    }
}

/// `struct fuse_ioctl_in` with the input.
#[derive(Clone, Copy)]
pub(super) struct Ioctl<'a> {
    pub handle: FileHandle,
    /// `FUSE_IOCTL_*`.
    pub flags: u32,
    /// The number of the ioctl.
    pub command: u32,
    pub input: MessageBody<'a>,
}

impl<'a> Ioctl<'a> {
    fn parse(mut body: MessageBody<'a>) -> Result<Self, Errno> {
        let (handle, flags, command) = (FileHandle(body.u64()?), body.u32()?, body.u32()?);
        body.bytes(16)?;
        Ok(Self { handle, flags, command, input: body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::wire::ReplyExt;

    fn message(operation: Operation, body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.put_u32s(&[(40 + body.len()) as u32, operation as u32]);
        message.put_u64s(&[7, 1]);
        message.put_u32s(&[1000, 100, 4711, 0]);
        message.extend_from_slice(body);
        message
    }

    #[test]
    fn a_write_is_read_once_with_its_data() {
        let mut body = Vec::new();
        body.put_u64s(&[5, 4096]);
        body.put_u32s(&[4, 1]);
        body.put_u64(0);
        body.put_u32s(&[0o2001, 0]);
        body.extend_from_slice(b"data");
        let bytes = message(Operation::Write, &body);
        let read = RequestMessage::read(&bytes).expect("a message");
        let Ok(Arguments::Write(Write { handle, offset, write_flags, flags, data })) = read.arguments else {
            panic!("a write")
        };
        assert_eq!((handle, offset, write_flags, flags), (FileHandle(5), 4096, 1, 0o2001));
        assert_eq!(data, b"data");
        for end in 0..body.len() {
            let bytes = message(Operation::Write, &body[..end]);
            let read = RequestMessage::read(&bytes).expect("a message");
            assert_eq!(read.arguments.err(), Some(Errno::INVAL), "{end}");
        }
    }

    #[test]
    fn what_is_not_answered_is_known_by_its_error() {
        let mut bytes = message(Operation::Lookup, b"name\0");
        bytes[4..8].copy_from_slice(&40_u32.to_ne_bytes());
        let read = RequestMessage::read(&bytes).expect("a message");
        assert_eq!((read.operation, read.arguments.err()), (None, Some(Errno::NOSYS)));
    }

    #[test]
    fn nodes_that_are_cut_short_end_a_batch_with_an_error() {
        let mut body = Vec::new();
        body.put_u32s(&[2, 0]);
        body.put_u64s(&[3, 1, 4]);
        let bytes = message(Operation::BatchForget, &body);
        let Ok(Arguments::BatchForget(batch)) = RequestMessage::read(&bytes).expect("a message").arguments
        else {
            panic!("a batch")
        };
        let nodes: Vec<_> = batch.nodes().collect();
        assert_eq!(nodes, [Ok((NodeId(3), 1)), Err(Errno::INVAL)]);
    }
}
