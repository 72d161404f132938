//! A case's temporary folder: every program's state, output and log lies in it, and it is printed
//! when the case fails.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Logs longer than this are printed from their end.
const LOG_LIMIT: usize = 8_000;

/// The folder of one case.
pub struct Workspace {
    folder: tempfile::TempDir,
    diary: Mutex<Vec<String>>,
}

impl Workspace {
    /// A fresh folder.
    pub fn new(name: &str) -> Self {
        // A case may be named after a path.
        let name: String = name.chars().take(60).map(|c| if c == '/' { '+' } else { c }).collect();
        let prefix = format!("compat-{name}-");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        builder.disable_cleanup(std::env::var_os("COMPAT_TEST_KEEP").is_some());
        let folder = builder.tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("home")).expect("a home in the workspace");
        Self { folder, diary: Mutex::new(Vec::new()) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    /// The home folder of the programs that the case runs.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// A path in the folder, as text.
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        self.path(name).to_str().expect("a workspace's path is text").to_owned()
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("folders in the workspace");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Creates a folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Remembers what a program did, for the dump.
    pub fn note(&self, text: impl Into<String>) {
        self.diary.lock().expect("no case panics while it notes").push(text.into());
    }

    fn dump(&self) {
        let mut text = format!("\n==== {} ====\n", self.root().display());
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
        }
    }
}

/// The last part of a long text.
pub fn end_of(text: &str) -> &str {
    let mut start = text.len().saturating_sub(LOG_LIMIT);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

/// The files below a folder: links are not followed, and only so many are listed.
fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if files.len() >= 200 {
            return;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list(&entry.path(), files),
            _ => files.push(entry.path()),
        }
    }
}
