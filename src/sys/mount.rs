//! Which mount a file lies in.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags, statx};

/// The number of the mount that an open file lies in, as the mount table has it. Kernels before Linux 5.8
/// report it in `/proc` alone, which is found at `process`.
///
/// # Errors
///
/// Those of statx(2), and of reading `/proc`.
pub fn mount_number(file: impl AsFd, process: &Path) -> io::Result<u64> {
    let file = file.as_fd();
    // Who serves the file system need not be asked, and cannot be where it is only being mounted.
    let flags = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = statx(file, c"", flags, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return Ok(stat.stx_mnt_id);
    }
    let facts = std::fs::read_to_string(process.join(format!("self/fdinfo/{}", file.as_raw_fd())))?;
    parse(&facts).ok_or_else(|| io::Error::other("the mount of a file is not known"))
}

/// The mount of a file (`/proc/PID/fdinfo`, proc_pid_fdinfo(5)).
fn parse(facts: &str) -> Option<u64> {
    facts.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn both_ways_give_the_same_number() {
        let process = Path::new("/proc");
        let open = |path: &str| File::open(path).expect("it is there");
        let (root, other) = (open("/"), open("/proc"));
        let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", root.as_raw_fd()));
        let number = mount_number(&root, process).expect("a number");
        assert_eq!(parse(&facts.expect("facts")), Some(number));
        assert_ne!(mount_number(&other, process).expect("a number"), number);
    }
}
