//! Which program a process executes, from what was opened to be executed.
//!
//! The kernel tells the program of a process (`/proc/PID/exe`) only to who might trace it: not of another user's
//! process to who lacks `CAP_SYS_PTRACE`, as in a container. What was executed is then what the process,
//! or one that it descends from, opened last to be executed (execve(2)): of a script the kernel opens the
//! script, then its interpreter; of a program the program, then its loader, which is passed over here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Pid;

use super::bounded::Bounded;
use crate::enter::ProcessStatus;
use compat_trace::is_library;

/// How many processes are kept before those that have ended are forgotten.
const MOST: usize = 65_536;

/// How far up the parents are asked.
const MOST_PARENTS: u32 = 1024;

/// The programs that processes have executed.
#[derive(Debug, Default)]
pub(super) struct Executions {
    known: HashMap<u32, Execution>,
    /// How many there may be; more, where as many live.
    limit: usize,
}

#[derive(Debug)]
struct Execution {
    program: Arc<Bounded>,
    /// When the process began: its number may be given anew.
    began: Option<u64>,
}

impl Executions {
    /// A process opened a file to execute it; `goes_on` where that belongs to the execution before.
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

    /// The program of a process, or of the nearest above it that was seen to execute one.
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

/// When a process began, in ticks since the machine's start.
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
