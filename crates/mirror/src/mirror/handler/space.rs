//! Handlers for space in files (reserving, punching, finding and copying it) and for the flags of lsattr(1).

use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;

use rustix::fs::{FallocateFlags, IFlags, SeekFrom};
use rustix::io::Errno;

use super::copy;
use crate::mirror::arguments::{CopyFileRange, Fallocate, Ioctl, Lseek};
use crate::mirror::reply::{IoctlReply, LseekReply, SizeReply};
use crate::mirror::request::{Request, Subject};
use crate::mirror::volume::Volume;
use crate::mirror::wire::ReplyExt;
use compat_sys::FileAttributes;

/// The request concerns an open directory.
const FUSE_IOCTL_DIR: u32 = 1 << 4;

/// Answers `FUSE_FALLOCATE`.
pub(in crate::mirror) fn fallocate(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &Fallocate,
) -> Result<(), Errno> {
    let Fallocate { handle, offset, length, mode } = *wanted;
    let open = volume.files.find(handle)?;
    let mode = FallocateFlags::from_bits_retain(mode);
    let file = volume.file_of(&open)?;
    let _writer = request.as_writer(&open.node)?;
    let result = rustix::fs::fallocate(file, mode, offset, length);
    copy::repeat(volume, &open, 0, u64::MAX);
    result
}

/// Answers `FUSE_LSEEK`: finds data or holes. The kernel handles the other kinds itself.
pub(in crate::mirror) fn lseek(volume: &Volume, wanted: &Lseek, out: &mut Vec<u8>) -> Result<(), Errno> {
    let Lseek { handle, offset, whence } = *wanted;
    let open = volume.files.find(handle)?;
    let place = match whence as i32 {
        libc::SEEK_DATA => SeekFrom::Data(offset),
        libc::SEEK_HOLE => SeekFrom::Hole(offset),
        _ => return Err(Errno::INVAL),
    };
    LseekReply(rustix::fs::seek(volume.file_of(&open)?, place)?).write(out);
    Ok(())
}

/// Answers `FUSE_COPY_FILE_RANGE`.
pub(in crate::mirror) fn copy_file_range(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &CopyFileRange,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let CopyFileRange { source, mut from, target, mut to, length } = *wanted;
    let (source, target) = (volume.files.find(source)?, volume.files.find(target)?);
    let (input, output) = (volume.file_of(&source)?, volume.file_of(&target)?);
    // The reply has 32 bits for the length.
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(0x7fff_f000);
    let _writer = request.as_writer(&target.node)?;
    let copied = rustix::fs::copy_file_range(input, Some(&mut from), output, Some(&mut to), length)?;
    copy::repeat(volume, &target, to - copied as u64, copied as u64);
    source.read.fetch_add(copied as u64, Ordering::Relaxed);
    target.written.fetch_add(copied as u64, Ordering::Relaxed);
    SizeReply(copied as u32).write(out);
    Ok(())
}

/// Answers `FUSE_IOCTL`: reads and sets the file's flags in both forms (ioctl_iflags(2),
/// ioctl_xfs_fsgetxattr(2)). The kernel requests the second form before it sets any flags. Other ioctls are
/// not supported.
pub(in crate::mirror) fn ioctl(
    volume: &Volume,
    request: &Request<'_>,
    wanted: &Ioctl<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let Ioctl { handle, flags, command, mut input } = *wanted;
    let command = IoctlCommand::of(command).ok_or(Errno::NOTTY)?;
    let node = if flags & FUSE_IOCTL_DIR != 0 {
        volume.directories.find(handle)?.node.number
    } else {
        volume.files.find(handle)?.node.number
    };
    let (node, handle) = volume.handle(node)?;
    let file = volume.reopen(&handle, (libc::O_RDONLY | libc::O_NONBLOCK) as u32)?;
    let subject = Subject::default().owned(Some(&node));
    IoctlReply.write(out);
    match command {
        IoctlCommand::Flags => out.put_u32(rustix::fs::ioctl_getflags(&file)?.bits()),
        IoctlCommand::SetFlags => {
            let wanted = IFlags::from_bits_retain(input.u32()?);
            request.act(volume, subject, || rustix::fs::ioctl_setflags(&file, wanted))?;
        }
        IoctlCommand::Attributes => {
            out.extend_from_slice(&compat_sys::file_attributes(file.as_fd()).map_err(errno)?)
        }
        IoctlCommand::SetAttributes => {
            let wanted = FileAttributes::try_from(input.bytes(size_of::<FileAttributes>())?);
            let wanted = wanted.map_err(|_| Errno::INVAL)?;
            let set = || compat_sys::set_file_attributes(file.as_fd(), &wanted).map_err(errno);
            request.act(volume, subject, set)?;
        }
    }
    if matches!(command, IoctlCommand::SetFlags | IoctlCommand::SetAttributes) {
        // The ctime changed, and the kernel does not request it by itself.
        volume.forget_attributes(&node);
    }
    volume.changed(&node, &handle);
    Ok(())
}

/// The supported ioctls.
#[derive(Clone, Copy, Debug)]
enum IoctlCommand {
    Flags,
    SetFlags,
    Attributes,
    SetAttributes,
}

impl IoctlCommand {
    /// Returns the ioctl of a number (`linux/fs.h`).
    fn of(number: u32) -> Option<Self> {
        match number {
            0x8008_6601 => Some(Self::Flags),
            0x4008_6602 => Some(Self::SetFlags),
            0x801c_581f => Some(Self::Attributes),
            0x401c_5820 => Some(Self::SetAttributes),
            _ => None,
        }
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
