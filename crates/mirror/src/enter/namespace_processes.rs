//! The processes inside the mirror: those that share this process's mount namespace, and those in another namespace
//! with the mirror as their root.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::process::{Pid, Signal, kill_process};

use super::inner_namespace::InnerNamespace;
use super::mount_table::{Device, parse_all};
use super::plan::SHARE_MIRROR;
use super::process_status::ProcessStatus;

/// The time that killed processes may take to vanish.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The time that processes may take to end after SIGTERM before they are killed.
const COURTESY: Duration = Duration::from_secs(5);

/// The processes inside, as seen by a process of this mount namespace.
#[derive(Debug)]
pub(super) struct NamespaceProcesses {
    /// The namespace of the command if this process is not in it.
    inner: Option<InnerNamespace>,
    /// The devices that were mounted before the mirror. They do not belong to it.
    earlier: Vec<Device>,
}

impl NamespaceProcesses {
    /// `table` is the mount table of the namespace before the mirror is created. `inner` is the namespace of the command
    /// if this process is not in it.
    pub(super) fn new(table: &[u8], inner: Option<InnerNamespace>) -> Self {
        Self { inner, earlier: parse_all(table).iter().map(|mount| mount.device).collect() }
    }

    /// The namespace of the command if this process is not in it.
    pub(super) fn inner(&self) -> Option<&InnerNamespace> {
        self.inner.as_ref()
    }

    /// Kills all processes inside except for this one and those in `spared`, and waits until they are gone.
    pub(super) fn end_all(&self, spared: &[Pid]) {
        kill_all(|| self.others(spared));
    }

    /// The processes inside, except for this one and those in `spared`.
    pub(super) fn others(&self, spared: &[Pid]) -> Vec<Pid> {
        let Ok(own) = fs::read_link("/proc/self/ns/mnt") else { return Vec::new() };
        let devices = self.devices();
        // Whether a namespace contains the mirror of a share. Many processes share one.
        let mut known: BTreeMap<PathBuf, bool> = BTreeMap::new();
        let mut inside = |pid: &Pid| {
            let Some(inner) = &self.inner else {
                let there = namespace_of(*pid);
                return there.is_ok_and(|there| there == own) || is_rooted_in(*pid, &devices);
            };
            let Ok(there) = namespace_of(*pid) else { return false };
            if there == own {
                return false;
            }
            inner.is_named(&there) || *known.entry(there).or_insert_with(|| is_mounted_for(*pid, &devices))
        };
        processes().into_iter().filter(|pid| !is_kept(*pid, spared) && inside(pid)).collect()
    }

    /// The devices of this run's mirror that are mounted.
    fn devices(&self) -> Vec<Device> {
        let own = || Some(parse_all(&fs::read("/proc/self/mountinfo").ok()?));
        let mounts = self.inner.as_ref().map_or_else(own, |inner| inner.mounts().ok());
        let fuse = mounts.into_iter().flatten();
        let fuse = fuse.filter(|mount| mount.kind == b"fuse" || mount.kind == SHARE_MIRROR.as_bytes());
        fuse.map(|mount| mount.device).filter(|device| !self.earlier.contains(device)).collect()
    }
}

/// The name of the mount namespace of a process.
fn namespace_of(pid: Pid) -> io::Result<PathBuf> {
    look(pid, |of| fs::read_link(of.join("ns/mnt")))
}

/// Whether one of these devices is mounted in the namespace of a process.
fn is_mounted_for(pid: Pid, devices: &[Device]) -> bool {
    let table = look(pid, |of| fs::read(of.join("mountinfo"))).unwrap_or_default();
    parse_all(&table).iter().any(|mount| devices.contains(&mount.device))
}

/// Kills the children of this process, except for those in `spared`.
pub(super) fn end_children(spared: &[Pid]) {
    for child in children().into_iter().filter(|pid| !spared.contains(pid)) {
        let _ = kill_process(child, Signal::KILL);
    }
}

/// Kills the processes that `find` returns, and waits until they are gone.
pub(super) fn kill_all(find: impl Fn() -> Vec<Pid>) {
    end(Signal::KILL, PATIENCE, find);
}

/// Sends SIGTERM to the processes that `find` returns, and kills those that do not end.
pub(super) fn ask_to_end(find: impl Fn() -> Vec<Pid>) {
    end(Signal::TERM, COURTESY, &find);
    kill_all(find);
}

