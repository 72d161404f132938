//! The acting processes: one set of identities natively, one in the mirror.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::engine::Engine;
use crate::harness::recorder::{COMPAT, descendants, log, wait_until, words};

/// The time limit of one script. A longer one hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The place through which a mirror is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No mirror: the actions of the mirror's side run natively, too.
    Native,
    /// The command that was started in the mirror.
    Inside,
    /// A directory outside at which the mirror is mounted.
    MountPath,
    /// nsenter(1) into a waiting mirror.
    Waiting,
    /// The command that was started in the mirror, in a container.
    Container,
}

/// Options of strace(1) that answer each ioctl of a process with an error.
const REFUSING: [&str; 9] =
    ["-f", "-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e", "inject=ioctl:error=EPERM", "-p"];

/// A process with all identities.
pub struct Agent {
    process: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Agent {
    fn start(mut command: Command) -> Self {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the agent starts");
        let requests = process.stdin.take();
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let (sender, answers) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, requests, answers }
    }

    /// Runs a script in a directory as an identity and returns the outcome of each step. `goes_on` continues
    /// after an error.
    pub fn ask(&mut self, identity: &str, directory: &Path, script: &str, goes_on: bool) -> Vec<String> {
        let request = serde_json::json!({"as": identity, "in": directory, "do": script, "on": goes_on});
        let requests = self.requests.as_mut().expect("the process runs");
        writeln!(requests, "{request}").expect("the agent reads");
        let answer = self.answers.recv_timeout(PATIENCE);
        let answer = answer.unwrap_or_else(|error| panic!("{identity} in {directory:?}: {script}: {error}"));
        serde_json::from_str(&answer).expect("a list of outcomes")
    }

    /// Runs a script as root, which must succeed.
    pub fn root(&mut self, directory: &Path, script: &str) -> Vec<String> {
        let outcomes = self.ask("root", directory, script, false);
        assert!(is_success(&outcomes), "root in {directory:?}: {script}: {outcomes:?}");
        outcomes
    }

    fn end(&mut self) {
        drop(self.requests.take());
        await_end(&mut self.process);
    }
}

/// Whether a script reached its end.
pub fn is_success(outcomes: &[String]) -> bool {
    outcomes.last().is_none_or(|outcome| outcome.starts_with("ok"))
}

/// Both sets of identities and two identical directories, one reached natively and one in the mirror.
pub struct World {
    /// Acts natively, and as root on the files below the mirror.
    pub outside: Agent,
    /// Acts in the mirror.
    pub mirror: Agent,
    /// The directory that contains `native` and `mirror`.
    pub top: PathBuf,
    /// The path of the same directory for the actors in the mirror.
    through: PathBuf,
    recorder: Option<Child>,
    /// The last field, because the engine stops after its containers.
    _engine: Option<Engine>,
}

/// The options of a world.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub place: Place,
    /// Whether reads and writes go through the server.
    pub is_served: bool,
    /// Root's first script, in a separate mount namespace. `{top}/both` will contain the files of both sides.
    pub before: &'a str,
}

impl World {
    /// Starts all processes in this empty directory.
    pub fn start(directory: &Path, options: Options<'_>) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).expect("our directory");
        let script = directory.join("privilege.py");
        std::fs::write(&script, include_str!("../../fixtures/privilege.py")).expect("a file");
        let mut command = Command::new("unshare");
        command.args(["--mount", "python3"]).arg(&script).current_dir(directory);
        let mut outside = Agent::start(command);
        let mut top = directory.to_path_buf();
        outside.root(&top, "dir both 0 0 755");
        outside.root(&top, &options.before.replace("{top}", &directory.display().to_string()));
        top.push("both");
        outside.root(&top, "dir native 0 0 755; dir mirror 0 0 755");
        let engine = (options.place == Place::Container).then(|| Engine::start(&directory.join("engine")));
        let (mirror, recorder, root) = if let Some(engine) = &engine {
            let mut command = engine.record(directory);
            // The user's own Python is not available there.
            command.arg("/usr/bin/python3").arg(&script);
            (Agent::start(command), None, PathBuf::from("/"))
        } else {
            reach(directory, &script, outside.process.id(), options.place)
        };
        let through = root.join(top.strip_prefix("/").expect("an absolute path"));
        let mut world = Self { outside, mirror, top, through, recorder, _engine: engine };
        if options.is_served {
            world.serve_reads();
        }
        world
    }

    /// Makes the server read and write files itself. It stops using passthrough after the kernel has refused
    /// it once. strace(1) simulates the refusal.
    fn serve_reads(&mut self) {
        const NAME: &str = "refused";
        self.root(NAME, "dir . 0 0 755; make file 0 0 644 served");
        assert_eq!(self.mirrored("root", NAME, "stat file", false), ["ok"]);
        let server = descendants(self.recorder.as_ref().unwrap_or(&self.mirror.process))[0];
        let mut command = Command::new("strace");
        let mut strace = command.args(REFUSING).arg(server.to_string()).spawn().expect("strace starts");
        wait_until("strace", || is_traced(server));
        let read = self.mirrored("root", NAME, "open file RDONLY; read; close", false);
        assert_eq!(read, ["ok", "ok served", "ok"]);
        terminate(&mut strace);
        wait_until("the end of strace", || !is_traced(server));
    }

