//! The processes that share this process's mount namespace: those inside the mirror.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long processes may take to vanish once they are killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills every process of this mount namespace but this one and those in `spared`, and waits until they
/// are gone.
pub fn end_all(spared: &[Pid]) {
    let deadline = Instant::now() + PATIENCE;
    let own = fs::read_link("/proc/self/ns/mnt").ok();
    while Instant::now() < deadline {
        let mut found = false;
        for pid in processes() {
            let namespace = fs::read_link(format!("/proc/{}/ns/mnt", pid.as_raw_nonzero())).ok();
            let kept = pid.as_raw_nonzero().get() as u32 == std::process::id() || spared.contains(&pid);
            if own.is_some() && namespace == own && !kept {
                found = true;
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if !found {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All processes that are to be seen.
fn processes() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// The children of this process, dead ones that wait to be asked for included.
pub fn children() -> Vec<Pid> {
    let own = std::process::id().to_string();
    processes().into_iter().filter(|pid| parent_of(*pid).is_some_and(|parent| parent == own)).collect()
}

/// The parent's number, the fourth field of `/proc/PID/stat`; the second is in parentheses.
fn parent_of(pid: Pid) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned)
}
