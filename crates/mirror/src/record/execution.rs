//! Determines the program of a process from the files that were opened for execution.
//!
//! The kernel reveals the program of a process (`/proc/PID/exe`) only to processes that may trace it. Without
//! `CAP_SYS_PTRACE`, as in a container, the program of another user's process is hidden. In this case, the program is
//! the file that the process, or its nearest known ancestor, last opened for execution (execve(2)). For a script, the
//! kernel opens the script and then its interpreter. For a program, it opens the program and then its loader, which is
//! ignored here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Pid;

use super::bounded::Bounded;
use crate::enter::ProcessStatus;
use compat_trace::is_library;

/// The number of processes that are stored before those that have ended are removed.
const MOST: usize = 65_536;

/// The maximum number of ancestors to check.
const MOST_PARENTS: u32 = 1024;

/// The programs that processes executed.
#[derive(Debug, Default)]
pub(super) struct Executions {
    known: HashMap<u32, Execution>,
    /// The current maximum. It grows with the number of live processes.
    limit: usize,
}

#[derive(Debug)]
struct Execution {
    program: Arc<Bounded>,
    /// The start time of the process, because the kernel reuses process numbers.
    began: Option<u64>,
}

impl Executions {
    /// Records that a process opened a file for execution. `goes_on` means that the file belongs to the previous
    /// execution.
    pub(super) fn add(&mut self, process: u32, program: Arc<Bounded>, goes_on: bool) {
        if goes_on && is_library(&program.name.0) {
            return;
        }
        if self.known.len() >= self.limit.max(MOST) {
            self.known.retain(|process, _| Path::new(&format!("/proc/{process}")).exists());
            self.limit = self.known.len() * 2;
        }
        self.known.insert(process, Execution { program, began: beginning(process) });
    }

    /// Returns the program of a process, or of its nearest ancestor with a known execution.
    pub(super) fn program(
        &self,
        process: u32,
        parent: u32,
        parent_of: impl Fn(u32) -> Option<u32>,
    ) -> Option<Arc<Bounded>> {
        let (mut process, mut above) = (process, Some(parent));
        for _ in 0..MOST_PARENTS {
            let known = self.known.get(&process).filter(|known| known.began == beginning(process));
            if let Some(known) = known {
                return Some(Arc::clone(&known.program));
            }
            process = above.filter(|above| *above > 0)?;
            above = parent_of(process);
        }
        None
    }
}

/// Returns the start time of a process, in clock ticks since boot.
fn beginning(process: u32) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(process).ok()?)?;
    ProcessStatus::of(pid).map(|status| status.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_parent(_: u32) -> Option<u32> {
        None
    }

    fn program_at(path: &[u8]) -> Arc<Bounded> {
        Arc::new(Bounded::from(path))
    }

    fn program(executions: &Executions, process: u32) -> Option<String> {
        let program = executions.program(process, 0, no_parent);
        program.map(|program| program.name.text().into_owned())
    }

    #[test]
    fn what_was_executed_last_counts_and_no_loader_of_it() {
        let own = std::process::id();
        let mut executions = Executions::default();
        executions.add(own, program_at(b"/usr/bin/setpriv"), false);
        executions.add(own, program_at(b"/lib64/ld-linux-x86-64.so.2"), true);
        assert_eq!(program(&executions, own).as_deref(), Some("/usr/bin/setpriv"));
        executions.add(own, program_at(b"/app/start.sh"), false);
        executions.add(own, program_at(b"/usr/bin/dash"), true);
        executions.add(own, program_at(b"/lib64/ld-linux-x86-64.so.2"), true);
        assert_eq!(program(&executions, own).as_deref(), Some("/usr/bin/dash"));
        executions.add(own, program_at(b"/lib64/ld-linux-x86-64.so.2"), false);
        assert_eq!(program(&executions, own).as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    }

    #[test]
    fn it_is_inherited_and_another_process_of_the_same_number_is_not_meant() {
        let own = std::process::id();
        let mut executions = Executions::default();
        executions.add(own, program_at(b"/usr/bin/sh"), false);
        let parents = |process| (process == 4_194_302).then_some(own);
        let program = executions.program(4_194_303, 4_194_302, parents);
        assert_eq!(program.map(|program| program.name.text().into_owned()).as_deref(), Some("/usr/bin/sh"));
        assert_eq!(executions.program(4_194_303, 4_194_302, no_parent), None);
        if let Some(known) = executions.known.get_mut(&own) {
            known.began = Some(0);
        }
        assert_eq!(executions.program(own, 0, no_parent), None);
    }

    #[test]
    fn processes_that_have_ended_are_forgotten() {
        let mut executions = Executions::default();
        let program = program_at(b"/bin/true");
        let add = |number| executions.add(4_194_304 + number, Arc::clone(&program), false);
        (0..=MOST as u32).for_each(add);
        assert_eq!(executions.known.len(), 1);
    }
}
