//! The system's facts of a process (`/proc/PID/stat`, proc_pid_stat(5)).

use std::fs;

use rustix::process::Pid;

/// Some of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStatus {
    /// `Z` for one that has ended and is not waited for yet, `T` for a stopped one, and so on.
    pub state: char,
    /// Numbers of processes; 0 where that one cannot be seen.
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// The terminal's device; 0 without one.
    pub terminal: i32,
    /// How many threads it still has.
    pub threads: u32,
    /// When it was started, in clock ticks since the boot: with the number it means one process.
    pub started: u64,
}

impl ProcessStatus {
    /// Asks for it; nothing where there is no such process.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        parse(&fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
    }
}

/// The name, in parentheses, may have any byte.
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
