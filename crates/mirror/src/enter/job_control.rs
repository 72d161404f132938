//! Detects whether a shell with job control waits for this process. Such a shell must see this process stop when the
//! command stops. It then takes the terminal back, and later continues both. Without such a shell, nobody would
//! continue a stopped process.

use rustix::process::{Pid, getpid};

use super::process_status::ProcessStatus;

/// Whether this process must stop like the command. `whole_job` means that a terminal stopped the whole job.
pub(super) fn stops(whole_job: bool) -> bool {
    let of = |process: i32| ProcessStatus::of(Pid::from_raw(process)?);
    let own = getpid().as_raw_nonzero().get();
    of(own).is_some_and(|status| is_watched(own, status, whole_job, of))
}

/// If the whole job stopped, ancestors in the same process group were stopped as well, and the search for a shell goes
/// beyond them. If only the command stopped, only the parent of this process matters.
fn is_watched(
    own: i32,
    status: ProcessStatus,
    whole_job: bool,
    of: impl Fn(i32) -> Option<ProcessStatus>,
) -> bool {
    if status.terminal == 0 || status.session == own {
        return false;
    }
    let mut above = of(status.parent);
    while let Some(parent) = above.filter(|parent| parent.session == status.session) {
        if parent.group != status.group {
            return true;
        }
        above = of(parent.parent).filter(|_| whole_job);
    }
    // As far as can be seen, the process group is orphaned.
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process is 30, in the job 30 or 20. The shell is 10.
    fn stops(session: i32, terminal: i32, group: i32, parent: i32, whole_job: bool) -> bool {
        let status = |parent, group, session| ProcessStatus {
            state: 'S',
            parent,
            group,
            session,
            terminal,
            threads: 1,
            started: 1,
        };
        let of = |process| match process {
            1 => Some(status(0, 1, 1)),
            10 => Some(status(1, 10, 10)),
            20 => Some(status(10, 20, 10)),
            _ => None,
        };
        is_watched(30, status(parent, group, session), whole_job, of)
    }

    #[test]
    fn a_job_of_a_shell_stops() {
        assert!(stops(10, 34816, 30, 10, true) && stops(10, 34816, 30, 10, false));
        assert!(stops(10, 34816, 20, 20, true), "a script's, in the script's job");
    }

    #[test]
    fn who_nobody_waits_for_does_not_stop() {
        assert!(!stops(10, 34816, 20, 20, false), "the script waits only for the end");
        assert!(!stops(10, 0, 30, 10, true), "without a terminal");
        assert!(!stops(30, 34816, 30, 10, true), "as the leader of a session");
        assert!(!stops(20, 34816, 30, 1, true), "in an orphaned group");
        assert!(!stops(10, 34816, 30, 99, true), "of a parent that cannot be seen");
    }
}
