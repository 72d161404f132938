//! From the operation to who answers it.

use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::handler::{attribute, create, directory, file, name, remove, space, xattr};
use super::request::Request;
use super::volume::Volume;
use super::wire::{Feature, Greeting, LARGEST, Operation, write_greeting};

/// Answers one request into `out`.
pub(super) fn answer(
    volume: &Volume,
    operation: Option<Operation>,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    use Operation::*;
    let Some(operation) = operation else { return Err(Errno::NOSYS) };
    match operation {
        Init => greet(volume, request, out),
        // What waits for its turn is given up before (`session`); what is served is answered soon.
        Destroy | Interrupt => Ok(()),
        Lookup => name::lookup(volume, request, out),
        Forget => name::forget(volume, request),
        BatchForget => name::batch_forget(volume, request),
        ReadLink => name::readlink(volume, request, out),
        GetAttr => attribute::getattr(volume, request, out),
        Statx => attribute::statx(volume, request, out),
        SetAttr => attribute::setattr(volume, request, out),
        Access => attribute::access(volume, request),
        StatFs => attribute::statfs(volume, request, out),
        SymLink => create::symlink(volume, request, out),
        MkNod => create::mknod(volume, request, out),
        MkDir => create::mkdir(volume, request, out),
        Link => create::link(volume, request, out),
        Create => create::create(volume, request, out),
        TmpFile => create::tmpfile(volume, request, out),
        Unlink => remove::unlink(volume, request),
        RmDir => remove::rmdir(volume, request),
        Rename => remove::rename(volume, request),
        Rename2 => remove::rename2(volume, request),
        Open => file::open(volume, request, out),
        Read => file::read(volume, request, out),
        Write => file::write(volume, request, out),
        Release => file::release(volume, request),
        Fsync => file::fsync(volume, request),
        OpenDir => directory::opendir(volume, request, out),
        ReadDir => directory::readdir(volume, request, out),
        ReadDirPlus => directory::readdirplus(volume, request, out),
        ReleaseDir => directory::releasedir(volume, request),
        FsyncDir => directory::fsyncdir(volume, request),
        SyncFs => directory::syncfs(volume, request),
        SetXattr => xattr::setxattr(volume, request),
        GetXattr => xattr::getxattr(volume, request, out),
        ListXattr => xattr::listxattr(volume, request, out),
        RemoveXattr => xattr::removexattr(volume, request),
        Fallocate => space::fallocate(volume, request),
        Lseek => space::lseek(volume, request, out),
        CopyFileRange => space::copy_file_range(volume, request, out),
        Ioctl => space::ioctl(volume, request, out),
    }
}

/// What is always asked for.
const WANTED: Feature = Feature::ASYNC_READ
    .with(Feature::ATOMIC_TRUNCATE)
    .with(Feature::EXPORT)
    .with(Feature::BIG_WRITES)
    .with(Feature::DONT_MASK)
    .with(Feature::CONTROL_FOLDERS)
    .with(Feature::AUTO_INVALIDATE)
    .with(Feature::ASYNC_DIRECT)
    .with(Feature::PARALLEL_FOLDERS)
    .with(Feature::MAX_PAGES)
    .with(Feature::CACHE_SYMBOLIC_LINKS)
    .with(Feature::EXTENDED_FLAGS)
    .with(Feature::SECOND_WORD)
    .with(Feature::SUPPLEMENTARY_GROUP)
    .with(Feature::DIRECT_SHARED_MAPPING);

/// What is asked for if nobody watches: with its entries a directory hands out their nodes, and nobody learns which of
/// them is looked at.
const UNWATCHED: Feature = Feature::FOLDER_PLUS.with(Feature::FOLDER_PLUS_AUTO);

fn greet(volume: &Volume, request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), Errno> {
    let greeting = Greeting::read(request.body)?;
    let further = [
        (volume.acl, Feature::POSIX_ACL),
        (!volume.is_observed(), UNWATCHED),
        (!volume.options.counts_bytes, Feature::PASSTHROUGH),
    ];
    let further = further.into_iter().filter(|(is_wanted, _)| *is_wanted);
    let wanted = further.fold(WANTED, |wanted, (_, feature)| wanted.with(feature));
    let chosen = greeting.offered.common(wanted);
    let passthrough = chosen.has(Feature::PASSTHROUGH);
    volume.passthrough.store(passthrough, Ordering::Relaxed);
    let depth = if passthrough { volume.options.depth } else { 0 };
    write_greeting(out, greeting, chosen, LARGEST, depth);
    Ok(())
}
