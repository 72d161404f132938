//! Processes inside that are hard to find: in a separate namespace, without their first thread, or about to
//! exit.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use compat_trace::EventKind;

use crate::harness::case::{Case, case};
use crate::harness::recorder::{command, descendants, log, wait_until};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("nested::processes_in_other_namespaces_end_with_the_mirror", &["unshare"], namespaces),
        case("nested::processes_without_a_first_thread_end_with_the_mirror", &["python3"], first_thread),
        case("nested::open_files_of_a_killed_process_are_closed_in_the_log", &["python3"], closed),
    ]
}

fn start(directory: &Path, arguments: &[&str]) -> Child {
    let _ = fs::remove_file(directory.join("ready"));
    let mut command = command(directory, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().expect("the program starts");
    wait_until("the command", || directory.join("ready").exists());
    child
}

fn kill(process: u32) {
    let pid = Pid::from_raw(process as i32).expect("a process");
    kill_process(pid, Signal::KILL).expect("the process exists");
}

fn is_asleep(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name == "sleep\n")
}

/// Whether a process does not exist, or is dead and waits for its parent.
fn is_gone(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.is_empty() || (stat.contains(") Z ") && threads <= 1)
}

/// Kills the server and the supervisor in turn. No process inside may remain.
fn all_end(directory: &Path, arguments: &[&str]) {
    for server in [true, false] {
        let mut child = start(directory, arguments);
        // A process that has yet to exec could not do so without the server.
        wait_until("the last process", || descendants(&child).into_iter().any(is_asleep));
        std::thread::sleep(Duration::from_millis(100));
        let inside = descendants(&child);
        kill(if server { inside[0] } else { child.id() });
        let _ = child.wait();
        wait_until("the end of all processes", || inside.iter().all(|process| is_gone(*process)));
        let end = if server { "{\"end\":\"server killed\"" } else { "{\"end\":\"supervisor killed\"" };
        wait_until("the last line", || {
            fs::read_to_string(log(directory)).is_ok_and(|text| text.contains(end))
        });
    }
}

fn namespaces(directory: &Path) {
    all_end(directory, &["sh", "-c", "echo > ready; unshare -m sleep 600; true"]);
    // The process is in a separate session and no longer a descendant of the command.
    all_end(
        directory,
        &["sh", "-c", "(setsid unshare -m sleep 600 &); echo > ready; exec tail -f /dev/null"],
    );
}

fn first_thread(directory: &Path) {
    let script = "import ctypes, threading, time, os
if os.fork(): time.sleep(600)
def work():
    while not open('/proc/self/stat').read().split(') ')[1].startswith('Z'): time.sleep(0.01)
    open('/proc/self/comm', 'w').write('sleep'); open('ready', 'w').close(); time.sleep(600)
threading.Thread(target=work).start(); ctypes.CDLL(None).pthread_exit(None)";
    all_end(directory, &["python3", "-c", script]);
}

fn closed(directory: &Path) {
    let script = "import os, time
for _ in range(7):
    if os.fork() == 0: break
kept = [os.open('/etc/passwd', os.O_RDONLY) for _ in range(200)]
open(f'ready-{os.getpid()}', 'w').close()
while len([name for name in os.listdir() if name.startswith('ready-')]) < 8: time.sleep(0.01)
open('ready', 'w').close()
time.sleep(600)";
    for _ in 0..10 {
        let mut child = start(directory, &["python3", "-c", script]);
        kill(child.id());
        let _ = child.wait();
        wait_until("the last line", || {
            fs::read_to_string(log(directory))
                .is_ok_and(|text| text.contains("{\"end\":\"supervisor killed\""))
        });
        let recording = read(&log(directory));
        let of = |kind: EventKind| {
            let events = recording.events.iter().filter(|event| event.event == kind && event.error.is_none());
            events
                .filter(|event| event.path.text() == "/etc/passwd")
                .filter_map(|event| event.open)
                .collect::<Vec<_>>()
        };
        let (mut opened, mut closed) = (of(EventKind::Open), of(EventKind::Close));
        opened.sort_unstable();
        closed.sort_unstable();
        assert!(opened.len() >= 8 * 200, "{}", opened.len());
        let missing = opened.iter().filter(|open| !closed.contains(open)).count();
        assert_eq!((missing, closed.len()), (0, opened.len()));
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            if entry.file_name().to_string_lossy().starts_with("ready") {
                fs::remove_file(entry.path()).expect("ours");
            }
        }
    }
}
