//! The requests of the kernel: each is counted, waits for its time, and is done on the source.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, FallocateFlags, OFlags, RenameFlags, SeekFrom, XattrFlags};
use rustix::io::Errno;

use crate::attribute::attributes;
use crate::change::{self, Attributes, New};
use crate::counters::Counters;
use crate::handle::{Handle, Handles, Listing};
use crate::node::{Found, Node, Nodes};
use crate::pace::Pace;
use crate::{Operation, Profile};

/// The largest transfer of one request: the kernel's own limit (`fs.fuse.max_pages_limit`, 256 pages).
const TRANSFER: u32 = 1 << 20;

/// Transfers that the kernel has under way in the background.
const BACKGROUND: u16 = 64;

/// The largest extended attribute, and the longest list of names (`linux/limits.h`).
const XATTR_LIMIT: usize = 65_536;

/// The loopback.
pub(crate) struct FileSystem {
    nodes: Nodes,
    handles: Handles,
    counters: Arc<Counters>,
    pace: Arc<Pace>,
    /// The time for which the kernel keeps names and attributes.
    lifetime: Duration,
    /// Whether the kernel checks access control lists.
    with_acl: bool,
}

impl FileSystem {
    pub(crate) fn new(
        source: &Path,
        profile: Profile,
        with_acl: bool,
        counters: Arc<Counters>,
        pace: Arc<Pace>,
    ) -> io::Result<Self> {
        let (nodes, lifetime) = (Nodes::new(source)?, profile.lifetime());
        Ok(Self { nodes, handles: Handles::default(), counters, pace, lifetime, with_acl })
    }

    /// Counts a request and waits for its time.
    fn begin(&self, operation: Operation, path: &[u8]) {
        self.counters.count(operation, path);
        if operation.is_asked() {
            self.pace.wait();
        }
    }

    /// Begins a request for a file.
    fn at(&self, operation: Operation, number: INodeNo) -> io::Result<Arc<Node>> {
        let node = self.nodes.get(number)?;
        self.begin(operation, &node.path());
        Ok(node)
    }

    /// Begins a request for a name. Returns its directory.
    fn below(&self, operation: Operation, parent: INodeNo, name: &OsStr) -> io::Result<Arc<Node>> {
        let parent = self.nodes.get(parent)?;
        self.begin(operation, &parent.path_of(name));
        Ok(parent)
    }

    /// Begins a request for an open file.
    fn open_file(
        &self,
        operation: Operation,
        number: INodeNo,
        handle: FileHandle,
    ) -> io::Result<Arc<Handle>> {
        self.at(operation, number)?;
        self.handles.get(handle)
    }

    /// Opens a file for the kernel.
    fn opened(&self, number: INodeNo, flags: OpenFlags) -> io::Result<(FileHandle, FopenFlags)> {
        let node = self.at(Operation::Open, number)?;
        let flags = OFlags::from_bits_retain(flags.0.cast_unsigned());
        let file = node.open(change::open_flags(flags))?;
        let keeps_pages = node.keeps_pages(&node.stat()?);
        let answer = if keeps_pages { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
        Ok((self.handles.add(Handle::File(file)), answer))
    }

    fn close(&self, operation: Operation, number: INodeNo, handle: FileHandle, reply: ReplyEmpty) {
        let result = self.at(operation, number).map(drop);
        self.handles.remove(handle);
        done(reply, result);
    }

    fn new_file(
        &self,
        operation: Operation,
        caller: &Request,
        (parent, name): (INodeNo, &OsStr),
        new: &New<'_>,
        reply: ReplyEntry,
    ) {
        let parent = self.below(operation, parent, name);
        self.entry(reply, parent.and_then(|parent| change::create(&self.nodes, caller, &parent, name, new)));
    }

    fn entry(&self, reply: ReplyEntry, result: io::Result<Found>) {
        match result {
            Ok(Found { node, stat }) => {
                reply.entry(&self.lifetime, &attributes(&stat), Generation(node.generation));
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn attributes(&self, reply: ReplyAttr, node: io::Result<Arc<Node>>) {
        match node.and_then(|node| node.stat()) {
            Ok(stat) => reply.attr(&self.lifetime, &attributes(&stat)),
            Err(error) => reply.error(error.into()),
        }
    }

    /// Records the new paths of files that were moved or exchanged.
    fn moved(&self, places: &[(&Node, &OsStr)]) {
        for (parent, name) in places {
            if let Ok(stat) = rustix::fs::statat(*parent, *name, AtFlags::SYMLINK_NOFOLLOW) {
                self.nodes.moved(stat.st_ino, parent.path_of(name));
            }
        }
    }
}

/// Answers a request without a result.
fn done(reply: ReplyEmpty, result: io::Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error.into()),
    }
}

/// Answers a request for an extended attribute or for their names. The caller asks for the length with size 0.
fn value(reply: ReplyXattr, size: u32, value: io::Result<Vec<u8>>) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(fuser::Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(error.into()),
    }
}

impl Filesystem for FileSystem {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = InitFlags::FUSE_PARALLEL_DIROPS | InitFlags::FUSE_CACHE_SYMLINKS;
        wanted.set(InitFlags::FUSE_POSIX_ACL, self.with_acl);
        let unsupported = |_| io::Error::other("the kernel's FUSE is too old");
        config.add_capabilities(wanted).map_err(unsupported)?;
        config.set_max_write(TRANSFER).map_err(|_| io::Error::from(Errno::INVAL))?;
        config.set_max_background(BACKGROUND).map_err(|_| io::Error::from(Errno::INVAL))?;
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let parent = self.below(Operation::Lookup, parent, name);
        self.entry(reply, parent.and_then(|parent| self.nodes.find(&parent, name)));
    }

