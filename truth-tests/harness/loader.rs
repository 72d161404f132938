//! The loader's own answer: a program that is really started inside a root, and the loader's trace.
//!
//! `fixtures/entry.c` starts the program under ptrace and kills it at its entry point. So only the constructors
//! of its libraries run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use compat_loader::host::Root;

use super::Sets;
use super::case::tool;

/// A program and the conditions of its start.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The directory of the root. `/` is this machine.
    pub root: PathBuf,
    /// The program's path inside the root.
    pub path: String,
    /// The working directory inside the root.
    pub directory: String,
    /// The user it runs as.
    pub user: u32,
    /// `LD_LIBRARY_PATH`.
    pub library_path: Option<String>,
    /// The loader's path if it is musl's.
    pub musl: Option<String>,
    /// A library that the program opens by the path in its first argument. The program exits with 0 if the
    /// library loads. Otherwise it prints the loader's message.
    pub plugin: Option<String>,
}

/// The end of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The program reached its entry point.
    Entry,
    /// The loader failed with this exit code.
    Exit(i32),
    /// A signal killed it.
    Signal(i32),
    /// The kernel did not start it, with this error.
    NotExecuted(i32),
    /// It did not exit in time.
    Timeout,
}

/// One run and the loader's output.
#[derive(Debug)]
pub struct Run {
    /// The end of the run.
    pub end: End,
    /// Standard output and standard error.
    pub text: String,
}

/// The results of the loader.
#[derive(Debug)]
pub struct Truth {
    /// The start with lazy binding.
    pub lazy: Run,
    /// The start with immediate binding.
    pub now: Run,
    /// The sets, or `None` if the trace was incomplete or the program cannot be traced.
    pub sets: Option<Sets>,
}

impl Scene {
    /// Returns a program of a root that root starts in `/`, without options.
    pub fn new(root: &Path, path: &str) -> Self {
        Self {
            root: root.to_owned(),
            path: path.to_owned(),
            directory: "/".to_owned(),
            user: 0,
            library_path: None,
            musl: None,
            plugin: None,
        }
    }

