//! Names: looking up, forgetting, where symbolic links lead.

use rustix::io::Errno;

use crate::mirror::observer::Action;
use crate::mirror::volume::{Request, Volume};

/// Finds a name in a folder. That there is none is not remembered by the kernel: each miss is asked for.
pub(in crate::mirror) fn look_up(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let name = { request.body }.name()?;
    let (parent, folder) = volume.handle(request.header.node)?;
    let thread = request.header.thread;
    let answer = if volume.retries.has(thread) {
        volume.answer_retry(out, &parent, &folder, name, thread)
    } else {
        volume.answer_entry(out, &parent, &folder, name)
    };
    volume.tell(request.caller(), || parent.path_of(name), Action::Lookup, answer.as_ref().err().copied());
    answer
}

/// The kernel gives a node back.
pub(in crate::mirror) fn forget(volume: &Volume, request: &Request<'_>) -> Result<(), Errno> {
    volume.table.forget(request.header.node, { request.body }.u64()?);
    Ok(())
}

/// The kernel gives nodes back.
pub(in crate::mirror) fn forget_many(volume: &Volume, request: &Request<'_>) -> Result<(), Errno> {
    let mut body = request.body;
    let count = body.u32()?;
    body.u32()?;
    for _ in 0..count {
        let node = body.u64()?;
        volume.table.forget(node, body.u64()?);
    }
    Ok(())
}

/// The target of a symbolic link, byte for byte.
pub(in crate::mirror) fn read_link(
    volume: &Volume,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Errno> {
    let (node, handle) = volume.handle(request.header.node)?;
    let target = rustix::fs::readlinkat(&*handle, c"", Vec::new());
    let error = target.as_ref().err().copied();
    volume.tell(request.caller(), || node.path(), Action::ReadLink, error);
    out.extend_from_slice(target?.as_bytes());
    Ok(())
}
