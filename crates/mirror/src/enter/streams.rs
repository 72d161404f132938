//! Standard input and output of the processes that accompany the command.

use rustix::fs::{Mode, OFlags};

/// Replaces standard input, output and error with `/dev/null`. A process in the background must not keep the streams of
/// the process that started it open.
pub(super) fn let_go_of_all_streams() {
    let_go_of_streams();
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty()) {
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Replaces standard input and output with `/dev/null`. They belong to the command: a reader of its output must see the
/// end of the stream when the command closes it.
pub(super) fn let_go_of_streams() {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(null) = rustix::fs::open("/dev/null", flags, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
