//! Whether the kernel starts a program with raised privileges (`AT_SECURE` of getauxval(3)). The loader then
//! ignores `LD_LIBRARY_PATH` and restricts `$ORIGIN`.
//!
//! Source: `bprm_fill_uid` in Linux's `fs/exec.c`, `cap_bprm_creds_from_file` in `security/commoncap.c`,
//! capabilities(7). Security modules that change a domain and user namespaces of mounts are not taken into
//! account.

use std::fs::{Metadata, read_to_string};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::LazyLock;

const SET_USER: u32 = 0o4000;
/// A set-group-ID bit counts if the group may execute the file.
const SET_GROUP: u32 = 0o2010;

/// Whether a file with this mode runs as another user or group.
pub fn is_set_id(mode: u32) -> bool {
    mode & SET_USER != 0 || mode & SET_GROUP == SET_GROUP
}

/// The privileges that a file gives to the process that executes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePrivileges {
    mode: u32,
    owner: u32,
    group: u32,
    /// Whether its file system is mounted with `nosuid`, so that none of this counts.
    on_nosuid: bool,
    capabilities: Option<FileCapabilities>,
}

/// The capabilities of a file (`security.capability`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FileCapabilities {
    permitted: u64,
    inheritable: u64,
    effective: bool,
    /// Whether they apply here: they do not belong to a user namespace with another root user.
    count_here: bool,
}

impl FileCapabilities {
    /// `struct vfs_cap_data` of `linux/capability.h`.
    fn parse(data: &[u8]) -> Option<Self> {
        let word = |index: usize| {
            let bytes = data.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let magic = word(0)?;
        let pair = |index: usize| Some((u64::from(word(index)?), u64::from(word(index + 1)?)));
        let (low, high) = match magic >> 24 {
            1 => (pair(1)?, (0, 0)),
            2 | 3 => (pair(1)?, pair(3)?),
            _ => return None,
        };
        Some(Self {
            permitted: low.0 | high.0 << 32,
            inheritable: low.1 | high.1 << 32,
            effective: magic & 1 != 0,
            count_here: magic >> 24 != 3 || word(5) == Some(0),
        })
    }
}

impl FilePrivileges {
    /// Reads the privileges of the file at a path of this machine. Links are followed.
    pub fn of(path: &Path, metadata: &Metadata) -> Self {
        let mut buffer = [0_u8; 64];
        let length = rustix::fs::getxattr(path, "security.capability", &mut buffer).unwrap_or(0);
        let capabilities = (length > 0).then(|| FileCapabilities::parse(&buffer[..length]));
        Self {
            mode: metadata.mode(),
            owner: metadata.uid(),
            group: metadata.gid(),
            on_nosuid: is_nosuid(path),
            // The kernel refuses to execute a file if it cannot read its capabilities.
            capabilities: capabilities.map(Option::unwrap_or_default),
        }
    }

    /// Whether any user other than its owner and root gains privileges.
    pub fn raise_others(&self) -> bool {
        is_set_id(self.mode) || self.capabilities.is_some()
    }
}

/// Whether a path leads to a file system on which set-id bits and capabilities do not count.
fn is_nosuid(path: &Path) -> bool {
    let flags = rustix::fs::statvfs(path).map(|system| system.f_flag);
    flags.is_ok_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::NOSUID))
}

/// A process that starts programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Starter {
    /// Real and effective user ID.
    user: [u32; 2],
    group: [u32; 2],
    /// Whether it cannot gain privileges (`PR_SET_NO_NEW_PRIVS`).
    no_new_privileges: bool,
    permitted: u64,
    inheritable: u64,
    bounding: u64,
    /// The users and groups of its user namespace. `None` if they are unknown.
    users: Option<Vec<Range<u64>>>,
    groups: Option<Vec<Range<u64>>>,
}

impl Starter {
    /// Returns this process.
    pub fn of_this_process() -> &'static Self {
        static THIS: LazyLock<Starter> = LazyLock::new(Starter::read);
        &THIS
    }

    fn read() -> Self {
        use rustix::process::{getegid, geteuid, getgid, getuid};
        let status = read_to_string("/proc/self/status").unwrap_or_default();
        let map = |file: &str| read_to_string(file).ok().map(|text| parse_map(&text));
        Self {
            user: [getuid().as_raw(), geteuid().as_raw()],
            group: [getgid().as_raw(), getegid().as_raw()],
            users: map("/proc/self/uid_map"),
            groups: map("/proc/self/gid_map"),
            ..Self::parse(&status)
        }
    }

    /// Parses the remaining fields of `/proc/PID/status`, beyond users and groups.
    fn parse(status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            u64::from_str_radix(line.trim(), 16).ok()
        };
        Self {
            no_new_privileges: field("NoNewPrivs").unwrap_or(0) != 0,
            permitted: field("CapPrm").unwrap_or(0),
            inheritable: field("CapInh").unwrap_or(0),
            bounding: field("CapBnd").unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// Whether the kernel raises its privileges when it executes a file.
    pub fn is_raised_by(&self, file: &FilePrivileges) -> bool {
        let ([user, mut new_user], [group, mut new_group]) = (self.user, self.group);
        if !file.on_nosuid && !self.no_new_privileges && self.knows_ids_of(file) {
            if file.mode & SET_USER != 0 {
                new_user = file.owner;
            }
            if file.mode & SET_GROUP == SET_GROUP {
                new_group = file.group;
            }
        }
        let is_other = new_user != user || new_group != group;
        is_other || (user != 0 && self.gains_capabilities(file))
    }

    fn gains_capabilities(&self, file: &FilePrivileges) -> bool {
        let counts = |own: &&FileCapabilities| own.count_here && !file.on_nosuid;
        let Some(own) = file.capabilities.as_ref().filter(counts) else { return false };
        let gained = (own.permitted & self.bounding) | (own.inheritable & self.inheritable);
        let allowed = if self.no_new_privileges { self.permitted } else { u64::MAX };
        own.effective || gained & allowed != 0
    }

    /// Whether the owner and the group of a file have IDs in its user namespace.
    fn knows_ids_of(&self, file: &FilePrivileges) -> bool {
        let knows = |map: &Option<Vec<Range<u64>>>, id: u32| {
            map.as_ref().is_none_or(|map| map.iter().any(|range| range.contains(&id.into())))
        };
        knows(&self.users, file.owner) && knows(&self.groups, file.group)
    }
}

