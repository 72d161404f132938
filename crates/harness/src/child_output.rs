//! The output of a child process. A thread reads it, and other processes may keep it open after the child has
//! exited.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

/// A pipe that a thread reads to its end, so that a full pipe never blocks the child.
pub(crate) struct ChildOutput {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
    /// The pipe as `/proc/PID/fd` shows it: `pipe:[INODE]` (proc_pid_fd(5)).
    pipe: PathBuf,
}

impl ChildOutput {
    /// Starts reading.
    pub(crate) fn read(mut pipe: impl Read + AsFd + Send + 'static) -> Self {
        let shown = format!("/proc/self/fd/{}", pipe.as_fd().as_raw_fd());
        let shown = fs::read_link(shown).expect("an open descriptor is shown in /proc");
        let bytes = Arc::default();
        let kept = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || copy(&mut pipe, &kept));
        Self { bytes, reader, pipe: shown }
    }

    /// Whether all writers have closed the pipe and all of it has been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.reader.is_finished()
    }

    /// The output so far.
    pub(crate) fn take(self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Appends the content of a pipe until its end.
fn copy(pipe: &mut impl Read, bytes: &Mutex<Vec<u8>>) {
    let mut part = vec![0; 1 << 16];
    while let Ok(count) = pipe.read(&mut part) {
        if count == 0 {
            break;
        }
        bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&part[..count]);
    }
}

/// Kills a running child with all its descendants, and every process that can write to one of the outputs.
///
/// A process group for the child is not an alternative: setsid(1) behaves differently as the leader of a group,
/// and the processes that it starts leave the group.
pub(crate) fn kill_all(child: Option<Pid>, outputs: &[&ChildOutput]) {
    let processes = processes();
    let mut found: Vec<i32> = child.iter().map(|pid| pid.as_raw_nonzero().get()).collect();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(processes.iter().filter(|process| process.parent == parent).map(|process| process.id));
        next += 1;
    }
    let own = std::process::id() as i32;
    let writers = processes.iter().filter(|process| process.id != own && process.writes_to(outputs));
    found.extend(writers.map(|process| process.id));
    for pid in found.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

struct Process {
    id: i32,
    parent: i32,
}

impl Process {
    /// Whether it has one of these pipes open for writing. Another child may briefly hold the reading end,
    /// until it has executed its program.
    fn writes_to(&self, outputs: &[&ChildOutput]) -> bool {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.id)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|descriptor| {
            fs::read_link(&descriptor).is_ok_and(|file| outputs.iter().any(|output| output.pipe == file))
                && is_for_writing(&descriptor)
        })
    }
}

/// Whether the mode of a link in `/proc/PID/fd` is that of a write-only descriptor.
fn is_for_writing(descriptor: &Path) -> bool {
    fs::symlink_metadata(descriptor).is_ok_and(|link| link.permissions().mode() & 0o600 == 0o200)
}

/// The visible processes of this machine.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|id| Some(Process { id, parent: parent_of(id)? })).collect()
}

/// The fourth field of `/proc/PID/stat`. The second field is a name in brackets, which may contain spaces.
fn parent_of(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