    /// Returns a directory of this name natively, and the one below the mirror.
    pub fn originals(&self, name: &str) -> [PathBuf; 2] {
        ["native", "mirror"].map(|side| self.top.join(side).join(name))
    }

    /// Runs a script of root outside in both directories. Returns the outcomes natively and below the mirror.
    pub fn root(&mut self, name: &str, script: &str) -> [Vec<String>; 2] {
        self.originals(name).map(|directory| self.outside.root(&directory, script))
    }

    /// Runs a script on both sides. Root, and identities with the prefix `outside `, act outside on both
    /// sides. All others act natively and in the mirror.
    pub fn both(&mut self, who: &str, name: &str, script: &str, goes_on: bool) -> [Vec<String>; 2] {
        let outside = who.strip_prefix("outside ").or_else(|| (who == "root").then_some(who));
        if let Some(identity) = outside {
            return self
                .originals(name)
                .map(|directory| self.outside.ask(identity, &directory, script, goes_on));
        }
        let mirrored = self.mirrored(who, name, script, goes_on);
        [self.natively(who, name, script, goes_on), mirrored]
    }

    /// Returns the complete states natively and below the mirror.
    pub fn states(&mut self, name: &str) -> [String; 2] {
        self.root(name, "dump .").map(|outcomes| outcomes.concat())
    }

    /// Runs a user's script natively.
    pub fn natively(&mut self, identity: &str, name: &str, script: &str, goes_on: bool) -> Vec<String> {
        let [directory, _] = self.originals(name);
        self.outside.ask(identity, &directory, script, goes_on)
    }

    /// Runs a user's script in the mirror.
    pub fn mirrored(&mut self, identity: &str, name: &str, script: &str, goes_on: bool) -> Vec<String> {
        let directory = self.through.join("mirror").join(name);
        self.mirror.ask(identity, &directory, script, goes_on)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.mirror.end();
        self.outside.end();
        if std::thread::panicking() {
            // Immutable files could not be removed.
            let _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(&self.top).status();
        }
        let Some(mut recorder) = self.recorder.take() else { return };
        drop(recorder.stdin.take());
        terminate(&mut recorder);
    }
}

/// Sends a process SIGTERM and waits for its end.
fn terminate(process: &mut Child) {
    if let Some(process) = Pid::from_raw(process.id() as i32) {
        let _ = kill_process(process, Signal::TERM);
    }
    await_end(process);
}

/// Waits for the end of a process. Kills it after a time limit.
fn await_end(process: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Ok(None) = process.try_wait() {
        if Instant::now() > deadline {
            for inside in descendants(process).iter().chain([&process.id()]) {
                let _ = Pid::from_raw(*inside as i32).map(|inside| kill_process(inside, Signal::KILL));
            }
            let _ = process.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether each thread of a process is traced.
fn is_traced(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut states =
        threads.map(|thread| std::fs::read_to_string(thread.path().join("status")).unwrap_or_default());
    states.all(|state| !state.contains("TracerPid:\t0\n"))
}

/// Returns `compat record` in the mount namespace of another process.
fn recorder(directory: &Path, namespace: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &namespace.to_string(), "--mount", &format!("--wdns={}", directory.display())]);
    command.arg(COMPAT).args(words(&log(directory))).env("COMPAT_RECORD_TEST", "1");
    command
}

/// Starts the mirror. Returns the agent in it, the recorder if that is another process, and the root's path
/// inside.
fn reach(directory: &Path, script: &Path, namespace: u32, place: Place) -> (Agent, Option<Child>, PathBuf) {
    let mut command = recorder(directory, namespace);
    if place == Place::Inside {
        command.args(["--", "python3"]).arg(script);
        return (Agent::start(command), None, "/".into());
    }
    if place == Place::Native {
        let mut command = Command::new("nsenter");
        command.args(["--target", &namespace.to_string(), "--mount", "python3"]).arg(script);
        return (Agent::start(command), None, "/".into());
    }
    let mounted = directory.join("compat-mirror");
    command.arg("--mount-path").arg(&mounted);
    if place == Place::Waiting {
        command.arg("--mount");
    } else {
        command.args(["--", "sh", "-c", "echo runs; read line"]);
    }
    let mut recorder =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut lines = BufReader::new(recorder.stdout.as_mut().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("text");
    let mut command = Command::new("nsenter");
    let through = if place == Place::Waiting {
        // `nsenter --target PROCESS --mount --root --wd COMMAND`
        command.args(line.split(' ').skip(1).filter(|word| *word != "COMMAND"));
        "/".into()
    } else {
        command.args(["--target", &namespace.to_string(), "--mount"]);
        mounted
    };
    command.arg("python3").arg(script).current_dir(directory);
    (Agent::start(command), Some(recorder), through)
}
