//! Messages: a header, a body of numbers and names, and, in newer kernels, extensions at the end.

use rustix::io::Errno;

use crate::mirror::number::NodeId;

/// `struct fuse_in_header`, in bytes.
const IN_HEADER: usize = 40;

/// `struct fuse_out_header`, in bytes.
pub(crate) const OUT_HEADER: usize = 16;

/// `FUSE_EXT_GROUPS`: the extension that carries a supplementary group.
const GROUPS_EXTENSION: u32 = 32;

/// The header of a request: caller, operation and node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// The length of the whole message in bytes.
    pub length: usize,
    /// The operation's number.
    pub operation: u32,
    /// The request's number, which the reply repeats.
    pub unique: u64,
    /// The node that the request concerns.
    pub node: NodeId,
    pub user: u32,
    pub group: u32,
    /// The calling *thread*, or 0 if the kernel acts on its own behalf.
    pub thread: u32,
}

impl Header {
    /// Splits a message into header, body and the caller's supplementary group, if the kernel names one. It
    /// names the group of the directory in which a file is created, if the caller is in that group.
    ///
    /// # Errors
    ///
    /// If the bytes are not a message (`EINVAL`).
    pub(crate) fn read(message: &[u8]) -> Result<(Self, MessageBody<'_>, Option<u32>), Errno> {
        let mut head = MessageBody(message.get(..IN_HEADER).ok_or(Errno::INVAL)?);
        let (length, operation) = (head.u32()? as usize, head.u32()?);
        let (unique, node) = (head.u64()?, NodeId(head.u64()?));
        let (user, group, thread) = (head.u32()?, head.u32()?, head.u32()?);
        let extensions = (head.u32()? & 0xffff) as usize * 8;
        let end = length.checked_sub(extensions).ok_or(Errno::INVAL)?;
        let body = message.get(IN_HEADER..end).ok_or(Errno::INVAL)?;
        let supplementary = message.get(end..length).and_then(supplementary_group);
        Ok((Self { length, operation, unique, node, user, group, thread }, MessageBody(body), supplementary))
    }
}

/// Returns the group in the extensions (`struct fuse_ext_header`, `struct fuse_supp_groups`).
fn supplementary_group(extensions: &[u8]) -> Option<u32> {
    let mut rest = MessageBody(extensions);
    loop {
        let (size, kind) = (rest.u32().ok()? as usize, rest.u32().ok()?);
        let content = rest.bytes(size.checked_sub(8)?).ok()?;
        if kind == GROUPS_EXTENSION {
            let mut groups = MessageBody(content);
            return (groups.u32().ok()? > 0).then(|| groups.u32().ok()).flatten();
        }
    }
}

/// The unread rest of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageBody<'a>(pub &'a [u8]);

impl<'a> MessageBody<'a> {
    /// Returns the next bytes.
    ///
    /// # Errors
    ///
    /// If fewer bytes are left (`EINVAL`). This applies to the other readers as well.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(u32::from_ne_bytes(*taken))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(u64::from_ne_bytes(*taken))
    }

    /// Returns the next name, which ends with a zero byte.
    pub(crate) fn name(&mut self) -> Result<&'a [u8], Errno> {
        let end = memchr::memchr(0, self.0).ok_or(Errno::INVAL)?;
        let name = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(name)
    }
}

/// Appends numbers to a reply.
pub(crate) trait ReplyExt {
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_u32s(&mut self, values: &[u32]);
    fn put_u64s(&mut self, values: &[u64]);
    /// Appends `count` zero bytes.
    fn put_zeros(&mut self, count: usize);
}

impl ReplyExt for Vec<u8> {
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_ne_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_ne_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_ne_bytes());
    }

    fn put_u32s(&mut self, values: &[u32]) {
        values.iter().for_each(|value| self.put_u32(*value));
    }

    fn put_u64s(&mut self, values: &[u64]) {
        values.iter().for_each(|value| self.put_u64(*value));
    }

    fn put_zeros(&mut self, count: usize) {
        self.resize(self.len() + count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &[u8], extensions: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        message.put_u32((IN_HEADER + body.len() + extensions.len()) as u32);
        message.put_u32(35);
        message.put_u64(7);
        message.put_u64(1);
        message.put_u32s(&[1000, 100, 4711]);
        message.put_u16((extensions.len() / 8) as u16);
        message.put_u16(0);
        message.extend_from_slice(body);
        message.extend_from_slice(extensions);
        message
    }

    #[test]
    fn a_message_is_split_into_its_parts() {
        let mut extensions = Vec::new();
        extensions.put_u32s(&[16, GROUPS_EXTENSION, 1, 42]);
        let bytes = message(b"name\0", &extensions);
        let (header, mut body, group) = Header::read(&bytes).expect("a message");
        assert_eq!((header.operation, header.unique, header.user, header.thread), (35, 7, 1000, 4711));
        assert_eq!((body.name(), group), (Ok(&b"name"[..]), Some(42)));
        assert!(body.0.is_empty());
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let bytes = message(b"name", &[]);
        for end in 0..bytes.len() {
            assert!(Header::read(&bytes[..end]).is_err(), "{end}");
        }
        let (_, mut body, _) = Header::read(&bytes).expect("a message");
        assert_eq!(body.name(), Err(Errno::INVAL));
        assert_eq!(body.u64(), Err(Errno::INVAL));
        let mut lies = message(b"", &[]);
        lies[36] = 200;
        assert!(Header::read(&lies).is_err());
    }
}