/// Sends a signal once to each process that is found, until none is left or the time is over.
///
/// A process that is no longer found may still be ending. The kernel releases its namespace and root before it closes
/// its last files, and the mirror must see these closes.
fn end(signal: Signal, patience: Duration, find: impl Fn() -> Vec<Pid>) {
    let deadline = Instant::now() + patience;
    let mut signalled: Vec<Signalled> = Vec::new();
    loop {
        let found = find();
        if (found.is_empty() && !signalled.iter().any(Signalled::is_leaving)) || Instant::now() > deadline {
            return;
        }
        for pid in found {
            let known = signalled.iter().any(|process| process.pid == pid);
            if !known {
                signalled.extend(Signalled::new(pid));
            }
            if signal == Signal::KILL || !known {
                let _ = kill_process(pid, signal);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process that received a signal.
struct Signalled {
    pid: Pid,
    started: u64,
}

impl Signalled {
    fn new(pid: Pid) -> Option<Self> {
        ProcessStatus::of(pid).map(|status| Self { pid, started: status.started })
    }

    /// Whether the process is ending and has not finished.
    fn is_leaving(&self) -> bool {
        let has = |what: &str| match look(self.pid, |of| fs::read_link(of.join(what))) {
            Err(error) => !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
            Ok(_) => true,
        };
        let whole = has("root") && has("ns/mnt");
        self.leaves(whole, ProcessStatus::of(self.pid))
    }

    /// The process exists, but its root or namespace is gone.
    fn leaves(&self, whole: bool, now: Option<ProcessStatus>) -> bool {
        !whole
            && now.is_some_and(|now| {
                let dead = matches!(now.state, 'Z' | 'X') && now.threads <= 1;
                now.started == self.started && !dead
            })
    }
}

/// Reads a fact about a process (`/proc/PID`), or about another of its threads if the first thread ended before the
/// others.
fn look<T>(pid: Pid, ask: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let place = format!("/proc/{}", pid.as_raw_nonzero());
    let answer = ask(Path::new(&place));
    if answer.is_ok() || ProcessStatus::of(pid).is_none_or(|status| status.threads <= 1) {
        return answer;
    }
    let threads = fs::read_dir(format!("{place}/task"))?.flatten();
    threads.map(|thread| ask(&thread.path())).find(Result::is_ok).unwrap_or(answer)
}

/// The processes with a root on one of these devices, except for this one and those in `spared`.
pub(super) fn rooted_in(devices: &[Device], spared: &[Pid]) -> Vec<Pid> {
    let inside = |pid: &Pid| !is_kept(*pid, spared) && is_rooted_in(*pid, devices);
    processes().into_iter().filter(inside).collect()
}

fn is_rooted_in(pid: Pid, devices: &[Device]) -> bool {
    !devices.is_empty()
        && look(pid, |of| device_of(&of.join("root"))).is_ok_and(|device| devices.contains(&device))
}

/// Returns the device number without a request to the server of the file system.
fn device_of(path: &Path) -> io::Result<Device> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = statx(CWD, path, flags, StatxFlags::INO)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor))
}

fn is_kept(pid: Pid, spared: &[Pid]) -> bool {
    pid.as_raw_nonzero().get() as u32 == std::process::id() || spared.contains(&pid)
}

/// All visible processes.
pub(super) fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// The children of this process, including dead ones that were not waited for.
///
/// According to proc_tid_children(5), the kernel's list (`/proc/PID/task/TID/children`) is unreliable while children
/// vanish. Children of this process vanish only when it waits for them, and not while it reads the list. New children
/// are added at the end. Some kernels do not have the list. In this case every process is checked.
pub(super) fn children() -> Vec<Pid> {
    children_of_threads().unwrap_or_else(|| {
        let own = std::process::id() as i32;
        let is_child = |pid: &Pid| ProcessStatus::of(*pid).is_some_and(|status| status.parent == own);
        processes().into_iter().filter(is_child).collect()
    })
}

/// A child belongs to the thread that created it, until that thread ends.
fn children_of_threads() -> Option<Vec<Pid>> {
    let mut children = Vec::new();
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let list = fs::read_to_string(thread.path().join("children")).ok()?;
        let numbers = list.split_ascii_whitespace().filter_map(|number| number.parse().ok());
        children.extend(numbers.filter_map(Pid::from_raw));
    }
    Some(children)
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
        assert!(children().contains(&pid), "including a dead one");
        let listed = children_of_threads();
        assert!(listed.is_none_or(|listed| listed.contains(&pid)));
        child.wait().expect("it is ours");
        assert!(!children().contains(&pid));
    }

    #[test]
    fn who_has_not_ended_is_not_leaving_and_who_is_dead_neither() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().expect("a program");
        let signalled = Signalled::new(Pid::from_child(&child)).expect("it lives");
        assert!(!signalled.is_leaving());
        let found = std::cell::Cell::new(true);
        end(Signal::KILL, PATIENCE, || found.replace(false).then_some(signalled.pid).into_iter().collect());
        let status = ProcessStatus::of(signalled.pid).expect("nobody has waited for it");
        assert!(status.state == 'Z' && !signalled.is_leaving());
        child.wait().expect("it is ours");
        assert!(!signalled.is_leaving());
    }

    #[test]
    fn who_has_lost_its_namespace_is_leaving_until_it_is_dead() {
        let signalled = Signalled { pid: Pid::INIT, started: 4711 };
        let status = |state, threads, started| {
            Some(ProcessStatus { state, parent: 1, group: 1, session: 1, terminal: 0, threads, started })
        };
        assert!(signalled.leaves(false, status('R', 1, 4711)));
        assert!(signalled.leaves(false, status('Z', 2, 4711)), "its other threads have yet to end");
        assert!(!signalled.leaves(true, status('S', 1, 4711)), "it has gone elsewhere");
        assert!(!signalled.leaves(false, status('Z', 1, 4711)));
        assert!(!signalled.leaves(false, status('R', 1, 4712)), "another one has its number");
        assert!(!signalled.leaves(false, None));
    }

    #[test]
    fn devices_that_were_there_before_are_others() {
        let table = fs::read("/proc/self/mountinfo").expect("a table");
        assert_eq!(NamespaceProcesses::new(&table, None).devices(), []);
    }
}
