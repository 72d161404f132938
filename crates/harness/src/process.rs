//! Child processes: programs that run to their end within a time limit, and servers on a free port. Servers
//! must be ready by a deadline and are killed by ID on drop.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Workspace;
use crate::child_output::{ChildOutput, kill_all};

/// The time limit for a server to answer.
const READY: Duration = Duration::from_secs(20);

/// The time limit of a tool. The slowest tools create root file systems and images.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The time limit for the rest of an output after all its writers have been killed.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// A child process that is killed on drop.
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts a program. Its output goes to `NAME.log` in the workspace.
    pub fn spawn(workspace: &Workspace, name: &str, command: &mut Command) -> Self {
        workspace.note(format!("$ {command:?} &"));
        Self::logged(&workspace.path(format!("{name}.log")), command)
    }

    /// Starts a program. Its output goes to this file.
    pub fn logged(log: &Path, command: &mut Command) -> Self {
        let log = File::create(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle of the log")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child }
    }

    /// Whether the program is still running.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Terminates the program, and kills it if it does not exit in time.
    pub fn terminate(&mut self, within: Duration) {
        if self.alive() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            wait_until(within, || !self.alive());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server on a free port and waits until it answers. Another process may take the port between the
/// check and the start, so a server that exits immediately is started again on another port.
pub fn start_server(
    workspace: &Workspace,
    name: &str,
    command: impl Fn(u16) -> Command,
    ready: impl Fn(u16) -> bool,
) -> (Guard, u16) {
    for _ in 0..3 {
        let port = free_port();
        let mut guard = Guard::spawn(workspace, name, &mut command(port));
        let mut ended = false;
        let answered = wait_until(READY, || {
            ended = !guard.alive();
            ended || ready(port)
        });
        assert!(answered, "{name} does not answer on port {port} within {READY:?}");
        if !ended {
            return (guard, port);
        }
    }
    panic!("{name} exited immediately (see its log below)")
}

/// Returns a port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("the address of a listener").port()
}

/// Polls until the condition holds. Returns false after the deadline.
pub fn wait_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running program with pipes to it.
pub struct Program {
    child: Child,
    stdout: ChildOutput,
    stderr: ChildOutput,
    started: Instant,
    limit: Duration,
}

/// The outcome of a program.
pub struct Ended {
    /// Its exit status and its output.
    pub output: Output,
    /// Its duration.
    pub took: Duration,
    /// Whether it exited by itself and was not killed at its time limit. Other processes may have kept its
    /// output open.
    pub in_time: bool,
}

impl Program {
    /// Starts a program with a time limit. It reads `input`, or `/dev/null` without input.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(command: &mut Command, input: Option<Vec<u8>>, limit: Duration) -> Self {
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A program may close the pipe without reading its input.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let stdout = ChildOutput::read(child.stdout.take().expect("its standard output is a pipe"));
        let stderr = ChildOutput::read(child.stderr.take().expect("its standard error is a pipe"));
        Self { child, stdout, stderr, started: Instant::now(), limit }
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the program runs");
    }

    /// Waits for the end of the program and of its output. At the time limit, the program is killed with its
    /// descendants and the processes that keep its output open.
    pub fn wait(mut self) -> Ended {
        let in_time = wait_until(self.remaining(), || !matches!(self.child.try_wait(), Ok(None)));
        let outputs = [&self.stdout, &self.stderr];
        let is_complete = || outputs.iter().all(|output| output.is_complete());
        if !in_time || !wait_until(self.remaining(), is_complete) {
            kill_all((!in_time).then(|| Pid::from_child(&self.child)), &outputs);
            wait_until(LAST_OUTPUT, is_complete);
        }
        let status = self.child.wait().expect("the status of a child");
        let output = Output { status, stdout: self.stdout.take(), stderr: self.stderr.take() };
        Ended { output, took: self.started.elapsed(), in_time }
    }

    fn remaining(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }
}

/// Runs a program to its end with this input, or with `/dev/null` for `None`.
///
/// # Panics
///
/// If it exceeds its time limit. It is killed then.
pub fn finish(command: &mut Command, input: Option<Vec<u8>>, limit: Duration) -> Output {
    let ended = Program::start(command, input, limit).wait();
    let Output { stdout, stderr, .. } = &ended.output;
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ended.in_time, "{command:?} did not exit within {limit:?}\n{stdout}{stderr}");
    ended.output
}

/// Runs a program to its end and returns its standard output.
///
/// # Panics
///
/// If it fails. The message contains its output.
pub fn run(workspace: &Workspace, command: &mut Command) -> String {
    let (success, stdout, stderr) = outcome(workspace, command);
    assert!(success, "{command:?} failed\n{stdout}{stderr}");
    stdout
}

/// Runs a program to its end. Returns whether it succeeded, and both outputs.
pub fn outcome(workspace: &Workspace, command: &mut Command) -> (bool, String, String) {
    let (code, stdout, stderr) = exit(workspace, command);
    (code == Some(0), stdout, stderr)
}

/// Runs a program to its end. Returns its exit code and both outputs.
pub fn exit(workspace: &Workspace, command: &mut Command) -> (Option<i32>, String, String) {
    let output = finish(command, None, LIMIT);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    workspace.note(format!("$ {command:?}\n  {}\n{stdout}{stderr}", output.status));
    (output.status.code(), stdout, stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs a shell script with a time limit of one second.
    fn shell(script: &str) -> Ended {
        Program::start(Command::new("sh").args(["-c", script]), None, SECOND).wait()
    }

    /// The process ID that a script has printed.
    fn printed_process(output: &Output) -> Pid {
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.lines().next().and_then(|line| line.parse().ok());
        number.and_then(Pid::from_raw).unwrap_or_else(|| panic!("{text:?} does not begin with a process ID"))
    }

    fn ends(process: Pid) -> bool {
        wait_until(5 * SECOND, || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
            !stat.is_ok_and(|stat| !stat.contains(") Z "))
        })
    }

    #[test]
    fn a_grandchild_that_keeps_the_output_open_is_not_waited_for_longer_than_the_limit() {
        let ended = shell("echo before >&2; sleep 60 & echo $!; exit 7");
        assert!(ended.took < 10 * SECOND, "{:?}", ended.took);
        assert_eq!((ended.output.status.code(), ended.in_time), (Some(7), true));
        assert_eq!(ended.output.stderr, b"before\n");
        assert!(ends(printed_process(&ended.output)));
    }

    #[test]
    fn at_its_limit_a_program_is_killed_with_those_it_has_started() {
        for other in ["sleep 60", "sleep 60 > /dev/null 2>&1", "setsid sleep 60"] {
            let ended = shell(&format!("{other} & echo $!; wait; exit 7"));
            assert!(ended.took < 10 * SECOND, "{other}: {:?}", ended.took);
            assert_eq!((ended.output.status.code(), ended.in_time), (None, false), "{other}");
            assert!(ends(printed_process(&ended.output)), "{other}");
        }
    }

    #[test]
    fn all_of_the_output_is_there_when_a_program_ends_by_itself() {
        let ended = shell("yes | head -c 300000");
        assert_eq!((ended.output.stdout.len(), ended.in_time), (300_000, true));
    }
}
