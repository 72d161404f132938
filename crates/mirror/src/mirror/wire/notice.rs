//! Notifications from the server to the kernel (`enum fuse_notify_code`).

use super::ReplyExt;
use crate::mirror::number::NodeId;

/// `FUSE_NOTIFY_INVAL_INODE`.
const INVALIDATE: u32 = 2;

/// `FUSE_NOTIFY_INVAL_ENTRY`.
const INVALIDATE_ENTRY: u32 = 3;

/// `FUSE_EXPIRE_ONLY` (7.38): the name is looked up again before its next use. Mounts below it stay.
const EXPIRE_ONLY: u32 = 1 << 0;

/// `FUSE_NOTIFY_STORE`.
const STORE: u32 = 4;

/// Makes the kernel request the attributes of a node, and its data from `offset` on, again (`struct
/// fuse_notify_inval_inode_out`).
pub(crate) fn write_invalidation(out: &mut Vec<u8>, node: NodeId, offset: u64) {
    write_header(out, INVALIDATE, 24);
    out.put_u64s(&[node.0, offset, 0]);
}

/// Makes the kernel request the attributes of a node and its access control lists again. Its data stay
/// cached.
pub(crate) fn write_forgotten_attributes(out: &mut Vec<u8>, node: NodeId) {
    write_header(out, INVALIDATE, 24);
    out.put_u64s(&[node.0, -1_i64 as u64, 0]);
}

/// Stores these data of a node at `offset` in the page cache. The file is at least as long as they reach
/// (`struct fuse_notify_store_out`).
pub(crate) fn write_stored(out: &mut Vec<u8>, node: NodeId, offset: u64, data: &[u8]) {
    write_header(out, STORE, 24 + data.len() as u32);
    out.put_u64s(&[node.0, offset]);
    out.put_u32s(&[data.len() as u32, 0]);
    out.extend_from_slice(data);
}

/// Makes the kernel look up a name again before it uses it (`struct fuse_notify_inval_entry_out`).
pub(crate) fn write_expired_entry(out: &mut Vec<u8>, directory: NodeId, name: &[u8]) {
    write_header(out, INVALIDATE_ENTRY, 16 + name.len() as u32 + 1);
    out.put_u64s(&[directory.0]);
    out.put_u32s(&[name.len() as u32, EXPIRE_ONLY]);
    out.extend_from_slice(name);
    out.push(0);
}

/// Writes `struct fuse_out_header` of a notification.
fn write_header(out: &mut Vec<u8>, code: u32, length: u32) {
    out.put_u32s(&[16 + length, code]);
    out.put_u64(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_have_the_sizes_of_the_header() {
        let (mut invalidation, mut stored, mut expired) = (Vec::new(), Vec::new(), Vec::new());
        write_invalidation(&mut invalidation, NodeId(1), 4096);
        write_stored(&mut stored, NodeId(1), 4096, b"data");
        write_expired_entry(&mut expired, NodeId(1), b"name");
        for (message, size) in [(&invalidation, 40), (&stored, 44), (&expired, 37)] {
            assert_eq!((message.len(), message[0]), (size, size as u8));
        }
    }
}
