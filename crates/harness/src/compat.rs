//! Runs of the program under test, and assertions about them.

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::Workspace;
use crate::process::Program;
use crate::workspace::end_of;

/// The time limit of a run: a program that hangs is faulty, not slow.
const DEADLINE: Duration = Duration::from_secs(120);

/// A run that is being prepared.
pub struct Compat<'a> {
    workspace: &'a Workspace,
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    input: Vec<u8>,
    deadline: Duration,
}

/// The outcome of a run.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command as a line, for messages.
    pub command: String,
    /// The exit code. `None` for a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The duration of the run.
    pub took: Duration,
}

impl Workspace {
    /// Returns a run of the program under test in this workspace.
    pub fn compat<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Compat<'_> {
        Compat::new(self, arguments)
    }
}

impl<'a> Compat<'a> {
    /// Returns a run with these arguments in the workspace, with its own home directory and no credentials.
    pub fn new<A: AsRef<OsStr>>(workspace: &'a Workspace, arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            workspace,
            program: workspace.suite().binary.into(),
            arguments: arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect(),
            variables: Vec::new(),
            input: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Runs the binary under another name.
    pub fn called(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// Adds arguments.
    pub fn with<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the standard input of the program.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets a shorter time limit.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the program without waiting for it.
    pub fn start(self) -> Running<'a> {
        let program = Program::start(&mut self.command(), Some(self.input.clone()), self.deadline);
        Running { workspace: self.workspace, line: line(&self.arguments), program, deadline: self.deadline }
    }

    /// Runs the program to its end.
    pub fn run(self) -> Output {
        self.start().wait()
    }

    /// Runs the program and asserts success.
    pub fn ok(self) -> Output {
        self.run().exits(0)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(self.workspace.root());
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.workspace.home());
        command.env("XDG_CACHE_HOME", self.workspace.path("cache"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A run in progress.
pub struct Running<'a> {
    workspace: &'a Workspace,
    line: String,
    program: Program,
    deadline: Duration,
}

impl Running<'_> {
    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// If the program has not exited by the deadline.
    pub fn wait(self) -> Output {
        let ended = self.program.wait();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let output = Output {
            command: self.line,
            code: ended.output.status.code(),
            stdout: text(&ended.output.stdout),
            stderr: text(&ended.output.stderr),
            took: ended.took,
        };
        self.workspace.note(output.describe());
        assert!(ended.in_time, "`compat {}` did not exit within {:?}", output.command, self.deadline);
        output
    }
}

impl Output {
    /// Asserts the exit code.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of:\n{}", self.describe());
        self
    }

    /// Asserts that standard output or standard error contains a text, in any letter case.
    pub fn says(self, text: &str) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        assert!(
            all.contains(&text.to_lowercase()),
            "{text:?} is missing from the output of:\n{}",
            self.describe()
        );
        self
    }

    /// Asserts that the outputs contain at least one of the texts.
    pub fn says_one_of(self, texts: &[&str]) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        let said = texts.iter().any(|text| all.contains(&text.to_lowercase()));
        assert!(said, "none of {texts:?} is in the output of:\n{}", self.describe());
        self
    }

    /// Asserts that the outputs do not contain a text.
    pub fn never_says(self, text: &str) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        assert!(!all.contains(&text.to_lowercase()), "{text:?} is in the output of:\n{}", self.describe());
        self
    }

    /// Asserts the form of a failure: exit code 3, one `error:` line, no panic.
    pub fn fails_clearly(self) -> Self {
        let output = self.exits(3);
        let errors = output.stderr.lines().filter(|line| line.starts_with("error:")).count();
        assert_eq!(errors, 1, "one `error:` line is expected from:\n{}", output.describe());
        assert!(!output.stderr.contains("panicked"), "a panic:\n{}", output.describe());
        output
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}):\n{}", self.describe()))
    }

    fn describe(&self) -> String {
        let Self { command, code, stdout, stderr, took } = self;
        let (stdout, stderr) = (end_of(stdout), end_of(stderr));
        format!("$ compat {command}\n  exit {code:?} after {took:?}\n{stdout}{stderr}")
    }
}

fn line(arguments: &[OsString]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    arguments.join(" ")
}
