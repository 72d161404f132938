//! Facts about a thread that waits for a reply: its ids (`/proc/TID/status`, proc_pid_status(5)) and the ids
//! that its user namespace maps (`/proc/TID/uid_map`, user_namespaces(7)).

use std::fs::File;
use std::io::Read as _;

/// The maximum size to read: a thread may have 65,536 groups of at most ten digits.
const LARGEST: u64 = 1 << 20;

/// The ids that decide a thread's access to files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallerStatus {
    pub user: u32,
    pub group: u32,
    pub groups: Vec<u32>,
}

impl CallerStatus {
    /// Reads the status. Returns `None` if the thread does not exist here.
    pub(super) fn read(thread: u32) -> Option<Self> {
        if thread == 0 {
            return None;
        }
        let mut text = Vec::with_capacity(2048);
        File::open(format!("/proc/{thread}/status")).ok()?.take(LARGEST).read_to_end(&mut text).ok()?;
        Self::parse(&text)
    }

    /// Parses the status. The name, in the first line, is escaped, so it contains no line break.
    fn parse(text: &[u8]) -> Option<Self> {
        let value = |key: &[u8]| {
            let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(key))?;
            std::str::from_utf8(&line[key.len()..]).ok()
        };
        // Real, effective, saved and file system id.
        let fourth = |ids: &str| ids.split_ascii_whitespace().nth(3)?.parse().ok();
        let groups = value(b"Groups:")?.split_ascii_whitespace().map(|id| id.parse().ok());
        Some(Self {
            user: fourth(value(b"Uid:")?)?,
            group: fourth(value(b"Gid:")?)?,
            groups: groups.collect::<Option<Vec<u32>>>()?,
        })
    }
}

/// The users and groups of a thread's user namespace, as ids of this process's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdMaps {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl IdMaps {
    /// Reads the maps. Returns `None` if the thread does not exist here.
    pub(super) fn read(thread: u32) -> Option<Self> {
        let map = |file| std::fs::read_to_string(format!("/proc/{thread}/{file}")).ok();
        Some(Self { users: ranges(&map("uid_map")?)?, groups: ranges(&map("gid_map")?)? })
    }

    /// Whether the namespace maps this user and this group.
    pub(super) fn has(&self, (user, group): (u32, u32)) -> bool {
        let within = |ranges: &[(u32, u32)], id| {
            ranges.iter().any(|(first, count)| (*first..first.saturating_add(*count)).contains(&id))
        };
        within(&self.users, user) && within(&self.groups, group)
    }
}

/// Returns the first id and the count of each range. A line holds the id inside, the id here, and the count.
fn ranges(map: &str) -> Option<Vec<(u32, u32)>> {
    let range = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    };
    map.lines().map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_the_file_system_and_all_groups_are_read() {
        let text = b"Name:\tx Uid:\\n\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t9 10 \n";
        let expected = CallerStatus { user: 4, group: 8, groups: vec![9, 10] };
        assert_eq!(CallerStatus::parse(text), Some(expected));
        assert_eq!(CallerStatus::parse(b"Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 x \n"), None);
        assert_eq!(CallerStatus::parse(b"Uid:\t1\t2\t3\nGid:\t5\t6\t7\t8\nGroups:\t\n"), None);
    }

    #[test]
    fn a_namespace_has_the_ids_of_its_ranges() {
        let users = ranges("0 1000 1\n1 100000 65536\n").expect("two ranges");
        let maps = IdMaps { users, groups: ranges("0 5 4294967295").expect("one range") };
        assert!(maps.has((1000, 5)) && maps.has((165_535, 9)));
        assert!(!maps.has((0, 5)) && !maps.has((165_536, 5)) && !maps.has((1000, 4)));
        assert_eq!(ranges("0 x 1"), None);
    }

    #[test]
    fn this_thread_is_seen() {
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let status = CallerStatus::read(thread).expect("the thread exists");
        assert_eq!(status.user, rustix::process::geteuid().as_raw());
        assert_eq!(CallerStatus::read(0), None);
    }
}
