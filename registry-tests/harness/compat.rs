//! Runs of `compat` itself, and the only place that knows the shape of its JSON.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Workspace;

/// No run takes longer than this: a program that hangs is a fault, not a slow test.
const DEADLINE: Duration = Duration::from_secs(120);

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_compat");

/// The artifact type that the project promises.
pub const ARTIFACT_TYPE: &str = "application/vnd.compatlib.compatibility.v1";

/// The media type of the specification that the project promises.
pub const SPEC_TYPE: &str = "application/vnd.compatlib.compatibility.spec.v1+json";

/// One run, being prepared.
pub struct Compat<'a> {
    workspace: &'a Workspace,
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    input: Vec<u8>,
    deadline: Duration,
}

impl Workspace {
    /// A run of `compat` in this workspace.
    pub fn compat<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Compat<'_> {
        Compat::new(self, arguments)
    }
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command as a line, for messages.
    pub command: String,
    /// The exit code; `None` for a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl<'a> Compat<'a> {
    /// A run with these arguments, in the workspace, with a home of its own and no credentials.
    pub fn new<A: AsRef<OsStr>>(workspace: &'a Workspace, arguments: impl IntoIterator<Item = A>) -> Self {
        Self {
            workspace,
            program: BINARY.into(),
            arguments: arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect(),
            variables: Vec::new(),
            input: Vec::new(),
            deadline: DEADLINE,
        }
    }

    /// Another name for the binary.
    pub fn called(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    /// More arguments.
    pub fn with<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// What the program reads from standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// A tighter deadline than the usual one.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the program and does not wait for it.
    pub fn start(self) -> Running<'a> {
        let mut command = self.command();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        let input = self.input;
        // A program that does not read its input closes the pipe, which is its right.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        Running {
            workspace: self.workspace,
            line: line(&self.arguments),
            child,
            started: Instant::now(),
            deadline: self.deadline,
        }
    }

    /// Runs the program to its end.
    pub fn run(self) -> Output {
        self.start().wait()
    }

    /// Runs the program, which must succeed.
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
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A run that goes on.
pub struct Running<'a> {
    workspace: &'a Workspace,
    line: String,
    child: Child,
    started: Instant,
    deadline: Duration,
}

impl Running<'_> {
    /// Sends the program a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).expect("the program runs");
    }

    /// Waits for the end.
    ///
    /// # Panics
    ///
    /// Where the program has not ended by the deadline.
    pub fn wait(mut self) -> Output {
        let stdout = read_aside(self.child.stdout.take());
        let stderr = read_aside(self.child.stderr.take());
        let remaining = self.deadline.saturating_sub(self.started.elapsed());
        let ended = super::process::wait_until(remaining, || !matches!(self.child.try_wait(), Ok(None)));
        if !ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("the status of a child");
        let output = Output {
            command: self.line,
            code: status.code(),
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
            took: self.started.elapsed(),
        };
        self.workspace.note(output.describe());
        assert!(ended, "`compat {}` did not end within {:?}", output.command, self.deadline);
        output
    }
}

impl Output {
    /// Asserts the exit code.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of:\n{}", self.describe());
        self
    }

    /// Asserts that both outputs together say something, whatever its case.
    pub fn says(self, text: &str) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        assert!(all.contains(&text.to_lowercase()), "{text:?} is not said by:\n{}", self.describe());
        self
    }

    /// Asserts that at least one of the texts is said.
    pub fn says_one_of(self, texts: &[&str]) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        let said = texts.iter().any(|text| all.contains(&text.to_lowercase()));
        assert!(said, "none of {texts:?} is said by:\n{}", self.describe());
        self
    }

    /// Asserts that nothing says this.
    pub fn never_says(self, text: &str) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        assert!(!all.contains(&text.to_lowercase()), "{text:?} is said by:\n{}", self.describe());
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
        let (stdout, stderr) = (super::workspace::end_of(stdout), super::workspace::end_of(stderr));
        format!("$ compat {command}\n  exit {code:?} after {took:?}\n{stdout}{stderr}")
    }
}

