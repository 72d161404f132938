//! The limit on processes and threads of a container: the `pids` controller of control groups (Linux,
//! `Documentation/admin-guide/cgroup-v2.rst`, section PID), which docker's `--pids-limit` sets.

use std::fs;
use std::path::{Path, PathBuf};

/// The innermost limit that applies to this process, and the number of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessLimit {
    /// The maximum number of processes and threads.
    pub most: u64,
    /// How many could not be started since the group was created.
    pub refused: u64,
}

impl ProcessLimit {
    /// Reads the limit. Returns `None` if there is no limit or it cannot be read.
    pub(crate) fn here() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        directories(&groups).iter().find_map(|directory| Self::of(directory))
    }

    fn of(directory: &Path) -> Option<Self> {
        let most = fs::read_to_string(directory.join("pids.max")).ok()?.trim().parse().ok()?;
        let events = fs::read_to_string(directory.join("pids.events")).unwrap_or_default();
        let refused = events.lines().find_map(|line| line.strip_prefix("max ")?.trim().parse().ok());
        Some(Self { most, refused: refused.unwrap_or(0) })
    }
}

/// The control group directories of a process (cgroups(7)), the innermost first. Version 2 has a line without
/// controllers, version 1 a line with `pids`.
fn directories(groups: &str) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let mount = match controllers {
            "" => Path::new("/sys/fs/cgroup"),
            _ if controllers.split(',').any(|name| name == "pids") => Path::new("/sys/fs/cgroup/pids"),
            _ => continue,
        };
        let inner = match path.trim_start_matches('/') {
            "" => mount.to_owned(),
            path => mount.join(path),
        };
        directories
            .extend(inner.ancestors().take_while(|outer| outer.starts_with(mount)).map(Path::to_owned));
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_both_versions_are_found_innermost_first() {
        let shown =
            |groups| directories(groups).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(shown("0::/a/b\n"), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
        assert_eq!(shown("0::/\n"), ["/sys/fs/cgroup"]);
        assert_eq!(shown("3:cpu,cpuacct:/x\n7:pids:/y\n"), ["/sys/fs/cgroup/pids/y", "/sys/fs/cgroup/pids"]);
        assert!(shown("cut").is_empty());
    }

    #[test]
    fn a_limit_is_read_with_its_refusals() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(ProcessLimit::of(directory.path()), None);
        fs::write(directory.path().join("pids.max"), "max\n").expect("a file");
        assert_eq!(ProcessLimit::of(directory.path()), None);
        fs::write(directory.path().join("pids.max"), "24\n").expect("a file");
        assert_eq!(ProcessLimit::of(directory.path()), Some(ProcessLimit { most: 24, refused: 0 }));
        fs::write(directory.path().join("pids.events"), "max 7\n").expect("a file");
        assert_eq!(ProcessLimit::of(directory.path()), Some(ProcessLimit { most: 24, refused: 7 }));
    }
}
