//! The status of a process (`/proc/PID/stat`, proc_pid_stat(5)).

use std::fs;

use rustix::process::Pid;

/// Some fields of the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStatus {
    /// `Z` for a process that ended and was not waited for, `T` for a stopped one, and so on.
    pub state: char,
    /// Process numbers, or 0 if that process is not visible.
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// The device of the terminal, or 0 without one.
    pub terminal: i32,
    /// The number of remaining threads.
    pub threads: u32,
    /// The start time in clock ticks since boot. Together with the number, it identifies one process.
    pub started: u64,
}

impl ProcessStatus {
    /// Reads the status. Returns `None` if the process does not exist.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        parse(&fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
    }
}

/// Parses the line. The name, in parentheses, can contain any byte.
fn parse(line: &[u8]) -> Option<ProcessStatus> {
    let name_end = memchr::memrchr(b')', line)?;
    let fields: Vec<&str> =
        std::str::from_utf8(&line[name_end + 1..]).ok()?.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse().ok();
    Some(ProcessStatus {
        state: fields.first()?.chars().next()?,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        terminal: number(4)?,
        threads: fields.get(17)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_parentheses_and_any_byte() {
        let line = b"71 (a) Z 1 (\xff) T 70 71 60 34816 71 4194560 1 2 3 4 5 6 7 8 20 0 3 0 4711 8 9";
        let expected = ProcessStatus {
            state: 'T',
            parent: 70,
            group: 71,
            session: 60,
            terminal: 34816,
            threads: 3,
            started: 4711,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(b"71 (cut) R 70"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let own = ProcessStatus::of(rustix::process::getpid()).expect("it is there");
        assert_eq!(Pid::from_raw(own.parent), rustix::process::getppid());
        assert_eq!(Pid::from_raw(own.group), Some(rustix::process::getpgrp()));
        assert!(own.threads > 0 && own.started > 0);
    }
}
