//! Calls the handler of a request.

use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::arguments::Arguments;
use super::handler::{attribute, create, directory, file, name, remove, space, xattr};
use super::request::Request;
use super::volume::Volume;
use super::wire::{Feature, Greeting, LARGEST, write_greeting};

/// Answers one request into `out`.
pub(super) fn answer(
    volume: &Volume,
    arguments: &Arguments<'_>,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    use Arguments::*;
    match arguments {
        Init(greeting) => greet(volume, *greeting, out),
        // `session` has already cancelled a request that waited for its turn. A request that is being served
        // ends soon.
        Destroy | Interrupt { .. } => Ok(()),
        Lookup { name } => name::lookup(volume, request, name, out),
        Forget { lookups } => name::forget(volume, request, *lookups),
        BatchForget(forgotten) => name::batch_forget(volume, *forgotten),
        ReadLink => name::readlink(volume, request, out),
        GetAttr => attribute::getattr(volume, request, out),
        Statx => attribute::statx(volume, request, out),
        SetAttr(change) => attribute::setattr(volume, request, change, out),
        Access { mask } => attribute::access(volume, request, *mask),
        StatFs => attribute::statfs(volume, request, out),
        SymLink(wanted) => create::symlink(volume, request, wanted, out),
        MkNod(wanted) => create::mknod(volume, request, wanted, out),
        MkDir(wanted) => create::mkdir(volume, request, wanted, out),
        Link(wanted) => create::link(volume, request, wanted, out),
        Create(wanted) => create::create(volume, request, wanted, out),
        TmpFile(how) => create::tmpfile(volume, request, *how, out),
        Unlink { name } => remove::unlink(volume, request, name),
        RmDir { name } => remove::rmdir(volume, request, name),
        Rename(wanted) | Rename2(wanted) => remove::rename(volume, request, wanted),
        Open { flags } => file::open(volume, request, *flags, out),
        Read(wanted) => file::read(volume, wanted, out),
        Write(wanted) => file::write(volume, request, wanted, out),
        Release { handle } => file::release(volume, *handle),
        Fsync(wanted) => file::fsync(volume, wanted),
        OpenDir => directory::opendir(volume, request, out),
        ReadDir(wanted) => directory::readdir(volume, wanted, out),
        ReadDirPlus(wanted) => directory::readdirplus(volume, wanted, out),
        ReleaseDir { handle } => directory::releasedir(volume, *handle),
        FsyncDir { handle } => directory::fsyncdir(volume, *handle),
        SyncFs => directory::syncfs(volume, request),
        SetXattr(wanted) => xattr::setxattr(volume, request, wanted),
        GetXattr(wanted) => xattr::getxattr(volume, request, wanted, out),
        ListXattr { size } => xattr::listxattr(volume, request, *size, out),
        RemoveXattr { name } => xattr::removexattr(volume, request, name),
        Fallocate(wanted) => space::fallocate(volume, request, wanted),
        Lseek(wanted) => space::lseek(volume, wanted, out),
        CopyFileRange(wanted) => space::copy_file_range(volume, request, wanted, out),
        Ioctl(wanted) => space::ioctl(volume, request, wanted, out),
    }
}

/// The features that the mirror always requests.
const WANTED: Feature = Feature::ASYNC_READ
    .with(Feature::ATOMIC_O_TRUNC)
    .with(Feature::EXPORT_SUPPORT)
    .with(Feature::BIG_WRITES)
    .with(Feature::DONT_MASK)
    .with(Feature::HAS_IOCTL_DIR)
    .with(Feature::AUTO_INVAL_DATA)
    .with(Feature::ASYNC_DIO)
    .with(Feature::PARALLEL_DIROPS)
    .with(Feature::MAX_PAGES)
    .with(Feature::CACHE_SYMLINKS)
    .with(Feature::SETXATTR_EXT)
    .with(Feature::INIT_EXT)
    .with(Feature::CREATE_SUPP_GROUP)
    .with(Feature::DIRECT_IO_ALLOW_MMAP);

/// The features that the mirror requests only without an observer. `READDIRPLUS` returns nodes with the
/// entries of a directory, so an observer would not learn which of them are looked up.
const UNWATCHED: Feature = Feature::DO_READDIRPLUS.with(Feature::READDIRPLUS_AUTO);

fn greet(volume: &Volume, greeting: Greeting, out: &mut Vec<u8>) -> Result<(), Errno> {
    let further = [
        (volume.acl, Feature::POSIX_ACL),
        // A cached volume would request the attributes of each entry from the share.
        (!volume.is_observed() && volume.cached.is_none(), UNWATCHED),
        (!volume.options.counts_bytes, Feature::PASSTHROUGH),
    ];
    let further = further.into_iter().filter(|(is_wanted, _)| *is_wanted);
    let wanted = further.fold(WANTED, |wanted, (_, feature)| wanted.with(feature));
    let chosen = greeting.offered.common(wanted);
    let passthrough = chosen.has(Feature::PASSTHROUGH);
    volume.protocol.store(greeting.minor, Ordering::Relaxed);
    volume.passthrough.store(passthrough, Ordering::Relaxed);
    let depth = if passthrough { volume.options.depth } else { 0 };
    write_greeting(out, greeting, chosen, LARGEST, depth);
    Ok(())
}
