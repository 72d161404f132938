//! The mounts of a process (`/proc/PID/mountinfo`, proc_pid_mountinfo(5)).

use rustix::mount::MountFlags;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it lies, as bytes, begun with `/`.
    pub place: Vec<u8>,
    /// The file system's type.
    pub kind: Vec<u8>,
    /// What is mounted, as shown to users.
    pub source: Vec<u8>,
    /// Read-only, without devices, and so on.
    pub flags: MountFlags,
}

/// Reads a table: what can be reached from the root, parents before what is mounted in them.
///
/// Lines that are not understood are passed over: the kernel may add to them.
pub fn parse(table: &[u8]) -> Vec<Mount> {
    let lines: Vec<Line> = table.split(|byte| *byte == b'\n').filter_map(parse_line).collect();
    let root = lines.iter().find(|line| {
        line.mount.place == b"/"
            && !lines.iter().any(|other| other.number == line.parent && other.number != line.number)
    });
    let mut reached = Vec::new();
    if let Some(root) = root {
        reach(&lines, root, &mut reached);
    }
    reached
}

/// One line of the table.
struct Line {
    number: u64,
    parent: u64,
    mount: Mount,
}

/// Adds a mount, or what is mounted right over it, and what is mounted in it.
fn reach(lines: &[Line], line: &Line, reached: &mut Vec<Mount>) {
    let children = || lines.iter().filter(|child| child.parent == line.number && child.number != line.number);
    if let Some(over) = children().find(|child| child.mount.place == line.mount.place) {
        return reach(lines, over, reached);
    }
    reached.push(line.mount.clone());
    for child in children() {
        let place = &child.mount.place;
        let hidden =
            children().any(|other| other.mount.place != *place && lies_in(place, &other.mount.place));
        if !hidden {
            reach(lines, child, reached);
        }
    }
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().position(|field| *field == b"-")?;
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let mount = Mount {
        place: unescape(fields.get(4)?),
        kind: unescape(fields.get(separator + 1)?),
        source: unescape(fields.get(separator + 2)?),
        flags: flags(fields.get(5)?),
    };
    Some(Line { number: number(fields.first()?)?, parent: number(fields.get(1)?)?, mount })
}

/// Whether `place` is `folder` or something in it.
pub fn lies_in(place: &[u8], folder: &[u8]) -> bool {
    let Some(rest) = place.strip_prefix(folder) else { return false };
    rest.is_empty() || rest.starts_with(b"/") || folder == b"/"
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
    let mut flags = MountFlags::empty();
    for option in options.split(|byte| *byte == b',') {
        flags |= match option {
            b"ro" => MountFlags::RDONLY,
            b"nosuid" => MountFlags::NOSUID,
            b"nodev" => MountFlags::NODEV,
            b"noexec" => MountFlags::NOEXEC,
            _ => MountFlags::empty(),
        };
    }
    flags
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
    }

    #[test]
    fn names_are_bytes_and_flags_are_kept() {
        let mounts = parse(b"27 1 0:1 / / rw - ext4 a rw\n30 27 0:27 / /mnt/a\\040b ro,nosuid,nodev,noexec - tmpfs tmp\\134fs rw\n");
        assert_eq!(mounts[1].place, b"/mnt/a b");
        assert_eq!(mounts[1].source, b"tmp\\fs");
        let all = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        assert_eq!(mounts[1].flags, all);
    }
}
