//! The results of the dynamic loader itself for root file systems.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use compat_harness::root::{debian, debian_of, inside, minimal, opened_here};

use super::Workspace;
use super::case::tool;
use super::process::outcome;

/// The results of `ld.so` for a program in a root.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LoaderAnswer {
    /// Sonames that were not found.
    pub missing_libraries: BTreeSet<String>,
    /// Symbol versions that were not found, with the library that lacks them.
    pub missing_versions: BTreeSet<(String, String)>,
    /// Sonames that were found, by their file name.
    pub found: BTreeSet<String>,
}

impl LoaderAnswer {
    /// Whether the program starts.
    pub fn is_clean(&self) -> bool {
        self.missing_libraries.is_empty() && self.missing_versions.is_empty()
    }
}

/// Creates a root with a static shell and no libc.
pub fn busybox(workspace: &Workspace) -> PathBuf {
    let root = workspace.directory("busybox");
    fs::create_dir_all(root.join("bin")).expect("directories of a root");
    fs::copy(tool("busybox"), root.join("bin/sh")).expect("a shell of the root");
    root
}

/// Runs the root's loader on a program of the root. The variables are set inside, so that they do not affect
/// `chroot` itself.
pub fn ask_loader(workspace: &Workspace, root: &Path, program: &Path) -> LoaderAnswer {
    let mut command = Command::new(tool("chroot"));
    command.arg(root).arg("/usr/bin/env");
    command.args(["LD_TRACE_LOADED_OBJECTS=1", "LD_WARN=1", "LD_BIND_NOW=1"]).arg(program);
    let (_, stdout, stderr) = outcome(workspace, &mut command);
    parse_trace(&format!("{stdout}\n{stderr}"))
}

/// Parses the loader's trace: `libz.so.1 => not found`, `libc.so.6 => /lib/… (0x…)` and `PROGRAM:
/// /lib/…/libc.so.6: version `GLIBC_2.34' not found (required by PROGRAM)`.
fn parse_trace(text: &str) -> LoaderAnswer {
    let mut answer = LoaderAnswer::default();
    for line in text.lines() {
        if let Some((left, version)) = line.split_once(": version `") {
            let library = left.rsplit('/').next().unwrap_or(left).to_owned();
            let version = version.split('\'').next().unwrap_or_default().to_owned();
            answer.missing_versions.insert((library, version));
        } else if let Some((name, place)) = line.trim().split_once(" => ") {
            let set = if place.starts_with("not found") {
                &mut answer.missing_libraries
            } else {
                &mut answer.found
            };
            set.insert(name.to_owned());
        }
    }
    answer
}

/// A program that is in a root for the duration of a case, because roots are shared.
pub struct Guest {
    file: PathBuf,
    /// The path inside the root.
    pub path: PathBuf,
}

impl Guest {
    /// Copies a program of this machine into the root's directory for temporary files.
    pub fn new(workspace: &Workspace, root: &Path, program: &Path) -> Self {
        let name = workspace.root().file_name().expect("a workspace has a name");
        let path = Path::new("/tmp").join(name);
        let file = inside(root, &path);
        fs::copy(program, &file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { file, path }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// Checks that the parser distinguishes the three kinds of lines in a trace. Otherwise every comparison with
/// it would be meaningless.
pub fn check_parser() {
    let answer = parse_trace(
        "/tmp/git: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /tmp/git)\n\
         \tlinux-vdso.so.1 (0x00007ffe)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f)\n\
         \tlibpcre2-8.so.0 => not found\n",
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(answer.missing_libraries, set(&["libpcre2-8.so.0"]));
    assert_eq!(answer.found, set(&["libz.so.1"]));
    assert!(answer.missing_versions.contains(&("libc.so.6".to_owned(), "GLIBC_2.34".to_owned())));
}
