//! Finds the process of a thread, and its parent and program. A request contains only the thread, which may be gone by
//! the time the log is written. The facts are therefore read while the thread waits for its reply.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::bounded::{Bounded, Programs};
use super::execution::Executions;

/// The known facts about a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordedProcess {
    pub pid: u32,
    pub ppid: u32,
    pub exe: Arc<Bounded>,
    /// The place of the process in a parallel job.
    pub membership: Option<Membership>,
}

/// The place of a process and its descendants in a parallel job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// The process will become the command of a rank.
    Joining,
    /// The process belongs to this rank.
    Rank(u32),
}

/// The time for which a thread number is assumed to mean the same thread. The kernel reuses numbers, but not that
/// quickly.
const TRUSTED: Duration = Duration::from_millis(500);

/// The number of requests after the start of an execution for which the program is read anew. It changes only after the
/// kernel has opened the file, its interpreter and the interpreter's own interpreter.
const AFTER_EXECUTION: u32 = 8;

/// The number of threads that are stored.
const MOST_THREADS: usize = 65_536;

/// The known threads.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    threads: Mutex<HashMap<u32, KnownThread>>,
    /// The processes from which the ranks of a parallel job descend.
    memberships: Mutex<HashMap<u32, Membership>>,
    executions: Mutex<Executions>,
    programs: Mutex<Programs>,
    /// The external mount point of the mirror.
    outside: OnceLock<Vec<u8>>,
    /// The path of this program. Until its first execution, a process of the run executes this program.
    own_program: Vec<u8>,
}

/// The purpose of a request, as far as it reveals the program of the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Opens a file for execution.
    Execution,
    /// Opens a file for another purpose.
    Open,
    Other,
}

#[derive(Debug)]
struct KnownThread {
    process: Arc<RecordedProcess>,
    until: Instant,
    changing: u32,
    /// A file was opened for execution, and none for another purpose since.
    executing: bool,
}

impl ProcessTable {
    /// Returns an empty table.
    pub(super) fn new() -> Self {
        let own_program = std::env::current_exe().unwrap_or_default().into_os_string().into_vec();
        Self { own_program, ..Self::default() }
    }

    /// Returns the process of a thread.
    pub(super) fn of(&self, thread: u32, now: Instant, asking: Purpose) -> Arc<RecordedProcess> {
        let executes = asking == Purpose::Execution;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = threads.get_mut(&thread) {
            known.executing &= asking != Purpose::Open;
            if executes {
                known.changing = AFTER_EXECUTION;
            } else if known.changing > 0 {
                known.changing -= 1;
            }
            if now < known.until && (executes || known.changing == 0) {
                return Arc::clone(&known.process);
            }
        }
        drop(threads);
        let mut process = self.read(thread);
        process.membership = self.membership_of(thread, process.ppid);
        let process = Arc::new(process);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() >= MOST_THREADS {
            threads.retain(|_, known| known.until > now);
            if threads.len() >= MOST_THREADS / 2 {
                // Their facts are read again later.
                threads.clear();
            }
        }
        let (changing, executing) =
            threads.get(&thread).map_or((0, false), |known| (known.changing, known.executing));
        let changing = if executes { AFTER_EXECUTION } else { changing };
        let known = KnownThread { process: Arc::clone(&process), until: now + TRUSTED, changing, executing };
        threads.insert(thread, known);
        process
    }

    /// Records that a thread of a process opened a file for execution.
    pub(super) fn executes(&self, thread: u32, process: u32, path: &[u8]) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = threads.get_mut(&thread);
        let goes_on = known.is_some_and(|known| std::mem::replace(&mut known.executing, true));
        drop(threads);
        let program = self.kept(Bounded::from(path));
        self.executions.lock().unwrap_or_else(PoisonError::into_inner).add(process, program, goes_on);
    }

    fn kept(&self, program: Bounded) -> Arc<Bounded> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).keep(program)
    }

    /// Sets the external mount point of the mirror. The kernel reports the programs of processes that entered there
    /// with paths that begin with it.
    pub(super) fn mounted_at(&self, directory: Vec<u8>) {
        let _ = self.outside.set(directory);
    }

    /// Reads the facts from `/proc`. If the kernel hides the program of another user's thread, it is determined from
    /// earlier executions.
    fn read(&self, thread: u32) -> RecordedProcess {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let (pid, ppid) = (field(&status, "Tgid:").unwrap_or(thread), field(&status, "PPid:").unwrap_or(0));
        let exe = match fs::read_link(format!("/proc/{thread}/exe")) {
            Ok(exe) if exe != Path::new("/") => {
                let exe = inner(exe.into_os_string().into_vec(), self.outside.get());
                self.kept(Bounded::from(&exe[..]))
            }
            // The kernel reports `/` for a file that is a mount itself, as this program is if it is bound into a
            // container, and the process has left the mount namespace of that mount.
            Ok(_) => {
                self.executed(pid, ppid).unwrap_or_else(|| self.kept(Bounded::from(&self.own_program[..])))
            }
            Err(_) => self.executed(pid, ppid).unwrap_or_default(),
        };
        RecordedProcess { pid, ppid, exe, membership: None }
    }

    /// Returns the program that a process, or its nearest known ancestor, executed in the mirror.
    fn executed(&self, pid: u32, ppid: u32) -> Option<Arc<Bounded>> {
        let executions = self.executions.lock().unwrap_or_else(PoisonError::into_inner);
        executions.program(pid, ppid, parent_of)
    }

    /// Sets the place of a process and its descendants in a parallel job.
    pub(super) fn set_rank(&self, process: u32, membership: Membership) {
        self.memberships.lock().unwrap_or_else(PoisonError::into_inner).insert(process, membership);
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the place of a thread in a parallel job, which is that of its nearest known ancestor. Orphaned processes
    /// become children of their rank's supervisor, possibly during this search. The search is then repeated.
    fn membership_of(&self, thread: u32, parent: u32) -> Option<Membership> {
        let memberships = self.memberships.lock().unwrap_or_else(PoisonError::into_inner);
        if memberships.is_empty() {
            return None;
        }
        let mut above = Some(parent);
        for _ in 0..ATTEMPTS {
            while let Some(process) = above {
                if let Some(membership) = memberships.get(&process) {
                    return Some(*membership);
                }
                if process <= 1 {
                    return None;
                }
                above = parent_of(process);
            }
            above = parent_of(thread);
        }
        None
    }
}

