//! Whether a shell with job control waits for this process: it is to see it stop when the command stops, takes
//! the terminal back then, and lets both go on. Where nobody waits for that, nobody would let this process go on.

use rustix::process::{Pid, getpid};

use super::process_status::ProcessStatus;

/// Whether this process is to stop as the command has; `whole_job` where a terminal has stopped all of the job.
pub(super) fn stops(whole_job: bool) -> bool {
    let of = |process: i32| ProcessStatus::of(Pid::from_raw(process)?);
    let own = getpid().as_raw_nonzero().get();
    of(own).is_some_and(|status| is_watched(own, status, whole_job, of))
}

/// What has started this process without being a shell with job control is stopped with the whole job; where the
/// command alone has stopped, only this process's own parent is told of it.
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
    // The group is orphaned, as far as it can be seen.
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process is 30, of the job 30 or 20; the shell is 10.
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
        assert!(!stops(10, 34816, 20, 20, false), "the script waits for an end alone");
        assert!(!stops(10, 0, 30, 10, true), "without a terminal");
        assert!(!stops(30, 34816, 30, 10, true), "as the leader of a session");
        assert!(!stops(20, 34816, 30, 1, true), "in an orphaned group");
        assert!(!stops(10, 34816, 30, 99, true), "of a parent that cannot be seen");
    }
}
