//! Directories that are mounted at several places. Natively they are one file system, with one device number and shared
//! locks, and changes at one place show at the others at once. In the mirror they are one FUSE mount, bound to the
//! other places with the flags of those places.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use super::mount_table::{Mount, lies_in};
use super::plan::Plan;
use super::walk;

/// Merges volumes that mirror the same directory in the plan, and removes their entries from `roots`, which has the
/// same order. `all` are all mounts.
pub(super) fn join(plan: &mut Plan, roots: &mut Vec<OwnedFd>, all: &[Mount]) {
    let mounts: Vec<Mount> = plan.mirrors().cloned().collect();
    let firsts: Vec<Option<usize>> = (0..mounts.len()).map(|at| first_of(&mounts, all, at)).collect();
    let is_same = |at: usize, first: usize| is_same_directory(&roots[at], &roots[first]);
    let joined: Vec<Option<usize>> = firsts
        .iter()
        .enumerate()
        .map(|(at, first)| first.filter(|first| *first != at && is_same(at, *first)))
        .collect();
    for (mount, first) in mounts.iter().zip(&joined) {
        if let Some(first) = first {
            plan.join(&mount.place, &mounts[*first].place);
        }
    }
    let mut kept = joined.iter().map(Option::is_none);
    roots.retain(|_| kept.next().unwrap_or(true));
}

/// Returns the mount whose mirror also stands for this one. It has no flag that another mount of this directory lacks.
/// It contains no mounts, because the server would meet them on its way.
fn first_of(mounts: &[Mount], all: &[Mount], at: usize) -> Option<usize> {
    let mount = &mounts[at];
    let is_joined = |other: &&Mount| is_one_directory(mount, other);
    let may_stand = |first: &&Mount| {
        let is_empty =
            !all.iter().any(|other| other.place != first.place && lies_in(&other.place, &first.place));
        is_empty && mounts.iter().filter(is_joined).all(|other| other.flags.contains(first.flags))
    };
    let first = mounts.iter().position(|first| is_joined(&first) && may_stand(&first))?;
    // A mount is made before the mounts inside it, and a merged volume after the first.
    let is_ready = |other: &Mount| other.place == mount.place || !lies_in(&other.place, &mount.place);
    (first <= at || mounts.iter().all(is_ready)).then_some(first)
}

/// Whether two mounts show the same directory of the same file system, and differ only in flags that a bind mount can
/// set again.
fn is_one_directory(one: &Mount, other: &Mount) -> bool {
    (one.device, &one.root, &one.further) == (other.device, &other.root, &other.further)
}

/// Whether the files confirm the mount table. Single files keep separate volumes, because the kernel would not notice
/// that one has grown.
fn is_same_directory(one: &OwnedFd, other: &OwnedFd) -> bool {
    let (Ok(one), Ok(other)) = (walk::look(one), walk::look(other)) else { return false };
    let identity = |stat: &rustix::fs::Statx| (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
    walk::kind(&one) == FileType::Directory && identity(&one) == identity(&other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enter::mount_table::parse;

    fn firsts(table: &[u8]) -> Vec<Option<usize>> {
        let mounts = parse(table);
        (0..mounts.len()).map(|at| first_of(&mounts, &mounts, at)).collect()
    }

    #[test]
    fn mounts_of_one_directory_are_joined() {
        let table = b"1 0 0:1 / / rw,relatime - ext4 a rw\n2 1 0:2 /p /a rw,relatime - ext4 b rw\n\
            3 1 0:2 /p /b rw,relatime - ext4 b rw\n4 1 0:2 /q /c rw,relatime - ext4 b rw\n";
        assert_eq!(firsts(table), [None, Some(1), Some(1), Some(3)]);
    }

    #[test]
    fn the_first_is_one_that_allows_as_much_as_all() {
        let table = b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 /p /a ro,noexec - ext4 b rw\n\
            3 1 0:2 /p /b rw - ext4 b rw\n4 1 0:2 /p /c rw,nosuid - ext4 b rw\n";
        assert_eq!(firsts(table), [None, Some(2), Some(2), Some(2)]);
        let neither = b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 /p /a rw,noexec - ext4 b rw\n\
            3 1 0:2 /p /b ro - ext4 b rw\n";
        assert_eq!(firsts(neither), [None, None, None]);
    }

    #[test]
    fn what_has_mounts_in_it_does_not_stand_for_others() {
        let table = b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 /p /a rw - ext4 b rw\n\
            3 2 0:3 / /a/in rw - tmpfs c rw\n4 1 0:2 /p /b rw - ext4 b rw\n";
        // The other mount would qualify, but the mount inside the first is made before it.
        assert_eq!(firsts(table), [None, None, Some(2), Some(3)]);
    }

    #[test]
    fn other_options_make_another_volume() {
        let table = b"1 0 0:1 / / rw - ext4 a rw\n2 1 0:2 /p /a rw,relatime - ext4 b rw\n\
            3 1 0:2 /p /b rw,relatime,idmapped - ext4 b rw\n";
        assert_eq!(firsts(table), [None, Some(1), Some(2)]);
    }
}
