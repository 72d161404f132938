//! Child processes: programs that run to their end within a time limit, and servers on a free port, which are ready
//! by a deadline and killed by id on drop.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Workspace;
use crate::child_output::{ChildOutput, kill_all};

/// How long a server may take to answer.
const READY: Duration = Duration::from_secs(20);

/// How long a tool may take: the slowest make root file systems and images.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How long the rest of an output may take when everybody who could write to it has been killed.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// A child process that is killed on drop.
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts a program; its output goes to `NAME.log` in the workspace.
    pub fn spawn(workspace: &Workspace, name: &str, command: &mut Command) -> Self {
        workspace.note(format!("$ {command:?} &"));
        Self::logged(&workspace.path(format!("{name}.log")), command)
    }

    /// Starts a program; its output goes to this file.
    pub fn logged(log: &Path, command: &mut Command) -> Self {
        let log = File::create(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle of the log")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child }
    }

    /// Whether the program still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the program to end, and kills it when it does not within the time.
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

/// Starts a server on a free port and waits until it answers. The port may be taken by somebody else
/// between the look and the start, so a server that ends at once is started again on another.
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
    panic!("{name} ends at once; see its log below")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("the address of a listener").port()
}

/// Polls until the condition holds; false when the deadline passed before.
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

/// A program that runs, with pipes to it.
pub struct Program {
    child: Child,
    stdout: ChildOutput,
    stderr: ChildOutput,
    started: Instant,
    limit: Duration,
}

/// The outcome of a program.
pub struct Ended {
    /// Its status and its output.
    pub output: Output,
    /// How long it took.
    pub took: Duration,
    /// Whether it ended by itself, and was not killed at its time limit. Others may have kept its output open.
    pub in_time: bool,
}

impl Program {
    /// Starts a program that may run for so long. It reads `input`, or else nothing from `/dev/null`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(command: &mut Command, input: Option<Vec<u8>>, limit: Duration) -> Self {
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A program that does not read its input closes the pipe, which is its right.
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

    /// Waits for the end of the program and of its output. At the time limit the program is killed, with what it
    /// has started and what keeps its output open.
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

/// Runs a program to its end with this input, which may be `None` for `/dev/null`.
///
/// # Panics
///
/// If it takes longer than it may. It is killed then.
pub fn finish(command: &mut Command, input: Option<Vec<u8>>, limit: Duration) -> Output {
    let ended = Program::start(command, input, limit).wait();
    let Output { stdout, stderr, .. } = &ended.output;
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ended.in_time, "{command:?} did not end within {limit:?}\n{stdout}{stderr}");
    ended.output
}

/// Runs a program to its end and returns its standard output.
///
/// # Panics
///
/// If it fails, with all it printed.
pub fn run(workspace: &Workspace, command: &mut Command) -> String {
    let (success, stdout, stderr) = outcome(workspace, command);
    assert!(success, "{command:?} failed\n{stdout}{stderr}");
    stdout
}

/// Runs a program to its end: whether it succeeded, and both outputs.
pub fn outcome(workspace: &Workspace, command: &mut Command) -> (bool, String, String) {
    let (code, stdout, stderr) = exit(workspace, command);
    (code == Some(0), stdout, stderr)
}

/// Runs a program to its end: its exit code, and both outputs.
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

    /// Runs a shell's script with a limit of a second.
    fn shell(script: &str) -> Ended {
        Program::start(Command::new("sh").args(["-c", script]), None, SECOND).wait()
    }

    /// The process whose number a script has printed.
    fn printed_process(output: &Output) -> Pid {
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.lines().next().and_then(|line| line.parse().ok());
        number.and_then(Pid::from_raw).unwrap_or_else(|| panic!("{text:?} begins with no process"))
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