    /// Returns the program's name in the loader's messages.
    pub fn shown(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Returns the subject of the verdict.
    pub fn subject(&self) -> &str {
        self.plugin.as_ref().unwrap_or(&self.path)
    }

    /// Returns the subject's path on this machine.
    pub fn outside(&self) -> PathBuf {
        super::root::inside(&self.root, Path::new(self.subject()))
    }

    /// Runs the loader. `interpreter` is that of the program, if it has one.
    pub fn truth(&self, interpreter: Option<&str>) -> Truth {
        if let Some(plugin) = &self.plugin {
            let open =
                |variables: &[&str]| self.run(variables, &self.path, self.shown(), Some(plugin), false);
            return Truth { lazy: open(&[]), now: open(&["LD_BIND_NOW=1"]), sets: None };
        }
        let lazy = self.run(&[], &self.path, self.shown(), None, true);
        let now = self.run(&["LD_BIND_NOW=1"], &self.path, self.shown(), None, true);
        // musl's trace is a separate start, without the kernel and without raised privileges.
        let same_start = !matches!(lazy.end, End::NotExecuted(_)) && (self.musl.is_none() || self.user == 0);
        let interpreter = interpreter.filter(|_| same_start);
        Truth { lazy, now, sets: interpreter.and_then(|interpreter| self.trace(interpreter)) }
    }

    fn trace(&self, interpreter: &str) -> Option<Sets> {
        if let Some(loader) = &self.musl {
            // When called as ldd, musl derives $ORIGIN from the given path; at a start, from the real one.
            let real = Root::at(&self.root).ok()?.resolve(Path::new(&self.path)).ok()?;
            let run = self.run(&[], loader, "ldd", real.to_str(), false);
            return match run.end {
                End::Exit(_) => self.sets(&run, interpreter),
                _ => None,
            };
        }
        let variables = ["LD_TRACE_LOADED_OBJECTS=1", "LD_WARN=1", "LD_BIND_NOW=1"];
        let run = self.run(&variables, &self.path, self.shown(), None, false);
        match run.end {
            End::Exit(0 | 1) => self.sets(&run, interpreter),
            _ => None,
        }
    }

    /// Returns the sets of a trace, with relative paths made absolute.
    fn sets(&self, run: &Run, interpreter: &str) -> Option<Sets> {
        let mut sets = Sets::parse(&run.text, self.shown(), interpreter)?;
        let absolute = |(name, path): (String, String)| match path.starts_with('/') {
            true => (name, path),
            false => (name, format!("{}/{path}", self.directory.trim_end_matches('/'))),
        };
        sets.resolved = sets.resolved.into_iter().map(absolute).collect();
        Some(sets)
    }

    fn run(&self, variables: &[&str], path: &str, name: &str, argument: Option<&str>, to_entry: bool) -> Run {
        let mut command = Command::new(starter());
        if !to_entry {
            command.arg("-r");
        }
        command.arg(&self.root).args([&self.directory, &self.user.to_string(), name, path]);
        command.args(variables);
        command.args(self.library_path.iter().map(|list| format!("LD_LIBRARY_PATH={list}")));
        command.args(argument.map(|argument| ["--", argument]).into_iter().flatten());
        let output = command.stdin(Stdio::null()).output().expect("the starter starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let end = parse_end(said.trim()).unwrap_or_else(|| panic!("{command:?}: {said}"));
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        if self.musl.is_some() {
            // musl names the program by its path, no matter how it was called.
            text = text.replace(&self.path, self.shown());
            let argument = argument.filter(|_| self.plugin.is_none());
            text = argument.map_or(text.clone(), |argument| text.replace(argument, self.shown()));
        }
        Run { end, text }
    }
}

fn parse_end(said: &str) -> Option<End> {
    let (word, number) = said.split_once(' ').unwrap_or((said, "0"));
    let number = number.parse().ok()?;
    Some(match word {
        "entry" => End::Entry,
        "exit" => End::Exit(number),
        "signal" => End::Signal(number),
        "exec" => End::NotExecuted(number),
        "timeout" => End::Timeout,
        _ => return None,
    })
}

/// Returns the helper that starts programs, which is compiled once.
fn starter() -> &'static Path {
    static STARTER: OnceLock<PathBuf> = OnceLock::new();
    STARTER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("truth-tests/fixtures/entry.c");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let binary = directory.join(format!("entry-{}", std::process::id()));
        let finished = directory.join("entry");
        let status = Command::new(tool("gcc")).args(["-O1", "-Wall", "-o"]).arg(&binary).arg(source).status();
        assert!(status.is_ok_and(|status| status.success()), "gcc cannot compile entry.c");
        std::fs::rename(&binary, &finished).expect("the helper takes its name");
        finished
    })
}

impl Run {
    /// Returns the reason why the start failed: the loader's first line that is not a warning, without its
    /// prefix.
    pub fn cause(&self, shown: &str) -> Option<String> {
        if let End::NotExecuted(errno) = self.end {
            return Some(std::io::Error::from_raw_os_error(errno).to_string());
        }
        let own = format!("{shown}: ");
        let mut lines = self.text.lines().map(|line| line.strip_prefix(&own).unwrap_or(line));
        let is_warning = |line: &str| {
            let warnings = ["no version information available", ": weak version `", " cannot be preloaded "];
            warnings.iter().any(|warning| line.contains(warning))
        };
        let line = lines.find(|line| !is_warning(line))?;
        // A script's interpreter uses its own path as its name.
        let introductions = ["error while loading shared libraries: ", "symbol lookup error: "];
        let stripped = introductions.iter().find_map(|introduction| line.split_once(introduction));
        Some(stripped.map_or(line, |(_, cause)| cause).to_owned())
    }
}
