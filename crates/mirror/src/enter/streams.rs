//! Standard input and output of the processes that stand beside the command.

use rustix::fs::{Mode, OFlags};

/// Replaces standard input and output by `/dev/null`. They are the command's: a reader of its output sees the end
/// when the command has closed it.
pub(super) fn let_go_of_streams() {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
