//! The mounts of a process (`/proc/PID/mountinfo`, proc_pid_mountinfo(5)).

use rustix::mount::MountFlags;

/// A device's major and minor number.
pub(super) type Device = (u32, u32);

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its number, and that of the mount that it lies in.
    pub number: u64,
    pub parent: u64,
    /// The device of its file system, major and minor; no other has it while this one is mounted.
    pub device: Device,
    /// Which directory or file of its file system it is.
    pub root: Vec<u8>,
    /// Where it lies, as bytes, begun with `/`.
    pub place: Vec<u8>,
    /// The file system's type.
    pub kind: Vec<u8>,
    /// What is mounted, as shown to users.
    pub source: Vec<u8>,
    /// Read-only, without devices, and so on.
    pub flags: MountFlags,
    /// Its other options: when the time of access is set, whether owners are mapped.
    pub further: Vec<u8>,
}

/// Reads a table: what can be reached from the root, parents before what is mounted in them.
///
/// Lines that are not understood are passed over: the kernel may add to them.
pub(super) fn parse(table: &[u8]) -> Vec<Mount> {
    let mounts = parse_all(table);
    let root = mounts.iter().find(|mount| {
        mount.place == b"/"
            && !mounts.iter().any(|other| other.number == mount.parent && other.number != mount.number)
    });
    let mut reached = Vec::new();
    if let Some(root) = root {
        reach(&mounts, root, &mut reached);
    }
    reached
}

/// Reads a table: all that is mounted, also under other mounts, in the table's order.
pub(super) fn parse_all(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// Adds a mount, or what is mounted right over it, and what is mounted in it.
fn reach(mounts: &[Mount], mount: &Mount, reached: &mut Vec<Mount>) {
    let children =
        || mounts.iter().filter(|child| child.parent == mount.number && child.number != mount.number);
    if let Some(over) = children().find(|child| child.place == mount.place) {
        return reach(mounts, over, reached);
    }
    reached.push(mount.clone());
    for child in children() {
        let hidden =
            children().any(|other| other.place != child.place && lies_in(&child.place, &other.place));
        if !hidden {
            reach(mounts, child, reached);
        }
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let text = |field: usize| std::str::from_utf8(fields.get(field)?).ok();
    let (major, minor) = text(2)?.split_once(':')?;
    Some(Mount {
        number: text(0)?.parse().ok()?,
        parent: text(1)?.parse().ok()?,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: unescape(fields.get(3)?),
        place: unescape(fields.get(4)?),
        kind: unescape(fields.get(separator + 1)?),
        source: unescape(fields.get(separator + 2)?),
        flags: flags(fields.get(5)?),
        further: further(fields.get(5)?),
    })
}

/// Whether `place` is `directory` or something in it.
pub(super) fn lies_in(place: &[u8], directory: &[u8]) -> bool {
    let Some(rest) = place.strip_prefix(directory) else { return false };
    rest.is_empty() || rest.starts_with(b"/") || directory == b"/"
}

/// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'\\').then(|| after.get(..3)).flatten();
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match number.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

fn flags(options: &[u8]) -> MountFlags {
    options.split(|byte| *byte == b',').filter_map(flag).collect()
}

fn flag(option: &[u8]) -> Option<MountFlags> {
    match option {
        b"ro" => Some(MountFlags::RDONLY),
        b"nosuid" => Some(MountFlags::NOSUID),
        b"nodev" => Some(MountFlags::NODEV),
        b"noexec" => Some(MountFlags::NOEXEC),
        b"nosymfollow" => Some(MountFlags::NOSYMFOLLOW),
        _ => None,
    }
}

/// The options that are none of these flags.
fn further(options: &[u8]) -> Vec<u8> {
    let others =
        options.split(|byte| *byte == b',').filter(|option| *option != b"rw" && flag(option).is_none());
    others.collect::<Vec<_>>().join(&b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 0:27 / /mnt/a\\040b ro,nosuid,nodev,noexec - tmpfs tmp\\134fs rw
31 30 0:28 / /mnt/a\\040b/in rw - tmpfs in rw
32 27 0:29 / /mnt rw - tmpfs over rw
33 27 0:30 / /etc/x rw - tmpfs below rw
34 33 254:0 /etc/x /etc/x rw master:1 shared:2 - ext4 /dev/vda rw
";

    fn places(mounts: &[Mount]) -> Vec<String> {
        mounts.iter().map(|mount| String::from_utf8_lossy(&mount.place).into_owned()).collect()
    }

    #[test]
    fn what_is_hidden_by_another_mount_is_left_out() {
        // The table's order says nothing: /proc comes before the root.
        assert_eq!(places(&parse(TABLE)), ["/", "/proc", "/mnt", "/etc/x"]);
        assert_eq!(parse_all(TABLE).len(), 7);
    }

    #[test]
    fn names_are_bytes_and_flags_are_kept() {
        let mounts = parse(b"27 1 0:1 / / rw - ext4 a rw\n30 27 0:27 / /mnt/a\\040b ro,nosuid,nodev,noexec,nosymfollow - tmpfs tmp\\134fs rw\n");
        assert_eq!(mounts[1].place, b"/mnt/a b");
        assert_eq!(mounts[1].source, b"tmp\\fs");
        assert_eq!((mounts[1].number, mounts[1].parent, mounts[1].device), (30, 27, (0, 27)));
        let all = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        assert_eq!(mounts[1].flags, all | MountFlags::NOSYMFOLLOW);
    }
}
