//! From the operation to who answers it.

use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::handler::{attribute, create, extended, file, folder, name, remove, space};
use super::protocol::{Feature, Greeting, Operation, write_greeting};
use super::request::Request;
use super::session::LARGEST;
use super::volume::Volume;

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
        Lookup => name::look_up(volume, request, out),
        Forget => name::forget(volume, request),
        ForgetMany => name::forget_many(volume, request),
        ReadLink => name::read_link(volume, request, out),
        GetAttributes => attribute::get(volume, request, out),
        Statx => attribute::statx(volume, request, out),
        SetAttributes => attribute::set(volume, request, out),
        Access => attribute::access(volume, request),
        VolumeStatistics => attribute::volume(volume, request, out),
        SymbolicLink => create::symbolic_link(volume, request, out),
        MakeNode => create::node(volume, request, out),
        MakeFolder => create::folder(volume, request, out),
        HardLink => create::hard_link(volume, request, out),
        Create => create::file(volume, request, out),
        CreateUnnamed => create::unnamed(volume, request, out),
        Unlink => remove::unlink(volume, request),
        RemoveFolder => remove::folder(volume, request),
        Rename => remove::rename(volume, request),
        RenameWithFlags => remove::rename_with_flags(volume, request),
        Open => file::open(volume, request, out),
        Read => file::read(volume, request, out),
        Write => file::write(volume, request, out),
        Release => file::release(volume, request),
        Sync => file::sync(volume, request),
        OpenFolder => folder::open(volume, request, out),
        ReadFolder => folder::read(volume, request, out),
        ReadFolderPlus => folder::read_plus(volume, request, out),
        ReleaseFolder => folder::release(volume, request),
        SyncFolder => folder::sync(volume, request),
        SyncVolume => folder::sync_volume(volume, request),
        SetExtended => extended::set(volume, request),
        GetExtended => extended::get(volume, request, out),
        ListExtended => extended::list(volume, request, out),
        RemoveExtended => extended::remove(volume, request),
        Allocate => space::allocate(volume, request),
        Seek => space::seek(volume, request, out),
        CopyRange => space::copy_range(volume, request, out),
        Control => space::control(volume, request, out),
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
