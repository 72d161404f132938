//! The processes that act: one native set of identities, one in the mirror.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::engine::Engine;
use crate::harness::recorder::{COMPAT, descendants, log, wait_until};

/// How long one script may take: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a mirror is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: what is done in the mirror is done natively, too.
    Native,
    /// By the command that was started in it.
    Inside,
    /// Outside, at a directory where it is mounted.
    MountPath,
    /// By nsenter(1), in a mirror that waits.
    Waiting,
    /// By the command that was started in it, in a container.
    Container,
}

/// Answers each ioctl of a process with an error.
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

    /// Lets an identity do a script in a directory; `goes_on` after an error. The outcome of each step.
    pub fn ask(&mut self, identity: &str, directory: &Path, script: &str, goes_on: bool) -> Vec<String> {
        let request = serde_json::json!({"as": identity, "in": directory, "do": script, "on": goes_on});
        let requests = self.requests.as_mut().expect("it runs");
        writeln!(requests, "{request}").expect("the agent reads");
        let answer = self.answers.recv_timeout(PATIENCE);
        let answer = answer.unwrap_or_else(|error| panic!("{identity} in {directory:?}: {script}: {error}"));
        serde_json::from_str(&answer).expect("a list of outcomes")
    }

    /// Does a script as root, which must succeed.
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

/// Whether a script came to its end.
pub fn is_success(outcomes: &[String]) -> bool {
    outcomes.last().is_none_or(|outcome| outcome.starts_with("ok"))
}

/// Both sets of identities, and two directories that are alike but for being reached natively and in the mirror.
pub struct World {
    /// Acts natively; and as root on what lies below the mirror.
    pub outside: Agent,
    /// Acts in the mirror.
    pub mirror: Agent,
    /// Where both directories are: `native` and `mirror`.
    pub top: PathBuf,
    /// The same directory as who acts in the mirror finds it.
    through: PathBuf,
    recorder: Option<Child>,
    /// Last: it ends when its containers have ended.
    _engine: Option<Engine>,
}

/// How a world is made.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub place: Place,
    /// Whether reads and writes go through the server.
    pub is_served: bool,
    /// What root does first, in a mount namespace of its own. `{top}/both` will have what both do.
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
            // The user's own Python is not there.
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

    /// Makes the server read and write itself: it gives passthrough up when the kernel refuses it once, which
    /// strace(1) does instead.
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

    /// A directory of this name natively, and the one below the mirror.
    pub fn originals(&self, name: &str) -> [PathBuf; 2] {
        ["native", "mirror"].map(|side| self.top.join(side).join(name))
    }

    /// Root does a script outside in both directories; the outcomes natively and below the mirror.
    pub fn root(&mut self, name: &str, script: &str) -> [Vec<String>; 2] {
        self.originals(name).map(|directory| self.outside.root(&directory, script))
    }

    /// Somebody does a script on both sides: root outside, and who has `outside ` before the name, too; all others
    /// natively, and in the mirror.
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

    /// All that is there natively, and below the mirror.
    pub fn states(&mut self, name: &str) -> [String; 2] {
        self.root(name, "dump .").map(|outcomes| outcomes.concat())
    }

    /// A user does a script natively.
    pub fn natively(&mut self, identity: &str, name: &str, script: &str, goes_on: bool) -> Vec<String> {
        let [directory, _] = self.originals(name);
        self.outside.ask(identity, &directory, script, goes_on)
    }

    /// A user does a script in the mirror.
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
            // What is immutable could not be removed.
            let _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(&self.top).status();
        }
        let Some(mut recorder) = self.recorder.take() else { return };
        drop(recorder.stdin.take());
        terminate(&mut recorder);
    }
}

/// Asks a process to end, and waits for that.
fn terminate(process: &mut Child) {
    if let Some(process) = Pid::from_raw(process.id() as i32) {
        let _ = kill_process(process, Signal::TERM);
    }
    await_end(process);
}

/// Waits for the end of a process; what hangs is killed.
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

/// `compat record` in the mount namespace of another process.
fn recorder(directory: &Path, namespace: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &namespace.to_string(), "--mount", &format!("--wdns={}", directory.display())]);
    command.args([COMPAT, "record", "-q", "-o"]).arg(log(directory)).env("COMPAT_RECORD_TEST", "1");
    command
}

/// Makes the mirror: who acts in it, the recorder where that is another process, and where in it the root is.
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
    let mut recorder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
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
