//! However a run ends, it leaves no mount and no process, and its log is complete.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::case::{Case, case};
use crate::harness::pair;
use crate::harness::recorder::{COMPAT, assert_code, command, descendants, finish, log, wait_until};
use crate::harness::recording::read;

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("ending::a_killed_supervisor_leaves_nothing", &[], |directory| {
            kill_at_random(directory, Who::Supervisor)
        }),
        case("ending::a_killed_server_leaves_nothing", &[], |directory| {
            kill_at_random(directory, Who::Server)
        }),
        case("ending::a_killed_command_leaves_nothing", &[], |directory| {
            kill_at_random(directory, Who::Command)
        }),
        case("ending::a_terminated_run_exits_like_its_command", &[], terminated),
        case(
            "ending::a_terminals_signal_ends_the_run_only_if_it_kills_the_command",
            &["python3", "setsid"],
            from_terminal,
        ),
        case("ending::an_ignored_signal_kills_no_process", &["setsid"], ignored),
        case("ending::a_failing_command_removes_nothing", &[], failing),
        case("ending::a_full_disk_is_reported_and_kills_no_command", &["unshare"], full),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Supervisor,
    Server,
    Command,
}

/// Returns how often each process is killed: a hundred times in total, or a hundred times each at full size.
fn rounds() -> u32 {
    if pair::is_full_size() { 100 } else { 34 }
}

/// Two processes that write, read and remove files for ever.
const BUSY: &str = "work() { while :; do echo $1 > file-$1; cat /etc/passwd file-$1 > copy-$1; rm -f copy-$1
    mkdir d-$1; rmdir d-$1; ls / > /dev/null; done; }; work 1 & work 2";

fn kill_at_random(directory: &Path, who: Who) {
    let mounts = mount_count();
    for round in 0..rounds() {
        let mut child = start(directory, BUSY);
        // The delays range from before the mount of the mirror to well within the work.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 13 % 250));
        let inside = descendants(&child);
        let signal = if round % 3 == 0 && who != Who::Server { Signal::TERM } else { Signal::KILL };
        match who {
            Who::Supervisor => kill(child.id(), signal),
            // The first child is the server. The second becomes the command.
            Who::Server => inside.first().into_iter().for_each(|process| kill(*process, signal)),
            Who::Command => {
                inside.get(1).into_iter().for_each(|process| kill(*process, signal));
                // Its children continue. A signal to the run terminates them.
                wait_until("the signal", || kill_until_gone(&mut child));
            }
        }
        if inside.is_empty() {
            kill(child.id(), Signal::KILL);
        }
        let _ = child.wait();
        wait_until("the end of all processes", || inside.iter().all(|process| is_gone(*process)));
        assert_eq!(mount_count(), mounts, "a mount remains");
        check_log(directory);
    }
}

/// Asserts that the log is complete, or that the run was killed before it began.
fn check_log(directory: &Path) {
    // If the supervisor was killed, the server writes the last line, and nobody waits for it.
    let complete = || {
        fs::read_to_string(log(directory)).is_ok_and(|text| {
            text.is_empty() || text.lines().last().is_some_and(|line| line.starts_with("{\"end\""))
        })
    };
    if log(directory).exists() {
        wait_until("the last line", complete);
        if fs::metadata(log(directory)).expect("a log").len() > 0 {
            read(&log(directory));
        }
    }
}

fn kill_until_gone(child: &mut Child) -> bool {
    if child.try_wait().expect("a child").is_some() {
        return true;
    }
    kill(child.id(), Signal::TERM);
    false
}

