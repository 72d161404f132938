//! Servers as child processes: a free port, readiness with a deadline, killed by id on drop.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Workspace;

/// How long a server may take to answer.
const READY: Duration = Duration::from_secs(20);

/// A child process that ends with its owner.
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts a program; its output goes to `NAME.log` in the workspace.
    pub fn spawn(workspace: &Workspace, name: &str, command: &mut Command) -> Self {
        let log = File::create(workspace.path(format!("{name}.log"))).expect("a log in the workspace");
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle of the log")).stderr(log);
        workspace.note(format!("$ {command:?} &"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child }
    }

    /// Whether the program still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the program to end, and kills it when it does not within the time.
    pub fn terminate(&mut self, within: Duration) {
        let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) else { return };
        if self.alive() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
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
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program to its end and returns its standard output.
///
/// # Panics
///
/// Where it fails, with all it said.
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
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    workspace.note(format!("$ {command:?}\n  {}\n{stdout}{stderr}", output.status));
    (output.status.code(), stdout, stderr)
}