/// The digest in the output of `push --format json`, `inspect --format json` or, of the first artifact,
/// `attach --format json`.
pub fn digest_of(output: &Output) -> String {
    let json = output.json();
    field(json["attached"].get(0).unwrap_or(&json), "digest")
}

/// Whether `push --format json` says that something was sent.
pub fn sent_anything(output: &Output) -> bool {
    let json = output.json();
    match &json["attached"].get(0).unwrap_or(&json)["sent"] {
        Value::Bool(sent) => *sent,
        Value::Number(count) => count.as_u64() != Some(0),
        Value::Array(things) => !things.is_empty(),
        other => panic!("`sent` is {other} in {json}"),
    }
}

/// The digests of what `discover --format json` shows, those of an index's platforms included, sorted.
pub fn discovered(output: &Output) -> Vec<String> {
    let json = output.json();
    let mut digests = referrer_digests(&json);
    for manifest in json["manifests"].as_array().into_iter().flatten() {
        digests.extend(referrer_digests(manifest));
    }
    digests.sort();
    digests
}

/// The digests of the referrers of the subject itself.
fn referrer_digests(object: &Value) -> Vec<String> {
    let referrers = object["referrers"].as_array().map(Vec::as_slice).unwrap_or_default();
    referrers.iter().map(|referrer| field(referrer, "digest")).collect()
}

/// The digest of the image that `discover --format json` looked at.
pub fn discovered_subject(output: &Output) -> String {
    field(&output.json(), "digest")
}

/// What `discover --format json` shows below one manifest of an index.
pub fn discovered_below(output: &Output, manifest: &str) -> Vec<String> {
    let json = output.json();
    let manifests = json["manifests"].as_array().unwrap_or_else(|| panic!("no manifests in {json:#}"));
    let found = manifests.iter().find(|shown| shown["digest"] == manifest);
    referrer_digests(found.unwrap_or_else(|| panic!("{manifest} is not shown in {json:#}")))
}

/// The subject's digest in `inspect --format json`.
pub fn inspected_subject(output: &Output) -> String {
    field(&output.json(), "subject")
}

/// The artifact type in `inspect --format json`.
pub fn inspected_type(output: &Output) -> String {
    field(&output.json(), "artifactType")
}

/// The media types of config and layers in `inspect --format json`, in this order.
pub fn inspected_contents(output: &Output) -> Vec<String> {
    let json = output.json();
    let contents = json["contents"].as_array().unwrap_or_else(|| panic!("no contents in {json:#}"));
    contents.iter().map(|content| field(content, "mediaType")).collect()
}

/// The verdict of `check --format json`.
pub fn verdict(output: &Output) -> String {
    let json = output.json();
    json["verdict"].as_str().unwrap_or_else(|| panic!("no verdict in {json:#}")).to_owned()
}

/// The libraries that the findings of `check --format json` miss.
pub fn missing_libraries(output: &Output) -> BTreeSet<String> {
    let findings = findings(output, "library-missing");
    findings.iter().map(|finding| field(finding, "library")).collect()
}

/// The symbol versions that the findings miss, with the library that lacks them.
pub fn missing_versions(output: &Output) -> BTreeSet<(String, String)> {
    let findings = findings(output, "version-missing");
    findings.iter().map(|finding| (field(finding, "library"), field(finding, "version"))).collect()
}

fn findings(output: &Output, kind: &str) -> Vec<Value> {
    let json = output.json();
    let findings = json["findings"].as_array().unwrap_or_else(|| panic!("no findings in {json:#}"));
    findings.iter().filter(|finding| finding["kind"] == kind).cloned().collect()
}

fn field(finding: &Value, name: &str) -> String {
    finding[name].as_str().unwrap_or_else(|| panic!("no {name} in {finding:#}")).to_owned()
}

/// Which level of an index answered: the platform's manifest or the index itself.
pub fn level(output: &Output) -> String {
    let json = output.json();
    json["source"]["level"].as_str().unwrap_or_else(|| panic!("no level in {json:#}")).to_owned()
}

fn line(arguments: &[OsString]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    arguments.join(" ")
}

/// Reads a pipe to its end, aside, so that a full pipe never stops the program.
fn read_aside<R: std::io::Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