fn start(directory: &Path, script: &str) -> Child {
    let _ = fs::remove_file(log(directory));
    let mut command = command(directory, &["sh", "-c", script]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

fn kill(process: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(process as i32) {
        let _ = kill_process(pid, signal);
    }
}

fn is_gone(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // An orphaned process is reaped by an unknown process, so a zombie counts as gone.
    stat.is_empty()
        || stat.contains(") Z ")
        || !fs::read(format!("/proc/{process}/environ")).is_ok_and(is_ours)
}

/// Process ids are reused. Processes of these cases have a variable that others do not have.
fn is_ours(environment: Vec<u8>) -> bool {
    let marker = b"COMPAT_RECORD_TEST=";
    environment.windows(marker.len()).any(|window| window == marker) || environment.is_empty()
}

fn mount_count() -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    // Other cases mount theirs at directories of this name at the same time.
    let own = |line: &&str| line.contains(" - fuse ") && !line.contains("compat-mirror");
    table.lines().filter(own).count()
}

fn terminated(directory: &Path) {
    let mut child = start(
        directory,
        "trap 'echo asked > asked; exit 5' TERM; echo ready > ready; while :; do sleep 0.05; done",
    );
    wait_until("the start", || directory.join("ready").exists());
    kill(child.id(), Signal::TERM);
    assert_eq!(child.wait().expect("a child").code(), Some(5));
    assert!(directory.join("asked").exists());
    assert_eq!(read(&log(directory)).end.code, Some(5));
}

fn from_terminal(directory: &Path) {
    let mut run = Command::new("python3");
    run.args(["-c", include_str!("../fixtures/keys.py"), COMPAT, "record", "-q", "-o", "log", "--"]);
    run.current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "handled: 0, survived\nhung up: 0, survived\nended: 130, gone\nlate: 0, gone\n";
    assert_eq!(told, expected);
}

fn ignored(directory: &Path) {
    let left = "setsid sh -c 'sleep 0.5; echo > survived' & exit 5";
    let mut run = Command::new("sh");
    run.args(["-c", "trap '' INT QUIT HUP; exec \"$@\"", "sh", COMPAT, "record", "-o", "run.jsonl", "--"]);
    run.args(["sh", "-c", left]).current_dir(directory).stdin(Stdio::null());
    let mut child = run.spawn().expect("the program starts");
    // It is still a child of this process, with the same process id.
    let program = format!("/proc/{}/comm", child.id());
    wait_until("the start", || fs::read_to_string(&program).is_ok_and(|name| name == "compat\n"));
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP].into_iter().cycle() {
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        kill(child.id(), signal);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(child.wait().expect("a child").code(), Some(5));
    assert!(directory.join("survived").exists());
    assert_eq!(read(&log(directory)).end.code, Some(5));
}

fn failing(directory: &Path) {
    fs::create_dir(directory.join("kept")).expect("a directory");
    fs::write(directory.join("kept/file"), "kept").expect("a file");
    let mut child = start(directory, "(while :; do echo x > kept/busy; done) & cd kept; exit 3");
    std::thread::sleep(Duration::from_millis(300));
    kill(child.id(), Signal::TERM);
    assert_eq!(child.wait().expect("a child").code(), Some(3));
    assert_eq!(fs::read_to_string(directory.join("kept/file")).expect("the file exists"), "kept");
    assert!(directory.join("kept/busy").exists());
}

fn full(directory: &Path) {
    let script = format!(
        "mkdir small; mount -t tmpfs -o size=64k small small
        {COMPAT} record -o small/run.jsonl -- sh -c 'find /usr/include | sort > found; exit $0' $0
        echo $? > code; cp small/run.jsonl run.jsonl; df --output=avail small | tail -n 1 > left"
    );
    for (code, told) in [("0", "3\n"), ("7", "7\n")] {
        let mut run = Command::new("unshare");
        run.args(["--mount", "sh", "-c", &script, code]).current_dir(directory);
        let said = finish(run, b"").stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("could not write small/run.jsonl: No space left on device"), "{said}");
        assert_eq!(fs::read_to_string(directory.join("code")).expect("the file was written"), told, "{said}");
        let text = fs::read_to_string(log(directory)).expect("a log of text");
        assert!(text.ends_with("}\n{\"end\":\"log not written\"}\n"), "{}", &text[text.len() - 300..]);
        assert!(text.len() > 40_000, "{}", text.len());
        fs::remove_dir(directory.join("small")).expect("the directory is empty here");
    }
    let found = fs::read_to_string(directory.join("found")).expect("the file was written");
    assert!(found.ends_with('\n') && found.lines().count() > 1000, "the command did not continue");
}