    fn forget(&self, _request: &Request, number: INodeNo, references: u64) {
        let _ = self.at(Operation::Forget, number);
        self.nodes.forget(number, references);
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        self.attributes(reply, self.at(Operation::Getattr, number));
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        mode: Option<u32>,
        owner: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _flags_changed: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Attributes { mode, owner, group, size, accessed, modified };
        let changed = self.at(Operation::Setattr, number).and_then(|node| {
            let handle = handle.map(|handle| self.handles.get(handle)).transpose()?;
            change.apply(&node, handle.as_deref().map(Handle::file).transpose()?)?;
            Ok(node)
        });
        self.attributes(reply, changed);
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        let node = self.at(Operation::Readlink, number);
        match node.and_then(|node| Ok(rustix::fs::readlinkat(&*node, "", Vec::new())?)) {
            Ok(target) => reply.data(target.to_bytes()),
            Err(error) => reply.error(error.into()),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        self.new_file(Operation::Mknod, request, (parent, name), &New::Special { mode, device }, reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.new_file(Operation::Mkdir, request, (parent, name), &New::Directory { mode }, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.new_file(Operation::Symlink, request, (parent, name), &New::Link { target }, reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let parent = self.below(Operation::Unlink, parent, name);
        done(reply, parent.and_then(|parent| Ok(rustix::fs::unlinkat(&*parent, name, AtFlags::empty())?)));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let parent = self.below(Operation::Rmdir, parent, name);
        done(reply, parent.and_then(|parent| Ok(rustix::fs::unlinkat(&*parent, name, AtFlags::REMOVEDIR)?)));
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: fuser::RenameFlags,
        reply: ReplyEmpty,
    ) {
        let result = self.below(Operation::Rename, parent, name).and_then(|old| {
            let new = self.nodes.get(new_parent)?;
            let flags = RenameFlags::from_bits_retain(flags.bits());
            rustix::fs::renameat_with(&*old, name, &*new, new_name, flags)?;
            self.moved(&[(&old, name), (&new, new_name)]);
            Ok(())
        });
        done(reply, result);
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.below(Operation::Link, parent, name).and_then(|parent| {
            let node = self.nodes.get(number)?;
            rustix::fs::linkat(&*node, "", &*parent, name, AtFlags::EMPTY_PATH)?;
            self.nodes.find(&parent, name)
        });
        self.entry(reply, found);
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.opened(number, flags) {
            Ok((handle, answer)) => reply.opened(handle, answer),
            Err(error) => reply.error(error.into()),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let created = self.below(Operation::Create, parent, name).and_then(|parent| {
            let flags = OFlags::from_bits_retain(flags.cast_unsigned());
            change::create_open(&self.nodes, request, (&parent, name), mode, flags)
        });
        match created {
            Ok((file, Found { node, stat })) => {
                let handle = self.handles.add(Handle::File(file));
                let generation = Generation(node.generation);
                reply.created(&self.lifetime, &attributes(&stat), generation, handle, FopenFlags::empty());
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.at(Operation::Read, number).and_then(|node| {
            let mut bytes = vec![0; size as usize];
            let length = read_all(self.handles.get(handle)?.file()?, &mut bytes, offset)?;
            bytes.truncate(length);
            self.counters.read(&node.path(), length);
            Ok(bytes)
        });
        match bytes {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let handle = self.open_file(Operation::Write, number, handle);
        match handle.and_then(|handle| Ok(rustix::io::pwrite(handle.file()?, data, offset)?)) {
            Ok(written) => reply.written(written as u32),
            Err(error) => reply.error(error.into()),
        }
    }

    fn flush(&self, _request: &Request, number: INodeNo, _h: FileHandle, _o: LockOwner, reply: ReplyEmpty) {
        done(reply, self.at(Operation::Flush, number).map(drop));
    }

    fn release(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.close(Operation::Release, number, handle, reply);
    }

    fn fsync(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        only_data: bool,
        reply: ReplyEmpty,
    ) {
        let handle = self.open_file(Operation::Fsync, number, handle);
        let synced = handle.and_then(|handle| {
            let file = handle.file()?;
            Ok(if only_data { rustix::fs::fdatasync(file) } else { rustix::fs::fsync(file) }?)
        });
        done(reply, synced);
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let node = self.at(Operation::Opendir, number);
        match node.and_then(|node| node.open(OFlags::RDONLY | OFlags::DIRECTORY)) {
            Ok(directory) => {
                let handle = self.handles.add(Handle::Directory(Listing::new(directory)));
                reply.opened(handle, FopenFlags::empty());
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let handle = self.open_file(Operation::Readdir, number, handle);
        match handle.and_then(|handle| handle.listing()?.add_to(&mut reply, offset)) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error.into()),
        }
    }

    fn releasedir(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        _f: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.close(Operation::Releasedir, number, handle, reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        _data: bool,
        reply: ReplyEmpty,
    ) {
        let handle = self.open_file(Operation::Fsyncdir, number, handle);
        done(reply, handle.and_then(|handle| Ok(rustix::fs::fsync(handle.listing()?.directory())?)));
    }

    fn statfs(&self, _request: &Request, number: INodeNo, reply: ReplyStatfs) {
        let node = self.at(Operation::Statfs, number);
        match node.and_then(|node| Ok(rustix::fs::fstatvfs(&*node)?)) {
            Ok(s) => reply.statfs(
                s.f_blocks,
                s.f_bfree,
                s.f_bavail,
                s.f_files,
                s.f_ffree,
                s.f_bsize as u32,
                s.f_namemax as u32,
                s.f_frsize as u32,
            ),
            Err(error) => reply.error(error.into()),
        }
    }

    fn setxattr(
        &self,
        _request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        let node = self.at(Operation::Setxattr, number);
        done(reply, node.and_then(|node| Ok(rustix::fs::setxattr(node.link(), name, value, flags)?)));
    }

    fn getxattr(&self, _request: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let node = self.at(Operation::Getxattr, number);
        let read = node.and_then(|node| {
            let mut value = vec![0; XATTR_LIMIT];
            let length = rustix::fs::getxattr(node.link(), name, &mut value[..])?;
            value.truncate(length);
            Ok(value)
        });
        value(reply, size, read);
    }

    fn listxattr(&self, _request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        let node = self.at(Operation::Listxattr, number);
        let read = node.and_then(|node| {
            let mut names = vec![0; XATTR_LIMIT];
            let length = rustix::fs::listxattr(node.link(), &mut names[..])?;
            names.truncate(length);
            Ok(names)
        });
        value(reply, size, read);
    }

    fn removexattr(&self, _request: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let node = self.at(Operation::Removexattr, number);
        done(reply, node.and_then(|node| Ok(rustix::fs::removexattr(node.link(), name)?)));
    }

    fn fallocate(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let handle = self.open_file(Operation::Fallocate, number, handle);
        let result =
            handle.and_then(|handle| Ok(rustix::fs::fallocate(handle.file()?, mode, offset, length)?));
        done(reply, result);
    }

    fn lseek(
        &self,
        _request: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let handle = self.open_file(Operation::Lseek, number, handle);
        let sought = handle.and_then(|handle| {
            let offset = u64::try_from(offset).map_err(|_| Errno::NXIO)?;
            let place = match whence {
                libc::SEEK_DATA => SeekFrom::Data(offset),
                libc::SEEK_HOLE => SeekFrom::Hole(offset),
                // The kernel does the others itself.
                _ => return Err(Errno::INVAL.into()),
            };
            Ok(rustix::fs::seek(handle.file()?, place)?)
        });
        match sought {
            Ok(offset) => reply.offset(i64::try_from(offset).unwrap_or(i64::MAX)),
            Err(error) => reply.error(error.into()),
        }
    }
}

/// Reads until the buffer is full or the file ends: the kernel takes fewer bytes for the end of the file.
fn read_all(file: &std::os::fd::OwnedFd, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match rustix::io::pread(file, &mut bytes[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(length)
}
