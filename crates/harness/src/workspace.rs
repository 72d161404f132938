//! A case's temporary directory. It contains the state, output and log of every program, and is printed if the
//! case fails.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::Suite;

/// The printed length of a log. Longer logs are printed from their end.
const LOG_LIMIT: usize = 8_000;

/// The directory of one case.
pub struct Workspace {
    suite: &'static Suite,
    name: String,
    directory: tempfile::TempDir,
    diary: Mutex<Vec<String>>,
}

impl Workspace {
    /// Creates an empty directory for the case of this name. Its path is short, so that sockets can be bound in
    /// it.
    pub(crate) fn new(suite: &'static Suite, name: &str) -> Self {
        let mut builder = tempfile::Builder::new();
        builder.prefix("compat-").disable_cleanup(is_kept());
        let directory = builder.tempdir().expect("a temporary directory");
        Self { suite, name: name.to_owned(), directory, diary: Mutex::new(Vec::new()) }
    }

    /// The suite of the case.
    pub fn suite(&self) -> &'static Suite {
        self.suite
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    /// The home directory of the programs that the case runs.
    pub fn home(&self) -> PathBuf {
        self.directory("home")
    }

    /// A path in the directory, as text.
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        self.path(name).to_str().expect("a workspace's path is text").to_owned()
    }

    /// Writes a file and creates its parent directories.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file is in a directory"))
            .expect("directories in the workspace");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Creates a directory.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Records the action of a program for the dump.
    pub fn note(&self, text: impl Into<String>) {
        self.diary.lock().expect("no case panics while it notes").push(text.into());
    }

    fn dump(&self) {
        let mut text = format!("\n==== {}: {} ====\n", self.name, self.root().display());
        for entry in self.diary.lock().map(|diary| diary.clone()).unwrap_or_default() {
            text.push_str(&entry);
            text.push('\n');
        }
        let mut files = Vec::new();
        list(self.root(), &mut files);
        files.sort();
        for file in &files {
            let size = fs::symlink_metadata(file).map_or(0, |metadata| metadata.len());
            text.push_str(&format!("{size:>10} {}\n", file.display()));
        }
        for log in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "log")) {
            let content = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
            text.push_str(&format!("---- {}\n{}\n", log.display(), end_of(&content)));
        }
        text.push_str("====\n");
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dump();
        } else if is_kept() {
            let _ = writeln!(std::io::stderr(), "{} is kept in {}", self.name, self.root().display());
        }
    }
}

/// Whether workspaces are kept.
fn is_kept() -> bool {
    std::env::var_os("COMPAT_TEST_KEEP").is_some()
}

/// The last part of a long text.
pub(crate) fn end_of(text: &str) -> &str {
    let mut start = text.len().saturating_sub(LOG_LIMIT);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// Lists the files below a directory, up to a limit. Links are not followed.
fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if files.len() >= 200 {
            return;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list(&entry.path(), files),
            _ => files.push(entry.path()),
        }
    }
}
