//! Finds a thread's process, and that one's parent and program. A request names a thread only, and by
//! the time the log is written it may be gone, so it is asked while the thread waits for its answer.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::bounded::{Bounded, Programs};
use super::execution::Executions;

/// The known facts of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordedProcess {
    pub pid: u32,
    pub ppid: u32,
    pub exe: Arc<Bounded>,
    /// Where it belongs in a parallel job.
    pub membership: Option<Membership>,
}

/// Where a process belongs in a parallel job, and with it what descends from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// It is about to become a rank's command.
    Joining,
    /// It is of this rank.
    Rank(u32),
}

/// For how long a thread's number is taken to mean the same thread: the system gives numbers anew, but
/// not within that time.
const TRUSTED: Duration = Duration::from_millis(500);

/// An execution is asked for some requests before the program has changed: its own file, its
/// interpreter, theirs.
const AFTER_EXECUTION: u32 = 8;

/// How many threads are remembered.
const MOST_THREADS: usize = 65_536;

/// The threads that were seen.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    threads: Mutex<HashMap<u32, KnownThread>>,
    /// The processes from which the ranks of a parallel job descend.
    memberships: Mutex<HashMap<u32, Membership>>,
    executions: Mutex<Executions>,
    programs: Mutex<Programs>,
    /// Where the mirror is mounted besides, for others to enter.
    outside: OnceLock<Vec<u8>>,
}

/// The purpose of a request, as far as it shows which program the thread executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To execute a file.
    Execution,
    /// To open one.
    Open,
    Other,
}

#[derive(Debug)]
struct KnownThread {
    process: Arc<RecordedProcess>,
    until: Instant,
    changing: u32,
    /// A file was opened to be executed, and none for anything else since.
    executing: bool,
}

impl ProcessTable {
    /// The process of a thread.
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
                // Their facts are asked for again.
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

    /// A thread of a process has opened a file to execute it.
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

    /// The mirror is mounted at this directory besides. The kernel tells the programs of who entered it there with
    /// paths that begin with it.
    pub(super) fn mounted_at(&self, directory: Vec<u8>) {
        let _ = self.outside.set(directory);
    }

    /// Asks the kernel. It may hide the program of another user's thread: then it is the one that was executed.
    fn read(&self, thread: u32) -> RecordedProcess {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let (pid, ppid) = (field(&status, "Tgid:").unwrap_or(thread), field(&status, "PPid:").unwrap_or(0));
        let exe = match fs::read_link(format!("/proc/{thread}/exe")) {
            Ok(exe) => {
                let exe = inner(exe.into_os_string().into_vec(), self.outside.get());
                self.kept(Bounded::from(&exe[..]))
            }
            Err(_) => {
                let executions = self.executions.lock().unwrap_or_else(PoisonError::into_inner);
                executions.program(pid, ppid, parent_of).unwrap_or_default()
            }
        };
        RecordedProcess { pid, ppid, exe, membership: None }
    }

    /// Descendants of this process belong there from now on.
    pub(super) fn set_rank(&self, process: u32, membership: Membership) {
        self.memberships.lock().unwrap_or_else(PoisonError::into_inner).insert(process, membership);
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Where a thread belongs: to the first above it of which that is known. Those who lose their
    /// parent become children of their rank's supervisor, perhaps while this looks: it looks again then.
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

/// How often the way up is tried, while parents end.
const ATTEMPTS: u32 = 20;

fn parent_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    field(&status, "PPid:")
}

/// A number of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// A path as it is called in the mirror, where it begins with the directory that this is mounted at.
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
