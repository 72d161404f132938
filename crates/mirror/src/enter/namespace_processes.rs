//! The processes inside the mirror: those that share this process's mount namespace, and those that have
//! one of their own and the mirror as their root.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::process::{Pid, Signal, kill_process};

use super::mount_table::{Device, parse_all};
use super::process_status::ProcessStatus;

/// How long processes may take to vanish once they are killed.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long those whom an end was asked of may take before they are killed.
const COURTESY: Duration = Duration::from_secs(5);

/// The processes inside, as a process of this mount namespace finds them.
#[derive(Clone, Debug)]
pub(super) struct NamespaceProcesses {
    /// The devices that were mounted here before the mirror was: they stay so, and are others'.
    earlier: Vec<Device>,
}

impl NamespaceProcesses {
    /// `table` has the mounts of the namespace before the mirror is made.
    pub(super) fn new(table: &[u8]) -> Self {
        Self { earlier: parse_all(table).iter().map(|mount| mount.device).collect() }
    }

    /// Kills everybody inside but this process and those in `spared`, and waits until they are gone.
    pub(super) fn end_all(&self, spared: &[Pid]) {
        kill_all(|| self.others(spared));
    }

    /// The processes inside but this one and those in `spared`.
    pub(super) fn others(&self, spared: &[Pid]) -> Vec<Pid> {
        let Ok(own) = fs::read_link("/proc/self/ns/mnt") else { return Vec::new() };
        let shares =
            |pid: Pid| look(pid, |of| fs::read_link(of.join("ns/mnt"))).is_ok_and(|there| there == own);
        let devices = self.devices();
        let inside = |pid: &Pid| !is_kept(*pid, spared) && (shares(*pid) || is_rooted_in(*pid, &devices));
        processes().into_iter().filter(inside).collect()
    }

    /// The devices of this run's mirror, as far as it is mounted.
    fn devices(&self) -> Vec<Device> {
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let fuse = parse_all(&table).into_iter().filter(|mount| mount.kind == b"fuse");
        fuse.map(|mount| mount.device).filter(|device| !self.earlier.contains(device)).collect()
    }
}

/// Kills what descends from this process but for those in `spared` and what they have started.
pub(super) fn end_children(spared: &[Pid]) {
    for child in children().into_iter().filter(|pid| !spared.contains(pid)) {
        let _ = kill_process(child, Signal::KILL);
    }
}

/// Kills those that `find` finds, and waits until they are gone.
pub(super) fn kill_all(find: impl Fn() -> Vec<Pid>) {
    end(Signal::KILL, PATIENCE, find);
}

/// Asks those that `find` finds to end, and kills them where they do not.
pub(super) fn ask_to_end(find: impl Fn() -> Vec<Pid>) {
    end(Signal::TERM, COURTESY, &find);
    kill_all(find);
}

/// Sends a signal to all that are found, once to each, until none is left or the time is over.
///
/// Who is not found any more may still be about to end: the system takes namespace and root from it before it
/// closes the last of its files, which the mirror is to see.
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

/// One to whom a signal was sent.
struct Signalled {
    pid: Pid,
    started: u64,
}

impl Signalled {
    fn new(pid: Pid) -> Option<Self> {
        ProcessStatus::of(pid).map(|status| Self { pid, started: status.started })
    }

    /// Whether it has begun to end and not finished.
    fn is_leaving(&self) -> bool {
        let has = |what: &str| match look(self.pid, |of| fs::read_link(of.join(what))) {
            Err(error) => !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)),
            Ok(_) => true,
        };
        let whole = has("root") && has("ns/mnt");
        self.leaves(whole, ProcessStatus::of(self.pid))
    }

    /// It is there, and its root or namespace is not.
    fn leaves(&self, whole: bool, now: Option<ProcessStatus>) -> bool {
        !whole
            && now.is_some_and(|now| {
                let dead = matches!(now.state, 'Z' | 'X') && now.threads <= 1;
                now.started == self.started && !dead
            })
    }
}

/// Asks for something of a process (`/proc/PID`), or of another thread of it where the first one has ended
/// before the others.
fn look<T>(pid: Pid, ask: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    let place = format!("/proc/{}", pid.as_raw_nonzero());
    let answer = ask(Path::new(&place));
    if answer.is_ok() || ProcessStatus::of(pid).is_none_or(|status| status.threads <= 1) {
        return answer;
    }
    let threads = fs::read_dir(format!("{place}/task"))?.flatten();
    threads.map(|thread| ask(&thread.path())).find(Result::is_ok).unwrap_or(answer)
}

/// The processes whose root is on one of these devices, but for this one and those in `spared`.
pub(super) fn rooted_in(devices: &[Device], spared: &[Pid]) -> Vec<Pid> {
    let inside = |pid: &Pid| !is_kept(*pid, spared) && is_rooted_in(*pid, devices);
    processes().into_iter().filter(inside).collect()
}

fn is_rooted_in(pid: Pid, devices: &[Device]) -> bool {
    !devices.is_empty()
        && look(pid, |of| device_of(&of.join("root"))).is_ok_and(|device| devices.contains(&device))
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
pub(super) fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// The children of this process, dead ones that wait to be asked for included.
///
/// The kernel's own list (`/proc/PID/task/TID/children`, proc_tid_children(5)) is said to be unreliable
/// while children vanish. Those of this process vanish when it asks for them, and not while it reads; new
/// ones are added at the end. Kernels are built without it, too: then every process is looked at.
pub(super) fn children() -> Vec<Pid> {
    children_of_threads().unwrap_or_else(|| {
        let own = std::process::id() as i32;
        let is_child = |pid: &Pid| ProcessStatus::of(*pid).is_some_and(|status| status.parent == own);
        processes().into_iter().filter(is_child).collect()
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
        assert_eq!(NamespaceProcesses::new(&table).devices(), []);
    }
}
