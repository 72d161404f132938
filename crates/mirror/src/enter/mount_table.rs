//! The mounts of a process (`/proc/PID/mountinfo`, proc_pid_mountinfo(5)).

use rustix::mount::MountFlags;

/// A device's major and minor number.
pub(super) type Device = (u32, u32);

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The number of the mount and of its parent mount.
    pub number: u64,
    pub parent: u64,
    /// The device of the file system, major and minor. It is unique while the file system is mounted.
    pub device: Device,
    /// The directory or file of the file system that is mounted.
    pub root: Vec<u8>,
    /// The mount point, as bytes that begin with `/`.
    pub place: Vec<u8>,
    /// The file system's type.
    pub kind: Vec<u8>,
    /// The source, as shown to users.
    pub source: Vec<u8>,
    /// Flags, such as read-only or without devices.
    pub flags: MountFlags,
    /// The remaining options, such as access times and mapped owners.
    pub further: Vec<u8>,
}

/// Parses a table and returns the mounts that can be reached from the root, each parent before its children.
///
/// Lines that cannot be parsed are skipped, because the kernel may extend the format.
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

/// Parses a table and returns all mounts in the order of the table, including those under other mounts.
pub(super) fn parse_all(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// Adds a mount, or the mount that covers it, and the mounts inside it.
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

/// Decodes `\` with three octal digits, with which the kernel writes space, tab, newline and backslash.
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

/// The options that are not among these flags.
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
        // The order of the table has no meaning: /proc comes before the root.
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
