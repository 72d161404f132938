//! A command that is stopped, by itself, a terminal or a batch system, and continued.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::case::{Case, case};
use crate::harness::recorder::{COMPAT, assert_code, descendants, finish, wait_until};

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("stop::a_command_that_stops_itself_can_be_continued", &["setsid", "bash"], by_itself),
        case("stop::signals_to_the_run_stop_and_continue_the_command", &["setsid", "bash"], sent),
        case("stop::a_terminals_keys_stop_and_terminate_a_job", &["python3", "bash"], job),
    ]
}

/// Starts jobs in a session without a terminal. No process waits for them to stop.
fn in_session(directory: &Path, script: &str) -> Command {
    let mut run = Command::new("setsid");
    let job = format!("set -m; {COMPAT} record -o run.jsonl -- {script} & wait $!");
    run.args(["bash", "-c", &job]).current_dir(directory);
    run
}

fn by_itself(directory: &Path) {
    for signal in ["STOP", "TSTP", "TTIN", "TTOU"] {
        let script = format!("'p=$$; (sleep 0.3; kill -CONT $p) & kill -{signal} $p; echo back; exit 6'");
        let output = finish(in_session(directory, &format!("sh -c {script}")), b"");
        assert_code(&output, 6);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "back\n", "{signal}");
    }
}

fn sent(directory: &Path) {
    let mut run =
        in_session(directory, "sh -c 'echo > ready; until [ -e done ]; do sleep 0.02; done; exit 6'");
    let mut child = run.stdin(Stdio::null()).spawn().expect("the program starts");
    wait_until("the command", || directory.join("ready").exists());
    // setsid(1) has become bash, which is the parent of the run. The children of the run are the server and
    // the command.
    let inside = descendants(&child);
    let (run, command) = (inside[0], inside[2]);
    let send = |signal| {
        kill_process(Pid::from_raw(run as i32).expect("a process"), signal).expect("the process exists")
    };
    let is_stopped =
        || fs::read_to_string(format!("/proc/{command}/stat")).is_ok_and(|stat| stat.contains(") T "));
    send(Signal::TSTP);
    wait_until("the stop", is_stopped);
    send(Signal::CONT);
    wait_until("the continuation", || !is_stopped());
    fs::write(directory.join("done"), "").expect("a file");
    assert_eq!(child.wait().expect("a child").code(), Some(6));
}

fn job(directory: &Path) {
    let mut run = Command::new("python3");
    run.args(["-c", include_str!("../fixtures/job.py"), COMPAT, "record", "-q", "-o", "log", "--"]);
    run.current_dir(directory);
    let output = finish(run, b"");
    assert_code(&output, 0);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let script = "back\nback\nback\nback\nStopped\nTTT\ndone\n";
    assert_eq!(told, format!("Stopped\ncode=130\nStopped\nback\ncode=4\n{script}back\n5\n0\n"));
}
