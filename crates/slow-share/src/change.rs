//! Changes of the source in the name of a caller. The server runs as root, and the kernel has checked the
//! caller's permission (`default_permissions`) before it sends a request.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use fuser::{Request, TimeOrNow};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timestamps, Uid};
use rustix::io::Errno;

use crate::attribute::new_time;
use crate::node::{Found, Node, Nodes};

/// The bits of set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;

/// A new file without an open: a directory, a link, a pipe, a socket or a device.
pub(crate) enum New<'a> {
    Directory { mode: u32 },
    Link { target: &'a Path },
    Special { mode: u32, device: u32 },
}

/// Creates a file that belongs to the caller.
pub(crate) fn create(
    nodes: &Nodes,
    caller: &Request,
    parent: &Node,
    name: &OsStr,
    new: &New<'_>,
) -> io::Result<Found> {
    let mode = match *new {
        New::Directory { mode } => {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode))?;
            // The kernel has set the bit of the group for a directory in one that has it.
            mode & !SET_ID
        }
        New::Link { target } => {
            rustix::fs::symlinkat(target, parent, name)?;
            0
        }
        New::Special { mode, device } => {
            let kind = FileType::from_raw_mode(mode);
            rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(mode), u64::from(device))?;
            mode
        }
    };
    let found = nodes.find(parent, name)?;
    give(&*found.node, caller, parent, mode)?;
    Ok(Found { stat: found.node.stat()?, ..found })
}

/// Creates and opens a file that belongs to the caller. Opens it if it exists, unless `O_EXCL` is given.
pub(crate) fn create_open(
    nodes: &Nodes,
    caller: &Request,
    (parent, name): (&Node, &OsStr),
    mode: u32,
    flags: OFlags,
) -> io::Result<(OwnedFd, Found)> {
    let exclusive = flags.contains(OFlags::EXCL);
    let flags = open_flags(flags) | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let new = flags | OFlags::CREATE | OFlags::EXCL;
    let file = match rustix::fs::openat(parent, name, new, Mode::from_raw_mode(mode)) {
        Ok(file) => {
            give(&file, caller, parent, mode)?;
            file
        }
        // It has appeared since the kernel's look-up. With this error the kernel looks it up again.
        Err(Errno::EXIST) if !exclusive => return Err(Errno::STALE.into()),
        Err(error) => return Err(error.into()),
    };
    let found = nodes.of(&file, parent.path_of(name))?;
    Ok((file, found))
}

/// The flags of an open that mean something to the server.
pub(crate) fn open_flags(flags: OFlags) -> OFlags {
    flags & (OFlags::RWMODE | OFlags::APPEND | OFlags::NOATIME | OFlags::SYNC | OFlags::DSYNC)
}

/// Makes the caller the owner of a new file.
fn give(file: impl AsFd, caller: &Request, parent: &Node, mode: u32) -> io::Result<()> {
    // In a directory with the bit, the group is that of the directory. The kernel has set it.
    let inherits = u32::from(parent.stat()?.stx_mode) & libc::S_ISGID != 0;
    let group = (!inherits).then(|| Gid::from_raw(caller.gid()));
    let owner = Some(Uid::from_raw(caller.uid()));
    rustix::fs::chownat(&file, "", owner, group, AtFlags::EMPTY_PATH)?;
    if mode & SET_ID != 0 {
        // The new owner has cost it these bits.
        set_mode(file, mode)?;
    }
    Ok(())
}

fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Ok(rustix::fs::chmodat(CWD, link, Mode::from_raw_mode(mode), AtFlags::empty())?)
}

/// Changes of attributes. `None` leaves one as it is.
pub(crate) struct Attributes {
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) accessed: Option<TimeOrNow>,
    pub(crate) modified: Option<TimeOrNow>,
}

impl Attributes {
    /// Changes a file. An open file can be truncated without the right to open it for writing.
    pub(crate) fn apply(&self, node: &Node, open: Option<&OwnedFd>) -> io::Result<()> {
        if let Some(size) = self.size {
            match open {
                Some(file) => rustix::fs::ftruncate(file, size)?,
                None => rustix::fs::ftruncate(node.open(OFlags::WRONLY)?, size)?,
            }
        }
        if self.owner.is_some() || self.group.is_some() {
            let (owner, group) = (self.owner.map(Uid::from_raw), self.group.map(Gid::from_raw));
            rustix::fs::chownat(node, "", owner, group, AtFlags::EMPTY_PATH)?;
        }
        // After the owner: its change removes the bits of set-user-ID and set-group-ID.
        if let Some(mode) = self.mode {
            set_mode(node, mode)?;
        }
        if self.accessed.is_some() || self.modified.is_some() {
            let (last_access, last_modification) = (new_time(self.accessed), new_time(self.modified));
            let times = Timestamps { last_access, last_modification };
            rustix::fs::utimensat(node, "", &times, AtFlags::EMPTY_PATH)?;
        }
        Ok(())
    }
}
