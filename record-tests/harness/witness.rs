//! The observations of strace(1) in the same run: strace runs in the mirror and starts the program.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// The paths that programs opened or looked up without success.
#[derive(Debug, Default)]
pub struct Witness {
    pub opened: BTreeSet<String>,
    /// Opened with `O_CREAT`.
    pub created: BTreeSet<String>,
    pub missed: BTreeSet<String>,
    pub executed: BTreeSet<String>,
}

/// Reads the output of `strace -f -y -e trace=%file -o FILE` for a run in this directory. Its processes do
/// not leave the directory.
pub fn read(file: &Path, directory: &Path) -> Witness {
    let text = String::from_utf8_lossy(&std::fs::read(file).expect("strace's file")).into_owned();
    let mut witness = Witness::default();
    let mut unfinished: HashMap<String, String> = HashMap::new();
    for line in text.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(process.to_owned(), begun.to_owned());
        } else if let Some((_, ended)) = rest.split_once(" resumed>") {
            let begun = unfinished.remove(process).unwrap_or_default();
            witness.take(&format!("{begun}{ended}"), directory);
        } else {
            witness.take(rest, directory);
        }
    }
    witness
}

impl Witness {
    fn take(&mut self, call: &str, directory: &Path) {
        let Some((name, arguments)) = call.split_once('(') else { return };
        let Some((arguments, result)) = arguments.rsplit_once(" = ") else { return };
        let Some(path) = path_of(arguments, directory) else { return };
        let opens = matches!(name, "open" | "openat" | "openat2" | "creat");
        if result.contains("ENOENT") {
            // A path that was created since was missing itself.
            self.missed.extend(first_missing(&path).or_else(|| in_real_directory(&path)));
        } else if result.starts_with('-') || result.starts_with('?') {
        } else if name == "execve" {
            self.executed.extend(real(&path));
        } else if opens && !arguments.contains("O_PATH") {
            // With -y the result shows the opened file, with links followed.
            let opened = result.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>'));
            let Some((opened, _)) = opened else { return };
            let set = if arguments.contains("O_CREAT") { &mut self.created } else { &mut self.opened };
            set.insert(opened.trim_end_matches(" (deleted)").to_owned());
        }
    }
}

/// Returns the first quoted argument. It is relative to the directory before it, or else to the directory of
/// the run.
fn path_of(arguments: &str, working: &Path) -> Option<PathBuf> {
    let (before, rest) = arguments.split_once('"')?;
    let (path, _) = rest.split_once('"')?;
    let directory =
        before.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>')).map(|(directory, _)| directory);
    Some(directory.map_or(working, Path::new).join(path))
}

/// Returns the path with its links followed, if it exists.
fn real(path: &Path) -> Option<String> {
    path.canonicalize().ok().map(|path| path.display().to_string())
}

/// Returns the path with the links of its directory followed.
fn in_real_directory(path: &Path) -> Option<String> {
    let directory = path.parent()?.canonicalize().ok()?;
    Some(directory.join(path.file_name()?).display().to_string())
}

/// Returns the part of a path up to its first missing component, which the kernel looks up.
fn first_missing(path: &Path) -> Option<String> {
    let mut reached = PathBuf::from("/");
    for part in path.components().skip(1) {
        let next = reached.join(part);
        match next.canonicalize() {
            Ok(real) => reached = real,
            // The link is dangling, so its target is missing.
            Err(_) if next.is_symlink() => {
                let target = std::fs::read_link(&next).ok()?;
                return first_missing(&reached.join(target));
            }
            Err(_) => return Some(next.display().to_string()),
        }
    }
    None
}
