//! The processes that share this process's mount namespace: those inside the mirror.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::process::{Pid, Signal, kill_process};

use super::mount_table::Device;

/// How long processes may take to vanish once they are killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long those whom an end was asked of may take before they are killed.
const COURTESY: Duration = Duration::from_secs(5);

/// Kills every process of this mount namespace but this one and those in `spared`, and waits until they
/// are gone.
pub fn end_all(spared: &[Pid]) {
    end(Signal::KILL, PATIENCE, || others(spared));
}

/// Kills what descends from this process but for those in `spared` and what they have started.
pub fn end_children(spared: &[Pid]) {
    for child in children().into_iter().filter(|pid| !spared.contains(pid)) {
        let _ = kill_process(child, Signal::KILL);
    }
}

/// Asks those that `find` finds to end, and kills them where they do not.
pub fn ask_to_end(find: impl Fn() -> Vec<Pid>) {
    end(Signal::TERM, COURTESY, &find);
    end(Signal::KILL, PATIENCE, &find);
}

/// Sends a signal to all that are found, once to each, until none is left or the time is over.
fn end(signal: Signal, patience: Duration, find: impl Fn() -> Vec<Pid>) {
    let deadline = Instant::now() + patience;
    let mut told = Vec::new();
    loop {
        let found = find();
        if found.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in found {
            if signal == Signal::KILL || !told.contains(&pid) {
                told.push(pid);
                let _ = kill_process(pid, signal);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processes of this mount namespace but this one and those in `spared`.
pub fn others(spared: &[Pid]) -> Vec<Pid> {
    let Ok(own) = fs::read_link("/proc/self/ns/mnt") else { return Vec::new() };
    let inside = |pid: &Pid| {
        fs::read_link(format!("/proc/{}/ns/mnt", pid.as_raw_nonzero())).is_ok_and(|there| there == own)
    };
    processes().into_iter().filter(|pid| !is_kept(*pid, spared) && inside(pid)).collect()
}

/// The processes whose root is on one of these devices, but for this one and those in `spared`.
pub fn rooted_in(devices: &[Device], spared: &[Pid]) -> Vec<Pid> {
    let root = |pid: &Pid| device_of(Path::new(&format!("/proc/{}/root", pid.as_raw_nonzero())));
    let inside = |pid: &Pid| root(pid).is_ok_and(|device| devices.contains(&device));
    processes().into_iter().filter(|pid| !is_kept(*pid, spared) && inside(pid)).collect()
}

/// The device number, without asking who serves the file system.
fn device_of(path: &Path) -> io::Result<Device> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = statx(CWD, path, flags, StatxFlags::INO)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

fn is_kept(pid: Pid, spared: &[Pid]) -> bool {
    pid.as_raw_nonzero().get() as u32 == std::process::id() || spared.contains(&pid)
}

/// All processes that are to be seen.
pub fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// The children of this process, dead ones that wait to be asked for included.
///
/// The kernel's own list (`/proc/PID/task/TID/children`, proc_tid_children(5)) is said to be unreliable
/// while children vanish. Those of this process vanish when it asks for them, and not while it reads; new
/// ones are added at the end. Kernels are built without it, too: then every process is looked at.
pub fn children() -> Vec<Pid> {
    children_of_threads().unwrap_or_else(|| {
        let own = std::process::id().to_string();
        processes().into_iter().filter(|pid| parent_of(*pid).is_some_and(|parent| parent == own)).collect()
    })
}

/// A child belongs to the thread that made it, until it ends.
fn children_of_threads() -> Option<Vec<Pid>> {
    let mut children = Vec::new();
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let list = fs::read_to_string(thread.path().join("children")).ok()?;
        let numbers = list.split_ascii_whitespace().filter_map(|number| number.parse().ok());
        children.extend(numbers.filter_map(Pid::from_raw));
    }
    Some(children)
}

/// The parent's number, the fourth field of `/proc/PID/stat`; the second is in parentheses.
fn parent_of(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_seen_until_it_is_waited_for() {
        let mut child = std::process::Command::new("/bin/true").spawn().expect("a program");
        let pid = Pid::from_child(&child);
        assert!(children().contains(&pid));
        std::thread::sleep(Duration::from_millis(50));
        assert!(children().contains(&pid), "a dead one, too");
        let listed = children_of_threads();
        assert!(listed.is_none_or(|listed| listed.contains(&pid)));
        child.wait().expect("it is ours");
        assert!(!children().contains(&pid));
    }
}