/// The number of attempts to walk up while parents end.
const ATTEMPTS: u32 = 20;

fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    field(&status, "PPid:")
}

/// A number in `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Returns a path as it is seen inside the mirror, by removing the external mount point.
fn inner(path: Vec<u8>, outside: Option<&Vec<u8>>) -> Vec<u8> {
    let rest = outside.and_then(|directory| path.strip_prefix(&directory[..]));
    rest.filter(|rest| rest.starts_with(b"/")).map(<[u8]>::to_vec).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_known_with_its_process() {
        let own = std::process::id();
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let process = ProcessTable::default().of(thread, Instant::now(), Purpose::Other);
        assert_eq!(process.pid, own);
        assert_eq!(process.ppid, std::os::unix::process::parent_id());
        let exe = std::env::current_exe().expect("a test has a program");
        assert_eq!(process.exe.name.text(), exe.to_string_lossy());
    }

    #[test]
    fn so_many_threads_are_remembered_and_no_more() {
        let (table, now) = (ProcessTable::default(), Instant::now());
        for thread in 0..MOST_THREADS as u32 + 10 {
            let known =
                KnownThread { process: Arc::default(), until: now + TRUSTED, changing: 0, executing: false };
            table.threads.lock().expect("nothing has failed").insert(4_194_304 + thread, known);
        }
        table.of(std::process::id(), now, Purpose::Other);
        assert_eq!(table.threads.lock().expect("nothing has failed").len(), 1);
    }

    #[test]
    fn the_directory_that_the_mirror_is_mounted_at_is_no_part_of_a_program() {
        let directory = b"/run/compat-mirror-7".to_vec();
        let inner = |path: &str| String::from_utf8(inner(path.into(), Some(&directory))).expect("text");
        assert_eq!(inner("/run/compat-mirror-7/usr/bin/env"), "/usr/bin/env");
        assert_eq!(inner("/run/compat-mirror-77/env"), "/run/compat-mirror-77/env");
        assert_eq!(inner("/usr/bin/env"), "/usr/bin/env");
    }

    #[test]
    fn a_loader_that_is_executed_after_another_open_is_a_program() {
        let (table, now) = (ProcessTable::default(), Instant::now());
        let own = std::process::id();
        let executed = |path: &str| {
            table.of(own, now, Purpose::Execution);
            table.executes(own, own, path.as_bytes());
            let executions = table.executions.lock().expect("nothing has failed");
            executions.program(own, 0, |_| None).expect("it was executed").name.text().into_owned()
        };
        assert_eq!(executed("/usr/bin/sh"), "/usr/bin/sh");
        assert_eq!(executed("/lib64/ld-linux-x86-64.so.2"), "/usr/bin/sh");
        table.of(own, now, Purpose::Other);
        assert_eq!(executed("/lib64/ld-linux-x86-64.so.2"), "/usr/bin/sh");
        table.of(own, now, Purpose::Open);
        assert_eq!(executed("/lib64/ld-linux-x86-64.so.2"), "/lib64/ld-linux-x86-64.so.2");
    }

    #[test]
    fn a_rank_is_inherited_by_what_descends() {
        let table = ProcessTable::default();
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let membership = || table.of(thread, Instant::now(), Purpose::Other).membership;
        assert_eq!(membership(), None);
        let above = table.read(std::os::unix::process::parent_id()).ppid;
        let ancestor = if above > 1 { above } else { std::os::unix::process::parent_id() };
        table.set_rank(ancestor, Membership::Rank(7));
        assert_eq!(membership(), Some(Membership::Rank(7)));
        table.set_rank(std::os::unix::process::parent_id(), Membership::Joining);
        assert_eq!(membership(), Some(Membership::Joining));
    }
}
