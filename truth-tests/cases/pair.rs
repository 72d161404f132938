//! Every ELF program of one root, started in another.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::case::DEBOOTSTRAP;
use crate::harness::{
    Case, Comparison, Figures, Requirement, Scene, Workspace, exception, model, print_figure, root,
};

/// The pairs `PROGRAMS:ROOT` that always run. `this` is this machine.
const USUAL: [&str; 4] = ["this:this", "this:bullseye", "bookworm:bullseye", "bullseye:bookworm"];

/// The variable with other pairs to run instead, separated by commas: Debian releases, `this`, or directories.
const VARIABLE: &str = "COMPAT_TRUTH_PAIRS";

/// The directories with the programs that are started.
const DIRECTORIES: [&str; 2] = ["/usr/bin", "/usr/sbin"];

/// Returns one case for each pair.
pub fn all() -> Vec<Case> {
    let named = std::env::var(VARIABLE).ok();
    let pairs: Vec<String> = match &named {
        Some(list) => list.split(',').map(str::to_owned).collect(),
        None => USUAL.map(str::to_owned).to_vec(),
    };
    pairs.into_iter().map(case).collect()
}

fn case(pair: String) -> Case {
    let (programs, root) =
        pair.split_once(':').unwrap_or_else(|| panic!("{VARIABLE}: PROGRAMS:ROOT, not {pair}"));
    let (programs, root) = (programs.to_owned(), root.to_owned());
    let mut requirements = vec![Requirement::Root, Requirement::Tool("gcc")];
    if [&programs, &root].into_iter().any(|name| name != "this" && !name.contains('/')) {
        requirements.push(DEBOOTSTRAP);
    }
    Case::new(format!("programs::{pair}"), &requirements, move |workspace| {
        compare(workspace, &pair, &directory(workspace, &programs), &directory(workspace, &root));
    })
}

/// Returns the directory of a root.
fn directory(workspace: &Workspace, name: &str) -> PathBuf {
    match name {
        "this" => PathBuf::from("/"),
        name if name.contains('/') => PathBuf::from(name),
        release => root::debian(workspace, release),
    }
}

fn compare(workspace: &Workspace, pair: &str, from: &Path, root: &Path) {
    let programs = programs(from);
    assert!(!programs.is_empty(), "no programs in {}", from.display());
    let scratch = Scratch::new(workspace, from, root);
    let compared = compare_all(&programs, &scratch);
    let mut figures = Figures::default();
    let mut faults = Vec::new();
    let exceptions = exception::of(pair);
    let is_excepted = |name: &str| exceptions.iter().any(|exception| exception.name == name);
    for (name, comparison) in &compared {
        figures.add(comparison);
        match (comparison.differences.is_empty(), is_excepted(name)) {
            (false, false) => faults.push(format!("{name}:\n    {}", comparison.differences.join("\n    "))),
            (true, true) => faults.push(format!("{name}: no longer needs its exception")),
            _ => {}
        }
    }
    print_figure(&format!("{pair}: {figures}"));
    assert!(faults.is_empty(), "{pair}: {} differ\n{}", faults.len(), faults.join("\n"));
}

/// Compares the programs, on one thread for each processor.
fn compare_all(programs: &[String], scratch: &Scratch<'_>) -> Vec<(String, Comparison)> {
    let next = AtomicUsize::new(0);
    let compared = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let host = model::host(scratch.root);
                while let Some(program) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = scratch.bring(program);
                    let comparison = Comparison::of(&Scene::new(scratch.root, &path), &host);
                    scratch.remove(&path);
                    compared.lock().expect("no thread panics").push((program.clone(), comparison));
                }
            });
        }
    });
    let mut compared = compared.into_inner().expect("no thread panics");
    compared.sort_by(|a, b| a.0.cmp(&b.0));
    compared
}

/// Returns the paths of a root's own ELF programs, each file once.
fn programs(root: &Path) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut programs = Vec::new();
    for directory in DIRECTORIES {
        let entries = fs::read_dir(root::inside(root, Path::new(directory)));
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let is_new = metadata.is_file() && seen.insert((metadata.dev(), metadata.ino()));
            if is_new && metadata.permissions().mode() & 0o111 != 0 && is_elf(&entry.path()) {
                programs.push(format!("{directory}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    programs.sort();
    programs
}

fn is_elf(path: &Path) -> bool {
    let mut head = [0; 4];
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut head).is_ok()) && head == *b"\x7fELF"
}

/// A directory of the root into which the programs of another root are copied, one at a time.
struct Scratch<'a> {
    from: &'a Path,
    root: &'a Path,
    directory: String,
}

impl<'a> Scratch<'a> {
    fn new(workspace: &Workspace, from: &'a Path, root: &'a Path) -> Self {
        let name = workspace.root().file_name().expect("a workspace has a name").to_string_lossy();
        let scratch = Self { from, root, directory: format!("/tmp/{name}-programs") };
        if !scratch.stays() {
            fs::create_dir_all(scratch.outside(&scratch.directory)).expect("a directory for programs");
        }
        scratch
    }

    /// Returns whether programs stay in their place, because they are in their own root.
    fn stays(&self) -> bool {
        self.from == self.root
    }

    fn outside(&self, path: &str) -> PathBuf {
        root::inside(self.root, Path::new(path))
    }

    /// Copies a program into the root and returns its path in it.
    fn bring(&self, program: &str) -> String {
        if self.stays() {
            return program.to_owned();
        }
        let name = program.rsplit('/').next().unwrap_or(program);
        let path = format!("{}/{name}", self.directory);
        let source = root::inside(self.from, Path::new(program));
        fs::copy(&source, self.outside(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        path
    }

    fn remove(&self, path: &str) {
        if !self.stays() {
            let _ = fs::remove_file(self.outside(path));
        }
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if !self.stays() {
            let _ = fs::remove_dir_all(self.outside(&self.directory));
        }
    }
}
