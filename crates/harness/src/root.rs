//! Root file systems: Debian releases from debootstrap, which are kept between runs, and minimal ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::Workspace;
use crate::case::tool;
use crate::process::run;

/// The directory of the kept roots: creating one takes a minute.
fn store(workspace: &Workspace) -> PathBuf {
    let named = std::env::var_os("COMPAT_TEST_ROOTS").map(PathBuf::from);
    let store = named.unwrap_or_else(|| Path::new(workspace.suite().kept).join("roots"));
    fs::create_dir_all(&store).unwrap_or_else(|error| panic!("{}: {error}", store.display()));
    store
}

/// Returns the root of a Debian release, created with debootstrap if it does not exist yet.
pub fn debian(workspace: &Workspace, release: &str) -> PathBuf {
    debian_with(workspace, release, &[])
}

/// Returns the root of a Debian release with additional packages.
pub fn debian_with(workspace: &Workspace, release: &str, packages: &[&str]) -> PathBuf {
    let names: Vec<&str> = [release].into_iter().chain(packages.iter().copied()).collect();
    kept(workspace, &names.join("-"), |partial| {
        let mut command = Command::new(tool("debootstrap"));
        command.arg("--variant=minbase");
        if !packages.is_empty() {
            command.arg(format!("--include={}", packages.join(",")));
        }
        run(workspace, command.arg(release).arg(partial));
        let _ = fs::remove_dir_all(partial.join("var/cache/apt"));
    })
}

/// Returns the root of a Debian release for another architecture. If this machine cannot run its programs, its
/// packages are unpacked but not configured.
pub fn debian_of(workspace: &Workspace, release: &str, architecture: &str) -> PathBuf {
    let is_run_here = architecture == "i386" && cfg!(target_arch = "x86_64");
    kept(workspace, &format!("{release}-{architecture}"), |partial| {
        let mut command = Command::new(tool("debootstrap"));
        command.args(["--variant=minbase", &format!("--arch={architecture}")]);
        if !is_run_here {
            command.arg("--foreign");
        }
        run(workspace, command.arg(release).arg(partial));
        for left in ["debootstrap", "var/cache/apt"] {
            let _ = fs::remove_dir_all(partial.join(left));
        }
    })
}

/// Returns a directory that is kept between runs. `make` fills it if it does not exist yet.
pub fn kept(workspace: &Workspace, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let store = store(workspace);
    let finished = store.join(name);
    if !finished.is_dir() {
        let partial = store.join(format!("{name}.partial"));
        let _ = fs::remove_dir_all(&partial);
        make(&partial);
        fs::rename(&partial, &finished).expect("the finished directory takes its name");
    }
    finished
}

/// Creates a root that contains only a program, the files that the loader opens for it, and `env`.
pub fn minimal(workspace: &Workspace, name: &str, program: &Path) -> PathBuf {
    let root = workspace.directory(name);
    for file in [program, Path::new("/usr/bin/env")] {
        copy_into(&root, file);
        for library in opened_here(workspace, file) {
            copy_into(&root, &library);
        }
    }
    root
}

/// Copies a file to the same path in a root. Links are followed.
pub fn copy_into(root: &Path, file: &Path) {
    let target = inside(root, file);
    fs::create_dir_all(target.parent().expect("a file is in a directory")).expect("directories of a root");
    fs::copy(file, &target)
        .unwrap_or_else(|error| panic!("{} to {}: {error}", file.display(), target.display()));
}

/// Returns a path of this machine in a root.
pub fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Returns the files that this machine's loader opens for one of its own programs.
pub fn opened_here(workspace: &Workspace, program: &Path) -> Vec<PathBuf> {
    let text = run(workspace, Command::new(program).env("LD_TRACE_LOADED_OBJECTS", "1"));
    let path = |line: &str| {
        let right = line.split_once("=>").map_or(line, |(_, right)| right);
        let word = right.split_whitespace().next()?;
        word.starts_with('/').then(|| PathBuf::from(word))
    };
    text.lines().filter_map(path).collect()
}