/// The IDs inside a user namespace (user_namespaces(7)).
fn parse_map(text: &str) -> Vec<Range<u64>> {
    let range = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().ok());
        let (first, _, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        Some(first..first.saturating_add(count))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starter(user: u32, group: u32) -> Starter {
        Starter { user: [user; 2], group: [group; 2], bounding: u64::MAX, ..Starter::default() }
    }

    fn file(mode: u32, owner: u32, group: u32) -> FilePrivileges {
        FilePrivileges { mode, owner, group, ..FilePrivileges::default() }
    }

    #[test]
    fn a_bit_counts_for_those_whom_it_makes_another_user_or_group() {
        let (root, user) = (starter(0, 0), starter(1000, 1000));
        for (mode, owner, group, by_root, by_user) in [
            (0o755, 0, 0, false, false),
            (0o4755, 0, 0, false, true),
            (0o2755, 0, 0, false, true),
            (0o6755, 0, 0, false, true),
            // The group may not execute the file.
            (0o2745, 0, 0, false, false),
            (0o2745, 0, 1000, false, false),
            (0o4755, 1000, 1000, true, false),
            (0o2755, 0, 1000, true, false),
            (0o6755, 1000, 0, true, true),
        ] {
            let file = file(mode, owner, group);
            let found = (root.is_raised_by(&file), user.is_raised_by(&file));
            assert_eq!(found, (by_root, by_user), "{mode:o} {owner}:{group}");
            let nosuid = FilePrivileges { on_nosuid: true, ..file.clone() };
            let bound = Starter { no_new_privileges: true, ..user.clone() };
            assert!(!root.is_raised_by(&nosuid) && !user.is_raised_by(&nosuid) && !bound.is_raised_by(&file));
        }
    }

    #[test]
    fn a_process_that_is_another_user_already_starts_with_raised_privileges() {
        let borrowed = Starter { user: [1000, 0], ..starter(1000, 1000) };
        assert!(borrowed.is_raised_by(&file(0o755, 0, 0)));
        // The file changes the effective user back to the real one.
        assert!(!borrowed.is_raised_by(&file(0o4755, 1000, 0)));
    }

    #[test]
    fn capabilities_of_a_file_count_for_others_than_root() {
        let parsed = |magic: u32, words: &[u32]| {
            let bytes: Vec<u8> = [&[magic], words].concat().into_iter().flat_map(u32::to_le_bytes).collect();
            FilePrivileges { capabilities: FileCapabilities::parse(&bytes), ..file(0o755, 0, 0) }
        };
        let permitted = parsed(0x0200_0000, &[1 << 13, 0, 0, 0]);
        let effective = parsed(0x0200_0001, &[1 << 13, 0, 0, 0]);
        let inheritable = parsed(0x0200_0000, &[0, 1 << 13, 0, 0]);
        let user = starter(1000, 1000);
        assert!(permitted.raise_others() && user.is_raised_by(&permitted) && user.is_raised_by(&effective));
        assert!(!starter(0, 0).is_raised_by(&effective));
        assert!(!user.is_raised_by(&inheritable));
        assert!(Starter { inheritable: 1 << 13, ..user.clone() }.is_raised_by(&inheritable));
        assert!(!Starter { bounding: 0, ..user.clone() }.is_raised_by(&permitted));
        let bound = Starter { no_new_privileges: true, ..user.clone() };
        assert!(!bound.is_raised_by(&permitted) && bound.is_raised_by(&effective));
        let nosuid = FilePrivileges { on_nosuid: true, ..effective };
        assert!(!user.is_raised_by(&nosuid));
        // Capabilities of a namespace with another root.
        assert!(!user.is_raised_by(&parsed(0x0300_0001, &[1 << 13, 0, 0, 0, 1000])));
    }

    #[test]
    fn owners_that_a_user_namespace_does_not_know_count_for_nothing() {
        let map = || Some(parse_map("         0       1000          1\n"));
        let inside = Starter { users: map(), groups: map(), ..starter(0, 0) };
        assert!(!inside.is_raised_by(&file(0o4755, 65534, 0)));
        assert!(!inside.is_raised_by(&file(0o4755, 0, 0)));
        let status = "NoNewPrivs:\t1\nCapBnd:\t000001ffffffffff\nCapInh:\t0000000000002000\n";
        let read = Starter::parse(status);
        assert!(read.no_new_privileges && read.inheritable == 1 << 13 && read.bounding == 0x1ff_ffff_ffff);
    }
}
